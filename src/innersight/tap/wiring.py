"""Wiring: which convolutions and matrix products lead from one layer to another, seen by following tensors."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from innersight.brief import brief
from innersight.model import Model
from innersight.nested import leaves
from innersight.network import DEFEATED
from innersight.tap.batchnorm import batch_norm, scale_and_shift
from innersight.tap.layout import Layout
from innersight.tap.passes import layout
from innersight.tap.probe import layouts
from innersight.untouched import untouched

IMAGE = "input"
"""What the image is called where a layer reads it: its units are the bands."""

_PRODUCTS: frozenset[Callable[..., Any]] = frozenset({F.conv1d, F.conv2d, F.conv3d, F.linear})
_GROUPS_AT = 6
DRAWS = 3  # random inputs by which a module is seen to keep units apart: on one, a unit may be silent
_Key = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Wire:
    """The weights of one convolution or matrix product, for each pair of a unit it gives and a unit it reads.

    Attributes
    ----------
    source : str
        The layer whose output it reads, exactly; `IMAGE` for the image.
    target : str
        The layer that computes it.
    norm : Tensor
        (targets, sources) float32, the L2 norm of the weights between two units; 0 for pairs in different groups.
    total : Tensor
        (targets, sources) float32, their sum: what a map that is the same everywhere is multiplied by.
    folded : bool
        Whether the frozen batch norm that reads the product is folded in.

    """

    source: str
    target: str
    norm: Tensor
    total: Tensor
    folded: bool

    __repr__ = brief


def wires(model: Model, layer: str) -> tuple[Wire | str, tuple[Wire, ...] | str]:
    """Return the weights that give a layer's units, and those that read them.

    Parameters
    ----------
    model
        The network.
    layer
        Name of the layer.

    Returns
    -------
    incoming : Wire or str
        The weights that give the units; a sentence why where there are none.
    outgoing : tuple of Wire, or str
        The weights that read the units; a sentence why where there are none.

    Raises
    ------
    InnersightError
        For an unknown layer.
    LayoutError
        For a layer whose output has no units.

    Notes
    -----
    One forward pass in which tensors are followed by their place in memory and the number of times it was written to:
    weights are found only where a convolution or matrix product reads exactly what a layer gave. Layers that keep every
    unit to itself (norms, activations, pools) may lie between the layer and its product: they are found by changing one
    half of the units of what they read after another, so that an effect of any unit on any other would show. Weights
    are those that the product used, whatever made them. Concepts have the numbers of their directions.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight import tap
    >>> incoming, outgoing = tap.wires(ins.load("small:4"), "stage1.relu1")
    >>> incoming.source, incoming.norm.shape, [wire.target for wire in outgoing]
    ('stem', torch.Size([4, 4]), ['stage1.conv2'])

    """
    layout(model, layer)
    directions = model.directions(layer)
    if directions is not None:
        source = layer.rpartition("~")[0]
        found = Wire(source, layer, directions.abs(), directions, folded=False)
        return found, "the network has no weights of its own for concepts: their effects are measured over images"
    with untouched(model), torch.no_grad():
        trace = _trace(model)
        return trace.incoming(layer), trace.outgoing(layer)


@dataclass(frozen=True, eq=False)
class _Product:
    """One convolution or matrix product. weight : (targets, sources of a group, ...). read, gave : the tensors."""

    layer: str
    weight: Tensor
    groups: int
    shape: torch.Size
    read: _Key
    gave: _Key


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of a module with one tensor and nothing else. read, gave : the tensors."""

    layer: str
    module: nn.Module
    shape: torch.Size
    read: _Key
    gave: _Key


class _Recorder(TorchFunctionMode):
    """Records, during one forward pass, which tensors the layers and products read and gave."""

    def __init__(self, layouts: Mapping[str, Layout]) -> None:
        super().__init__()
        self.layouts = layouts
        self.products: list[_Product] = []
        self.scales: dict[_Key, Tensor] = {}
        self.calls: list[_Call] = []
        self.names: dict[_Key, list[str]] = {}
        self.keys: dict[str, _Key] = {}
        self._running: list[str] = [""]
        self._padded: dict[_Key, _Key] = {}
        self._counts: Counter[nn.Module] = Counter()
        self._reading: list[tuple[torch.Size, _Key] | None] = []
        self._held: list[Tensor] = []  # no memory may be used twice during the pass

    def key(self, tensor: Tensor) -> _Key:
        """Know a tensor by its memory, and by how often that was written to: one written in place is another one."""
        self._held.append(tensor)
        written = 0 if tensor.is_inference() else tensor._version  # a network may run a part of itself so
        return tensor.untyped_storage().data_ptr(), int(tensor.storage_offset()), tensor.numel(), written

    def enter(self, module: nn.Module, inputs: Any, given: Any, name: str) -> None:
        """Take note of a module that begins."""
        self._counts[module] += 1
        self._running.append(name if self._counts[module] == 1 else f"{name}#{self._counts[module]}")
        plain = len(inputs) == 1 and not given and isinstance(inputs[0], Tensor)
        self._reading.append((inputs[0].shape, self.key(inputs[0])) if plain else None)

    def leave(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        """Take note of what a module gave."""
        layer, read = self._running.pop(), self._reading.pop()
        found = self.layouts.get(layer)
        gave = dict(leaves(output)).get(found.part) if found is not None else None
        if gave is None:
            return
        self.keys[layer] = self.key(gave)
        if read is not None and read[1] == self.keys[layer]:
            return  # it hands on what it was given
        self.names.setdefault(self.keys[layer], []).append(layer)
        if read is not None and isinstance(output, Tensor):
            self.calls.append(_Call(layer, module, *read, self.keys[layer]))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Take note of products and of frozen batch norms."""
        given = dict(kwargs or {})
        if func in _PRODUCTS:
            read, weight = (args[0] if args else given["input"]), (args[1] if len(args) > 1 else given["weight"])
            groups = args[_GROUPS_AT] if len(args) > _GROUPS_AT else given.get("groups", 1)
            before, layer = self.key(read), self._running[-1]
            before = self._padded.get(before, before)
            output = func(*args, **given)
            self.products.append(_Product(layer, weight, groups, read.shape, before, self.key(output)))
            return output
        if func is F.pad:
            output = func(*args, **given)
            # As convolutions with padding of their own do.
            if output.ndim == 4 and output.shape[:2] == args[0].shape[:2]:
                self._padded[self.key(output)] = self.key(args[0])
            return output
        asked = batch_norm(args, given) if func is F.batch_norm else None
        if asked is not None:
            self.scales[self.key(asked["input"])] = scale_and_shift(asked)[0]
        return func(*args, **given)


def _trace(model: Model) -> "_Trace":
    """Run one forward pass on random pixels, and return which tensors its layers and products read and gave."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, *model.input.shape, generator=generator)
    x = model.input.normalise(pixels).to(model.device, model.dtype)
    known = {name: found for name, found in layouts(model).items() if isinstance(found, Layout)}
    known[IMAGE] = Layout("buhw", x.shape[1], (x.shape[2], x.shape[3]))
    recorder = _Recorder(known)
    recorder.names[recorder.key(x)] = [IMAGE]
    with ExitStack() as stack:
        for name, module in model.net.named_modules():
            if name:
                enter = partial(recorder.enter, name=name)
                stack.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(recorder.leave).remove)
        with recorder:
            model.output(x)
    return _Trace(model, known, recorder.products, recorder.scales, recorder.calls, recorder.names, recorder.keys)


@dataclass(frozen=True, eq=False)
class _Trace:
    """Which tensors the layers and products of one forward pass read and gave.

    scales : of the frozen batch norm that reads a tensor. names : of the layers that gave a tensor, the innermost
    first. keys : of the tensor that each layer gave.
    """

    model: Model
    layouts: Mapping[str, Layout]
    products: Sequence[_Product]
    scales: Mapping[_Key, Tensor]
    calls: Sequence[_Call]
    names: Mapping[_Key, Sequence[str]]
    keys: Mapping[str, _Key]

    def incoming(self, layer: str) -> Wire | str:
        """Return the weights that give the units of a layer."""
        keys = {self.keys[layer]}
        for call in reversed(self.calls):
            if call.gave in keys and call.read not in keys and self._keeps_units(call):
                keys.add(call.read)
        made = [product for product in self.products if product.gave in keys]
        if not made:
            inside = [product.layer for product in self.products if product.layer.startswith(f"{layer}.")]
            hint = f"; choose a layer inside it, such as {' or '.join(inside[-2:])}" if inside else ""
            return f"{layer} is not the output of one convolution or matrix, so no weights belong to it alone{hint}"
        return self._wire(made[-1])

    def outgoing(self, layer: str) -> tuple[Wire, ...] | str:
        """Return the weights that read the units of a layer."""
        keys = {self.keys[layer]}
        for call in self.calls:
            if call.read in keys and call.gave not in keys and self._keeps_units(call):
                keys.add(call.gave)
        found = [self._wire(product) for product in self.products if product.read in keys]
        readable = tuple(wire for wire in found if isinstance(wire, Wire))
        unreadable = [why for why in found if isinstance(why, str)]
        nothing = (
            f"no convolution or matrix reads {layer} directly: its output is summed, concatenated or changed first"
        )
        return readable or (unreadable[0] if unreadable else nothing)

    def _wire(self, product: _Product) -> Wire | str:
        names = self.names.get(product.read)
        if names is None:
            return f"{product.layer} reads no single layer, but a sum, a concatenation or another function of layers"
        weight = self._by_unit(product, self.layouts[names[-1]])
        if weight is None:
            return f"{product.layer} does not read the units of {names[-1]} one by one"
        scale = self.scales.get(product.gave)
        if scale is not None:
            weight = weight * scale[:, None, None].to(weight.device)
        norm, total = _spread(weight.norm(dim=2), product.groups), _spread(weight.sum(2), product.groups)
        return Wire(names[-1], product.layer, norm.float().cpu(), total.float().cpu(), scale is not None)

    def _by_unit(self, product: _Product, source: Layout) -> Tensor | None:
        """Return the weights (targets, sources of a group, values) float64, None where they are not of single units."""
        weight = product.weight.double()
        axis = 1 if weight.ndim > 2 else len(product.shape) - 1
        same = len(product.shape) == len(source.axes) and source.axes.index("u") == axis
        if same and weight.shape[1] * product.groups == source.units:
            return weight.flatten(2) if weight.ndim > 2 else weight[:, :, None]
        # A map written as one row, unit by unit.
        flat = weight.ndim == len(product.shape) == 2 and source.axes in ("buhw", "bup") and not source.prefix
        fits = flat and weight.shape[1] % source.units == 0
        return weight.reshape(len(weight), source.units, -1) if fits else None

    def _keeps_units(self, call: _Call) -> bool:
        """Say whether each unit of what a module gives follows from the same unit of what it reads."""
        names, gives = self.names.get(call.read), self.layouts[call.layer]
        if names is None or self.layouts[names[-1]].units != gives.units:
            return False
        inside = set(call.module.modules())
        if any(self.model.module(product.layer) in inside for product in self.products if product.layer):
            return False
        source = self.layouts[names[-1]]
        if len(call.shape) not in (2, len(source.axes)):
            return False
        axis = 1 if len(call.shape) == 2 else source.axes.index("u")
        try:
            return all(
                self._untouched(call, gives, axis, kept, seed) for seed in range(DRAWS) for kept in _halves(gives.units)
            )
        except DEFEATED:
            return False

    def _untouched(self, call: _Call, gives: Layout, axis: int, kept: list[int], seed: int) -> bool:
        """Say whether the units `kept` of what a module gives stay as they are when all others of its input change."""
        generator = torch.Generator().manual_seed(seed)
        one, other = torch.randn(2, *call.shape, generator=generator).to(self.model.device, self.model.dtype)
        units = torch.tensor(kept, device=one.device)
        other = other.index_copy(axis, units, one.index_select(axis, units))
        first, second = (gives.read(call.module(x)) for x in (one, other))
        return torch.equal(first[:, units], second[:, units])


def _halves(units: int) -> list[list[int]]:
    """Return halves of the units, so that of any two units each is once in a half that lacks the other.

    >>> _halves(3)
    [[0, 2], [1], [0, 1], [2]]
    """
    halves = [
        [unit for unit in range(units) if (unit >> bit) % 2 == side]
        for bit in range(max(1, (units - 1).bit_length()))
        for side in (0, 1)
    ]
    return [half for half in halves if half]


def _spread(values: Float[Tensor, "targets some"], groups: int) -> Float[Tensor, "targets sources"]:
    """Return a row for each target over all sources: those of other groups are 0."""
    if groups == 1:
        return values
    targets, some = values.shape
    wide = values.new_zeros(targets, groups, some)
    own = torch.arange(targets, device=values.device)
    wide[own, own // (targets // groups)] = values
    return wide.flatten(1)
