"""Training that withstands small changes of its images: the changes that are hardest for the network as it is."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from innersight.input_spec import InputSpec
from innersight.train.answers import logits_of


def hardest(
    net: nn.Module,
    spec: InputSpec,
    pixels: Tensor,
    targets: Tensor,
    radius: float,
    generator: torch.Generator,
    *,
    steps: int = 2,
) -> Tensor:
    """Return copies of images, changed by little, on which the cross-entropy of `net` is higher.

    pixels : (B, C, H, W) float, 0..1, any device. Returned in the same form, still in 0..1, without a gradient.
    targets : (B,) int64 classes. radius : the largest L2 distance of an image from its copy, over all its values.
    generator : on the CPU whatever the device of the pixels; draws the starts, at a distance uniform in 0..radius.
    steps : of length 1.5 * radius / steps along the gradient, each projected back into the ball and into 0..1.

    Projected gradient ascent (Madry et al. 2018, https://arxiv.org/abs/1706.06083), in an L2 ball as by Engstrom et al.
    (2019, https://arxiv.org/abs/1906.00945). `net` runs in evaluation mode. Afterwards every module is in the mode
    it was in, also after an error; statistics of batch norms and gradients of parameters are as before. An image
    without a gradient stays at its start.
    """
    given = pixels.detach()
    start = torch.randn(given.shape, generator=generator).to(given)
    distance = radius * torch.rand((len(given), 1, 1, 1), generator=generator).to(given)
    changed = (given + distance * _unit(start)).clamp(0, 1)
    with _evaluating(net), torch.enable_grad():
        for _ in range(steps):
            changed.requires_grad_(True)
            # Summed, so that the change of an image does not depend on the size of the batch.
            loss = functional.cross_entropy(logits_of(net, spec.normalise(changed)), targets, reduction="sum")
            (slope,) = torch.autograd.grad(loss, changed)
            moved = changed.detach() + 1.5 * radius / steps * _unit(slope)
            changed = (given + _within(moved - given, radius)).clamp(0, 1)
    return changed


def radius_at(step: int, steps: int, *, whole: float) -> float:
    """Return the radius of step 0..steps-1: linear from a fifth of `whole` to all of it at half of the steps."""
    return whole * min(1.0, 0.2 + 1.6 * step / steps)


def first_whole(epochs: int) -> int:
    """Return the first epoch (from 1) all of whose steps have the whole radius; of one epoch, the one after it."""
    return math.ceil(epochs / 2) + 1


def _unit(x: Tensor) -> Tensor:
    """Scale every image of (B, C, H, W) to length 1; zeros stay."""
    # Gradients of images known well have squares below what float32 holds.
    x = x / x.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    return x / _length(x).clamp_min(1)


def _within(x: Tensor, radius: float) -> Tensor:
    """Shorten what is longer than `radius`."""
    return x * (radius / _length(x).clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1)


def _length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)  # type: ignore[no-any-return]


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    """Inside, every module is in evaluation mode; afterwards in the mode it was in."""
    modes = [(module, module.training) for module in net.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode
