"""Which layers a network has, in the order of its forward pass, and which of them are the default."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from innersight import measured, tap
from innersight.call import public
from innersight.errors import InnersightError
from innersight.layer import Layer, Role
from innersight.model import Model
from innersight.receptive_field import gradients_reach, receptive_fields, shares

STEPS = 5
FEWEST = 3
_WORDS: dict[str, Role] = {"Norm": "norm", "Pool": "pool", "Conv": "conv", "Linear": "linear", "Dense": "linear"}


@public()
def layers(model: Model, *, all: bool = False, measure: bool = True) -> tuple[Layer, ...]:
    """List the layers whose output has units, in the order they are reached.

    Parameters
    ----------
    model
        The network, see `innersight.load`.
    all
        Also list activations, norms and pools. By default only convolutions, linear layers, blocks (modules made of
        several) and sets of concepts.
    measure
        Measure the receptive field and the share of compute of each layer: two backward passes for each. False saves
        them.

    Returns
    -------
    tuple of Layer
        Name, kind, units, grid, parameters, and, where measured, receptive field and share of compute.

    Raises
    ------
    NetworkError
        Where the network fails on an image of its own input size.

    Notes
    -----
    Layers are found by forward passes on random images, see `innersight.tap.Layout`.

    Examples
    --------
    >>> import innersight as ins
    >>> found = ins.layers(ins.load("small:8"), measure=False)
    >>> [(layer.name, layer.units, layer.grid) for layer in found][:2]
    [('stem.0', 8, (40, 40)), ('stem', 8, (40, 40))]

    """
    found = survey(model)
    kept = found if all else tuple(layer for layer in found if layer.role in ("conv", "linear", "block", "concept"))
    if not measure:
        return kept
    seen, costs = receptive_fields(model, [layer.name for layer in kept]), shares(model)
    return tuple(
        replace(layer, receptive_field=seen[layer.name], compute_share=costs.get(layer.name)) for layer in kept
    )


def survey(model: Model) -> tuple[Layer, ...]:
    """Return every readable layer of `model`, looked up once; see `layers`."""
    return measured.once(model, "survey", lambda: _surveyed(model))


def _surveyed(model: Model) -> tuple[Layer, ...]:
    found, modules = tap.layouts(model), dict(model.net.named_modules())
    modules |= {one.name: one.module for one in model.inserted}
    return tuple(
        # NAME#2 is the second call of NAME.
        _describe(name, layout, modules[name if name in modules else name.rpartition("#")[0]])
        for name, layout in found.items()
        if isinstance(layout, tap.Layout)
    )


def unreadable(model: Model) -> dict[str, str]:
    """Return the layers that are called but have no units and no grid, each with the reason."""
    return {name: layout.why for name, layout in tap.layouts(model).items() if isinstance(layout, tap.Unreadable)}


def default_layers(model: Model, count: int = STEPS) -> tuple[str, ...]:
    """Return the layers that functions use when none are named: from the input to the last grid.

    Parameters
    ----------
    model
        The network.
    count
        How many layers at most.

    Returns
    -------
    tuple of str
        Names, in the order of the forward pass.

    Raises
    ------
    InnersightError
        For a network without any readable layer.

    Notes
    -----
    The parts at the top of the network are taken; containers are opened where their parts differ, and blocks too while
    there are fewer than three parts. A convolution with its norm and activation counts once, after the activation;
    pools and modules without weights do not count. `count` of these are spread evenly over the depth, the first and the
    last included. In a network without any map larger than 1x1, such as an MLP, they are layers of single values.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.layers import default_layers
    >>> default_layers(ins.load("toon"))
    ('stem', 'stage1', 'stage2', 'stage3', 'stage4')

    """
    steps: Sequence[Layer] = _steps(model) or _flat(model)
    if len(steps) > count:
        last = len(steps) - 1
        steps = [steps[round(i * last / (count - 1))] for i in range(count)] if count > 1 else [steps[-1]]
    # The last one is where the class is read, see `last_grid`.
    return tuple(dict.fromkeys([*(_rectified_in(model, step) for step in steps[:-1]), steps[-1].name]))


def _rectified_in(model: Model, step: Layer) -> str:
    """Return the last layer inside a part that responds or does not, where the part's own output is signed."""
    if not _ranges(model)[step.name][0] < 0:
        return step.name
    inside = [
        layer.name
        for layer in survey(model)
        if layer.name.startswith(f"{step.name}.")
        and layer.grid == step.grid
        and layer.units >= step.units
        and (layer.parameters or layer.role == "activation")
        and _rectified(model, layer.name)
        # A gate such as a sigmoid is positive everywhere.
        and _ranges(model)[layer.name][0] == 0
    ]
    return inside[-1] if inside else step.name


def last_grid(model: Model) -> tuple[str, str]:
    """Return the layer that class heatmaps are read from, and why: the last one whose grid still reaches the class.

    In a network that reads the class from a class token no gradient reaches the grid of the last block: it is skipped.
    Measured once. Raises InnersightError for a network without any map larger than 1x1.
    """
    return measured.once(model, "last grid", lambda: _last_grid(model))


def _last_grid(model: Model) -> tuple[str, str]:
    known = {layer.name: layer for layer in survey(model)}
    steps = [step.name for step in _steps(model)]
    if not steps:
        raise InnersightError(without_grid(model))
    reached = gradients_reach(model, steps)
    name = next((step for step in reversed(steps) if reached[step]), steps[-1])
    grid = f"{known[name].grid[0]}x{known[name].grid[1]}"
    if not any(reached.values()):
        return (
            name,
            f"the last layer with a grid ({grid}); no gradient of the class reaches it",
        )
    if name == steps[-1]:
        return name, f"the last layer with a grid ({grid}), before pooling"
    behind = "only other tokens are read" if known[steps[-1]].prefix else "locations do not affect the scores"
    return name, f"the last layer whose grid ({grid}) reaches the class: after it, {behind}"


def last_rectified(model: Model) -> str:
    """Return the last layer of the grid of `last_grid` that gives no negative activation, or else `last_grid` itself.

    Linear bottlenecks end blocks with signed activations, and a convolution with its activation follows the last of
    them: there the class is read. Measured once, on random pixels. Raises as `last_grid` does.
    """
    return measured.once(model, "last rectified", lambda: _last_rectified(model))


def _last_rectified(model: Model) -> str:
    first, known = last_grid(model)[0], {layer.name: layer for layer in survey(model)}
    names = [name for name, layer in known.items() if layer.grid == known[first].grid and layer.role != "concept"]
    return next((name for name in reversed(names[names.index(first) :]) if _rectified(model, name)), first)


def _rectified(model: Model, name: str) -> bool:
    """Return whether a layer gives no negative activation, and not the same one everywhere (as a branch begun at 0)."""
    low, high = _ranges(model).get(name, (0.0, 0.0))
    return 0 <= low < high


def _ranges(model: Model) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest activation of each layer on random pixels, measured once."""
    return measured.once(model, "ranges", lambda: _measured_ranges(model))


def _measured_ranges(model: Model) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    names = [layer.name for layer in survey(model) if layer.role != "concept"]
    pixels = torch.rand(4, *model.input.shape, generator=torch.Generator().manual_seed(0))
    x = model.input.normalise(pixels).to(model.device, model.dtype)
    with tap.untouched(model), torch.no_grad():
        tap.read(model, x, {name: partial(_keep_range, found, name) for name in names})
    return found


def _keep_range(found: dict[str, tuple[float, float]], name: str, maps: Tensor) -> None:
    found[name] = (float(maps.amin()), float(maps.amax()))


def has_grid(model: Model) -> bool:
    """Return whether any layer has maps larger than 1x1."""
    return bool(_steps(model))


def without_grid(model: Model) -> str:
    """Return the sentence on a network without any map larger than 1x1: what its layers give instead."""
    flat = [layer.name for layer in survey(model)]
    reasons = unreadable(model)
    why = [f"{_some(flat)} give{'s' * (len(flat) == 1)} single values for the whole image"] if flat else []
    why += [f"{name} {reasons[name]}" for name in list(reasons)[:1]]
    return f"no layer of {model.name} has maps larger than 1x1{': ' * bool(why)}{'; '.join(why)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_layers(model: Model, names: Sequence[str]) -> tuple[Layer, ...]:
    """Return the Layer of each name, in the order given. Raises InnersightError for unknown or unreadable ones."""
    known = {layer.name: layer for layer in survey(model)}
    for name in names:
        tap.layout(model, name)
    return tuple(known[name] for name in names)


def _describe(name: str, layout: tap.Layout, module: nn.Module) -> Layer:
    parameters = sum(p.numel() for p in module.parameters())
    return Layer(
        name,
        type(module).__name__,
        _role(module),
        layout.units,
        layout.grid,
        parameters,
        layout.prefix,
        layout.axes,
        layout.part,
    )


def _role(module: nn.Module) -> Role:
    if isinstance(module, tap.ConceptUnits):
        return "concept"
    kind = type(module).__name__
    named = next((role for word, role in _WORDS.items() if word in kind), None)
    # A norm or pool may hold its activation as a child; anything else with children is a block.
    if named in ("norm", "pool"):
        return named
    if next(module.children(), None) is not None:
        return "block"
    # torch.nn.modules.activation, timm.layers.activations, keras.src.layers.activations ...
    if "activation" in type(module).__module__:
        return "activation"
    return named or "other"


def _steps(model: Model) -> Sequence[Layer]:
    """Return all steps with maps that default layers are chosen from, looked up once."""
    return measured.once(model, "steps", lambda: tuple(_opened(model)))


def _opened(model: Model) -> list[Layer]:
    known = {layer.name: layer for layer in survey(model)}
    order = {name: i for i, name in enumerate(known)}
    parts = _open(model.net, "", known)
    while len(_merged(parts, order)) < FEWEST:
        inside = {part.name: _open(model.module(part.name), part.name, known) for part in parts if "#" not in part.name}
        richer = [part for part in parts if len(inside.get(part.name, ())) > 1]
        if not richer:
            break
        opened = max(richer, key=lambda part: part.parameters)
        parts = [part for part in parts if part is not opened] + inside[opened.name]
    return _merged(parts, order)


def _flat(model: Model) -> list[Layer]:
    """Return the steps of a network that has no maps: what learns, each with the norm and activation behind it."""
    known = survey(model)
    order = {layer.name: i for i, layer in enumerate(known)}
    steps = _merged([layer for layer in known if layer.role in ("conv", "linear", "norm", "activation")], order)
    if not steps:
        raise InnersightError(f"{model.name} has no readable layers: {without_grid(model)}")
    return steps


def _merged(parts: Sequence[Layer], order: Mapping[str, int]) -> list[Layer]:
    """Return the parts in the order of the forward pass, each with the norm and activation behind it counted once."""
    steps: list[Layer] = []
    for part in sorted(parts, key=lambda part: order[part.name]):
        idle = part.role == "other" and not part.parameters
        if part.role == "pool" or (idle and len(parts) > 1):
            continue
        refines = part.role in ("norm", "activation")
        if refines and steps and (steps[-1].units, steps[-1].grid) == (part.units, part.grid):
            steps.pop()
        steps.append(part)
    return steps


def _open(net: nn.Module, prefix: str, known: Mapping[str, Layer], *, maps_only: bool = False) -> list[Layer]:
    """Return the readable children of `net` that have locations; a Sequential of differing parts is replaced by them.

    maps_only : inside a module that pools its locations away, tokens are only what is asked for the pooling.
    """
    found: list[Layer] = []
    for name, child in net.named_children():
        path = f"{prefix}.{name}" if prefix else name
        container = isinstance(child, nn.Sequential | nn.ModuleList)
        layer = known.get(path)
        has_locations = layer is not None and layer.grid != (1, 1) and not (maps_only and "p" in layer.axes)
        pools = maps_only or (layer is not None and layer.grid == (1, 1))
        inner = _open(child, path, known, maps_only=pools) if container or not has_locations else []
        if layer is not None and has_locations and len({(part.units, part.grid) for part in inner}) <= 1:
            found.append(layer)
        else:
            found.extend(inner)
    return found
