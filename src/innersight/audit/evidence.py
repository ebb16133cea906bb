"""Where in an image the evidence for a class lies, and what it consists of in the units of a layer."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from innersight import tap
from innersight.ambient import kept_random
from innersight.audit.subject import BATCH, Subject
from innersight.heatmaps.request import GRADIENT

PEAKS = 3
SMALLEST, LARGEST = 0.16, 0.45  # of the side: sizes of a region
EDGE = 0.4  # of the peak: what belongs to its region


@dataclass(frozen=True, eq=False)
class Peaks:
    """The strongest local maxima of the evidence for a class, those of one image side by side, strongest first.

    boxes : (images, PEAKS, 4) top, left, bottom and right in pixels of the network's input. values : (images, PEAKS),
    in logits. vectors : (images, PEAKS, units), what each unit adds there, at unit length.
    """

    images: Int[np.ndarray, " _"]
    boxes: Int[Tensor, "n peaks 4"]
    values: Float[Tensor, "n peaks"]
    vectors: Float[Tensor, "n peaks units"]


def peaks(subject: Subject, images: Int[np.ndarray, " _"], label: int) -> Peaks:
    """Return where the evidence for a class lies in images: each unit's activation times the gradient of its score.

    The same as HiRes-CAM (Draelos and Carin 2020, arXiv:2011.08891) before the sum over units.
    """
    assert subject.layer is not None
    parts: tuple[list[Tensor], ...] = ([], [], [])
    for part in np.array_split(images, max(1, -(-len(images) // BATCH))):
        own = _evidence(subject, part, subject.layer, label)
        found = [_peaks(one, subject.model.input.shape[1:]) for one in own]
        for into, new in zip(parts, zip(*found, strict=True), strict=True):
            into.append(torch.stack(new))
    boxes, values, vectors = map(torch.cat, parts)
    return Peaks(images, boxes, values, vectors)


def _evidence(subject: Subject, images: Int[np.ndarray, " _"], layer: str, label: int) -> Float[Tensor, "n units h w"]:
    with tap.untouched(subject.model):
        x = subject.tensor(subject.pixels[images])
        found = tap.leaf(subject.model, x, [layer])
        activation = found.activations[layer]
        score = found.logits()[:, label]
        (gradient,) = tap.gradients(subject.model, score, [activation], torch.ones_like(score), allow_unused=True)
    subject.count(GRADIENT * len(images), "evidence")
    product = torch.zeros_like(activation) if gradient is None else activation * gradient
    return product.detach().float().cpu()


def _peaks(evidence: Float[Tensor, "units h w"], size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    total = evidence.sum(0)
    height, width = total.shape
    soft = F.avg_pool2d(evidence[None], 3, 1, 1, count_include_pad=False)[0] if min(height, width) >= 3 else evidence
    rest = total.clone()
    boxes, values, vectors = [], [], []
    for _ in range(PEAKS):
        y, x = divmod(int(rest.argmax()), width)
        boxes.append(_box(total, y, x, size))
        values.append(total[y, x])
        vector = soft[:, y, x]
        vectors.append(vector / vector.norm().clamp_min(1e-30))
        reach_y, reach_x = max(1, height // 6), max(1, width // 6)
        rest[max(0, y - reach_y) : y + reach_y + 1, max(0, x - reach_x) : x + reach_x + 1] = -torch.inf
    return torch.tensor(boxes), torch.stack(values), torch.stack(vectors)


def _box(total: Float[Tensor, "h w"], y: int, x: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the region around a peak: as far as the evidence stays above a share of it, neither tiny nor huge."""
    high = total >= EDGE * total[y, x]
    spans = []
    for line, at, length in ((high[:, x], y, size[0]), (high[y], x, size[1])):
        low, top = at, at
        while low > 0 and line[low - 1]:
            low -= 1
        while top < len(line) - 1 and line[top + 1]:
            top += 1
        cell = length / len(line)
        middle = (low + top + 1) / 2 * cell
        side = min(max((top - low + 1) * cell, SMALLEST * length), LARGEST * length)
        start = min(max(0, round(middle - side / 2)), length - round(side))
        spans.append((start, start + round(side)))
    (top, bottom), (left, right) = spans
    return top, left, bottom, right


def clusters(found: Peaks, label_images: int) -> list[Int[np.ndarray, " members"]]:
    """Return groups of images whose strongest evidence consists of the same units, the largest first."""
    with kept_random():
        from sklearn.cluster import AgglomerativeClustering

    vectors = found.vectors[:, 0].numpy()
    good = np.flatnonzero((found.values[:, 0] > 0).numpy() & (np.abs(vectors).sum(1) > 0))
    if len(good) < 2:
        return []
    model = AgglomerativeClustering(None, metric="cosine", linkage="average", distance_threshold=APART)
    labels = model.fit_predict(vectors[good])
    least = max(3, round(SHARE * label_images))
    groups = [good[labels == one] for one in np.unique(labels)]
    return sorted((group for group in groups if len(group) >= least), key=len, reverse=True)[:GROUPS]


APART = 0.5  # cosine distance between clusters of evidence
SHARE = 0.12  # of a class: images that a cluster needs
GROUPS = 4
