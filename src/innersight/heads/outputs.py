"""Outputs of networks: the tensor with the class scores, and what to do where there is none."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from innersight.errors import InnersightError, UnusableError
from innersight.nested import leaves

DOCS = "docs/models.md#networks-with-another-output"
HEAD = f"state how to read the output with head=Head(...), see {DOCS}"
_DETECTIONS = ("boxes", "labels", "scores", "masks", "keypoints", "pred_boxes", "pred_logits")


def check_output(output: Any) -> None:
    """Raise UnusableError where an output cannot hold one row of class scores for each image."""
    found = list(leaves(output))
    names = [name for name in _DETECTIONS if name in _keys(output)]
    if len(names) > 1:
        raise UnusableError(f"the network detects objects ({'/'.join(names)}) and returns no class scores; {HEAD}")
    if output is None:
        raise UnusableError("the network returned None: its forward must return the class scores")
    if not found:
        raise UnusableError(f"the network returned {type(output).__name__}: no tensor of class scores; {HEAD}")
    kinds = {str(leaf.dtype).removeprefix("torch.") for _, leaf in found if not leaf.is_floating_point()}
    if len(kinds) == 1 and not any(leaf.is_floating_point() for _, leaf in found):
        kind = next(iter(kinds))
        what = "complex numbers" if kind.startswith("complex") else "whole numbers, such as classes chosen already"
        remedy = "take their magnitude, " if kind.startswith("complex") else "return the scores before the choice, or "
        raise UnusableError(f"the network returned {kind}, {what}: no class scores; {remedy}{HEAD}")


def check_scores(scores: Tensor) -> None:
    """Raise UnusableError for a tensor that cannot be read as class scores of several images."""
    shape = tuple(scores.shape)
    if scores.ndim in (3, 5) or scores.ndim > 5:
        what = "a row of numbers for each of several boxes or tokens" if scores.ndim == 3 else "scores of a volume"
        raise UnusableError(f"the network returned {shape}, {what}: no class scores of the image; {HEAD}")
    if scores.ndim == 0:
        raise UnusableError(f"the network returned one number for several images; {HEAD}")
    if not scores.numel():
        raise UnusableError(f"the network returned {shape}: it has no class to explain or predict")


def tensor_of(output: Any) -> tuple[str, Tensor]:
    """Return the tensor that holds the class scores and where it is in `output`: "" for a bare tensor.

    Of several the one called logits or out, else the first of floating type. Raises InnersightError when there is none.
    """
    found = [(where, leaf) for where, leaf in leaves(output) if leaf.is_floating_point()]
    if not found:
        raise InnersightError(f"the network returned {type(output).__name__}; it holds no tensor of class scores")
    named = [entry for entry in found if entry[0] in ("['logits']", "['out']", ".logits", ".out")]
    return (named or found)[0]


def plain(output: Any) -> Tensor:
    """Return the tensor of class scores as it is."""
    return output if isinstance(output, Tensor) else tensor_of(output)[1]


def _keys(output: Any) -> set[str]:
    """Return the names that are anywhere in an output."""
    if isinstance(output, Mapping):
        return {str(key) for key in output} | {name for item in output.values() for name in _keys(item)}
    if isinstance(output, tuple | list):
        named = set(getattr(output, "_fields", ()))
        return named | {name for item in output for name in _keys(item)}
    return set(getattr(output, "__dataclass_fields__", ()))
