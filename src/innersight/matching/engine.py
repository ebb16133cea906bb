"""`match`: the units of two checkpoints, by their responses to the same images."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.activations import BATCH
from innersight.call import public
from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.inputs import ImageReader, network_input, repeatable
from innersight.layers import check_layers, default_layers, survey
from innersight.matching.assign import assign
from innersight.matching.moments import PairMoments, total
from innersight.matching.result import LayerMatch, Matching
from innersight.model import Model
from innersight.quotients import quotient

GROUPS = 8
SHIFTS = 4
CHANCE = 0.05


@public()
def match(
    before: Model,
    after: Model,
    images: Any,
    layers: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> Matching:
    """Match the units of two checkpoints of one network by their responses to the same images.

    Parameters
    ----------
    before
        The first checkpoint.
    after
        The second checkpoint, of the same network.
    images
        Anything that holds images, see `innersight.inputs.entries`; at least two.
    layers
        Names of layers; None for the default layers of `after`.
    seed
        Of the order in which the images are read.

    Returns
    -------
    Matching
        For every layer the predecessor of every unit, with the correlation and its interval.

    Raises
    ------
    InnersightError
        For networks whose layers differ (it lists them), unknown layers, maps that are not finite, and fewer than two
        images.
    ImageError
        When no image could be read.

    Notes
    -----
    In one pass over the images, with memory that does not grow with their number, every unit's map before is correlated
    with every unit's map after, over all locations of all images (Li et al. 2015, arXiv:1511.07543). Pairs are one to
    one, with the highest sum of correlations (Kuhn 1955, doi:10.1002/nav.3800020109) among those beyond chance. Chance
    is measured: the maps before are paired with the maps after of *other* images, and 95% of the units then have no
    partner above the threshold. Intervals are by the jackknife over eight groups of images, on Fisher's z. `cka` is the
    similarity of the layers as a whole (linear CKA, Kornblith et al. 2019, arXiv:1905.00414).

    Both networks see the images as `after` crops them, each normalised with its own mean and std.

    Examples
    --------
    >>> import innersight as ins
    >>> import torch
    >>> model = ins.load("small:8")
    >>> found = ins.match(model, model, torch.rand(2, 3, 80, 80), ["stage1"])
    >>> found["stage1"].counts()["moved"]
    0

    """
    names = _layers(before, after, layers)
    spec = _as_before(before.input, after.input)
    gathered: dict[str, _Gathered] = {name: _Gathered() for name in names}
    read = 0
    # Shuffled: neighbours in a folder are often similar, and chance is measured on neighbours.
    reading = ImageReader(repeatable(images), after.input, shuffle=seed)
    with ExitStack() as stack, torch.no_grad():
        stack.enter_context(tap.untouched(before))
        stack.enter_context(tap.untouched(after))
        for several in reading.batches(BATCH):
            first = tap.capture(before, network_input(several, before, after.input, spec), names).activations
            second = tap.capture(after, network_input(several, after), names).activations
            for name in names:
                gathered[name].add(first[name], second[name], read, name)
            read += len(several)
    if read < 2:
        raise InnersightError("match needs at least two images")
    found = {name: gathered[name].matched(name) for name in names}
    notes = (*_notes(before.input, after.input), *reading.notes)
    return Matching(before, after, read, found, notes, reading.skipped)


@dataclass(eq=False)
class _Gathered:
    """What is kept of one layer while the images go by.

    offsets : (2, units), near the mean of every unit, subtracted first. groups : of images, for the jackknife.
    chance : for each shift, of maps beside those of other images. inner : products of units within either network.
    low, high : (2, units), the range of every unit.
    """

    offsets: Tensor | None = None
    groups: dict[int, PairMoments] = field(default_factory=dict)
    chance: dict[int, PairMoments] = field(default_factory=dict)
    inner: list[PairMoments] = field(default_factory=list)
    low: Tensor | None = None
    high: Tensor | None = None

    def add(
        self, before: Float[Tensor, "B units h w"], after: Float[Tensor, "B units h w"], start: int, name: str
    ) -> None:
        """Add the maps of a batch; start : the number of its first image."""
        if before.shape != after.shape:
            raise InnersightError(f"{name} gives {tuple(before.shape[1:])} before and {tuple(after.shape[1:])} after")
        a, b = (maps.double().cpu().flatten(2).transpose(1, 2) for maps in (before, after))
        if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise InnersightError(f"{name} contains values that are not finite, so its units cannot be matched")
        low, high = (torch.stack([getattr(maps, end)((0, 1)) for maps in (a, b)]) for end in ("amin", "amax"))
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)
        if self.offsets is None:
            self.offsets = torch.stack([a.mean((0, 1)), b.mean((0, 1))])
        a, b = a - self.offsets[0], b - self.offsets[1]
        for group in range(min(GROUPS, len(a))):
            own = [i for i in range(len(a)) if (start + i) % GROUPS == (start + group) % GROUPS]
            _grow(self.groups, (start + group) % GROUPS, a[own].flatten(0, 1), b[own].flatten(0, 1))
        for shift in range(1, min(SHIFTS, len(a) - 1) + 1):
            _grow(self.chance, shift, a.roll(shift, 0).flatten(0, 1), b.flatten(0, 1))
        inner = [PairMoments.of(maps.flatten(0, 1), maps.flatten(0, 1)) for maps in (a, b)]
        self.inner = [one + two for one, two in zip(self.inner, inner, strict=True)] if self.inner else inner

    def matched(self, name: str) -> LayerMatch:
        """Return the pairs of units and the evidence for each."""
        assert self.low is not None
        assert self.high is not None
        everything = total(list(self.groups.values()))
        correlation = everything.correlation()
        silent = self.low == self.high
        # Added up without the group and not taken off: of a unit that only this one excites, that would leave rounding.
        groups = list(self.groups.values())
        left = [total(groups[:i] + groups[i + 1 :]).correlation() for i in range(len(groups)) if len(groups) > 2]
        chance = [moments.correlation()[:, ~silent[1]].amax(0) for moments in self.chance.values()]
        threshold = float(torch.cat(chance).quantile(1 - CHANCE)) if chance and chance[0].numel() else 0.0
        whole = [inner.covariance().norm() for inner in self.inner]
        cka = float(quotient(everything.covariance().norm() ** 2, whole[0] * whole[1]))
        return assign(name, correlation, left, threshold, silent, cka)


def _grow(kept: dict[int, PairMoments], key: int, a: Tensor, b: Tensor) -> None:
    found = PairMoments.of(a, b)
    kept[key] = kept[key] + found if key in kept else found


def _layers(before: Model, after: Model, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the layers to match. Raises InnersightError naming those that differ."""
    if not layers:
        # Which layers are the default depends on activations too, and so differs between checkpoints of one network.
        first, second = default_layers(before), default_layers(after)
        known = [{layer.name for layer in survey(model)} for model in (before, after)]
        differ = [name for name in dict.fromkeys((*first, *second)) if not all(name in own for own in known)]
        if differ:
            raise InnersightError(
                f"{before.name} and {after.name} are not the same network: {', '.join(differ[:6])} are not in both; "
                "match two checkpoints of one network, or name layers that both have"
            )
        layers = second
    names = tuple(dict.fromkeys(layers))
    pairs = list(zip(check_layers(before, names), check_layers(after, names), strict=True))
    differ = [f"{one.name} ({one.units} and {two.units} units)" for one, two in pairs if one.units != two.units]
    if differ:
        raise InnersightError(f"{before.name} and {after.name} are not the same network: {', '.join(differ)}")
    return names


def _as_before(before: InputSpec, after: InputSpec) -> InputSpec:
    """Return the input contract of `after` with the mean and std of `before`."""
    if before.channels != after.channels:
        raise InnersightError(f"the networks take {before.channels} and {after.channels} bands: they cannot be matched")
    return replace(after, mean=before.mean, std=before.std)


def _notes(before: InputSpec, after: InputSpec) -> tuple[str, ...]:
    sides = [f"{spec.height}x{spec.width}" for spec in (before, after)]
    return (f"before was made for {sides[0]}; both were shown {sides[1]}",) if sides[0] != sides[1] else ()
