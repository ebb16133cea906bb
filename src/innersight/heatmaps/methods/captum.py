"""Methods that Captum brings: the extra `captum`."""

import copy
import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from innersight import tap
from innersight.errors import InnersightError
from innersight.heatmaps.request import Answer, Request, UnfitError, register

ELEMENTWISE = (nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.SELU, nn.CELU, nn.Mish)


@register("captum", "TARGET")
def deeplift(request: Request) -> Answer:
    """DeepLIFT: differences from grey carried back by their shares (Shrikumar et al. 2017, arXiv:1704.02685).

    When to use: a faster way to shares that sum to the target; needs activations that are modules of their own.
    By Captum, rescale rule, from 0 of the network input. The completeness gap, how far the sum is from the difference
    of the two ends, is a fact of the result: large where a nonlinearity is no module, or one that has no rule.
    """
    values = _ask(request, "DeepLift")
    return Answer(values, facts={"completeness gap": request.completeness_gap(values)})


@register("captum", "TARGET")
def gradient_shap(request: Request, *, samples: int = 16, noise: float = 0.1) -> Float[Tensor, "B H W"]:
    """GradientSHAP: integrated gradients at random points and with noise (Lundberg and Lee 2017, arXiv:1705.07874).

    When to use: expected shares where one path of integrated gradients is too particular.
    By Captum, from 0 of the network input. samples : of each picture. noise : standard deviation, in network input.
    """
    return _ask(request, "GradientShap", n_samples=samples, stdevs=noise)


@register("captum", "TARGET", slow=True)
def lime(request: Request, *, cells: int = 8, samples: int = 256) -> Float[Tensor, "B H W"]:
    """LIME: the weights of a sparse linear model of the target over hidden cells (Ribeiro et al. 2016).

    When to use: any network, with a rough and few-worded answer; unstable with few samples.
    (arXiv:1602.04938.) By Captum, on a grid of `cells` x `cells` that become 0 of the network input.
    """
    return _ask(request, "Lime", cells, n_samples=samples, perturbations_per_eval=16)


@register("captum", "TARGET", slow=True)
def kernel_shap(request: Request, *, cells: int = 7, samples: int = 512) -> Float[Tensor, "B H W"]:
    """KernelSHAP: Shapley values of cells by weighted regression (Lundberg and Lee 2017, arXiv:1705.07874).

    When to use: fair shares that sum to the target, on a coarse grid; needs some ten samples for each cell.
    By Captum, on a grid of `cells` x `cells` that become 0 of the network input.
    """
    return _ask(request, "KernelShap", cells, n_samples=samples, perturbations_per_eval=16)


@register("captum", "TARGET")
def lrp(request: Request) -> Float[Tensor, "B H W"]:
    """Layer-wise relevance: the target shared out backwards, layer by layer (Bach et al. 2015, PLOS ONE).

    When to use: plain stacks of convolutions, ReLUs, pooling and linear layers; Captum has no rules for the rest.
    (doi:10.1371/journal.pone.0130140.) By Captum, epsilon rule.
    """
    return _ask(request, "LRP")


class _Scored(nn.Module):
    """The network with its target for an output: one number for each row."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        # A copy: Captum leaves attributes and hooks behind on some networks.
        self.net = copy.deepcopy(request.model.net)
        self._model = replace(request.model, net=self.net)
        self._shared = request.shared
        self.number = 0

    def forward(self, x: Tensor) -> Tensor:
        target = self._shared.target
        captured = tap.capture(self._model, x, target.layers, stop=False)
        return target.score(captured, torch.full((len(x),), self.number, device=x.device))


def _ask(request: Request, name: str, cells: int = 0, **options: Any) -> Tensor:
    attr = _captum()
    x = request.x
    scored = _Scored(request)
    asked = getattr(attr, name)(scored)
    if cells:
        options["feature_mask"] = _cells(cells, x)
    if name != "LRP":
        options["baselines"] = torch.zeros_like(x[:1])
    found = []
    # Captum draws from the global generators.
    devices = [x.device] if x.device.type == "cuda" else []
    with ExitStack() as stack:
        stack.callback(np.random.set_state, np.random.get_state())
        stack.callback(random.setstate, random.getstate())
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        stack.enter_context(_rescaled())
        for number in range(len(x)):
            # One at a time, so that a picture's map does not depend on its neighbours.
            torch.manual_seed(request.seed)
            np.random.seed(request.seed)
            random.seed(request.seed)
            scored.number = number
            try:
                one = x[number : number + 1].clone().requires_grad_(True)
                found.append(asked.attribute(one, **options).detach().sum(1))
            except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
                line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise UnfitError(f"Captum's {name} cannot read {request.model.name}: {line}") from error
    return torch.cat(found)


def _cells(cells: int, x: Tensor) -> Tensor:
    """Return (1, 1, H, W) the number of the cell that each pixel is in."""
    if not 2 <= cells <= min(x.shape[2:]):
        raise InnersightError(f"cells={cells}: give 2 to {min(x.shape[2:])}")
    y, x_ = (torch.arange(side, device=x.device) * cells // side for side in x.shape[2:])
    return (y[:, None] * cells + x_)[None, None]


@contextmanager
def _rescaled() -> Iterator[None]:
    """Let Captum's DeepLIFT apply its rescale rule to elementwise activations that it would pass over silently."""
    from captum.attr._core import deep_lift  # type: ignore[import-untyped]

    rules = deep_lift.SUPPORTED_NON_LINEAR
    added = [kind for kind in ELEMENTWISE if kind not in rules]
    rules.update(dict.fromkeys(added, deep_lift.nonlinear))
    try:
        yield
    finally:
        for kind in added:
            del rules[kind]


def _captum() -> Any:
    try:
        from captum import attr  # type: ignore[import-untyped]
    except ImportError as error:
        raise InnersightError("this method comes from Captum: pip install 'innersight[captum]'") from error
    return attr
