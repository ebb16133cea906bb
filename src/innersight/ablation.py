"""Ablation: what every class loses when a unit is switched off."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight import tap
from innersight.activations import BATCH
from innersight.brief import brief
from innersight.call import public
from innersight.errors import InnersightError, printable
from innersight.inputs import Given, ImageReader, network_input, repeatable
from innersight.layers import check_layers
from innersight.model import Model
from innersight.quotients import precise
from innersight.render import figures
from innersight.statistics import bootstrap, fewest, holm, sign_flips

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AT_ONCE = 64
CLASSES = 6
TO = ("zero", "mean")
DEFINITION = (
    "Change: the class score with the unit's map replaced, less the score of the untouched network; negative where the "
    "class depends on the unit. Mean over the images that the network takes for the class (over all where there are "
    "none), with the 95% bootstrap interval over them. p: two-sided, by flipping the signs of the images' changes, "
    "Holm-corrected for all units of the layer."
)


@dataclass(frozen=True, eq=False)
class Ablation:
    """What every class score does when a unit of a layer is switched off.

    change : (images, units, classes) float32, in the unit of the model's head: score without the unit less score with
    it. logits : (images, classes) of the untouched network. to : what took the place of a unit's map.
    images : their names, in the order of the rows. closed : whether the scores are an affine function of the layer,
    so that no unit needed runs of its own.
    asked : the labels of the classes to tell about; those the images are taken for where none were named.
    skipped : one sentence for each file that could not be read. notes : how the images were understood.
    """

    model: Model
    layer: str
    images: tuple[str, ...]
    change: Tensor
    logits: Tensor
    to: str
    closed: bool = False
    asked: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def shown(self) -> tuple[str, ...]:
        """Return the labels of the classes asked for, or of up to 6 that most images are taken for."""
        if self.asked:
            return self.asked
        seen = torch.bincount(self.logits.argmax(1), minlength=len(self.model.labels))
        order = seen.argsort(descending=True, stable=True)[:CLASSES].tolist()
        return tuple(self.model.labels[i] for i in order if seen[i])

    def rows(self, target: int | str) -> list[int]:
        """Return the numbers of the images that count for a class: those taken for it, or all where there are none.

        Raises InnersightError for an unknown class, with the nearest.
        """
        own = (self.logits.argmax(1) == self.model.class_index(target)).nonzero()[:, 0].tolist()
        return own or list(range(len(self.images)))

    def rank(self, target: int | str, count: int | None = 10) -> list[dict[str, Any]]:
        """Return the `count` units (all when None) whose removal lowers a class most, as plain rows.

        `interval` is None for a single image. Raises InnersightError for an unknown class.
        """
        number = self.model.class_index(target)
        own = self._of(number)
        if number not in self._tests:
            self._tests[number] = _test(own)
        p = self._tests[number]
        found = []
        for unit in own.mean(0).argsort(kind="stable")[:count].tolist():
            interval = bootstrap(own[:, unit])
            found.append(
                {
                    "unit": unit,
                    "address": f"{self.layer}:{unit}",
                    "mean": float(own[:, unit].mean()),
                    "interval": None if interval is None else list(interval),
                    "p": p[unit],
                    "images": len(own),
                }
            )
        return found

    def _of(self, number: int) -> Float[np.ndarray, "rows units"]:
        """Return the changes of a class over the images that count for it."""
        return self.change[self.rows(number), :, number].double().numpy()

    @cached_property
    def _tests(self) -> dict[int, tuple[float, ...]]:
        """The corrected p-value of every unit, by class, once asked for: table, figure and file ask for the same."""
        return {}

    def note(self, target: int | str) -> str:
        """Say over which images a class was read, and whether they are enough for a test."""
        number = self.model.class_index(target)
        own, label = len(self.rows(number)), self.model.labels[number]
        taken = bool((self.logits.argmax(1) == number).any())
        images = f"{own} image{'s' * (own != 1)}"
        text = f"{images} taken for {label}" if taken else f"none is taken for {label}: all {images}"
        needed = fewest(self.change.shape[1])
        short = f"; p can be below 0.05 with {needed} or more, for {self.change.shape[1]} units"
        return text + (short if own < needed else "")

    def figure(self, *, count: int = 10) -> "Figure":
        """Draw for each class the units whose removal lowers it most: mean, 95% interval, and every image as a dot.

        Filled: p below 0.05.
        """
        chosen = [self.model.class_index(label) for label in self.shown()]
        columns = min(3, len(chosen))
        lines = -(-len(chosen) // columns)
        height = 0.17 * min(count, self.change.shape[1]) + 0.8
        figure = figures.new_figure(max(5.2, 3.3 * columns), lines * height + 0.5)
        what = "zero" if self.to == "zero" else "its mean"
        title = f"{self.layer}: what a class loses when a unit is set to {what}  ·  mean, 95% interval, images"
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for axis in axes[len(chosen) :]:
            axis.axis("off")
        for axis, number in zip(axes, chosen, strict=False):
            self._draw(axis, number, count)
        return figure

    def _draw(self, axis: Any, number: int, count: int) -> None:
        rows, own = self.rank(number, count), self.change[self.rows(number), :, number]
        for place, row in enumerate(rows):
            values, mean = own[:, row["unit"]].numpy(), row["mean"]
            axis.scatter(values, np.full(len(values), place), s=5, color="#adb5bd", linewidths=0, zorder=1)
            low, high = row["interval"] or (mean, mean)
            axis.plot([low, high], [place, place], color="#364fc7", linewidth=1.6, zorder=2)
            fill = "#364fc7" if row["p"] < 0.05 else "white"
            axis.scatter([mean], [place], s=18, color=fill, edgecolors="#364fc7", linewidths=1, zorder=3)
        axis.axvline(0, color="#868e96", linewidth=0.8, zorder=0)
        axis.set_yticks(range(len(rows)), [str(row["unit"]) for row in rows], fontsize=6)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.tick_params(axis="x", labelsize=6)
        axis.set_ylabel("unit", fontsize=6)
        axis.set_xlabel(f"change of {self.model.head.unit}", fontsize=6)
        title = f"{self.model.labels[number]}  ({len(own)} images; filled: p < 0.05)"
        axis.set_title(title, fontsize=7)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)

    def to_json(self) -> dict[str, Any]:
        """Return the ranking for each class of `shown`, with the definition."""
        return {
            "model": self.model.name,
            "layer": self.layer,
            "to": self.to,
            "unit": self.model.head.unit,
            "images": list(self.images),
            "closed_form": self.closed,
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "definition": DEFINITION,
            "classes": {
                label: {
                    "note": self.note(label),
                    "rank": self.rank(label, None if self.change.shape[1] <= 512 else 100),
                }
                for label in self.shown()
            },
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the changes and the scores of the untouched network."""
        return {"change": self.change, "logits": self.logits}

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())


@public(target="classes", targets="classes")
def ablate(
    model: Model,
    images: Any,
    layer: str,
    *,
    to: str = "zero",
    classes: Sequence[int | str] | None = None,
) -> Ablation:
    """Switch off every unit of `layer`, one at a time, and return what every class score does.

    images : whatever holds images, see `innersight.inputs.entries`; gone through twice for "mean".

    to : "zero", or "mean": the unit's mean over all images and places (mean ablation keeps what the network always
    adds). The network before the layer runs once for each batch of images and only the rest for each unit; class
    scores that are an affine function of the layer (pooling and one matrix) need no runs: the change is the gradient
    times the change of the map, as in Ablation-CAM (Ramaswamy and Desai 2020, doi:10.1109/WACV45572.2020.9093360).
    That they are is compared with runs, to 1e-4 of the largest change.

    classes : those to tell about, by label or number; by default those the images are taken for. All are computed.

    Raises InnersightError for an unknown layer or class, a layer without units, another `to`, or scores that are not
    finite; ImageError when no image could be read.
    """
    if to not in TO:
        raise InnersightError(f"to={to!r}: choose {' or '.join(TO)}")
    asked = tuple(dict.fromkeys(model.labels[model.class_index(name)] for name in classes or ()))
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
    broken = int((~(change.flatten(1).isfinite().all(1) & logits.isfinite().all(1))).sum())
    if broken:
        raise InnersightError(
            f"{layer}: the scores of {broken} of {len(names)} images, or what they do without a unit, are not "
            "finite: nothing can be read from them"
        )
    read = reading.skipped, reading.notes
    return Ablation(model, layer, tuple(names), change, logits, to, all(closed), asked, *read)


def _mean(model: Model, images: Given, layer: str) -> Float[Tensor, " units"]:
    """Return the mean of every unit over all images and places. Raises ImageError where none can be read."""
    total, count = torch.zeros(()), 0
    with torch.no_grad():
        for loaded in ImageReader(images, model.input).batches(BATCH):
            maps = tap.capture(model, network_input(loaded, model), [layer]).activations[layer]
            total, count = total.to(maps.device) + maps.double().mean((2, 3)).sum(0), count + len(loaded)
    return total / count


def _batch(
    model: Model, x: Tensor, layer: str, fill: Float[Tensor, " units"] | None
) -> tuple[Float[Tensor, "B units classes"], Float[Tensor, "B classes"], bool]:
    """Return the changes and scores of a batch, and whether they were known without runs for every unit."""
    suffix = tap.resume(model, x, layer)
    activation = suffix.activation
    other = torch.zeros_like(activation[0])
    if fill is not None:
        other = other + fill.to(activation)[:, None, None]
    change = _closed(suffix, other)
    closed = change is not None
    if change is None:
        change = _run(suffix, other)
    return change.float().cpu(), suffix.output.float().cpu(), closed


def _closed(suffix: tap.Suffix, other: Float[Tensor, "units h w"]) -> Float[Tensor, "B units classes"] | None:
    """Return the changes of all classes if each score is an affine function of the layer's output, else None."""
    activation, output = suffix.activation, suffix.output
    tried = tap.trials(activation, torch.Generator().manual_seed(0))
    with torch.no_grad():
        truth = [suffix(trial, torch.arange(len(trial))) for trial in tried]
    changes = []
    # An affine function has the same slope everywhere: that of the first image serves all. The first class goes
    # alone, as most layers are left there.
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
        for rows, silent in zip(torch.split(index, AT_ONCE), torch.split(unit, AT_ONCE), strict=True):
            variants = suffix.activation[rows]
            variants[torch.arange(len(rows)), silent] = other[silent]
            found.append(precise(suffix(variants, rows)) - precise(suffix.output[rows]))
    return torch.cat(found).view(batch, units, -1)


def _test(own: Float[np.ndarray, "rows units"]) -> tuple[float, ...]:
    """Return the p-value of every unit, corrected for their number."""
    # Many units need many flips: no p-value of theirs is below one flip in all.
    return holm(sign_flips(own, resamples=max(9999, 50 * own.shape[1])))
