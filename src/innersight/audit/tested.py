"""Cues that were tested, as plain data: what is kept of them, and why one is called a shortcut."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from innersight.audit.checks import NotCheckedError
from innersight.audit.cues import IMPRECISE, region_of
from innersight.audit.dependence import LEAST, TAKEN, Dependence, depended_on
from innersight.audit.finding import Proof, Region
from innersight.audit.interventions import given
from innersight.audit.subject import Subject
from innersight.inputs import ImageReader
from innersight.statistics import holm

SHARE = 0.74  # of all passes
EFFECT = 0.1  # by so much more than by the control images must turn
LEVEL = 0.05  # of p, after the correction
CLEAR = 0.15  # the same of a shortcut, and
LOST, ALONE = 0.05, 0.3  # of a property, by so much more images must be lost without it, or turn if none can be
COSTLY = 0.2  # share of images that are lost by a control from which on their loss tells nothing
CLEARLY = 0.5  # share of images that are lost without what hardly turns another
RISE = 0.15  # of what other images lack for a class, by so much more than by a control its score must rise
SET_APART = 0.82  # area under the ROC curve of a property that all of a class have, and hardly another
STANDS_OUT = 0.7  # the same of a property for which scores rise
DECIDES = 0.3  # share of the images that have a cue and are lost without it, where it decides alone
SAME_PLACE, ELSEWHERE = 0.04, 0.1  # spread of the places of a cue that is at a fixed one, and least of other evidence
OUTSIDE = 0.2  # largest share of a cue inside of the boxes when it lies outside of them
MISSED, RESTORED = 0.07, 0.7  # share of a class that is missed without a cue, and that is recognised again with it
OWN, SHOWN = 3, 4  # images of the class, and changed ones, that show a cue


@dataclass(frozen=True)
class Tested:
    """A cue, what its interventions did, and what may make it a shortcut.

    label : number of the class. kind, words : as of the cue. share, others : of the class's images that have it, and of
    others. turned, lost : see `Intervention.to_json`; lost None where it was not tested. region : around it, where it
    is always at one place. spread : of its places, as a standard deviation in fractions of the image; None of a
    property. apart : the area under the ROC curve by which a property sets the class apart. destroys : it destroys
    detail. inside : share of it inside of the boxes. restored : what giving it to the images of the class that are
    missed does; None where there are few. p, p_lost, p_rise : of images that turn, that are lost, and of the rise of
    their score, after Holm's correction for all cues that were tested. reason : why it is a shortcut, or "". images :
    rows of those that have it. places : where, in each of them. regions, captions, pixels : see `Proof`.
    """

    label: int
    kind: str
    words: str
    share: float
    others: float
    turned: dict[str, Any]
    lost: dict[str, Any] | None
    region: Region | None
    regions: tuple[Region | None, ...]
    spread: float | None
    apart: float
    destroys: bool
    inside: float | None
    restored: dict[str, Any] | None
    images: tuple[int, ...]
    places: tuple[Region | None, ...]
    captions: tuple[str, ...]
    p: float = 1.0
    p_lost: float = 1.0
    p_rise: float = 1.0
    reason: str = ""
    pixels: Tensor | None = None

    @property
    def precise(self) -> bool:
        """Whether it is so precise that what turns few images is told by their scores.

        Parts of the image are not, recurring or not: a bit of the object raises its score as well. Nor is a tint, the
        means and deviations of all channels: clothes that a class wears more often make one.
        """
        return self.kind not in IMPRECISE

    @property
    def effect(self) -> float:
        """By how much more than by the control images turn."""
        return float(self.turned["share"] - self.turned["control"])

    @property
    def loss(self) -> float:
        """By how much more than by the control images are lost; 0 where that was not tested."""
        return 0.0 if self.lost is None else float(self.lost["share"] - self.lost["control"])

    @property
    def turns(self) -> bool:
        """Whether it is confirmed that it turns images."""
        return self.p < LEVEL and self.effect > 0

    @property
    def clear(self) -> bool:
        """Whether it turns so many images that no other effect is needed."""
        return self.turns and self.effect >= CLEAR

    @property
    def loses(self) -> bool:
        """Whether it is confirmed that many images are lost without it, of what destroys detail."""
        return self.destroys and self.p_lost < LEVEL and self.loss >= TAKEN

    @property
    def rises(self) -> bool:
        """Whether it is confirmed that the score of the class rises by much, though hardly an image may turn."""
        more = self.turned["rise"] - max(0.0, self.turned["rise_control"])
        return self.p_rise < LEVEL and more >= RISE and self.effect >= 0

    def proof(self) -> Proof | None:
        """Return images that show it."""
        return None if self.pixels is None else Proof(self.pixels, self.regions, self.captions)


def tested(subject: Subject) -> tuple[Tested, ...]:
    """Return every cue of every class with at least `LEAST` images, corrected for all of them; once for a subject."""
    return subject.once("tested", lambda: _tested(subject))


def required(subject: Subject) -> None:
    """Raise NotCheckedError where there are not images enough to test what a class depends on."""
    if not judged(subject) or len(set(subject.own.tolist()) - {-1}) < 2:
        raise NotCheckedError(f"needs images of two classes, and at least {LEAST} of one")


def judged(subject: Subject) -> list[int]:
    """Return the numbers of the classes that have images enough."""
    counts = torch.bincount(subject.own[subject.own >= 0], minlength=len(subject.model.labels))
    return (counts >= LEAST).nonzero()[:, 0].tolist()


def _tested(subject: Subject) -> tuple[Tested, ...]:
    classes = judged(subject)
    passes = round(subject.limit * SHARE) // max(1, len(classes))
    found: list[Tested] = []
    with closing(subject.pieces("class", classes, partial(_piece, passes=passes), {"passes": passes})) as pieces:
        for document, tensors in pieces:
            for i, one in enumerate(document["cues"]):
                found.append(_read(one, tensors.get(f"cue {i}")))
    if not found:
        return ()
    # What destroys detail may be tested by taking it away as well, what is no mere part of the image by scores.
    tests = [
        [one.turned["p"], *([_lost_p(one)] if one.destroys else []), *([one.turned["rise_p"]] if one.precise else [])]
        for one in found
    ]
    corrected = iter(holm([p for own in tests for p in own]))
    found = [
        replace(
            one, p=next(corrected), p_lost=next(corrected) if one.destroys else 1.0,
            p_rise=next(corrected) if one.precise else 1.0,
        )
        for one in found
    ]  # fmt: skip
    empty = _empty(subject)
    return tuple(replace(one, reason=_reason(one, found, empty)) for one in found)


def _piece(subject: Subject, label: int, *, passes: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    before = subject.passes
    rows, tensors = [], {}
    for i, one in enumerate(depended_on(subject, label, passes)):
        fields, pixels = _fields(subject, one)
        rows.append(fields)
        tensors[f"cue {i}"] = pixels
    return {"cues": rows, "passes": subject.passes - before}, tensors


def _read(fields: dict[str, Any], pixels: Tensor | None) -> Tested:
    regions, places = (
        tuple(None if one is None else tuple(one) for one in fields[name]) for name in ("regions", "places")
    )
    region = None if fields["region"] is None else tuple(fields["region"])
    lists = {"images": tuple(fields["images"]), "captions": tuple(fields["captions"])}
    return Tested(**{**fields, "region": region, "regions": regions, "places": places, **lists, "pixels": pixels})


def _fields(subject: Subject, one: Dependence) -> tuple[dict[str, Any], Tensor]:
    cue = one.cue
    labels = subject.model.labels
    own = cue.images[(~subject.suggests)[cue.images].numpy()][:OWN]
    places = [int(np.flatnonzero(cue.images == row)[0]) for row in own]
    masks = cue.masks
    regions = [None if masks is None else region_of(masks[i]) for i in places]
    captions = [labels[cue.label]] * len(own)
    order = _examples(one.turned.hit)
    changed = one.turned.shown[order]
    after = labels[cue.label]
    rows = one.turned.images[order]
    for row, hit in zip(rows, one.turned.hit[order].tolist(), strict=True):
        was = labels[int(subject.predicted[row])]
        captions.append(f"{was} → {after}" if hit else f"{was}, not {after}")
    if masks is not None:
        pasted = (changed != subject.pixels[rows].float() / 255).any(1, keepdim=True).float()
        regions += [region_of(one) for one in pasted]
    shown = subject.shown(torch.cat([subject.pixels[own], (changed * 255).round().to(torch.uint8)]))
    every = [] if masks is None else [region_of(mask) for mask in masks]
    spread, region = _place([box for box in every if box is not None])
    fields = {
        "label": cue.label,
        "kind": cue.kind,
        "words": cue.words,
        "share": cue.share,
        "others": cue.others,
        "turned": one.turned.to_json(),
        "lost": None if one.lost is None else one.lost.to_json(),
        "region": region,
        "regions": [*regions, *([None] * (len(captions) - len(regions)))],
        "spread": spread,
        "apart": cue.apart,
        "destroys": cue.destroys,
        "inside": _inside(subject, one),
        "restored": _restored(subject, one),
        "images": [int(row) for row in cue.images],
        "places": every or [None] * len(cue.images),
        "captions": captions,
    }
    return fields, shown


def _examples(hit: Bool[Tensor, " n"]) -> Int[np.ndarray, " _"]:
    """Return the places of some changed images, of different classes: those that turned first."""
    turned, other = hit.nonzero()[:, 0].numpy(), (~hit).nonzero()[:, 0].numpy()
    spread = np.unique(np.linspace(0, len(turned) - 1, SHOWN).round().astype(int)) if len(turned) else turned
    found: Int[np.ndarray, " _"] = np.concatenate([turned[spread], other])[:SHOWN]
    return found


def _place(boxes: Sequence[Region]) -> tuple[float | None, Region | None]:
    """Return how far apart the middles of boxes are, and the median box where they are at one place."""
    if not boxes:
        return None, None
    values = np.array(boxes)
    middle = (values[:, :2] + values[:, 2:]) / 2
    # Of the nearer three quarters: some images may not have it.
    off = np.abs(middle - np.median(middle, 0)).max(1)
    near = middle[off <= np.quantile(off, 0.75)]
    spread = float(near.std(0).max())
    x0, y0, x1, y1 = np.median(values, 0).tolist()
    return spread, (x0, y0, x1, y1) if spread <= ELSEWHERE else None


def _inside(subject: Subject, one: Dependence) -> float | None:
    """Return which share of a cue lies where people say that the class is seen; None where that is not known."""
    cue, regions = one.cue, subject.regions
    if regions is None or cue.masks is None:
        return None
    rows = cue.images[:24]
    numbers = {subject.table.numbers[row]: i for i, row in enumerate(rows)}
    reader = ImageReader(subject.images, subject.model.input, numbers=sorted(numbers), required=False)
    shares = []
    for number, image in reader.numbered():
        mask = cue.masks[numbers[number]][0]
        seen = regions.find(image, subject.model.input, subject.model.labels[cue.label])
        if seen is not None and mask.sum() > 0:
            shares.append(float((mask * seen).sum() / mask.sum()))
    return float(np.median(shares)) if len(shares) >= 4 else None


def _restored(subject: Subject, one: Dependence) -> dict[str, Any] | None:
    """Return what giving the cue to images of its class that are missed does; None where few are missed."""
    cue = one.cue
    mine = subject.table.classes == cue.label
    missed = mine & ~subject.takes(subject.table.logits, cue.label)
    count = int(missed.sum())
    if cue.masks is None or count < max(4, MISSED * int(mine.sum())) or one.turned.share < RESTORED - EFFECT:
        return None
    trial = given(subject, cue, min(count, 12), mine, targets=missed.nonzero()[:, 0].numpy())
    return None if trial is None else {**trial.to_json(), "missed": count / int(mine.sum())}


def _empty(subject: Subject) -> frozenset[int]:
    """Return the classes that images without content are taken for: what destroys content turns images into them."""
    channels, height, width = subject.model.input.shape
    levels = torch.linspace(0.2, 0.8, 4)[:, None, None, None]
    noise = 0.15 * torch.randn(4, 1, height, width, generator=torch.Generator().manual_seed(subject.seed))
    blank = torch.cat([levels.expand(-1, channels, height, width), (levels + noise).expand(-1, channels, -1, -1)])
    blank = blank.clamp(0, 1)
    taken = subject.logits(blank, "images without content").argmax(1)
    return frozenset(label for label in taken.tolist() if 4 * int((taken == label).sum()) >= len(taken))


def _lost_p(one: Tested) -> float:
    return 1.0 if one.lost is None else float(one.lost["p"])


def _reason(one: Tested, every: Sequence[Tested], empty: frozenset[int]) -> str:
    """Return why a cue is a shortcut, "" where it is none. empty : classes of images without content."""
    both = one.effect > LOST or (one.apart >= SET_APART and one.loss >= CLEARLY)
    if one.loses and both:
        return "image-wide property"
    if one.spread is None:
        # Detail that is gone, or behind a border, does not come back when the property is taken away, and where any
        # other change costs as much, that tells nothing. What destroys content makes any image one of a class for
        # images without content.
        costly = one.lost is not None and one.lost["control"] >= COSTLY
        untold = one.destroys or one.kind == "border" or costly
        alone = untold and one.effect >= ALONE and (one.label not in empty or one.apart >= SET_APART)
        decides = one.clear and (one.loss >= LOST or alone)
        return "image-wide property" if decides or (one.rises and one.apart >= STANDS_OUT) else ""
    if one.kind in ("pixels", "fixed pixels"):
        return "same pixels" if one.clear or one.rises else ""
    if not one.clear:
        return ""
    if one.inside is not None and one.inside <= OUTSIDE:
        return "outside the boxes"
    usual = [other.spread for other in every if other.spread is not None and other.label != one.label]
    if one.spread <= SAME_PLACE and (not usual or float(np.median(usual)) >= ELSEWHERE):
        return "fixed position"
    restored = one.restored
    if one.loss >= DECIDES and restored is not None and restored["share"] >= max(RESTORED, restored["control"] + 0.5):
        return "in some images alone"
    return ""
