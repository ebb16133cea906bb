"""`connections`: weights by following tensors, effects by gradients between two layers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from innersight import tap
from innersight.activations import BATCH
from innersight.address import Address, ClassAddress, parse
from innersight.call import public
from innersight.connections.link import CLASSES, Link
from innersight.connections.result import Connections
from innersight.errors import InnersightError, printable
from innersight.inputs import ImageEntry, ImageReader, is_empty, network_input
from innersight.layers import check_layers, default_layers
from innersight.model import Model

RESPONSES = ("mean", "peak")
LISTED = 8  # units without effect that a note lists


@public(layer="address", layers="address")
def connections(
    model: Model,
    address: str,
    images: Any = (),
    *,
    before: str | None = None,
    after: str | None = None,
    response: str = "mean",
) -> Connections:
    """Return the strongest incoming and outgoing connections of units, by weight and, over images, by attribution.

    Parameters
    ----------
    model
        The network.
    address
        Units: `layer:7`, `layer:0-3`, or `layer` for all of its units.
    images
        Anything that holds images, for attribution; see `innersight.inputs.entries`. None: by weight only.
    before
        Layer whose units drive these; None for the default layer before.
    after
        Layer whose units these drive; None for the default layer after, or the classes after the last.
    response
        Of the unit that is driven: "mean" of its map over locations, or its "peak".

    Returns
    -------
    Connections
        Links to all units of the layers at the other end, and notes on the links that are missing.

    Raises
    ------
    InnersightError
        For an unknown layer or unit, a location or a class as the address, another `response`, and layers out of order.
    ImageError
        When no image could be read.

    Notes
    -----
    By weight: of the convolution or matrix that produces the units, and of those that read them; see
    `innersight.tap.wires`. By attribution: gradient times activation (Shrikumar et al. 2016, arXiv:1605.01713) between
    two layers. The effect of unit i on unit j is the contribution of i's map to the response of j, to first order;
    exact where the layers between are affine. Positive effects activate, negative ones inhibit.

    Effects on units take one backward pass for each unit asked for, those of units one more through a pass that was
    differentiated, whatever the number of units at the other end.

    Examples
    --------
    >>> import innersight as ins
    >>> found = ins.connections(ins.load("small:8"), "stage2:0")
    >>> print(found.links[0])
    by weight, to stage3.conv1, batch norm folded in

    """
    if response not in RESPONSES:
        raise InnersightError(f"response={response!r}: choose {' or '.join(RESPONSES)}")
    layer, units = _units(model, address)
    (described,) = check_layers(model, [layer])
    check_layers(model, [name for name in (before, after) if name is not None])
    links, notes = _weights(model, layer, units)
    if is_empty(images):
        if before is not None or after is not None:
            raise InnersightError("before= and after= apply to attribution: give images too")
        return Connections(model, layer, units, (), response, links, notes)
    first, last = _neighbours(model, layer)
    before, after = before or first, after or last
    names: list[str] = []
    incoming: list[Tensor] = []
    outgoing: list[Tensor] = []
    best: dict[int, tuple[float, ImageEntry]] = {}
    reading = ImageReader(images, model.input)
    with tap.untouched(model):
        for loaded in reading.batches(BATCH):
            x, entries = network_input(loaded, model), [one.entry for one in loaded]
            names += [printable(entry.name) for entry in entries]
            if before is not None:
                incoming.append(into(model, x, before, layer, units, response=response))
            outgoing.append(out_of(model, x, layer, after, units, response=response))
            _keep_best(best, entries, _peaks(model, x, layer), units)
    effects: list[Link] = []
    if before is None:
        notes += (f"{layer} is the first default layer: name before= to see which units drive it",)
    else:
        effects.append(Link.of_effects("in", before, _finite(torch.cat(incoming), before, layer)))
    effects.append(Link.of_effects("out", after, _finite(torch.cat(outgoing), layer, after)))
    for link in effects:
        without = [unit for unit, size in zip(units, link.size, strict=True) if not size.any()]
        if without:
            some = f"{layer}:{','.join(map(str, without[:LISTED]))}" + (" and others" if len(without) > LISTED else "")
            own = layer if len(without) == described.units else some
            ends = (link.layer, own) if link.direction == "in" else (own, link.layer)
            notes += ("{} has no effect on {}".format(*ends),)
    shown = tuple(best[unit][1] for unit in units)
    notes, every = (*notes, *reading.notes), (*effects, *links)
    return Connections(model, layer, units, tuple(names), response, every, notes, reading.skipped, shown)


def _peaks(model: Model, x: Float[Tensor, "B C H W"], layer: str) -> Float[Tensor, "B units"]:
    with torch.no_grad():
        return tap.capture(model, x, [layer]).activations[layer].amax((2, 3)).float().cpu()


def _keep_best(
    best: dict[int, tuple[float, ImageEntry]],
    entries: Sequence[ImageEntry],
    peaks: Float[Tensor, "B units"],
    units: Sequence[int],
) -> None:
    values, rows = peaks.max(0)
    for unit in units:
        if unit not in best or float(values[unit]) > best[unit][0]:
            best[unit] = (float(values[unit]), entries[int(rows[unit])])


def _finite(effects: Tensor, source: str, target: str) -> Tensor:
    broken = int((~effects.flatten(1).isfinite().all(1)).sum())
    if broken:
        raise InnersightError(
            f"the effects of {source} on {target} are not finite on {broken} of {len(effects)} images"
        )
    return effects


def into(
    model: Model, x: Float[Tensor, "B C H W"], source: str, target: str, units: Sequence[int], *, response: str
) -> Float[Tensor, "B units sources"]:
    """Return the effects of every unit of `source` on `units` of `target`, for each image; float32, on the CPU."""
    with _between():
        start, end = _ends(model, x, source, target, response)
        if not end.requires_grad:
            return torch.zeros(len(x), len(units), start.shape[1])
        found = []
        for unit in units:
            (slope,) = tap.gradients(model, end[:, unit].sum(), [start], retain_graph=True)
            found.append((slope * start.detach()).sum((2, 3)))
    return torch.stack(found, 1).float().cpu()


def out_of(
    model: Model, x: Float[Tensor, "B C H W"], source: str, target: str, units: Sequence[int], *, response: str
) -> Float[Tensor, "B units targets"]:
    """Return the effects of `units` of `source` on every unit of `target`, for each image; float32, on the CPU.

    A gradient is linear in what it weighs the outputs by; differentiated by those weights, along one unit's map, it is
    the change of all outputs at once. In a network with a function that torch cannot differentiate twice
    (`hardsigmoid`) each output has a backward pass of its own.
    """
    with _between():
        start, end = _ends(model, x, source, target, response)
        if not end.requires_grad:
            return torch.zeros(len(x), len(units), end.shape[1])
        try:
            found = _all_outputs(model, start, end, units)
        except tap.NetworkError:
            found = _each_output(model, *_ends(model, x, source, target, response), units)
    return found.float().cpu()


def _all_outputs(model: Model, start: Tensor, end: Tensor, units: Sequence[int]) -> Float[Tensor, "B units targets"]:
    weights = torch.zeros_like(end, requires_grad=True)
    (slope,) = tap.gradients(model, end, [start], weights, create_graph=True)
    found = []
    for unit in units:
        along = torch.zeros_like(start)
        along[:, unit] = start[:, unit].detach()
        (changes,) = tap.gradients(model, slope, [weights], along, retain_graph=True)
        found.append(changes)
    return torch.stack(found, 1)


def _each_output(model: Model, start: Tensor, end: Tensor, units: Sequence[int]) -> Float[Tensor, "B units targets"]:
    own = start[:, list(units)].detach()
    found = []
    for output in range(end.shape[1]):
        (slope,) = tap.gradients(model, end[:, output].sum(), [start], retain_graph=True)
        found.append((slope[:, list(units)] * own).sum((2, 3)))
    return torch.stack(found, 2)


def _ends(
    model: Model, x: Float[Tensor, "B C H W"], source: str, target: str, response: str
) -> tuple[Float[Tensor, "B sources h w"], Float[Tensor, "B targets"]]:
    """Return the maps of one layer, and the responses of another with a graph that starts there."""
    scores = target == CLASSES
    captured = tap.leaf(model, x, [source] if scores else [source, target], stop=not scores)
    if next(iter(captured.activations)) != source:
        raise InnersightError(f"{source} does not come before {target}: give layers in the order of the network")
    start = captured.activations[source]
    if scores:
        end = captured.logits()
    else:
        locations = captured.activations[target].flatten(2)
        end = locations.mean(2) if response == "mean" else locations.max(2).values
    return start, end


@contextmanager
def _between() -> Iterator[None]:
    """Inside, batch norms are cheap to differentiate and attention can be differentiated twice."""
    with tap.fold_batchnorm(), sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        yield


def _units(model: Model, address: str) -> tuple[str, tuple[int, ...]]:
    found = parse(address)
    asked = [one for one in found if isinstance(one, Address) and one.location is None]
    if len(asked) < len(found):
        what = "a class" if isinstance(found[0], ClassAddress) else "a location"
        raise InnersightError(
            f"{address!r} names {what}, and connections are those of units: write layer:unit or layer"
        )
    layer = asked[0].layer
    (described,) = check_layers(model, [layer])
    if asked[0].unit is None:
        return layer, tuple(range(described.units))
    units = tuple(dict.fromkeys(one.unit for one in asked if one.unit is not None))
    beyond = [unit for unit in units if unit >= described.units]
    if beyond:
        raise InnersightError(f"{layer} has no unit {beyond[0]}; its units are 0-{described.units - 1}")
    return layer, units


def _weights(model: Model, layer: str, units: tuple[int, ...]) -> tuple[tuple[Link, ...], tuple[str, ...]]:
    incoming, outgoing = tap.wires(model, layer)
    links, notes = [], []
    if isinstance(incoming, str):
        notes.append(f"by weight, incoming: {incoming}")
    else:
        links.append(Link.of_weights("in", incoming, list(units)))
    if isinstance(outgoing, str):
        notes.append(f"by weight, outgoing: {outgoing}")
    else:
        links += [Link.of_weights("out", wire, list(units)) for wire in outgoing]
    return tuple(links), tuple(notes)


def _neighbours(model: Model, layer: str) -> tuple[str | None, str]:
    """Return the default layers before and after a layer; the classes after the last."""
    order = {name: number for number, name in enumerate(tap.layouts(model))}
    steps = default_layers(model)
    before = [step for step in steps if order[step] < order[layer]]
    after = [step for step in steps if order[step] > order[layer]]
    return before[-1] if before else None, after[0] if after else CLASSES
