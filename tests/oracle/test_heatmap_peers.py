"""Maps of the same definition against the peers', raw, before any scaling: correlation above 0.999."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from innersight.heatmaps.engine import explain_batch
from innersight.heatmaps.target import class_target
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources import load

pytestmark = pytest.mark.filterwarnings("ignore")
SIDE = 32


class Small(nn.Module):
    """Convolutions, norms and ReLUs as modules of their own, a dense head: no closed forms."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.rest = nn.Sequential(nn.MaxPool2d(4), nn.Flatten(), nn.Linear(12 * 16, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.features(x))


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(5)
    net = Small()
    net.rest[-1].bias.data += 2
    return load(net.eval(), input=InputSpec(SIDE, SIDE, fit="squash"))


@pytest.fixture(scope="module")
def x() -> Tensor:
    noise = torch.randn(4, 3, SIDE // 4, SIDE // 4, generator=torch.Generator().manual_seed(2))
    return nn.functional.interpolate(noise, SIDE, mode="bilinear")


TARGETS = [0, 1, 2, 3]
LAYER = "features.5"


def ours(model: Model, x: Tensor, name: str, **options: Any) -> Tensor:
    target = class_target(model, torch.tensor(TARGETS))
    found = explain_batch(model, x, lambda _: target, [LAYER], {name: options}).found
    return next(iter(found.values())).values.float()


def correlations(a: Tensor, b: Tensor) -> Iterator[float]:
    for one, other in zip(a.flatten(1).numpy(), b.flatten(1).numpy(), strict=True):
        yield float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("gradcam", "GradCAM"),
        ("gradcam-plus-plus", "GradCAMPlusPlus"),
        ("xgradcam", "XGradCAM"),
        ("hirescam", "HiResCAM"),
        ("layercam", "LayerCAM"),
        ("eigencam", "EigenCAM"),
        ("scorecam", "ScoreCAM"),
        ("ablationcam", "AblationCAM"),
    ],
)
def test_pytorch_grad_cam(model: Model, x: Tensor, name: str, peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grad_cam = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError)
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    raw: list[np.ndarray] = []
    kind = getattr(grad_cam, peer)
    real = kind.get_cam_image

    def spy(self: Any, *args: Any) -> np.ndarray:
        raw.append(real(self, *args))
        return raw[-1]

    monkeypatch.setattr(kind, "get_cam_image", spy)
    with torch.no_grad():
        assert (model.net(x)[range(4), TARGETS] > 0).all()  # they divide by it in Ablation-CAM
    with kind(model.net, [model.module(LAYER)]) as cam:
        cam(x, [ClassifierOutputTarget(target) for target in TARGETS])
    theirs, found = torch.from_numpy(np.asarray(raw[0])).float(), ours(model, x, name)
    for own in correlations(found, theirs):
        # Theirs leaves the sign of a principal component to chance.
        assert (abs(own) if name == "eigencam" else own) > 0.999
    if name in ("gradcam", "hirescam", "layercam", "xgradcam"):
        assert torch.allclose(found, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "peer", "asked", "options"),
    [
        ("saliency", "Saliency", {}, {}),
        ("input-x-gradient", "InputXGradient", {}, {}),
        ("guided-backprop", "GuidedBackprop", {}, {}),
        ("integrated-gradients", "IntegratedGradients", {"n_steps": 32}, {"steps": 32}),
        ("deeplift", "DeepLift", {}, {}),
    ],
)
def test_captum(model: Model, x: Tensor, name: str, peer: str, asked: dict[str, Any], options: dict[str, Any]) -> None:
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(5)
    net = Small()
    net.load_state_dict(model.net.state_dict())
    theirs = getattr(attr, peer)(net.eval()).attribute(
        x.clone().requires_grad_(True), target=torch.tensor(TARGETS), **asked
    )
    if name in ("saliency", "guided-backprop"):
        theirs = theirs.gather(1, theirs.abs().argmax(1, keepdim=True))[:, 0]
    else:
        theirs = theirs.sum(1)
    found = ours(model, x, name, **options)
    assert min(correlations(found, theirs.detach())) > 0.999
    assert torch.allclose(found, theirs.detach().float(), atol=1e-4 * float(theirs.abs().max()))
