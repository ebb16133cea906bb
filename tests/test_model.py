"""InputSpec and Model: what they refuse, and that normalising can be undone."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import tiny
from torch import nn

from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.model import Model


@pytest.mark.parametrize(
    ("given_values", "why"),
    [
        ({"height": 0}, "3x0x8 must be positive"),
        ({"width": -1}, "must be positive"),
        ({"channels": 0, "mean": (), "std": ()}, "0x8x8 must be positive"),
        ({"channels": 1, "mean": (0.5, 0.5, 0.5)}, "one value for each of 1 channels"),
        ({"mean": (0.5, 0.5)}, "one value for each of 3 channels"),
        ({"std": (1.0, 0.0, 1.0)}, "finite and positive"),
        ({"mean": (0.0, float("nan"), 0.0)}, "must be finite"),
        ({"crop": 0.0}, "0 < crop <= 1"),
        ({"crop": 1.5}, "0 < crop <= 1"),
    ],
)
def test_contradictions_are_refused(given_values: dict[str, Any], why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        InputSpec(**{"height": 8, "width": 8, **given_values})


unit = st.floats(0, 1, width=32)


@given(st.integers(1, 5), st.data())
def test_normalising_can_be_undone(channels: int, data: st.DataObject) -> None:
    mean = tuple(data.draw(unit) for _ in range(channels))
    std = tuple(data.draw(st.floats(0.0625, 2, width=32)) for _ in range(channels))
    spec = InputSpec(4, 3, channels, mean, std)
    pixels = torch.rand(2, *spec.shape, dtype=torch.float64)
    fed = spec.normalise(pixels)
    assert fed.dtype == torch.float64
    assert torch.allclose(spec.denormalise(fed), pixels)
    for i in range(channels):
        assert torch.allclose(fed[:, i], (pixels[:, i] - mean[i]) / std[i])


@given(st.integers(1, 5), st.data())
def test_bytes_are_normalised_as_pixels_are(channels: int, data: st.DataObject) -> None:
    mean = tuple(data.draw(unit) for _ in range(channels))
    std = tuple(data.draw(st.floats(0.0625, 2, width=32)) for _ in range(channels))
    spec = InputSpec(4, 3, channels, mean, std)
    pixels = torch.randint(0, 256, (2, 4, 3, channels), dtype=torch.uint8)
    before = pixels.clone()
    fed = spec.normalise_bytes(pixels)
    assert torch.equal(fed, spec.normalise(pixels.permute(0, 3, 1, 2).float() / 255))
    assert fed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(pixels, before)


def test_classes_by_label_and_number() -> None:
    model = tiny("in-place")
    assert [model.class_index(target) for target in ("birch", 1, "1")] == [1, 1, 1]
    with pytest.raises(InnersightError, match=r"no class 'brich'; did you mean birch\?"):
        model.class_index("brich")
    for beyond in (4, -1, "4"):
        with pytest.raises(InnersightError, match=r"out of range: tiny in-place has classes 0-3"):
            model.class_index(beyond)


def test_a_label_that_looks_like_a_number_wins() -> None:
    model = tiny("in-place")
    digits = Model(model.net, model.input, ("3", "2", "1", "0"), "digits", "a test")
    assert digits.class_index("3") == 0
    assert digits.class_index(3) == 3


def test_modules_by_name() -> None:
    model = tiny("in-place")
    assert model.module("conv2") is model.net.conv2
    with pytest.raises(InnersightError, match=r"tiny in-place has no layer 'conv3'; did you mean conv"):
        model.module("conv3")
    with pytest.raises(InnersightError, match="has no layer ''"):
        model.module("")


def test_device_and_type_are_those_of_the_weights() -> None:
    assert tiny("dense", dtype=torch.float64).dtype == torch.float64
    bare = Model(nn.Flatten(), InputSpec(2, 2), tuple("abcdefghijkl"), "flat", "a test")
    assert (bare.device, bare.dtype) == (torch.device("cpu"), torch.float32)


def test_building_a_model_runs_nothing() -> None:
    class Never(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("was called")

    Model(Never(), InputSpec(4, 4), ("a",), "never", "a test")
