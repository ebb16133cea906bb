"""Methods that Captum brings: the extra `captum`."""

import copy
import random
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from innersight import tap
from innersight.errors import InnersightError
from innersight.heatmaps.request import MethodOutput, Request, UnfitError, methods
from innersight.quotients import precise, quotient, scaled

SPARSE = 0.01
SHARED = 1e-3
"""By how much, of the largest value, relevance may differ from what it must be."""
ELEMENTWISE = (nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.SELU, nn.CELU, nn.Mish)


@methods.register(
    "DeepLIFT",
    source="Shrikumar et al. 2017, arXiv:1704.02685",
    use="For shares that sum to the target, faster; needs activation functions that are modules of their own.",
    unit="TARGET",
    reads="captum",
)
def deeplift(request: Request) -> MethodOutput:
    """Differences from a grey image propagated back by their shares.

    By Captum, rescale rule, from 0 of the network input. The completeness gap, how far the sum is from the
    difference of the two ends, is a fact of the result: large where a nonlinearity is no module, or one that has no
    rule.
    """
    values = _attribute(request, "DeepLift")
    return MethodOutput(values, facts={"completeness gap": request.completeness_gap(values)})


@methods.register(
    "GradientSHAP",
    source="Lundberg and Lee 2017, arXiv:1705.07874",
    use="For expected shares, where a single path of integrated gradients is too particular.",
    unit="TARGET",
    reads="captum",
    passes=16,
)
def gradient_shap(request: Request, *, samples: int = 16, noise: float = 0.1) -> Float[Tensor, "B H W"]:
    """Integrated gradients at random points and with noise.

    By Captum, from 0 of the network input.

    Parameters
    ----------
    request
        The batch.
    samples
        Random points of each image.
    noise
        Standard deviation, in units of the network input.

    """
    return _attribute(request, "GradientShap", n_samples=samples, stdevs=noise)


@methods.register(
    "LIME",
    source="Ribeiro et al. 2016, arXiv:1602.04938",
    use="For any network, with a coarse and sparse map; unstable with few samples.",
    unit="TARGET",
    reads="captum",
    passes=256,
    quick={"samples": 64, "cells": 3},
    may_be_empty=True,
)
def lime(request: Request, *, cells: int = 8, samples: int = 256) -> Float[Tensor, "B H W"]:
    """The weights of a sparse linear model of the target over hidden cells.

    By Captum; hidden cells become 0 of the network input. The L1 penalty of the linear model is 0.01 of the target's
    standard deviation over the samples.

    Parameters
    ----------
    request
        The batch.
    cells
        Cells along each side, 2 or more.
    samples
        Random masks.

    """
    return _attribute(request, "Lime", cells, n_samples=samples, perturbations_per_eval=16)


@methods.register(
    "KernelSHAP",
    source="Lundberg and Lee 2017, arXiv:1705.07874",
    use="For fair shares that sum to the target, on a coarse grid; needs some ten samples for each cell.",
    unit="TARGET",
    reads="captum",
    passes=512,
    quick={"samples": 64, "cells": 3},
    may_mix=True,
)
def kernel_shap(request: Request, *, cells: int = 7, samples: int = 512) -> Float[Tensor, "B H W"]:
    """Shapley values of cells by weighted regression.

    By Captum; hidden cells become 0 of the network input.

    Parameters
    ----------
    request
        The batch.
    cells
        Cells along each side, 2 or more.
    samples
        Random masks.

    """
    return _attribute(request, "KernelShap", cells, n_samples=samples, perturbations_per_eval=16)


@methods.register(
    "Layer-wise relevance",
    source="Bach et al. 2015, doi:10.1371/journal.pone.0130140",
    use="For plain stacks of convolutions, ReLUs, pooling and linear layers; Captum has no rules for the rest.",
    unit="TARGET",
    reads="captum",
)
def lrp(request: Request) -> Float[Tensor, "B H W"]:
    """The target distributed backwards, layer by layer.

    By Captum, epsilon rule with an epsilon that only keeps 0 from being divided
    by. Then the relevance is the input times a gradient in which every activation function has the slope f(z) / z
    (Ancona et al. 2018, arXiv:1711.06104): that is checked, and a network that adds, joins or averages between its
    modules, where Captum does not follow, is refused.
    """
    values = _attribute(request, "LRP")
    expected = _modified_gradient(request)
    if not bool(((values - expected).abs().amax((1, 2)) <= SHARED * expected.abs().amax((1, 2))).all()):
        raise UnfitError(
            f"Captum's LRP shares relevance out from module to module, and {request.model.name} computes something "
            "between its modules, such as a sum or a mean: its result is not the layer-wise relevance"
        )
    return values


class _Scored(nn.Module):
    """The network with its target for an output: one number for each row."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        # A copy: Captum leaves attributes and hooks behind on some networks.
        self.net = copy.deepcopy(request.model.net)
        self._model = request.model.on(self.net)
        # Here and not in the first pass: to know it, the network is run.
        self._target = request.shared.target
        self.number = 0

    def forward(self, x: Tensor) -> Tensor:
        # What a network draws in its forward pass must not change what Captum draws next.
        with torch.random.fork_rng(_devices(x)):
            captured = tap.capture(self._model, x, self._target.layers, stop=False)
        return self._target.score(captured, torch.full((len(x),), self.number, device=x.device))


def _attribute(request: Request, name: str, cells: int = 0, **options: Any) -> Tensor:
    attr = _captum()
    x = request.x
    scored = _Scored(request)
    attribution = getattr(attr, name)(scored)
    if cells:
        options["feature_mask"] = _cells(cells, x)
    if name == "Lime":
        attribution.interpretable_model = _Linear(SPARSE)
    elif name == "KernelShap":
        attribution.interpretable_model = _Linear(0.0)
    if name != "LRP":
        options["baselines"] = torch.zeros_like(x[:1])
    found = []
    # Captum draws from the global generators.
    with ExitStack() as stack:
        stack.callback(np.random.set_state, np.random.get_state())
        stack.callback(random.setstate, random.getstate())
        stack.enter_context(torch.random.fork_rng(_devices(x)))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        stack.enter_context(_rescaled())
        for number in range(len(x)):
            # One at a time, so that an image's map does not depend on its neighbours.
            torch.manual_seed(request.seed)
            np.random.seed(request.seed)
            random.seed(request.seed)
            scored.number = number
            if name == "LRP":
                _give_rules(scored.net)
            try:
                one = x[number : number + 1].clone().requires_grad_(True)
                values = precise(attribution.attribute(one, **options).detach())
                # A cell has one value, and Captum repeats it for every colour.
                found.append(values[:, 0] if cells else values.sum(1))
            except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
                line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise UnfitError(f"Captum's {name} cannot read {request.model.name}: {line}") from error
    return torch.cat(found)


def _devices(x: Tensor) -> list[torch.device]:
    """Return the devices with a random stream of their own that are at work."""
    return [x.device] if x.device.type == "cuda" else []


def _cells(cells: int, x: Tensor) -> Tensor:
    """Return (1, 1, H, W) the number of the cell that each pixel is in."""
    if not 2 <= cells <= min(x.shape[2:]):
        raise InnersightError(f"cells={cells}: give 2 to {min(x.shape[2:])}")
    y, x_ = (torch.arange(side, device=x.device) * cells // side for side in x.shape[2:])
    return (y[:, None] * cells + x_)[None, None]


class _Linear:
    """A weighted linear model of the target, as Captum asks for one; its values may have any size.

    sparse : the L1 penalty, as a share of the standard deviation of the target over the samples; 0 for least squares.
    """

    def __init__(self, sparse: float) -> None:
        self._sparse = sparse
        self._coefficients = torch.zeros(0)

    def fit(self, samples: "Iterable[Sequence[Tensor]]") -> None:
        """Take batches of which cells were seen (n, cells), the target (n,), and how much each counts (n,)."""
        from sklearn.linear_model import Lasso, LinearRegression

        seen, target, weights = (torch.cat(part).cpu().double() for part in zip(*samples, strict=True))
        weights = weights.flatten()
        middle = (weights * target).sum() / weights.sum()
        size = ((weights * scaled(target - middle, 0).square()).sum() / weights.sum()).sqrt()
        size = size * (target - middle).abs().amax()
        model = Lasso(alpha=self._sparse) if self._sparse else LinearRegression()
        model.fit(seen.numpy(), quotient(target - middle, size).numpy(), sample_weight=weights.numpy())
        self._coefficients = torch.from_numpy(model.coef_)[None] * size

    def representation(self) -> Tensor:
        """Return the coefficient of every cell, (1, cells)."""
        return self._coefficients


def _give_rules(net: nn.Module) -> None:
    """Give every module that is linear, or only reorders values, Captum's epsilon rule with the smallest epsilon.

    Its own, 1e-9, takes from activations of that size what they are due, and it has no rule for reordering.
    """
    from captum.attr._core import lrp
    from captum.attr._utils.lrp_rules import EpsilonRule

    for module in net.modules():
        if type(module) in (*lrp.SUPPORTED_LAYERS_WITH_RULES, nn.Flatten, nn.Unflatten, nn.Identity):
            module.rule = EpsilonRule(epsilon=torch.finfo(torch.float32).tiny)


def _modified_gradient(request: Request) -> Float[Tensor, "B H W"]:
    """Return the input times its gradient, in which Tanh has the slope f(z) / z."""
    scored = _Scored(request)
    for module in scored.net.modules():
        if isinstance(module, nn.Tanh):
            module.register_forward_hook(lambda _m, given, output: given[0] * quotient(output, given[0], 1.0).detach())
    found = []
    for number in range(len(request.x)):
        scored.number = number
        one = request.x[number : number + 1].clone().requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(scored(one).sum(), one)
        found.append((precise(one.detach()) * precise(slope)).sum(1))
    return torch.cat(found)


@contextmanager
def _rescaled() -> Iterator[None]:
    """Let Captum's DeepLIFT apply its rescale rule to elementwise activations that it would pass over silently.

    Its own rule takes any two values less than 1e-10 apart for the same.
    """
    from captum.attr._core import deep_lift

    rules = deep_lift.SUPPORTED_NON_LINEAR
    before = dict(rules)
    least = torch.finfo(torch.float32).tiny
    rules.update({kind: partial(rule, eps=least) for kind, rule in before.items()})
    rules.update({kind: _rescale for kind, rule in before.items() if rule is deep_lift.nonlinear})
    rules.update(dict.fromkeys(ELEMENTWISE, _rescale))
    try:
        yield
    finally:
        rules.clear()
        rules.update(before)


def _rescale(
    module: nn.Module, inputs: Tensor, outputs: Tensor, grad_input: Tensor, grad_output: Tensor, eps: float = 0.0
) -> Tensor:
    """Return the rescale rule: what the output changes per change of the input, from the baseline to the image.

    inputs, outputs : images, then baselines. Where the two are so near to each other that their difference is
    rounding, the slope takes its place: the mean of those at both ends.
    """
    del module, eps
    (one, other), (high, low) = inputs.chunk(2), outputs.chunk(2)
    near = (one - other).abs() <= torch.finfo(one.dtype).eps ** 0.5 * torch.maximum(one.abs(), other.abs())
    slope = sum(grad_input.chunk(2)) / 2
    share = quotient(high - low, one - other)
    return torch.cat([torch.where(near, slope, part * share) for part in grad_output.chunk(2)])


def _captum() -> Any:
    try:
        from captum import attr
    except ImportError as error:
        raise InnersightError("this method comes from Captum: pip install 'innersight[captum]'") from error
    return attr
