"""Interventions: a cue is given to images of other classes and taken from its own, each beside controls."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from innersight.audit.cues import Cue, elsewhere, pasted, removed
from innersight.audit.subject import Subject
from innersight.statistics import sign_flip, wilson

Rows = Int[np.ndarray, " _"]
EVERY = 9  # controls: all that there are


@dataclass(frozen=True, eq=False)
class Intervention:
    """What an intervention did to images, paired with its controls.

    images : rows of those that were changed. hit : whether each now is, or no longer is, taken for the class.
    controls : the same of each control. before : by how much the score of the class exceeded all others. gain, gains :
    by how much that changed, see `_gain`, and the same of each control. shown : the changed images.
    """

    images: Rows
    hit: Bool[Tensor, " n"]
    controls: tuple[Bool[Tensor, " n"], ...]
    before: Float[Tensor, " n"]
    gain: Float[Tensor, " n"]
    gains: tuple[Float[Tensor, " n"], ...]
    shown: Float[Tensor, "n C H W"]

    @property
    def share(self) -> float:
        """Share of the images."""
        return float(self.hit.float().mean()) if len(self.hit) else 0.0

    @property
    def control(self) -> float:
        """Share of the images by the stronger control."""
        return max((float(one.float().mean()) for one in self.controls), default=0.0) if len(self.hit) else 0.0

    @property
    def rise(self) -> float:
        """How much of what the images lacked for the class its score gained, on average: at 1 half of them turn."""
        return self._of_lack(self.gain)

    @property
    def control_rise(self) -> float:
        """The same by the stronger control."""
        return max(map(self._of_lack, self.gains), default=0.0)

    def _of_lack(self, gain: Float[Tensor, " n"]) -> float:
        lack = -float(self.before.mean()) if len(self.before) else 0.0
        return float(gain.mean()) / lack if lack > 0 else 0.0

    def p_rise(self) -> float:
        """Return the largest p of the two-sided sign-flip tests of the gain against the controls; 1 without any."""
        return max((sign_flip((self.gain - one).double().numpy()) for one in self.gains), default=1.0)

    def p(self) -> float:
        """Return the largest p of the two-sided sign-flip tests against the controls; 1 where there are none."""
        return max((sign_flip((self.hit.double() - one.double()).numpy()) for one in self.controls), default=1.0)

    def to_json(self) -> dict[str, Any]:
        """Return share, interval, control, p and the number of images, and the same of the rise of the score."""
        interval = wilson(int(self.hit.sum()), len(self.hit))
        off = 1.96 * float(self.gain.std()) / len(self.gain) ** 0.5 if len(self.gain) > 1 else 0.0
        around = [self._of_lack(self.gain - off), self._of_lack(self.gain + off)]
        return {
            "share": self.share, "interval": list(interval), "control": self.control, "p": self.p(),
            "count": len(self.hit), "rise": self.rise, "rise_interval": around, "rise_control": self.control_rise,
            "rise_p": self.p_rise(),
        }  # fmt: skip


def given(
    subject: Subject,
    cue: Cue,
    count: int,
    half: Bool[Tensor, " rows"],
    controls: int = EVERY,
    targets: Rows | None = None,
) -> Intervention | None:
    """Give a cue to images; a hit is one that is then taken for the cue's class.

    half : rows that may be used. targets : rows of the images; some of other classes when None. Controls, at most so
    many: the same location of other classes' images, another location of the same sources; of a property changes in
    other directions. None where there are no images.
    """
    rng = subject.rng(cue.label, count, 1)
    targets = _targets(subject, cue.label, half, rng, count) if targets is None else rng.permutation(targets)[:count]
    sources = cue.images[half[cue.images].numpy()]
    if not len(targets) or (cue.masks is not None and not len(sources)):
        return None
    x = _floats(subject, targets)
    if cue.property is not None:
        changes = [cue.property.give, *cue.property.controls][: controls + 1]
        return _changed(subject, cue, targets, x, [change(x, 1.0) for change in changes])
    assert cue.masks is not None
    order = np.resize(rng.permutation(len(sources)), len(targets))
    own = sources[order]
    mask = cue.masks[torch.from_numpy(_places(cue.images, own))]
    changed = [pasted(x, _floats(subject, own), mask)]
    if controls > 0:
        changed.append(pasted(x, _floats(subject, _strangers(subject, cue.label, targets, half, rng)), mask))
    if controls > 1:
        other, far = elsewhere(mask, rng)
        # What spans the whole image cannot be moved.
        if far:
            changed.append(pasted(x, _floats(subject, own), other))
    return _changed(subject, cue, targets, x, changed)


def taken(
    subject: Subject, cue: Cue, count: int, half: Bool[Tensor, " rows"], controls: int = EVERY
) -> Intervention | None:
    """Take a cue from images of its class; a hit is one that is then no longer taken for it.

    The control removes another region of the same size; of a property it is a change in another direction.
    """
    rng = subject.rng(cue.label, count, 2)
    fine = half & subject.takes(subject.table.logits, cue.label)
    rows = cue.images[fine[cue.images].numpy()]
    rows = np.sort(rng.permutation(rows)[:count])
    if not len(rows):
        return None
    x = _floats(subject, rows)
    if cue.property is not None:
        changes = [cue.property.give, *cue.property.controls][: controls + 1]
        return _changed(subject, cue, rows, x, [change(x, -1.0) for change in changes], lost=True)
    assert cue.masks is not None
    mask = cue.masks[torch.from_numpy(_places(cue.images, rows))]
    changed = [removed(x, mask)]
    if controls > 0:
        other, far = elsewhere(mask, rng)
        if far:
            changed.append(removed(x, other))
    return _changed(subject, cue, rows, x, changed, lost=True)


def _changed(
    subject: Subject, cue: Cue, rows: Rows, x: Tensor, changed: list[Tensor], *, lost: bool = False
) -> Intervention:
    label = cue.label
    verdicts, gains = [], []
    before = subject.table.logits[rows]
    for one in changed:
        logits = subject.logits(one, f"testing {subject.model.labels[label]}")
        now = subject.takes(logits, label)
        verdicts.append(~now if lost else now)
        gains.append(_gain(subject, before, logits, label))
    lead = subject.margin(before, label)
    return Intervention(rows, verdicts[0], tuple(verdicts[1:]), lead, gains[0], tuple(gains[1:]), changed[0])


def _gain(
    subject: Subject, before: Float[Tensor, "n classes"], after: Float[Tensor, "n classes"], label: int
) -> Float[Tensor, " n"]:
    """Return by how much a class gained on the highest other one, but no more than it gained on the rest.

    What takes contrast from images lowers the highest score and raises all others: that speaks for none of them.
    """
    change = after - before
    rest = torch.ones_like(before)
    rest[:, label] = 0
    rest.scatter_(1, before.argmax(1, keepdim=True), 0)
    count = rest.sum(1)
    # With no third class nothing tells one from the other.
    own = torch.where(count > 0, change[:, label] - (change * rest).sum(1) / count.clamp_min(1), 0.0)
    gain = torch.minimum(subject.margin(after, label) - subject.margin(before, label), own)
    # Scores that are NaN or infinite speak for nothing.
    return torch.where(gain.isfinite(), gain, 0.0)


def _targets(subject: Subject, label: int, half: Bool[Tensor, " rows"], rng: np.random.Generator, count: int) -> Rows:
    """Return images of other classes that are not taken for this one, of all classes alike."""
    free = half & subject.others(label) & ~subject.takes(subject.table.logits, label)
    rows = rng.permutation(free.nonzero()[:, 0].numpy())
    classes = subject.own[rows].numpy()
    turn = np.zeros(len(rows), np.int64)
    for one in np.unique(classes):
        turn[classes == one] = np.arange((classes == one).sum())
    return np.sort(rows[np.argsort(turn, kind="stable")][:count])


def _strangers(
    subject: Subject, label: int, targets: Rows, half: Bool[Tensor, " rows"], rng: np.random.Generator
) -> Rows:
    """Return for each target an image of neither its class nor the given one, where there is any."""
    own = subject.own
    rows = (half & subject.others(label)).nonzero()[:, 0].numpy()
    found = []
    for target in targets:
        fit = rows[(own[rows] != own[target]).numpy()]
        fit = fit if len(fit) else rows
        fit = fit if len(fit) else targets
        found.append(fit[rng.integers(len(fit))])
    return np.array(found)


def _places(images: Rows, wanted: Rows) -> Rows:
    place = {int(image): i for i, image in enumerate(images)}
    return np.array([place[int(image)] for image in wanted])


def _floats(subject: Subject, rows: Rows) -> Float[Tensor, "n C H W"]:
    return subject.pixels[rows].float() / 255
