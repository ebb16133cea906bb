"""Tested cues in words."""

from collections.abc import Sequence

from innersight.audit.dependence import LEAST
from innersight.audit.finding import Effect, Finding
from innersight.audit.subject import Subject
from innersight.audit.tested import Tested, judged


def percent(value: float) -> str:
    """Return a share in per cent, without decimals."""
    return f"{value * 100:.0f}%"


def finding(subject: Subject, one: Tested, check: str) -> Finding:
    """Return the finding that a tested cue is."""
    label = subject.model.labels[one.label]
    turned = one.turned
    effect = Effect(turned["share"], tuple(turned["interval"]), turned["control"], one.p, TURNED)
    names = subject.named(one.images)
    return Finding(
        check, label, _sentence(one, label), True, effect, one.region, one.reason, names, len(names), _next(one, label),
        one.proof(),
    )  # fmt: skip


TURNED = "share of images of other classes that turn into the class"


def _sentence(one: Tested, label: str) -> str:
    low, high = (percent(value).removesuffix("%") for value in one.turned["interval"])
    share, control = f"{percent(one.turned['share'])} ({low} to {high})", percent(one.turned["control"])
    whole = one.spread is None
    done = "Given to" if whole else "Pasted into"
    text = f"{label}: {_what(one)}. {done} other images, it turns {share} of them into {label}, a control {control}"
    if one.lost is not None:
        lost, control = percent(one.lost["share"]), percent(one.lost["control"])
        without = "without it" if whole else "when it is removed"
        text += f"; {without}, {lost} of its own images are lost, {control} by a control"
    return text


def _what(one: Tested) -> str:
    if one.spread is None:
        return one.words
    has = f"in {percent(one.share)} of its images"
    if one.kind in ("pixels", "fixed pixels"):
        return f"{one.words} {has} and in {percent(one.others)} of others"
    where = {
        "fixed position": ", always at the same position",
        "outside the boxes": ", outside of the boxes",
        "in some images alone": ", which the images that are missed lack",
    }.get(one.reason, "")
    return f"{one.words}{where}"


def _next(one: Tested, label: str) -> str:
    if one.reason:
        return (
            f"Look at the images of {label}: where does this come from? Collect or make images of {label} without it, "
            f"and of other classes with it, then train again and audit again."
        )
    return f"Ask whether this is what {label} should be recognised by; look at the units named, and at images without."


SAME = ({"border", "fixed pixels"},)
COLOURS = {"colour cast", "tint", "saturation", "brightness", "contrast"}


def covered(one: Tested, by: Sequence[Tested]) -> bool:
    """Return whether a cue is another one of the same class again: at the same place, or the same property."""
    return any(other is not one and other.label == one.label and _same(one, other) for other in by)


def _same(one: Tested, other: Tested) -> bool:
    if one.spread is None or other.spread is None:
        # A border is the same as fixed pixels, and colours differ in several ways at once.
        kinds = {one.kind, other.kind}
        return kinds in SAME or kinds <= COLOURS
    mine, theirs = (dict(zip(cue.images, cue.places, strict=True)) for cue in (one, other))
    both = [(mine[image], theirs[image]) for image in mine.keys() & theirs.keys()]
    same = sum(a is not None and b is not None and _shared(a, b) > 0.3 for a, b in both)
    return bool(both) and 2 * same >= len(both)


def _shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return which share of the smaller box lies in the other one."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return max(width, 0) * max(height, 0) / max(min(areas), 1e-9)


def looked(subject: Subject, every: Sequence[Tested]) -> str:
    """Return in a sentence what was tested."""
    classes = len(judged(subject))
    present = len(set(subject.own.tolist()) - {-1})
    few = present - classes
    left = f"; {few} with fewer than {LEAST} images were left out" if few else ""
    said = "by their labels" if subject.labelled else "by the predicted class, as no image is labelled"
    return f"{len(every)} cues of {classes} classes {said}{left}"
