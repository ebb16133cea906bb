"""Labels without masks: the word whose nearness to each image, as a model of the user's tells it, a unit follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PILImage
from torch import Tensor

from innersight import tap
from innersight.brief import brief
from innersight.call import public
from innersight.dissection.overlap import finite
from innersight.errors import InnersightError, nearest, printable
from innersight.input_spec import InputSpec
from innersight.inputs import ImageEntry, ImageReader, Loaded, batched, network_input
from innersight.layers import check_layers, default_layers
from innersight.model import Model
from innersight.render import figures
from innersight.scan.engine import Watch
from innersight.storage.bounded import read_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Encode = Callable[[Sequence[PILImage.Image] | Sequence[str]], Tensor]
LEVEL = 0.05
SHUFFLES = 999
FEWEST = 8
SHOWN = 12
DEFINITION = (
    "Correlation: Pearson's, over the images, of the mean of the unit's map with the cosine of the image's and the "
    "word's embedding. Interval: 95%, by Fisher's transformation. p: how often shuffling the images gives any unit "
    "of the layer with any word a correlation as high. Label: the word of highest correlation, if p is below the level."
)


@dataclass(frozen=True, eq=False)
class Concepts:
    """For every unit of the layers looked at: how its responses go with every word.

    words : in the order given. layers : by name, (units, words) float32, correlations, -1 to 1; NaN for a unit that
    responds alike to all images. p : the same, corrected, one-sided. images : how many were seen. level : of p.
    """

    model: Model
    words: tuple[str, ...]
    layers: dict[str, Float[Tensor, "units words"]]
    p: dict[str, Float[Tensor, "units words"]]
    images: int
    level: float
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    measure = "correlation"

    __repr__ = brief

    @cached_property
    def _best(self) -> dict[str, list[int]]:
        return {name: found.nan_to_num(-2).argmax(1).tolist() for name, found in self.layers.items()}

    def label(self, layer: str, unit: int) -> str | None:
        """Return the word of a unit, None for no word. Raises InnersightError for an unknown layer or unit."""
        label: str | None = self.row(layer, unit)["label"]
        return label

    def row(self, layer: str, unit: int) -> dict[str, Any]:
        """Return one unit as plain data, with the word it goes with most. Raises as `label` does."""
        if layer not in self.layers:
            raise InnersightError(f"layer {layer!r} was not looked at; {nearest(layer, self.layers)}")
        if not 0 <= unit < len(self.layers[layer]):
            raise InnersightError(f"{layer} has units 0-{len(self.layers[layer]) - 1}, not {unit}")
        best = self._best[layer][unit]
        value, p = float(self.layers[layer][unit, best]), float(self.p[layer][unit, best])
        still = value != value
        return {
            "layer": layer,
            "unit": unit,
            "address": f"{layer}:{unit}",
            "label": self.words[best] if p < self.level else None,
            "word": None if still else self.words[best],
            "correlation": None if still else value,
            "interval": None if still else list(_interval(value, self.images)),
            "p": None if still else p,
        }

    def rank(self, count: int | None = None) -> list[dict[str, Any]]:
        """Return the `count` units (all when None) of highest correlation with their word, as plain rows."""
        rows = [self.row(name, unit) for name, found in self.layers.items() for unit in range(len(found))]
        rows.sort(key=lambda row: 2 if row["correlation"] is None else -row["correlation"])
        rows.sort(key=lambda row: row["label"] is None)
        return rows[:count]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return per layer its units, how many have a label, and how many have each, most first."""
        found = {}
        for name, values in self.layers.items():
            labels = [self.label(name, unit) for unit in range(len(values))]
            counts = sorted(((word, labels.count(word)) for word in self.words), key=lambda pair: -pair[1])
            parts = {word: count for word, count in counts if count}
            found[name] = {"units": len(values), "labelled": sum(parts.values()), "parts": parts}
        return found

    def figure(self, *, count: int = SHOWN) -> "Figure":
        """Draw for each layer the `count` units of highest correlation, with word and interval; hollow: no label."""
        count = min(count, max(map(len, self.layers.values())))
        columns = min(3, len(self.layers))
        lines = -(-len(self.layers) // columns)
        figure = figures.new_figure(max(5.2, 3.3 * columns), lines * (0.19 * count + 0.8) + 0.4)
        title = f"{self.model.name}: the words that units go with, over {self.images:,} images"
        figure.suptitle(f"{title}  ·  filled: p < {self.level:g}", x=0.01, ha="left", fontsize=9)
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for axis in axes[len(self.layers) :]:
            axis.axis("off")
        summary, ranked = self.summary(), self.rank()
        for axis, name in zip(axes, self.layers, strict=False):
            rows = [row for row in ranked if row["layer"] == name and row["correlation"] is not None][:count]
            for place, row in enumerate(rows):
                axis.plot(row["interval"], [place, place], color="#364fc7", linewidth=1.4)
                fill = "white" if row["label"] is None else "#364fc7"
                axis.scatter([row["correlation"]], [place], s=18, color=fill, edgecolors="#364fc7", zorder=3)
            names = [f"{row['unit']}: {printable(row['word'])[:28]}" for row in rows]
            axis.set_yticks(range(len(rows)), names, fontsize=6)
            axis.set_ylim(count - 0.4, -0.6)
            axis.set_title(f"{name}  ({summary[name]['labelled']} of {summary[name]['units']} labelled)", fontsize=7)
            axis.set_xlabel("correlation", fontsize=6)
            axis.tick_params(axis="x", labelsize=6)
            axis.axvline(0, color="#868e96", linewidth=0.8, zorder=0)
            axis.spines[["top", "right"]].set_visible(False)
        return figure

    def to_json(self) -> dict[str, Any]:
        """Return every unit with its word, and the definition."""
        return {
            "model": self.model.name,
            "images": self.images,
            "words": list(self.words),
            "level": self.level,
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "definition": DEFINITION,
            "summary": self.summary(),
            "layers": {name: [self.row(name, i) for i in range(len(found))] for name, found in self.layers.items()},
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return `correlation.LAYER` and `p.LAYER`."""
        kinds = {"correlation": self.layers, "p": self.p}
        return {f"{kind}.{name}": value for kind, values in kinds.items() for name, value in values.items()}

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())


@public()
def label(
    model: Model,
    images: Any,
    words: Sequence[str],
    encode: Encode,
    layers: Sequence[str] | None = None,
    *,
    level: float = LEVEL,
    batch: int = 32,
    workers: int | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Concepts:
    """Return how the units' responses go with words, and the units' labels.

    After CLIP-Dissect (Oikarinen and Weng 2023, arXiv:2204.10965): a unit's response to an image is the mean of its
    map; words and images are compared by an encoder of both. Here by Pearson's correlation, with p-values from
    shuffled images, corrected for all units of the layers together and all words.

    images : whatever holds images, see `innersight.inputs.entries`; the encoder is shown what the
    network sees. words : at least one, all different. encode :
    from a list of n PIL images (RGB), or of n texts, to embeddings (n, d); see `clip_encoder`. layers : those that tell
    the default layers when None. level : of p.

    One pass; memory grows by four bytes for every image with every unit and word. Raises InnersightError for no
    words, an encoder that returns anything else, fewer than 8 images or unknown layers; ImageError when none could
    be read.
    """
    if batch < 1 or not 0 < level <= 1:
        raise InnersightError(f"batch is {batch} and level is {level:g}: give at least 1, and 0 < level <= 1")
    words = _words(words)
    names = tuple(layers) if layers else default_layers(model)
    check_layers(model, names)
    text = _embedded(encode, list(words), "texts")
    responses: dict[str, list[Tensor]] = {name: [] for name in names}
    nearness: list[Tensor] = []
    reading = ImageReader(images, model.input, workers=workers)

    def take(name: str) -> Callable[[Tensor], None]:
        return lambda activation: responses[name].append(finite(activation).mean((2, 3)).cpu())

    done = 0
    with tap.untouched(model), torch.no_grad():
        for loaded in batched(reading.each(partial(_read, spec=model.input)), batch):
            image = _embedded(encode, [one for _, one in loaded], "images")
            if image.shape[1] != text.shape[1]:
                raise InnersightError(
                    f"encode gave images {image.shape[1]} numbers and texts {text.shape[1]}; both must have as many"
                )
            nearness.append(image @ text.T)
            tap.read(model, network_input([one for one, _ in loaded], model), {name: take(name) for name in names})
            done += len(loaded)
            if watch is not None:
                watch(done, 0, printable(loaded[-1][0].entry.name))
    if done < FEWEST:
        raise InnersightError(f"{done} images are too few to correlate over; give at least {FEWEST}, better hundreds")
    near = torch.cat(nearness)
    every = [torch.cat(parts) for parts in responses.values()]
    units = [own.shape[1] for own in every]
    found, p = (
        dict(zip(names, torch.split(one, units), strict=True)) for one in _correlated(torch.cat(every, 1), near, seed)
    )
    return Concepts(model, words, found, p, done, level, reading.skipped, reading.notes)


def read_words(path: str | Path) -> tuple[str, ...]:
    """Return the words of a text file, one a line; empty lines do not count. Raises InnersightError for none."""
    text = read_text(path, what="file of words")
    found = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not found:
        raise InnersightError(f"{printable(path)}: no words in this file; write one a line")
    return found


def _words(words: Sequence[str]) -> tuple[str, ...]:
    found = tuple(words)
    if not found or not all(isinstance(word, str) and word.strip() for word in found):
        raise InnersightError(f"words={printable(found)}: give at least one word, and no empty ones")
    twice = [word for word in found if found.count(word) > 1]
    if twice:
        raise InnersightError(f"{twice[0]!r} is among the words {found.count(twice[0])} times; name each once")
    return found


def _read(entry: ImageEntry, spec: InputSpec) -> tuple[Loaded, PILImage.Image]:
    found = entry.load(spec)
    return Loaded(entry, found.values(spec), None), found.seen(spec).convert("RGB")


def _embedded(encode: Encode, given: Any, what: str) -> Float[Tensor, "n d"]:
    """Return embeddings of length 1. Raises InnersightError for an encoder that returns anything else than (n, d)."""
    with torch.no_grad():
        found = encode(given)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(given):
        got = f"a Tensor of {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise InnersightError(f"encode gave {got} for {len(given)} {what}; it must be a Tensor of ({len(given)}, d)")
    found = found.detach().float().cpu()
    if not found.isfinite().all() or not found.any(1).all():
        raise InnersightError(f"encode gave NaN, an infinity or only zeros for one of {len(given)} {what}")
    unit: Tensor = found / found.norm(dim=1, keepdim=True)
    return unit


def _correlated(
    responses: Float[Tensor, "images units"], near: Float[Tensor, "images words"], seed: int
) -> tuple[Float[Tensor, "units words"], Float[Tensor, "units words"]]:
    """Return correlations, and p-values by the highest of all pairs in every shuffle (maxT, see `shuffles`).

    Under shuffling every correlation has the same mean and deviation, so none needs to be standardised.
    """
    units, words = _standard(responses), _standard(near)
    found = (units.T @ words).clamp(-1, 1)
    rng = np.random.default_rng(seed)
    orders = [torch.from_numpy(rng.permutation(len(near))) for _ in range(SHUFFLES)]
    highest = torch.stack([(units.T @ words[order]).nan_to_num(-2).max() for order in orders]).sort().values
    reached = SHUFFLES - torch.searchsorted(highest, (found - 1e-6).contiguous())
    return found, ((1 + reached) / (1 + SHUFFLES)).masked_fill(found.isnan(), torch.nan)


def _standard(values: Float[Tensor, "images n"]) -> Float[Tensor, "images n"]:
    """Return columns of mean 0 and length 1; NaN for those that are the same, or not finite, somewhere."""
    centred = values.double() - values.double().mean(0)
    length = centred.norm(dim=0)
    still = ~(length > 1e-6 * values.double().abs().amax(0) * len(values) ** 0.5)
    standard: Tensor = (centred / length.masked_fill(still, 1.0)).masked_fill(still, torch.nan).float()
    return standard


def _interval(r: float, count: int) -> tuple[float, float]:
    """Return the 95% interval of a correlation (Fisher 1921)."""
    z, half = np.arctanh(min(max(r, -0.9999999), 0.9999999)), 1.959964 / np.sqrt(count - 3)
    return float(np.tanh(z - half)), float(np.tanh(z + half))
