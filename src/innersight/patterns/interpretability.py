"""How well examples or patterns explain a unit: whether they predict which images activate it."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight import tap
from innersight.address import Address, ClassAddress, parse
from innersight.call import public
from innersight.errors import InnersightError, printable
from innersight.inputs import Given, ImageReader, by_number, network_input, repeatable
from innersight.layers import check_layers, default_layers, survey
from innersight.model import Model
from innersight.patterns.engine import patterns
from innersight.patterns.result import PatternProgress
from innersight.quotients import normalised
from innersight.result import Result
from innersight.statistics import wilson

BATCH = 16
KEPT = 256  # images held in memory at a time
ALPHA = 1.0

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Interpretability(Result):
    """How often the explanations of each unit single out the image that activates it; chance is 0.5.

    Attributes
    ----------
    layer : str
        Name of the layer.
    units : tuple of int
        The n units scored.
    score : Tensor
        (n,) float64, share of tasks answered correctly, 0 to 1; a tie counts half.
    soft : Tensor
        (n,) float64, how clearly, 0 to 1: the mean sigmoid of ALPHA times the difference of distances, in standard
        deviations of the unit's distances.
    low, high : Tensor
        (n,) float64, 95% Wilson interval of `score` over queries, for these explanations.
    tasks : Tensor
        (n,) int64, how many pairs of images differ in the unit's response; the scores are NaN where it is 0.
    by : str
        "examples" or "patterns".
    explanations : int
        Of each unit.
    distance : str
        Name of the distance.
    images : int
        How many were read.
    skipped : tuple of str
        One sentence for each file that could not be read.
    notes : tuple of str
        How the images were understood, and how many are copies of others, which count once.

    """

    layer: str
    units: tuple[int, ...]
    score: Tensor
    soft: Tensor
    low: Tensor
    high: Tensor
    tasks: Tensor
    by: str
    explanations: int
    distance: str
    images: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def unscored(self) -> tuple[str, ...]:
        """Addresses of the units that respond equally to strong and weak images, such as dead ones."""
        return tuple(f"{self.layer}:{u}" for u, count in zip(self.units, self.tasks.tolist(), strict=True) if not count)

    def to_json(self) -> dict[str, Any]:
        """Return the scores by unit, None where there is none, and what they were judged by."""
        keys = ("layer", "by", "explanations", "distance", "images")
        columns = [getattr(self, name).tolist() for name in ("score", "soft", "low", "high")]
        rows = zip(self.units, self.tasks.tolist(), *columns, strict=True)
        units = [
            {"address": f"{self.layer}:{unit}", "tasks": count}
            | {k: v if count else None for k, v in zip(("score", "soft", "low", "high"), values, strict=True)}
            for unit, count, *values in rows
        ]
        listed = {"units": units, "unscored": list(self.unscored), "skipped": list(self.skipped)}
        listed["notes"] = list(self.notes)
        return {key: getattr(self, key) for key in keys} | listed

    def rank(self) -> list[int]:
        """Return where in `units` those with a score stand, the highest first."""
        scored = [i for i, count in enumerate(self.tasks.tolist()) if count]
        return sorted(scored, key=lambda i: (-float(self.score[i]), -float(self.soft[i])))

    def tensors(self) -> dict[str, Tensor]:
        """Return `units`, `score`, `soft`, `low`, `high` and `tasks`, (n,) each."""
        columns = {name: getattr(self, name) for name in ("score", "soft", "low", "high", "tasks")}
        return {"units": torch.tensor(self.units), **columns}


@public()
def interpretability(
    model: Model,
    layer: str,
    images: Any,
    units: Sequence[int] | None = None,
    *,
    by: str | Tensor = "examples",
    negatives: Tensor | None = None,
    tasks: int = 20,
    explanations: int = 4,
    steps: int = 256,
    distance: Distance | None = None,
    seed: int = 0,
    progress: Callable[[PatternProgress], None] | None = None,
) -> Interpretability:
    """Return how well explanations of each unit predict which images activate it: a two-alternative forced choice.

    Parameters
    ----------
    model : Model
        The network.
    layer : str
        Name of a layer, or some of its units, such as "stage2:0-15".
    images : images
        At least `2 * tasks` of them, with `by="examples"` another `2 * explanations`; see `innersight.inputs.entries`.
    units : sequence of int, optional
        Numbers of the units; all when None.
    by : str or Tensor
        What explains a unit. "examples": the `explanations` images with the highest peaks, against those with the
        lowest, none of which is in a task. "patterns": as many patterns drawn by `innersight.patterns`, against as many
        that inhibit the unit. Or patterns (n, C, H, W) or (n, k, C, H, W) of the n units, in 0..1.
    negatives : Tensor, optional
        Counter-explanations to the patterns given, in the same form. Only similarity to the patterns counts when None.
    tasks : int
        Pairs of images for each unit; 1 or more.
    explanations : int
        Examples or patterns shown for each unit; 1 or more.
    steps : int
        Updates of each pattern that is drawn, at most; 1 or more.
    distance : callable, optional
        From pixels (A, C, H, W) and (B, C, H, W) in 0..1, of the network's input size and on its device, to distances
        (A, B), such as LPIPS or DreamSim. `features` of the default layers when None, without the first of them that
        holds or follows the unit's layer if others remain.
    seed : int
        Draws the pairs, ranks equal peaks, and is the first seed of patterns that are drawn; 0 or more.
    progress : callable, optional
        Called with a `PatternProgress` while patterns are drawn.

    Returns
    -------
    Interpretability
        A score for each unit; 0.5 is chance.

    Raises
    ------
    InnersightError
        For unknown layers and units, too few images, and values that do not fit.
    ImageError
        When no image can be read.

    Notes
    -----
    The machine interpretability score (Zimmermann, Klindt and Brendel 2024, "Measuring Per-Unit Interpretability at
    Scale Without Humans", NeurIPS). A task is a pair of images, one of the `tasks` with the highest peaks of the unit's
    map and one of those with the lowest; each image is in one task. Chosen is the image more similar to the unit's
    explanations, by its mean distance to them less that to the counter-explanations.

    The default distance needs no other network but is no independent judge: deeper layers are made of this unit too,
    and it compares location by location, so that one part at two locations counts as different. Compare such scores
    within one network only. The paper fits ALPHA to human answers, which are not known here, and draws new explanations
    for every task; here they are those one would be shown. The fewer images, the less the two sides differ and the
    lower every score.

    Examples
    --------
    >>> import innersight as ins, torch
    >>> images = list(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    >>> found = ins.interpretability(ins.load("small:8?size=32"), "stage1:0", images, tasks=2, explanations=1)
    >>> 0 <= float(found.score[0]) <= 1
    True

    """
    layer, named = _units_of(layer)
    if named and units is not None:
        raise InnersightError(f"units={list(units)} and {layer}:{named[0]}...: name the units once")
    described = check_layers(model, [layer])[0]
    chosen = tuple(named or range(described.units) if units is None else units)
    wrong = [unit for unit in chosen if not 0 <= unit < described.units]
    if wrong or not chosen:
        raise InnersightError(f"{layer} has units 0-{described.units - 1}, not {wrong[0] if wrong else 'none at all'}")
    if tasks < 1 or explanations < 1:
        raise InnersightError(f"tasks={tasks} and explanations={explanations} must be at least 1")
    if isinstance(by, str) and by not in ("examples", "patterns"):
        raise InnersightError(f"by={by!r}: choose examples or patterns, or give the patterns")
    if isinstance(by, str) and negatives is not None:
        raise InnersightError(f"by={by!r} with negatives: these belong to patterns that are given")
    if isinstance(by, str) and by == "patterns":
        found = patterns(
            model, [f"{layer}:{unit}" for unit in chosen], steps=steps, seed=seed, seeds=explanations, negatives=True,
            progress=progress,
        )  # fmt: skip
        assert found.negatives is not None
        by, negatives = found.every, found.negatives.every
    drawn = None if isinstance(by, str) else _checked(model, by, len(chosen), "patterns")
    against = None if negatives is None else _checked(model, negatives, len(chosen), "negatives")
    judge = distance or features(model, _others(model, layer))
    held = explanations if drawn is None else 0
    rows = []
    with tap.untouched(model), torch.no_grad():
        data = repeatable(images)
        numbers, peaks, reading, notes = _peaks(model, layer, chosen, data)
        if len(numbers) < 2 * (tasks + held):
            need = f"{tasks} tasks and {held} examples a side need {2 * (tasks + held)} images"
            raise InnersightError(f"{need}, but {len(numbers)} could be read: give more, or ask for fewer tasks")
        entry_of = by_number(data)

        @lru_cache(KEPT)
        def load(number: int) -> Tensor:
            x = entry_of(numbers[number]).load(model.input).tensor(model.input)[None]
            return model.input.denormalise(x)[0].clamp(0, 1).to(model.device)

        for i, unit in enumerate(chosen):
            queries, *shown = _sides(peaks[:, i].numpy(), tasks, held, np.random.default_rng((seed % 2**32, unit)))
            if not queries:
                rows.append((math.nan, math.nan, math.nan, math.nan, 0))
                continue
            if drawn is None:
                near, far = (torch.stack([load(number) for number in side]) for side in shown)
            else:
                near, far = drawn[i], drawn[i, :0] if against is None else against[i]
            rows.append(_score(torch.stack([load(number) for number in queries]), near, far, judge))
    score, soft, low, high, counts = torch.tensor(rows, dtype=torch.float64).unbind(1)
    kind, count = ("examples", explanations) if drawn is None else ("patterns", drawn.shape[1])
    explained_by = kind, count, getattr(judge, "__name__", type(judge).__name__), len(numbers)
    return Interpretability(
        layer, chosen, score, soft, low, high, counts.long(), *explained_by, reading.skipped, (*reading.notes, *notes)
    )


def _units_of(text: str) -> tuple[str, list[int]]:
    """Return the layer that a text names, and the units of it where it names some."""
    addresses = parse(text)
    first = addresses[0]
    if isinstance(first, ClassAddress) or first.location is not None:
        raise InnersightError(f"{text!r}: name a layer, or some of its units such as stage2:0-15")
    return first.layer, [a.unit for a in addresses if isinstance(a, Address) and a.unit is not None]


def features(model: Model, layers: Sequence[str]) -> Distance:
    """Return a perceptual distance between images, in features of the model.

    Parameters
    ----------
    model : Model
        The network.
    layers : sequence of str
        Names of the layers whose activations are compared.

    Returns
    -------
    callable
        From pixels (A, C, H, W) and (B, C, H, W) in 0..1 to distances (A, B), 0 to 4.

    Notes
    -----
    As LPIPS before weights are learned (Zhang et al. 2018, arXiv:1801.03924): channels of unit length at every
    location, squared differences summed over channels, averaged over locations and over `layers`.

    """
    check_layers(model, layers)

    def read(pixels: Tensor) -> list[Tensor]:
        x = model.input.normalise(pixels.to(model.device)).to(model.dtype)
        found = (maps.float() for maps in tap.capture(model, x, layers).activations.values())
        return [normalised(maps, 1).flatten(1) / maps[0, 0].numel() ** 0.5 for maps in found]

    def apart(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        parts = (torch.cdist(a, b).square() for a, b in zip(first, second, strict=True))
        return torch.stack(list(parts)).mean(0)

    def distance(first: Tensor, second: Tensor) -> Tensor:
        with tap.untouched(model), torch.no_grad():
            columns = [read(batch) for batch in torch.split(second, BATCH)]
            rows = (read(batch) for batch in torch.split(first, BATCH))
            return torch.cat([torch.cat([apart(row, column) for column in columns], 1) for row in rows])

    distance.__name__ = f"features of {', '.join(layers)}"
    return distance


def _others(model: Model, layer: str) -> tuple[str, ...]:
    """Return the default layers without the one that gives this layer's units, or the next behind it."""
    names = default_layers(model)
    order = [one.name for one in survey(model)]
    own = next((name for name in names if order.index(name) >= order.index(layer)), names[-1])
    return tuple(name for name in names if name != own) or names


def _peaks(
    model: Model, layer: str, units: Sequence[int], images: Given
) -> tuple[list[int], Float[Tensor, "N n"], ImageReader, tuple[str, ...]]:
    """Return the numbers of the images that could be read, the peak of each unit on each, what read them, and notes.

    Of images that are the same to the network the first one counts: another would be a task beside its own explanation.
    """
    numbers: list[int] = []
    peaks: list[Tensor] = []
    known: dict[bytes, str] = {}
    copies: list[tuple[str, str]] = []
    reading = ImageReader(images, model.input)
    for loaded in reading.batches(BATCH):
        x, new = network_input(loaded, model), []
        for row, one in enumerate(loaded):
            digest = hashlib.sha256(x[row].float().cpu().contiguous().numpy().tobytes()).digest()
            name = one.name or one.entry.name
            if digest in known:
                copies.append((name, known[digest]))
            else:
                known[digest] = name
                new.append(row)
        numbers += [loaded[row].entry.number for row in new]
        maps = tap.capture(model, x, [layer]).activations[layer][:, list(units)]
        peaks.append(maps[new].flatten(2).amax(2).float().cpu())
    notes: tuple[str, ...] = ()
    if copies:
        copy, first = map(printable, copies[0])
        notes = (f"{len(copies):,} images are copies of others, such as {copy} of {first}: each counts once",)
    return numbers, torch.cat(peaks), reading, notes


def _sides(peaks: np.ndarray, tasks: int, held: int, rng: np.random.Generator) -> tuple[list[int], ...]:
    """Return numbers of images: those of the tasks, first all strong and then as many weak; both explanations."""
    # Equal peaks in any order: that of the files may go by class.
    order = rng.permutation(np.flatnonzero(np.isfinite(peaks)))
    order = order[np.argsort(-peaks[order], kind="stable")]
    most = tasks + held
    if len(order) < 2 * most:
        return [], [], []
    strong, weak = rng.permutation(order[held:most]), order[::-1][held:most]
    differ = peaks[strong] > peaks[weak]
    return [*strong[differ].tolist(), *weak[differ].tolist()], order[:held].tolist(), order[::-1][:held].tolist()


def _score(queries: Tensor, near: Tensor, far: Tensor, judge: Distance) -> tuple[float, float, float, float, int]:
    """Return score, soft score, interval and number of tasks; of the queries the first half are the strong ones."""
    distances = judge(queries, torch.cat([near, far])).double().cpu()
    wanted, bad = (len(queries), len(near) + len(far)), int((~distances.isfinite()).sum())
    if distances.shape != wanted or bad:
        got = f"{tuple(distances.shape)} values, {bad} of them not finite"
        raise InnersightError(f"the distance returned {got}; it must return finite ones of the shape {wanted}")
    away = distances[:, : len(near)].mean(1)
    if len(far):
        away = away - distances[:, len(near) :].mean(1)
    count = len(queries) // 2
    margins = away[count:] - away[:count]
    right = float((margins > 0).sum() + 0.5 * (margins == 0).sum())
    spread = float(distances.std(correction=0))
    soft = float(torch.sigmoid(ALPHA * margins / spread).mean()) if spread else 0.5
    return right / count, soft, wilson(math.floor(right), count)[0], wilson(math.ceil(right), count)[1], count


def _checked(model: Model, pixels: Tensor, units: int, what: str) -> Float[Tensor, "n k C H W"]:
    """Return patterns at the size of the network's input, on its device."""
    many = pixels[:, None] if pixels.ndim == 4 else pixels
    bands = model.input.channels
    if many.ndim != 5 or len(many) != units or many.shape[2] != bands or not many.numel():
        raise InnersightError(f"{what} are {tuple(pixels.shape)}; give ({units}, {bands}, H, W) or ({units}, k, ...)")
    if not bool(((many >= 0) & (many <= 1)).all()):
        raise InnersightError(f"{what} range from {float(many.min()):.3g} to {float(many.max()):.3g}; give 0 to 1")
    flat, size = many.flatten(0, 1).to(model.device, torch.float32), (model.input.height, model.input.width)
    if flat.shape[2:] != size:
        flat = F.interpolate(flat, size, mode="bilinear", antialias=True).clamp(0, 1)
    return flat.view(units, -1, *model.input.shape)
