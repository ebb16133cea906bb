"""The statistics of a scan against slow, obvious ones in float64, and against any other order of the same images."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from innersight.scan.buckets import Histogram, bucket, middles, side
from innersight.scan.layer_batch import Batch, locations_of_images, reduced
from innersight.scan.perceptual_hash import (
    NO_HASH,
    beside,
    copies,
    distinct,
    near,
    near_duplicates,
    perceptual_hash,
    repeats,
    together,
)
from innersight.scan.statistics import LayerSettings, statistics
from innersight.scan.statistics.bands import SAMPLE, priority
from innersight.scan.statistics.class_sums import selectivity
from innersight.scan.statistics.extremes import decode, encode
from innersight.scan.statistics.sketch import ERROR, FINE, LOCATIONS, drawn, quantile, share_above_zero
from innersight.scan.tally import LayerStatistics, Tally

UNITS, KEEP, CLASSES = 5, 4, 3
CPU = torch.device("cpu")
ROOM = LayerSettings(UNITS, KEEP, 1, CLASSES, CPU, "own", ("own",), class_maps=True)


def maps_of(count: int, seed: int = 0, h: int = 3, w: int = 4) -> Tensor:
    """Maps with ties, a unit that is never positive, one that is zero everywhere, and signs of both kinds."""
    generator = torch.Generator().manual_seed(seed)
    maps = (torch.randn(count, UNITS, h, w, generator=generator) * 4).round() / 4
    maps[:, 1] = maps[:, 1].abs().neg()
    maps[:, 2] = 0
    maps[:, 3] = maps[:, 3].relu()
    return maps


def classes_of(count: int) -> Tensor:
    return torch.arange(count) % (CLASSES + 1) - 1


def unlike(count: int) -> Tensor:
    """Return hashes of images that are like no other."""
    return torch.full((count,), NO_HASH)


def gathered(
    maps: Tensor,
    shards: list[int],
    batch: int,
    *,
    channels_last: bool = False,
    hashes: Tensor | None = None,
    room: LayerSettings = ROOM,
    informed: bool = True,
    looked_up: bool = True,
) -> LayerStatistics:
    """Scan maps in shards that end at `shards`, merged in order. informed : shards know what was found before.

    looked_up : each batch knows whether it repeats an image of its shard.
    """
    whole = LayerStatistics(room, (maps.shape[2], maps.shape[3]))
    hashes = unlike(len(maps)) if hashes is None else hashes
    classes = classes_of(len(maps))
    for start, end in itertools.pairwise([0, *shards, len(maps)]):
        part = whole.shard() if informed else LayerStatistics(room, whole.grid)
        for numbers in torch.arange(start, end).split(batch):
            some = maps[numbers]
            if channels_last:
                some = some.to(memory_format=torch.channels_last)
            repeated = bool(repeats(hashes[numbers], hashes[start : int(numbers[0])]).any()) if looked_up else True
            part.add(some, Batch(numbers, classes[numbers], hashes[numbers], repeated))
        whole.merge(part)
    return whole


def same(one: LayerStatistics, other: LayerStatistics, *, rounded: str = "nothing") -> bool:
    """Say whether both hold the same bytes; of the statistic `rounded` the same numbers but for rounding."""
    first, second = one.tensors(), other.tensors()
    return first.keys() == second.keys() and all(
        torch.allclose(first[key], second[key], rtol=1e-12, atol=1e-12)
        if key.startswith(rounded)
        else torch.equal(first[key], second[key])
        for key in first
    )


@pytest.mark.parametrize("channels_last", [False, True])
def test_extremes_are_a_full_sort(channels_last: bool) -> None:
    maps = maps_of(50)
    tally = Tally(gathered(maps, [13, 30], 7, channels_last=channels_last).tensors(), 50, (3, 4))
    for unit in range(UNITS):
        own = maps[:, unit].double()
        top = sorted(range(50), key=lambda i: (-float(own[i].max()), i))[:KEEP]
        low = sorted(range(50), key=lambda i: (float(own[i].min()), i))[:KEEP]
        assert tally.image[unit].tolist() == top
        assert tally.low_image[unit].tolist() == low
        for value, (y, x), number in zip(tally.value[unit], tally.location[unit].tolist(), top, strict=True):
            assert float(own[number, y, x]) == float(value) == float(own[number].max())
        for value, (y, x), number in zip(tally.low_value[unit], tally.low_location[unit].tolist(), low, strict=True):
            assert float(own[number, y, x]) == float(value) == float(own[number].min())


def test_presence_counts() -> None:
    maps = maps_of(41)
    tally = Tally(gathered(maps, [20], 8).tensors(), 41, (3, 4))
    peaks = maps.double().amax((2, 3))
    assert tally.positive.tolist() == (peaks > 0).sum(0).tolist()
    assert tally.dead.tolist() == [bool((peaks[:, u] <= 0).all()) for u in range(UNITS)]
    assert torch.allclose(tally.mean.double(), maps.double().mean((0, 2, 3)), atol=1e-6)
    maps[:, 4] = maps[:, 4].abs() + 0.25
    assert always_active(maps) == [False, False, False, False, True]
    # One location at zero is enough, on one image of them; a unit that is never a number is not on.
    maps[17, 4, 1, 2] = 0
    assert always_active(maps) == [False] * UNITS
    maps[:, 4] = math.nan
    assert always_active(maps) == [False] * UNITS


def always_active(maps: Tensor) -> list[bool]:
    found: list[bool] = Tally(gathered(maps, [20], 8).tensors(), len(maps), (3, 4)).always_active.tolist()
    return found


def test_selectivity_follows_its_definition() -> None:
    maps = maps_of(60)
    found = Tally(gathered(maps, [25], 9).tensors(), 60, (3, 4)).selectivity
    assert found is not None
    classes = classes_of(60).numpy()
    peaks = np.maximum(maps.double().amax((2, 3)).numpy(), 0)
    for unit in range(UNITS):
        groups_ = [peaks[classes == c, unit] for c in range(CLASSES)]
        means = [float(g.mean()) for g in groups_]
        best = int(np.argmax(means))
        rest = [m for c, m in enumerate(means) if c != best]
        top, other = means[best], float(np.mean(rest))
        index = (top - other) / (top + other) if top + other > 0 else 0.0
        assert float(found["index"][unit]) == pytest.approx(index, abs=1e-6)
        if top + other == 0:
            continue
        assert int(found["best"][unit]) == best
        errors = [g.var(ddof=1) / len(g) for g in groups_]
        rest_error = sum(e for c, e in enumerate(errors) if c != best) / len(rest) ** 2
        step = 1e-6

        def of(a: float, b: float) -> float:
            return (a - b) / (a + b)

        slopes = (of(top + step, other) - of(top - step, other)), (of(top, other + step) - of(top, other - step))
        spread = math.sqrt((slopes[0] / 2 / step) ** 2 * errors[best] + (slopes[1] / 2 / step) ** 2 * rest_error)
        # `within / (n - 1)`, the unbiased variance, over n.
        assert float(found["high"][unit]) == pytest.approx(min(1, index + 1.959964 * spread), abs=1e-5)
        assert float(found["low"][unit]) == pytest.approx(max(0, index - 1.959964 * spread), abs=1e-5)
        everything = np.concatenate(groups_)
        between = sum(len(g) * (g.mean() - everything.mean()) ** 2 for g in groups_)
        within = sum(((g - g.mean()) ** 2).sum() for g in groups_)
        noise = within / (len(everything) - CLASSES)
        share = (between - (CLASSES - 1) * noise) / (between + within + noise)
        assert float(found["share"][unit]) == pytest.approx(max(0, share), abs=1e-6)


def test_what_a_class_explains_is_nothing_for_classes_drawn_at_random() -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.gamma(2.0, size=(400, 50)))
    classes = torch.from_numpy(rng.integers(0, 10, 400))
    one_hot = torch.nn.functional.one_hot(classes).double().T
    count = one_hot.sum(1, keepdim=True).long().expand(-1, 50)
    shares = selectivity(count, one_hot @ values, one_hot @ values.square())["share"]
    assert float(shares.mean()) < 0.01
    signal = values + 5 * one_hot[3][:, None]
    found = selectivity(count, one_hot @ signal, one_hot @ signal.square())
    assert (found["best"] == 3).all()
    assert float(found["share"].min()) > 0.3


def test_selectivity_where_little_is_known() -> None:
    count = torch.tensor([[3, 1, 0], [0, 1, 0]])
    total = torch.tensor([[3.0, 2.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    found = selectivity(count, total, total.square())
    assert found["best"].tolist() == [0, 0, -1]
    assert torch.isnan(found["index"]).tolist() == [True, False, True]
    assert torch.isnan(found["low"]).all()


@settings(max_examples=200)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_bucket_stands_for_its_values(value: float) -> None:
    index = int(bucket(torch.tensor([value]), FINE)[0])
    assert 0 <= index < len(middles(FINE)) == 2 * side(FINE) + 1
    stands = float(middles(FINE)[index])
    if abs(value) >= 2.0**-126:
        assert abs(stands - value) <= ERROR * abs(value) * (1 + 1e-6)
    else:
        assert stands == 0.0


@settings(max_examples=50)
@given(
    st.lists(st.floats(width=32, min_value=-1000, max_value=1000), min_size=1, max_size=80),
    st.floats(0, 1),
    st.sampled_from([2.0**-80, 2.0**-27, 1.0, 2.0**27, 2.0**100]),
)
def test_quantiles_are_within_the_stated_error_at_any_size(values: list[float], share: float, size: float) -> None:
    tensor = torch.tensor(values) * size
    histogram = Histogram(1, FINE, torch.int32, torch.device("cpu"))
    for part in tensor.split(7):
        histogram.add(part[:, None])
    first, counts = histogram.trimmed()
    assert int(counts.sum()) == len(values)
    exact = float(np.quantile(tensor.double().numpy(), share, method="higher"))
    assert abs(float(quantile(counts, first, share)[0]) - exact) <= ERROR * abs(exact) * (1 + 1e-5) + 2.0**-126
    above = sum(value >= 2.0**-126 for value in tensor.tolist()) / len(values)
    assert float(share_above_zero(counts, first)[0]) == pytest.approx(above)


def test_the_sketch_counts_the_places_it_says() -> None:
    maps = maps_of(30)
    tensors = gathered(maps, [10], 7).tensors()
    expected = torch.zeros(UNITS, 2 * side(FINE) + 1, dtype=torch.int64)
    for number in range(30):
        (locations,) = drawn(torch.tensor([number]), 12, LOCATIONS).tolist()
        assert len(set(locations)) == LOCATIONS
        for location in locations:
            for unit in range(UNITS):
                expected[unit, int(bucket(maps[number, unit, location // 4, location % 4][None], FINE)[0])] += 1
    first = int(tensors["sketch/first"])
    counts = tensors["sketch/counts"]
    assert torch.equal(expected[:, first : first + counts.shape[1]], counts.long())
    assert int(counts.sum()) == int(expected.sum())


def test_every_place_is_drawn_as_often() -> None:
    counts = torch.bincount(drawn(torch.arange(20000), 49, LOCATIONS).flatten(), minlength=49)
    assert float(counts.max()) / float(counts.min()) < 1.1


def test_the_sample_is_that_of_least_priority() -> None:
    maps = maps_of(400)
    tensors = gathered(maps, [90, 333], 16).tensors()
    everything = torch.arange(400)
    assert SAMPLE == 128
    expected = everything[priority(everything).argsort()[:128]]
    assert torch.equal(tensors["bands/numbers"], expected)
    assert torch.equal(tensors["bands/peaks"], maps.amax((2, 3))[expected])
    locations = tensors["bands/locations"].long()
    assert torch.equal(maps.flatten(2)[expected].gather(2, locations[:, :, None])[:, :, 0], tensors["bands/peaks"])
    assert len(torch.unique(priority(torch.arange(100000)))) == 100000


@settings(max_examples=25)
@given(st.integers(1, 60), st.lists(st.integers(1, 59), max_size=4), st.integers(1, 20), st.integers(1, 20))
def test_batches_do_not_matter(count: int, cuts: list[int], batch: int, other: int) -> None:
    maps = maps_of(count)
    shards = sorted({cut for cut in cuts if cut < count})
    one, two = gathered(maps, shards, batch), gathered(maps, shards, other)
    assert same(one, two)
    assert same(one, gathered(maps, shards, batch, channels_last=True))


@settings(max_examples=25)
@given(st.integers(3, 60), st.integers(1, 58), st.integers(1, 58))
def test_merging_is_associative(count: int, first: int, second: int) -> None:
    """Of values that floating point adds without rounding: every statistic the same whoever merged what first.

    Moments are about means, which are rounded.
    """
    maps = maps_of(count)
    classes = classes_of(count)
    cuts = sorted({min(first, count - 1), min(second, count - 1)})
    bounds = list(itertools.pairwise([0, *cuts, count]))

    def parts() -> list[LayerStatistics]:
        found = []
        for start, end in bounds:
            part = LayerStatistics(ROOM, (3, 4))
            part.add(maps[start:end], Batch(torch.arange(start, end), classes[start:end], unlike(end - start)))
            found.append(part)
        return found

    left = parts()
    for part in left[1:]:
        left[0].merge(part)
    right = parts()
    for i in range(len(right) - 1, 0, -1):
        right[i - 1].merge(right[i])
    backwards = parts()
    for part in backwards[:-1][::-1]:
        backwards[-1].merge(part)
    assert same(left[0], right[0], rounded="correlation")
    assert same(left[0], backwards[-1], rounded="correlation")
    assert same(left[0], gathered(maps, cuts, 16), rounded="correlation")


def test_what_was_stored_goes_on() -> None:
    maps = maps_of(40)
    whole = gathered(maps, [20], 8)
    half = gathered(maps[:20], [], 8)
    again = LayerStatistics(half.settings, half.grid)
    again.load(half.tensors())
    assert same(half, again)
    part = again.shard()
    for numbers in torch.arange(20, 40).split(8):
        part.add(maps[numbers], Batch(numbers, classes_of(40)[numbers], unlike(len(numbers))))
    again.merge(part)
    assert same(whole, again)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_maps_that_are_not_finite_count_for_nothing(bad: float) -> None:
    clean = maps_of(30)
    spoilt = clean.clone()
    spoilt[7, 0, 1, 2] = bad
    spoilt[11, 0, 0, 0] = bad
    spoilt[11, 4, 2, 3] = bad
    tally = Tally(gathered(spoilt, [10], 8).tensors(), 30, (3, 4))
    assert tally.not_finite == 3
    assert tally.first_not_finite == 7
    assert tally.raw["presence/broken"].tolist() == [2, 0, 0, 0, 1]
    keep = [i for i in range(30) if i not in (7, 11)]
    assert float(tally.mean[0]) == pytest.approx(float(clean[keep, 0].mean()), abs=1e-6)
    assert not {7, 11} & set(tally.image[0].tolist())
    assert not {7, 11} & set(tally.low_image[0].tolist())
    assert int(tally.raw["sketch/counts"][0].sum()) == 28 * LOCATIONS
    untouched = Tally(gathered(clean, [10], 8).tensors(), 30, (3, 4))
    for unit in (1, 2, 3):
        assert torch.equal(tally.value[unit], untouched.value[unit])


@settings(max_examples=100)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_keys_sort_like_values(values: list[float]) -> None:
    tensor = torch.tensor(values)[:, None]
    numbers = torch.arange(len(values))
    keys = encode(tensor, numbers[:, None])
    order = keys[:, 0].argsort(descending=True).tolist()
    assert order == sorted(range(len(values)), key=lambda i: (-values[i], i))
    back, found = decode(keys)
    assert torch.equal(back, tensor + 0.0)
    assert torch.equal(found[:, 0], numbers)


def test_the_hash_is_the_signs_of_low_frequencies_about_their_median() -> None:
    pixels = torch.rand(6, 3, 64, 32, generator=torch.Generator().manual_seed(3))
    for image, found in zip(pixels.double().numpy(), perceptual_hash(pixels).tolist(), strict=True):
        grey = image.mean(0).reshape(32, 2, 32, 1).mean((1, 3))
        low = [
            sum(
                grey[y, x] * math.cos(math.pi / 32 * (y + 0.5) * u) * math.cos(math.pi / 32 * (x + 0.5) * v)
                for y in range(32)
                for x in range(32)
            )
            for u in range(8)
            for v in range(8)
        ]
        # 32 of 64 lie above the lower of the two in the middle.
        bits = sum(1 << n for n, value in enumerate(low) if value > sorted(low)[31])
        assert found % 2**64 == bits
        assert bits.bit_count() == 32


def test_near_means_eight_bits_of_sixty_four() -> None:
    one = 0x5A5A5A5A5A5A5A5A
    for bits in range(12):
        other = one ^ ((1 << bits) - 1)
        assert near_duplicates(one, other) == (bits <= 8)
        assert bool(near(torch.tensor([[one]]), torch.tensor([[other]]))) == (bits <= 8)


def test_near_duplicates_are_told_from_other_images() -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(40, 3, 12, 12, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)
    noisy = (images * 0.9 + 0.02 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    shifted = images.roll(1, 3)
    first, second, third = (
        perceptual_hash(images).tolist(),
        perceptual_hash(noisy).tolist(),
        perceptual_hash(shifted).tolist(),
    )
    assert all(near_duplicates(a, b) for a, b in zip(first, second, strict=True))
    assert sum(near_duplicates(a, b) for a, b in zip(first, third, strict=True)) >= 30
    assert not any(near_duplicates(a, b) for a, b in itertools.combinations(first, 2))
    assert copies(np.array(first), np.array(first + second)).tolist() == [2] * 40


def test_images_without_structure_are_like_no_other() -> None:
    flat = torch.stack([torch.full((3, 20, 20), value) for value in (0.0, 0.5, 0.5)])
    hashes = perceptual_hash(flat).tolist()
    assert hashes == [NO_HASH] * 3
    assert distinct(torch.tensor([hashes]), 1).tolist() == [[0, 1, 2]]
    assert copies(np.array(hashes), np.array(hashes)).tolist() == [1, 1, 1]


def scenes(count: int, seed: int, *, of: int) -> Tensor:
    """Return hashes of images of `of` scenes: those of one scene differ in at most 6 bits of 64."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randint(1, 1 << 62, (of,), generator=generator)
    bits = torch.randint(0, 64, (count, 3), generator=generator)
    flips = torch.zeros(count, dtype=torch.int64)
    for i in range(3):
        flips ^= torch.ones_like(flips) << bits[:, i]
    return base[torch.arange(count) // 7 % of] ^ flips


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 1 << 20))
def test_which_near_duplicates_stay(count: int, most: int, seed: int) -> None:
    """Against the definition, one image after the other; also chains, of which the ends are not alike."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.ones(count, dtype=torch.int64) << torch.randint(0, 64, (count,), generator=generator)
    chain = torch.tensor(list(itertools.accumulate(steps.tolist(), lambda a, b: a ^ b))) ^ 0x123456789
    for hashes in (scenes(count, seed, of=4), chain):
        leaders: dict[int, int] = {}
        stay = []
        for i, own in enumerate(hashes.tolist()):
            leader = next((j for j in leaders if near_duplicates(own, int(hashes[j]))), i)
            leaders[leader] = leaders.get(leader, 0) + 1
            if leaders[leader] <= most:
                stay.append(i)
        assert distinct(hashes[None], most)[0].tolist() == stay + [-1] * (count - len(stay))
    pairs = [[near_duplicates(a, b) for a in hashes.tolist()] for b in hashes.tolist()]
    assert near(hashes[None], hashes[None])[0].tolist() == pairs
    for start in range(count):
        alone = not any(pairs[i][j] for i in range(start, count) for j in range(i))
        rows = torch.zeros(count - start, dtype=torch.int64)
        found = beside(rows, hashes[start:], hashes[None, :start]) if start else torch.zeros(1, dtype=torch.bool)
        found |= together(rows, torch.arange(start, count), hashes[start:], 1)
        assert found.tolist() == [not alone]
    assert copies(hashes.numpy(), hashes.numpy()).tolist() == [sum(row) for row in pairs]


@pytest.mark.parametrize("of", [4, 60, 400])
def test_what_is_known_of_repeated_images_changes_nothing(of: int) -> None:
    """Many, few and hardly any near-duplicates, within batches and across them."""
    count = 420
    maps, hashes = maps_of(count), scenes(count, of, of=of)
    room = LayerSettings(UNITS, 20, 1, CLASSES, CPU, "own")
    for shards in ([], [150, 300]):
        known, unknown = (gathered(maps, shards, 16, hashes=hashes, room=room, looked_up=i) for i in (True, False))
        assert same(known, unknown)
    found = [repeats(hashes[at : at + 16], hashes[:at]).tolist() for at in range(0, count, 16)]
    truth = [any(near_duplicates(int(one), int(other)) for other in hashes[:i]) for i, one in enumerate(hashes)]
    assert list(itertools.chain.from_iterable(found)) == truth


@pytest.mark.parametrize(("h", "w"), [(3, 4), (16, 16), (17, 16), (1, 1)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_locations_of_images_are_those_of_single_maps(h: int, w: int, channels_last: bool) -> None:
    """Also where values are equal: the first column, and in it the first row."""
    maps = maps_of(6, h=h, w=w)
    maps = maps.to(memory_format=torch.channels_last) if channels_last else maps
    batch = reduced(maps, Batch(torch.arange(6), classes_of(6), unlike(6)))
    for rows in (torch.arange(6), torch.tensor([1, 4])):
        for row, found in zip(rows.tolist(), locations_of_images(batch, rows).tolist(), strict=True):
            for unit, at in enumerate(found):
                columns = maps[row, unit].T.tolist()
                high = max(map(max, columns))
                x = next(i for i, column in enumerate(columns) if high in column)
                assert divmod(at, w) == (columns[x].index(high), x)


@pytest.mark.parametrize("most", [1, 2])
def test_a_scene_takes_the_place_of_no_other(most: int) -> None:
    """Hundreds of frames of a few scenes: the best of each, however many frames beat them and wherever shards end."""
    count, of = 700, 12
    maps, hashes = maps_of(count), scenes(count, 3, of=of)
    room = LayerSettings(UNITS, 20, most, CLASSES, CPU, "own")
    peaks = maps.flatten(2).amax(2)
    for shards in ([], [100, 400], [256, 512]):
        tally = Tally(gathered(maps, shards, 16, hashes=hashes, room=room).tensors(), count, (3, 4))
        for unit in range(UNITS):
            order = sorted(range(count), key=lambda i: (-float(peaks[i, unit]), i))
            seen = dict.fromkeys(range(of), 0)
            best = []
            for i in order:
                scene = i // 7 % of
                seen[scene] += 1
                if seen[scene] <= most:
                    best.append(i)
            found = [number for number in tally.image[unit].tolist() if number >= 0]
            assert found == best[:20]


def test_a_shard_gives_the_same_with_and_without_what_was_found_before() -> None:
    """Workers elsewhere know less of earlier images; also where alike images form chains."""
    count = 600
    generator = torch.Generator().manual_seed(5)
    steps = torch.randint(0, 64, (count, 2), generator=generator)
    chain = [0x5A5A5A5A12345678]
    for a, b in steps[1:].tolist():
        chain.append((chain[-1] ^ (1 << a) ^ (1 << b)) % (1 << 62) + 1)
    maps, hashes = maps_of(count), torch.tensor(chain)
    room = LayerSettings(UNITS, 6, 1, CLASSES, CPU, "own")
    found = [gathered(maps, [200, 400], 16, hashes=hashes, room=room, informed=i) for i in (True, False)]
    assert same(*found)
    assert (found[0].tensors()["highest/hashes"] != NO_HASH).any()


def test_every_statistic_is_gathered() -> None:
    assert set(LayerStatistics(LayerSettings(1, 1, 1, 1, CPU), (1, 1)).parts) == set(statistics)
