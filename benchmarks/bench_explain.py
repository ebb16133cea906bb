"""Grad-CAM of one image by `explain`, from the pixels on: against a bare loop and pytorch-grad-cam."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor, nn

import innersight as ins
from benchmarks.networks import efficientnet
from benchmarks.timing import Row, race
from innersight.layers import last_grid
from innersight.model import Model

NETWORKS: dict[str, Callable[[], Model]] = {
    "EfficientNet-Lite0": efficientnet,
    **{
        name: partial(ins.load, f"{source}:{name}")
        for source, name in (
            ("torchvision", "resnet18"),
            ("torchvision", "mobilenet_v3_small"),
            ("torchvision", "convnext_tiny"),
            ("timm", "vit_tiny_patch16_224"),
        )
    },
}


def measure() -> list[Row]:
    return [_row(name, build) for name, build in NETWORKS.items()]


def _row(name: str, build: Callable[[], Model]) -> Row:
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    # The second Model of a network: what only the first call of a process does is done.
    ins.explain(build(), pixels, methods=["gradcam"])
    model = build() if name != "EfficientNet-Lite0" else ins.load(build().net, input=build().input)
    start = time.perf_counter()
    ins.explain(model, pixels, methods=["gradcam"])
    first = time.perf_counter() - start
    return race(
        f"Grad-CAM of one image, {name}, from the second call on (the first: {first:.2g} s)",
        {
            "innersight": lambda: ins.explain(model, pixels, methods=["gradcam"]),
            "bare loop": lambda: _bare(model, pixels),
            "grad-cam": lambda: _peer(model, pixels),
        },
        rounds=25,
        target="bare at least 0.8x, grad-cam at least 1x",
    )


def _input(model: Model, pixels: np.ndarray) -> Tensor:
    spec = model.input
    short = round(spec.height / (spec.crop or 1))
    scale = short / min(pixels.shape[:2])
    resized = PILImage.fromarray(pixels).resize(
        (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)), PILImage.Resampling.BICUBIC
    )
    left, top = (resized.width - spec.width) // 2, (resized.height - spec.height) // 2
    cut = resized.crop((left, top, left + spec.width, top + spec.height))
    return spec.normalise(torch.from_numpy(np.array(cut)).permute(2, 0, 1)[None].float() / 255)


def _bare(model: Model, pixels: np.ndarray) -> Tensor:
    """Forward, backward from the predicted class to the layer, and the weighted sum."""
    kept: list[Tensor] = []
    module: nn.Module = model.module(last_grid(model)[0])

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0]

    handle = module.register_forward_hook(keep)
    logits = model.net(_input(model, pixels))
    handle.remove()
    (slope,) = torch.autograd.grad(logits.amax(), kept[0])
    axes = (1,) if slope.ndim == 3 else (2, 3)
    return (slope.mean(axes, keepdim=True) * kept[0]).sum(2 if slope.ndim == 3 else 1).relu()


def _peer(model: Model, pixels: np.ndarray) -> np.ndarray:
    from pytorch_grad_cam import GradCAM

    side = 14
    module: nn.Module = model.module(last_grid(model)[0])

    def grid(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)

    with GradCAM(model.net, [module], reshape_transform=grid if "vit" in model.name else None) as cam:
        found: np.ndarray = cam(_input(model, pixels), None)
    return found
