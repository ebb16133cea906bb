"""Every public function on a small and a large network: how much of its time is neither torch's nor spent on decoding.

After one call that does not count, on one thread, in seconds of the processor. "Torch" is the work of every operation:
of the passes, and of what is measured of their results. The rest is Python, ours and others', torch's own included, and
files. It is what operations and decoding, timed one by one in further calls, leave of a plain call: a profile of the
whole makes Python twice as slow, and does not see `a @ b`. A share is a little low, by the clock around each operation.
Growth: the same call on four times as many images, units, modules or classes takes at most that much longer. The
receptive fields of `layers` are a backward pass for each layer and grow with their square.
"""

import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PILImage
from torch import nn

import innersight as ins
from benchmarks.networks import efficientnet
from benchmarks.timing import Row
from innersight import toons
from innersight.ambient import DispatchMode
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.study import Plan

MANY, GROWTH = 64, 4
Call = Callable[[Model, Sequence[Path]], object]
OUTSIDE = "below 20%"
DECODING = ("ImagingDecoder", "ImagingCore", "_imaging", "lock' objects", "io.Buffered", "zlib")


def calls(layer: str) -> dict[str, Call]:
    """Return what is called, by the name of the function. layer : of the network."""
    few = Plan(layers=(layer,), units=2, steps=32, seeds=1, trust=0, methods=("gradcam",), negatives=0)
    return {
        "layers": lambda model, _: ins.layers(ins.load(model.net, input=model.input)),
        "predict": ins.predict,
        "activations": lambda model, files: ins.activations(model, files[:8]),
        "compare": lambda model, files: ins.compare(model, files, layer),
        "explain": lambda model, files: [ins.explain(model, file) for file in files[:8]],
        "patterns": lambda model, _: ins.patterns(model, f"{layer}:0-3", steps=32, seeds=1, until="steps"),
        "scan": lambda model, files: ins.scan(model, files, [layer]),
        "connections": lambda model, files: ins.connections(model, f"{layer}:0", files[:8]),
        "ablate": lambda model, files: ins.ablate(model, files[:8], layer),
        "match": lambda model, files: ins.match(model, model, files, [layer]),
        "interpretability": lambda model, files: ins.interpretability(model, layer, files, [0, 1]),
        "trust": lambda model, files: ins.trust(model, files[:2], ["gradcam"]),
        "audit": lambda model, files: ins.audit(model, files, checks=["reliance"]),
        "study": lambda model, files: _study(model, files[:2], few),
    }


def measure() -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = _written(Path(folder), MANY * GROWTH)
            return [*_shares(files[:MANY]), *_growth(files)]
    finally:
        torch.set_num_threads(threads)


def _shares(files: Sequence[Path]) -> list[Row]:
    rows = []
    for name, model, layer in (
        ("toon", ins.load("toon"), "stage3"),
        ("EfficientNet-Lite0", efficientnet(), "blocks.4"),
    ):
        for function, call in calls(layer).items():
            run = partial(call, model, files)
            run()
            share, seconds = outside(run)
            what = f"{function}, {name}, from the second call on ({seconds:.2g} CPU s): outside of torch and decoding"
            rows.append(Row(what, {"innersight": 100 * share}, {"innersight": 0.0}, OUTSIDE, "%"))
    return rows


def _growth(files: Sequence[Path]) -> list[Row]:
    model = ins.load("toon")
    small, large = (_deep(MANY // 2 * by) for by in (1, GROWTH))
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "images, predict": (lambda: ins.predict(model, files[:MANY]), lambda: ins.predict(model, files)),
        "images, scan": (lambda: ins.scan(model, files[:MANY], ["stage2"]), lambda: ins.scan(model, files, ["stage2"])),
        "units, patterns": (lambda: _drawn(model, 4), lambda: _drawn(model, 4 * GROWTH)),
        "modules, layers without receptive fields": (
            lambda: ins.layers(_fresh(small), measure=False),
            lambda: ins.layers(_fresh(large), measure=False),
        ),
        "modules, layers": (lambda: ins.layers(_fresh(small)), lambda: ins.layers(_fresh(large))),
        "classes, predict": (
            lambda: ins.predict(_wide(16, 100), files[:MANY]),
            lambda: ins.predict(_wide(16, 100 * GROWTH), files[:MANY]),
        ),
    }  # fmt: skip
    rows = []
    for what, (few, many) in pairs.items():
        few(), many()
        once, again = _cpu(few), _cpu(many)
        text = f"{what}: {GROWTH} times as many take so many times as long"
        rows.append(Row(text, {"innersight": again / once}, {"innersight": 0.0}, f"at most {GROWTH}x", "x"))
    return rows


def outside(run: Callable[[], object]) -> tuple[float, float]:
    """Return the share of a call's time that is outside of torch's operations and of decoding, and its seconds."""
    seconds = _cpu(run)
    with _Timed() as operations:
        run()
    profile = cProfile.Profile(time.process_time)
    profile.runcall(run)
    found = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    decoding = sum(
        entry[2] for (file, _, name), entry in found.items() if file == "~" and any(word in name for word in DECODING)
    )
    return 1 - (operations.seconds + decoding) / seconds, seconds


class _Timed(DispatchMode):
    """Inside, time every operation of torch, those of backward passes too."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation."""
        start = time.process_time()
        output = func(*args, **(kwargs or {}))
        self.seconds += time.process_time() - start
        return output


def _cpu(run: Callable[[], object], rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return sorted(times)[rounds // 2]


def _written(folder: Path, count: int) -> list[Path]:
    """Write toons as JPEG files, a folder for each class."""
    files = []
    for i in range(count):
        name = toons.CLASSES[i % 2]
        file = folder / name / f"{i}.jpg"
        file.parent.mkdir(exist_ok=True)
        PILImage.fromarray(toons.draw(name, i).pixels).save(file)
        files.append(file)
    return files


def _drawn(model: Model, units: int) -> object:
    return ins.patterns(model, f"stage2:0-{units - 1}", steps=32, seeds=1, until="steps")


def _study(model: Model, files: Sequence[Path], plan: Plan) -> object:
    with tempfile.TemporaryDirectory() as folder:
        return ins.study(model, files, folder, plan=plan)


def _deep(blocks: int) -> nn.Module:
    torch.manual_seed(0)
    parts = [nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(blocks)]
    return nn.Sequential(nn.Conv2d(3, 4, 3), *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()


def _wide(units: int, classes: int = 5) -> Model:
    torch.manual_seed(0)
    head = nn.Linear(units, classes)
    net = nn.Sequential(nn.Conv2d(3, units, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return _fresh(net.eval())


def _fresh(net: nn.Module) -> Model:
    return ins.load(net, input=InputSpec(32, 32))
