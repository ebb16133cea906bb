"""Heads: how a network's output, whatever it is, becomes one score per class."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from innersight.errors import InnersightError
from innersight.heads.ending import Ending
from innersight.heads.outputs import check_output, check_scores
from innersight.nested import leaves
from innersight.quotients import normalised, outlying

Link = Literal["softmax", "sigmoid", "none"]
LINKS = get_args(Link)


@dataclass(frozen=True)
class Head:
    """How a network's output is read.

    read : the network's output to scores (B, classes), differentiable.
    link : what makes scores probabilities: "softmax" (one class of many), "sigmoid" (each class for itself: binary and
        multi-label networks), or "none" (the scores stand for no probability).
    unit : what the scores are, for legends.
    mark : tells heads of one kind apart, such as two regions.
    fit : makes the head that suits what a network gave, where the head is of a kind (`multilabel`, `region`,
        `similarity`) rather than written for one network; `innersight.load` calls it.
    """

    read: Callable[[Any], Tensor]
    link: Link = "softmax"
    unit: str = "logits"
    mark: str = ""
    fit: "Callable[[Outputs], Fitted] | None" = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.link not in LINKS:
            raise InnersightError(f"link={self.link!r}: choose {', '.join(LINKS)}")
        if not callable(self.read):
            raise InnersightError(f"read={self.read!r:.60} is no function of the network's output")

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return (B, classes) probabilities; NaN when the scores stand for none."""
        if self.link == "softmax":
            return scores.softmax(1)
        return scores.sigmoid() if self.link == "sigmoid" else torch.full_like(scores, torch.nan)


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network gave for random images.

    several : for `images` of them. strong : for the same, a hundred times as strong: scores grow with them,
    probabilities do not. one : for the first image alone. size : (H, W) of the images. ending : what the tensors were
    made by.
    """

    several: Any
    strong: Any
    one: Any
    images: int
    size: tuple[int, int]
    ending: Ending


@dataclass(frozen=True)
class Fitted:
    """A head for one network. labels : a name per class where the head tells them. notes : what was assumed."""

    head: Head
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def multilabel() -> Head:
    """Return the head of a network with one independent logit per label: probabilities are sigmoids.

    A network that ends in the sigmoid itself is read as what goes into it, and a single output as no and yes.
    """
    return Head(_plain, "sigmoid", fit=partial(_fitted, independent=True))


def similarity(references: Float[Tensor, "classes features"]) -> Head:
    """Return the head of an embedding network: the cosine similarity, -1 to 1, to each reference embedding.

    references : one embedding per "class", such as `model.net(image.tensor(model.input)[None])` of an image.
    Raises InnersightError when an embedding has another number of features.
    """
    unit = normalised(references.detach().float(), 1)

    def read(output: Any) -> Tensor:
        found = tensor_of(output)[1]
        # A network that squeezes its batch away gives no row but the features themselves for a single image.
        embedding = found[None] if found.ndim == 1 and len(found) == unit.shape[1] else found.flatten(1)
        if embedding.shape[1] != unit.shape[1]:
            raise InnersightError(f"embeddings have {embedding.shape[1]} features, the references {unit.shape[1]}")
        return normalised(embedding, 1) @ unit.to(embedding.device, embedding.dtype).T

    def fit(outputs: Outputs) -> Fitted:
        return Fitted(head, notes=tuple(_about(outputs, *tensor_of(outputs.several))))

    head = Head(read, "none", "cosine", _mark(unit), fit)
    return head


def region(mask: "Bool[Tensor, 'H W'] | None" = None) -> Head:
    """Return the head of a segmentation network (B, classes, h, w): each class's logit averaged over a region.

    mask : the region, True inside; resized to the output's grid; everywhere when not given. (Seg-Grad-CAM, Vinogradova
    et al. 2020, arXiv:2002.11434, sums instead: an average does not depend on the size.)
    """
    if mask is not None and not mask.any():
        raise InnersightError("the region is empty: no place of the mask is True")
    mark = "" if mask is None else _mark(mask)
    return Head(
        lambda output: _over(tensor_of(output)[1], mask),
        "none",
        "mean logits of the region",
        mark,
        partial(_fitted, mask=mask, mark=mark, grid=True),
    )


def _over(scores: Float[Tensor, "B classes h w"], mask: "Bool[Tensor, 'H W'] | None") -> Float[Tensor, "B classes"]:
    if scores.ndim != 4:
        raise InnersightError(f"the network returned {tuple(scores.shape)}: a region needs (images, classes, h, w)")
    if mask is None:
        return scores.flatten(2).mean(2)
    size = (scores.shape[2], scores.shape[3])
    weights = F.adaptive_avg_pool2d(mask.to(scores.device, scores.dtype)[None, None], size)
    return (scores * weights).flatten(2).sum(2) / weights.sum()


def _mark(values: Tensor) -> str:
    plain = values.detach().cpu().contiguous()
    return hashlib.sha256(f"{tuple(plain.shape)} {plain.dtype}".encode() + plain.numpy().tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class _Values:
    """What the numbers of an output are, and how they become logits."""

    logits: Callable[[Tensor], Tensor]
    link: Link
    unit: str
    note: str | None


def recognise(outputs: Outputs, stated: Head | None = None) -> Fitted:
    """Return the head for a network that gave `outputs`, a name per class, and what was assumed.

    stated : the head that the user named; it is fitted and checked like the one that is found without it. Raises
    InnersightError for an output that cannot be read, and for scores that are no row of numbers for each image.
    """
    if stated is None:
        return _checked(outputs, _fitted(outputs))
    return _checked(outputs, _as_written(outputs, stated) if stated.fit is None else stated.fit(outputs))


def _checked(outputs: Outputs, found: Fitted) -> Fitted:
    """Return a fitted head with a name for each class, and with notes of what is not as it should be."""
    scores = _scores(found.head, outputs.several)
    if scores.ndim != 2 or len(scores) != outputs.images or not scores.shape[1]:
        raise InnersightError(
            f"the scores are {tuple(scores.shape)} for {outputs.images} images; one row of logits per image is needed: "
            "say how to read the output, head="
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
            raise InnersightError(f"the head makes scores that are not numbers of the network's output for {several}")
        notes.append(f"the network's scores are not numbers for {several}")
    sizes = scores.nan_to_num(0, 0, 0).abs().amax(0)
    usual = ~outlying(sizes)
    apart = float((scores[:1] - alone).nan_to_num(0, 0, 0).abs()[:, usual].max())
    if apart > torch.finfo(scores.dtype).eps ** 0.5 * float(sizes[usual].max()):
        notes.append(
            f"the scores of an image differ by {apart:.2g} when it is alone: they depend on the other images of a "
            "batch, or are drawn at random"
        )
    return Fitted(found.head, found.labels or numbered(scores.shape[1]), tuple(notes))


def _scores(head: Head, output: Any, when: str = "") -> Tensor:
    try:
        scores = head.read(output)
    except InnersightError:
        raise
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise InnersightError(
            f"the head cannot read {_described(output)}{when} ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise InnersightError(f"the head reads {kind} instead of a floating-point tensor (images, classes)")
    return scores


def _described(output: Any) -> str:
    found = ", ".join(f"output{where} {tuple(leaf.shape)}" for where, leaf in leaves(output))
    return f"what the network returned, {found or type(output).__name__}"


def _as_written(outputs: Outputs, stated: Head) -> Fitted:
    """Fit a head that reads one network's output: a single score has two sides here too."""
    with outputs.ending:
        scores, strong = _scores(stated, outputs.several), _scores(stated, outputs.strong)
    single = scores.ndim < 2 or scores.shape[1:] == (1,)
    if single and stated.link != "none":
        head = replace(stated, read=lambda output: _sides(stated.read(output).reshape(-1, 1)), link="sigmoid")
        notes = [SIDES]
    else:
        head, notes = stated, []
    if scores.ndim == 2 and scores.numel() and stated.link != "none":
        values = _values(scores, strong, outputs.ending.of(scores))
        if values.unit == "log-probability" or values.note is not None:
            kind = "that sum to one" if values.unit == "log-probability" else "between 0 and 1"
            undone = "log()" if values.unit == "log-probability" else "logit()"
            notes.append(
                f"the head reads values {kind}, which look like probabilities, and its link ({stated.link}) makes "
                f"probabilities of them once more: let it read their {undone}, or set link='none'"
            )
    return Fitted(head, ("no", "yes") if head is not stated else (), tuple(notes))


SIDES = "a single output: high means yes, low means no"


def _sides(logits: Float[Tensor, "B 1"]) -> Float[Tensor, "B 2"]:
    return torch.cat([-logits, logits], 1)


def _fitted(
    outputs: Outputs,
    *,
    independent: bool = False,
    grid: bool = False,
    mask: "Bool[Tensor, 'H W'] | None" = None,
    mark: str = "",
) -> Fitted:
    """Find the head for what a network gave.

    independent : every class is known to stand for itself. grid : the output is known to have places, and mask : which
    of them count.
    """
    check_output(outputs.several)
    where, found = tensor_of(outputs.several)
    check_scores(found)
    arrange, said = _arrangement(tuple(found.shape), outputs.size)
    scores = arrange(found)
    strong = arrange(tensor_of(outputs.strong)[1])
    values = _values(scores, strong, outputs.ending.of(found), independent=independent)
    places = scores.ndim == 4
    if grid and not places:
        raise InnersightError(f"the network returned {tuple(found.shape)}: a region needs (images, classes, h, w)")
    sides = scores.shape[1] == 1
    kept = (
        *_about(outputs, where, found),
        *([said] if said else []),
        *([values.note] if values.note else []),
        *(["each class is averaged over the whole image"] if places and mask is None else []),
        *([SIDES] if sides else []),
    )
    labels = ("no", "yes") if sides else numbered(scores.shape[1])
    if not kept and not places:
        return Fitted(multilabel() if independent else PLAIN, labels)

    def read(output: Any) -> Tensor:
        logits = values.logits(arrange(_plain(output)))
        logits = _over(logits, mask) if places else logits
        return _sides(logits) if sides else logits

    # So that a head that was found, and is named, is found again.
    fit = partial(_fitted, independent=independent, grid=grid, mask=mask, mark=mark)
    if places:
        return Fitted(Head(read, "none", f"mean {values.unit} of the region", mark, fit), labels, kept)
    return Fitted(Head(read, "sigmoid" if sides else values.link, values.unit, fit=fit), labels, kept)


def _about(outputs: Outputs, where: str, found: Tensor) -> list[str]:
    """Say which of several outputs is read, and whether a single image loses its batch."""
    notes = []
    if found.ndim > 1 and tensor_of(outputs.one)[1].ndim < found.ndim:
        notes.append("squeezes the batch away for a single image: it is put back")
    if where:
        notes.append(
            f"the network gives several outputs: output{where} is taken for the class scores (another one: head=)"
        )
    return notes


def _arrangement(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[Callable[[Tensor], Tensor], str | None]:
    """Return what brings an output to (B, classes) or (B, classes, h, w), and what has to be said of it."""
    if len(shape) == 1:
        return lambda scores: scores.reshape(-1, 1), None
    if len(shape) == 4 and shape[1] > 1 and _like(shape[1:3], size) and (shape[3] == 1 or not _like(shape[2:], size)):
        return lambda scores: scores.movedim(3, 1), "a segmentation with the classes last"
    if len(shape) == 4 and shape[2:] == (1, 1):
        return lambda scores: scores.reshape(-1, shape[1]), "a grid of one place: a row of scores"
    if len(shape) == 4 and not _like(shape[2:], size):
        raise InnersightError(f"the network returned {shape}, no grid of an image of {size}: say how to read it, head=")
    # A network that squeezes its output gives no row but the scores themselves for a single image.
    return lambda scores: scores[None] if scores.ndim == len(shape) - 1 else scores, None


def _like(grid: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Say whether a grid has the proportions of an image of this size, as far as its places allow."""
    height, width = grid
    wanted = width * size[0] / size[1]
    return abs(height - wanted) <= max(1.0, 0.1 * wanted)


def _values(scores: Tensor, strong: Tensor, ending: str, *, independent: bool = False) -> _Values:
    """Say what scores (B, classes) or (B, classes, h, w) are. ending : what they were made by, see `Ending.of`."""
    # One row of classes for each image, or for each of its places.
    both = torch.cat([scores, strong]).detach().float().movedim(1, -1).reshape(-1, scores.shape[1])
    within = bool(((both >= 0) & (both <= 1)).all()) and ending != "product"
    sums = both.sum(1)
    if both.shape[1] > 1 and within and torch.allclose(sums, torch.ones_like(sums), atol=1e-2):
        if independent:
            note = "its outputs sum to one, as behind a softmax, and are taken for probabilities of independent classes"
            return _Values(_undo_sigmoid, "sigmoid", "logits", note)
        note = "the network ends in a softmax: its scores are log-probabilities"
        return _Values(_log, "softmax", "log-probability", note)
    if ending == "sigmoid" and within:
        return _Values(_undo_sigmoid, "sigmoid", "logits", "the network ends in a sigmoid: each class is independent")
    if within and float(both.max() - both.min()) > 1e-3:
        note = "its outputs lie between 0 and 1 whatever it is fed: taken for probabilities of independent classes"
        return _Values(_undo_sigmoid, "sigmoid", "logits", f"{note} (if they are scores: head=)")
    return _Values(lambda values: values, "sigmoid" if independent else "softmax", "logits", None)


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


def _log(probability: Tensor) -> Tensor:
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()


def _undo_sigmoid(probability: Tensor) -> Tensor:
    kinds = torch.finfo(probability.dtype)
    return probability.clamp(min=kinds.tiny).log() - (1 - probability).clamp(min=kinds.eps).log()


PLAIN = Head(_plain)


def readable(logits: Float[Tensor, "... classes"]) -> Bool[Tensor, "..."]:
    """Return whether the network's outputs are numbers; -inf rules a class out, but not every one."""
    return ~(logits.isnan() | (logits == torch.inf)).any(-1) & (logits != -torch.inf).any(-1)
