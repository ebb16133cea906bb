"""Subgroups of images on which a classifier fails more often, described by one or two conditions.

Subgroup discovery (Kloesgen 1996; Wrobel 1997): every condition, and the best ones joined with every other, ranked by
how improbable the errors in them are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from innersight.audit.properties import COLUMNS
from innersight.audit.subject import Subject

# Of the images of a class, at which values are divided into low and high: finely for properties, coarsely for units.
SHARES = (0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
COARSE = (0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.3, 0.5)
UNITS = 256  # those whose features differ most between errors and other images
WORDS = {
    "brightness": ("dark images", "bright images"),
    "contrast": ("images of little contrast", "images of strong contrast"),
    "red": ("images with little red", "reddish images"),
    "blue": ("images with little blue", "bluish images"),
    "saturation": ("pale images", "images of strong colours"),
    "sharpness": ("blurred images", "sharp images"),
    "noise": ("images without noise", "noisy images"),
    "rows": ("images without plain rows at the edges", "images with plain rows at the edges"),
    "columns": ("images without plain columns at the edges", "images with plain columns at the edges"),
    "across": ("images with their content on the left", "images with their content on the right"),
    "down": ("images with their content at the top", "images with their content at the bottom"),
    "blocks": ("images without blocks of JPEG", "images with blocks of JPEG"),
}
DIRECTIONS = 8  # principal ones of the features
CLUSTERS = (4, 8)
BEAM = 12  # single conditions that are joined with others
LEAST = 3  # images of a subgroup, in either half
WORSE = 0.15  # by which its share of errors exceeds that of the others
SUGGESTS = 0.01  # p of what is suggested
SIMPLER = {"property": 1.0, "features": 3.0, "both": 30.0}  # times as improbable must be what is harder to understand


@dataclass(frozen=True, eq=False)
class Condition:
    """What some images have in common. holds : of all images. kind : "property", "features" or "both"."""

    text: str
    holds: Bool[np.ndarray, " n"]
    kind: str


@dataclass(frozen=True)
class Suggestion:
    """A subgroup that half of the images suggest. p : of so many errors in it by chance."""

    condition: Condition
    p: float


def suggestions(
    conditions: Sequence[Condition], wrong: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"], limit: int
) -> list[Suggestion]:
    """Return the subgroups of some images in which errors are most improbable, none mostly within another.

    among : the images that may suggest.
    """
    chosen: list[Suggestion] = []
    left = among.copy()
    while conditions and len(chosen) < limit and wrong[left].any():
        p, condition = _best(conditions, wrong, left)
        if p >= SUGGESTS:
            break
        chosen.append(Suggestion(condition, p))
        left &= ~condition.holds
    return chosen


def _best(
    conditions: Sequence[Condition], wrong: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"]
) -> tuple[float, Condition]:
    """Return the condition, or two joined, that makes the errors most improbable, and how improbable, see `SIMPLER`."""
    holds, errors = np.stack([one.holds[among] for one in conditions]), wrong[among]
    each = _chances(holds, errors) * np.array([SIMPLER[one.kind] for one in conditions])
    order = np.argsort(each, kind="stable")
    p, condition = float(each[order[0]]), conditions[int(order[0])]
    plain = np.array([one.kind == "property" for one in conditions])
    for i in order[:BEAM].tolist():
        both = _chances(holds[i] & holds, errors) * SIMPLER["both"]
        # One of the two is something that can be seen; and together they say much more than either.
        both[~plain if conditions[i].kind != "property" else np.zeros_like(plain)] = 2.0
        best = int(np.argmin(both))
        if both[best] < 0.1 * min(p, each[i], each[best]):
            one, two = conditions[i], conditions[best]
            p, condition = float(both[best]), Condition(f"{one.text} and {two.text}", one.holds & two.holds, "both")
    return p, condition


def _chances(holds: Bool[np.ndarray, "m n"], wrong: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """Return the p of as many errors in each subgroup by chance; 2 where it is too small or no worse."""
    from scipy import stats

    inside, errors = holds.sum(1), (holds & wrong).sum(1)
    outside = len(wrong) - inside
    worse = errors / np.maximum(inside, 1) - (wrong.sum() - errors) / np.maximum(outside, 1) >= WORSE
    usable = (inside >= LEAST) & (outside >= LEAST) & worse
    found = np.full(len(holds), 2.0)
    found[usable] = stats.hypergeom.sf(errors[usable] - 1, len(wrong), int(wrong.sum()), inside[usable])
    return found


def conditions(
    subject: Subject, rows: Bool[np.ndarray, " n"], suggests: Bool[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"]
) -> list[Condition]:
    """Return conditions on images of some rows; bounds are set by those that suggest."""
    among = rows & suggests
    found = [*_properties(subject, rows, among), *_files(subject, rows, among)]
    if subject.layer is not None:
        found += _features(subject, rows, among, wrong)
    return found


def _divided(
    values: Float[np.ndarray, " n"],
    rows: Bool[np.ndarray, " n"],
    among: Bool[np.ndarray, " n"],
    shares: Sequence[float] = SHARES,
) -> Iterator[tuple[bool, float, Bool[np.ndarray, " n"]]]:
    """Yield whether values are low or high, the bound, and where they are."""
    own = values[among]
    if own.size and own.max() > own.min():
        for share in shares:
            for high, bound in ((False, np.quantile(own, share)), (True, np.quantile(own, 1 - share))):
                yield high, float(bound), rows & (values >= bound if high else values <= bound)


def _properties(subject: Subject, rows: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"]) -> Iterator[Condition]:
    for column, name in enumerate(COLUMNS):
        for high, bound, holds in _divided(subject.table.properties[:, column].numpy(), rows, among):
            side = f"{name} {'of at least' if high else 'up to'} {bound:.2g}"
            yield Condition(f"{WORDS[name][high]} ({side})", holds, "property")


def _files(subject: Subject, rows: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"]) -> Iterator[Condition]:
    kinds = np.array(subject.table.kinds)
    for kind in sorted(set(kinds[among].tolist()) - {""}):
        yield Condition(f"{kind} files", rows & (kinds == kind), "property")
    height, width = subject.table.sizes.double().numpy().T
    named = (
        (np.sqrt(height * width), ("small images", "large images"), "px", 1),
        (width / np.maximum(height, 1), ("tall images", "wide images"), "times as wide as high", 2),
    )
    for values, words, unit, digits in named:
        for high, bound, holds in _divided(values, rows, among):
            text = f"{bound:.0f}" if digits == 1 else f"{bound:.2f}"
            yield Condition(f"{words[high]} ({'at least' if high else 'up to'} {text} {unit})", holds, "property")


def beyond_logits(subject: Subject) -> Float[Tensor, "n units"]:
    """Return the features less what the logits predict of them linearly, standardised by their own deviation.

    What makes the decision says nothing on why it is wrong: that images of a class fail where the units for the class
    are weak is no finding. Units of which nothing remains are 0.
    """
    features, logits = subject.table.features.double(), subject.table.logits.double()
    design = torch.cat([logits - logits.mean(0), torch.ones(len(logits), 1, dtype=torch.float64)], 1)
    # A little shrunk: with many classes and few images the logits would predict everything.
    normal = design.T @ design
    normal += 1e-3 * normal.diagonal().mean() * torch.eye(len(normal), dtype=torch.float64)
    rest = features - design @ torch.linalg.solve(normal, design.T @ features)
    size, whole = rest.std(0), features.std(0)
    return torch.where(size > 0.05 * whole, rest / size.clamp_min(1e-12), 0.0).float()


def _than(high: bool) -> str:
    return f"{'stronger' if high else 'weaker'} than the class scores let expect"


def _features(
    subject: Subject, rows: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"]
) -> Iterator[Condition]:
    values = subject.once("slice features", lambda: beyond_logits(subject)).numpy()
    layer = subject.layer
    apart = np.abs(values[among & wrong].mean(0) - values[among & ~wrong].mean(0)) if (among & ~wrong).any() else 0
    likely = np.argsort(-np.where(values[among].std(0) > 0, apart, -1), kind="stable")[:UNITS]
    for unit in likely[values[among].std(0)[likely] > 0].tolist():
        for high, _, holds in _divided(values[:, unit], rows, among, COARSE):
            yield Condition(f"images in which {layer}:{unit} is {_than(high)}", holds, "features")
    if among.sum() < 4 * max(CLUSTERS):
        return
    middle = values[among].mean(0)
    _, _, directions = np.linalg.svd(values[among] - middle, full_matrices=False)
    for direction in directions[:DIRECTIONS]:
        # Signed so that what is strong is named by the units that it is made of.
        signed = direction * np.sign(direction[np.abs(direction).argmax()])
        top = np.argsort(-np.abs(signed))[:3].tolist()
        units = ", ".join(f"{layer}:{unit}{' (less)' if signed[unit] < 0 else ''}" for unit in top)
        for high, _, holds in _divided((values - middle) @ signed, rows, among, COARSE):
            yield Condition(f"images in which {units} are together {_than(high)}", holds, "features")
    yield from _clusters(subject, values, rows, among)


def _clusters(
    subject: Subject, values: Float[np.ndarray, "n units"], rows: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"]
) -> Iterator[Condition]:
    from sklearn.cluster import KMeans

    for count in CLUSTERS:
        fitted = KMeans(count, n_init=4, random_state=subject.seed).fit(values[among])
        nearest = np.full(len(rows), -1)
        nearest[rows] = fitted.predict(values[rows])
        for cluster in range(count):
            centre = fitted.cluster_centers_[cluster]
            top = np.argsort(-np.abs(centre))[:3].tolist()
            units = ", ".join(f"{subject.layer}:{unit} {'strong' if centre[unit] > 0 else 'weak'}" for unit in top)
            yield Condition(f"a cluster of images ({units})", nearest == cluster, "features")
