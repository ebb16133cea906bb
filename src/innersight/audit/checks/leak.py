"""Images that the network was trained on, and images that lie in two classes."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor
from torch.nn import functional as F

from innersight.audit import duplicates
from innersight.audit.checks import NotCheckedError, Report, checks
from innersight.audit.duplicates import Match, Thumbnails, joined, matches, read_thumbnails
from innersight.audit.finding import Effect, Finding, Proof
from innersight.audit.keep import Values
from innersight.audit.subject import Subject
from innersight.inputs import entries
from innersight.statistics import wilson
from innersight.train.split import groups_of

SHOWN = 16
KINDS = {
    "same pixels": "with the same pixels",
    "stored anew": "stored anew",
    "mirrored": "mirrored",
    "cropped": "cropped",
}
LIMITS = (
    "Copies that were cropped by more than a fifth of a side, rotated or changed in colour may be missed. Frames of "
    "one scene that hardly differ anywhere count as copies."
)


@checks.register("Leaks between data sets", order=60, limits=LIMITS)
def leak(subject: Subject) -> Report:
    """Find copies of training images, and copies of an image under two labels.

    Whole images are compared at 64 x 64 pixels, once aligned: as they are, mirrored, and either as a part of the other.
    """
    several = _several(subject)
    if subject.train is None and not several:
        raise NotCheckedError(
            "needs the images that the network was trained on (--train), or images of several classes"
        )
    found: list[Finding] = []
    looked = []
    values = compared(subject)
    if subject.train is not None:
        found += _trained(subject, values)
        looked.append(f"{len(subject.table):,} images against {values[0]['trained']:,} training images")
    if several:
        found += _two_labels(subject, values)
        looked.append("images of each class against those of the others")
    left_out = (
        "" if subject.train is not None else "Training images were not given (--train): leaks were not looked for."
    )
    return Report(found, "; ".join(looked), left_out)


def compared(subject: Subject) -> Values:
    """Return which images are like training images, and which lie in two classes; compared once for all checks."""
    settings = _settings(subject)
    return subject.once(
        "leak", lambda: subject.keep.piece("leak", settings, lambda: _compared(subject, _several(subject)))
    )


def _several(subject: Subject) -> bool:
    return len(set(subject.table.classes[subject.table.classes >= 0].tolist())) > 1


def _settings(subject: Subject) -> dict[str, Any]:
    own = hashlib.sha256(repr([subject.table.names, subject.table.digests, subject.table.classes.tolist()]).encode())
    if subject.train is not None:
        for entry in entries(subject.train):
            own.update(f"{entry.name} {entry.stamp()}\n".encode())
    return {"images": own.hexdigest()[:16], "train": subject.train is not None}


def _compared(subject: Subject, several: bool) -> Values:
    """Compare pixels; return the matches, and the thumbnails of what the first of them match."""
    own = joined(read_thumbnails(subject.images, subject.model, subject.table.numbers))
    if len(own) != len(subject.table):
        raise NotCheckedError("some images could not be read a second time")
    document: dict[str, Any] = {"trained": 0, "leaks": [], "similar": [], "conflicts": [], "names": {}}
    tensors = {}
    if subject.train is not None:
        best, names, pixels = _against(subject, own, document)
        document["names"] = {str(match.second): names[match.second] for match in best}
        for kind in ("leaks", "similar"):
            chosen = [match for match in best if match.copy == (kind == "leaks")]
            document[kind] = [list(vars(match).values()) for match in chosen]
            tensors[kind] = torch.stack([pixels[match.second] for match in _first(chosen)] or [own.pixels[0]])
    if several:
        classes = subject.table.classes

        def differ(rows: slice) -> Bool[Tensor, "n m"]:
            known = (classes[rows] >= 0)[:, None] & (classes >= 0)[None]
            return known & (classes[rows][:, None] != classes[None])

        pairs = [match for match in matches(own, own, differ) if match.copy]
        document["conflicts"] = [list(vars(match).values()) for match in pairs]
    return document, tensors


def _against(
    subject: Subject, own: Thumbnails, document: dict[str, Any]
) -> tuple[list[Match], dict[int, str], dict[int, UInt8[Tensor, "3 side side"]]]:
    """Return the training image that each image is most like, where any is: number, name and pixels."""
    best: dict[int, Match] = {}
    names: dict[int, str] = {}
    pixels: dict[int, Tensor] = {}
    for block in read_thumbnails(subject.train, subject.model):
        subject.progress(0, "comparing with the training images")
        for match in matches(own, block):
            number = document["trained"] + match.second
            new = Match(match.first, number, match.kind, match.correlation, match.difference)
            if match.first not in best or duplicates.better(best[match.first], new) is new:
                best[match.first] = new
                names[number], pixels[number] = block.names[match.second], block.pixels[match.second]
        document["trained"] += len(block)
    return [best[i] for i in sorted(best)], names, pixels


def _first(found: Sequence[Match]) -> list[Match]:
    """Return those that are displayed: the ones hardest to see first."""
    order = list(duplicates.KINDS)
    return sorted(found, key=lambda one: (-order.index(one.kind), one.first))[:SHOWN]


def _read(rows: Sequence[Sequence[Any]]) -> list[Match]:
    return [Match(*row) for row in rows]


def _trained(subject: Subject, values: Values) -> Iterator[Finding]:
    document, tensors = values
    total, names = len(subject.table), document["names"]
    leaks, similar = _read(document["leaks"]), _read(document["similar"])
    if leaks:
        rows = [match.first for match in leaks]
        yield Finding(
            "leak",
            None,
            f"{_many(len(leaks), total)} also among the training images: {_kinds(leaks)}{_accuracy(subject, rows)}",
            True,
            Effect(len(leaks) / total, wilson(len(leaks), total), unit="share of the images"),
            images=subject.named(rows),
            images_total=len(rows),
            next="Leave them out of one of the two sets, and measure the accuracy again",
            proof=_proof(subject, _first(leaks), tensors["leaks"], names),
        )
    if similar:
        rows = [match.first for match in similar]
        differences = np.median([match.difference for match in similar])
        yield Finding(
            "leak",
            None,
            f"{_many(len(similar), total)} very similar to a training image, as neighbouring frames of one scene are: "
            f"once aligned they correlate by {duplicates.SIMILAR} or more, and where they differ most by "
            f"{differences:.0%} of the range of pixels (median){_accuracy(subject, rows)}",
            False,
            Effect(len(similar) / total, wilson(len(similar), total), unit="share of the images"),
            images=subject.named(rows),
            images_total=len(rows),
            next="Look at them: where they come from one source, such as a film, split by source and not by image",
            proof=_proof(subject, _first(similar), tensors["similar"], names),
        )


def _two_labels(subject: Subject, values: Values) -> Iterator[Finding]:
    pairs = {tuple(sorted((one.first, one.second))): one for one in _read(values[0]["conflicts"])}
    if not pairs:
        return
    labels, classes = subject.model.labels, subject.table.classes.tolist()
    rows = list(dict.fromkeys(i for pair in pairs for i in pair))
    both = Counter(tuple(sorted(labels[classes[i]] for i in pair)) for pair in pairs)
    listed = ", ".join(f"{count} as {one} and {two}" for (one, two), count in both.most_common(3))
    shown = list(pairs.values())[:SHOWN]
    other = subject.pixels[[one.second for one in shown]]
    captions = tuple(f"{labels[classes[one.first]]} and {labels[classes[one.second]]}: {_kind(one)}" for one in shown)
    pixels = torch.cat([subject.shown(subject.pixels[[one.first for one in shown]]), subject.shown(other)], 2)
    # A blank image in three classes makes three pairs, and is one image.
    contents = [[str(number) for number, pair in enumerate(pairs) if i in pair] for i in rows]
    together = _together(rows, contents)
    count, most = len(together), max(len({classes[i] for i in one}) for one in together)
    several = "two" if most == 2 else "several"
    yield Finding(
        "leak",
        None,
        f"{count:,} image{'s lie' if count > 1 else ' lies'} in {several} classes ({listed}"
        f"{' and others' if len(both) > 3 else ''}): {_kinds(list(pairs.values()))}",
        True,
        Effect(len(rows) / len(subject.table), wilson(len(rows), len(subject.table)), unit="share of the images"),
        images=subject.named(rows),
        images_total=len(rows),
        next="Keep each image in the class that it belongs to",
        proof=Proof(pixels, (None,) * len(shown), captions),
    )


def _together(rows: Sequence[int], contents: Sequence[Sequence[str]]) -> list[list[int]]:
    """Return the rows of each content."""
    found: dict[int, list[int]] = {}
    for row, lead in zip(rows, groups_of(contents).tolist(), strict=True):
        found.setdefault(lead, []).append(row)
    return list(found.values())


def _many(count: int, total: int) -> str:
    return f"{count:,} of {total:,} images ({count / total:.1%}) {'is' if count == 1 else 'are'}"


def _kinds(found: Sequence[Match]) -> str:
    counts = Counter[str](match.kind for match in found)
    return ", ".join(f"{counts[kind]:,} {text}" for kind, text in KINDS.items() if counts[kind])


def _kind(match: Match) -> str:
    return match.kind if match.copy else f"similar, differs by up to {match.difference:.0%}"


def _accuracy(subject: Subject, rows: Sequence[int]) -> str:
    """Return a sentence on the accuracy on some images and on the others, where labels are known."""
    inside = torch.zeros(len(subject.table), dtype=torch.bool)
    inside[list(rows)] = True
    known = subject.table.classes >= 0
    right = subject.predicted == subject.table.classes
    if not (known & inside).any() or not (known & ~inside).any():
        return ""
    return (
        f". The accuracy is {float(right[known & inside].float().mean()):.2f} on them, "
        f"{float(right[known & ~inside].float().mean()):.2f} on the others"
    )


def _proof(
    subject: Subject, found: Sequence[Match], other: UInt8[Tensor, "n 3 side side"], names: dict[str, str]
) -> Proof:
    """Return each image beside the training image that it is like."""
    own = subject.shown(subject.pixels[[one.first for one in found]])
    size = own.shape[1], own.shape[2]
    beside = F.interpolate(other[: len(found)].float(), size=size, mode="bilinear", align_corners=False)
    pixels = torch.cat([own, beside.round().to(torch.uint8).permute(0, 2, 3, 1)], 2)
    return Proof(pixels, (None,) * len(found), tuple(f"{_kind(one)}: {names[str(one.second)]}" for one in found))
