"""Which images a network learns from and which judge it: known by their content, through chains of runs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from innersight.errors import InnersightError, printable
from innersight.storage.bounded import read_json
from innersight.storage.writing import write_text
from innersight.train.data import TrainingImages

FILE = "split.json"
SHOWN = 3
RANDOM = ("small", "timm", "torchvision")  # origins whose networks begin with random weights when none are asked for
Content = tuple[str, str]
"""Digests of a file's bytes and of its decoded pixels: images are the same where either is."""


@dataclass(frozen=True)
class History:
    """What the weights a run starts from were trained on.

    source : the run, for sentences. trained, held : digests of all images that it or the runs before it learned from,
    and of those held out that none learned from. complete : False where the run does not list them.
    """

    source: str
    trained: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    complete: bool = True


@dataclass(frozen=True, eq=False)
class Split:
    """Positions of the images to learn from, and of those that judge.

    doubt : why these cannot be called held out, None where they can. notes : for people.
    """

    training: np.ndarray
    held_out: np.ndarray
    doubt: str | None = None
    notes: tuple[str, ...] = field(default=())


def groups_of(contents: Sequence[Sequence[str]]) -> np.ndarray:
    """Return for each of N images the position of the first one that is the same, (N,) int64.

    contents : what distinguishes each; images are the same where they have any of it in common.

    >>> groups_of([("a", "1"), ("b", "2"), ("c", "1"), ("c", "3")]).tolist()
    [0, 1, 0, 0]
    """
    leads = list(range(len(contents)))

    def lead(n: int) -> int:
        while leads[n] != n:
            leads[n] = leads[leads[n]]
            n = leads[n]
        return n

    known: dict[str, int] = {}
    for n, content in enumerate(contents):
        for digest in content:
            first, own = sorted((lead(known.setdefault(digest, n)), lead(n)))
            leads[own] = first
    return np.array([lead(n) for n in range(len(contents))], dtype=np.int64)


def divide(images: TrainingImages, history: History | None, *, holdout: float, seed: int) -> Split:
    """Hold out the same share of every class, and none that the weights the run starts from have learned from.

    Copies of an image stay together: one of them judges, or all are learned from. What the earlier runs held out stays
    held out, what they learned from is learned from again, and only images new to them are dealt out by `seed`. Images
    that lie in more than one class do not judge. Where nothing else is left, images that were learned from are held
    out all the same, and `doubt` states it.

    holdout : share, 0 < holdout < 1; rounded for each class, but one image or more of every class of two.
    Raises InnersightError for a share out of range or when nothing can be held out.
    """
    if not 0 < holdout < 1:
        raise InnersightError(f"holdout {holdout} is a share of the images: give 0 < holdout < 1, such as 0.1")
    groups, targets = groups_of(images.contents), images.targets
    first = groups == np.arange(len(groups))
    mixed = _any(targets != targets[groups], groups)
    trained = _any(_known(images.contents, history.trained if history else ()), groups)
    held_before = _any(_known(images.contents, history.held if history else ()), groups) & ~trained
    judges = first & ~mixed
    held = _drawn(targets, judges & ~trained, judges & held_before, holdout, seed)
    doubt = _unknown(history)
    if not held.any() and trained.any():
        held = _drawn(targets, judges, judges & False, holdout, seed)
        if held.any() and history is not None:
            doubt = f"not held out: {int(held.sum())} of {int(held.sum())} were training images of {history.source}"
    notes = list(_about_copies(images, groups, mixed))
    if not held.any():
        why = f" ({'; '.join(notes)})" if notes else ""
        raise InnersightError(
            f"no class has two images{' of its own' if why else ''}, so none can be held out{why}; "
            "give more images or a folder as val"
        )
    training = ~_any(held, groups)
    notes += _about_classes(images, training, held, trained)
    if history is not None and history.complete:
        notes.append(
            f"{int(trained.sum()):,} of {len(trained):,} images were training images of {history.source}, "
            f"{int(held_before.sum()):,} were held out by it; both stay so"
            if doubt is None
            else f"all images that could judge were training images of {history.source}"
        )
    return Split(np.flatnonzero(training), np.flatnonzero(held), doubt, tuple(notes))


def judged(images: TrainingImages, judges: TrainingImages, history: History | None) -> Split:
    """Learn from all of `images`, and judge by a folder of its own; `doubt` counts the images that are in both."""
    own = frozenset(digest for content in images.contents for digest in content)
    total, doubts = len(judges.files), []
    if shared := int(_known(judges.contents, own).sum()):
        doubts.append(f"{shared:,} of {total:,} are training images too")
    if history is not None and (before := int(_known(judges.contents, history.trained).sum())):
        doubts.append(f"{before:,} of {total:,} were training images of {history.source}")
    doubt = f"not held out: {' and '.join(doubts)}" if doubts else _unknown(history)
    return Split(np.arange(len(images.files)), np.arange(total), doubt)


def learned(images: TrainingImages) -> Split:
    """Learn from all of `images`, and judge by the same."""
    every = np.arange(len(images.files))
    return Split(every, every, "not held out: they are the training images")


def history_of(run: Path | None, weights: str | None, net: str) -> History | None:
    """Return what the weights a run starts from were trained on; None for random ones and those of libraries.

    run : folder of the earlier run, where the weights were named by it. weights : "hub", or a file; one in the folder
    of a run is that run's. net : architecture, as ORIGIN:NAME; some origins bring their own weights.
    Raises InnersightError where a run's list is damaged.
    """
    if run is None and weights is None and net.partition(":")[0] not in RANDOM:
        return History(net, complete=False)
    if run is None and weights not in (None, "hub"):
        file = Path(str(weights)).absolute()
        folders = [folder for folder in (file.parent, file.parent.parent) if (folder / FILE).is_file()]
        run = folders[0] if folders else None
        if run is None:
            return History(Path(str(weights)).name, complete=False)
    if run is None:
        return None
    if not (run / FILE).is_file():
        return History(run.name, complete=False)
    digests = _digests(run / FILE)
    if digests is None:
        return History(run.name, complete=False)
    trained = frozenset(digests["training"]) | frozenset(digests["before"])
    held = frozenset(digests["held_out"]) | frozenset(digests["held_before"])
    return History(run.name, trained, held - trained, complete=bool(digests["complete"]))


def learned_by(run: Path | None) -> frozenset[str]:
    """Return the digests of all images that the weights in a run folder were trained on; none where it has no list."""
    history = history_of(run, None, "") if run is not None else None
    return history.trained if history is not None else frozenset()


def keep(
    out: Path, split: Split, images: TrainingImages, judges: TrainingImages, history: History | None, *, resumed: bool
) -> None:
    """Write `split.json`; with `resumed` raise InnersightError where the images are not those the run began with."""

    def digests(whose: TrainingImages, positions: np.ndarray) -> list[str]:
        return [digest for n in positions for digest in whose.contents[n]]

    before = history or History("")
    held = {
        "training": len(split.training),
        "held_out": [judges.files[n] for n in split.held_out],
        "folder": "train" if judges is images else "val",
        "not_held_out": split.doubt,
        "digests": {
            "training": digests(images, split.training),
            "held_out": digests(judges, split.held_out),
            "before": sorted(before.trained),
            "held_before": sorted(before.held),
            "complete": before.complete,
        },
    }
    path = out / FILE
    if resumed and path.is_file() and read_json(path, what="list of held out images") != held:
        raise InnersightError(
            f"the images changed since the run in {out} began: restore them, "
            "or start anew with overwrite=True (--overwrite)"
        )
    write_text(path, json.dumps(held, indent=0) + "\n")


def _digests(path: Path) -> dict[str, Any] | None:
    """Read the digests of a run; None where it was made before there were any."""
    try:
        found = read_json(path, what="list of a run's images").get("digests")
        if found is None:
            return None
        lists = [found[key] for key in ("training", "held_out", "before", "held_before")]
        if not all(isinstance(digest, str) for one in lists for digest in one):
            raise TypeError("digests are text")
        return {**found, "complete": found["complete"]}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InnersightError(f"{path}: not the list of a run's images ({error}); train that run again") from error


def _unknown(history: History | None) -> str | None:
    if history is None or history.complete:
        return None
    return f"perhaps not held out: {history.source} does not list its training images"


def _known(contents: Sequence[Content], digests: Any) -> np.ndarray:
    """(N,) bool: which images have one of the digests."""
    return np.array([a in digests or b in digests for a, b in contents], dtype=bool)


def _any(flags: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(N,) bool: whether any image that is the same has the flag."""
    found = np.zeros(len(flags), dtype=bool)
    np.logical_or.at(found, groups, flags)
    shared: np.ndarray = found[groups]
    return shared


def _drawn(targets: np.ndarray, free: np.ndarray, kept: np.ndarray, holdout: float, seed: int) -> np.ndarray:
    """(N,) bool: those `kept`, and of each class the share of those `free` beside them."""
    random, held = np.random.default_rng(seed), kept.copy()
    for number in np.unique(targets):
        own = np.flatnonzero((targets == number) & free & ~kept)
        least = 0 if kept[targets == number].any() else 1
        # One stays to learn from.
        most = len(own) - (len(own) + int(kept[targets == number].sum()) == int((targets == number).sum()))
        held[random.permutation(own)[: min(max(least, round(len(own) * holdout)), most)]] = True
    return held


def _about_classes(
    images: TrainingImages, training: np.ndarray, held: np.ndarray, trained: np.ndarray
) -> Iterator[str]:
    """Yield a sentence for the classes of which none judges, and one for those that nothing is learned of."""
    judging, known, learning = (
        np.bincount(images.targets[flags], minlength=len(images.labels)) for flags in (held, trained, training)
    )
    present = np.bincount(images.targets, minlength=len(images.labels)) > 0
    if len(unjudged := np.flatnonzero(present & (judging == 0))):
        before = " (the weights it starts from learned of them)" if known[unjudged].all() else ""
        yield f"no image of {_few(images.labels, unjudged)} is held out{before}: not covered by the accuracy"
    if len(unlearned := np.flatnonzero(present & (learning == 0))):
        yield f"no image of {_few(images.labels, unlearned)} is left to learn from: all are held out"


def _few(labels: Sequence[str], numbers: np.ndarray) -> str:
    more = f" and {len(numbers) - SHOWN:,} more classes" if len(numbers) > SHOWN else ""
    return ", ".join(printable(labels[n]) for n in numbers[:SHOWN]) + more


def _about_copies(images: TrainingImages, groups: np.ndarray, mixed: np.ndarray) -> list[str]:
    copies = np.flatnonzero(groups != np.arange(len(groups)))
    notes = []
    if len(copies):
        one, other = images.files[copies[0]], images.files[groups[copies[0]]]
        notes.append(
            f"{len(copies):,} images are copies of others, such as {one} of {other}: "
            "they stay on the same side of the split"
        )
    if mixed.any():
        n = int(np.flatnonzero(mixed & (groups != np.arange(len(groups))))[0])
        other = images.files[groups[n]]
        notes.append(
            f"{int(mixed.sum()):,} images lie in more than one class, such as {images.files[n]} and {other}: "
            "they are not held out"
        )
    return notes
