"""What each class depends on: cues suggested by one half of its images, tested by intervention on the other half."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from innersight.ambient import kept_random
from innersight.audit import evidence, recurring
from innersight.audit.cues import IMPRECISE, Cue, mask_of
from innersight.audit.interventions import Intervention, given, taken
from innersight.audit.measures import COLUMNS
from innersight.audit.properties import kinds
from innersight.audit.subject import Subject
from innersight.heatmaps.request import GRADIENT

Rows = Int[np.ndarray, " _"]
LEAST = 20  # images of a class that are needed
LOOKED = 36  # images of a class whose evidence is looked at, in each half
EVIDENCE = 0.5  # of an image's strongest evidence: what counts as evidence too
APART = 0.65  # area under the ROC curve from which a property sets a class apart
SAMPLED = 48  # images of the class, and of others, by which the strength of a property is set
SCREENED, PAIRS = (6, 24), (12, 64)  # fewest and most pairs to screen a cue, and to confirm it
EFFECT = 0.1  # by so much more than by the control images must turn
TAKEN = 0.2  # by so much more images must be lost without what destroys detail
PRECISE = 0.3  # by so much less what is more precise than a part of the image may promise
CONFIRMED = 3  # cues of a class that go on to be confirmed
TRIALS, ENOUGH = 5, 16  # passes that a pair takes with its controls, and pairs that a test needs


@dataclass(frozen=True, eq=False)
class Dependence:
    """A cue and what its interventions did on images that did not suggest it.

    lost : None where it was not tested.
    """

    cue: Cue
    turned: Intervention
    lost: Intervention | None


def depended_on(subject: Subject, label: int, passes: int) -> list[Dependence]:
    """Return the tested cues of a class. passes : that it may take."""
    rng = subject.rng(label, 0)
    half = subject.suggests
    looked = _within((8, LOOKED), passes // (8 * GRADIENT))
    sides = []
    for side in (half, ~half):
        rows = (side & (subject.own == label)).nonzero()[:, 0].numpy()
        sides.append(_drawn(rows, looked, rng))
    others = _drawn((half & subject.others(label)).nonzero()[:, 0].numpy(), LOOKED, rng)
    if not len(sides[0]) or not len(sides[1]) or not len(others):
        return []
    start = subject.passes
    cues = [*_by_evidence(subject, label, sides, others), *_by_property(subject, label, half)]
    rest = passes - (subject.passes - start)
    few = _within(SCREENED, round(rest * 0.4 / (2 * max(1, len(cues)))))
    screened = [(_promise(subject, cue, few, half), cue) for cue in cues]
    # What has a reason to be a shortcut comes before what is only a part of the image.
    weighed = [(promise + PRECISE * (cue.kind != "evidence"), cue) for promise, cue in screened if promise > EFFECT / 2]
    promising = sorted(weighed, key=lambda one: -one[0])
    chosen = [cue for _, cue in promising][:CONFIRMED]
    rest = passes - (subject.passes - start)
    # Of a small budget fewer cues are confirmed, but these with pairs enough.
    chosen = chosen[: max(1, rest // (TRIALS * ENOUGH))]
    many = _within(PAIRS, rest // (TRIALS * max(1, len(chosen))))
    found = []
    for cue in chosen:
        turned = given(subject, cue, many, ~half)
        if turned is not None:
            found.append(Dependence(cue, turned, taken(subject, cue, many, ~half)))
    return found


def _promise(subject: Subject, cue: Cue, count: int, half: Bool[Tensor, " rows"]) -> float:
    """Return by how much more than by a control images turn, on the half that suggested the cue."""
    if cue.destroys:
        trial = taken(subject, cue, count, half, controls=1)
        if trial is not None and trial.share - trial.control > TAKEN:
            return trial.share - trial.control
    first = given(subject, cue, count, half, controls=0)
    if first is None or max(_effect(cue, first)) <= EFFECT / 2:
        return 0.0
    both = given(subject, cue, count, half, controls=1)
    return 0.0 if both is None else max(_effect(cue, both))


def _effect(cue: Cue, trial: Intervention) -> tuple[float, float]:
    """Return by how much more than by a control images turn, and scores rise; the latter counts for no mere part."""
    rises = cue.kind not in IMPRECISE
    return trial.share - trial.control, (trial.rise - trial.control_rise) / 2 if rises else 0.0


def _within(bounds: tuple[int, int], wanted: int) -> int:
    return min(max(bounds[0], wanted), bounds[1])


def _drawn(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    return np.sort(rng.permutation(rows)[:count])


def _by_evidence(subject: Subject, label: int, sides: list[Rows], others: Rows) -> Iterator[Cue]:
    """Yield cues that are seen in a part of the image."""
    still = recurring.fixed(subject, label, sides[0], others)
    if still is not None:
        yield still
    if subject.layer is None:
        return
    both = evidence.peaks(subject, np.concatenate(sides), label)
    count = len(sides[0])
    first = evidence.Peaks(sides[0], both.boxes[:count], both.values[:count], both.vectors[:count])
    again = recurring.moving(subject, label, first, sides[0], others)
    if again is not None:
        yield again
    for group in evidence.clusters(first, count):
        yield _cluster(subject, label, both, first, group)


def _cluster(subject: Subject, label: int, both: evidence.Peaks, first: evidence.Peaks, group: Rows) -> Cue:
    """Return the cue whose evidence is like that of a group of images, in all images that have it."""
    centre = first.vectors[torch.from_numpy(group), 0].mean(0)
    centre = centre / centre.norm().clamp_min(1e-30)
    likeness = both.vectors @ centre
    likeness = torch.where(both.values > EVIDENCE * both.values[:, :1], likeness, -1.0)
    best = likeness.max(1)
    has = (best.values > 1 - evidence.APART).nonzero()[:, 0]
    boxes = both.boxes[has, best.indices[has]]
    masks = mask_of(boxes, *subject.model.input.shape[1:])
    top = centre.topk(min(3, len(centre))).indices.tolist()
    units = ", ".join(f"{subject.layer}:{unit}" for unit in top)
    words = f"the part of the image that {units} respond to"
    return Cue(label, "evidence", words, both.images[has.numpy()], masks, share=len(has) / len(both.images))


def _by_property(subject: Subject, label: int, half: Bool[Tensor, " rows"]) -> Iterator[Cue]:
    """Yield the properties by which the images of a class differ from those of other classes."""
    with kept_random():
        from sklearn.metrics import roc_auc_score

    half = half & (subject.own >= 0)
    rows = half.nonzero()[:, 0].numpy()
    truth = (subject.own[half] == label).numpy()
    if min(int(truth.sum()), int((~truth).sum())) < 2:
        return
    values = subject.table.properties[half].numpy()
    corners = subject.table.corners[half].numpy()
    every = (subject.own == label).nonzero()[:, 0].numpy()
    rng = subject.rng(label, 3)
    others = subject.pixels[_drawn(rows[~truth], SAMPLED, rng)].float() / 255
    usual = dict(zip(COLUMNS, np.median(values[~truth], 0).tolist(), strict=True))
    squashed = subject.model.input.fit == "squash"
    for kind in kinds:
        if kind.squashed and not squashed:
            continue
        columns = [COLUMNS.index(name) for name in kind.columns]
        direction = _direction(values[:, columns], truth)
        along = values[:, columns] @ direction
        apart = float(roc_auc_score(truth, along))
        if apart < APART or (kind.everywhere and roc_auc_score(truth, corners[:, columns] @ direction) < kind.corners):
            continue
        mine = np.flatnonzero(truth)
        mine = mine[np.argsort(-along[mine], kind="stable")][: max(4, round(kind.most * len(mine)))]
        own = dict(zip(COLUMNS, np.median(values[mine], 0).tolist(), strict=True))
        pixels = subject.pixels[_drawn(rows[mine], SAMPLED, rng)].float() / 255
        for one in kind.build(own, usual, others, pixels):
            yield Cue(label, one.name, one.words, every, property=one, apart=apart, destroys=kind.destroys)


def _direction(values: Float[np.ndarray, "n k"], truth: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " k"]:
    """Return the direction that sets the images of a class apart best (Fisher 1936)."""
    apart = values[truth].mean(0) - values[~truth].mean(0)
    within = np.atleast_2d(sum(np.cov(values[side].T) for side in (truth, ~truth)))
    # What is the same in all images of either side has no deviation, and sets them apart best.
    scale = np.maximum(values.std(0), 1e-12)
    least = 1e-4 * np.eye(len(scale))
    found: Float[np.ndarray, " k"] = np.linalg.solve(within / np.outer(scale, scale) + least, apart / scale) / scale
    return found
