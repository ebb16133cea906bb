"""Pixels that recur, nearly the same, in the images of a class: logos, stamps, watermarks, frames."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from innersight.audit.cues import Cue, mask_of
from innersight.audit.evidence import Peaks
from innersight.audit.subject import Subject

Rows = Int[np.ndarray, " _"]
SIDE = 112  # pixels at which images are compared
TEMPLATES = 12  # images that templates are taken from
SMALL = 0.15  # of the side: a template
ALIKE, OFF = 0.9, 0.05  # correlation from which, and difference up to which, pixels are called the same
NEARBY = 2  # pixels that a template may be shifted and still fit
RARE = 1 / 3  # of the share in the class: the most that other classes may have
LEAST = 0.3  # share of the class's images that have the pixels
STILL, MOVING = 0.03, 0.08  # median deviation of pixels that stay the same, and of others at their place
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
    moving = (strange - strange.median(0).values).abs().median(0).values.amax(0) > MOVING
    # Where the class's pixels are those of any image, nothing sets it apart.
    apart = (strange - usual).abs().mean(1).median(0).values > MOVING
    mask = _closed(still & (moving | apart) & apart)
    if mask.float().mean() < SMALLEST or mask.float().mean() > 0.6:
        return None

    def has(rows: Rows) -> Bool[Tensor, " _"]:
        off = [(subject.pixels[part].float() / 255 - usual)[..., mask].abs().mean((1, 2)) for part in _parts(rows)]
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


def _closed(mask: Bool[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    """Return a mask without single pixels, and without gaps of one pixel."""
    x = mask.float()[None, None]
    opened = F.max_pool2d(-F.max_pool2d(-x, 3, 1, 1), 3, 1, 1)
    return -F.max_pool2d(-F.max_pool2d(opened, 3, 1, 1), 3, 1, 1)[0, 0] > 0.5


def moving(subject: Subject, label: int, found: Peaks, own: Rows, others: Rows) -> Cue | None:
    """Return pixels that are nearly the same in many images of a class, wherever they are, but not in others.

    found : where the evidence of its images lies, from which templates are taken.
    """
    height, width = subject.model.input.shape[1:]
    scale = min(1.0, SIDE / max(height, width))
    size = max(5, round(SMALL * min(height, width) * scale))
    known = {int(image): i for i, image in enumerate(found.images)}
    chosen = [int(image) for image in own if int(image) in known][:TEMPLATES]
    if len(chosen) < 4:
        return None
    templates = []
    for image in chosen:
        shrunk = _shrunk(subject, np.array([image]), scale)[0]
        for box in found.boxes[known[image], :2].tolist():
            middle = [(box[0] + box[2]) / 2 * scale, (box[1] + box[3]) / 2 * scale]
            top, left = (
                min(max(0, round(m - size / 2)), s - size) for m, s in zip(middle, shrunk.shape[1:], strict=True)
            )
            template = shrunk[:, top : top + size, left : left + size]
            templates.append((template, _unique(template, shrunk, top, left)))
    cut = torch.stack([one for one, unique in templates if unique and one.std() > DETAIL] or [torch.zeros(0)])
    if not cut.numel():
        return None
    near = [_matches(cut, _shrunk(subject, rows, scale))[0] for rows in (own, others)]
    shares, strange = (one.float().mean(1) for one in near)
    # A template always matches its own image.
    shares = shares - 1 / len(own)
    best = int((shares - strange).argmax())
    if shares[best] < LEAST or strange[best] > RARE * shares[best]:
        return None
    every = (subject.own == label).nonzero()[:, 0].numpy()
    hit, places = _matches(cut[best : best + 1], _shrunk(subject, every, scale))
    images = every[hit[0].numpy()]
    centre = (places[0][hit[0]].float() + size / 2) / scale
    half = size / scale * 0.75
    corners = torch.cat([centre - half, centre + half], 1).round().long()
    masks = mask_of(corners, height, width)
    words = "nearly the same pixels"
    return Cue(label, "pixels", words, images, masks, share=len(images) / len(every), others=float(strange[best]))


def _shrunk(subject: Subject, rows: Rows, scale: float) -> Float[Tensor, "n C h w"]:
    parts = [subject.pixels[part].float() / 255 for part in _parts(rows)]
    if scale < 1:
        how: dict[str, Any] = {"mode": "bilinear", "antialias": True, "align_corners": False}
        parts = [F.interpolate(part, scale_factor=scale, **how) for part in parts]
    return torch.cat(parts)


def _unique(template: Float[Tensor, "C s s"], image: Float[Tensor, "C H W"], top: int, left: int) -> bool:
    """Return whether a template fits its own image at one place alone: not so a straight edge, or a plain surface."""
    alike = _likeness(template[None], image[None])[0, 0]
    alike[max(0, top - NEARBY) : top + NEARBY + 1, max(0, left - NEARBY) : left + NEARBY + 1] = -1
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
    product = F.conv2d(part, centred)
    total, square = F.conv2d(part, ones), F.conv2d(part**2, ones)
    variance = (square - total**2 / count).clamp_min(1e-6)
    correlation = product / (variance.sqrt() * centred.flatten(1).norm(dim=1)[:, None, None])
    cross = product + templates.mean((1, 2, 3))[:, None, None] * total
    difference = (square - 2 * cross + templates.square().sum((1, 2, 3))[:, None, None]).clamp_min(0) / count
    return torch.where(difference.sqrt() < OFF, correlation, correlation.new_tensor(-1.0))
