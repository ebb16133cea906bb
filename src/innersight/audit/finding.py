"""What an audit states: findings, with the effect that supports them and the images that show it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from innersight.brief import brief

Region = tuple[float, float, float, float]


@dataclass(frozen=True)
class Effect:
    """How large an effect is, beside that of a control.

    Attributes
    ----------
    value
        The effect, in `unit`.
    interval
        Its 95% interval; None where it has none.
    control
        The same of the control; None where there is none.
    p
        Of the test against the control, after Holm's correction for everything that its check tried; None where nothing
        was tested.
    unit
        What is counted, in words.

    """

    value: float
    interval: tuple[float, float] | None = None
    control: float | None = None
    p: float | None = None
    unit: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the effect as plain data."""
        return {
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "control": self.control,
            "p": self.p,
            "unit": self.unit,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Proof:
    """Images that show a finding.

    Attributes
    ----------
    pixels
        (n, H, W, 3) uint8.
    regions
        The part of each that matters, in fractions of its width and height; None for the whole.
    captions
        Of each, in a few words.

    """

    pixels: UInt8[Tensor, "n H W 3"]
    regions: tuple[Region | None, ...]
    captions: tuple[str, ...]

    __repr__ = brief


@dataclass(frozen=True, eq=False, repr=False)
class Finding:
    """A statement about a classifier, and what supports it.

    Attributes
    ----------
    check
        What it is about: shortcut, reliance, slice, label, preprocessing, leak or units.
    label
        The class that it concerns, None for no single one.
    sentence
        The statement.
    confirmed
        Whether a test on images that did not suggest it supports it.
    effect
        How large it is; None where nothing was measured.
    region
        Where it is seen, as [x0, y0, x1, y1] in fractions of what the network sees; None where it has no place.
    reason
        Of a shortcut, why it is one: "same pixels", "fixed position", "image-wide property", "outside the boxes" or "in
        some images alone"; of others empty.
    images
        Files or names of images concerned.
    images_total
        How many images are concerned.
    next
        What to do or look at.
    proof
        Images that show it; None for none.
    ranking
        Of labels: all images with a label, the most suspicious first, those not suspected too; of others empty.

    """

    check: str
    label: str | None
    sentence: str
    confirmed: bool
    effect: Effect | None = None
    region: Region | None = None
    reason: str = ""
    images: Sequence[str] = ()
    images_total: int = 0
    next: str = ""
    proof: Proof | None = field(default=None)
    ranking: Sequence[str] = ()

    __repr__ = brief

    @property
    def fault(self) -> bool:
        """Whether something is confirmed to be wrong: not so of reliances and of information on units."""
        return is_fault(self.check, self.confirmed)

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain data, without pixels; of the images the first 32."""
        return {
            "check": self.check,
            "class": self.label,
            "sentence": self.sentence,
            "confirmed": self.confirmed,
            "effect": None if self.effect is None else self.effect.to_json(),
            "region": None if self.region is None else list(self.region),
            "reason": self.reason,
            "images": list(self.images)[:LISTED],
            "images_total": self.images_total,
            "next": self.next,
        }


LISTED = 32
INFORMATION = ("reliance", "units")


def is_fault(check: str, confirmed: bool) -> bool:
    """Return whether what a check states is a fault.

    >>> is_fault("shortcut", True), is_fault("reliance", True), is_fault("label", False)
    (True, False, False)
    """
    return confirmed and check not in INFORMATION


@dataclass(frozen=True)
class Checked:
    """What a check did.

    Attributes
    ----------
    check
        Its name.
    title
        The same for people.
    done
        Whether it ran.
    sentence
        What it looked at, or why it did not run.
    limits
        What it could have missed.
    passes
        Forward passes of single images that it took; a forward and a backward pass count as three.

    """

    check: str
    title: str
    done: bool
    sentence: str
    limits: str
    passes: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dict(vars(self))
