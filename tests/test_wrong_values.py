"""What is passed by mistake, and networks whose scores are no numbers, end in a sentence."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from torch import Tensor, nn

import innersight as ins
from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.inputs import entries

META = torch.tensor(1, device="meta")
CONV = nn.Conv2d(3, 4, 3)
PIXELS = np.zeros((32, 32, 3), np.uint8)


class Scaled(nn.Module):
    """Its scores are multiplied, so that they may be no numbers."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3)).abs() * self.factor


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a target without values": (lambda: ins.explain(tiny("in-place"), image(1), META), "is not a class of"),
    "a number without values": (lambda: ins.scan(tiny("in-place"), image(1), examples=META), "give a whole number"),
    "a crop that is no number": (lambda: ins.load("small:4?crop=nan"), "crop=nan: give a fraction"),
    "an image of no width": (lambda: ins.predict(tiny("in-place"), PILImage.new("RGB", (0, 5))), "0x5 pixels"),
    "an array for a layer": (lambda: ins.compare(tiny("in-place"), image(1), PIXELS), r"layer is a ndarray of shape"),
    "an image without a region": (lambda: ins.find(tiny("in-place"), PILImage.new("RGB", (9, 9))), "has no box"),
    "a number for a region": (lambda: ins.find(tiny("in-place"), 3), "like='3' has no box"),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_one_sentence(name: str) -> None:
    call, why = WRONG[name]
    with pytest.raises(InnersightError, match=why) as caught:
        call()
    assert "\n" not in str(caught.value)


# Tests check the types of arguments, users do not: so in a process of its own.
WRONG_TYPES = """
import innersight as ins
import numpy as np
from torch import nn
net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
spec = ins.InputSpec(32, 32)
model, pixels = ins.load(net, input=spec), np.zeros((32, 32, 3), np.uint8)
for call in (
    lambda: ins.load(net, input=(32, 32)),
    lambda: ins.load(net, input=spec, head="2"),
    lambda: ins.load(net, input=spec, labels=3),
    lambda: ins.explain(model, pixels, b"2"),
    lambda: ins.ablate(model, pixels, "0", classes=b"2"),
):
    try:
        call()
    except ins.errors.InnersightError as error:
        print(error)
"""


def test_wrong_types_are_named() -> None:
    done = subprocess.run([sys.executable, "-c", WRONG_TYPES], capture_output=True, text=True, check=True)
    first, second, third, target, classes = done.stdout.splitlines()
    assert first.startswith("input=(32, 32): give an InputSpec")
    assert second.startswith("head='2': give a Head")
    assert third.startswith("labels=3: give a list")
    assert "b'2'" in target
    assert "b'2'" in classes


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_no_numbers_are_warned_of(factor: float) -> None:
    model = ins.load(Scaled(factor).eval(), input=InputSpec(32, 32))
    found = ins.predict(model, [image(1), image(2)])
    assert [one for one in found.warnings if "2 of 2 images are NaN or infinite" in one]
    (heatmap, *_) = ins.explain(model, image(1), 1, "gradcam", layers="conv").entries
    assert "not numbers" in str(heatmap.verdict)


def test_scores_that_are_numbers_are_not() -> None:
    found = ins.predict(tiny("in-place"), image(1))
    assert not [one for one in found.warnings if "NaN or infinite" in one]


def test_digests_read_no_pipe_and_no_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/null")
    found: list[str] = []
    for entry in entries([str(tmp_path / name) for name in ("pipe.png", "zero.png")]):
        thread = threading.Thread(target=lambda entry=entry: found.append(entry.digest()), daemon=True)
        thread.start()
        thread.join(5)
    assert found == ["", ""]
