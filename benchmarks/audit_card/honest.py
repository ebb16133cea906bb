"""Clean networks that learned toons in their own colours: what a class wears is its own, and no shortcut."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import innersight as ins
from benchmarks.audit_card.cases import (
    AUDITED,
    FIRST_HONEST,
    HONEST,
    LEARNED,
    chosen_labels,
    made,
    taken,
    trained,
    write_images,
)
from benchmarks.audit_card.outcome import Figure, Outcome, audited, lines, share
from benchmarks.audit_card.pool import PER_CLASS, TRAIN
from benchmarks.audit_card.training import keep

NETWORKS = 10


def jobs(quick: bool) -> list[tuple[int]]:
    """Return the seed of every network."""
    return [(seed,) for seed in range(300, 300 + (2 if quick else NETWORKS))]


def judge(seed: int) -> Outcome:
    """Train, audit, and count what is confirmed."""
    folder = made(f"honest-{seed}", partial(_make, seed), __file__)
    found = audited(ins.load(f"run:{folder / 'run'}"), folder / "images")
    faults = [one for one in found.findings if one.fault]
    accused = [one for one in faults if one.check == "shortcut"]
    rest = [one for one in faults if one.check not in ("shortcut", "slice")]
    return Outcome(
        "honest", "own colours", seed, wrong=lines([*accused, *rest]), near=lines(faults),
        numbers={"shortcuts": len(accused), "others": len(rest)},
    )  # fmt: skip


def _make(seed: int, folder: Path) -> None:
    labels = chosen_labels(seed)
    honest = taken(labels, FIRST_HONEST, PER_CLASS, HONEST, seed, "own")
    net, _ = trained(taken(labels, 0, TRAIN, LEARNED, seed, "own"), seed, honest)
    keep(folder / "run", net, labels)
    write_images(folder / "images", labels, list(taken(labels, TRAIN, FIRST_HONEST, AUDITED, seed, "own")), seed)


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return the lines of the card."""
    accused, others = (sum(one.numbers[key] > 0 for one in outcomes) for key in ("shortcuts", "others"))
    what = "clean networks on characters in their own colours wrongly accused"
    return [
        Figure(f"{what} of a shortcut", "", share(accused, len(outcomes))),
        Figure(f"{what} of anything else but a weak slice", "", share(others, len(outcomes))),
    ]
