"""Whole calls that people wait for, in seconds of the processor on one thread: these hold on a busy machine too."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

import innersight as ins
from benchmarks.networks import efficientnet
from benchmarks.timing import Row, race
from innersight import tap, toons
from innersight.inputs import entries, network_input, stream
from innersight.model import Model

IMAGES, JUDGED, BATCH, TOP = 512, 16, 32, 9
CPU = {"clock": time.process_time, "unit": " CPU s"}
NETWORKS: dict[str, Callable[[], Model]] = {
    "EfficientNet-Lite0": efficientnet,
    "resnet18": partial(ins.load, "torchvision:resnet18"),
}


def measure() -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [
            *(_layers(name) for name in NETWORKS),
            _trust(),
            *(_scan(name) for name in ("mobilenet_v3_small", "resnet18")),
        ]
    finally:
        torch.set_num_threads(threads)


def _layers(name: str) -> Row:
    calls = {"innersight": _fresh(NETWORKS[name], ins.layers)}
    return race(f"layers of {name}, one thread", calls, rounds=3, target="5 s on two cores", **CPU)  # type: ignore[arg-type]


def _fresh(build: Callable[[], Model], run: Callable[[Model], object]) -> Callable[[], object]:
    """Return a call on a Model of which nothing was measured yet."""
    model = build()
    return lambda: run(ins.load(model.net, input=model.input))


def _trust() -> Row:
    torch.manual_seed(0)
    model = ins.load("torchvision:resnet18")
    images = [toons.draw(toons.CLASSES[i % len(toons.CLASSES)], i).pixels for i in range(JUDGED)]
    start = time.process_time()
    ins.trust(model, images)
    seconds = time.process_time() - start
    what = f"trust, quick methods, {JUDGED} images, resnet18, one thread, once"
    return Row(what, {"innersight": seconds}, {"innersight": 0.0}, "120 s on two cores", " CPU s")


def _scan(name: str) -> Row:
    torch.manual_seed(0)
    model = ins.load(f"torchvision:{name}")
    layers = [layer.name for layer in ins.layers(model, measure=False)]
    coarse = torch.rand(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wide = (F.interpolate(one[None], size=256, mode="bicubic")[0] for one in coarse)
    images = [(pixels.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy() for pixels in wide]
    loaded = list(stream(entries(images), model.input, 0, digests=False))
    batches = [network_input(loaded[i : i + BATCH], model) for i in range(0, IMAGES, BATCH)]

    def bare() -> None:
        with tap.untouched(model), torch.no_grad():
            for x in batches:
                model.net(x)

    return race(
        f"scan of all {len(layers)} layers of {name}, the first {IMAGES} images, one thread",
        {
            "innersight": lambda: ins.scan(model, images, layers),
            "innersight, default layers": lambda: ins.scan(model, images),
            "bare forward": bare,
            "hooks into lists, then topk": lambda: _lists(model, layers, batches),
        },
        rounds=2,
        target="bare forward at least 0.6x, default layers 0.85x, hooks 1x",
        **CPU,  # type: ignore[arg-type]
    )


def _lists(model: Model, layers: list[str], batches: list[Tensor]) -> dict[str, Tensor]:
    """Keep the peaks of every unit on every image, and sort at the end."""
    peaks: dict[str, list[Tensor]] = {name: [] for name in layers}

    def peak(output: Tensor) -> Tensor:
        return output.flatten(2).amax(2) if output.ndim == 4 else output

    handles = [
        model.net.get_submodule(name).register_forward_hook(lambda _m, _i, output, own=own: own.append(peak(output)))
        for name, own in peaks.items()
    ]
    with tap.untouched(model), torch.no_grad():
        for x in batches:
            model.net(x)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(values).topk(TOP, dim=0).values for name, values in peaks.items()}
