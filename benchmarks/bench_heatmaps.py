"""Heatmaps against peers and bare loops: EfficientNet-Lite0 at 224 px with real weights, and ResNet-18."""

import multiprocessing
import resource
import statistics
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import innersight as ins
from benchmarks.networks import efficientnet
from benchmarks.timing import Row, race
from innersight import tap
from innersight.heatmaps.engine import explain_batch
from innersight.heatmaps.target import class_target
from innersight.layers import default_layers, last_grid
from innersight.model import Model

CAMS = ("gradcam", "gradcam-plus-plus", "xgradcam", "hirescam", "layercam", "finercam")
MASKS = 256
COPIES = 16
STEPS = 32
_RECTIFIED = {
    "resnet18": "",
    "tf_efficientnet_lite0": " (no ReLU at the layer: grad-cam switches off to a value that falls from slot to slot of "
    "a batch; ours to 0)",
}


def measure() -> list[Row]:
    rows = []
    for model, late in ((efficientnet(), "blocks.6"), (resnet(), "layer4")):
        x = _input(model, 16)
        rows += [_gradcam(model, x), _cams(model, x), _ablation(model, late, x[:1])]
        rows += [
            _scorecam(model, late, x[:1]),
            _rise(model, x[:1]),
            _smoothgrad(model, x[:1]),
            _integrated(model, x[:1]),
        ]
    model = efficientnet()
    return [*rows, _resume(model, "blocks.6", _input(model, 1))]


def resnet() -> Model:
    """ResNet-18 with random weights: time does not depend on them."""
    torch.manual_seed(0)
    return ins.load("torchvision:resnet18")


def _input(model: Model, count: int) -> Tensor:
    return torch.randn(count, *model.input.shape, generator=torch.Generator().manual_seed(0))


def _classes(x: Tensor) -> Tensor:
    return torch.arange(len(x)) * 7


def _ask(model: Model, x: Tensor, layers: list[str], options: dict[str, dict[str, object]]) -> Callable[[], Tensor]:
    """Return what asks for the methods and gives the first map."""
    target = class_target(model, _classes(x))

    def run() -> Tensor:
        return next(iter(explain_batch(model, x, lambda _: target, layers, options).found.values())).values

    return run


def _peer(kind: str, model: Model, x: Tensor, layer: str) -> Callable[[], Tensor]:
    """Return what asks pytorch-grad-cam and gives its map before scaling."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    raw: list[np.ndarray] = []

    class Spied(getattr(pytorch_grad_cam, kind)):
        def get_cam_image(self, *args: object) -> np.ndarray:
            raw.append(super().get_cam_image(*args))
            return raw[-1]

    def run() -> Tensor:
        with Spied(model.net, [model.module(layer)]) as cam:
            cam(x, [ClassifierOutputTarget(int(target)) for target in _classes(x)])
        return torch.from_numpy(np.asarray(raw.pop()))

    return run


def _bare(model: Model, x: Tensor, layer: str) -> Callable[[], None]:
    """Return one forward pass, and one backward pass from the class scores to the layer."""
    module: nn.Module = model.module(layer)

    def run() -> None:
        kept = []
        handle = module.register_forward_hook(lambda _m, _i, out: kept.append(out))
        logits = model.net(x)
        handle.remove()
        torch.autograd.grad(logits.gather(1, _classes(x)[:, None]).sum(), kept[0])

    return run


def _alike(ours: Callable[[], Tensor], theirs: Callable[[], Tensor]) -> str:
    pairs = zip(ours().flatten(1).numpy(), theirs().flatten(1).numpy(), strict=True)
    return f"correlation of raw maps {min(np.corrcoef(a, b)[0, 1] for a, b in pairs):.5f}"


def _gradcam(model: Model, x: Tensor) -> Row:
    layer = last_grid(model)[0]
    ours, peer = _ask(model, x, [layer], {"gradcam": {}}), _peer("GradCAM", model, x, layer)
    return race(
        f"Grad-CAM, 16 images, {model.name}; {_alike(ours, peer)}",
        {"innersight": ours, "bare forward + backward to the layer": _bare(model, x, layer), "grad-cam": peer},
        target="grad-cam at least 3x, bare at least 0.87x",
    )


def _cams(model: Model, x: Tensor) -> Row:
    layers = list(default_layers(model))[-5:]
    return race(
        f"{len(CAMS)} gradient CAMs at {len(layers)} layers, 16 images, {model.name}",
        {
            "innersight": _ask(model, x, layers, {name: {} for name in CAMS}),
            "bare forward + backward to the first": _bare(model, x, layers[0]),
        },
        target="bare at least 0.5x",
    )


def _ablation(model: Model, layer: str, x: Tensor) -> Row:
    ours, peer = _ask(model, x, [layer], {"ablationcam": {}}), _peer("AblationCAM", model, x, layer)
    return race(
        f"Ablation-CAM at {layer}, one image, {model.name}; {_alike(ours, peer)}{_RECTIFIED[model.name]}",
        {"innersight": ours, "grad-cam": peer},
        rounds=3,
        target="grad-cam at least 20x",
    )


def _scorecam(model: Model, layer: str, x: Tensor) -> Row:
    ours, peer = _ask(model, x, [layer], {"scorecam": {}}), _peer("ScoreCAM", model, x, layer)
    megabytes = [_peak(model.name, layer, who) for who in ("innersight", "grad-cam")]
    memory = f"peak memory {megabytes[0]:.0f} against {megabytes[1]:.0f} MiB"
    return race(
        f"Score-CAM at {layer}, one image, {model.name}; {_alike(ours, peer)}; {memory}",
        {"innersight": ours, "grad-cam": peer},
        rounds=3,
        target="grad-cam at least 1.5x, in a quarter of its memory",
    )


def _peak(name: str, layer: str, who: str) -> float:
    """Return by how many MiB a process of its own grows for a Score-CAM of one image, the median of three."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return statistics.median(pool.apply(_grown, (name, layer, who)) for _ in range(3))


def _grown(name: str, layer: str, who: str) -> float:
    model = resnet() if name == "resnet18" else efficientnet()
    x = _input(model, 1)
    run = _ask(model, x, [layer], {"scorecam": {}}) if who == "innersight" else _peer("ScoreCAM", model, x, layer)
    with torch.no_grad():
        model.net(x)
    last_grid(model)
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.002):
            seen.append(int(Path("/proc/self/statm").read_text().split()[1]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    ended.set()
    watcher.join()
    return (max(seen) - seen[0]) * resource.getpagesize() / 2**20


def _rise(model: Model, x: Tensor) -> Row:
    ours = _ask(model, x, [last_grid(model)[0]], {"rise": {"max_samples": MASKS, "max_error": 0.0}})
    masks = torch.rand(16, 1, *x.shape[2:])

    def bare() -> None:
        with torch.no_grad():
            for _ in range(MASKS // 16):
                model.net(x * masks)

    return race(
        f"RISE, {MASKS} masks of one image, {model.name}",
        {"innersight": ours, "bare forward passes": bare},
        rounds=3,
        target="bare at least 0.9x",
    )


def _smoothgrad(model: Model, x: Tensor) -> Row:
    from captum.attr import NoiseTunnel, Saliency

    peer, target = NoiseTunnel(Saliency(model.net)), int(_classes(x)[0])

    def captum(together: int) -> Callable[[], Tensor]:
        options = {"nt_samples": COPIES, "nt_samples_batch_size": together, "target": target, "abs": False}
        return lambda: peer.attribute(x, nt_type="smoothgrad", stdevs=0.15, **options)

    return race(
        f"SmoothGrad, {COPIES} copies of one image, {model.name}",
        {
            "innersight": _ask(model, x, [], {"smoothgrad": {"max_samples": COPIES, "max_error": 0.0}}),
            f"captum, {COPIES} at once": captum(COPIES),
            "captum, 4 at once": captum(4),
        },
        rounds=5,
        target="captum at least 1.1x",
    )


def _integrated(model: Model, x: Tensor) -> Row:
    from captum.attr import IntegratedGradients

    peer, options = IntegratedGradients(model.net), {"method": "gausslegendre", "internal_batch_size": 16}
    return race(
        f"Integrated gradients, {STEPS} steps, one image, {model.name}",
        {
            "innersight": _ask(model, x, [], {"integrated-gradients": {"steps": STEPS}}),
            "captum, 16 at once": lambda: peer.attribute(x, target=int(_classes(x)[0]), n_steps=STEPS, **options),
        },
        rounds=5,
        target="captum at least 1.1x",
    )


def _resume(model: Model, layer: str, x: Tensor) -> Row:
    with tap.untouched(model), torch.no_grad():
        units = tap.capture(model, x, [layer]).activations[layer].shape[1]

    def ours() -> None:
        with tap.untouched(model), torch.no_grad():
            suffix = tap.resume(model, x, layer)
            for start in range(0, units, 32):
                suffix(_without(suffix.activation, range(start, min(start + 32, units))))

    def bare() -> None:
        with tap.untouched(model), torch.no_grad():
            for start in range(0, units, 32):
                span = range(start, min(start + 32, units))
                tap.replace(model, x.expand(len(span), -1, -1, -1), layer, lambda out, s=span: _without(out[:1], s))

    return race(
        f"Switching off each of {units} units of {layer}, one image, {model.name}",
        {"innersight": ours, "full runs": bare},
        rounds=3,
    )


def _without(activation: Tensor, span: range) -> Tensor:
    variants = activation.repeat(len(span), 1, 1, 1)
    variants[torch.arange(len(span)), torch.tensor(list(span))] = 0
    return variants
