"""Planted weak slices: part of a class drawn in a way that the network never saw, and recognises badly."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from benchmarks.audit_card.cases import FIRST_HONEST, HONEST, made, make_case, paths_of, taken, write_images
from benchmarks.audit_card.outcome import Figure, Outcome, audited, lines, path_of, share
from benchmarks.audit_card.pool import CLASSES, PER_CLASS, SIDE, TRAIN, Pixels
from benchmarks.audit_card.training import predicted

NETWORKS, EACH = 20, 160
"""Clean networks, and images of each class in the audited folder."""
SHARE = (0.05, 0.10)
WEAK = 0.5
"""A slice is planted where no more of the class is recognised in this way; else another is thrown."""
PRECISION = 0.5
"""Share of a finding's images that must be of the planted slice."""


def upside_down(pixels: Pixels, dice: np.random.Generator) -> Pixels:
    """The image stands on its head."""
    return pixels[::-1]


def sideways(pixels: Pixels, dice: np.random.Generator) -> Pixels:
    """The image lies on its side."""
    return np.rot90(pixels, 1 if dice.random() < 0.5 else -1)


def dark(pixels: Pixels, dice: np.random.Generator) -> Pixels:
    """Hardly any light."""
    return np.rint(pixels * dice.uniform(0.2, 0.35)).astype(np.uint8)


def pale(pixels: Pixels, dice: np.random.Generator) -> Pixels:
    """Little contrast, as in fog."""
    return np.rint(pixels * 0.35 + 160 * dice.uniform(0.9, 1.0)).astype(np.uint8)


def covered(pixels: Pixels, dice: np.random.Generator) -> Pixels:
    """The head is behind a board of some colour."""
    changed = pixels.copy()
    changed[: int(dice.integers(34, 42))] = dice.integers(0, 256, 3)
    return changed


def far(pixels: Pixels, dice: np.random.Generator) -> Pixels:
    """The image is less than half as large, within a plain margin."""
    side = int(dice.integers(24, 30))
    changed = np.full_like(pixels, pixels.reshape(-1, 3).mean(0).astype(np.uint8))
    x, y = dice.integers(0, SIDE - side, 2)
    changed[y : y + side, x : x + side] = np.asarray(PILImage.fromarray(pixels).resize((side, side)))
    return changed


Way = Callable[[Pixels, np.random.Generator], Pixels]
WAYS: dict[str, Way] = {way.__name__: way for way in (upside_down, sideways, dark, pale, covered, far)}


def jobs(quick: bool) -> list[tuple[int]]:
    """Return the seed of every network."""
    return [(seed,) for seed in range(3 if quick else NETWORKS)]


def judge(seed: int) -> Outcome:
    """Audit a clean network on a folder with a weak slice."""
    case = make_case("clean", seed)
    model = case.model
    look = np.random.default_rng((seed, 6))
    honest = taken(case.labels, FIRST_HONEST, PER_CLASS, HONEST, seed)
    while True:
        name = str(look.choice(list(WAYS)))
        target = int(look.integers(CLASSES))
        own = np.stack([WAYS[name](pixels, look) for pixels in honest[target]])
        recall = float((predicted(model.net, own) == target).mean())
        if recall <= WEAK:
            break
    images = taken(case.labels, TRAIN, FIRST_HONEST, EACH, seed)
    planted = sorted(look.choice(EACH, round(look.uniform(*SHARE) * EACH), replace=False).tolist())
    for i in planted:
        images[target, i] = WAYS[name](images[target, i], look)

    def write(folder: Path) -> None:
        write_images(folder, case.labels, list(images), seed)

    folder = made(f"slice-{seed}", write, __file__)
    paths = paths_of(case.labels, [EACH] * CLASSES, seed)[target]
    truth = {paths[i] for i in planted}
    found = audited(model, folder, ["slice"])
    confirmed = [one for one in found.findings if one.confirmed and one.check == "slice"]
    hits = [
        one
        for one in confirmed
        if one.label in (case.labels[target], None)
        and np.mean([path_of(path) in truth for path in one.images]) >= PRECISION
    ]
    return Outcome(
        "slices",
        name,
        seed,
        f"{len(planted)} of {EACH} images of {case.labels[target]} {name.replace('_', ' ')}",
        bool(hits),
        "",
        lines(hits),
        lines([one for one in confirmed if one not in hits]),
        lines([one for one in found.findings if one not in hits]),
        {"accuracy": case.accuracy, "accuracy_slice": recall},
        tuple(str(folder / path) for path in sorted(truth)[:4]),
    )


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return the lines of the card."""
    hits, total = sum(bool(one.hit) for one in outcomes), len(outcomes)
    each = ", ".join(
        f"{way.replace('_', ' ')} {share(sum(bool(o.hit) for o in outcomes if o.kind == way), count)}"
        for way in WAYS
        if (count := sum(o.kind == way for o in outcomes))
    )
    false = sum(bool(one.wrong) for one in outcomes)
    return [
        Figure("planted weak slices (5 to 10% of a class) confirmed", "14 of 20", f"{share(hits, total)} ({each})"),
        Figure("networks with a confirmed slice that is another", "1 of 20", share(false, total)),
    ]
