"""Every heatmap method as its paper defines it, written slowly in float64: one function for each name of the registry.

Each takes a network in float64, one network input (1, C, H, W), a class, and the name of the layer to read, and returns
a map. Nothing here is quick or clever, and nothing is taken from an implementation.
"""

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def activation_and_gradient(
    net: nn.Module, x: Tensor, score: Callable[[Tensor], Tensor], layer: str
) -> tuple[Any, Any]:
    """Return a layer's output (units, h, w) and the gradient of a number of the logits there."""
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    value = score(net(x)[0])
    handle.remove()
    (gradient,) = torch.autograd.grad(value, kept[0])
    return grid(kept[0].detach())[0].numpy(), grid(gradient)[0].numpy()


def grid(output: Tensor) -> Tensor:
    """Return (B, units, h, w) of a convolution, or of tokens of which the first is that of the class."""
    if output.ndim == 4:
        return output
    side = math.isqrt(output.shape[1] - 1)
    return output[:, 1:].transpose(1, 2).reshape(len(output), -1, side, side)


def with_output(net: nn.Module, x: Tensor, layer: str, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the logits where a layer gives something else."""
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, output: change(output.clone()))
    with torch.no_grad():
        logits: Tensor = net(x)[0]
    handle.remove()
    return logits


def logit(net: nn.Module, x: Tensor, target: int) -> float:
    with torch.no_grad():
        return float(net(x)[0, target])


def slope(net: nn.Module, x: Tensor, target: int) -> Tensor:
    x = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(net(x)[0, target], x)
    return gradient


def gradcam(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Selvaraju et al. 2017, equations 1 and 2, without the ReLU."""
    a, g = activation_and_gradient(net, x, lambda y: y[target], layer)
    return sum(g[k].mean() * a[k] for k in range(len(a)))


def gradcam_plus_plus(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Chattopadhay et al. 2018, equations 5 and 19: the powers of the gradient as they stand."""
    a, g = activation_and_gradient(net, x, lambda y: y[target], layer)
    out = np.zeros(a.shape[1:])
    for k in range(len(a)):
        weight = 0.0
        for place in np.ndindex(*a.shape[1:]):
            own = np.longdouble(g[k][place])
            if own != 0:
                alpha = own**2 / (2 * own**2 + np.longdouble(a[k].sum()) * own**3)
                weight += float(alpha * max(own, 0))
        out += weight * a[k]
    return out


def xgradcam(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Fu et al. 2020, equation 8: a map that is zero everywhere adds nothing."""
    a, g = activation_and_gradient(net, x, lambda y: y[target], layer)
    return sum((a[k] / a[k].sum() * g[k]).sum() * a[k] for k in range(len(a)) if a[k].any())


def hirescam(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Draelos and Carin 2020, equation 4."""
    a, g = activation_and_gradient(net, x, lambda y: y[target], layer)
    return sum(g[k] * a[k] for k in range(len(a)))


def layercam(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Jiang et al. 2021, equations 6 and 7, without the last ReLU."""
    a, g = activation_and_gradient(net, x, lambda y: y[target], layer)
    return sum(np.maximum(g[k], 0) * a[k] for k in range(len(a)))


def finercam(net: nn.Module, x: Tensor, target: int, layer: str, rivals: int = 3) -> Any:
    """Zhang et al. 2025: Grad-CAM of the class less the mean of the nearest, by their probability."""
    with torch.no_grad():
        logits = net(x)[0]
    others = sorted(
        (c for c in range(len(logits)) if c != target), key=lambda c: abs(float(logits[c] - logits[target]))
    )

    def score(y: Tensor) -> Tensor:
        top = max(float(y[c].detach()) for c in others[:rivals])
        chances = [(y[c] - top).exp() for c in others[:rivals]]
        parts = [p * (y[target] - y[c]) for p, c in zip(chances, others[:rivals], strict=True)]
        return sum(parts) / sum(chances)

    a, g = activation_and_gradient(net, x, score, layer)
    return sum(g[k].mean() * a[k] for k in range(len(a)))


def eigencam(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Muhammad and Yeasin 2020: places projected on the first eigenvector of their covariance."""
    a, _ = activation_and_gradient(net, x, lambda y: y[target], layer)
    places = a.reshape(len(a), -1).T
    centred = places - places.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / np.abs(centred).max() ** 2)
    along = centred @ vectors[:, values.argmax()]
    strength = np.linalg.norm(places, axis=1)
    return (along if np.corrcoef(along, strength)[0, 1] >= 0 else -along).reshape(a.shape[1:])


def ablationcam(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Ramaswamy and Desai 2020: maps by what the class loses when each is set to zero."""
    a, _ = activation_and_gradient(net, x, lambda y: y[target], layer)
    out = np.zeros(a.shape[1:])
    for k in range(len(a)):

        def silent(output: Tensor, k: int = k) -> Tensor:
            if output.ndim == 4:
                output[:, k] = 0
            else:
                output[:, 1:, k] = 0
            return output

        out += (logit(net, x, target) - float(with_output(net, x, layer, silent)[target])) * a[k]
    return out


def reciprocam(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Byun and Lee 2022: the class when a small bump of the layer's places is left."""
    a, _ = activation_and_gradient(net, x, lambda y: y[target], layer)
    out = np.zeros(a.shape[1:])
    for y, x_ in np.ndindex(*out.shape):
        bump = np.zeros(out.shape)
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            if 0 <= y + dy < out.shape[0] and 0 <= x_ + dx < out.shape[1]:
                bump[y + dy, x_ + dx] = 0.5 ** (abs(dy) + abs(dx))
        left = torch.from_numpy(bump)
        out[y, x_] = float(with_output(net, x, layer, lambda output, left=left: laid(output, left))[target])
    return out


def laid(output: Tensor, left: Tensor) -> Tensor:
    if output.ndim == 4:
        return output * left
    return torch.cat([output[:, :1], output[:, 1:] * left.flatten()[:, None]], 1)


def saliency(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Simonyan et al. 2013, section 3.1."""
    return slope(net, x, target)[0].abs().amax(0)


def input_x_gradient(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Shrikumar et al. 2016."""
    return (x * slope(net, x, target))[0].sum(0)


def integrated_gradients(net: nn.Module, x: Tensor, target: int, layer: str, steps: int = 8) -> Any:
    """Sundararajan et al. 2017, equation 1, from zero, by the quadrature that the method states."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = sum(w / 2 * slope(net, x * (p + 1) / 2, target) for p, w in zip(points, weights, strict=True))
    return (x * total)[0].sum(0)


def guided_backprop(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Springenberg et al. 2014: nothing negative goes back through a ReLU."""
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_full_backward_hook(lambda _m, given, _o: (given[0].clamp(min=0),))
    gradient = slope(net, x, target)[0]
    return gradient.gather(0, gradient.abs().argmax(0, keepdim=True))[0]


def noisy_slopes(net: nn.Module, x: Tensor, target: int, copies: int) -> Tensor:
    """Return gradients at images with noise of 0.15 of the range, by the first random stream."""
    stream = torch.Generator().manual_seed(0)
    spread = 0.15 * (x.max() - x.min())
    drawn = [torch.randn(x.shape[1:], generator=stream).double() for _ in range(copies)]
    return torch.stack([slope(net, x + spread * noise, target)[0] for noise in drawn])


def smoothgrad(net: nn.Module, x: Tensor, target: int, layer: str, max_samples: int = 4) -> Any:
    """Smilkov et al. 2017."""
    return noisy_slopes(net, x, target, max_samples).mean(0).abs().amax(0)


def vargrad(net: nn.Module, x: Tensor, target: int, layer: str, copies: int = 4) -> Any:
    """Adebayo et al. 2018, summed over the colours."""
    return noisy_slopes(net, x, target, copies).var(0).sum(0)


def occlusion(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Zeiler and Fergus 2014: squares of 0.16 of the side, every 0.08."""
    side = x.shape[2]
    size, step = max(1, round(0.16 * side)), max(1, round(0.08 * side))
    starts = [*range(0, side - size, step), side - size]
    lost, count = torch.zeros(side, side).double(), torch.zeros(side, side)
    for top, left in itertools.product(starts, repeat=2):
        changed = x.clone()
        changed[:, :, top : top + size, left : left + size] = 0
        lost[top : top + size, left : left + size] += logit(net, x, target) - logit(net, changed, target)
        count[top : top + size, left : left + size] += 1
    return lost / count


def rise(net: nn.Module, x: Tensor, target: int, layer: str, max_samples: int = 64, cells: int = 3) -> Any:
    """Petsiuk et al. 2018, section 3.2; the value is the slope of the class on the mask."""
    stream, side = torch.Generator().manual_seed(0), x.shape[2]
    cell = -(-side // cells)
    masks = []
    for _ in range(max_samples // 32):
        grids = (torch.rand((32, 1, cells + 1, cells + 1), generator=stream) < 0.5).float()
        shifts = (torch.rand((32, 2), generator=stream) * cell).long().tolist()
        wide = F.interpolate(grids, ((cells + 1) * cell,) * 2, mode="bilinear")[:, 0]
        masks += [one[t : t + side, s : s + side].double() for one, (t, s) in zip(wide, shifts, strict=True)]
    values = np.array([logit(net, x * mask, target) for mask in masks])
    seen = torch.stack(masks).numpy()
    return ((seen - seen.mean(0)) * (values - values.mean())[:, None, None]).mean(0) / seen.var(0)


def sobol(net: nn.Module, x: Tensor, target: int, layer: str, max_samples: int = 3, cells: int = 3) -> Any:
    """Fel et al. 2021: total indices by Jansen's estimator."""
    number = cells * cells
    seed = int(torch.randint(2**31, (1,), generator=torch.Generator().manual_seed(0)))
    engine = torch.quasirandom.SobolEngine(2 * number, scramble=True, seed=seed)

    def value(design: Tensor) -> float:
        mask = F.interpolate(design.view(1, 1, cells, cells), x.shape[2:], mode="nearest").double()
        return logit(net, x * mask, target)

    ends, effects = [], np.zeros(number)
    for _ in range(max_samples):
        first, second = engine.draw(1)[0].view(2, number)
        ends += [value(first), value(second)]
        for cell in range(number):
            changed = first.clone()
            changed[cell] = second[cell]
            effects[cell] += (value(first) - value(changed)) ** 2 / (2 * max_samples)
    return (effects / np.var(ends, ddof=1)).reshape(cells, cells)


def scorecam(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Wang et al. 2020, equations 5 to 7, without the ReLU."""
    a, _ = activation_and_gradient(net, x, lambda y: y[target], layer)
    a = a[[k for k in range(len(a)) if a[k].max() > a[k].min()]]
    scores = []
    for unit in a:
        wide = F.interpolate(torch.from_numpy(unit)[None, None], x.shape[2:], mode="bilinear", align_corners=True)
        scores.append(logit(net, x * (wide - wide.min()) / (wide.max() - wide.min()), target))
    weights = np.exp(np.array(scores) - max(scores))
    return np.tensordot(weights / weights.sum(), a, 1)


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """Return a blurred image, edges mirrored, by the sum it is."""
    for axis in (2, 3):
        reach = min(x.shape[axis] - 1, round(3 * sigma))
        weights = [math.exp(-((d / sigma) ** 2) / 2) for d in range(-reach, reach + 1)]
        mirrored = F.pad(x, (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0), mode="reflect")
        parts = [w * mirrored.narrow(axis, i, x.shape[axis]) for i, w in enumerate(weights)]
        x = sum(parts) / sum(weights)
    return x


def extremal_perturbation(net: nn.Module, x: Tensor, target: int, layer: str, steps: int = 4, cells: int = 6) -> Any:
    """Fong et al. 2019, with the gradient of the class at unit size."""
    hidden = gaussian(x, min(x.shape[2:]) / 16)
    masks = []
    for area in (0.05, 0.1, 0.2, 0.4):
        free = torch.zeros(1, 1, cells, cells, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([free], lr=0.2)
        order = torch.zeros(cells * cells, dtype=torch.float64)
        order[round((1 - area) * cells * cells) :] = 1
        for step in range(steps):
            mask = gaussian(torch.sigmoid(free), 21 / 224 * cells)
            wide = F.interpolate(mask, x.shape[2:], mode="bilinear", align_corners=False)
            gradient = slope(net, hidden + (x - hidden) * wide.detach(), target)
            gain = (wide * (gradient / gradient.abs().sum() * (x - hidden)).sum(1, keepdim=True)).sum()
            held = (mask.flatten().sort().values - order).square().mean()
            (free.grad,) = torch.autograd.grad(step / steps * held - gain, free)
            optimizer.step()
        masks.append(wide.detach()[0, 0])
    return torch.stack(masks).mean(0)


def weights_after(net: Any, x: Tensor, blocks: int) -> tuple[Tensor, list[Tensor]]:
    """Return logits read after so many blocks of a `Transformer`, and the attention of each, computed openly."""
    tokens = net.patches(x).flatten(2).transpose(1, 2)
    tokens = torch.cat([net.first.expand(len(x), -1, -1), tokens], 1) + net.places
    kept = []
    for block in net.blocks[:blocks]:
        core, given = block.attention.core, block.norm1(tokens)
        heads, width = core.num_heads, core.embed_dim
        wide = F.linear(given, core.in_proj_weight, core.in_proj_bias)
        query, key, value = wide.view(*given.shape[:2], 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
        kept.append((query @ key.transpose(-2, -1) / (width // heads) ** 0.5).softmax(-1))
        tokens = tokens + core.out_proj((kept[-1] @ value).transpose(1, 2).flatten(2))
        tokens = tokens + block.mlp(block.norm2(tokens))
    return net.head(net.norm(tokens)[:, 0]), kept


def on_places(row: Tensor) -> Tensor:
    side = math.isqrt(len(row) - 1)
    return row[1:].view(side, side)


def attention_rollout(net: Any, x: Tensor, target: int, layer: str) -> Any:
    """Abnar and Zuidema 2020, equation 1."""
    with torch.no_grad():
        _, weights = weights_after(net, x, len(net.blocks))
    here = torch.eye(weights[0].shape[-1], dtype=torch.float64)
    flow = here
    for own in weights:
        flow = (0.5 * own[0].mean(0) + 0.5 * here) @ flow
    return on_places(flow[0])


def gradient_attention(net: Any, x: Tensor, target: int, layer: str) -> Any:
    """Chefer et al. 2021, equations 5 and 6; what the class token took, less itself."""
    logits, weights = weights_after(net, x, len(net.blocks))
    gradients = torch.autograd.grad(logits[0, target], weights)
    flow = torch.eye(weights[0].shape[-1], dtype=torch.float64)
    for own, gradient in zip(weights, gradients, strict=True):
        flow = flow + (own * gradient).clamp(min=0)[0].mean(0).detach() @ flow
    return on_places(flow[0])


def legrad(net: Any, x: Tensor, target: int, layer: str) -> Any:
    """Bousselham et al. 2024, equations 6 to 9."""
    found = []
    for blocks in range(1, len(net.blocks) + 1):
        logits, weights = weights_after(net, x, blocks)
        (gradient,) = torch.autograd.grad(logits[0, target], weights[-1])
        found.append(gradient.clamp(min=0)[0].mean((0, 1)))
    return on_places(torch.stack(found).mean(0))


def deeplift(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Shrikumar et al. 2017, rescale rule: every ReLU becomes what it does per change of its input."""
    net = copy.deepcopy(net)
    inputs: dict[nn.Module, list[Tensor]] = {module: [] for module in net.modules() if isinstance(module, nn.ReLU)}
    handles = [m.register_forward_hook(lambda m, given, _o: inputs[m].append(given[0].detach())) for m in inputs]
    with torch.no_grad():
        net(x), net(torch.zeros_like(x))
    for handle in handles:
        handle.remove()
    for module, (one, other) in inputs.items():
        change = one - other
        share = torch.where(change != 0, (one.relu() - other.relu()) / torch.where(change != 0, change, 1), 0)
        module.register_forward_hook(lambda _m, given, _o, share=share: given[0] * share)
    return (x * slope(net, x, target))[0].sum(0)


def lrp(net: Any, x: Tensor, target: int, layer: str) -> Any:
    """Bach et al. 2015, equation 58 with an epsilon of 0, for a chain of modules."""
    values = [x]
    with torch.no_grad():
        for module in net:
            values.append(module(values[-1]))
    relevance = torch.zeros_like(values[-1])
    relevance[0, target] = values[-1][0, target]
    for module, a, z in zip(reversed(net), values[-2::-1], values[:0:-1], strict=True):
        if not isinstance(module, nn.ReLU):
            jacobian = torch.autograd.functional.jacobian(module, a).view(z.numel(), a.numel())
            ratio = torch.where(z != 0, relevance / torch.where(z != 0, z, 1), 0).flatten()
            relevance = (a.flatten() * (jacobian.T @ ratio)).view(a.shape)
    return relevance[0].sum(0)


def in_cells(cells: int, x: Tensor) -> list[Tensor]:
    """Return where each cell of a grid is, (H, W) bool."""
    at = torch.arange(x.shape[2]) * cells // x.shape[2]
    return [(at[:, None] == row) & (at == column) for row, column in itertools.product(range(cells), repeat=2)]


def seen_sets(net: nn.Module, x: Tensor, target: int, cells: int) -> tuple[list[Tensor], dict[tuple[int, ...], float]]:
    """Return the cells, and the class for every set of them that is seen, the others 0."""
    parts = in_cells(cells, x)
    values = {}
    for chosen in itertools.product((0, 1), repeat=len(parts)):
        mask = sum(part.double() * one for part, one in zip(parts, chosen, strict=True))
        values[chosen] = logit(net, x * mask, target)
    return parts, values


def kernel_shap(net: nn.Module, x: Tensor, target: int, layer: str, cells: int = 2) -> Any:
    """Lundberg and Lee 2017, equation 8: Shapley values, by all sets."""
    parts, values = seen_sets(net, x, target, cells)
    out, number = torch.zeros(x.shape[2:]).double(), len(parts)
    for cell, part in enumerate(parts):
        for chosen, value in values.items():
            if not chosen[cell]:
                size = sum(chosen)
                weight = math.factorial(size) * math.factorial(number - size - 1) / math.factorial(number)
                joined = tuple(1 if i == cell else one for i, one in enumerate(chosen))
                out += part * weight * (values[joined] - value)
    return out


def lime(net: nn.Module, x: Tensor, target: int, layer: str, cells: int = 2) -> Any:
    """Ribeiro et al. 2016, equation 1 over all sets of cells, by coordinate descent."""
    parts, values = seen_sets(net, x, target, cells)
    sets = torch.tensor(list(values)).double()
    y = torch.tensor(list(values.values())).double()
    near = []
    for chosen in sets:
        mask = sum(part * one for part, one in zip(parts, chosen, strict=True))
        cosine = float((x * x * mask).sum() / x.norm() / (x * mask).norm()) if bool(chosen.any()) else 0.0
        near.append(math.exp(-((1 - cosine) ** 2) / 2))
    weight = torch.tensor(near).double()
    weight = weight / weight.sum()
    y = y - (weight * y).sum()
    penalty = 0.01 * float((weight * y.square()).sum().sqrt())
    centred = sets - (weight[:, None] * sets).sum(0)
    slopes = torch.zeros(len(parts)).double()
    for _ in range(200):
        for cell in range(len(parts)):
            rest = y - centred @ slopes + centred[:, cell] * slopes[cell]
            pull = float((weight * centred[:, cell] * rest).sum())
            size = float((weight * centred[:, cell].square()).sum())
            slopes[cell] = math.copysign(max(0.0, abs(pull) - penalty), pull) / size
    return sum(part * one for part, one in zip(parts, slopes, strict=True))


def gradient_shap(net: nn.Module, x: Tensor, target: int, layer: str) -> Any:
    """Lundberg and Lee 2017: gradients at random points of the way to the noisy image, by many draws."""
    stream = torch.Generator().manual_seed(1)
    total = torch.zeros_like(x)
    for _ in range(400):
        noisy = x + 0.1 * torch.randn(x.shape, generator=stream).double()
        total += slope(net, noisy * torch.rand(1, generator=stream).double(), target) * noisy
    return total[0].sum(0) / 400


@dataclass(frozen=True)
class Oracle:
    """A slow definition. options : given to the method. nets : on which. within : of the map's largest value."""

    slow: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    nets: tuple[str, ...] = ("plain", "signed", "residual")
    within: float = 1e-4


ANY, TOKENS, CHAINS = ("plain", "signed", "residual", "tokens"), ("tokens",), ("plain", "signed")
SURE = {"max_error": 0.0}
ORACLES = {
    "ablationcam": Oracle(ablationcam, nets=ANY),
    "attention-rollout": Oracle(attention_rollout, nets=TOKENS),
    "deeplift": Oracle(deeplift),
    "eigencam": Oracle(eigencam, nets=ANY),
    "extremal-perturbation": Oracle(extremal_perturbation, {"steps": 4, "cells": 6}, within=1e-3),
    "finercam": Oracle(finercam, nets=ANY),
    "gradcam": Oracle(gradcam, nets=ANY),
    "gradcam-plus-plus": Oracle(gradcam_plus_plus, nets=ANY),
    "gradient-attention": Oracle(gradient_attention, nets=TOKENS),
    "gradient-shap": Oracle(gradient_shap, {"samples": 400}, ("plain",), 0.2),
    "guided-backprop": Oracle(guided_backprop),
    # Not on tokens: behind a layer norm their sum over units is zero up to rounding.
    "hirescam": Oracle(hirescam),
    "input-x-gradient": Oracle(input_x_gradient, nets=ANY),
    "integrated-gradients": Oracle(integrated_gradients, {"steps": 8}, ANY),
    "kernel-shap": Oracle(kernel_shap, {"cells": 2, "samples": 400}, ("plain",), 0.1),
    "layercam": Oracle(layercam, nets=ANY),
    "legrad": Oracle(legrad, nets=TOKENS),
    "lime": Oracle(lime, {"cells": 2, "samples": 400}, ("plain",), 0.1),
    "lrp": Oracle(lrp, nets=CHAINS),
    "occlusion": Oracle(occlusion, nets=ANY),
    "reciprocam": Oracle(reciprocam, nets=ANY),
    "rise": Oracle(rise, {"max_samples": 64, "cells": 3, **SURE}, within=5e-4),
    "saliency": Oracle(saliency, nets=ANY),
    "scorecam": Oracle(scorecam),
    "smoothgrad": Oracle(smoothgrad, {"max_samples": 4, **SURE}),
    "sobol": Oracle(sobol, {"max_samples": 3, "cells": 3, **SURE}),
    "vargrad": Oracle(vargrad, {"samples": 4}),
    "xgradcam": Oracle(xgradcam, nets=ANY),
}
