"""Subgroups of images on which a classifier fails more often, each described by one condition.

Subgroup discovery (Kloesgen 1996; Wrobel 1997): of many conditions those in which errors are most improbable.
Conditions are bounds of what is measured of images, and groups of images that look alike to the middle of the network.
The units at its end are none: they make the decision, so that errors lie close to each other in them by themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from innersight.ambient import kept_random
from innersight.audit.measures import COLUMNS
from innersight.audit.subject import Subject

# Of the images of a class, at which values are divided into low and high.
SHARES = (0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
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
    "lines": ("images with more upright lines", "images with more level lines"),
    "size": ("small images", "large images"),
    "aspect": ("tall images", "wide images"),
    "blocks": ("images without blocks of JPEG", "images with blocks of JPEG"),
}
LEAST = 3  # images of a subgroup, in either half
LARGE = 2000  # images that are grouped one by one; of more, groups of them are
NAMED = 3  # units by which a group of images is described
WORSE = 0.15  # by which its share of errors exceeds that of the others
SUGGESTS = 0.01  # p of what is suggested
SIMPLER = {"property": 1.0, "group": 10.0}  # times as improbable must be what is harder to understand
# Of subgroups that are nearly as improbable as the best, that with the largest share of errors is described best.
NEARLY = 10.0


@dataclass(frozen=True, eq=False)
class Condition:
    """What some images have in common. holds : of all images. kind : "property" or "group"."""

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
    """Return the condition that makes the errors most improbable, see `NEARLY`, and how improbable, see `SIMPLER`."""
    holds, errors = np.stack([one.holds[among] for one in conditions]), wrong[among]
    chances = _chances(holds, errors) * np.array([SIMPLER[one.kind] for one in conditions])
    share = (holds & errors).sum(1) / np.maximum(holds.sum(1), 1)
    # The bound of what is suggested holds for what is chosen, unless nothing keeps it.
    near = chances <= max(chances.min(), min(NEARLY * chances.min(), SUGGESTS))
    best = int(np.lexsort((chances, -share * near))[0])
    return float(chances[best]), conditions[best]


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


def conditions(subject: Subject, rows: Bool[np.ndarray, " n"], suggests: Bool[np.ndarray, " n"]) -> list[Condition]:
    """Return conditions on images of some rows; bounds are set by those that suggest."""
    among = rows & suggests
    return [
        *_properties(subject, rows, among),
        *_files(subject, rows, among),
        *(_groups(subject.table.middle, subject.middle, rows, subject.seed) if subject.middle else ()),
    ]


def _divided(
    values: Float[np.ndarray, " n"], rows: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"]
) -> Iterator[tuple[bool, float, Bool[np.ndarray, " n"]]]:
    """Yield whether values are low or high, the bound, and where they are."""
    own = values[among]
    if own.size and own.max() > own.min():
        for share in SHARES:
            for high, bound in ((False, np.quantile(own, share)), (True, np.quantile(own, 1 - share))):
                yield high, float(bound), rows & (values >= bound if high else values <= bound)


def _properties(subject: Subject, rows: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"]) -> Iterator[Condition]:
    for column, name in enumerate(COLUMNS):
        for high, bound, holds in _divided(subject.table.properties[:, column].numpy(), rows, among):
            value = f"{bound:.0f} px" if name == "size" else f"{bound:.2g}"
            side = f"{name} {'of at least' if high else 'up to'} {value}"
            yield Condition(f"{WORDS[name][high]} ({side})", holds, "property")


def _files(subject: Subject, rows: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"]) -> Iterator[Condition]:
    kinds = np.array(subject.table.kinds)
    for kind in sorted(set(kinds[among].tolist()) - {""}):
        yield Condition(f"{kind} files", rows & (kinds == kind), "property")


def _groups(
    middle: Float[Tensor, "n units"], layer: str, rows: Bool[np.ndarray, " n"], seed: int
) -> Iterator[Condition]:
    """Yield groups of images that look alike to the middle of the network, by whatever it is: the nodes of a tree."""
    values = standardised(middle[torch.from_numpy(rows)])
    own = np.flatnonzero(rows)
    for members in _nodes(values, seed):
        if LEAST <= len(members) <= len(own) // 2:
            holds = np.zeros(len(rows), dtype=bool)
            holds[own[members]] = True
            mean = values[members].mean(0)
            top = np.argsort(-np.abs(mean))[:NAMED].tolist()
            units = ", ".join(f"{layer}:{unit} {'strong' if mean[unit] > 0 else 'weak'}" for unit in top)
            yield Condition(f"images that look alike to {layer} ({units})", holds, "group")


def _nodes(values: Float[np.ndarray, "n units"], seed: int) -> Iterator[Int[np.ndarray, " _"]]:
    """Yield the members of every node of a tree of images (Ward 1963)."""
    from scipy.cluster.hierarchy import linkage

    with kept_random():
        from sklearn.cluster import MiniBatchKMeans

    if len(values) < 2:
        return
    leaves = [np.array([i]) for i in range(len(values))]
    if len(values) > LARGE:
        fitted = MiniBatchKMeans(LARGE // 4, n_init=1, random_state=seed).fit(values)
        leaves = [found for i in range(LARGE // 4) if len(found := np.flatnonzero(fitted.labels_ == i))]
        values = np.stack([values[members].mean(0) for members in leaves])
    for one, two in linkage(values, "ward")[:, :2].astype(int).tolist():
        leaves.append(np.concatenate([leaves[one], leaves[two]]))
        yield leaves[-1]


def standardised(values: Float[Tensor, "n units"]) -> Float[np.ndarray, "n units"]:
    """Return values at mean 0 and deviation 1; units that do not vary are 0."""
    spread = values.double().std(0, correction=0)
    found: Float[np.ndarray, "n units"] = ((values.double() - values.double().mean(0)) / spread.clamp_min(1e-9)).numpy()
    return found


def divided(
    features: Float[Tensor, "n units"],
    classes: Int[Tensor, " n"],
    leaders: Sequence[int],
    suggests: Bool[Tensor, " n"],
    rng: np.random.Generator,
) -> Bool[np.ndarray, " n"]:
    """Return which images suggest subgroups: of those of a class that the network sees alike, every second one.

    By chance most images of a small subgroup may be on one side. Near-duplicates follow the first of them. leaders :
    the row of the first, for each row. suggests : those that suggest in classes of very many images.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage

    lead = np.array(leaders)
    first, found = lead == np.arange(len(lead)), suggests.numpy().copy()
    for label in np.unique(classes[classes >= 0].numpy()).tolist():
        own = np.flatnonzero(first & (classes == label).numpy())
        # Of very many images any half has its share.
        if not 2 <= len(own) <= LARGE:
            continue
        order = own[leaves_list(linkage(standardised(features[torch.from_numpy(own)]), "ward"))]
        for start in range(0, len(order), 2):
            pair = order[start : start + 2]
            found[pair] = (np.arange(len(pair)) == 0) ^ bool(rng.integers(2))
    sides: Bool[np.ndarray, " n"] = found[lead]
    return sides
