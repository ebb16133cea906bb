"""What a shard of the images adds to a scan: computed here, or by workers of a cluster; the bytes are the same."""

import os
import socket
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import safetensors.torch
import torch
from torch import Tensor

from innersight import tap
from innersight.errors import InnersightError, printable
from innersight.input_warnings import InputLook
from innersight.inputs import ImageEntry, Label, Loaded, class_of, network_input, stream, threads
from innersight.layer import Layer
from innersight.model import Model
from innersight.remote import spread
from innersight.scan.layer_batch import Batch
from innersight.scan.ledger import Record
from innersight.scan.options import Batching
from innersight.scan.perceptual_hash import perceptual_hash, repeats
from innersight.scan.settings import Pairs, layer_settings
from innersight.scan.tally import LayerStatistics

SMALLEST = 4  # pixels a side: smaller images, such as tracking pixels, are skipped
Parts = dict[str, LayerStatistics]
Shard = tuple[Parts, list[Record]]


@dataclass(frozen=True)
class ScanPlan:
    """What is scanned, and how shards are worked through; see `innersight.scan`.

    digests : whether digests and stamps of the image files are wanted too.
    """

    layers: tuple[Layer, ...]
    examples: int
    max_duplicates: int
    batching: Batching
    correlate: Pairs
    class_maps: bool
    digests: bool

    def empty(self, model: Model) -> Parts:
        """Return empty statistics of every layer. Raises InnersightError as `layer_settings` does."""
        given = layer_settings(model, self.layers, self.examples, self.max_duplicates, self.correlate, self.class_maps)
        return {layer.name: LayerStatistics(given[layer.name], layer.grid) for layer in self.layers}


def run_local(
    model: Model, plan: ScanPlan, source: Iterator[ImageEntry], before: Parts, look: InputLook
) -> Generator[Shard, None, None]:
    """Yield shard after shard, computed in this process.

    before : statistics so far; the caller merges each shard into them.

    look : gets the network's input of all images.
    """
    decoders = threads(plan.batching.workers)
    with closing(stream(source, model.input, decoders, digests=plan.digests, least=SMALLEST)) as loaded:
        for _, entries in groupby(loaded, key=lambda one: one.entry.number // plan.batching.shard):
            parts = {name: statistics.shard() for name, statistics in before.items()}
            yield parts, gather(model, parts, entries, plan.batching.batch, look)


def run_remote(
    model: Model, plan: ScanPlan, source: Iterator[ImageEntry], cluster: str, look: InputLook
) -> Generator[Shard, None, None]:
    """Yield shard after shard in their order, computed by workers on a Ray cluster; see `innersight.remote.spread`.

    look : gets what the workers' looks hold.

    Raises InnersightError where a worker does not find a file that is here.
    """
    # A row of a data set may be large, or not be sent at all, and only its image is looked at.
    pieces = (
        [replace(entry, row=None, image=None) for entry in entries]
        for _, entries in groupby(source, key=lambda entry: entry.number // plan.batching.shard)
    )
    with closing(spread(cluster, model, ShardWorker(plan), pieces, _name)) as results:
        for result in results:
            for name in filter(os.path.exists, result.absent):
                raise InnersightError(
                    f"{printable(name)} does not exist on {result.machine}: image files must be found under the "
                    "same path on every machine; put them on shared storage"
                )
            look.merge(result.sizes, result.unit)
            parts = plan.empty(model)
            for name, statistics in parts.items():
                statistics.load(safetensors.torch.load(result.parts[name]))
            yield parts, result.records


@dataclass(frozen=True, eq=False)
class ShardResult:
    """What a worker found. parts : `LayerStatistics.tensors` of each layer as safetensors. absent : files not found.

    sizes, unit : see `innersight.input_warnings.InputLook`.
    """

    machine: str
    parts: dict[str, bytes]
    records: list[Record]
    absent: list[str]
    sizes: Mapping[tuple[int, int], int]
    unit: tuple[str, ...] | None


class ShardWorker:
    """What a worker on another machine computes of each shard.

    It rejects what could not be kept given the earlier shards it computed. A shard that comes late, because a worker
    died at it, is not compared with later ones, so that every shard adds what it would have added in one process.
    """

    def __init__(self, plan: ScanPlan) -> None:
        self._plan, self._before, self._last = plan, Parts(), -1

    def __call__(self, model: Model, entries: Sequence[ImageEntry]) -> ShardResult:
        """Compute a shard."""
        plan = self._plan
        if not self._before or entries[0].number < self._last:
            self._before = plan.empty(model)
        decoders = min(4, torch.get_num_threads()) if plan.batching.workers is None else plan.batching.workers
        parts = {name: statistics.shard() for name, statistics in self._before.items()}
        loaded, look = stream(entries, model.input, decoders, digests=plan.digests, least=SMALLEST), InputLook(model)
        with closing(loaded), tap.untouched(model), torch.no_grad():
            records = gather(model, parts, loaded, plan.batching.batch, look)
        packed = {name: safetensors.torch.save(statistics.tensors()) for name, statistics in parts.items()}
        for name, statistics in self._before.items():
            statistics.prune(parts[name])
        self._last = entries[-1].number
        broken = {record.number for record in records if record.broken is not None}
        paths = [os.fspath(one.path) for one in entries if one.number in broken and one.path is not None]
        absent = [path for path in paths if not os.path.exists(path)]
        return ShardResult(socket.gethostname(), packed, records, absent, dict(look.sizes), look.unit)


def gather(
    model: Model,
    parts: Mapping[str, LayerStatistics],
    entries: Iterable[Loaded],
    batch: int,
    look: InputLook,
) -> list[Record]:
    """Add the images to `parts`, `batch` at a time; return a record of each, in the order of their numbers."""
    records: list[Record] = []
    waiting: list[Loaded] = []
    hashes: list[Tensor] = []
    for one in entries:
        if one.broken is None:
            waiting.append(one)
        else:
            label = _text(one.entry.label)
            records.append(Record(one.entry.number, one.entry.name, label, -1, 0, one.stamp, one.digest, one.broken))
        if len(waiting) == batch:
            records += _add(model, parts, waiting, hashes, look)
            waiting = []
    if waiting:
        records += _add(model, parts, waiting, hashes, look)
    return sorted(records, key=lambda record: record.number)


def _add(
    model: Model, parts: Mapping[str, LayerStatistics], loaded: Sequence[Loaded], before: list[Tensor], look: InputLook
) -> list[Record]:
    """Add a batch. before : hashes of the images of the shard so far; takes those of the batch."""
    x = network_input(loaded, model)
    look.add(x, (one.size for one in loaded))
    classes = [class_of(one.entry.label, model.labels) for one in loaded]
    numbers, known = (torch.tensor(values, device=x.device) for values in ([i.entry.number for i in loaded], classes))
    hashes = perceptual_hash(model.input.denormalise(x.float()))
    batch = Batch(numbers, known, hashes, bool(repeats(hashes, torch.cat([hashes[:0], *before])).any()))
    before.append(hashes)
    readers = {name: partial(part.add, batch=batch) for name, part in parts.items()}
    tap.read(model, x, readers)
    return [
        Record(one.entry.number, one.entry.name, _text(one.entry.label), class_, hash_, one.stamp, one.digest)
        for one, class_, hash_ in zip(loaded, classes, hashes.tolist(), strict=True)
    ]


def _text(label: Label) -> str | None:
    return None if label is None else str(label)


def _name(entries: Sequence[ImageEntry]) -> str:
    return f"the images from {printable(entries[0].name)} to {printable(entries[-1].name)}"
