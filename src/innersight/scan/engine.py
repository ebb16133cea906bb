"""`scan`: one pass over a data set that keeps, for every unit, what excites it; a fixed amount of memory."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from innersight import __version__, tap
from innersight.errors import InnersightError, nearest, printable
from innersight.image import PictureError
from innersight.layers import check_layers, story
from innersight.model import Layer, Model
from innersight.scan.dataset import Label, is_dataset
from innersight.scan.feed import Item, Loaded, items, network_input, stream
from innersight.scan.kinds import Room
from innersight.scan.kinds.extremes import decode
from innersight.scan.ledger import Ledger, Record
from innersight.scan.likeness import likeness
from innersight.scan.result import Scan
from innersight.scan.rooms import Pairs, rooms
from innersight.scan.seen import Batch
from innersight.scan.tally import Gathering, Tally
from innersight.store import Store

SHARD = 512
FORMAT = 2  # of what is stored; raise it when that changes
Watch = Callable[[int, int, str], None]


def scan(
    model: Model,
    pictures: Any,
    layers: Sequence[str] | None = None,
    *,
    top: int = 9,
    batch: int = 32,
    correlate: Pairs = False,
    class_maps: bool = False,
    out: str | Path | None = None,
    workers: int | None = None,
    shard: int = SHARD,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Scan:
    """Return, for every unit of `layers`, the pictures that excite it most and least, and statistics, from one pass.

    pictures : files, folders, `.tar` files (WebDataset), or one data set of torch, Hugging Face or webdataset; see
    `innersight.scan.feed.items`. layers : those that tell the story when None. top : examples of each unit. batch :
    pictures in one forward pass, which ends at the deepest layer. workers : threads that decode; one for each core,
    up to 4, when None. watch : called with (entries done, 0, name of the last one).

    correlate : also how the peaks of the units go together, within every layer and with the layer before it, or for
    the pairs of layers named; see `innersight.scan.kinds.correlation`. class_maps : also the mean map of every unit for
    each class. Memory for these grows with units times units, and units times classes.

    With `out` the work is kept in that study's folder after every `shard` pictures: after a kill, Ctrl-C or a full disk
    the same call goes on there, and ends with the same bytes as one that was not interrupted. overwrite : begin anew.

    A file that cannot be read is skipped and listed. Memory does not grow with the number of pictures. Raises
    InnersightError for unknown layers, for pictures or settings that are not those of the scan in `out`, while another
    process works there, and where what is asked for would keep more than 1 GiB; PictureError when no picture at all
    could be read.
    """
    if top < 1 or batch < 1 or shard < 1:
        raise InnersightError(f"top is {top}, batch is {batch} and shard is {shard}; all are at least 1")
    if workers is not None and workers < 0:
        raise InnersightError(f"workers is {workers}: name how many threads decode, or 0 for none")
    described = check_layers(model, tuple(layers) if layers else story(model))
    if isinstance(pictures, Iterator):
        pictures = list(pictures)
    work = _Work(model, described, rooms(model, described, top, correlate, class_maps), top, batch)
    with ExitStack() as stack:
        source: Iterator[Item] = items(pictures, frozenset(model.labels))
        ledger = None
        if out is not None:
            store = Store.create(out)
            stack.enter_context(store.locked())
            settings = {
                "format": FORMAT, "version": __version__, "model": model.digest(), "layers": list(work.layers),
                "top": top, "batch": batch, "shard": shard, "class_maps": class_maps,
                "correlate": {name: list(part.room.partners) for name, part in work.layers.items()},
            }  # fmt: skip
            ledger = Ledger.open(store, settings, overwrite=overwrite)
            _go_on(work, ledger, source)
        threads = min(4, os.cpu_count() or 1) if workers is None else workers
        loaded = stack.enter_context(closing(stream(source, model.input, threads, digests=ledger is not None)))
        stack.enter_context(tap.untouched(model))
        stack.enter_context(torch.no_grad())
        for _, entries in groupby(loaded, key=lambda one: one.item.number // shard):
            records = work.shard(entries)
            if ledger is not None:
                ledger.commit(settings, work.done, work.pictures, work.tensors(), records)
            if watch is not None:
                watch(work.done, 0, printable(records[-1].name))
    if not work.pictures:
        raise PictureError(work.skipped[0] if work.skipped else "no pictures given")
    return work.result(pictures)


def _go_on(work: "_Work", ledger: Ledger, source: Iterator[Item]) -> None:
    """Take up the work where the ledger says it stopped, after comparing the pictures done with those there are."""
    before = ledger.progress()
    if before is None:
        return
    ledger.check(source, before.done)
    work.load(before.done, before.pictures, before.tensors)
    work.records = ledger.records(work.kept())
    work.skipped = ledger.broken()
    work.strangers = Counter(ledger.strangers())
    work.labelled = ledger.labelled()


class _Work:
    """A scan while it runs: sums, and the records of those pictures that are kept.

    done : entries of the source that were looked at. pictures : those that could be read. strangers : labels that are
    no class of the model, and how many pictures have them.
    """

    def __init__(self, model: Model, layers: Sequence[Layer], given: Mapping[str, Room], top: int, batch: int) -> None:
        self.model, self.top, self.batch = model, top, batch
        self.layers = {layer.name: Gathering(given[layer.name], layer.grid) for layer in layers}
        self.records: dict[int, Record] = {}
        self.skipped: list[str] = []
        self.strangers: Counter[str] = Counter()
        self.done = self.pictures = self.labelled = 0

    def shard(self, entries: Iterable[Loaded]) -> list[Record]:
        """Take in a shard and return its records."""
        parts = {name: gathering.shard() for name, gathering in self.layers.items()}
        records: list[Record] = []
        waiting: list[Loaded] = []
        for one in entries:
            self.done += 1
            if one.broken is None:
                waiting.append(one)
            else:
                self.skipped.append(one.broken)
                label = _text(one.item.label)
                records.append(Record(one.item.number, one.item.name, label, -1, 0, one.stamp, one.digest, one.broken))
            if len(waiting) == self.batch:
                records += self._add(waiting, parts)
                waiting = []
        if waiting:
            records += self._add(waiting, parts)
        for name, gathering in self.layers.items():
            gathering.merge(parts[name])
        records.sort(key=lambda record: record.number)
        self.records |= {record.number: record for record in records if record.broken is None}
        self.records = {number: self.records[number] for number in self.kept()}
        return records

    def _add(self, loaded: Sequence[Loaded], parts: Mapping[str, Gathering]) -> list[Record]:
        x = network_input(loaded, self.model)
        classes = [class_of(one.item.label, self.model) for one in loaded]
        batch = Batch(
            torch.tensor([one.item.number for one in loaded], device=x.device), torch.tensor(classes, device=x.device)
        )
        readers = {name: partial(part.add, batch=batch) for name, part in parts.items()}
        tap.read(self.model, x, readers)
        hashes = likeness(self.model.input.denormalise(x.float())).tolist()
        records = [
            Record(one.item.number, one.item.name, _text(one.item.label), class_, hash_, one.stamp, one.digest)
            for one, class_, hash_ in zip(loaded, classes, hashes, strict=True)
        ]
        self.pictures += len(loaded)
        self.labelled += sum(class_ >= 0 for class_ in classes)
        self.strangers.update(r.label for r in records if r.class_ < 0 and r.label is not None)
        return records

    def kept(self) -> list[int]:
        """Return the numbers of the pictures that any unit keeps, in order."""
        found: list[Tensor] = []
        for gathering in self.layers.values():
            tensors = gathering.tensors()
            found += [torch.unique(decode(tensors[f"{end}/keys"])[1]) for end in ("highest", "lowest")]
            found += [tensors["bands/numbers"], tensors["presence/first"]]
        numbers: list[int] = torch.unique(torch.cat(found)).tolist()
        return [number for number in numbers if 0 <= number < self.done]

    def tensors(self) -> dict[str, Tensor]:
        """Return all sums by `LAYER/STATISTIC/name`."""
        return {f"{name}/{key}": tensor for name, part in self.layers.items() for key, tensor in part.tensors().items()}

    def load(self, done: int, pictures: int, tensors: Mapping[str, Tensor]) -> None:
        """Go on from stored sums."""
        self.done, self.pictures = done, pictures
        for name, gathering in self.layers.items():
            own = f"{name}/"
            gathering.load({key[len(own) :]: value for key, value in tensors.items() if key.startswith(own)})

    def result(self, pictures: Any) -> Scan:
        """Return what was found."""
        tallies = {name: Tally(part.tensors(), self.pictures, part.grid) for name, part in self.layers.items()}
        return Scan(
            self.model,
            tallies,
            self.records,
            self.top,
            self.pictures,
            tuple(self.skipped),
            tuple(self._notes(tallies)),
            pictures if is_dataset(pictures) else None,
        )

    def _notes(self, tallies: Mapping[str, Tally]) -> Iterator[str]:
        if self.strangers:
            first = next(iter(self.strangers))
            names = ", ".join(map(printable, list(self.strangers)[:3]))
            more = f" and {len(self.strangers) - 3} more" if len(self.strangers) > 3 else ""
            none = "" if self.labelled else ", so there is no class selectivity"
            yield (
                f"{self.strangers.total()} pictures are labelled {names}{more}, which is no class of "
                f"{self.model.name}: they count for no class{none}; {nearest(first, self.model.labels)}"
            )
        for name, tally in tallies.items():
            if tally.not_finite:
                first_number = tally.first_not_finite
                where = printable(self.records[first_number].name) if first_number is not None else "?"
                yield (
                    f"{name}: {tally.not_finite:,} maps of {int((tally.raw['presence/broken'] > 0).sum())} units hold "
                    f"NaN or an infinity, first on {where}; they are left out of all that is counted"
                )


def class_of(label: Label, model: Model) -> int:
    """Return the number of the model's class that a label names, or -1."""
    if label in model.labels:
        return model.labels.index(label)
    number = int(label) if isinstance(label, int) or (isinstance(label, str) and label.isdecimal()) else -1
    return number if 0 <= number < len(model.labels) else -1


def _text(label: Label) -> str | None:
    return None if label is None else str(label)
