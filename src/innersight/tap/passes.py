"""Capture, stop, leaf, replace: one forward pass with something done at layers."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from innersight import ambient
from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.model import Model
from innersight.tap.layout import Layout, LayoutError
from innersight.tap.probe import layouts

Handler = Callable[[Tensor], Tensor | None]


class Reached(BaseException):
    """Ends a forward pass early; not an Exception, so that no network swallows it."""


@dataclass(frozen=True)
class Captured:
    """What one forward pass gave.

    Attributes
    ----------
    activations : dict of str to Tensor
        (B, units, h, w) per layer, as the network computed them, in the order of the forward pass.
    output : Tensor or None
        (B, classes) logits; None when the pass stopped early.

    """

    activations: dict[str, Tensor]
    output: Tensor | None

    __repr__ = brief

    def logits(self) -> Tensor:
        """Return `output` of a pass that ran to the end."""
        if self.output is None:
            raise InnersightError("the forward pass was stopped before the logits")
        return self.output


def layout(model: Model, layer: str) -> Layout:
    """Return the layout of a layer.

    Parameters
    ----------
    model
        The network.
    layer
        Its name; `NAME#2` for the second call of a module that is called several times.

    Returns
    -------
    Layout
        Where the units and the locations are in the layer's output.

    Raises
    ------
    InnersightError
        For an unknown layer, and one that the forward pass does not call.
    LayoutError
        For a layer whose output has no units and locations.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight import tap
    >>> found = tap.layout(ins.load("small:4"), "stage2")
    >>> found.axes, found.units, found.grid
    ('buhw', 8, (20, 20))

    """
    found = layouts(model).get(layer)
    if found is None:
        model.module(layer)
        raise InnersightError(f"layer {layer} of {model.name} was not called in the forward pass; choose another")
    if not isinstance(found, Layout):
        raise LayoutError(f"layer {layer} of {model.name} {found.why}")
    return found


def capture(model: Model, x: Tensor, layers: Sequence[str], *, stop: bool = True) -> Captured:
    """Run network input and return the activations of layers.

    Gradients flow when the caller's grad mode and `x` ask for them.

    Parameters
    ----------
    model
        The network.
    x
        (B, C, H, W) network input.
    layers
        Names of layers; none give the logits alone.
    stop
        End the pass as soon as the last of the layers is known; otherwise it runs to the logits.

    Returns
    -------
    Captured
        The activations, and the logits of a pass that ran to the end.

    Raises
    ------
    InnersightError
        When a layer was never called.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model = ins.load("small:4")
    >>> with tap.untouched(model), torch.no_grad():
    ...     found = tap.capture(model, torch.zeros(2, *model.input.shape), ["stage1"], stop=False)
    >>> found.activations["stage1"].shape, found.logits().shape
    (torch.Size([2, 4, 40, 40]), torch.Size([2, 10]))

    """
    activations: dict[str, Tensor] = {}
    wanted = len(set(layers))

    def reader(layer: str) -> Handler:
        def read(output: Tensor) -> Tensor | None:
            activations[layer] = output
            if stop and len(activations) == wanted:
                raise Reached
            # The network continues with a copy: a later in-place activation must not change what was read.
            return output.clone()

        return read

    output = None
    with _handled(model, {layer: reader(layer) for layer in layers}):
        if wanted or not stop:
            with suppress(Reached):
                output = model.logits(x)
    _require(model, layers, activations)
    return Captured(activations, output)


def read(
    model: Model, x: Tensor, readers: Mapping[str, Callable[[Tensor], None]], *, stop: bool = True
) -> Tensor | None:
    """Run network input and hand each layer's activation to its reader at the moment it is there.

    Nothing is copied or kept, so a reader must neither change the activation nor hold on to it: what follows in the
    network may write over it.

    Parameters
    ----------
    model
        The network.
    x
        (B, C, H, W) network input.
    readers
        By layer, a function that is called with the activation (B, units, h, w).
    stop
        End the pass at the last layer; otherwise it runs to the logits.

    Returns
    -------
    torch.Tensor or None
        (B, classes) logits of a pass that ran to the end.

    Raises
    ------
    InnersightError
        When a layer was never called.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model, means = ins.load("small:4"), []
    >>> with tap.untouched(model), torch.no_grad():
    ...     x = torch.zeros(2, *model.input.shape)
    ...     tap.read(model, x, {"stage1": lambda activation: means.append(activation.mean((2, 3)))})
    >>> means[0].shape
    torch.Size([2, 4])

    """
    reached: set[str] = set()

    def handler(layer: str) -> Handler:
        def hand_over(output: Tensor) -> None:
            readers[layer](output)
            reached.add(layer)
            if stop and len(reached) == len(readers):
                raise Reached

        return hand_over

    output = None
    with _handled(model, {layer: handler(layer) for layer in readers}), suppress(Reached):
        output = model.logits(x)
    _require(model, list(readers), reached)
    return output


def leaf(model: Model, x: Tensor, layers: Sequence[str], *, stop: bool = False) -> Captured:
    """Run network input to the logits with a graph that starts at the first of the layers to be reached.

    Nothing before that layer is differentiated or kept. `torch.autograd.grad(logits, activations)` works for every
    layer named, and the backward pass ends at the first.

    Parameters
    ----------
    model
        The network.
    x
        (B, C, H, W) network input.
    layers
        Names of layers.
    stop
        End the pass at the last of the layers.

    Returns
    -------
    Captured
        The activations, and the logits of a pass that ran to the end; all with the graph.

    Raises
    ------
    InnersightError
        When a layer was never called.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model = ins.load("small:4")
    >>> with tap.untouched(model):
    ...     found = tap.leaf(model, torch.zeros(1, *model.input.shape), ["stage4"])
    ...     (gradient,) = torch.autograd.grad(found.logits()[0, 3], found.activations["stage4"])
    >>> gradient.shape
    torch.Size([1, 16, 10, 10])

    """
    activations: dict[str, Tensor] = {}
    wanted = len(set(layers))

    def starter(layer: str) -> Handler:
        def start(output: Tensor) -> Tensor:
            if not activations:
                torch.set_grad_enabled(True)
                output = output.detach().clone().requires_grad_(True)
            activations[layer] = output
            if stop and len(activations) == wanted:
                raise Reached
            # An in-place activation may follow: it gets a copy of its own.
            return output.clone()

        return start

    output = None
    # no_grad restores the caller's grad mode on exit, whatever the handler switched on.
    with _handled(model, {layer: starter(layer) for layer in layers}), torch.no_grad(), suppress(Reached):
        output = model.logits(x)
    _require(model, layers, activations)
    return Captured(activations, output)


def replace(model: Model, x: Tensor, layer: str, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Run network input to the logits with the output of a layer replaced.

    Parameters
    ----------
    model
        The network.
    x
        (B, C, H, W) network input.
    layer
        Name of the layer.
    change
        From the layer's output (B, units, h, w) to what takes its place, of the same shape.

    Returns
    -------
    torch.Tensor
        (B, classes) logits.

    Raises
    ------
    InnersightError
        When the layer was never called.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model = ins.load("small:4")
    >>> with tap.untouched(model), torch.no_grad():
    ...     tap.replace(model, torch.rand(1, *model.input.shape), "stage4", torch.zeros_like).shape
    torch.Size([1, 10])

    """
    reached: dict[str, Tensor] = {}

    def handler(output: Tensor) -> Tensor:
        reached[layer] = output
        return change(output)

    with _handled(model, {layer: handler}):
        output = model.logits(x)
    _require(model, [layer], reached)
    return output


@contextmanager
def changing(model: Model, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Inside, what layers give in passes of the network is replaced; see `replace`.

    Parameters
    ----------
    model
        The network.
    changes
        By layer: from its output (B, units, h, w) to what takes its place, of the same shape.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model = ins.load("small:4")
    >>> x = torch.rand(1, *model.input.shape)
    >>> with tap.untouched(model), torch.no_grad(), tap.changing(model, {"stage4": torch.zeros_like}):
    ...     model.logits(x).shape
    torch.Size([1, 10])

    """
    with _handled(model, changes):
        yield


@contextmanager
def _handled(model: Model, handlers: Mapping[str, Handler]) -> Iterator[None]:
    """Call each handler with the layer's activation at its call; a tensor it returns takes its place."""
    found = {layer: layout(model, layer) for layer in handlers}
    with ExitStack() as stack:
        for layer, handler in handlers.items():
            module, call = model.call(layer)
            stack.callback(module.register_forward_hook(_hook(found[layer], handler, call)).remove)
        yield


def _hook(read: Layout, handler: Handler, call: int) -> Callable[[nn.Module, Any, Any], Any]:
    seen = 0

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen != call:
            return None
        with ambient.plain():
            changed = handler(read.read(output))
        return None if changed is None else read.write(changed, output)

    return hook


def _require(model: Model, layers: Sequence[str], found: Collection[str]) -> None:
    for layer in layers:
        if layer not in found:
            raise InnersightError(f"layer {layer} of {model.name} was not called in the forward pass; choose another")
