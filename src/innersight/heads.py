"""Heads: how a network's output, whatever it is, becomes one score per class."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from innersight.errors import InnersightError
from innersight.nested import leaves

Link = Literal["softmax", "sigmoid", "none"]


@dataclass(frozen=True)
class Head:
    """How a network's output is read.

    read : the network's output to scores (B, classes), differentiable.
    link : what makes scores probabilities: "softmax" (one class of many), "sigmoid" (each class for itself: binary and
        multi-label networks), or "none" (the scores stand for no probability).
    unit : what the scores are, for legends.
    """

    read: Callable[[Any], Tensor]
    link: Link = "softmax"
    unit: str = "logits"

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return (B, classes) probabilities; NaN when the scores stand for none."""
        if self.link == "softmax":
            return scores.softmax(1)
        return scores.sigmoid() if self.link == "sigmoid" else torch.full_like(scores, torch.nan)


def multilabel() -> Head:
    """Return the head of a network with one independent logit per label: probabilities are sigmoids."""
    return Head(_plain, "sigmoid")


def similarity(references: Float[Tensor, "classes features"]) -> Head:
    """Return the head of an embedding network: the cosine similarity, -1 to 1, to each reference embedding.

    references : one embedding per "class", such as `model.net(picture.tensor(model.input)[None])` of a picture.
    Raises InnersightError when an embedding has another number of features.
    """
    unit = F.normalize(references.detach().float(), dim=1)

    def read(output: Any) -> Tensor:
        embedding = tensor_of(output)[1].flatten(1)
        if embedding.shape[1] != unit.shape[1]:
            raise InnersightError(f"embeddings have {embedding.shape[1]} features, the references {unit.shape[1]}")
        return F.normalize(embedding, dim=1) @ unit.to(embedding.device, embedding.dtype).T

    return Head(read, "none", "cosine")


def region(mask: "Bool[Tensor, 'H W'] | None" = None) -> Head:
    """Return the head of a segmentation network: each class's logit averaged over a region of its output.

    mask : the region, True inside; resized to the output's grid; everywhere when not given. (Seg-Grad-CAM, Vinogradova
    et al. 2020, arXiv:2002.11434, sums instead: an average does not depend on the size.)
    """
    if mask is not None and not mask.any():
        raise InnersightError("the region is empty: no place of the mask is True")

    def read(output: Any) -> Tensor:
        scores = tensor_of(output)[1]
        if mask is None:
            return scores.flatten(2).mean(2)
        weights = F.adaptive_avg_pool2d(
            mask.to(scores.device, scores.dtype)[None, None], (scores.shape[2], scores.shape[3])
        )
        return (scores * weights).flatten(2).sum(2) / weights.sum()

    return Head(read, "none", "mean logits of the region")


def recognise(output: Any, *, sigmoid: bool) -> tuple[Head, tuple[str, ...], tuple[str, ...]]:
    """Return the head for a network that gave `output` for some pictures, a name per class, and what was assumed.

    sigmoid : whether the network ends in a sigmoid. Raises InnersightError for an output that is no row per picture.
    """
    where, found = tensor_of(output)
    several = f"the network gives several outputs: output{where} is taken for the class scores (another one: head=)"
    notes = (several,) if where else ()
    if found.ndim == 4:
        return region(), numbered(found.shape[1]), (*notes, "each class's logits are averaged over the whole picture")
    if found.ndim == 1 or (found.ndim == 2 and found.shape[1] == 1):
        binary = Head(_both_sides_of_a_probability if sigmoid else _both_sides, "sigmoid")
        return binary, ("no", "yes"), (*notes, "a single output: high means yes, low means no")
    if found.ndim != 2:
        raise InnersightError(f"the network returned {tuple(found.shape)}; one row of logits per picture is needed")
    if sigmoid and bool(((found >= 0) & (found <= 1)).all()):
        note = "the network ends in a sigmoid: each class is independent"
        return Head(_undo_sigmoid, "sigmoid"), numbered(found.shape[1]), (*notes, note)
    rows = found.float().sum(1)
    if bool((found >= 0).all()) and torch.allclose(rows, torch.ones_like(rows), atol=1e-3):
        note = "the network ends in a softmax: its scores are log-probabilities"
        return Head(_log, "softmax", "log-probability"), numbered(found.shape[1]), (*notes, note)
    return PLAIN, numbered(found.shape[1]), notes


def tensor_of(output: Any) -> tuple[str, Tensor]:
    """Return the tensor that holds the class scores and where it is in `output`: "" for a bare tensor.

    Of several the one called logits or out, else the first of floating type. Raises InnersightError when there is none.
    """
    found = [(where, leaf) for where, leaf in leaves(output) if leaf.is_floating_point()]
    if not found:
        raise InnersightError(f"the network returned {type(output).__name__}; no tensor of class scores is in it")
    named = [entry for entry in found if entry[0] in ("['logits']", "['out']", ".logits", ".out")]
    return (named or found)[0]


def numbered(classes: int) -> tuple[str, ...]:
    """Return the labels of classes that nobody named: their numbers.

    >>> numbered(3)
    ('0', '1', '2')
    """
    return tuple(map(str, range(classes)))


def _plain(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else tensor_of(output)[1]


def _log(output: Any) -> Tensor:
    probability = _plain(output)
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()


def _undo_sigmoid(output: Any) -> Tensor:
    probability = _plain(output)
    kinds = torch.finfo(probability.dtype)
    return probability.clamp(min=kinds.tiny).log() - (1 - probability).clamp(min=kinds.eps).log()


def _both_sides(output: Any) -> Tensor:
    score = _plain(output).flatten()
    return torch.stack([-score, score], 1)


def _both_sides_of_a_probability(output: Any) -> Tensor:
    return _both_sides(_undo_sigmoid(output))


PLAIN = Head(_plain)
