"""Measures the receptive field of every layer, whether its locations reach the class, and what a layer costs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.module_tracker import ModuleTracker

from innersight import tap
from innersight.ambient import DispatchMode
from innersight.layer import ReceptiveField
from innersight.measured import once
from innersight.model import Model
from innersight.quotients import quotient

ENERGY = 0.95


def receptive_fields(model: Model, layers: Sequence[str]) -> dict[str, ReceptiveField]:
    """Return the receptive field of each layer's middle location.

    Size and stride are those of the pixels that the location is wired to: where a gradient of its units is not zero,
    however silent they or the layers before are on the images tried, and though a branch may begin with weights that
    are all zero. The effective part follows Luo et al. 2016 (arXiv:1701.04128): it holds 95% of the energy of the
    gradient itself, on two random images. Where a field reaches the border of the image or is shared by neighbours
    (windows), the stride is that of the grid. Two backward passes for each layer.
    """
    if not layers:
        return {}
    generator = torch.Generator().manual_seed(0)
    with tap.untouched(model), torch.enable_grad():
        with tap.fold_batchnorm():
            x, captured = _reached(model, layers, generator)
            gradient_energy = {layer: _energy(model, captured[layer], x, (0, 0), generator) for layer in layers}
        with tap.wired(model), tap.linearised(), tap.fold_batchnorm():
            x, captured = _reached(model, layers, generator)
            wiring = {layer: _energy(model, captured[layer], x, (0, 1), generator) for layer in layers}
    grids = {layer: (activation.shape[2], activation.shape[3]) for layer, activation in captured.items()}
    return {layer: _field(wiring[layer], gradient_energy[layer].sum(0), grids[layer]) for layer in layers}


def gradients_reach(model: Model, layers: Sequence[str]) -> dict[str, bool]:
    """Return for each layer whether its locations are wired to the logits, by one backward pass.

    So they are where a change at them could change the logits, however silent the units behind them are on the images
    tried; not through weights that are zero.
    """
    generator = torch.Generator().manual_seed(0)
    with tap.untouched(model), torch.enable_grad(), tap.linearised():
        pixels = torch.rand(1, *model.input.shape, generator=generator)
        x = model.input.normalise(pixels).to(model.device, model.dtype).requires_grad_(True)
        try:
            captured = tap.capture(model, x, layers, stop=False)
        except tap.NetworkError:  # a network that runs only without gradients
            return dict.fromkeys(layers, False)
        logits = captured.logits()
        signs = torch.randn(logits.shape[1], generator=generator).to(logits.device, logits.dtype)
        after = {layer: values for layer, values in captured.activations.items() if values.requires_grad}
        if not after or not logits.requires_grad:  # a network that cuts its own gradient
            return dict.fromkeys(layers, False)
        try:
            found = tap.gradients(model, (logits * signs).sum(), list(after.values()), allow_unused=True)
        except tap.NetworkError:
            return dict.fromkeys(layers, False)
    reached = {
        layer: gradient is not None and bool(gradient.any()) for layer, gradient in zip(after, found, strict=True)
    }
    return {layer: reached.get(layer, False) for layer in layers}


def shares(model: Model) -> dict[str, float]:
    """Return each module's share of the multiplications of one forward pass, 0 to 1, by torch's own formulas."""
    counts = _counted(model)
    root = type(model.net).__name__
    total = max(1, counts["Global"])
    return {name: counts[f"{root}.{name}"] / total for name, _ in model.net.named_modules() if name}


def operations(model: Model) -> int:
    """Return the multiplications and additions of one forward pass of one image, by torch's own formulas."""
    return _counted(model)["Global"]


def _counted(model: Model) -> Counter[str]:
    def count() -> Counter[str]:
        with tap.untouched(model), torch.no_grad(), ModuleTracker() as modules, _Operations(modules) as found:
            model.output(torch.zeros(1, *model.input.shape, device=model.device, dtype=model.dtype))
        counts: Counter[str] = found.counts
        return counts

    return once(model, "operations", count)


class _Operations(DispatchMode):
    """Inside, count the operations of every module, as torch's FlopCounterMode does, which imports the compiler."""

    supports_higher_order_operators = True

    def __init__(self, modules: ModuleTracker) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        from torch.utils.flop_counter import flop_registry

        self._modules, self._formulas = modules, flop_registry
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and count it."""
        output = func(*args, **(kwargs or {}))
        formula = self._formulas.get(getattr(func, "overloadpacket", None))
        if formula is not None:
            self.counts.update(dict.fromkeys(self._modules.parents, formula(*args, **(kwargs or {}), out_val=output)))
        return output


def _reached(model: Model, layers: Sequence[str], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Return two random images, and the activations of layers on them with a graph."""
    pixels = torch.rand(2, *model.input.shape, generator=generator)
    x = model.input.normalise(pixels).to(model.device, model.dtype).requires_grad_(True)
    return x, tap.capture(model, x, layers, stop=False).activations


def _energy(
    model: Model, activation: Tensor, x: Tensor, shifts: tuple[int, int], generator: torch.Generator
) -> Float[Tensor, "2 H W"]:
    """Return the squared gradient of two images, each of a location `shifts` steps down and right of the middle one."""
    units, h, w = activation.shape[1:]
    energy = torch.zeros_like(x)
    if activation.requires_grad:
        signs = torch.randn(2, units, generator=generator).to(activation.device, activation.dtype)
        locations = [(min((h - 1) // 2 + shift, h - 1), min((w - 1) // 2 + shift, w - 1)) for shift in shifts]
        summed = torch.stack([activation[i, :, y, x_] @ signs[i] for i, (y, x_) in enumerate(locations)]).sum()
        (energy,) = tap.gradients(model, summed, [x], retain_graph=True)
    # In double precision: the square of a small gradient is no zero.
    return energy.detach().double().square().sum(1).cpu()


def _field(
    wiring: Float[Tensor, "2 H W"], gradient_energy: Float[Tensor, "H W"], grid: tuple[int, int]
) -> ReceptiveField:
    """Return the field from the energy of two neighbours as they are wired, and from the gradient of the first one."""
    # A unit that is silent on all images has no gradient: then its wiring decides.
    gradient_energy = gradient_energy if bool(gradient_energy.any()) else wiring[0]
    rows, columns = (_extent(wiring.sum(1 + side), gradient_energy.sum(side), grid[1 - side]) for side in (1, 0))
    return ReceptiveField(
        (rows[0], columns[0]), (rows[1], columns[1]), (rows[2], columns[2]), (float(rows[3]), float(columns[3]))
    )


def _extent(energy: Tensor, gradient_energy: Tensor, locations: int) -> tuple[int, int, int, float]:
    """Return size, effective size, stride and middle along one side.

    energy : (2, pixels) of two neighbours. gradient_energy : (pixels,), which counts for the effective size.
    """
    pixels = energy.shape[1]
    (first, last), (after, _) = (_ends(row) for row in energy)
    if locations == 1:
        stride = pixels
    else:
        stride = round(pixels / locations)
        # Neighbours in a window share one field, or lie in fields a window apart: then only the grid tells.
        if min(first, after) > 0 and last < pixels - 1 and 0 < after - first <= 2 * stride:
            stride = after - first
    share = quotient(gradient_energy.cumsum(0), gradient_energy.sum())
    outside = (1 - ENERGY) / 2
    start, end = int((share < outside).sum()), int((share < 1 - outside).sum())
    # What the border of the image cuts off would pull the middle of the whole field inwards.
    cut = first == 0 or last == pixels - 1
    middle = (start + end + 1) / 2 if cut else (first + last + 1) / 2
    return last - first + 1, min(end - start + 1, last - first + 1), stride, middle


def _ends(row: Tensor) -> tuple[int, int]:
    locations = row.nonzero().flatten()
    return (int(locations[0]), int(locations[-1])) if len(locations) else (0, -1)
