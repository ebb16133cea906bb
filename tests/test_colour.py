"""How values become colours, and the scale that is named beside them."""

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import colormaps

from innersight.boxes import PixelBox
from innersight.patterns.score import HIGH, grain
from innersight.render.colour import Scale, as_colour, paint, ramp, scale_of, to_bytes
from innersight.render.figures import draw_map
from innersight.scan.crops import Crop


def test_the_scale_of_values() -> None:
    assert scale_of(torch.tensor([0.0, 1.0, 3.0])) == Scale(3.0, signed=False)
    assert scale_of(torch.tensor([[-4.0, 1.0], [0.0, 2.0]])) == Scale(4.0, signed=True)
    assert scale_of(torch.tensor([0.0, -0.0, 2.0])) == Scale(2.0, signed=False)
    assert scale_of(torch.tensor([1.0, torch.inf, torch.nan])) == Scale(1.0, signed=False)
    for nothing in (torch.zeros(3), torch.zeros(0), torch.tensor([torch.nan])):
        assert scale_of(nothing) == Scale(1.0, signed=False)


def test_the_scale_of_most_values() -> None:
    values = torch.arange(101.0)
    assert scale_of(values, share=0.9) == Scale(90.0, signed=False, clipped=True)
    assert scale_of(-values, share=0.9) == Scale(90.0, signed=True, clipped=True)
    # Where most are the same nothing is cut off, and where most are 0 the rest decides.
    assert scale_of(torch.ones(50), share=0.5) == Scale(1.0, signed=False, clipped=False)
    mostly = torch.zeros(100)
    mostly[0] = 7
    assert scale_of(mostly, share=0.9) == Scale(7.0, signed=False, clipped=False)


def test_what_is_said_of_a_scale() -> None:
    assert (Scale(2.0, signed=False).low, Scale(2.0, signed=True).low) == (0.0, -2.0)
    assert str(Scale(2.5, signed=False)) == "0 to 2.5"
    assert str(Scale(2.5, signed=True, clipped=True)) == "-2.5 to 2.5 and beyond"


@pytest.mark.parametrize("signed", [False, True])
def test_values_are_painted_by_their_place_on_the_scale(signed: bool) -> None:
    scale = Scale(4.0, signed=signed)
    values = torch.linspace(scale.low - 1, 5, 40).view(5, 8)
    wanted = colormaps["RdBu_r" if signed else "magma"](((values - scale.low) / (4 - scale.low)).clamp(0, 1).numpy())
    assert np.array_equal(paint(values, scale), (wanted[..., :3] * 255).round().astype(np.uint8))
    if signed:
        middle = paint(torch.zeros(1, 1), scale)[0, 0].astype(int)
        assert middle.min() > 240  # zero is white, whatever the values


def test_pixels_become_the_nearest_bytes() -> None:
    for byte in (0, 1, 7, 128, 254):
        for off, wanted in ((-0.4, byte), (0.0, byte), (0.4, byte), (0.6, byte + 1)):
            assert to_bytes(torch.full((3, 1, 1), (byte + off) / 255)).tolist() == [[[max(0, wanted)] * 3]]
    assert to_bytes(torch.tensor([-1.0, 2.0, 0.5])[:, None, None]).tolist() == [[[0, 255, 128]]]
    assert to_bytes(torch.zeros(2, 3, 4, 5)).shape == (2, 4, 5, 3)
    bands = torch.arange(4.0)[None, :, None, None] / 255
    assert as_colour(bands, (3, 0, 1)).tolist() == [[[[3, 0, 1]]]]


def test_a_ramp_begins_and_ends_with_its_map() -> None:
    found = ramp("magma", 5)
    assert found == [[round(255 * c) for c in colormaps["magma"](share)[:3]] for share in (0, 0.25, 0.5, 0.75, 1.0)]


class Axis:
    def __init__(self) -> None:
        self.shown: list[tuple[np.ndarray, dict[str, Any]]] = []

    def imshow(self, values: np.ndarray, **options: Any) -> None:
        self.shown.append((np.asarray(values), options))

    def set(self, **options: Any) -> None:
        pass


def test_over_an_image_a_map_is_as_opaque_as_it_is_strong() -> None:
    axis, values = Axis(), torch.tensor([[0.0, 1.0], [-2.0, -8.0]])
    image = np.full((10, 20, 3), 255, np.uint8)
    draw_map(axis, values, Scale(4.0, signed=True), image)
    (grey, under), (over, options) = axis.shown
    assert np.allclose(grey, 0.9)
    assert np.allclose(over[..., 3], [[0, 0.225], [0.45, 0.9]])
    assert np.allclose(over[..., :3] * 255, paint(values, Scale(4.0, signed=True)), atol=1e-6)
    assert options["interpolation"] == "nearest"
    assert under["extent"] == options["extent"] == (0, 20, 10, 0)


@pytest.mark.parametrize("shape", [(12, 12), (12, 13), (9, 10), (9, 7)])
def test_grain_is_the_share_of_energy_above_a_quarter_cycle(shape: tuple[int, int]) -> None:
    pixels = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(2)) ** 2
    for image, found in zip(pixels.double().numpy(), grain(pixels).tolist(), strict=True):
        grey = image.mean(0)
        power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
        frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None])
        assert found == pytest.approx(power[frequency > 0.25].sum() / power.sum(), rel=1e-4)
    assert HIGH == 0.25


def test_a_crop_is_dark_where_its_unit_answers_with_less_than_half_its_peak() -> None:
    box = PixelBox(0, 0, 4, 1)
    crop = Crop(np.full((1, 5, 3), 200, np.uint8), np.array([[0.0, 0.25, 0.5, 0.75, 1.0]]), box, box)
    assert crop.masked()[0, :, 0].tolist() == [60, 130, 200, 200, 200]
