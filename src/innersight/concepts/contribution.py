"""What each concept of a layer, or each unit, contributes to the score of a class, in the unit of the score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight import tap
from innersight.brief import brief
from innersight.factorizations import Factorization
from innersight.model import Model
from innersight.quotients import precise, quotient

STEPS = (1, 4, 16, 64)
EXACT = 0.01
AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Contributions:
    """How the score of a class of each image is made up.

    `values.sum(1) + rest + missing` is `score`.

    Attributes
    ----------
    maps : Tensor
        (images, concepts, h, w) float32: how strong each concept is at each location.
    values : Tensor
        (images, concepts) float32: what each adds to the score, in the unit of the network's head.
    rest : Tensor
        (images,) float32: the score when all concepts are removed: what they do not explain.
    missing : Tensor
        (images,) float32: what is lost to the number of steps.
    score : Tensor
        (images,) float32.
    classes : Tensor
        (images,) int64: the class that is scored.

    """

    maps: Float[Tensor, "images concepts h w"]
    values: Float[Tensor, "images concepts"]
    rest: Float[Tensor, " images"]
    missing: Float[Tensor, " images"]
    score: Float[Tensor, " images"]
    classes: Int[Tensor, " images"]

    __repr__ = brief

    @staticmethod
    def joined(parts: "Sequence[Contributions]") -> "Contributions":
        """Return those of several batches as one.

        Parameters
        ----------
        parts
            At least one.

        """
        return Contributions(*(torch.cat([getattr(part, name) for part in parts]) for name in _FIELDS))


_FIELDS = ("maps", "values", "rest", "missing", "score", "classes")


def contribute(suffix: tap.Suffix, classes: Int[Tensor, " images"]) -> Contributions:
    """Return what each unit or concept of a layer contributes to the score of one class of each image.

    Parameters
    ----------
    suffix
        The network behind the layer, see `innersight.tap.resume`.
    classes
        (images,) numbers of classes.

    Returns
    -------
    Contributions
        In the unit of the network's head.

    Notes
    -----
    Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365) between the layer without the concepts and as it
    is, summed over locations: contributions add up to the difference of both scores. The integral is taken by
    Gauss-Legendre quadrature with 1, 4, 16 or 64 nodes, the first that misses less than 1% of the difference for all
    images. One is exact where the score is an affine function of the layer.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> from innersight.concepts import contribute
    >>> model = ins.load("small:8")
    >>> with tap.untouched(model):
    ...     found = contribute(tap.resume(model, torch.rand(2, *model.input.shape), "stage4"), torch.tensor([0, 3]))
    >>> bool(torch.allclose(found.values.sum(1) + found.rest + found.missing, found.score, atol=1e-5))
    True

    """
    maps = suffix.activation
    rows, classes = torch.arange(len(maps), device=maps.device), classes.to(maps.device)
    with torch.no_grad():
        rest = precise(suffix(torch.zeros_like(maps), rows)[rows, classes])
    score = precise(suffix.output[rows, classes])
    for steps in STEPS:
        values = _integrated(suffix, classes, steps)
        missing = score - rest - values.sum(1)
        if bool((missing.abs() <= EXACT * (score - rest).abs()).all()):
            break
    maps, values, rest, missing, score = (part.detach().float().cpu() for part in (maps, values, rest, missing, score))
    return Contributions(maps, values, rest, missing, score, classes.cpu())


def _integrated(suffix: tap.Suffix, classes: Tensor, steps: int) -> Float[Tensor, "images concepts"]:
    maps = suffix.activation
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = precise(torch.zeros(maps.shape[:2], device=maps.device))
    at = [(row, node) for row in range(len(maps)) for node in range(steps)]
    for start in range(0, len(at), AT_ONCE):
        image = torch.tensor([row for row, _ in at[start : start + AT_ONCE]], device=maps.device)
        # Of the precision that the device has.
        share, weight = (
            torch.tensor([own[node] for _, node in at[start : start + AT_ONCE]], dtype=total.dtype, device=total.device)
            for own in ((nodes + 1) / 2, weights / 2)
        )
        with torch.enable_grad():
            variants = (maps[image] * share.to(maps)[:, None, None, None]).detach().requires_grad_(True)
            scores = suffix(variants, image)[torch.arange(len(image)), classes[image]]
            if not scores.requires_grad:
                continue
            (slopes,) = tap.gradients(suffix.model, scores, [variants], torch.ones_like(scores), allow_unused=True)
        if slopes is not None:
            parts = (precise(slopes) * precise(maps[image])).sum((2, 3)) * weight[:, None]
            total.index_add_(0, image, parts.to(total))
    return total


def shares(found: Contributions) -> Float[Tensor, " concepts"]:
    """Return the share of each concept in what all concepts change of the scores, over all images.

    Negative for a concept that lowers the scores, whatever all together do: the shares add up to 1, or to -1.
    """
    return quotient(found.values.double().sum(0), (found.score - found.rest).double().sum().abs()).float()


def rebuilt_share(
    model: Model,
    x: Float[Tensor, "B C H W"],
    fitted: Factorization,
    layer: str,
    classes: Int[Tensor, " B"],
) -> Float[Tensor, " B"]:
    """Return the share of each score, above that of a layer that gives nothing, which the concepts alone keep.

    x : network input. classes : those whose scores are meant. Call it inside `innersight.tap.untouched`.
    """
    rows = torch.arange(len(x))

    def rebuilt(maps: Tensor) -> Tensor:
        batch, units, height, width = maps.shape
        vectors = fitted.decode(fitted.encode(maps.permute(0, 2, 3, 1).reshape(-1, units)))
        return vectors.reshape(batch, height, width, units).permute(0, 3, 1, 2).to(maps.dtype)

    with torch.no_grad():
        whole, kept, nothing = (
            run.double().cpu()[rows, classes.cpu()]
            for run in (model.logits(x), *(tap.replace(model, x, layer, make) for make in (rebuilt, torch.zeros_like)))
        )
    return ((kept - nothing) / (whole - nothing)).float()
