"""Pixels that recur, nearly the same, in the images of a class: logos, stamps, watermarks, frames."""

from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from innersight.audit.cues import Cue
from innersight.audit.evidence import Peaks
from innersight.audit.subject import Subject

Rows = Int[np.ndarray, " _"]
SIDE = 112  # pixels at which images are compared
TEMPLATES = 8  # images that templates are taken from
SMALL = 0.11  # of the side: a template
FEW, BEST = 10, 24  # images that templates are tried on first, and how many of them go on
ALIKE, OFF = 0.9, 0.05  # correlation from which, and difference up to which, pixels are called the same
RARE = 1 / 3  # of the share in the class: the most that other classes may have
LEAST = 0.3  # share of the class's images that have the pixels
STILL, MOVING = 0.03, 0.08  # median deviation of pixels that stay the same, and of those of other classes
HOLE = 0.1  # of the image: the largest hole that is filled
SMALLEST = 0.002  # of the image: what stays the same there
AT_ONCE = 32  # images compared together
DETAIL = 0.05  # standard deviation within a template that is no plain surface


def fixed(subject: Subject, label: int, own: Rows, others: Rows) -> Cue | None:
    """Return the pixels that are nearly the same in most images of a class, at one location, but not in others.

    own, others : images that may suggest it.
    """
    mine, strange = (subject.pixels[rows].float() / 255 for rows in (own, others))
    usual = mine.median(0).values
    still = (mine - usual).abs().median(0).values.amax(0) < STILL
    # Where the class's pixels are those of any image, nothing sets it apart.
    apart = (strange - usual).abs().mean(1).median(0).values > MOVING
    mask = _filled(still & apart)
    if mask.float().mean() < SMALLEST or mask.float().mean() > 0.6:
        return None

    # Within what they enclose pixels may differ.
    sure = still & apart & mask

    def has(rows: Rows) -> Bool[Tensor, " _"]:
        off = [(subject.pixels[part].float() / 255 - usual)[..., sure].abs().mean((1, 2)) for part in _parts(rows)]
        return torch.cat(off) < OFF

    every = (subject.own == label).nonzero()[:, 0].numpy()
    with_it = has(every)
    share, elsewhere = float(with_it.float().mean()), float(has(others).float().mean())
    if share < LEAST or elsewhere > RARE * share:
        return None
    images = every[with_it.numpy()]
    masks = mask.float()[None, None].expand(len(images), -1, -1, -1)
    return Cue(label, "fixed pixels", "the same pixels at the same place", images, masks, share=share, others=elsewhere)


def _parts(rows: Rows) -> list[Rows]:
    return np.array_split(rows, max(1, -(-len(rows) // AT_ONCE)))


def _filled(still: Bool[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    """Return the regions that pixels which stay the same make up: without single ones, and with what they enclose."""
    from scipy import ndimage

    solid = still.numpy() & (ndimage.uniform_filter(still.numpy().astype(np.float32), 3) > 0.5)
    joined = ndimage.binary_closing(np.pad(solid, 2), np.ones((3, 3)), iterations=2)[2:-2, 2:-2]
    holes, count = ndimage.label(~joined)
    sizes = ndimage.sum_labels(~joined, holes, np.arange(1, count + 1))
    # What a frame encloses is the image.
    small = np.flatnonzero(sizes < HOLE * still.numel()) + 1
    return torch.from_numpy(joined | np.isin(holes, small))


def moving(subject: Subject, label: int, found: Peaks, own: Rows, others: Rows) -> Cue | None:
    """Return pixels that are nearly the same in many images of a class, wherever they are, but not in others.

    found : where the evidence of its images lies, from which templates are taken.
    """
    height, width = subject.model.input.shape[1:]
    scale = min(1.0, SIDE / max(height, width))
    size = max(6, round(SMALL * min(height, width) * scale))
    mine = _shrunk(subject, own, scale)
    cut = _templates(mine, own, found, size, scale)
    if not len(cut):
        return None
    # Most of them show what no other image does.
    first = _matches(cut, mine[:FEW])[0].float().sum(1)
    cut = cut[first.topk(min(BEST, len(cut))).indices]
    near = [_matches(cut, x)[0] for x in (mine, _shrunk(subject, others, scale))]
    shares, strange = (one.float().mean(1) for one in near)
    # A template always matches its own image.
    shares = shares - 1 / len(own)
    best = int((shares - strange).argmax())
    if shares[best] < LEAST or strange[best] > RARE * shares[best]:
        return None
    every = (subject.own == label).nonzero()[:, 0].numpy()
    hit, places = _matches(cut[best : best + 1], _shrunk(subject, every, scale))
    images = every[hit[0].numpy()]
    corners = (places[0][hit[0]].float() / scale).round().long()
    masks = _grown(subject, images, corners, round(size / scale))
    words = "nearly the same pixels"
    return Cue(label, "pixels", words, images, masks, share=len(images) / len(every), others=float(strange[best]))


def _shrunk(subject: Subject, rows: Rows, scale: float) -> Float[Tensor, "_ C h w"]:
    parts = [subject.pixels[part].float() / 255 for part in _parts(rows)]
    if scale < 1:
        how: dict[str, Any] = {"mode": "bilinear", "antialias": True, "align_corners": False}
        parts = [F.interpolate(part, scale_factor=scale, **how) for part in parts]
    return torch.cat(parts)


def _grown(subject: Subject, images: Rows, corners: Int[Tensor, "n 2"], size: int) -> Float[Tensor, "n 1 H W"]:
    """Return masks of all pixels around a match that are the same in most images. corners : of the match in each."""
    height, width = subject.model.input.shape[1:]
    reach = 2 * size
    window = size + 2 * reach
    cut = []
    for image, (top, left) in zip(images[:AT_ONCE], corners[:AT_ONCE].tolist(), strict=True):
        padded = F.pad(subject.pixels[np.array([image])].float() / 255, [reach] * 4, value=torch.nan)[0]
        cut.append(padded[:, top : top + window, left : left + window])
    stack = torch.stack(cut)
    off = (stack - stack.nanmedian(0).values).abs().nanmedian(0).values.amax(0)
    region = torch.zeros_like(off, dtype=torch.bool)
    region[reach : reach + size, reach : reach + size] = True
    still = (off < STILL) | region
    for _ in range(reach):
        region = (F.max_pool2d(region.float()[None, None], 3, 1, 1)[0, 0] > 0) & still
    masks = torch.zeros(len(images), 1, height + 2 * reach, width + 2 * reach)
    for mask, (top, left) in zip(masks, corners.tolist(), strict=True):
        mask[0, top : top + window, left : left + window] = region.float()
    return masks[..., reach : reach + height, reach : reach + width].clone()


def _templates(
    mine: Float[Tensor, "n C h w"], own: Rows, found: Peaks, size: int, scale: float
) -> Float[Tensor, "t C s s"]:
    """Return parts of images at and around the two strongest places of their evidence, as far as they are distinct."""
    known = {int(image): i for i, image in enumerate(found.images)}
    templates = []
    for image, row in list(zip(mine, own.tolist(), strict=True))[:TEMPLATES]:
        for box in found.boxes[known[row], :2].tolist() if row in known else ():
            middle = [(box[0] + box[2]) / 2 * scale, (box[1] + box[3]) / 2 * scale]
            # The place of the evidence is known to a cell of the layer's grid.
            for shift in product((-1.0, -0.5, 0.0), repeat=2):
                corner = [round(at + step * size) for at, step in zip(middle, shift, strict=True)]
                top, left = (min(max(0, at), side - size) for at, side in zip(corner, image.shape[1:], strict=True))
                template = image[:, top : top + size, left : left + size]
                if template.std() > DETAIL and _unique(template, image, top, left):
                    templates.append(template)
    return torch.stack(templates) if templates else mine.new_zeros(0, len(mine[0]), size, size)


def _unique(template: Float[Tensor, "C s s"], image: Float[Tensor, "C H W"], top: int, left: int) -> bool:
    """Return whether a template fits its own image at one place alone: not so a long edge, or a plain surface."""
    alike, near = _likeness(template[None], image[None])[0, 0], template.shape[-1]
    # A texture repeats itself.
    alike[max(0, top - near) : top + near + 1, max(0, left - near) : left + near + 1] = -1
    return bool(alike.max() <= ALIKE)


def _matches(
    templates: Float[Tensor, "t C s s"], x: Float[Tensor, "n C H W"]
) -> tuple[Bool[Tensor, "t n"], Int[Tensor, "t n 2"]]:
    """Return which templates recur in which images, and the top left corner of the best match.

    By normalised cross-correlation over all channels, and the mean squared difference that goes with it.
    """
    hits, places = [], []
    for part in torch.split(x, AT_ONCE):
        alike = _likeness(templates, part)
        best = alike.flatten(2).max(2)
        hits.append((best.values > ALIKE).T)
        places.append(torch.stack([best.indices // alike.shape[3], best.indices % alike.shape[3]], 2).transpose(0, 1))
    return torch.cat(hits, 1), torch.cat(places, 1)


def _likeness(templates: Float[Tensor, "t C s s"], part: Float[Tensor, "n C H W"]) -> Float[Tensor, "n t h w"]:
    """Return the correlation of templates with every place of images; -1 where the pixels differ by too much."""
    count = templates[0].numel()
    centred = templates - templates.mean((1, 2, 3), keepdim=True)
    ones = torch.ones_like(templates[:1])
    summed = F.conv2d(part, centred)
    total, square = F.conv2d(part, ones), F.conv2d(part**2, ones)
    variance = (square - total**2 / count).clamp_min(1e-6)
    correlation = summed / (variance.sqrt() * centred.flatten(1).norm(dim=1)[:, None, None])
    cross = summed + templates.mean((1, 2, 3))[:, None, None] * total
    difference = (square - 2 * cross + templates.square().sum((1, 2, 3))[:, None, None]).clamp_min(0) / count
    return torch.where(difference.sqrt() < OFF, correlation, correlation.new_tensor(-1.0))
