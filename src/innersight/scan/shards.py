"""What a shard of the images adds to a scan: computed here, or by workers of a cluster; the bytes are the same."""

import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import safetensors.torch
import torch
from torch import Tensor

from innersight import tap
from innersight.errors import InnersightError, printable
from innersight.inputs import ImageEntry, Label, Loaded, class_of, network_input, stream, threads
from innersight.layer import Layer
from innersight.model import Model
from innersight.remote import spread
from innersight.scan.image_sums import ImageSums
from innersight.scan.layer_batch import Batch
from innersight.scan.options import Batching
from innersight.scan.perceptual_hash import perceptual_hash, repeats
from innersight.scan.record import Record
from innersight.scan.scores import class_scores, no_scores
from innersight.scan.settings import Pairs, layer_settings
from innersight.scan.tally import LayerStatistics

SMALLEST = 4  # pixels a side: smaller images, such as tracking pixels, are skipped
Parts = dict[str, LayerStatistics]
Shard = tuple[Parts, list[Record]]


@dataclass(frozen=True)
class ScanPlan:
    """What is scanned, and how shards are worked through; see `innersight.scan`.

    digests : whether digests and stamps of the image files are wanted too. known : digests of the images that the
    network was trained on, where its run has a list.
    """

    layers: tuple[Layer, ...]
    examples: int
    max_duplicates: int
    batching: Batching
    correlate: Pairs
    class_maps: bool
    digests: bool
    known: frozenset[str] = frozenset()

    def empty(self, model: Model) -> Parts:
        """Return empty statistics of every layer. Raises InnersightError as `layer_settings` does."""
        given = layer_settings(model, self.layers, self.examples, self.max_duplicates, self.correlate, self.class_maps)
        return {layer.name: LayerStatistics(given[layer.name], layer.grid) for layer in self.layers}


def run_local(
    model: Model, plan: ScanPlan, source: Iterator[ImageEntry], before: Parts, sums: ImageSums
) -> Generator[Shard, None, None]:
    """Yield shard after shard, computed in this process.

    before : statistics so far; the caller merges each shard into them. sums : gets the network's input of all images.
    """
    with closing(_stream(source, model, plan, threads(plan.batching.workers))) as loaded:
        for _, entries in groupby(loaded, key=lambda one: one.entry.number // plan.batching.shard):
            parts = {name: statistics.shard() for name, statistics in before.items()}
            yield parts, gather(model, plan, parts, entries, sums)


def run_remote(
    model: Model, plan: ScanPlan, source: Iterator[ImageEntry], cluster: str, sums: ImageSums
) -> Generator[Shard, None, None]:
    """Yield shard after shard in their order, computed by workers on a Ray cluster; see `innersight.remote.spread`.

    sums : gets what the workers' sums hold. Raises InnersightError where a worker does not find a file that is here.
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
            sums.load(safetensors.torch.load(result.sums))
            parts = plan.empty(model)
            for name, statistics in parts.items():
                statistics.load(safetensors.torch.load(result.parts[name]))
            yield parts, result.records


@dataclass(frozen=True, eq=False)
class ShardResult:
    """What a worker found. parts : `LayerStatistics.tensors` of each layer as safetensors. absent : files not found.

    sums : `ImageSums.tensors` as safetensors.
    """

    machine: str
    parts: dict[str, bytes]
    records: list[Record]
    absent: list[str]
    sums: bytes


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
        loaded, sums = _stream(entries, model, plan, decoders), ImageSums(model)
        with closing(loaded), tap.untouched(model), torch.no_grad():
            records = gather(model, plan, parts, loaded, sums)
        packed = {name: safetensors.torch.save(statistics.tensors()) for name, statistics in parts.items()}
        for name, statistics in self._before.items():
            statistics.prune(parts[name])
        self._last = entries[-1].number
        broken = {record.number for record in records if record.broken is not None}
        paths = [os.fspath(one.path) for one in entries if one.number in broken and one.path is not None]
        absent = [path for path in paths if not os.path.exists(path)]
        return ShardResult(socket.gethostname(), packed, records, absent, safetensors.torch.save(sums.tensors()))


def gather(
    model: Model,
    plan: ScanPlan,
    parts: Mapping[str, LayerStatistics],
    entries: Iterable[Loaded],
    sums: ImageSums,
) -> list[Record]:
    """Add the images to `parts` and `sums`, a batch at a time; return a record of each, ordered by number."""
    records: list[Record] = []
    waiting: list[Loaded] = []
    hashes: list[Tensor] = []
    for one in entries:
        if one.broken is None:
            waiting.append(one)
        else:
            label = _text(one.entry.label)
            records.append(Record(one.entry.number, one.entry.name, label, -1, 0, one.stamp, one.digest, one.broken))
        if len(waiting) == plan.batching.batch:
            records += _add(model, plan, parts, waiting, hashes, sums)
            waiting = []
    if waiting:
        records += _add(model, plan, parts, waiting, hashes, sums)
    return sorted(records, key=lambda record: record.number)


def _add(
    model: Model,
    plan: ScanPlan,
    parts: Mapping[str, LayerStatistics],
    loaded: Sequence[Loaded],
    before: list[Tensor],
    sums: ImageSums,
) -> list[Record]:
    """Add a batch. before : hashes of the images of the shard so far; takes those of the batch."""
    x = network_input(loaded, model)
    sums.look.add(x, (one.size for one in loaded))
    classes = [class_of(one.entry.label, model.labels) for one in loaded]
    numbers, known = (torch.tensor(values, device=x.device) for values in ([i.entry.number for i in loaded], classes))
    hashes = perceptual_hash(model.input.denormalise(x.float()))
    batch = Batch(numbers, known, hashes, bool(repeats(hashes, torch.cat([hashes[:0], *before])).any()))
    before.append(hashes)
    readers: dict[str, list[Callable[[Tensor], None]]] = {
        name: [partial(part.add, batch=batch)] for name, part in parts.items()
    }
    if sums.features.layer is not None:
        readers.setdefault(sums.features.layer, []).append(partial(sums.features.add, numbers=numbers))
    each = {name: partial(_each, some) for name, some in readers.items()}
    logits = tap.read(model, x, each, stop=no_scores(model) is not None)
    predictions = [None] * len(loaded) if logits is None else class_scores(model, logits, classes)
    return [
        Record(
            one.entry.number,
            one.entry.name,
            _text(one.entry.label),
            class_,
            hash_,
            one.stamp,
            one.digest,
            prediction=prediction,
            trained=not plan.known.isdisjoint(one.contents) if plan.known else None,
        )
        for one, class_, hash_, prediction in zip(loaded, classes, hashes.tolist(), predictions, strict=True)
    ]


def _each(readers: Iterable[Callable[[Tensor], None]], activation: Tensor) -> None:
    for reader in readers:
        reader(activation)


def _stream(source: Iterable[ImageEntry], model: Model, plan: ScanPlan, decoders: int) -> Generator[Loaded, None, None]:
    return stream(source, model.input, decoders, digests=plan.digests, least=SMALLEST, contents=bool(plan.known))


def _text(label: Label) -> str | None:
    return None if label is None else str(label)


def _name(entries: Sequence[ImageEntry]) -> str:
    return f"the images from {printable(entries[0].name)} to {printable(entries[-1].name)}"
