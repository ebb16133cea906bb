"""`scan`: one pass over a data set that keeps, for every unit, what excites it; a fixed amount of memory."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from innersight import __version__, tap
from innersight.errors import InnersightError, nearest, printable
from innersight.image import PictureError
from innersight.layers import check_layers, story
from innersight.model import Model
from innersight.scan.dataset import is_dataset
from innersight.scan.feed import Item, items, threads
from innersight.scan.kinds.extremes import decode
from innersight.scan.ledger import Ledger, Record
from innersight.scan.result import Scan
from innersight.scan.rooms import Pairs
from innersight.scan.shards import Parts, Plan, here, there
from innersight.scan.tally import Tally
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
    ray: str | None = None,
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

    ray : address of a Ray cluster whose workers do it, "auto" or "local"; `?workers=4&cpus=2&gpus=1` may follow, see
    `innersight.remote`. Pictures must be found under the same path there. `out` is written here, with the bytes that
    this machine would give on such a processor and with as many threads: a scan may begin here and end there.

    A file that cannot be read is skipped and listed. Memory does not grow with the number of pictures. Raises
    InnersightError for unknown layers, for pictures or settings that are not those of the scan in `out`, while another
    process works there, where what is asked for would keep more than 1 GiB, and what `innersight.remote.spread` raises;
    PictureError when no picture could be read.
    """
    if top < 1 or batch < 1 or shard < 1:
        raise InnersightError(f"top is {top}, batch is {batch} and shard is {shard}; all are at least 1")
    threads(workers)
    described = check_layers(model, tuple(layers) if layers else story(model))
    if isinstance(pictures, Iterator):
        pictures = list(pictures)
    plan = Plan(described, top, batch, shard, workers, correlate, class_maps, digests=out is not None)
    work = _Work(model, plan)
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
        stack.enter_context(tap.untouched(model))
        stack.enter_context(torch.no_grad())
        shards = here(model, plan, source, work.layers) if ray is None else there(model, plan, source, ray)
        waiting: list[Record] = []
        for parts, records in stack.enter_context(closing(shards)):
            work.take(parts, records)
            waiting += records
            # Where nothing can be read nothing is begun: a mistyped folder does not stand in the way of the right one.
            if ledger is not None and work.pictures:
                ledger.commit(settings, work.done, work.pictures, work.tensors(), waiting)
                waiting = []
            if watch is not None:
                watch(work.done, 0, printable(records[-1].name))
    if not work.pictures:
        raise PictureError(work.skipped[0] if work.skipped else "no pictures given")
    return work.result(pictures)


def stored(model: Model, study: str | Path) -> Scan | None:
    """Return what the scan kept in a study's folder has found so far; None where there is none of this model.

    Its pictures are read again only when their crops are asked for; those of a torch or Hugging Face data set cannot.
    Raises InnersightError where there is no study, or its file is damaged.
    """
    ledger = Ledger(Store.open(study))
    settings, before = ledger.settings(), ledger.progress()
    if settings is None or before is None or settings["model"] != model.digest() or settings["format"] != FORMAT:
        return None
    pairs = [(name, other) for name, others in settings["correlate"].items() for other in others]
    top, batch, shard = (settings[name] for name in ("top", "batch", "shard"))
    layers = check_layers(model, settings["layers"])
    work = _Work(model, Plan(layers, top, batch, shard, None, pairs, settings["class_maps"], digests=True))
    work.load(before.done, before.pictures, before.tensors)
    work.records = ledger.records(work.kept())
    work.skipped = ledger.broken()
    return work.result(None)


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

    def __init__(self, model: Model, plan: Plan) -> None:
        self.model, self.top, self.layers = model, plan.top, plan.empty(model)
        self.records: dict[int, Record] = {}
        self.skipped: list[str] = []
        self.strangers: Counter[str] = Counter()
        self.done = self.pictures = self.labelled = 0

    def take(self, parts: Parts, records: Sequence[Record]) -> None:
        """Take in a shard, the next one in order."""
        for name, gathering in self.layers.items():
            gathering.merge(parts[name])
        read = [record for record in records if record.broken is None]
        self.done += len(records)
        self.pictures += len(read)
        self.skipped += [record.broken for record in records if record.broken is not None]
        self.labelled += sum(record.class_ >= 0 for record in read)
        self.strangers.update(r.label for r in read if r.class_ < 0 and r.label is not None)
        self.records |= {record.number: record for record in read}
        self.records = {number: self.records[number] for number in self.kept()}

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
