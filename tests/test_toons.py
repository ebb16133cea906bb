"""Drawn characters: same seed same image, masks that partition, redraws that change nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from innersight import toons
from innersight.toons import backdrop, characters, figure, hair, scene, wear

SEEDS = range(12)


@pytest.fixture(params=toons.CLASSES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_classes_are_named_in_order() -> None:
    assert len(toons.CLASSES) >= 8
    assert list(toons.CLASSES) == sorted(toons.CLASSES)


def test_shapes_and_types(name: str) -> None:
    toon = toons.draw(name, 3)
    assert (toon.name, toon.seed, toon.size, toon.removed) == (name, 3, 96, None)
    assert toon.pixels.shape == (96, 96, 3)
    assert toon.pixels.dtype == np.uint8
    assert toon.parts.shape == (96, 96)
    assert toon.parts.dtype == np.uint8
    assert not toon.pixels.flags.writeable
    assert not toon.parts.flags.writeable


def test_same_seed_same_image(name: str) -> None:
    first, again = toons.draw(name, 5), toons.draw(name, 5)
    assert first is not again
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.parts, again.parts)


def test_every_seed_another_image(name: str) -> None:
    prints = {hashlib.sha256(toons.draw(name, seed).pixels.tobytes()).digest() for seed in SEEDS}
    assert len(prints) == len(SEEDS)


def test_masks_partition_the_image(name: str) -> None:
    masks = toons.draw(name, 1).masks
    assert tuple(masks) == toons.PARTS
    assert (np.sum(list(masks.values()), axis=0) == 1).all()


def test_every_part_is_seen(name: str) -> None:
    for seed in SEEDS:
        for part, mask in toons.draw(name, seed).masks.items():
            assert mask.sum() >= 2, f"{part} of {name} is hidden at seed {seed}"


def test_touches_is_the_mask_and_its_rim(name: str) -> None:
    toon = toons.draw(name, 2)
    for part in toons.PARTS:
        mask, touched = toon.mask(part), toon.touches(part)
        assert (touched | ~mask).all()
        assert 0 < touched.sum() < 96 * 96


@pytest.mark.parametrize("part", toons.PARTS)
def test_without_changes_nothing_else(name: str, part: str) -> None:
    for seed in SEEDS:
        whole = toons.draw(name, seed)
        less = whole.without(part)
        assert less.removed == part
        outside = ~whole.touches(part)
        assert np.array_equal(less.pixels[outside], whole.pixels[outside])
        assert np.array_equal(less.parts[~whole.mask(part)], whole.parts[~whole.mask(part)])
        assert not np.array_equal(less.pixels, whole.pixels)
        if part != "background":
            assert not less.touches(part).any()


def test_without_is_draw_without(name: str) -> None:
    assert np.array_equal(toons.draw(name, 4).without("hair").pixels, toons.draw(name, 4, without="hair").pixels)


def test_without_background_is_one_flat_grey(name: str) -> None:
    bare = toons.draw(name, 6, without="background")
    inside = bare.mask("background") & ~np.logical_or.reduce([bare.touches(p) for p in toons.PARTS[1:]])
    assert len(np.unique(bare.pixels[inside], axis=0)) == 1


def test_without_clothes_shows_the_dress_form(name: str) -> None:
    whole = toons.draw(name, 8, without="background")
    bare = toons.draw(name, 8, without="clothes")
    gained = bare.mask("skin") & whole.mask("clothes")
    assert gained.sum() > 0


@pytest.mark.parametrize("size", [16, 33, 64, 200])
def test_other_sizes_show_the_same_scene(size: int) -> None:
    toon = toons.draw("gilda", 9, size=size)
    assert toon.pixels.shape == (size, size, 3)
    assert toon.parts.shape == (size, size)
    usual = toons.draw("gilda", 9).pixels.mean(axis=(0, 1))
    assert np.abs(toon.pixels.mean(axis=(0, 1)) - usual).max() < 12


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(toons.CLASSES),
    seed=st.integers(0, 2**40),
    part=st.sampled_from(toons.PARTS),
    size=st.sampled_from([48, 96]),
)
def test_any_seed_keeps_the_contract(name: str, seed: int, part: str, size: int) -> None:
    whole = toons.draw(name, seed, size=size)
    less = whole.without(part)
    assert int(whole.parts.max()) < len(toons.PARTS)
    outside = ~whole.touches(part)
    assert np.array_equal(less.pixels[outside], whole.pixels[outside])
    assert np.array_equal(less.parts[~whole.mask(part)], whole.parts[~whole.mask(part)])


def test_scene_tells_nothing_of_the_class() -> None:
    for held in ("setting", "mouth", "occluder", "flip"):
        seen = [{getattr(scene.sample(n, s), held) for s in range(200)} for n in toons.CLASSES]
        assert all(values == seen[0] for values in seen)


@pytest.mark.parametrize(("held", "choice"), [("setting", scene.SETTINGS), ("occluder", scene.OCCLUDERS)])
def test_every_choice_can_be_drawn(held: str, choice: tuple[str, ...]) -> None:
    seen = {getattr(scene.sample("bosk", s), held): s for s in range(300)}
    for value in choice:
        assert toons.draw("bosk", seen[value]).mask("background").any()


def test_registries_and_data_agree() -> None:
    assert set(backdrop.SETTINGS) == set(scene.SETTINGS)
    assert set(backdrop.OCCLUDERS) == set(scene.OCCLUDERS)
    assert set(scene.ARMS) == set(wear.ARMS)
    kinds = set(wear.BEHIND) | set(wear.ON_BODY) | set(wear.ON_FACE) | set(wear.ON_HEAD)
    for who in characters.CAST.values():
        assert who.head in figure.HEADS
        assert who.hair in hair.FRONT
        assert who.clothes in wear.CLOTHES
        assert who.accessories
        assert {kind for kind, _ in who.accessories} <= kinds
    assert set(hair.BACK) <= set(hair.FRONT)


def test_no_single_attribute_is_unique_to_its_colour() -> None:
    cast = list(characters.CAST.values())
    assert sum(c.hair_colour == characters.TEAL for c in cast) >= 2
    assert sum(c.clothes_colour == characters.RED for c in cast) >= 2
    assert sum("glasses" in dict(c.accessories) for c in cast) >= 2


def test_own_colours_are_those_of_the_first_version(name: str) -> None:
    """The embedded network was trained on these pixels."""
    assert np.array_equal(toons.draw(name, 0).pixels, toons.draw(name, 0, colours="own").pixels)
    digest = hashlib.sha256(b"".join(toons.draw(n, 5, size=32).pixels.tobytes() for n in toons.CLASSES)).hexdigest()
    assert digest == "62e9753435ac0cecbe4a212627b6f09b64cde19a2045b091e9373255643fbd5a"


def test_shuffled_colours_leave_every_shape(name: str) -> None:
    changed = 0
    for seed in SEEDS:
        own, other = toons.draw(name, seed), toons.draw(name, seed, colours="shuffled")
        assert (own.colours, other.colours) == ("own", "shuffled")
        assert np.array_equal(own.parts, other.parts)
        skin = own.mask("skin") & ~np.logical_or.reduce([own.touches(p) for p in toons.PARTS if p != "skin"])
        assert np.array_equal(own.pixels[skin], other.pixels[skin])
        changed += not np.array_equal(own.pixels, other.pixels)
        assert np.array_equal(
            other.without("hair").pixels, toons.draw(name, seed, without="hair", colours="shuffled").pixels
        )
    assert changed >= len(SEEDS) // 2


def test_shuffled_colours_say_nothing_of_the_class() -> None:
    """The nearest colour histogram, hair and clothes apart, names most in their own colours and none when shuffled."""

    def histogram(toon: toons.Toon) -> np.ndarray:
        found = []
        for part in ("hair", "clothes"):
            bins = np.histogramdd(toon.pixels[toon.mask(part)], bins=4, range=[(0, 256)] * 3)[0]
            found.append(np.sqrt(bins / bins.sum()).ravel())
        return np.concatenate(found)

    def accuracy(colours: str) -> float:
        known, asked = (
            np.array([[histogram(toons.draw(n, s, size=48, colours=colours)) for s in seeds] for n in toons.CLASSES])
            for seeds in (range(40), range(40, 60))
        )
        nearest = (known.mean(1) @ asked.reshape(-1, asked.shape[-1]).T).argmax(0).reshape(len(toons.CLASSES), -1)
        return float((nearest == np.arange(len(toons.CLASSES))[:, None]).mean())

    assert accuracy("own") > 0.9
    assert accuracy("shuffled") < 0.25


def test_every_palette_is_as_likely_for_every_character() -> None:
    counts = np.array(
        [
            [scene.other_character(n, s, toons.CLASSES) == other for s in range(600)]
            for n in toons.CLASSES
            for other in toons.CLASSES
        ]
    ).sum(1)
    # Binomial(600, 1/10): 60, standard deviation 7.3.
    assert counts.min() > 60 - 5 * 7.35
    assert counts.max() < 60 + 5 * 7.35


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown toon 'amber'; did you mean 'ambra'.*bosk.*jory"):
        toons.draw("amber", 0)
    with pytest.raises(ValueError, match=r"unknown part 'hairs'; did you mean 'hair'.*background.*accessory"):
        toons.draw("ambra", 0, without="hairs")
    with pytest.raises(ValueError, match=r"unknown colours 'shuffle'; did you mean 'shuffled'.*own, shuffled"):
        toons.draw("ambra", 0, colours="shuffle")
    toon = toons.draw("ambra", 0)
    for ask in (toon.mask, toon.touches, toon.without):
        with pytest.raises(ValueError, match="unknown part 'month'; did you mean 'mouth'"):
            ask("month")


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="seed is -1"):
        toons.draw("ambra", -1)
    with pytest.raises(ValueError, match="size is 8"):
        toons.draw("ambra", 0, size=8)
    with pytest.raises(ValueError, match="without 'hair'"):
        toons.draw("ambra", 0, without="hair").without("eyes")


def test_write_makes_a_folder_per_class(tmp_path: Path) -> None:
    home = tmp_path / "new" / "toons"
    assert toons.write(home, per_class=2, seed=10, size=48) == 2 * len(toons.CLASSES)
    assert sorted(p.name for p in home.iterdir()) == list(toons.CLASSES)
    with PILImage.open(home / "elke" / "elke-000011.png") as file:
        assert np.array_equal(np.asarray(file), toons.draw("elke", 11, size=48).pixels)


def test_write_and_drawn_shuffle_colours(tmp_path: Path) -> None:
    toons.write(tmp_path, per_class=1, seed=3, size=32, colours="shuffled")
    drawn = toons.Drawn(1, seed=3, size=32, colours="shuffled")
    for i, name in enumerate(toons.CLASSES):
        expected = toons.draw(name, 3, size=32, colours="shuffled").pixels
        with PILImage.open(tmp_path / name / f"{name}-000003.png") as file:
            assert np.array_equal(np.asarray(file), expected)
        assert np.array_equal(drawn[i]["image"], expected)
    assert any(
        not np.array_equal(drawn[i]["image"], toons.draw(n, 3, size=32).pixels) for i, n in enumerate(toons.CLASSES)
    )


def test_write_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="per_class is 0"):
        toons.write(tmp_path, per_class=0)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not empty"):
        toons.write(tmp_path, per_class=1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
