"""A scan by one and by two workers of a Ray cluster on this machine, and what a larger one would cost."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import safetensors.torch
import torch
from PIL import Image as PILImage

import innersight as ins
from benchmarks.networks import efficientnet
from benchmarks.timing import Row, race
from innersight.inputs import entries, stream
from innersight.layers import check_layers, default_layers
from innersight.model import Model
from innersight.scan import Batching
from innersight.scan.engine import _Work
from innersight.scan.ledger import Ledger
from innersight.scan.shards import Parts, ScanPlan, ShardResult, ShardWorker
from innersight.storage.store import Store

IMAGES, SHARD, ROUNDS = 256, 32, 3
SIZE = (500, 375)


def measure() -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            nets = {"EfficientNet-Lite0": efficientnet(), "ResNet-18": ins.load("timm:resnet18", device="cpu")}
            labels = [label for label in nets["ResNet-18"].labels if "/" not in label][:IMAGES]
            mean = _photographs(folder / "images", labels)
            rows = [_scaling(title, model, folder / "images") for title, model in nets.items()]
            rows += [_driver(title, model, folder) for title, model in nets.items()]
            return [*rows, _decoding(nets["ResNet-18"], folder / "images", mean)]
    finally:
        torch.set_num_threads(threads)


class _Timed:
    """Files; begun : when file number `mark` was asked for."""

    def __init__(self, folder: Path, mark: int) -> None:
        self.files, self.mark, self.begun = sorted(folder.rglob("*.jpg")), mark, 0.0

    def __iter__(self) -> Iterator[Path]:
        for number, file in enumerate(self.files):
            if number == self.mark:
                self.begun = time.perf_counter()
            yield file


def _scaling(title: str, model: Model, folder: Path) -> Row:
    """Let two workers, one, and none take turns, as `race` does, but with starting left out."""
    addresses = {"innersight": "local?workers=2", "one worker": "local?workers=1", "this process, without Ray": None}
    seconds: dict[str, list[float]] = {name: [] for name in addresses}
    starts: list[float] = []
    for _ in range(ROUNDS):
        for name, address in addresses.items():
            # The second shard is put together when the first one was given to a worker.
            images, start = _Timed(folder, 2 * SHARD if address else 0), time.perf_counter()
            with tempfile.TemporaryDirectory() as out:
                ins.scan(model, images, batching=Batching(shard=SHARD, workers=0), out=out, ray=address)  # type: ignore[operator]
            seconds[name].append(time.perf_counter() - images.begun)
            starts += [images.begun - start] if address else []
    what = (
        f"Scan with {title}, default layers, {IMAGES} JPEG files of {SIZE[0]}x{SIZE[1]}, one thread for each "
        f"worker, two workers, from when the first shard is given (to start Ray and them takes {median(starts):.0f} s)"
    )
    middle = {name: median(values) for name, values in seconds.items()}
    spread = {name: (max(values) - min(values)) / 2 / middle[name] for name, values in seconds.items()}
    return Row(what, middle, spread, "one worker at least 1.8x")


def _driver(title: str, model: Model, folder: Path) -> Row:
    """Time what the driver does with the result of a shard: unpack, merge, write with 512 rows."""
    described = check_layers(model, tuple(default_layers(model)))
    plan = ScanPlan(described, 9, 1, Batching(workers=0), correlate=(), class_maps=False, digests=True)
    worker, source, work = ShardWorker(plan), list(entries(folder / "images")), _Work(model, plan)
    half = IMAGES // 2
    first, result = worker(model, source[:half]), worker(model, source[half:])
    ledger = Ledger.open(Store.create(folder / title), {}, overwrite=True)
    names = ledger.names()

    def unpacked(one: ShardResult) -> Parts:
        parts = plan.empty(model)
        for name, gathering in parts.items():
            gathering.load(safetensors.torch.load(one.parts[name]))
        return parts

    def take() -> None:
        work.add(unpacked(result), result.records)
        rows = [replace(result.records[i % half], number=work.done * 512 + i) for i in range(512)]
        ledger.commit({}, work.done, work.images, work.tensors(), rows, names)

    work.add(unpacked(first), first.records)
    units, size = sum(layer.units for layer in plan.layers), sum(map(len, result.parts.values()))
    what = f"Taking in a shard of {title}, {units} units, {size / 2**20:.1f} MiB: unpack, merge, write"
    return race(what, {"innersight": take, "unpacking alone": lambda: unpacked(result)}, rounds=5)


def _decoding(model: Model, folder: Path, mean: float) -> Row:
    def decode() -> None:
        for _ in stream(entries(folder), model.input, 0, digests=True):
            pass

    return race(
        f"Reading and decoding {IMAGES} JPEG files of {SIZE[0]}x{SIZE[1]}, {mean / 1024:.0f} KiB each, one thread",
        {"innersight": decode},
        rounds=3,
    )


def _photographs(folder: Path, labels: Sequence[str]) -> float:
    """Write a JPEG file of about the size and weight of ImageNet's for each class; return their mean size in bytes."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    for label in labels:
        coarse = rng.integers(0, 256, (9, 12, 3)).astype(np.uint8)
        smooth = np.asarray(PILImage.fromarray(coarse).resize(SIZE, PILImage.Resampling.BICUBIC))
        pixels = (smooth + rng.normal(0, 18, (height, width, 3))).clip(0, 255).astype(np.uint8)
        (folder / label).mkdir(parents=True)
        PILImage.fromarray(pixels).save(folder / label / "0.jpg", quality=90)
    return sum(file.stat().st_size for file in folder.rglob("*.jpg")) / len(labels)
