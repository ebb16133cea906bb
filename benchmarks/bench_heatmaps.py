"""Grad-CAM of 16 pictures and the ablation of a layer's channels, against peers and bare loops."""

import torch
from torch import nn

from benchmarks.networks import efficientnet
from benchmarks.timing import Row, race
from innersight import tap
from innersight.heatmaps.methods.gradcam import gradcam
from innersight.heatmaps.request import Request
from innersight.layers import last_grid


def measure() -> list[Row]:
    model = efficientnet()
    layer = last_grid(model)[0]
    x = torch.randn(16, *model.input.shape, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(16) * 7
    return [_gradcam(model, layer, x, targets), _ablation(model, "blocks.6", x[:1])]


def _gradcam(model, layer, x, targets) -> Row:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module: nn.Module = model.module(layer)
    classes = [ClassifierOutputTarget(int(t)) for t in targets]

    def ours() -> None:
        with tap.untouched(model):
            gradcam(Request(model, x, targets, layer))

    def peer() -> None:
        with GradCAM(model=model.net, target_layers=[module]) as cam:
            cam(input_tensor=x, targets=classes)

    def bare() -> None:
        kept = []
        handle = module.register_forward_hook(lambda _m, _i, out: kept.append(out))
        logits = model.net(x)
        handle.remove()
        torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), kept[0])

    return race(
        "Grad-CAM, 16 pictures, EfficientNet-Lite0 at 224 px",
        {"innersight": ours, "bare forward + backward to the layer": bare, "grad-cam": peer},
        target="grad-cam at least 3x slower, bare at least 0.87x",
    )


def _ablation(model, layer, x) -> Row:
    with tap.untouched(model), torch.no_grad():
        units = tap.capture(model, x, [layer]).activations[layer].shape[1]

    def ours() -> None:
        with tap.untouched(model), torch.no_grad():
            suffix = tap.resume(model, x, layer)
            for start in range(0, units, 32):
                suffix(_without(suffix.activation, range(start, min(start + 32, units))))

    def bare() -> None:
        with tap.untouched(model), torch.no_grad():
            for start in range(0, units, 32):
                span = range(start, min(start + 32, units))
                tap.replace(model, x.expand(len(span), -1, -1, -1), layer, lambda out, s=span: _without(out[:1], s))

    return race(
        f"Switching off each of {units} units of {layer}, one picture",
        {"innersight": ours, "full runs": bare},
        rounds=3,
    )


def _without(activation, span) -> torch.Tensor:
    variants = activation.repeat(len(span), 1, 1, 1)
    variants[torch.arange(len(span)), torch.tensor(list(span))] = 0
    return variants
