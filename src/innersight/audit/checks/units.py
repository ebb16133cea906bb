"""Units that do nothing, that are stuck, or that all do the same, and what they cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from innersight import tap
from innersight.audit.checks import NotCheckedError, Report, checks
from innersight.audit.finding import Effect, Finding
from innersight.audit.subject import BATCH, Subject
from innersight.layer import Layer
from innersight.layers import survey
from innersight.receptive_field import shares

IMAGES = 500  # half of them of either half of the images
SAMPLES = 1024  # values of each unit that are correlated
SAME = 0.999  # correlation of duplicates
STUCK, NEAR = 0.99, 0.01  # share of values at a bound of an activation, and how near, as a share of its range
FEWEST = 30  # images that confirm
LISTED = 4
BOUNDS = {"Sigmoid": (0.0, 1.0), "Hardsigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Hardtanh": (-1.0, 1.0)}
LIMITS = (
    "Only outputs of modules are read: where an activation is a function, units that it silences are not seen. Units "
    "may be active on images of another kind."
)


@checks.register("Units", order=70, limits=LIMITS)
def units(subject: Subject) -> Report:
    """Count dead, saturated and duplicated units of all layers with weights, and their share of the compute.

    Dead: the output is the same at all locations of all images, there or behind the norm and activation that follow.
    Saturated: 99% of the values are at a bound of a sigmoid or tanh. Duplicated: the outputs of two units correlate by
    more than 0.999.
    """
    chains = _chains(subject)
    if not chains:
        raise NotCheckedError("no layer with weights can be read")
    rows = _rows(subject)
    read = _read(subject, chains, rows)
    costs = shares(subject.model)
    enough = min(int(half.sum()) for half in (subject.suggests[rows], ~subject.suggests[rows])) >= FEWEST
    found = []
    for kind in KINDS:
        counts = {name: int(kind.count(chain, read)) for name, chain in chains.items()}
        if any(counts.values()):
            found.append(_finding(kind, counts, chains, costs, len(rows), confirmed=enough))
    total = sum(chain[0].units for chain in chains.values())
    return Report(found, f"{total:,} units of {len(chains)} layers, on {len(rows):,} images")


def _rows(subject: Subject) -> list[int]:
    """Return images of both halves, as many of either as there are."""
    rng, found = subject.rng(70), []
    for half in (subject.suggests, ~subject.suggests):
        index = half.nonzero()[:, 0].numpy()
        found += rng.permutation(index)[: IMAGES // 2].tolist()
    return sorted(found)


def _chains(subject: Subject) -> dict[str, list[Layer]]:
    """Return each layer with weights but that of the classes, by name, with the norms and activations behind it."""
    found: dict[str, list[Layer]] = {}
    last = None
    for layer in survey(subject.model):
        if layer.role in ("conv", "linear"):
            last = layer.name if "#" not in layer.name else None
            if last is not None:
                found[last] = [layer]
        elif last is not None and layer.role in ("norm", "activation"):
            own = found[last]
            if (layer.units, layer.grid) == (own[0].units, own[0].grid):
                own.append(layer)
            else:
                last = None
        else:
            last = None
    names = list(found)
    if names and found[names[-1]][0].role == "linear" and found[names[-1]][0].units == len(subject.model.labels):
        del found[names[-1]]
    return found


@dataclass(eq=False)
class _Values:
    """What was seen of a layer. low, high : of each unit, on the images that suggest and on the others."""

    low: Float[Tensor, "2 units"]
    high: Float[Tensor, "2 units"]
    at_bound: Float[Tensor, " units"]
    count: int = 0
    samples: list[Float[Tensor, "n units"]] = field(default_factory=list)


def _read(subject: Subject, chains: Mapping[str, Sequence[Layer]], rows: list[int]) -> dict[str, _Values]:
    layers = {layer.name: layer for chain in chains.values() for layer in chain}
    found = {
        name: _Values(
            torch.full((2, one.units), torch.inf), torch.full((2, one.units), -torch.inf), torch.zeros(one.units)
        )
        for name, one in layers.items()
    }
    each = -(-SAMPLES // len(rows))
    with tap.untouched(subject.model), torch.no_grad():
        for part in (rows[start : start + BATCH] for start in range(0, len(rows), BATCH)):
            halves = [subject.suggests[part], ~subject.suggests[part]]
            readers: dict[str, Callable[[Tensor], None]] = {}
            for name, layer in layers.items():
                places = _places(subject, layer, each) if name in chains else None
                readers[name] = partial(_add, values=found[name], layer=layer, halves=halves, places=places)
            tap.read(subject.model, subject.tensor(subject.pixels[part]), readers)
            subject.count(len(part), "reading the units of all layers")
    return found


def _places(subject: Subject, layer: Layer, each: int) -> Int[Tensor, " n"]:
    """Return some locations of a layer, the same for all images."""
    every = layer.grid[0] * layer.grid[1]
    return torch.from_numpy(subject.rng(71).permutation(every)[:each])


def _add(
    activation: Float[Tensor, "B units h w"], values: _Values, layer: Layer, halves: Sequence[Bool[Tensor, " B"]],
    places: Int[Tensor, " n"] | None,
) -> None:  # fmt: skip
    maps = activation.flatten(2).float().cpu()
    for side, half in enumerate(halves):
        if half.any():
            values.low[side] = torch.minimum(values.low[side], maps[half].amin((0, 2)))
            values.high[side] = torch.maximum(values.high[side], maps[half].amax((0, 2)))
    if layer.kind in BOUNDS:
        low, high = BOUNDS[layer.kind]
        near = NEAR * (high - low)
        values.at_bound += ((maps <= low + near) | (maps >= high - near)).sum((0, 2))
        values.count += maps.shape[0] * maps.shape[2]
    if places is not None:
        values.samples.append(maps[:, :, places].permute(0, 2, 1).flatten(0, 1))


def _still(values: _Values) -> Bool[Tensor, " units"]:
    """Return which units have one value on the images that suggest, and the same on the others."""
    seen = values.low.isfinite().any(1)
    low, high = values.low[seen].amin(0), values.high[seen].amax(0)
    return high - low <= 1e-6 * torch.maximum(low.abs(), high.abs())


def _dead(chain: Sequence[Layer], read: Mapping[str, _Values]) -> Bool[Tensor, " units"]:
    return torch.stack([_still(read[layer.name]) for layer in chain]).any(0)


def _saturated(chain: Sequence[Layer], read: Mapping[str, _Values]) -> Bool[Tensor, " units"]:
    bounded = [read[layer.name] for layer in chain if read[layer.name].count]
    stuck = [one.at_bound >= STUCK * one.count for one in bounded]
    return torch.stack([*stuck, torch.zeros(chain[0].units, dtype=torch.bool)]).any(0) & ~_dead(chain, read)


def _duplicated(chain: Sequence[Layer], read: Mapping[str, _Values]) -> Bool[Tensor, " units"]:
    """Return which units do what one before them does, up to a scale and a constant."""
    values = torch.cat(read[chain[0].name].samples).double()
    values = values - values.mean(0)
    size = values.norm(dim=0)
    moving = (size > 1e-6 * size.max()) & ~_dead(chain, read)
    values = torch.where(moving, values / size.clamp_min(1e-300), 0.0)
    likeness = (values.T @ values) > SAME
    found: Tensor = torch.tril(likeness, -1).any(1) & moving
    return found


@dataclass(frozen=True)
class _Kind:
    word: str
    what: str
    next: str
    find: Callable[[Sequence[Layer], Mapping[str, _Values]], Bool[Tensor, " units"]]

    def count(self, chain: Sequence[Layer], read: Mapping[str, _Values]) -> int:
        """Return how many units of a layer are of this kind."""
        return int(self.find(chain, read).sum())


KINDS = (
    _Kind("dead", "their output never changes", "Remove them, or train with a lower learning rate", _dead),
    _Kind("saturated", "their activation is at a bound", "Look at the scale of the weights before them", _saturated),
    _Kind("duplicated", "another unit of the layer has the same output", "Remove them, adding up weights", _duplicated),
)


def _finding(
    kind: _Kind, counts: Mapping[str, int], chains: Mapping[str, Sequence[Layer]], costs: Mapping[str, float],
    images: int, *, confirmed: bool,
) -> Finding:  # fmt: skip
    total, every = sum(counts.values()), sum(chain[0].units for chain in chains.values())
    cost = float(np.sum([costs.get(name, 0.0) * count / chains[name][0].units for name, count in counts.items()]))
    own = sorted((name for name, count in counts.items() if count), key=lambda name: -counts[name])
    listed = ", ".join(f"{name} {counts[name]} of {chains[name][0].units}" for name in own[:LISTED])
    more = f" and {len(own) - LISTED} more layers" if len(own) > LISTED else ""
    verb = "unit is" if every == 1 else "units are"
    sentence = (
        f"{total:,} of {every:,} {verb} {kind.word}, {kind.what} on {images:,} images: {listed}{more}. Computing "
    )
    sentence += f"them takes {cost:.1%} of the multiplications"
    return Finding(
        "units", None, sentence, confirmed, Effect(cost, unit="share of the multiplications"), next=kind.next
    )
