"""Windows: places and early layers are driven through the part of the image that they see."""

from functools import partial

import pytest
import torch
from networks import tiny
from torch import nn

from innersight import tap
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.patterns import Views, patterns
from innersight.patterns.objectives import resolve
from innersight.patterns.views import Window, Windows, draw, view


def test_a_place_is_driven_through_its_window_as_in_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("in-place")
    sizes: set[tuple[int, ...]] = set()
    forward = nn.Conv2d.forward

    def noted(self: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        sizes.add(tuple(x.shape[2:]))
        return forward(self, x)

    with monkeypatch.context() as patch:
        patch.setattr(nn.Conv2d, "forward", noted)
        found = patterns(model, "conv2:2@6,5", steps=12, seeds=1, size=48)
    assert any(max(size) <= 12 for size in sizes)
    monkeypatch.setattr(Windows, "of", lambda *_: None)
    expected = patterns(model, "conv2:2@6,5", steps=12, seeds=1, size=48)
    assert torch.allclose(found.images, expected.images, atol=2e-3)
    assert found.scores[0].activation == pytest.approx(expected.scores[0].activation, rel=1e-2)


@pytest.mark.parametrize("place", [(0, 0), (11, 23), (6, 12)])
def test_windows_hold_all_that_a_place_sees(place: tuple[int, int]) -> None:
    model = tiny("in-place")
    (wanted,) = resolve(model, f"conv1:1@{place[0]},{place[1]}")
    with tap.untouched(model):
        found = Windows(model, (3, 24, 24)).of(wanted)
        assert found is not None
        inner, window = found
        x = torch.randn(1, 3, 24, 24)
        cut = x[:, :, window.top : window.top + window.height, window.left : window.left + window.width]
        address = inner.terms[0].address
        value = tap.capture(model, cut, ["conv1"]).activations["conv1"][0, 1, address.location[0], address.location[1]]
        expected = tap.capture(model, x, ["conv1"]).activations["conv1"][0, 1, place[0], place[1]]
    assert float(value) == pytest.approx(float(expected), abs=1e-5)
    assert window.height <= 4
    assert window.width <= 4


@pytest.mark.parametrize(
    ("place", "expected"),
    [((9, 12), Window(5, 8, 9, 9)), ((1, 2), Window(0, 0, 6, 7)), ((19, 21), Window(15, 17, 9, 7))],
)
def test_a_window_grows_as_far_as_needed_and_stops_at_the_edges(place: tuple[int, int], expected: Window) -> None:
    class Rarely(nn.Module):
        """Each location adds what is four rows below it, once that is above 100: no gradient shows it."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + (nn.functional.pad(x, (0, 0, 0, 4))[:, :, 4:] - 100).relu()

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 1), Rarely(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = Model(net.eval(), InputSpec(24, 24), ("a", "b"), "rarely", "a test")
    (wanted,) = resolve(model, f"1:1@{place[0]},{place[1]}")
    with tap.untouched(model):
        found = Windows(model, (3, 24, 24)).of(wanted)
    assert found is not None
    assert found[1] == expected


def test_what_sees_the_whole_image_has_no_window() -> None:
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.gate = nn.Conv2d(4, 4, 1)
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            y = self.gate(y * y.mean((2, 3), keepdim=True).sigmoid())
            return self.head(y.mean((2, 3)))

    torch.manual_seed(0)
    model = Model(Squeezed().eval(), InputSpec(32, 32), ("a", "b"), "squeezed", "a test")
    with tap.untouched(model):
        assert Windows(model, (3, 32, 32)).of(resolve(model, "gate:1@4,4")[0]) is None
        assert Windows(model, (3, 32, 32)).of(resolve(model, "conv:1@4,4")[0]) is not None
        assert Windows(model, (3, 32, 32)).of(resolve(model, "gate:1")[0]) is None


def test_units_that_see_little_are_driven_through_windows_that_roam() -> None:
    model = tiny("in-place")
    found = Windows(model, (3, 128, 128)).of(resolve(model, "conv1:1")[0])
    assert found is not None
    assert found[1] == Window(0, 0, 64, 64, roams=True)
    assert Windows(model, (3, 126, 126)).of(resolve(model, "conv1:1")[0]) is None
    for text in ("class:ash", "dream(conv1)", "conv1:1@2,2 + conv1:2"):
        other = Windows(model, (3, 128, 128)).of(resolve(model, text)[0])
        assert other is None or not other[1].roams, text
    # Four updates through a quarter of the image stand for one on all of it, and reach at least as far.
    draw = partial(patterns, model, "conv1", steps=24, until="steps", seeds=1, size=128, contrast=0)
    roaming = draw()
    assert {score.steps for score in roaming.scores} == {96}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Windows, "of", lambda *_: None)
        plain = draw()
    assert {score.steps for score in plain.scores} == {24}
    gain = [ours.activation / theirs.activation for ours, theirs in zip(roaming.scores, plain.scores, strict=True)]
    assert sum(gain) / len(gain) > 1
    # Every part of the image has been looked at: none is left as it began.
    assert bool((roaming.images != plain.images).any(1).float().mean((1, 2)).gt(0.99).all())


def test_a_view_of_a_window_is_that_part_of_the_view() -> None:
    pixels = torch.rand(2, 3, 24, 32)
    draws = draw(Views(), torch.Generator().manual_seed(0), 2)
    whole_view = view(pixels, draws)
    window = Window(8, 12, 10, 14)
    parts = torch.tensor([[10 / 24, 14 / 32, 2 * 13 / 24 - 1, 2 * 19 / 32 - 1]]).expand(2, 4)
    part = view(pixels, draws, parts, (window.height, window.width))
    assert torch.allclose(part, whole_view[:, :, 8:18, 12:26], atol=1e-5)
