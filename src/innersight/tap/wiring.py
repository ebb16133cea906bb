"""Wiring: which convolutions and matrix products lead from one layer to another, seen by following tensors."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from innersight.brief import brief
from innersight.model import DEFEATED, Model
from innersight.nested import leaves
from innersight.tap.batchnorm import batch_norm, scale_and_shift
from innersight.tap.layout import Layout
from innersight.tap.passes import layout
from innersight.tap.probe import layouts
from innersight.tap.state import untouched

IMAGE = "input"
"""What the image is called where a layer reads it: its units are the bands."""

_PRODUCTS: frozenset[Callable[..., Any]] = frozenset({F.conv1d, F.conv2d, F.conv3d, F.linear})
_GROUPS_AT = 6
DRAWS = 3  # random inputs by which a module is seen to keep units apart: on one, a unit may be silent
_Key = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Wire:
    """The weights of one convolution or matrix product, for each pair of a unit it gives and a unit it reads.

    source : the layer whose output it reads, exactly; `IMAGE` for the image. target : the layer that computes it.
    norm : (targets, sources) float32, the L2 norm of the weights between two units; 0 for pairs in different groups.
    total : likewise, their sum: what a map that is the same everywhere is multiplied by.
    folded : whether the frozen batch norm that reads the product is folded in.
    """

    source: str
    target: str
    norm: Tensor
    total: Tensor
    folded: bool

    __repr__ = brief


def wires(model: Model, layer: str) -> tuple[Wire | str, tuple[Wire, ...] | str]:
    """Return the weights that give a layer's units, and those that read them; a sentence why where there are none.

    One forward pass in which tensors are followed by their place in memory and the number of times it was written to:
    weights are told only where a convolution or matrix product reads exactly what a layer gave. Layers that keep every
    unit to itself (norms, activations, pools) may lie between the layer and its product: they are found by changing
    one half of the units of what they read after another, so that an effect of any unit on any other would show.
    Weights are those that the product used, whatever made them.

    Raises InnersightError for an unknown layer, LayoutError for one without units.
    """
    layout(model, layer)
    with untouched(model), torch.no_grad():
        trace = _Trace(model)
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


class _Trace(TorchFunctionMode):
    """Which tensors the layers and products of one forward pass read and gave."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = model
        self._layouts = {name: found for name, found in layouts(model).items() if isinstance(found, Layout)}
        self._running: list[str] = [""]
        self._products: list[_Product] = []
        self._scales: dict[_Key, Tensor] = {}
        self._padded: dict[_Key, _Key] = {}
        self._calls: list[_Call] = []
        self._names: dict[_Key, list[str]] = {}
        self._keys: dict[str, _Key] = {}
        held: list[Tensor] = []
        self._held = held  # no memory may be used twice during the pass
        self._run()
        held.clear()

    def _run(self) -> None:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.rand(1, *self._model.input.shape, generator=generator)
        x = self._model.input.normalise(pixels).to(self._model.device, self._model.dtype)
        self._names[self._key(x)] = [IMAGE]
        self._layouts[IMAGE] = Layout("buhw", x.shape[1], (x.shape[2], x.shape[3]))
        calls: Counter[nn.Module] = Counter()
        reading: list[tuple[torch.Size, _Key] | None] = []

        def enter(module: nn.Module, inputs: Any, given: Any, name: str) -> None:
            calls[module] += 1
            self._running.append(name if calls[module] == 1 else f"{name}#{calls[module]}")
            plain = len(inputs) == 1 and not given and isinstance(inputs[0], Tensor)
            reading.append((inputs[0].shape, self._key(inputs[0])) if plain else None)

        def leave(module: nn.Module, _inputs: Any, output: Any) -> None:
            layer, read = self._running.pop(), reading.pop()
            found = self._layouts.get(layer)
            gave = dict(leaves(output)).get(found.part) if found is not None else None
            if gave is None:
                return
            self._keys[layer] = self._key(gave)
            if read is not None and read[1] == self._keys[layer]:
                return  # it hands on what it was given
            self._names.setdefault(self._keys[layer], []).append(layer)
            if read is not None and isinstance(output, Tensor):
                self._calls.append(_Call(layer, module, *read, self._keys[layer]))

        with ExitStack() as stack:
            for name, module in self._model.net.named_modules():
                if name:
                    hook = lambda module, inputs, given, name=name: enter(module, inputs, given, name)  # noqa: E731
                    stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
                    stack.callback(module.register_forward_hook(leave).remove)
            with self:
                self._model.output(x)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Take note of products and of frozen batch norms."""
        given = dict(kwargs or {})
        if func in _PRODUCTS:
            read, weight = (args[0] if args else given["input"]), (args[1] if len(args) > 1 else given["weight"])
            groups = args[_GROUPS_AT] if len(args) > _GROUPS_AT else given.get("groups", 1)
            before, layer = self._key(read), self._running[-1]
            before = self._padded.get(before, before)
            output = func(*args, **given)
            self._products.append(_Product(layer, weight, groups, read.shape, before, self._key(output)))
            return output
        if func is F.pad:
            output = func(*args, **given)
            # As convolutions with padding of their own do.
            if output.ndim == 4 and output.shape[:2] == args[0].shape[:2]:
                self._padded[self._key(output)] = self._key(args[0])
            return output
        asked = batch_norm(args, given) if func is F.batch_norm else None
        if asked is not None:
            self._scales[self._key(asked["input"])] = scale_and_shift(asked)[0]
        return func(*args, **given)

    def incoming(self, layer: str) -> Wire | str:
        """Return the weights that give the units of a layer."""
        keys = {self._keys[layer]}
        for call in reversed(self._calls):
            if call.gave in keys and call.read not in keys and self._keeps_units(call):
                keys.add(call.read)
        made = [product for product in self._products if product.gave in keys]
        if not made:
            inside = [product.layer for product in self._products if product.layer.startswith(f"{layer}.")]
            there = f"; ask for one inside it, such as {' or '.join(inside[-2:])}" if inside else ""
            return f"{layer} is not the output of one convolution or matrix: no weights lead into it alone{there}"
        return self._wire(made[-1])

    def outgoing(self, layer: str) -> tuple[Wire, ...] | str:
        """Return the weights that read the units of a layer."""
        keys = {self._keys[layer]}
        for call in self._calls:
            if call.read in keys and call.gave not in keys and self._keeps_units(call):
                keys.add(call.gave)
        found = [self._wire(product) for product in self._products if product.read in keys]
        readable = tuple(wire for wire in found if isinstance(wire, Wire))
        unreadable = [why for why in found if isinstance(why, str)]
        nothing = f"no convolution or matrix reads {layer} as it is: it is added to, joined with or changed before"
        return readable or (unreadable[0] if unreadable else nothing)

    def _wire(self, product: _Product) -> Wire | str:
        names = self._names.get(product.read)
        if names is None:
            return f"what {product.layer} reads is the output of no layer: a sum, joined layers, or a function of them"
        weight = self._by_unit(product, self._layouts[names[-1]])
        if weight is None:
            return f"{product.layer} does not read the units of {names[-1]} one by one"
        scale = self._scales.get(product.gave)
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
        names, gives = self._names.get(call.read), self._layouts[call.layer]
        if names is None or self._layouts[names[-1]].units != gives.units:
            return False
        inside = set(call.module.modules())
        if any(self._model.module(product.layer) in inside for product in self._products if product.layer):
            return False
        source = self._layouts[names[-1]]
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
        one, other = torch.randn(2, *call.shape, generator=generator).to(self._model.device, self._model.dtype)
        units = torch.tensor(kept, device=one.device)
        other = other.index_copy(axis, units, one.index_select(axis, units))
        first, second = (gives.read(call.module(x)) for x in (one, other))
        return torch.equal(first[:, units], second[:, units])

    def _key(self, tensor: Tensor) -> _Key:
        """Know a tensor by its memory, and by how often that was written to: one written in place is another one."""
        self._held.append(tensor)
        written = 0 if tensor.is_inference() else tensor._version  # a network may run a part of itself so
        return tensor.untyped_storage().data_ptr(), int(tensor.storage_offset()), tensor.numel(), written


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
