"""Labels without masks: the word with whose similarity to the images a unit's responses correlate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PILImage
from torch import Tensor

from innersight import tap
from innersight.call import public
from innersight.dissection.masked import Progress
from innersight.dissection.overlap import finite
from innersight.errors import InnersightError, nearest, printable
from innersight.input_spec import InputSpec
from innersight.inputs import ImageEntry, ImageReader, Loaded, batched, network_input
from innersight.layers import check_layers, default_layers
from innersight.model import Model
from innersight.result import Result
from innersight.storage.bounded import read_text

Encode = Callable[[Sequence[PILImage.Image] | Sequence[str]], Tensor]
ALPHA = 0.05
SHUFFLES = 999
FEWEST = 8
DEFINITION = (
    "Correlation: Pearson's, over the images, of the mean of the unit's map with the cosine of the image's and the "
    "word's embedding. Interval: 95%, by Fisher's transformation. p: how often shuffling the images gives any unit "
    "of the layers with any word a correlation as high. Label: the word of highest correlation, if p is below alpha."
)


@dataclass(frozen=True, eq=False, repr=False)
class WordLabels(Result):
    """How the responses of every unit correlate with every word.

    Attributes
    ----------
    model
        The network.
    words
        In the order given.
    layers
        By name, (units, words) float32, correlations, -1 to 1; NaN for a unit that responds equally to all images.
    p
        By name, (units, words) corrected, one-sided p-values.
    images
        How many were read.
    alpha
        p-value below which a label is significant.
    skipped
        One sentence for each image left out.
    notes
        How the images were understood.

    """

    model: Model
    words: tuple[str, ...]
    layers: dict[str, Float[Tensor, "units words"]]
    p: dict[str, Float[Tensor, "units words"]]
    images: int
    alpha: float
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    measure = "correlation"

    @cached_property
    def _best(self) -> dict[str, list[int]]:
        return {name: found.nan_to_num(-2).argmax(1).tolist() for name, found in self.layers.items()}

    def label(self, layer: str, unit: int) -> str | None:
        """Return the word of a unit.

        Parameters
        ----------
        layer
            Name of the layer.
        unit
            Number of the unit.

        Returns
        -------
        str or None
            None for no word.

        Raises
        ------
        InnersightError
            For an unknown layer or unit.

        """
        label: str | None = self.row(layer, unit)["label"]
        return label

    def row(self, layer: str, unit: int) -> dict[str, Any]:
        """Return one unit as plain data, with the word of highest correlation.

        Parameters
        ----------
        layer
            Name of the layer.
        unit
            Number of the unit.

        Returns
        -------
        dict
            layer, unit, address, label (None for no word), word, correlation (-1 to 1), its interval (95%) and p; the
            last four are None for a unit that responds equally to all images.

        Raises
        ------
        InnersightError
            For an unknown layer or unit.

        """
        if layer not in self.layers:
            raise InnersightError(f"layer {layer!r} was not labelled; {nearest(layer, self.layers)}")
        if not 0 <= unit < len(self.layers[layer]):
            raise InnersightError(f"{layer} has units 0-{len(self.layers[layer]) - 1}, not {unit}")
        best = self._best[layer][unit]
        value, p = float(self.layers[layer][unit, best]), float(self.p[layer][unit, best])
        undefined = value != value
        return {
            "layer": layer,
            "unit": unit,
            "address": f"{layer}:{unit}",
            "label": self.words[best] if p < self.alpha else None,
            "word": None if undefined else self.words[best],
            "correlation": None if undefined else value,
            "interval": None if undefined else list(_interval(value, self.images)),
            "p": None if undefined else p,
        }

    def rank(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the units of highest correlation with their word, those with a label first.

        Parameters
        ----------
        limit
            At most this many; all when None.

        Returns
        -------
        list of dict
            As `row` returns them.

        """
        rows = [self.row(name, unit) for name, found in self.layers.items() for unit in range(len(found))]
        rows.sort(key=lambda row: 2 if row["correlation"] is None else -row["correlation"])
        rows.sort(key=lambda row: row["label"] is None)
        return rows[:limit]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return per layer its units, how many have a label, and how many have each, most first."""
        found = {}
        for name, values in self.layers.items():
            labels = [self.label(name, unit) for unit in range(len(values))]
            counts = sorted(((word, labels.count(word)) for word in self.words), key=lambda pair: -pair[1])
            parts = {word: count for word, count in counts if count}
            found[name] = {"units": len(values), "labelled": sum(parts.values()), "parts": parts}
        return found

    def to_json(self) -> dict[str, Any]:
        """Return every unit with its word, and the definition."""
        return {
            "model": self.model.name,
            "images": self.images,
            "words": list(self.words),
            "alpha": self.alpha,
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


@public()
def label(
    model: Model,
    images: Any,
    words: Sequence[str],
    encode: Encode,
    layers: Sequence[str] | None = None,
    *,
    alpha: float = ALPHA,
    batch: int = 32,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> WordLabels:
    """Label units by the words with whose similarity to the images their responses correlate.

    Parameters
    ----------
    model
        The network.
    images
        Whatever holds images, see `innersight.inputs.entries`; the encoder is given what the network sees.
    words
        At least one, all different.
    encode
        From a list of n PIL images (RGB), or of n texts, to embeddings (n, d); see `clip_encoder`.
    layers
        Names of layers; the default layers when None.
    alpha
        p-value below which a label is significant.
    batch
        Images in one forward pass.
    workers
        Threads that decode images; one for each core, up to 4, when None.
    seed
        Of the shuffles.
    progress
        Called with the number done, the total (0: unknown), and what is being done.

    Returns
    -------
    WordLabels
        Correlations with p-values, and labels.

    Raises
    ------
    InnersightError
        For no words, an encoder that returns anything else, fewer than 8 images or unknown layers.
    ImageError
        When no image could be read.

    Notes
    -----
    After CLIP-Dissect (Oikarinen and Weng 2023, arXiv:2204.10965): a unit's response to an image is the mean of its
    map; words and images are compared by an encoder of both. Here by Pearson's correlation, with p-values from
    shuffled images, corrected for all units of the layers together and all words. Memory grows by four bytes for every
    image with every unit and word.

    Examples
    --------
    An encoder that knows two words, by whether an image is bright:

    >>> import torch
    >>> import innersight as ins
    >>> from innersight.dissection import label
    >>> def encode(given):
    ...     bright = [one == "bright" if isinstance(one, str) else one.getpixel((0, 0))[0] > 127 for one in given]
    ...     return torch.nn.functional.one_hot(torch.tensor(bright).long(), 2).float()
    >>> images = [torch.full((3, 80, 80), 25 * i, dtype=torch.uint8) for i in range(10)]
    >>> found = label(ins.load("small:4"), images, ["bright", "dark"], encode, ["stage1"])
    >>> found.layers["stage1"].shape
    torch.Size([4, 2])

    """
    if batch < 1 or not 0 < alpha <= 1:
        raise InnersightError(f"batch is {batch} and alpha is {alpha:g}: give at least 1, and 0 < alpha <= 1")
    words = _words(words)
    names = tuple(layers) if layers else default_layers(model)
    check_layers(model, names)
    text = _embedded(encode, list(words), "texts")
    responses: dict[str, list[Tensor]] = {name: [] for name in names}
    similarity: list[Tensor] = []
    reading = ImageReader(images, model.input, workers=workers)

    def take(name: str) -> Callable[[Tensor], None]:
        return lambda activation: responses[name].append(finite(activation).mean((2, 3)).cpu())

    done = 0
    with tap.untouched(model), torch.no_grad():
        for loaded in batched(reading.each(partial(_read, spec=model.input)), batch):
            image = _embedded(encode, [one for _, one in loaded], "images")
            if image.shape[1] != text.shape[1]:
                raise InnersightError(
                    f"encode gave images {image.shape[1]} numbers and texts {text.shape[1]}; they must be equally many"
                )
            similarity.append(image @ text.T)
            tap.read(model, network_input([one for one, _ in loaded], model), {name: take(name) for name in names})
            done += len(loaded)
            if progress is not None:
                progress(done, 0, printable(loaded[-1][0].entry.name))
    if done < FEWEST:
        raise InnersightError(f"{done} images are too few for a correlation; give at least {FEWEST}, better hundreds")
    similarities = torch.cat(similarity)
    every = [torch.cat(parts) for parts in responses.values()]
    units = [own.shape[1] for own in every]
    found, p = (
        dict(zip(names, torch.split(one, units), strict=True))
        for one in _correlated(torch.cat(every, 1), similarities, seed)
    )
    return WordLabels(model, words, found, p, done, alpha, reading.skipped, reading.notes)


def read_words(path: str | Path) -> tuple[str, ...]:
    """Return the words of a text file.

    Parameters
    ----------
    path
        A file with one word a line; empty lines do not count.

    Returns
    -------
    tuple of str
        In their order, each once.

    Raises
    ------
    InnersightError
        For a file without words, and one that cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from innersight.dissection import read_words
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "words.txt"
    ...     _ = file.write_text("dog")
    ...     read_words(file)
    ('dog',)

    """
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
    responses: Float[Tensor, "images units"], similarity: Float[Tensor, "images words"], seed: int
) -> tuple[Float[Tensor, "units words"], Float[Tensor, "units words"]]:
    """Return correlations, and p-values by the highest of all pairs in every shuffle (maxT, see `shuffles`).

    Under shuffling every correlation has the same mean and deviation, so none needs to be standardised.
    """
    units, words = _standard(responses), _standard(similarity)
    found = (units.T @ words).clamp(-1, 1)
    rng = np.random.default_rng(seed)
    orders = [torch.from_numpy(rng.permutation(len(similarity))) for _ in range(SHUFFLES)]
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
