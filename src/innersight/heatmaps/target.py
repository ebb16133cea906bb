"""What a heatmap explains: a number that the network gives every picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight import tap
from innersight.errors import InnersightError
from innersight.image import Picture, stack
from innersight.inputs import class_of
from innersight.model import Model

OF = ("logit", "probability")
RUNNER_UP = "runner-up"


@dataclass(frozen=True, eq=False)
class Target:
    """A number for every picture, with a gradient.

    score : takes what a pass captured and (V,) the picture of the batch that each row is a variant of; gives (V,).
    classes : (B,) class numbers, and rivals : those whose score is taken off, -1 for none; None where the target is no
    class. questions : in words, one for each picture. unit : of the number. layers : read besides the outputs.
    """

    score: Callable[[tap.Captured, Tensor], Tensor]
    questions: tuple[str, ...]
    unit: str
    classes: Tensor | None = None
    rivals: Tensor | None = None
    layers: tuple[str, ...] = ()


Aim = Callable[[Tensor], Target]
"""From the outputs (B, classes) of the pictures to what is explained."""


def target_of(
    model: Model,
    pictures: Sequence[Picture],
    logits: Tensor,
    target: "int | str | Callable[[Tensor], Tensor] | None" = None,
    *,
    versus: int | str | None = None,
    of: str = "logit",
) -> Target:
    """Return the target that `explain` was asked for; see there. logits : (B, classes) of the pictures."""
    logits = logits.float().cpu()
    if callable(target):
        return _function(target, logits)
    predicted = logits.argmax(1)
    classes = predicted if target is None else torch.full((len(logits),), model.class_index(target))
    rivals = torch.full_like(classes, -1)
    words = ["the predicted class" if target is None else "the class asked for"] * len(logits)
    second = logits.scatter(1, classes[:, None], -torch.inf).argmax(1)
    if versus is not None:
        rivals = second if versus == RUNNER_UP else torch.full_like(classes, model.class_index(versus))
    elif target is None and logits.shape[1] > 1:
        # A mistake is explained as a choice: why this class and not the next.
        truth = torch.tensor([class_of(picture.label, model.labels) for picture in pictures])
        wrong = (truth >= 0) & (truth != predicted)
        rivals = torch.where(wrong, second, rivals)
    if bool(((rivals == classes) & logits.isfinite().all(1)).any()):
        raise InnersightError(f"versus={versus!r} is the class itself for some pictures; name another class")
    words = [
        word if rival < 0 else f"{word}, less {model.labels[rival]}"
        for word, rival in zip(words, rivals.tolist(), strict=True)
    ]
    return _classes(model, classes, rivals, tuple(words), of)


def check_target(
    model: Model,
    target: "int | str | Callable[[Tensor], Tensor] | None",
    versus: int | str | None,
    of: str,
    like: object,
) -> None:
    """Raise InnersightError for what `explain` cannot be asked, before anything is run."""
    if of not in OF:
        raise InnersightError(f"of={of!r}: choose {' or '.join(OF)}")
    if of == "probability" and not model.has_probabilities:
        raise InnersightError(f"the scores of {model.name} ({model.head.unit}) stand for no probability; use logit")
    if like is not None and (target is not None or versus is not None or of != "logit"):
        raise InnersightError("like= compares pictures and takes no class: leave out target, versus and of")
    if callable(target):
        if versus is not None or of != "logit":
            raise InnersightError("a function is the whole target: leave out versus and of")
    elif target is not None:
        model.class_index(target)
    if versus not in (None, RUNNER_UP):
        model.class_index(versus)


def class_target(model: Model, classes: Tensor) -> Target:
    """Return the logit of one class for each picture, (B,) class numbers."""
    classes = classes.cpu()
    return _classes(model, classes, torch.full_like(classes, -1), ("the class asked for",) * len(classes), "logit")


def _classes(model: Model, classes: Tensor, rivals: Tensor, questions: tuple[str, ...], of: str) -> Target:
    own, other = classes.to(model.device), rivals.to(model.device)

    def score(captured: tap.Captured, index: Tensor) -> Tensor:
        outputs = captured.logits()
        values = outputs if of == "logit" else model.probabilities(outputs)
        mine = values.gather(1, own[index, None])[:, 0]
        rival = other[index]
        theirs = values.gather(1, rival.clamp(min=0)[:, None])[:, 0]
        return torch.where(rival < 0, mine, mine - theirs)

    unit = model.head.unit if of == "logit" else "probability"
    return Target(score, questions, unit, classes, rivals)


def _function(function: Callable[[Tensor], Tensor], logits: Tensor) -> Target:
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


def likeness(model: Model, like: Picture, layer: str) -> Aim:
    """Return the cosine of the mean maps of a layer with those of another picture."""
    x = stack([like], model.input).to(model.device, model.dtype)
    with tap.untouched(model), torch.no_grad():
        reference = tap.capture(model, x, [layer]).activations[layer].mean((2, 3))

    def score(captured: tap.Captured, index: Tensor) -> Tensor:
        del index
        return F.cosine_similarity(captured.activations[layer].mean((2, 3)), reference)

    return lambda outputs: Target(
        score, (f"likeness to {like.name}",) * len(outputs), "cosine similarity", layers=(layer,)
    )
