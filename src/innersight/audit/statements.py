"""Tested cues in words."""

from collections.abc import Sequence

from innersight.audit.dependence import LEAST
from innersight.audit.finding import Effect, Finding
from innersight.audit.subject import Subject
from innersight.audit.tested import Tested, judged


def finding(subject: Subject, one: Tested, check: str) -> Finding:
    """Return the finding that a tested cue is."""
    label = subject.model.labels[one.label]
    names = subject.named(one.images)
    return Finding(
        check, label, _sentence(one, label), True, effect_of(one), one.region, one.reason, names, len(names),
        _next(one, label), one.proof(),
    )  # fmt: skip


TURNED = "share of images of other classes that turn into the class"
LOST = "share of images of the class that are lost without it"
RISE = "share of what other images lack for the class by which its score rises"


def effect_of(one: Tested) -> Effect:
    """Return the effect that confirms a cue: images that turn, else those that are lost, else scores that rise."""
    turned, lost = one.turned, one.lost
    if not one.clear and lost is not None and one.loses:
        return Effect(lost["share"], tuple(lost["interval"]), lost["control"], one.p_lost, LOST)
    if not one.clear and one.rises:
        return Effect(turned["rise"], tuple(turned["rise_interval"]), turned["rise_control"], one.p_rise, RISE)
    return Effect(turned["share"], tuple(turned["interval"]), turned["control"], one.p, TURNED)


def _sentence(one: Tested, label: str) -> str:
    low, high = (f"{100 * value:.0f}" for value in one.turned["interval"])
    share, control = f"{one.turned['share']:.0%} ({low} to {high})", f"{one.turned['control']:.0%}"
    whole = one.spread is None
    done = "Given to" if whole else "Pasted into"
    text = f"{label}: {_what(one)}. {done} other images, it turns {share} of them into {label}, a control {control}"
    if not one.clear and one.rises:
        low, high = (f"{100 * value:.0f}" for value in one.turned["rise_interval"])
        rise, by = f"{one.turned['rise']:.0%} ({low} to {high})", f"{one.turned['rise_control']:.0%}"
        text += f", and the score of {label} rises by {rise} of what they lack, by a control {by}"
    if one.lost is not None:
        without = "without it" if whole else "when it is removed"
        text += (
            f"; {without}, {one.lost['share']:.0%} of its own images are lost, {one.lost['control']:.0%} by a control"
        )
    return text


def _what(one: Tested) -> str:
    if one.spread is None:
        return one.words
    has = f"in {one.share:.0%} of its images"
    if one.kind in ("pixels", "fixed pixels"):
        return f"{one.words} {has} and in {one.others:.0%} of others"
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


# A border, or a mark at one place, is pixels that recur, and moves the middle of what has structure.
_SOFT = ({"size", "blur"}, {"size", "sharpness"}, {"JPEG", "blur"}, {"JPEG", "noise"})
SAME = ({"border", "fixed pixels"}, {"position", "fixed pixels"}, {"position", "pixels"}, *_SOFT)
COLOURS = {"colour cast", "tint", "saturation", "brightness", "contrast"}


def covered(one: Tested, by: Sequence[Tested]) -> bool:
    """Return whether a cue is another one of the same class again: at the same place, or the same property."""
    return any(other is not one and other.label == one.label and _same(one, other) for other in by)


def _same(one: Tested, other: Tested) -> bool:
    if one.spread is None or other.spread is None:
        # Colours differ in several ways at once.
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
