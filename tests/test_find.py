import json

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from safetensors.torch import load_file

import innersight as ins
from innersight.activations import compute
from innersight.boxes import Box
from innersight.errors import InnersightError
from innersight.find import DEFINITION, Query, parse_region
from innersight.find.colours import own_colours
from innersight.find.engine import rank
from innersight.find.score import STRONGEST, Strongest, average_precision, fits, largest_share
from innersight.image import ImageError, stack

BOX = (0.1, 0.2, 0.6, 0.7)


def strongest(maps: torch.Tensor, region: torch.Tensor, counts: torch.Tensor, shown: int) -> torch.Tensor:
    """The share of every unit, of maps (images, units, h, w) at once."""
    found = Strongest(STRONGEST * float(counts[:shown].sum()))
    found.add(maps.transpose(0, 1).flatten(1), counts.flatten(), region.flatten())
    return found.share(possible(region, counts, shown))


def possible(region: torch.Tensor, counts: torch.Tensor, shown: int) -> float:
    return min(STRONGEST * float(counts[:shown].sum()), float(region.double().sum()))


def slow_share(values: np.ndarray, region: np.ndarray, counts: np.ndarray, shown: int) -> float:
    """One unit's share: places taken from the strongest on, equal ones together, the last in part."""
    wanted = left = STRONGEST * counts[:shown].sum()
    within = 0.0
    for value in sorted(set(values.ravel()), reverse=True):
        weight = counts[values == value].sum()
        taken = min(weight, left)
        within += taken / weight * region[values == value].sum() if weight else 0.0
        left -= taken
    return within / min(wanted, region.sum())


def test_share_is_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 5, 7, 6, generator=generator)
    counts = torch.ones(3, 7, 6)
    counts[2] = torch.rand(7, 6, generator=generator)
    region = torch.rand(3, 7, 6, generator=generator) * counts
    region[2] = 0
    found = strongest(maps, region, counts, 2)
    for unit in range(5):
        slow = slow_share(maps[:, unit].double().numpy(), region.double().numpy(), counts.double().numpy(), 2)
        assert float(found[unit]) == pytest.approx(slow, abs=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_share_is_the_same_in_portions(steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    # Few different values, so that many are equal; one unit never answers.
    values = (torch.randn(6, 20, 11, 9, generator=generator) * 2).round().clamp(min=0)
    values[:, 3] = 0
    counts = torch.rand(6, 11, 9, generator=generator).round(decimals=1)
    counts[4] = 0
    region = torch.rand(6, 11, 9, generator=generator) * counts
    region[3:] = 0
    whole = strongest(values, region, counts, 3)
    streamed = Strongest(STRONGEST * float(counts[:3].sum()))
    for part in torch.arange(6).chunk(steps):
        streamed.add(values[part].transpose(0, 1).flatten(1), counts[part].flatten(), region[part].flatten())
    assert torch.allclose(streamed.share(possible(region, counts, 3)), whole, atol=1e-6)
    slow = [slow_share(*(part.double().numpy() for part in (values[:, i], region, counts)), 3) for i in range(20)]
    assert np.allclose(whole, slow, atol=1e-5)


def test_many_images_give_what_all_at_once_give_and_only_those_drawn_are_kept() -> None:
    model = tiny("dense")
    context = [image(i) for i in range(2, 40)]
    found = ins.find(model, (image(1), BOX), images=context)
    assert len(found.queries) == 1
    assert len(found.context) == 38
    queries = [*found.queries, *(Query(one, but_not=(Box(0, 0, 1, 1),)) for one in context)]
    x = stack([query.image for query in queries], model.input)
    whole = rank(model, tuple(queries), compute(model, x, list(found.maps)))
    for layer in found.maps:
        assert torch.allclose(found.score[layer], whole.score[layer], atol=1e-6)
        assert len(found.maps[layer]) == 6


def test_equal_places_share_what_is_left() -> None:
    maps = torch.zeros(1, 2, 10, 10)
    maps[0, 1, :2, :2] = 1
    region = torch.zeros(1, 10, 10)
    region[0, :2, :2] = 1
    flat, own = strongest(maps, region, torch.ones(1, 10, 10), 1).tolist()
    # A unit that is the same everywhere finds a region of 4 places in 100 by its area.
    assert flat == pytest.approx(0.05)
    assert own == pytest.approx(1, abs=0.01)


def test_what_places_could_hold_is_the_best_of_them() -> None:
    region = torch.tensor([[[0.2, 1.0], [0.5, 0.0]]])
    assert largest_share(region, 1.5) == pytest.approx(1.25)
    assert largest_share(region, 4) == largest_share(region, 9) == pytest.approx(1.7)


def test_colours_that_lie_in_the_box_alone_are_the_thing() -> None:
    pixels = np.full((10, 10, 3), 200, np.uint8)
    pixels[2:6, 2:6] = (250, 20, 20)
    pixels[2:6, 5] = (10, 10, 10)
    pixels[9] = (10, 10, 10)
    inside = torch.zeros(10, 10)
    inside[2:6, 1:6] = 1
    thing = own_colours(PILImage.fromarray(pixels), inside)
    assert (thing[2:6, 2:5] == 1).all()
    assert thing[2:6, 5].tolist() == pytest.approx([(4 / 14) ** 2] * 4)
    assert thing[2:6, 1].tolist() == pytest.approx([(4 / 74) ** 2] * 4)
    assert float(thing[inside == 0].sum()) == 0
    # In an image of one colour nothing tells the thing from what surrounds it.
    flat = own_colours(PILImage.new("L", (10, 10), 7), inside)
    assert flat[inside == 1].unique().tolist() == pytest.approx([0.04])


def test_a_unit_that_answers_to_the_things_colour_ranks_before_one_that_fills_the_box() -> None:
    pixels = np.full((24, 24, 3), 200, np.uint8)
    pixels[6:14, 6:10] = (250, 20, 20)
    shown = Query(ins.image.as_image(pixels), (Box(0.25, 0.25, 14 / 24, 14 / 24),))
    model = tiny("in-place")
    maps = torch.zeros(1, 6, 24, 24)
    maps[0, 1, 6:14, 6:10] = 1
    maps[0, 4, 6:14, 10:14] = 1
    found, alike = (rank(model, (shown,), {"relu1": maps}, colours=colours) for colours in (True, False))
    assert found.order[0] == ("relu1", 1)
    assert float(found.share["relu1"][1]) == pytest.approx(1, abs=0.01)
    assert float(alike.share["relu1"][1]) == pytest.approx(float(alike.share["relu1"][4]))


def test_fit_asks_for_the_sides_of_the_box() -> None:
    region = torch.zeros(1, 12, 12)
    region[0, 2:8, 3:9] = 1
    maps = torch.zeros(1, 3, 12, 12)
    maps[0, 0] = region[0]
    maps[0, 1, 4:6, 5:7] = 1
    maps[0, 2, 9:, 9:] = 1
    ring, core, beside = fits(maps, region)[0].tolist()
    assert ring == pytest.approx(1)
    assert 1 > core > beside


def test_average_precision_of_ties_and_parts() -> None:
    values = torch.tensor([[3.0, 2.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    found = average_precision(values, torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert found.tolist() == pytest.approx([(1 + 2 / 3) / 2, 0.5])


def test_the_unit_that_fires_in_the_box_ranks_first_and_dead_units_score_nothing() -> None:
    model = tiny("in-place")
    shown = Query(image(1, width=30, height=30), (Box(0, 0, 0.5, 0.5),))
    maps = torch.rand(1, 6, 24, 24, generator=torch.Generator().manual_seed(0))
    maps[0, 4, :12, :12] += 3
    maps[0, 2] = 0
    found = rank(model, (shown,), {"relu1": maps})
    assert found.order[0] == ("relu1", 4)
    assert float(found.score["relu1"][2]) == 0
    assert found.area == pytest.approx(0.25)
    # Told that the box does not show it, the unit falls.
    other = Query(image(2, width=30, height=30), but_not=(Box(0, 0, 0.5, 0.5),))
    both = rank(model, (shown, other), {"relu1": maps.repeat(2, 1, 1, 1)})
    assert float(both.share["relu1"][4]) < 0.6 * float(found.share["relu1"][4])


def test_boxes_of_one_image_are_joined_and_context_counts_as_not(tmp_path) -> None:
    for i in range(2):
        PILImage.fromarray(np.asarray(image(i).pil)).save(tmp_path / f"{i}.png")
    first, second = str(tmp_path / "0.png"), str(tmp_path / "1.png")
    found = ins.find(
        tiny("in-place"),
        [f"{first}@0,0,0.4,0.4", f"{first}@0.5,0.5,1,1"],
        but_not=[f"{first}@0.5,0.5,0.7,0.7", second],
        images=image(5),
    )
    assert [len(query.like) for query in found.queries] == [2, 0]
    assert found.context == (image(5).name,)
    assert [query.but_not for query in found.shown[1:]] == [(Box(0, 0, 1, 1),)] * 2
    assert found.queries[0].but_not == (Box(0.5, 0.5, 0.7, 0.7),)
    assert list(found.maps) == ["relu1", "relu2"]
    assert len(found.order) == 14


def test_parsing() -> None:
    assert parse_region("a@b.jpg@0,0,.5,1") == ("a@b.jpg", Box(0, 0, 0.5, 1))
    assert parse_region("me@home.jpg") == ("me@home.jpg", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.jpg", "has no box; write IMAGE@x0,y0,x1,y1"),
        ("a.jpg@0.1,0.2", "four numbers, not 2"),
        ("a.jpg@0.1,,0.2,0.3", "is not four numbers"),
        ("a.jpg@10,20,60,70", "outside the image.*divide pixels"),
        ("a.jpg@-0.1,0,0.5,0.5", "outside the image"),
        ("a.jpg@0.6,0,0.5,0.5", "is not a box"),
    ],
)
def test_what_is_no_box_is_refused(text: str, said: str) -> None:
    with pytest.raises(InnersightError, match=said):
        ins.find(tiny("in-place"), text)


def test_maps_that_are_not_finite_are_counted_by_layer() -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.conv2.weight[0] = torch.nan
    with pytest.raises(InnersightError, match=r"not finite: relu2 on 2 of 2 images"):
        ins.find(model, [(image(1), (0.1, 0.1, 0.5, 0.5)), (image(2), (0.1, 0.1, 0.5, 0.5))], layers=["relu1", "relu2"])


def test_errors() -> None:
    model, one = tiny("in-place"), image(1)
    with pytest.raises(InnersightError, match="needs a region"):
        ins.find(model, [])
    with pytest.raises(InnersightError, match=r"head has a grid of 1x1"):
        ins.find(model, (one, BOX), layers=["head"])
    with pytest.raises(InnersightError, match="did you mean conv"):
        ins.find(model, (one, BOX), layers=["conv3"])
    with pytest.raises(InnersightError, match="outside of the part that the network is shown"):
        ins.find(model, (image(1, width=90), (0, 0, 0.1, 1)))
    with pytest.raises(InnersightError, match="--but-not covers all of it"):
        ins.find(model, (one, BOX), but_not=one)
    with pytest.raises(InnersightError, match="--but-not covers all of it"):
        ins.find(model, (one, (0.11, 0.13, 0.57, 0.61)), but_not=(one, (0.11, 0.13, 0.57, 0.61)))
    with pytest.raises(InnersightError, match="all of every image"):
        ins.find(model, (one, (0, 0, 1, 1)))
    assert ins.find(model, (one, (0, 0, 1, 1)), images=image(2)).area == 1
    with pytest.raises(ImageError, match="no such file"):
        ins.find(model, "missing.png@0,0,1,0.5")


def test_one_file_named_in_two_ways_is_one_image(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    image(1).pil.save("a.png")
    found = ins.find(tiny("in-place"), "a.png@0.1,0.1,0.9,0.6", but_not="./a.png@0.1,0.1,0.9,0.4")
    (query,) = found.queries
    assert query.but_not == (Box(0.1, 0.1, 0.9, 0.4),)


def test_saving(tmp_path) -> None:
    found = ins.find(tiny("in-place"), (image(1), BOX), layers=["relu1", "relu2"])
    document = json.loads(found.save(tmp_path / "a.json").read_text())
    assert document["definition"] == DEFINITION
    assert document["images"][0]["like"] == [list(BOX)]
    assert document["rank"][0]["address"] == "{}:{}".format(*found.order[0])
    assert found.rank(2) == found.rank()[:2]
    assert "of the area" in found.rank(1)[0]["reason"]
    assert found.save(tmp_path / "a.png").stat().st_size > 1000
    assert set(load_file(found.save(tmp_path / "a.safetensors"))) >= {"maps.relu1", "score.relu2"}
    assert found._repr_html_().startswith("<img")
