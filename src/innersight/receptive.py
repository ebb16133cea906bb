"""What a place of a layer sees of the picture, whether it reaches the class, and what a layer costs: measured."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from innersight import tap
from innersight.model import Field, Model

ENERGY = 0.95


def fields(model: Model, layers: Sequence[str]) -> dict[str, Field]:
    """Return the receptive field of each layer's middle place: where the picture has a gradient from its units.

    Size and stride are those of the places where that gradient is not zero, on two random pictures; the effective part
    follows Luo et al. 2016 (arXiv:1701.04128). Where a field reaches the border of the picture or is shared by
    neighbours (windows), the stride is that of the grid. One backward pass for each layer.
    """
    if not layers:
        return {}
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, *model.input.shape, generator=generator)
    with tap.untouched(model), torch.enable_grad():
        x = model.input.normalise(pixels).to(model.device, model.dtype).requires_grad_(True)
        captured = tap.capture(model, x, layers, stop=False)
        return {layer: _field(captured.activations[layer], x, generator) for layer in layers}


def gradients_reach(model: Model, layers: Sequence[str]) -> dict[str, bool]:
    """Say for each layer whether a change at its places changes the logits, by one backward pass."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, *model.input.shape, generator=generator)
    with tap.untouched(model), torch.enable_grad():
        x = model.input.normalise(pixels).to(model.device, model.dtype).requires_grad_(True)
        captured = tap.capture(model, x, layers, stop=False)
        logits = captured.logits()
        signs = torch.randn(logits.shape[1], generator=generator).to(logits.device, logits.dtype)
        after = {layer: values for layer, values in captured.activations.items() if values.requires_grad}
        if not after or not logits.requires_grad:  # a network that cuts its own gradient
            return dict.fromkeys(layers, False)
        found = torch.autograd.grad((logits * signs).sum(), list(after.values()), allow_unused=True)
    reached = {
        layer: gradient is not None and bool(gradient.any()) for layer, gradient in zip(after, found, strict=True)
    }
    return {layer: reached.get(layer, False) for layer in layers}


def shares(model: Model) -> dict[str, float]:
    """Return each module's share of the multiplications of one forward pass, 0 to 1 (torch's flop counter)."""
    counter = FlopCounterMode(display=False)
    with tap.untouched(model), torch.no_grad(), counter:
        model.net(torch.zeros(1, *model.input.shape, device=model.device, dtype=model.dtype))
    counts = {name: sum(by_kind.values()) for name, by_kind in counter.get_flop_counts().items()}
    root = type(model.net).__name__
    total = max(1, counter.get_total_flops())
    return {name: counts.get(f"{root}.{name}", 0) / total for name, _ in model.net.named_modules() if name}


def _field(activation: Tensor, x: Tensor, generator: torch.Generator) -> Field:
    """Differentiate the middle place in the first picture and its neighbour in the second."""
    units, h, w = activation.shape[1:]
    signs = torch.randn(units, generator=generator).to(activation.device, activation.dtype)
    y, x_ = (h - 1) // 2, (w - 1) // 2
    middle = activation[0, :, y, x_] @ signs
    beside = activation[1, :, min(y + 1, h - 1), min(x_ + 1, w - 1)] @ signs
    energy = torch.zeros_like(x)
    if activation.requires_grad:
        (energy,) = torch.autograd.grad(middle + beside, x, retain_graph=True)
    energy = energy.detach().float().square().sum(1).cpu()
    rows, columns = (_extent(energy.sum(axis), n) for axis, n in ((2, h), (1, w)))
    return Field(
        (rows[0], columns[0]), (rows[1], columns[1]), (rows[2], columns[2]), (float(rows[3]), float(columns[3]))
    )


def _extent(energy: Tensor, places: int) -> tuple[int, int, int, float]:
    """Return size, effective size, stride and middle along one side, from the energy (2, pixels) of two neighbours."""
    pixels = energy.shape[1]
    (first, last), (after, _) = (_ends(row) for row in energy)
    if places == 1:
        stride = pixels
    else:
        stride = round(pixels / places)
        # Neighbours in a window share one field, or lie in fields a window apart: then only the grid tells.
        if min(first, after) > 0 and last < pixels - 1 and 0 < after - first <= 2 * stride:
            stride = after - first
    share = energy[0].cumsum(0) / energy[0].sum().clamp(min=torch.finfo(torch.float32).tiny)
    outside = (1 - ENERGY) / 2
    start, end = int((share < outside).sum()), int((share < 1 - outside).sum())
    # What the border of the picture cuts off would pull the middle of the whole field inwards.
    cut = first == 0 or last == pixels - 1
    middle = (start + end + 1) / 2 if cut else (first + last + 1) / 2
    return last - first + 1, min(end - start + 1, last - first + 1), stride, middle


def _ends(row: Tensor) -> tuple[int, int]:
    places = row.nonzero().flatten()
    return (int(places[0]), int(places[-1])) if len(places) else (0, -1)
