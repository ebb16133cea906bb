"""What a heatmap explains: a number that the network gives every picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight import tap
from innersight.errors import InnersightError
from innersight.image import Picture, stack
from innersight.layers import last_grid
from innersight.model import Model
from innersight.predict import truth_of

OF = ("logit", "probability")
RUNNER_UP = "runner-up"


@dataclass(frozen=True, eq=False)
class Target:
    """A number for every picture, with a gradient.

    score : takes what a pass captured and (V,) the number of the picture that each row is a variant of; gives (V,).
    classes : (B,) class numbers, and rivals : those whose score is taken off, -1 for none; None where the target is no
    class. questions : in words, one for each picture. unit : of the number. layer : read besides the outputs.
    """

    score: Callable[[tap.Captured, Tensor], Tensor]
    questions: tuple[str, ...]
    unit: str
    classes: Tensor | None = None
    rivals: Tensor | None = None
    layer: str | None = None


def target_of(
    model: Model,
    pictures: Sequence[Picture],
    logits: Tensor,
    target: "int | str | Callable[[Tensor], Tensor] | None" = None,
    *,
    versus: int | str | None = None,
    of: str = "logit",
    like: "Picture | None" = None,
) -> Target:
    """Return the target that `explain` was asked for; see there. logits : (B, classes) of the pictures."""
    if of not in OF:
        raise InnersightError(f"of={of!r}: choose {' or '.join(OF)}")
    if like is not None:
        if target is not None or versus is not None:
            raise InnersightError("like= compares pictures and takes no class: leave out target and versus")
        return _similarity(model, like, len(pictures))
    if callable(target):
        if versus is not None:
            raise InnersightError("a function is the whole target: leave out versus")
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
        truth = torch.tensor([truth_of(picture, model) for picture in pictures])
        wrong = (truth >= 0) & (truth != predicted)
        rivals = torch.where(wrong, second, rivals)
    if bool(((rivals == classes) & logits.isfinite().all(1)).any()):
        raise InnersightError(f"versus={versus!r} is the class itself for some pictures; name another class")
    words = [
        word if rival < 0 else f"{word}, less {model.labels[rival]}"
        for word, rival in zip(words, rivals.tolist(), strict=True)
    ]
    return _classes(model, classes, rivals, tuple(words), of)


def class_target(model: Model, classes: Tensor) -> Target:
    """Return the logit of one class for each picture, (B,) class numbers."""
    return _classes(model, classes, torch.full_like(classes, -1), ("the class asked for",) * len(classes), "logit")


def _classes(model: Model, classes: Tensor, rivals: Tensor, questions: tuple[str, ...], of: str) -> Target:
    if of == "probability" and not model.has_probabilities:
        raise InnersightError(f"the scores of {model.name} ({model.head.unit}) stand for no probability; use logit")
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


def _similarity(model: Model, like: Picture, count: int) -> Target:
    layer = last_grid(model)[0]
    x = stack([like], model.input).to(model.device, model.dtype)
    with tap.untouched(model), torch.no_grad():
        reference = tap.capture(model, x, [layer]).activations[layer].mean((2, 3))

    def score(captured: tap.Captured, index: Tensor) -> Tensor:
        del index
        return F.cosine_similarity(captured.activations[layer].mean((2, 3)), reference)

    return Target(score, (f"likeness to {like.name}",) * count, "cosine similarity", layer=layer)
