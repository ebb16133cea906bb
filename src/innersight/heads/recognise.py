"""Which head fits what a network gave."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from innersight.errors import InnersightError
from innersight.heads.head import PLAIN, Fitted, Head, Outputs, numbered
from innersight.heads.outputs import check_output, check_scores, plain, tensor_of
from innersight.heads.values import values_of
from innersight.nested import leaves
from innersight.network import DEFEATED
from innersight.quotients import outlying


def recognise(outputs: Outputs, stated: Head | None = None) -> Fitted:
    """Return the head for a network that gave certain outputs, a name per class, and what was assumed.

    Parameters
    ----------
    outputs
        What the network gave for random images.
    stated
        The head that the user named; it is fitted and checked like the one that is found without it.

    Returns
    -------
    Fitted
        The head, checked, with a name for each class.

    Raises
    ------
    InnersightError
        For an output that cannot be read, and for scores that are no row of numbers for each image.

    Examples
    --------
    >>> import torch
    >>> from innersight.heads import Outputs, recognise
    >>> from innersight.heads.ending import Ending
    >>> logits = torch.tensor([[2.0, -3.0], [0.5, 4.0]])
    >>> found = recognise(Outputs(logits, 100 * logits, logits[:1], 2, (8, 8), Ending([])))
    >>> found.head.link, found.labels
    ('softmax', ('0', '1'))

    """
    if stated is None:
        return _checked(outputs, fitted(outputs))
    return _checked(outputs, _as_written(outputs, stated) if stated.fit is None else stated.fit(outputs))


def _checked(outputs: Outputs, found: Fitted) -> Fitted:
    """Return a fitted head with a name for each class, and with notes of what is not as it should be."""
    scores = _scores(found.head, outputs.several)
    if scores.ndim != 2 or len(scores) != outputs.images or not scores.shape[1]:
        raise InnersightError(
            f"the scores are {tuple(scores.shape)} for {outputs.images} images; one row of logits per image is needed: "
            "state how to read the output with head="
        )
    alone = _scores(found.head, outputs.one, " for a single image")
    if alone.shape != (1, scores.shape[1]):
        raise InnersightError(
            f"the scores are {tuple(alone.shape)} for a single image instead of {(1, scores.shape[1])}: "
            "squeeze only the dimensions meant, as in squeeze(-1)"
        )
    notes = list(found.notes)
    broken = scores.isnan() | (scores == torch.inf)
    if broken.any():
        several = f"{int(broken.any(1).sum())} of {outputs.images} random images"
        if all(leaf.isfinite().all() for _, leaf in leaves(outputs.several)):
            raise InnersightError(
                f"the head returns scores that are NaN or infinite for {several}, "
                "although the network's output is finite"
            )
        notes.append(f"the network's scores are NaN or infinite for {several}")
    sizes = scores.nan_to_num(0, 0, 0).abs().amax(0)
    usual = ~outlying(sizes)
    apart = float((scores[:1] - alone).nan_to_num(0, 0, 0).abs()[:, usual].max())
    if apart > torch.finfo(scores.dtype).eps ** 0.5 * float(sizes[usual].max()):
        notes.append(
            f"the scores of an image differ by {apart:.2g} when it is alone: they depend on the other images of a "
            "batch, or are random"
        )
    return Fitted(found.head, found.labels or numbered(scores.shape[1]), tuple(notes))


def _scores(head: Head, output: Any, when: str = "") -> Tensor:
    try:
        scores = head.read(output)
    except InnersightError:
        raise
    except DEFEATED as error:
        raise InnersightError(
            f"the head cannot read {_described(output)}{when} ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise InnersightError(f"the head returned {kind}; it must return a floating-point tensor (images, classes)")
    return scores


def _described(output: Any) -> str:
    found = ", ".join(f"output{where} {tuple(leaf.shape)}" for where, leaf in leaves(output))
    return f"what the network returned, {found or type(output).__name__}"


def _as_written(outputs: Outputs, stated: Head) -> Fitted:
    """Fit a head that reads one network's output: a single score has two sides too."""
    with outputs.ending:
        scores, strong = _scores(stated, outputs.several), _scores(stated, outputs.strong)
    single = scores.ndim < 2 or scores.shape[1:] == (1,)
    if single and stated.link != "none":
        head = replace(stated, read=lambda output: _sides(stated.read(output).reshape(-1, 1)), link="sigmoid")
        notes = [SIDES]
    else:
        head, notes = stated, []
    if scores.ndim == 2 and scores.numel() and stated.link != "none":
        values = values_of(scores, strong, outputs.ending.of(scores))
        if values.unit == "log-probability" or values.note is not None:
            kind = "that sum to one" if values.unit == "log-probability" else "between 0 and 1"
            undone = "log()" if values.unit == "log-probability" else "logit()"
            notes.append(
                f"the head reads values {kind}, which look like probabilities, and its link ({stated.link}) makes "
                f"probabilities of them once more: let it read their {undone}, or set link='none'"
            )
    return Fitted(head, ("no", "yes") if head is not stated else (), tuple(notes))


SIDES = "single output: a high value means yes, a low value means no"


def _sides(logits: Float[Tensor, "B 1"]) -> Float[Tensor, "B 2"]:
    return torch.cat([-logits, logits], 1)


def fitted(
    outputs: Outputs,
    *,
    independent: bool = False,
    grid: bool = False,
    mask: "Bool[Tensor, 'H W'] | None" = None,
    mark: str = "",
) -> Fitted:
    """Find the head for what a network gave.

    independent : every class is known to stand on its own. grid : the output is known to have a grid, and mask : which
    of its locations count.
    """
    check_output(outputs.several)
    where, found = tensor_of(outputs.several)
    check_scores(found)
    arrange, note = _arrangement(tuple(found.shape), outputs.size)
    scores = arrange(found)
    strong = arrange(tensor_of(outputs.strong)[1])
    values = values_of(scores, strong, outputs.ending.of(found), independent=independent)
    has_locations = scores.ndim == 4
    if grid and not has_locations:
        raise InnersightError(f"the network returned {tuple(found.shape)}: a region needs (images, classes, h, w)")
    sides = scores.shape[1] == 1
    kept = (
        *about(outputs, where, found),
        *([note] if note else []),
        *([values.note] if values.note else []),
        *(["segmentation: each class is averaged over the whole image"] if has_locations and mask is None else []),
        *([SIDES] if sides else []),
    )
    labels = ("no", "yes") if sides else numbered(scores.shape[1])
    if not kept and not has_locations:
        return Fitted(Head(plain, "sigmoid", fit=partial(fitted, independent=True)) if independent else PLAIN, labels)

    def read(output: Any) -> Tensor:
        logits = values.logits(arrange(plain(output)))
        logits = over(logits, mask) if has_locations else logits
        return _sides(logits) if sides else logits

    # So that a head that was found, and is named, is found again.
    fit = partial(fitted, independent=independent, grid=grid, mask=mask, mark=mark)
    if has_locations:
        return Fitted(Head(read, "none", f"mean {values.unit} of the region", mark, fit), labels, kept)
    return Fitted(Head(read, "sigmoid" if sides else values.link, values.unit, fit=fit), labels, kept)


def about(outputs: Outputs, where: str, found: Tensor) -> list[str]:
    """Say which of several outputs is read, and whether a single image loses its batch."""
    notes = []
    if found.ndim > 1 and tensor_of(outputs.one)[1].ndim < found.ndim:
        notes.append("drops the batch dimension of a single image: it is restored")
    if where:
        notes.append(
            f"the network returns several outputs: output{where} is used as the class scores; choose another with head="
        )
    return notes


def _arrangement(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[Callable[[Tensor], Tensor], str | None]:
    """Return what brings an output to (B, classes) or (B, classes, h, w), and a note on it."""
    if len(shape) == 1:
        return lambda scores: scores.reshape(-1, 1), None
    if len(shape) == 4 and shape[1] > 1 and _like(shape[1:3], size) and (shape[3] == 1 or not _like(shape[2:], size)):
        return lambda scores: scores.movedim(3, 1), "segmentation with the classes in the last dimension"
    if len(shape) == 4 and shape[2:] == (1, 1):
        return lambda scores: scores.reshape(-1, shape[1]), "grid of one cell: read as one row of scores"
    if len(shape) == 4 and not _like(shape[2:], size):
        raise InnersightError(
            f"the network returned {shape}, which is not a grid of an image of {size}: state how to read it with head="
        )
    # A network that squeezes its output gives no row but the scores themselves for a single image.
    return lambda scores: scores[None] if scores.ndim == len(shape) - 1 else scores, None


def _like(grid: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Say whether a grid has the proportions of an image of this size, as far as its locations allow."""
    height, width = grid
    wanted = width * size[0] / size[1]
    return abs(height - wanted) <= max(1.0, 0.1 * wanted)


def over(scores: Float[Tensor, "B classes h w"], mask: "Bool[Tensor, 'H W'] | None") -> Float[Tensor, "B classes"]:
    """Return the mean of each class's scores over a region; over the whole image where there is no mask."""
    if scores.ndim != 4:
        raise InnersightError(f"the network returned {tuple(scores.shape)}: a region needs (images, classes, h, w)")
    if mask is None:
        return scores.flatten(2).mean(2)
    size = (scores.shape[2], scores.shape[3])
    weights = F.adaptive_avg_pool2d(mask.to(scores.device, scores.dtype)[None, None], size)
    return (scores * weights).flatten(2).sum(2) / weights.sum()
