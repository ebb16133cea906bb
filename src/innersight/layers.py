"""Which layers a network has, in the order of its forward pass, and which of them tell the story."""

from collections.abc import Sequence

import torch
from torch import nn

from innersight import tap
from innersight.errors import InnersightError
from innersight.model import Layer, Model, Role

_WORDS: dict[str, Role] = {"Norm": "norm", "Pool": "pool", "Conv": "conv", "Linear": "linear"}


def layers(model: Model, *, all: bool = False) -> tuple[Layer, ...]:
    """Return the layers whose output has units: (B, units, h, w) or (B, units), in the order they are reached.

    Convolutions, linear layers and blocks (modules made of several); with `all` also activations, norms and pools.
    Found by one forward pass on a grey picture.
    """
    found = survey(model)
    return found if all else tuple(layer for layer in found if layer.role in ("conv", "linear", "block"))


def survey(model: Model) -> tuple[Layer, ...]:
    """Return every readable layer of `model`, by one forward pass; see `layers`."""
    shapes: dict[str, tuple[int, ...]] = {}
    names = [name for name, _ in model.net.named_modules() if name]
    with tap.untouched(model), torch.no_grad():
        x = torch.zeros(1, *model.input.shape, device=model.device, dtype=model.dtype)
        for name, output in tap.outputs(model, x, names):
            try:
                shape = tuple(tap.canonical(output, name).shape)
            except tap.LayoutError:
                continue
            # More rows than pictures: windows or tokens, not maps.
            if shape[0] == len(x):
                shapes[name] = shape
    return tuple(_describe(model, name, shape) for name, shape in shapes.items())


def story(model: Model, count: int = 5) -> tuple[str, ...]:
    """Return the names of up to `count` layers that show how the network sees, from the input to the last grid.

    The parts at the top of the network are taken, containers opened where their parts differ; a convolution with its
    norm and activation counts once, after the activation; pools do not count. `count` of these are spread evenly over
    the depth, first and last included. Raises InnersightError for a network without any map larger than 1x1.
    """
    known = {layer.name: layer for layer in survey(model) if layer.grid != (1, 1)}
    steps: list[Layer] = []
    for layer in _open(model.net, "", known):
        if layer.role == "pool":
            continue
        refines = layer.role in ("norm", "activation")
        if refines and steps and (steps[-1].units, steps[-1].grid) == (layer.units, layer.grid):
            steps.pop()
        steps.append(layer)
    if not steps:
        raise InnersightError(f"{model.name} has no layer with a grid; name the layers to look at")
    if len(steps) > count:
        last = len(steps) - 1
        steps = [steps[round(i * last / (count - 1))] for i in range(count)] if count > 1 else [steps[-1]]
    return tuple(step.name for step in steps)


def last_grid(model: Model) -> tuple[str, str]:
    """Return the layer that class heatmaps are read from, and why: the last one that still has places."""
    name = story(model, 1)[0]
    layer = next(layer for layer in survey(model) if layer.name == name)
    reason = f"the last layer that still has places ({layer.grid[0]}x{layer.grid[1]}) before they are pooled away"
    return name, reason


def check_layers(model: Model, names: Sequence[str]) -> tuple[Layer, ...]:
    """Return the Layer of each name, in the order given. Raises InnersightError for unknown or unreadable ones."""
    known = {layer.name: layer for layer in survey(model)}
    for name in names:
        model.module(name)
        if name not in known:
            raise InnersightError(
                f"layer {name} of {model.name} has no units that can be read; see `innersight layers`"
            )
    return tuple(known[name] for name in names)


def _describe(model: Model, name: str, shape: tuple[int, ...]) -> Layer:
    module = model.module(name)
    kind = type(module).__name__
    parameters = sum(p.numel() for p in module.parameters())
    return Layer(name, kind, _role(module), shape[1], (shape[2], shape[3]), parameters)


def _role(module: nn.Module) -> Role:
    kind = type(module).__name__
    named = next((role for word, role in _WORDS.items() if word in kind), None)
    # A norm or pool may hold its activation as a child; anything else with children is a block.
    if named in ("norm", "pool"):
        return named
    if next(module.children(), None) is not None:
        return "block"
    if type(module).__module__ == nn.ReLU.__module__:
        return "activation"
    return named or "other"


def _open(net: nn.Module, prefix: str, known: dict[str, Layer]) -> list[Layer]:
    """Return the readable children of `net`; a Sequential of differing parts is replaced by them."""
    found: list[Layer] = []
    for name, child in net.named_children():
        path = f"{prefix}.{name}" if prefix else name
        inner = _open(child, path, known) if isinstance(child, nn.Sequential | nn.ModuleList) else []
        if len({(layer.units, layer.grid) for layer in inner}) > 1 or (inner and path not in known):
            found.extend(inner)
        elif path in known:
            found.append(known[path])
        elif not prefix or not inner:
            found.extend(_open(child, path, known))
    order = list(known)
    return sorted(found, key=lambda layer: order.index(layer.name))
