"""`ablate`: replace every unit of a layer in turn, and measure what every class score does."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight import tap
from innersight.ablation.result import Ablation
from innersight.activations import BATCH
from innersight.call import public
from innersight.errors import InnersightError, printable
from innersight.inputs import Given, ImageReader, network_input, repeatable
from innersight.layers import check_layers
from innersight.model import Model
from innersight.quotients import precise

AT_ONCE = 64
TO = ("zero", "mean")


@public(target="classes", targets="classes")
def ablate(
    model: Model,
    images: Any,
    layer: str,
    *,
    to: str = "zero",
    classes: Sequence[int | str] | None = None,
) -> Ablation:
    """Ablate every unit of a layer, one at a time, and return the change of every class score.

    Parameters
    ----------
    model
        The network.
    images
        Anything that holds images, see `innersight.inputs.entries`; read twice for `to="mean"`.
    layer
        Name of the layer.
    to
        What a unit's map is set to: "zero", or "mean", the unit's mean over all images and locations, which keeps what
        the unit always adds.
    classes
        Labels or numbers of the classes to list; None for those predicted for the images. The changes of all classes
        are computed in any case.

    Returns
    -------
    Ablation
        The change of every class score, for every image and unit.

    Raises
    ------
    InnersightError
        For an unknown layer or class, a layer without units, another `to`, and scores that are not finite.
    ImageError
        When no image could be read.

    Notes
    -----
    The network up to the layer runs once for each batch of images, and only the rest for each unit. Class scores that
    are an affine function of the layer (pooling and one matrix) need no runs: the change is the gradient times the
    change of the map, as in Ablation-CAM (Ramaswamy and Desai 2020, doi:10.1109/WACV45572.2020.9093360). Whether they
    are is tested by runs, to 1e-4 of the largest change.

    Examples
    --------
    >>> import innersight as ins
    >>> import torch
    >>> found = ins.ablate(ins.load("small:8"), torch.rand(2, 3, 80, 80), "stage3")
    >>> found.change.shape
    torch.Size([2, 32, 10])

    """
    if to not in TO:
        raise InnersightError(f"to={to!r}: choose {' or '.join(TO)}")
    named = tuple(dict.fromkeys(model.labels[model.class_index(name)] for name in classes or ()))
    check_layers(model, [layer])
    data = repeatable(images)
    names: list[str] = []
    parts = []
    reading = ImageReader(data, model.input)
    with tap.untouched(model):
        fill = _mean(model, data, layer) if to == "mean" else None
        for loaded in reading.batches(BATCH):
            names += [printable(one.entry.name) for one in loaded]
            parts.append(_batch(model, network_input(loaded, model), layer, fill))
    changes, scores, closed = zip(*parts, strict=True)
    change, logits = torch.cat(changes), torch.cat(scores)
    check_finite(layer, change, logits)
    read = reading.skipped, reading.notes
    return Ablation(model, layer, tuple(names), change, logits, to, all(closed), named, *read)


def check_finite(
    layer: str, change: Float[Tensor, "images units classes"], logits: Float[Tensor, "images classes"]
) -> None:
    """Raise InnersightError where a class score of an image, with or without a unit, is not finite."""
    broken = int((~(change.flatten(1).isfinite().all(1) & logits.isfinite().all(1))).sum())
    if broken:
        raise InnersightError(
            f"{layer}: the class scores of {broken} of {len(change)} images, with or without a unit, are not finite"
        )


def _mean(model: Model, images: Given, layer: str) -> Float[Tensor, " units"]:
    """Return the mean of every unit over all images and locations. Raises ImageError where none can be read."""
    total, count = torch.zeros(()), 0
    with torch.no_grad():
        for loaded in ImageReader(images, model.input).batches(BATCH):
            maps = tap.capture(model, network_input(loaded, model), [layer]).activations[layer]
            total, count = total.to(maps.device) + maps.double().mean((2, 3)).sum(0), count + len(loaded)
    return total / count


def _batch(
    model: Model, x: Tensor, layer: str, fill: Float[Tensor, " units"] | None
) -> tuple[Float[Tensor, "B units classes"], Float[Tensor, "B classes"], bool]:
    suffix = tap.resume(model, x, layer)
    change, closed = changes(suffix, fill)
    return change, suffix.output.float().cpu(), closed


def changes(
    suffix: tap.Suffix, fill: Float[Tensor, " units"] | None = None
) -> tuple[Float[Tensor, "B units classes"], bool]:
    """Return the change of every class score when each unit is ablated, float32, and whether it needed no runs.

    suffix : the network behind the layer. fill : what each unit is set to; 0 when None.
    """
    activation = suffix.activation
    other = torch.zeros_like(activation[0])
    if fill is not None:
        other = other + fill.to(activation)[:, None, None]
    change = _closed(suffix, other)
    closed = change is not None
    if change is None:
        change = _run(suffix, other)
    return change.float().cpu(), closed


def _closed(suffix: tap.Suffix, other: Float[Tensor, "units h w"]) -> Float[Tensor, "B units classes"] | None:
    """Return the changes of all classes if each score is an affine function of the layer's output, else None."""
    activation, output = suffix.activation, suffix.output
    tried = tap.trials(activation, torch.Generator().manual_seed(0))
    with torch.no_grad():
        truth = [suffix(trial, torch.arange(len(trial))) for trial in tried]
    changes = []
    # An affine function has the same slope everywhere: that of the first image serves all. The first class is
    # tested alone, as most layers that are not affine fail on it.
    every = torch.arange(output.shape[1])
    for classes in (every[:1], *(part for part in torch.split(every[1:], AT_ONCE) if len(part))):
        try:
            slopes = precise(_slopes(suffix, classes))
        except tap.NetworkError:  # runs need no gradient
            return None
        flat, *others = (part.flatten(1) for part in (activation, *tried))
        runs = [scores[:, classes] for scores in truth]
        if not tap.is_affine(slopes.flatten(1), flat, output[:, classes], others, runs):
            return None
        changes.append(torch.einsum("cuhw,buhw->buc", slopes, precise(other - activation)))
    return torch.cat(changes, 2)


def _slopes(suffix: tap.Suffix, classes: Int[Tensor, " n"]) -> Float[Tensor, "n units h w"]:
    """Return the gradient of each class's score for the first image, from one run with a row for each class."""
    rows = suffix.activation[:1].expand(len(classes), -1, -1, -1).clone().requires_grad_(True)
    with torch.enable_grad():
        scores = suffix(rows, torch.zeros_like(classes))[torch.arange(len(classes)), classes]
    if not scores.requires_grad:
        return torch.zeros_like(rows)
    (slopes,) = tap.gradients(suffix.model, scores, [rows], torch.ones_like(scores), allow_unused=True)
    return torch.zeros_like(rows) if slopes is None else slopes


def _run(suffix: tap.Suffix, other: Float[Tensor, "units h w"]) -> Float[Tensor, "B units classes"]:
    """Return the changes of all classes, by a run of the rest for every unit of every image."""
    batch, units = suffix.activation.shape[:2]
    index = torch.arange(batch).repeat_interleave(units)
    unit = torch.arange(units).repeat(batch)
    found = []
    with torch.no_grad():
        for rows, ablated in zip(torch.split(index, AT_ONCE), torch.split(unit, AT_ONCE), strict=True):
            variants = suffix.activation[rows]
            variants[torch.arange(len(rows)), ablated] = other[ablated]
            found.append(precise(suffix(variants, rows)) - precise(suffix.output[rows]))
    return torch.cat(found).view(batch, units, -1)
