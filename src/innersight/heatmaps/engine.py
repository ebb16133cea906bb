"""`explain`: heatmaps of images by method, layer and target."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.brief import brief
from innersight.call import public
from innersight.errors import InnersightError
from innersight.heads import readable
from innersight.heatmaps.masked import batch_of, run_masked
from innersight.heatmaps.request import (
    BATCH,
    GRADIENT,
    QUICK_PASSES,
    MethodOutput,
    Request,
    Trial,
    UnfitError,
    forward_passes,
    layer_of,
    relative_error,
    unit_of,
)
from innersight.heatmaps.request import methods as registry
from innersight.heatmaps.result import Heatmap, Heatmaps
from innersight.heatmaps.shared import Pass
from innersight.heatmaps.target import (
    Aim,
    Classes,
    Target,
    aims,
    check_target,
    similarity_to,
)
from innersight.image import Image, stack
from innersight.input_warnings import image_warnings
from innersight.inputs import read, read_one
from innersight.layers import check_layers, has_grid, last_grid, without_grid
from innersight.model import Model

ALL = "all"
QUICK = "quick"


@public()
def explain(
    model: Model,
    images: Any,
    target: Classes | Callable[[Tensor], Tensor] = None,
    methods: Sequence[str] | str = ("gradcam", "saliency"),
    *,
    layers: Sequence[str] | str | None = None,
    versus: Classes = None,
    of: str = "logit",
    like: Any = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    shared: bool = False,
) -> Heatmaps:
    """Compute heatmaps: how much each location of an image counts for a class or another target.

    Parameters
    ----------
    model
        The network.
    images
        Whatever holds images, see `innersight.inputs.entries`; all are held in memory.
    target
        The class to explain; by default each image's predicted class, minus its runner-up where the image lies in a
        folder named like another class.

        Or a list, array or tensor with one class for each image, None for the predicted one; or a function from the
        outputs (B, classes) to one number for each row.
    methods
        Heatmap methods by name; "all" for every one that can read this network (without the extra `captum`), or
        "quick" for those of them that take at most 12 passes through the network for each image: not occlusion,
        SmoothGrad, VarGrad, integrated gradients, RISE and the like.
    layers
        Where class activation maps are read; by default the last layer with a grid.
    versus
        A class whose score is subtracted, or "runner-up": why this class and not that.

        Or a list with one for each image.
    of
        "logit" or "probability".
    like
        An image; explain what makes the images similar to it, instead of a class.

        The target is the cosine of the mean maps of the last layer with a grid.
    options
        Keyword arguments by method, such as `{"rise": {"cells": 5}}`.
    seed
        Of all that is random.
    shared
        Draw all images of a method on one scale.

    Returns
    -------
    Heatmaps
        One `Heatmap` for each image, method and layer: values (h, w), raw and signed, with their unit.

    Raises
    ------
    InnersightError
        For unknown classes, methods, layers and options, and where no method can read this network.
    ImageError
        Where no image could be read.

    Notes
    -----
    All methods and layers share one forward and one backward pass, which ends at the first layer named; those that hide
    parts of the image share their batches. A method that cannot read this network is left out, and listed.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import Drawn
    >>> found = ins.explain(ins.load("toon"), Drawn(per_class=1), methods=["gradcam"])
    >>> found.layer, found.entries[0].unit, tuple(found.entries[0].values.shape)
    ('stage4', 'logits', (12, 12))

    """
    data = read(images, model.input, model.labels)
    loaded = data.images
    parsed = options_of(named(methods), options)
    where, why, left_out = located(model, layers, list(parsed))
    parsed = {name: own for name, own in parsed.items() if name not in left_out}
    check_target(model, target, versus, of, like)
    # Without layers named it is the last one that is read anyway.
    also = [] if like is None else list(where) if where and not layers else [last_grid(model)[0]]
    liked = None if like is None else similarity_to(model, read_one(like, model.input, "like"), also[0])
    aim_of = aims(model, data, target, versus, of)
    entries: list[Heatmap] = []
    warnings = image_warnings(model, loaded)
    for i in range(0, len(loaded), BATCH):
        batch = loaded[i : i + BATCH]
        x = stack(batch, model.input).to(model.device, model.dtype)
        aim = liked or aim_of(slice(i, i + BATCH))
        part = explain_batch(model, x, aim, where, parsed, seed, left_out, also=also)
        entries += [_entry(model, image, row, part, key) for row, image in enumerate(batch) for key in part.found]
    if not entries:
        raise unfit(left_out)
    left = tuple(left_out.values())
    return Heatmaps(model, tuple(entries), where, why, shared, left, data.skipped, data.notes, warnings)


@dataclass(frozen=True)
class BatchResult:
    """What all methods found for a batch. logits : (B, classes). scores : (B,) the target."""

    logits: Tensor
    target: Target
    scores: Tensor
    found: dict[tuple[str, str | None], MethodOutput]

    __repr__ = brief


def explain_batch(
    model: Model,
    x: Tensor,
    aim: Aim,
    layers: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    seed: int = 0,
    left_out: dict[str, str] | None = None,
    *,
    also: Sequence[str] = (),
    report: Callable[[int], None] = lambda passes: None,
) -> BatchResult:
    """Return what each method found for a batch, by method and layer, methods in the order of `options`.

    x : (B, C, H, W) network input. aim, also : see `Pass`. layers : none where no method reads one. options : keyword
    arguments of each method. left_out : takes the sentence of a method that cannot read this network, where
    that is no error. report : takes how many forward passes of an image were made, see `forward_passes`.
    """
    plain = [name for name in options if registry.entry(name).reads != "masks"]
    masks = [name for name in options if registry.entry(name).reads == "masks"]
    found: dict[tuple[str, str | None], MethodOutput] = {}
    count = len(x)
    read: Sequence[str | None] = layers or (None,)
    pixels = any(registry.entry(name).reads == "pixels" for name in plain)
    many = pixels or bool(masks) or any(registry.entry(name).passes > QUICK_PASSES for name in plain)
    with tap.untouched(model), tap.fold_batchnorm() if many or _early(model, layers) else nullcontext():
        shared = Pass(model, x, aim, layers, also=also, pixels=pixels)
        requests = {layer: Request(shared, layer, seed) for layer in read}
        for name in plain:
            for layer in read:
                key = name, layer_of(name, layer)
                if key in found or name in (left_out or ()):
                    continue
                try:
                    given = registry[name](requests[layer], **options[name])
                except (UnfitError, tap.NetworkError) as error:
                    if left_out is None:
                        raise
                    left_out[name] = f"{name}: {error}"
                else:
                    report(count * forward_passes(name))
                    found[key] = given if isinstance(given, MethodOutput) else MethodOutput(given)  # type: ignore[arg-type]
        shared.settle()
        report(count * GRADIENT)
        keys = [(name, one) for name in masks for one in read if layer_of(name, one) or one == read[0]]
        passes = [
            registry[name](Trial(requests[layer], i), **options[name]) for name, layer in keys for i in range(count)
        ]

        def run(inputs: Tensor, owners: Tensor) -> Tensor:
            values = requests[read[0]].run(inputs, (owners % count).to(x.device))
            report(len(inputs))
            return values

        # What is hidden becomes 0 of the network input, the mean colour of the training data for most networks.
        outputs: list[MethodOutput] = run_masked(
            passes,  # type: ignore[arg-type]
            lambda number, shown: x[number % count] * shown.to(x)[:, None],
            run,
            batch_of(model),
        )
        for at, (name, layer) in enumerate(keys):
            found[name, layer_of(name, layer)] = _together(outputs[at * count : (at + 1) * count])
    order = {name: i for i, name in enumerate(options)}
    settled = {key: _settled(found[key]) for key in sorted(found, key=lambda key: order[key[0]])}
    logits, scores = (t.detach().float().cpu() for t in (shared.captured.logits(), shared.scores))
    return BatchResult(logits, shared.target, scores, settled)


def _early(model: Model, layers: Sequence[str]) -> bool:
    """Say whether a gradient passes more of the network than what is behind the last grid."""
    return has_grid(model) and any(layer != last_grid(model)[0] for layer in layers)


def _together(parts: Sequence[MethodOutput]) -> MethodOutput:
    errors = [one.error for one in parts if one.error is not None]
    return MethodOutput(
        torch.cat([one.values for one in parts]),
        torch.cat(errors) if errors else None,
        {name: torch.cat([one.facts[name] for one in parts]) for name in parts[0].facts},
    )


def _settled(one: MethodOutput) -> MethodOutput:
    error = None if one.error is None else one.error.detach().cpu()
    return MethodOutput(
        one.values.detach().cpu(), error, {name: values.detach().cpu() for name, values in one.facts.items()}
    )


def located(
    model: Model, layers: Sequence[str] | None, methods: Sequence[str]
) -> tuple[tuple[str, ...], str, dict[str, str]]:
    """Return the layers whose maps are read, why these, and a sentence for each method that is left out.

    Where no layer has a grid these are the methods that read a layer; without any other method they are an error.
    """
    if layers:
        check_grids(model, layers, methods)
        return tuple(dict.fromkeys(layers)), "as asked", {}
    if has_grid(model):
        last, why = last_grid(model)
        return (last,), why, {}
    why = without_grid(model)
    left_out = {name: f"{name} reads maps: {why}" for name in methods if layer_of(name, "") is not None}
    if len(left_out) == len(methods):
        raise UnfitError(f"{', '.join(methods)}: {why}; methods that read pixels fit, such as saliency or occlusion")
    return (), why, left_out


def unfit(left_out: Mapping[str, str]) -> UnfitError:
    """Return the error where every method was left out."""
    first, *others = left_out.values()
    return UnfitError(first + (f" (nor do {', '.join(list(left_out)[1:])} fit)" if others else ""))


def check_grids(model: Model, layers: Sequence[str], methods: Sequence[str]) -> None:
    """Raise InnersightError where maps of layers are read and a layer has no grid."""
    reading = [name for name in methods if layer_of(name, layers[0]) is not None]
    for layer in check_layers(model, layers):
        if reading and layer.grid == (1, 1):
            raise InnersightError(
                f"{layer.name} has one value for each unit and no grid, so {reading[0]} cannot show where; "
                f"choose a layer before it, such as {last_grid(model)[0]}"
            )


def named(methods: Sequence[str] | str) -> list[str]:
    """Return the methods that were named, each once; of "all" and "quick" those they stand for."""
    if isinstance(methods, str) and methods in (ALL, QUICK):
        most = QUICK_PASSES if methods == QUICK else math.inf
        return [one.name for one in registry.entries() if one.reads != "captum" and one.passes <= most]
    return list(dict.fromkeys([methods] if isinstance(methods, str) else methods))


def options_of(
    chosen: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the checked options of each method. Raises InnersightError for unknown ones."""
    if not chosen:
        raise InnersightError("no heatmap method named; see `innersight list methods`")
    for name in chosen:
        registry[name]
    unused = set(options or {}) - set(chosen)
    if unused:
        raise InnersightError(f"options for {sorted(unused)[0]}, but the methods are {', '.join(chosen)}")
    texts = {name: {k: str(v) for k, v in given.items()} for name, given in (options or {}).items()}
    return {name: registry.parse(name, texts.get(name, {})) for name in chosen}


def _entry(model: Model, image: Image, row: int, part: BatchResult, key: tuple[str, str | None]) -> Heatmap:
    (method, layer), one, target, logits = key, part.found[key], part.target, part.logits[row]
    own = None if target.classes is None else int(target.classes[row])
    rival = None if target.rivals is None or target.rivals[row] < 0 else int(target.rivals[row])
    chance = None if own is None or not model.has_probabilities else float(model.probabilities(logits[None])[0, own])
    values = storable(one.values[row])
    error = None if one.error is None else one.error[row].to(values)
    return Heatmap(
        image,
        method,
        layer,
        values,
        unit_of(method, target.unit),
        own,
        rival,
        target.questions[row],
        float(part.scores[row]),
        None if own is None else float(logits[own]),
        chance,
        _verdict(values, error, bool(readable(logits)) and bool(part.scores[row].isfinite()), method),
        error,
        {name: float(numbers[row]) for name, numbers in one.facts.items()},
        _doubt(model, logits),
    )


def storable(values: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Return a map as float32, and as float64 where its highest value is too large or too small for that."""
    top = values.abs().nan_to_num(0, 0, 0).amax()
    fits = bool(top == 0) or SMALLEST < float(top) <= torch.finfo(torch.float32).max
    return values.float() if fits else values.double()


SURE = 0.5
UNSTABLE = 0.7
SMALLEST = 2.0**-100
"""Of the highest value of a map in float32, so that values far below it keep their digits too."""


def _doubt(model: Model, logits: Tensor) -> str | None:
    """Say so where no class has a probability of a half (Hendrycks and Gimpel 2017, arXiv:1610.02136)."""
    if not model.has_probabilities or not readable(logits):
        return None
    highest = float(model.probabilities(logits[None]).max())
    if highest >= SURE:
        return None
    highest = math.ceil(100 * highest) / 100
    return f"Low confidence: no class has a probability above {highest:.2f}."


def _verdict(values: Tensor, error: Tensor | None, numbers: bool, method: str) -> str | None:
    if not numbers:
        return "The network's outputs are not numbers for this image: there is nothing to explain."
    if not torch.isfinite(values).all():
        return f"{method} gave values that are not numbers: the network's gradient overflows."
    if not values.any():
        return f"{method} shows nothing: its values are zero everywhere."
    if error is not None and not relative_error(values, error) < UNSTABLE:
        return f"{method} is unstable: its standard error is about as large as its values vary; raise max_samples."
    return None
