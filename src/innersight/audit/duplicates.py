"""Finds copies of images among others, the same pixels, stored anew, mirrored or cropped, and very similar images.

Candidates are those whose coarse colours correlate, whole or in part. Each is then aligned (Lucas and Kanade 1981) and
compared pixel by pixel, so that two frames of one scene, which differ in some place, are told from copies.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image as PILImage
from torch import Tensor
from torch.nn import functional as F

from innersight.inputs import ImageEntry, ImageReader, batched, class_of, content_of
from innersight.model import Model

SIDE = 64  # of the thumbnails that are compared
CELLS = 8  # of the coarse colours that suggest candidates
BLOCK = 4096  # images compared with all others at a time
CHUNK = 512
TRIED = 3  # candidates of each image in a block that are aligned
PAIRS = 256  # aligned at a time
# Crops of 90% or less of a side that candidates are sought by: each corner, and the middle.
CORNERS = [(x, y, x + 0.9, y + 0.9) for x, y in ((0.05, 0.05), (0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.1, 0.1))]
WHOLE = (0.0, 0.0, 1.0, 1.0)
FLAT = 0.02  # contrast below which only equal pixels tell
ALIKE = 0.75  # correlation of coarse colours of candidates
SCALES = (0.7, 1.02)  # share of a side that a crop may have
Kind = Literal["same pixels", "stored anew", "mirrored", "cropped", "similar"]
KINDS = get_args(Kind)
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Whole images, squashed to thumbnails (n, 3, SIDE, SIDE). classes : numbers, -1 where unknown."""

    pixels: UInt8[Tensor, "n 3 side side"]
    names: tuple[str, ...]
    digests: tuple[str, ...]
    classes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Match:
    """An image that is like another one.

    first, second : their numbers. correlation : of their pixels, once aligned. difference : of the part of them that
    differs most, as a share of the range of pixels.
    """

    first: int
    second: int
    kind: Kind
    correlation: float
    difference: float

    @property
    def copy(self) -> bool:
        """Whether they show one image, however it was stored, and not two similar ones."""
        return self.kind != "similar"


def read_thumbnails(images: Any, model: Model, numbers: Sequence[int] | None = None) -> Iterator[Thumbnails]:
    """Yield the images that can be read, `BLOCK` at a time."""
    reading = ImageReader(images, model.input, model.labels, numbers=numbers, required=False)
    for group in batched(reading.each(partial(_read, model=model)), BLOCK):
        pixels, names, digests, classes = zip(*group, strict=True)
        yield Thumbnails(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), names, digests, classes)


def _read(entry: ImageEntry, model: Model) -> tuple[np.ndarray, str, str, int]:
    found = entry.load(model.input)
    whole = found.display(model.input).convert("RGB").resize((SIDE, SIDE), PILImage.Resampling.BILINEAR)
    name = str(entry.path) if entry.path is not None else found.name
    label = class_of(entry.label if entry.label is not None else found.label, model.labels)
    return np.asarray(whole), name, content_of(entry.bytes(), found)[1], label


def joined(parts: Iterable[Thumbnails]) -> Thumbnails:
    """Return the thumbnails of all parts."""
    every = list(parts)
    if not every:
        return Thumbnails(torch.zeros(0, 3, SIDE, SIDE, dtype=torch.uint8), (), (), ())
    names, digests, classes = (sum((getattr(p, k) for p in every), ()) for k in ("names", "digests", "classes"))
    return Thumbnails(torch.cat([part.pixels for part in every]), names, digests, classes)


def matches(
    first: Thumbnails,
    second: Thumbnails,
    allowed: Callable[[slice], Bool[Tensor, "n m"]] | None = None,
) -> list[Match]:
    """Return for each image of `first` that is like one of `second` the one that it is most like, by number.

    allowed : for rows of `first`, which pairs may be matched; all when None.
    """
    found: dict[int, Match] = {}
    by_digest: dict[str, list[int]] = {}
    for j, digest in enumerate(second.digests):
        by_digest.setdefault(digest, []).append(j)
    codes = _Codes.of(second)
    for start in range(0, len(first), CHUNK):
        rows = slice(start, min(start + CHUNK, len(first)))
        pairs = None if allowed is None else allowed(rows)
        for i in range(rows.start, rows.stop):
            same = [j for j in by_digest.get(first.digests[i], ()) if pairs is None or bool(pairs[i - start, j])]
            if same:
                found[i] = Match(i, same[0], "same pixels", 1.0, 0.0)
        part = Thumbnails(first.pixels[rows], first.names[rows], first.digests[rows], first.classes[rows])
        for one in _aligned(part, second, _candidates(part, codes, pairs)):
            number = start + one.first
            before = found.get(number)
            if before is None or _rank(one) > _rank(before):
                found[number] = Match(number, one.second, one.kind, one.correlation, one.difference)
    return [found[i] for i in sorted(found)]


def _rank(match: Match) -> tuple[bool, bool, float]:
    return match.kind == "same pixels", match.copy, match.correlation


def better(first: Match, second: Match) -> Match:
    """Return the one of two matches that says more; the first where they say the same."""
    return second if _rank(second) > _rank(first) else first


@dataclass(frozen=True, eq=False)
class _Codes:
    """Coarse colours of images, each of length 1, by part; rows of images without contrast are 0."""

    whole: Float[Tensor, "n d"]
    parts: list[Float[Tensor, "n d"]]

    @classmethod
    def of(cls, images: Thumbnails) -> "_Codes":
        return cls(_code(images.pixels, WHOLE), [_code(images.pixels, box) for box in CORNERS])


def _code(pixels: UInt8[Tensor, "n 3 side side"], box: Box) -> Float[Tensor, "n d"]:
    rows, columns = _weights(box[1], box[3]), _weights(box[0], box[2])
    parts = [rows @ (part.float() / 255) @ columns.T for part in torch.split(pixels, CHUNK)]
    values = torch.cat(parts) if parts else torch.zeros(0, 3, CELLS, CELLS)
    values = (values - values.mean((2, 3), keepdim=True)).flatten(1)
    size = values.norm(dim=1, keepdim=True)
    return torch.where(size > FLAT * values.shape[1] ** 0.5, values / size.clamp_min(1e-12), 0.0)


def _weights(low: float, high: float) -> Float[Tensor, "cells side"]:
    """Return by how much each pixel of a row counts for each cell of its part from low to high."""
    edges = (low + (high - low) * torch.arange(CELLS + 1) / CELLS) * SIDE
    pixels = torch.arange(SIDE)
    overlap = torch.minimum(edges[1:, None], pixels + 1.0) - torch.maximum(edges[:-1, None], pixels.float())
    overlap = overlap.clamp_min(0)
    return overlap / overlap.sum(1, keepdim=True)


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Pairs that may be alike. first, second : numbers. part : which is part of the other, see `_views`."""

    first: Tensor
    second: Tensor
    view: Tensor


def _views() -> list[tuple[bool, int, int]]:
    """Return how a pair can be compared: mirrored or not; the part of the first, of the second, -1 for the whole."""
    whole = [(mirrored, -1, -1) for mirrored in (False, True)]
    return whole + [
        (mirrored, *parts) for mirrored in (False, True) for k in range(len(CORNERS)) for parts in ((-1, k), (k, -1))
    ]


def _candidates(part: Thumbnails, codes: _Codes, allowed: Bool[Tensor, "n m"] | None) -> _Candidates:
    own = {False: _Codes.of(part), True: _Codes.of(_mirrored(part))}
    best = torch.full((len(part), len(codes.whole)), -1.0)
    view = torch.zeros_like(best, dtype=torch.int8)
    for number, (mirrored, first, second) in enumerate(_views()):
        one = own[mirrored].whole if first < 0 else own[mirrored].parts[first]
        likeness = one @ (codes.whole if second < 0 else codes.parts[second]).T
        higher = likeness > best
        best = torch.where(higher, likeness, best)
        view[higher] = number
    if allowed is not None:
        best[~allowed] = -1
    top = best.topk(min(TRIED, best.shape[1]), dim=1)
    rows, columns = (top.values > ALIKE).nonzero(as_tuple=True)
    second_ = top.indices[rows, columns]
    return _Candidates(rows, second_, view[rows, second_])


def _mirrored(images: Thumbnails) -> Thumbnails:
    return Thumbnails(images.pixels.flip(3), images.names, images.digests, images.classes)


def _aligned(first: Thumbnails, second: Thumbnails, candidates: _Candidates) -> Iterator[Match]:
    views = _views()
    for index in torch.split(torch.arange(len(candidates.first)), PAIRS):
        if not len(index):
            continue
        i, j, kinds = candidates.first[index], candidates.second[index], candidates.view[index].tolist()
        one, two = first.pixels[i].float() / 255, second.pixels[j].float() / 255
        mirrored = torch.tensor([views[k][0] for k in kinds])
        one = torch.where(mirrored[:, None, None, None], one.flip(3), one)
        # Which of the two is part of the other is not known of those whose whole images are alike.
        inside = torch.tensor([views[k][1] < 0 for k in kinds])[:, None, None, None]
        boxes = [CORNERS[max(views[k][1:])] if max(views[k][1:]) >= 0 else WHOLE for k in kinds]
        cropped, full = torch.where(inside, one, two), torch.where(inside, two, one)
        correlation, difference, box = _align(cropped, full, torch.tensor(boxes))
        again = torch.tensor([max(views[k][1:]) < 0 for k in kinds]) & (correlation < COPY)
        if again.any():
            other = _align(full[again], cropped[again], torch.tensor(boxes)[again])
            for own, new in zip((correlation, difference, box), other, strict=True):
                own[again] = torch.where(_like(other[0] > correlation[again], own), new, own[again])
        for n in range(len(i)):
            kind = _kind(float(correlation[n]), float(difference[n]), box[n].tolist(), bool(mirrored[n]))
            if kind is not None:
                yield Match(int(i[n]), int(j[n]), kind, float(correlation[n]), float(difference[n]))


def _like(mask: Tensor, values: Tensor) -> Tensor:
    return mask[:, None] if values.ndim == 2 else mask


# Of copies of 600 toons and cartoon frames, stored at quality 30, halved, mirrored or cropped, 19 of 20 correlate by
# 0.996 or more and differ by at most 0.05; frames of one scene in which a mouth moves differ by 0.1 and more.
COPY, PLACE = 0.985, 0.06
SIMILAR = 0.95


def _kind(correlation: float, difference: float, box: list[float], mirrored: bool) -> Kind | None:
    if correlation < SIMILAR:
        return None
    if correlation < COPY or difference > PLACE:
        return "similar"
    if mirrored:
        return "mirrored"
    whole = min(box[2] - box[0], box[3] - box[1]) > 0.97
    return "stored anew" if whole else "cropped"


def _align(
    part: Float[Tensor, "n 3 side side"], full: Float[Tensor, "n 3 side side"], boxes: Float[Tensor, "n 4"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, "n 4"]]:
    """Find the box of `full` that `part` shows, from an estimate; return correlation, largest difference, and the box.

    The difference is that of the worst of 8 x 8 blocks, the root of its mean square.
    """
    middle, half = (boxes[:, :2] + boxes[:, 2:]) - 1, boxes[:, 2:] - boxes[:, :2]
    place = torch.cat([middle, half], 1)  # in -1..1, x before y: what `grid_sample` takes
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    own, whole = ((x * weights).sum(1, keepdim=True) for x in (part, full))
    for side, steps in ((16, 6), (32, 6)):
        target = F.adaptive_avg_pool2d(own, side)
        soft = _blurred(whole) if side == 16 else whole
        for _ in range(steps):
            place = _step(target, soft, place, side)
    # Both a little blurred: copies that were scaled differ in sharpness.
    seen, own = (_blurred(F.adaptive_avg_pool2d(x, 32)) for x in (_sample(full, place, SIDE), part))
    luma = [(x * weights).sum(1, keepdim=True) for x in (seen, own)]
    centred, reference = (x - x.mean((2, 3), keepdim=True) for x in luma)
    norms = (centred.square().sum((1, 2, 3)) * reference.square().sum((1, 2, 3))).sqrt()
    correlation = (centred * reference).sum((1, 2, 3)) / norms.clamp_min(1e-12)
    # JPEG keeps colour more coarsely than brightness: only its mean over each block is compared.
    brightness = F.avg_pool2d((luma[0] - luma[1]).square(), 4).sqrt()
    colour = F.avg_pool2d(seen - luma[0] - (own - luma[1]), 4).abs()
    worst = torch.cat([brightness, colour], 1).flatten(1).amax(1)
    low, high = (place[:, :2] - place[:, 2:] + 1) / 2, (place[:, :2] + place[:, 2:] + 1) / 2
    return correlation, worst, torch.cat([low, high], 1)


def _blurred(images: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _sample(images: Tensor, place: Float[Tensor, "n 4"], side: int) -> Tensor:
    steps = (torch.arange(side) + 0.5) / side * 2 - 1
    x = place[:, 0, None] + place[:, 2, None] * steps
    y = place[:, 1, None] + place[:, 3, None] * steps
    grid = torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], 3)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _step(target: Tensor, whole: Tensor, place: Float[Tensor, "n 4"], side: int) -> Float[Tensor, "n 4"]:
    """Take one step of Gauss and Newton towards the box at which `whole` looks like `target`."""
    seen = F.adaptive_avg_pool2d(_sample(whole, place, SIDE), side)[:, 0]
    steps = (torch.arange(side) + 0.5) / side * 2 - 1
    dy, dx = torch.gradient(seen, spacing=2 / side, dim=(1, 2))
    # Derivatives by the place in the whole image, not in its box.
    dx, dy = dx / place[:, 2, None, None], dy / place[:, 3, None, None]
    jacobian = torch.stack([dx, dy, dx * steps[None, None], dy * steps[None, :, None]], 1).flatten(2)
    error = (target[:, 0] - seen).flatten(1)
    error = error - error.mean(1, keepdim=True)
    normal = jacobian @ jacobian.transpose(1, 2)
    damping = 1e-3 * normal.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-9
    move = torch.linalg.solve(normal + damping * torch.eye(4), (jacobian @ error[:, :, None]))[..., 0]
    moved = place + move.clamp(-0.1, 0.1)
    half = moved[:, 2:].clamp(*SCALES)
    reach = (1 - half).clamp_min(0) + 0.02
    return torch.cat([torch.maximum(torch.minimum(moved[:, :2], reach), -reach), half], 1)
