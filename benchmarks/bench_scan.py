"""What a scan of all layers adds to the bare forward pass, against hooks into lists; and what binds a small one."""

import importlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

import innersight as ins
from benchmarks.networks import efficientnet
from benchmarks.scan_memory import measured
from benchmarks.timing import Row, race
from innersight import tap, toons
from innersight.inputs import Loaded, entries, network_input, stream
from innersight.layers import layers
from innersight.model import Model
from innersight.scan.layer_batch import Batch
from innersight.scan.perceptual_hash import perceptual_hash, repeats
from innersight.scan.settings import layer_settings
from innersight.scan.statistics.extremes import decode
from innersight.scan.tally import LayerStatistics

BATCH, TOP, BATCHES, TURNS = 16, 16, 16, 5


def measure() -> list[Row]:
    model = efficientnet()
    names = [layer.name for layer in layers(model)]
    generator = torch.Generator().manual_seed(0)
    # Scenes of their own, and not one batch again and again: of images that are alike a scan keeps one.
    fresh = iter([torch.randn(BATCH, *model.input.shape, generator=generator) for _ in range((TURNS + 1) * BATCHES)])
    x = torch.randn(BATCH, *model.input.shape, generator=generator)
    with tap.untouched(model), torch.inference_mode():
        drawn = [torch.randn(BATCH, *model.input.shape, generator=generator) for _ in range(BATCHES)]
        late, video = _Scanned(model, names, 2_000), _Scanned(model, names, 2_000)
        rows = [
            race(
                f"EfficientNet-Lite0, {BATCH * BATCHES} images, {len(names)} layers, top-{TOP}: after 2,000 images",
                {
                    "innersight": lambda: late.several(itertools.islice(fresh, BATCHES)),
                    "bare forward": lambda: [model.net(x) for _ in range(BATCHES)],
                    "bare forward, channels last": lambda: [
                        model.net(x.to(memory_format=torch.channels_last)) for _ in range(BATCHES)
                    ],
                },
                rounds=TURNS,
                target="the bare forward at least 0.9x",
            ),
            race(
                f"the same, of {BATCH} scenes that come again and again",
                {
                    "innersight": lambda: video.several([x] * BATCHES),
                    "bare forward": lambda: [model.net(x) for _ in range(BATCHES)],
                },
                rounds=2,
            ),
            race(
                f"the first {BATCH * BATCHES} images",
                {
                    "innersight": lambda: _Scanned(model, names, 0).several(drawn),
                    "hooks into lists, then topk": lambda: _peer(model, names, x),
                },
                rounds=2,
            ),
        ]
    return [*rows, *_small(), *_many()]


class _Scanned:
    """All layers of a network, after some images whose peaks are drawn at random from what it gives."""

    def __init__(self, model: Model, names: list[str], before: int) -> None:
        self.model = model
        found = [layer for layer in layers(model) if layer.name in names]
        self.parts = {
            layer.name: LayerStatistics(settings, layer.grid)
            for layer, settings in zip(found, layer_settings(model, found, TOP).values(), strict=True)
        }
        self.count, self.hashes = 0, list[Tensor]()
        self.generator = torch.Generator().manual_seed(1)
        if before:
            self.run(torch.randn(BATCH, *model.input.shape, generator=self.generator))
            for part in self.parts.values():
                _seasoned(part, before, self.generator)
                part.tensors()  # sorts what waits

    def run(self, x: Tensor) -> None:
        hashes = perceptual_hash(self.model.input.denormalise(x))
        repeated = bool(repeats(hashes, torch.cat([hashes[:0], *self.hashes])).any())
        self.hashes.append(hashes)
        numbers = torch.arange(self.count, self.count + len(x)) + 1_000_000
        batch = Batch(numbers, torch.full((len(x),), -1), hashes, repeated)
        self.count += len(x)
        readers = {name: lambda maps, part=part: part.add(maps, batch) for name, part in self.parts.items()}
        tap.read(self.model, x.to(memory_format=torch.channels_last), readers)

    def several(self, batches: Iterable[Tensor]) -> None:
        for x in batches:
            self.run(x)


def _seasoned(part: LayerStatistics, images: int, generator: torch.Generator) -> None:
    """Feed maps of two locations, as high and low as those seen so far: then few new ones are among the extremes."""
    tensors = part.tensors()
    high, low = decode(tensors["highest/keys"])[0][:, :BATCH], -decode(tensors["lowest/keys"])[0][:, :BATCH]
    for start in range(0, images, 100):
        drawn = torch.randint(0, BATCH, (100,), generator=generator)
        noise = 1 + 0.1 * torch.randn(100, len(high), generator=generator)
        maps = torch.stack([high[:, drawn].T * noise, low[:, drawn].T * noise], 2)[..., None]
        hashes = torch.randint(1 << 62, (100,), generator=generator)
        part.add(maps, Batch(torch.arange(start, start + 100), torch.full((100,), -1), hashes))


def _peer(model: Model, names: list[str], x: Tensor) -> dict[str, Tensor]:
    """Keep every peak of every unit, and sort at the end."""
    peaks: dict[str, list[Tensor]] = {name: [] for name in names}
    modules = dict(model.net.named_modules())
    handles = [
        modules[name].register_forward_hook(lambda _m, _i, output, name=name: peaks[name].append(_peaks(output)))
        for name in names
    ]
    for _ in range(BATCHES):
        model.net(x)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(values).topk(TOP, dim=0).values for name, values in peaks.items()}


def _peaks(output: Tensor) -> Tensor:
    return output.flatten(2).max(2).values if output.ndim == 4 else output


def _many() -> list[Row]:
    """A data set of 1,000 and one of 50,000: time and memory, each in a process of its own, once."""
    few, many = 1_000, 50_000
    names = {"innersight": "innersight", "lists": "hooks into lists, then topk"}
    found = {(key, count): measured(key, count) for key in names for count in (few, many)}
    seconds = {name: found[key, many][0] for key, name in names.items()}
    memory = {name: found[key, many][1] for key, name in names.items()}
    memory |= {f"{name}, {few:,} images": found[key, few][1] for key, name in names.items()}
    what = f"toon network at 32 px, {many:,} images"
    return [
        Row(f"{what}, default layers", seconds, dict.fromkeys(seconds, 0.0)),
        Row(f"{what}: most memory", memory, dict.fromkeys(memory, 0.0), "that of 1,000 images", " MiB"),
    ]


def _small() -> list[Row]:
    """The toon network on drawn characters from files: the whole scan, its forward passes, and decoding alone."""
    model = ins.load("toon")
    with tempfile.TemporaryDirectory() as folder:
        toons.write(Path(folder), per_class=40, seed=0)
        loaded = list(stream(entries(folder), model.input, 0, digests=False))
        batches = [network_input(loaded[i : i + 32], model) for i in range(0, len(loaded), 32)]

        def forwards() -> None:
            with torch.inference_mode():
                for x in batches:
                    model.net(x)

        def decoded(workers: int) -> None:
            for _ in stream(entries(folder), model.input, workers, digests=False):
                pass

        waits = statistics.median(_waits(model, folder) for _ in range(3))
        binds = "decoding binds" if waits > 0.1 else "the passes and what is counted of them bind"
        return [
            race(
                f"toon network, {len(loaded)} PNG files of 96 px, default layers; it waits {waits:.0%} of its "
                f"time for decoded images: {binds}",
                {
                    "innersight": lambda: ins.scan(model, folder),
                    "forward passes alone": forwards,
                    "decoding alone, 2 threads": lambda: decoded(2),
                    "decoding alone, in turn": lambda: decoded(0),
                },
                rounds=3,
                target="decoding at most a tenth of the time",
            )
        ]


def _waits(model: Model, folder: str) -> float:
    """Return the share of a scan's time in which it waits for the threads that decode."""
    waited = 0.0

    def timed(*arguments: Any, **named: Any) -> Iterator[Loaded]:
        nonlocal waited
        with closing(stream(*arguments, **named)) as loaded:
            while True:
                start = time.perf_counter()
                one = next(loaded, None)
                waited += time.perf_counter() - start
                if one is None:
                    return
                yield one

    start = time.perf_counter()
    with mock.patch.object(importlib.import_module("innersight.scan.shards"), "stream", timed):
        ins.scan(model, folder)
    return waited / (time.perf_counter() - start)
