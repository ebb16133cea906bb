"""What a shard of the images adds to a scan: found here, or by workers on other machines; the bytes are the same."""

import os
import socket
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import safetensors.torch
import torch

from innersight import tap
from innersight.errors import InnersightError, printable
from innersight.input_warnings import InputLook
from innersight.inputs import ImageEntry, Label, Loaded, class_of, network_input, stream, threads
from innersight.layer import Layer
from innersight.model import Model
from innersight.remote import spread
from innersight.scan.ledger import Record
from innersight.scan.likeness import likeness
from innersight.scan.rooms import Pairs, rooms
from innersight.scan.seen import Batch
from innersight.scan.tally import Gathering

SMALLEST = 4  # pixels a side: what is smaller, such as a tracking pixel, shows nothing
Parts = dict[str, Gathering]
Shard = tuple[Parts, list[Record]]


@dataclass(frozen=True)
class Plan:
    """How shards are worked through. shard, batch : images. workers : threads that decode; by the cores when None.

    top, alike, correlate, class_maps : see `innersight.scan`. digests : whether content and stamps of images are
    wanted too.
    """

    layers: tuple[Layer, ...]
    top: int
    alike: int
    batch: int
    shard: int
    workers: int | None
    correlate: Pairs
    class_maps: bool
    digests: bool

    def empty(self, model: Model) -> Parts:
        """Return what is gathered before the first image. Raises InnersightError as `innersight.scan.rooms` does."""
        given = rooms(model, self.layers, self.top, self.alike, self.correlate, self.class_maps)
        return {layer.name: Gathering(given[layer.name], layer.grid) for layer in self.layers}


def here(
    model: Model, plan: Plan, source: Iterator[ImageEntry], before: Parts, look: InputLook
) -> Generator[Shard, None, None]:
    """Yield shard after shard, computed here. before : what was gathered; the caller merges each shard into it.

    look : is shown all images.
    """
    decoders = threads(plan.workers)
    with closing(stream(source, model.input, decoders, digests=plan.digests, least=SMALLEST)) as loaded:
        for _, entries in groupby(loaded, key=lambda one: one.entry.number // plan.shard):
            parts = {name: gathering.shard() for name, gathering in before.items()}
            yield parts, gather(model, parts, entries, plan.batch, look)


def there(
    model: Model, plan: Plan, source: Iterator[ImageEntry], cluster: str, look: InputLook
) -> Generator[Shard, None, None]:
    """Yield shard after shard in their order, computed by workers on a Ray cluster; see `innersight.remote.spread`.

    look : is told of all images.

    Raises InnersightError where a worker does not find a file that is here.
    """
    # A row of a data set may be large, or not be sent at all, and only its image is looked at.
    pieces = (
        [replace(entry, row=None, image=None) for entry in entries]
        for _, entries in groupby(source, key=lambda entry: entry.number // plan.shard)
    )
    with closing(spread(cluster, model, Away(plan), pieces, _told)) as answers:
        for answer in answers:
            for name in filter(os.path.exists, answer.absent):
                raise InnersightError(
                    f"{printable(name)} is not on {answer.machine}: images must be found under the same path on "
                    "every machine, as on shared storage"
                )
            look.merge(answer.sizes, answer.unit)
            parts = plan.empty(model)
            for name, gathering in parts.items():
                gathering.load(safetensors.torch.load(answer.parts[name]))
            yield parts, answer.records


@dataclass(frozen=True, eq=False)
class Answer:
    """What a worker found. parts : `Gathering.tensors` of each layer as safetensors. absent : files it did not find.

    sizes, unit : see `innersight.input_warnings.InputLook`.
    """

    machine: str
    parts: dict[str, bytes]
    records: list[Record]
    absent: list[str]
    sizes: Mapping[tuple[int, int], int]
    unit: tuple[str, ...] | None


class Away:
    """What a worker on another machine does with shards.

    What it gathered of earlier ones tells it what could not be kept anyway. A shard that comes late, because the worker
    before died at it, is not measured by later ones, so that every shard adds what it would have added here.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan, self._before, self._last = plan, Parts(), -1

    def __call__(self, model: Model, entries: Sequence[ImageEntry]) -> Answer:
        """Gather a shard."""
        plan = self._plan
        if not self._before or entries[0].number < self._last:
            self._before = plan.empty(model)
        decoders = min(4, torch.get_num_threads()) if plan.workers is None else plan.workers
        parts = {name: gathering.shard() for name, gathering in self._before.items()}
        loaded, look = stream(entries, model.input, decoders, digests=plan.digests, least=SMALLEST), InputLook(model)
        with closing(loaded), tap.untouched(model), torch.no_grad():
            records = gather(model, parts, loaded, plan.batch, look)
        packed = {name: safetensors.torch.save(gathering.tensors()) for name, gathering in parts.items()}
        for name, gathering in self._before.items():
            gathering.expect(parts[name])
        self._last = entries[-1].number
        broken = {record.number for record in records if record.broken is not None}
        paths = [os.fspath(one.path) for one in entries if one.number in broken and one.path is not None]
        absent = [path for path in paths if not os.path.exists(path)]
        return Answer(socket.gethostname(), packed, records, absent, dict(look.sizes), look.unit)


def gather(
    model: Model,
    parts: Mapping[str, Gathering],
    entries: Iterable[Loaded],
    batch: int,
    look: InputLook,
) -> list[Record]:
    """Take the images into `parts`, `batch` at a time; return a record of each, in the order of their numbers."""
    records: list[Record] = []
    waiting: list[Loaded] = []
    for one in entries:
        if one.broken is None:
            waiting.append(one)
        else:
            label = _text(one.entry.label)
            records.append(Record(one.entry.number, one.entry.name, label, -1, 0, one.stamp, one.digest, one.broken))
        if len(waiting) == batch:
            records += _add(model, parts, waiting, look)
            waiting = []
    if waiting:
        records += _add(model, parts, waiting, look)
    return sorted(records, key=lambda record: record.number)


def _add(model: Model, parts: Mapping[str, Gathering], loaded: Sequence[Loaded], look: InputLook) -> list[Record]:
    x = network_input(loaded, model)
    look.add(x, (one.size for one in loaded))
    classes = [class_of(one.entry.label, model.labels) for one in loaded]
    numbers, known = (torch.tensor(values, device=x.device) for values in ([i.entry.number for i in loaded], classes))
    hashes = likeness(model.input.denormalise(x.float()))
    batch = Batch(numbers, known, hashes)
    readers = {name: partial(part.add, batch=batch) for name, part in parts.items()}
    tap.read(model, x, readers)
    return [
        Record(one.entry.number, one.entry.name, _text(one.entry.label), class_, hash_, one.stamp, one.digest)
        for one, class_, hash_ in zip(loaded, classes, hashes.tolist(), strict=True)
    ]


def _text(label: Label) -> str | None:
    return None if label is None else str(label)


def _told(entries: Sequence[ImageEntry]) -> str:
    return f"the images from {printable(entries[0].name)} to {printable(entries[-1].name)}"
