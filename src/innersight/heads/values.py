"""What the numbers of an output are, and how they become logits."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from innersight.heads.head import Link


@dataclass(frozen=True)
class Values:
    """What the numbers of an output are, and how they become logits."""

    logits: Callable[[Tensor], Tensor]
    link: Link
    unit: str
    note: str | None


def values_of(scores: Tensor, strong: Tensor, ending: str, *, independent: bool = False) -> Values:
    """Say what scores (B, classes) or (B, classes, h, w) are. ending : what they were made by, see `Ending.of`."""
    # One row of classes for each image, or for each of its locations.
    both = torch.cat([scores, strong]).detach().float().movedim(1, -1).reshape(-1, scores.shape[1])
    within = bool(((both >= 0) & (both <= 1)).all()) and ending != "product"
    sums = both.sum(1)
    if both.shape[1] > 1 and within and torch.allclose(sums, torch.ones_like(sums), atol=1e-2):
        if independent:
            note = "the outputs sum to one, as after a softmax, and are read as probabilities of independent classes"
            return Values(_undo_sigmoid, "sigmoid", "logits", note)
        note = "the network ends in a softmax: its scores are log-probabilities"
        return Values(_log, "softmax", "log-probability", note)
    if ending == "sigmoid" and within:
        return Values(_undo_sigmoid, "sigmoid", "logits", "the network ends in a sigmoid: each class is independent")
    if within and float(both.max() - both.min()) > 1e-3:
        note = "the outputs lie between 0 and 1 for every input: read as probabilities of independent classes"
        return Values(_undo_sigmoid, "sigmoid", "logits", f"{note} (if they are scores, say so with head=)")
    return Values(lambda values: values, "sigmoid" if independent else "softmax", "logits", None)


def _log(probability: Tensor) -> Tensor:
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()


def _undo_sigmoid(probability: Tensor) -> Tensor:
    kinds = torch.finfo(probability.dtype)
    return probability.clamp(min=kinds.tiny).log() - (1 - probability).clamp(min=kinds.eps).log()
