"""Planted shortcuts and clean networks: is the shortcut found, and is anything else accused?"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image as PILImage

from benchmarks.audit_card.cases import STRENGTHS, Case, make_case
from benchmarks.audit_card.outcome import Figure, Outcome, audited, lines, path_of, share
from benchmarks.audit_card.planters import PLANTERS, Box

CLEAN = 20
SAME = 0.3
"""IoU of regions."""
WORDS = {
    "patch": "same pixels",
    "stamp": "same pixels|fixed position",
    "border": "border|letterbox|same pixels at the same place",
    "tint": "colour cast",
    "position": "fixed position|same position|same place",
    "blur": "blur|sharp",
    "noise": "noise|jpeg|compress",
    "bystander": "in some images alone|outside the boxes",
}
"""What a finding must say, in its reason or sentence, to name a kind of plant."""
EASY = ("patch", "stamp", "border", "tint", "position")


def jobs(quick: bool) -> list[tuple[str, int, float]]:
    """Return kind, seed and strength of every network."""
    if quick:
        return [(kind, i, 0.9) for i, kind in enumerate(PLANTERS)] + [("clean", seed, 0.0) for seed in range(3)]
    planted = [(kind, 10 * n + i, s) for n, kind in enumerate(PLANTERS) for i, s in enumerate(STRENGTHS)]
    return planted + [("clean", seed, 0.0) for seed in range(CLEAN)]


def judge(kind: str, seed: int, strength: float) -> Outcome:
    """Make a network, audit it, and hold the findings against the truth."""
    case = make_case(kind, seed, strength)
    found = audited(case.model, case.images)
    accused = [one for one in found.findings if one.confirmed and one.check == "shortcut"]
    by = {id(one): matched(one, case) for one in accused}
    hits = [one for one in accused if by[id(one)]]
    # Of the planted class other words are no hit, and no false accusation either: a border makes images darker.
    wrong = [one for one in accused if one.label != case.label]
    near = [one for one in found.findings if one.label == case.label and one not in hits]
    numbers = {"accuracy": case.accuracy, "passes": found.passes / found.images}
    if kind != "clean":
        numbers |= {"recall": case.recall, "recall_planted": case.recall_planted, "turned": case.turned}
    return Outcome(
        "shortcuts",
        kind,
        seed,
        "" if kind == "clean" else f"{kind} in {strength:.0%} of {case.label}",
        None if kind == "clean" else bool(hits),
        ", ".join(sorted({by[id(one)] for one in hits})),
        lines(hits),
        lines(wrong),
        lines(near),
        numbers | _others(found.findings),
        tuple(str(case.images / path) for path in list(case.planted)[:4]),
    )


def _others(findings: Sequence[Any]) -> dict[str, float]:
    """Return how many faults of other kinds are confirmed: there are none, but for weak subsets that may be real."""
    kinds = ("slice", "preprocessing", "leak", "label")
    return {f"{kind}s": sum(one.confirmed and one.check == kind for one in findings) for kind in kinds}


def matched(finding: Any, case: Case) -> str:
    """Return by what a confirmed shortcut is the planted one: "region", "kind", both, or "" for neither."""
    if finding.label != case.label:
        return ""
    named = re.search(WORDS[case.kind], f"{finding.reason}. {finding.sentence}".lower())
    overlap = overlaps(finding, case)
    by = [*(["region"] if overlap and np.mean(overlap) >= SAME else []), *(["kind"] if named else [])]
    return " and ".join(by)


def overlaps(finding: Any, case: Case) -> list[float]:
    """Return the IoU of what a finding points at with the plant: its one region, or the regions of images it shows."""
    boxes = {path: box for path, box in case.planted.items() if box is not None}
    if finding.region is not None:
        named = [boxes[path_of(name)] for name in finding.images if path_of(name) in boxes]
        return [iou(finding.region, box) for box in named or boxes.values()]
    proof = getattr(finding, "proof", None)
    if proof is None or not boxes:
        return []
    pixels = {np.asarray(PILImage.open(case.images / path)).tobytes(): box for path, box in boxes.items()}
    pairs = zip(proof.pixels.numpy(), proof.regions, strict=True)
    shown = [(region, pixels.get(image.tobytes())) for image, region in pairs if region is not None]
    return [0.0 if box is None else iou(region, box) for region, box in shown]


def iou(one: Box, other: Box) -> float:
    """Return the intersection of two boxes over their union."""
    sides = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    both = max(sides[0], 0) * max(sides[1], 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return the lines of the card."""
    planted = [one for one in outcomes if one.hit is not None]
    clean = [one for one in outcomes if one.hit is None]
    found = []
    for words, target, kinds in (
        ("patch, stamp, border, tint, position", "23 of 25", EASY),
        ("blur, noise, co-occurrence", "11 of 15", [kind for kind in PLANTERS if kind not in EASY]),
    ):
        own = [one for one in planted if one.kind in kinds]
        each = ", ".join(
            f"{kind} {share(sum(bool(o.hit) for o in own if o.kind == kind), sum(o.kind == kind for o in own))}"
            for kind in kinds
        )
        count = share(sum(bool(one.hit) for one in own), len(own))
        found.append(Figure(f"planted shortcut found: {words}", target, f"{count} ({each})"))
    accused = [one for one in clean if one.wrong]
    found.append(
        Figure("clean networks wrongly accused of a shortcut", "1 of 20 at most", share(len(accused), len(clean)))
    )
    extra = [one for one in planted if one.wrong]
    found.append(Figure("planted networks accused of a shortcut of another class", "", share(len(extra), len(planted))))
    fed = sum(one.numbers["preprocessings"] > 0 for one in outcomes)
    found.append(Figure("of all these, told to be fed wrongly", "0", share(fed, len(outcomes))))
    return found
