"""Shortcuts: what decides for a class, and has nothing to do with it."""

from innersight.audit.checks import Report, checks
from innersight.audit.finding import Finding
from innersight.audit.statements import covered, finding, looked
from innersight.audit.subject import Subject
from innersight.audit.tested import Tested, required, tested

RANKS = {"evidence": 2, "contrast": 1, "brightness": 1, "saturation": 1, "position": 1}
"""Of two names for one thing the more precise one comes first: a colour cast may lower the contrast too."""


@checks.register(
    "Shortcut",
    order=10,
    use="Does it decide for the wrong reason?",
    limits="A shortcut that every image of the data set shows in another way, or that is part of the object, is not "
    "found; nor is one that the network uses but that these images do not have.",
)
def shortcut(subject: Subject) -> Report:
    """Things that decide for a class with a stated reason to call them a shortcut.

    Candidates are parts of the image that the network takes for a class (see reliance), pixels that recur in a class's
    images, and properties of whole images by which a class differs: brightness, contrast, colour cast, saturation,
    sharpness, noise, border, JPEG compression, position. Each is given to images of other classes and taken from its
    own, beside controls.
    """
    required(subject)
    every = tested(subject)
    chosen: list[Tested] = []
    for one in sorted((one for one in every if one.reason), key=lambda one: (RANKS.get(one.kind, 0), -one.effect)):
        if not covered(one, chosen):
            chosen.append(one)
    found: list[Finding] = [finding(subject, one, "shortcut") for one in chosen]
    return Report(found, looked(subject, every))
