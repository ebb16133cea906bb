"""What a heatmap explains: a number that the network computes for every image."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from innersight import tap
from innersight.address import ClassAddress
from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.image import Image, stack
from innersight.inputs import Images, class_of
from innersight.model import Model
from innersight.quotients import cosine, precise
from innersight.scalars import is_listed

OF = ("logit", "probability")
RUNNER_UP = "runner-up"


@dataclass(frozen=True, eq=False)
class Target:
    """A number for every image, with a gradient.

    Attributes
    ----------
    score : callable
        Takes what a pass captured and (V,) the image of the batch that each row is a variant of; returns (V,).
    questions : tuple of str
        The target in words, one for each image.
    unit : str
        Of the number.
    classes : Tensor or None
        (B,) class numbers; None where the target is no class.
    rivals : Tensor or None
        (B,) numbers of the classes whose score is subtracted, -1 for none; None where there are none.
    layers : tuple of str
        Read besides the outputs.

    Examples
    --------
    The logit of class 3 for both images of a batch:

    >>> import torch
    >>> from innersight.heatmaps import Target
    >>> classes = torch.tensor([3, 3])
    >>> target = Target(
    ...     lambda captured, index: captured.logits().gather(1, classes[index, None])[:, 0],
    ...     ("class 3", "class 3"), "logits", classes,
    ... )

    """

    score: Callable[[tap.Captured, Tensor], Tensor]
    questions: tuple[str, ...]
    unit: str
    classes: Tensor | None = None
    rivals: Tensor | None = None
    layers: tuple[str, ...] = ()

    __repr__ = brief


Class = int | str | SupportsIndex | ClassAddress
Classes = Class | Iterable[Class | None] | None
"""A class for all images or one for each, by label, number or address; None for its prediction."""
Aim = Callable[[Tensor], Target]
"""From the outputs (B, classes) of the images to what is explained."""


def is_several(target: object) -> bool:
    """Return whether a target is a list, array or tensor of them: one for each image."""
    return not callable(target) and is_listed(target)


def each(model: Model, target: Classes, count: int, word: str = "target") -> tuple[int | str | None, ...]:
    """Return the class explained for each of `count` images; None for its own prediction.

    target : one for all, or a list, array or tensor with one for each image. word : "versus" may also be "runner-up",
    which stays as it is. Raises InnersightError for unknown classes, and another number of targets than of images.
    """
    if not is_several(target):
        return (_class(model, target, word),) * count
    if getattr(target, "ndim", 1) > 1:
        raise InnersightError(
            f"{word}= has the shape {tuple(target.shape)}: give one class number for each image, "  # type: ignore[union-attr]
            "such as scores.argmax(1)"
        )
    found = tuple(_class(model, one, word) for one in target)  # type: ignore[union-attr]
    if len(found) != count:
        raise InnersightError(
            f"{word}= names {len(found)} classes for {count} image{'s' * (count != 1)}: give one, or one for each"
        )
    return found


def _class(model: Model, one: Any, word: str) -> int | str | None:
    if one is None or (word == "versus" and isinstance(one, str) and one == RUNNER_UP):
        return one
    return model.class_index(one)


def aims(
    model: Model, images: Images, target: Classes | Callable[[Tensor], Tensor], versus: Classes, of: str
) -> Callable[[slice], Aim]:
    """Return what makes the aim of some of the images that were read."""
    if callable(target):
        return lambda _: partial(of_function, target)
    targets, rivals = (each(model, one, images.given, word) for one, word in ((target, "target"), (versus, "versus")))

    def aim(part: slice) -> Aim:
        own = images.numbers[part]
        own_targets, own_rivals = [targets[i] for i in own], [rivals[i] for i in own]
        return lambda logits: target_of(model, images.images[part], logits, own_targets, own_rivals, of)

    return aim


def target_of(
    model: Model,
    images: Sequence[Image],
    logits: Tensor,
    targets: Sequence[int | str | None],
    rivals: Sequence[int | str | None],
    of: str = "logit",
) -> Target:
    """Return the target that `explain` was called with; see there.

    logits : (B, classes) of the images. targets, rivals : of each, see `each`.
    """
    logits = logits.float().cpu()
    predicted = logits.argmax(1)
    classes = torch.tensor([int(p) if t is None else int(t) for p, t in zip(predicted, targets, strict=True)])
    second = logits.scatter(1, classes[:, None], -torch.inf).argmax(1)
    less, words = [], []
    for i, (image, target, rival) in enumerate(zip(images, targets, rivals, strict=True)):
        if rival is None and target is None and logits.shape[1] > 1:
            # A mistake is explained as a choice: why this class and not the next.
            truth = class_of(image.label, model.labels)
            rival = RUNNER_UP if truth >= 0 and truth != predicted[i] else None
        less.append(-1 if rival is None else int(second[i]) if rival == RUNNER_UP else int(rival))
        word = "the predicted class" if target is None else "the requested class"
        words.append(word if less[i] < 0 else f"{word} minus {model.labels[less[i]]}")
    taken = torch.tensor(less)
    same = (taken == classes) & logits.isfinite().all(1)
    if bool(same.any()):
        label = model.labels[int(taken[same][0])]
        raise InnersightError(f"versus={label!r} is the class itself for some images; name another class")
    return _classes(model, classes, taken, tuple(words), of)


def check_target(
    model: Model, target: Classes | Callable[[Tensor], Tensor], versus: Classes, of: str, like: object
) -> None:
    """Raise InnersightError for targets that do not go together, before anything is run."""
    if of not in OF:
        raise InnersightError(f"of={of!r}: choose {' or '.join(OF)}")
    if of == "probability" and not model.has_probabilities:
        raise InnersightError(f"the scores of {model.name} ({model.head.unit}) give no probability; use logit")
    if like is not None and (target is not None or versus is not None or of != "logit"):
        raise InnersightError("like= compares images and takes no class: leave out target, versus and of")
    if callable(target) and (versus is not None or of != "logit"):
        raise InnersightError("a function is the whole target: leave out versus and of")


def class_target(model: Model, classes: Tensor) -> Target:
    """Return the logit of one class for each image, (B,) class numbers."""
    classes = classes.cpu()
    return _classes(model, classes, torch.full_like(classes, -1), ("the requested class",) * len(classes), "logit")


def _classes(model: Model, classes: Tensor, rivals: Tensor, questions: tuple[str, ...], of: str) -> Target:
    own, other = classes.to(model.device), rivals.to(model.device)

    def score(captured: tap.Captured, index: Tensor) -> Tensor:
        outputs = captured.logits()
        # What small logits change of a probability is less than float32 tells from it.
        values = outputs if of == "logit" else model.probabilities(precise(outputs))
        mine = values.gather(1, own[index, None])[:, 0]
        rival = other[index]
        theirs = values.gather(1, rival.clamp(min=0)[:, None])[:, 0]
        return torch.where(rival < 0, mine, mine - theirs)

    unit = model.head.unit if of == "logit" else "probability"
    return Target(score, questions, unit, classes, rivals)


def of_function(function: Callable[[Tensor], Tensor], logits: Tensor) -> Target:
    """Return the target that a function from the outputs (B, classes) to (B,) numbers gives."""
    name = getattr(function, "__name__", "function")

    def score(captured: tap.Captured, index: Tensor) -> Tensor:
        del index
        values = function(captured.logits())
        if values.shape != captured.logits().shape[:1]:
            raise InnersightError(
                f"the target {name} gave shape {tuple(values.shape)} for outputs {tuple(captured.logits().shape)}; "
                "it must return one number for each row"
            )
        return values

    return Target(score, (f"the function {name}",) * len(logits), name)


def similarity_to(model: Model, like: Image, layer: str) -> Aim:
    """Return the cosine of the mean maps of a layer with those of another image, which is run once."""
    x = stack([like], model.input).to(model.device, model.dtype)
    with tap.untouched(model), torch.no_grad():
        reference = tap.capture(model, x, [layer]).activations[layer].mean((2, 3))

    def score(captured: tap.Captured, index: Tensor) -> Tensor:
        del index
        return cosine(captured.activations[layer].mean((2, 3)), reference)

    return lambda outputs: Target(
        score, (f"similarity to {like.name}",) * len(outputs), "cosine similarity", layers=(layer,)
    )
