"""Networks whose truth is known, images for them, and heatmap methods for one test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from torch import Tensor, nn

from innersight.heatmaps.masked import run_masked
from innersight.heatmaps.request import Request, methods
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.registry import Entry
from innersight.sources import load
from innersight.trust.faithfulness import Curves, curves

SIDE = 16
SPEC = InputSpec(SIDE, SIDE, fit="squash")


class Corner(nn.Module):
    """Class 0 is the brightness of the first quarter of both sides, and nothing else: its weights say where."""

    def __init__(self) -> None:
        super().__init__()
        self.grey = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.grey.weight, 1 / 3)
        self.where = nn.Linear(SIDE * SIDE, 2)
        weight = torch.zeros(2, SIDE, SIDE)
        weight[0, : SIDE // 4, : SIDE // 4] = 10 / (SIDE // 4) ** 2
        self.where.weight.data = weight.flatten(1)
        self.where.bias.data = torch.tensor([-6.0, 0.0])

    def forward(self, x: Tensor) -> Tensor:
        return self.where(self.grey(x).flatten(1))


class Colour(nn.Module):
    """Every logit is the mean over the image of one colour direction."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.places = nn.Conv2d(3, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.places(x).mean((2, 3))


def corner_model() -> Model:
    return load(Corner(), input=SPEC)


def corner_images(folder: Path, count: int = 20) -> Path:
    """Write images with a flat bright corner and noise elsewhere."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        pixels = rng.integers(0, 200, (SIDE, SIDE, 3), dtype=np.uint8)
        pixels[: SIDE // 4, : SIDE // 4] = 220 + i
        PILImage.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def add(monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[[Request], Tensor]) -> None:
    """Register a heatmap method for one test."""
    methods.entry("gradcam")
    facts = dict(methods.entry("saliency").facts) | {"reads": "passes"}
    entry = Entry(name, function, name.capitalize(), "A method for one test.", "", "", "TARGET", facts, ())
    monkeypatch.setitem(methods._entries, name, entry)


def asked_curves(model: Model, x: Tensor, empty: Tensor, target: int, ranks: Tensor, steps: int) -> Curves:
    """Return the curves of the probability of a class for one image."""

    def run(inputs: Tensor, owners: Tensor) -> Tensor:
        del owners
        return model.net(inputs).softmax(1)[:, target].detach()

    (found,) = run_masked([curves(ranks, steps)], lambda _, kept: torch.where(kept[:, None], x, empty), run)
    return found
