"""`scan`: one pass over a data set that keeps, for every unit, what excites it; a fixed amount of memory."""

import contextlib
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from innersight import __version__, tap
from innersight.call import public
from innersight.errors import InnersightError, printable
from innersight.image import ImageError
from innersight.input_warnings import InputLook
from innersight.inputs import (
    Assumed,
    Given,
    ImageEntry,
    again,
    entries,
    label_notes,
    repeatable,
    threads,
)
from innersight.layers import check_layers, default_layers
from innersight.model import Model
from innersight.scan.kinds.extremes import decode
from innersight.scan.ledger import Ledger, Progress, Record
from innersight.scan.result import Scan
from innersight.scan.rooms import Pairs
from innersight.scan.shards import Parts, Plan, here, there
from innersight.scan.tally import Tally
from innersight.storage.permit import ARCHIVE, Permit
from innersight.storage.store import Store
from innersight.storage.study_folder import written_by_innersight

SHARD = 512
FORMAT = 5  # of what is stored; raise it when that changes
LOOK = ":look/"  # begins the names of what is kept of the input contract; no layer begins so
Watch = Callable[[int, int, str], None]


@public()
def scan(
    model: Model,
    images: Any,
    layers: Sequence[str] | None = None,
    *,
    top: int = 9,
    alike: int = 1,
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
    """Return, for every unit of `layers`, the images that excite it most and least, and statistics, from one pass.

    images : whatever holds images, see `innersight.inputs.entries`.
    layers : the default layers when None. top : examples of each unit, of which at
    most `alike` are nearly the same image. batch : images in one forward pass, which ends at the deepest layer.
    workers : threads that decode; one for each core, up to 4, when None. watch : called with (entries done, 0, name of
    the last one).

    correlate : also how the peaks of the units go together, within every layer and with the layer before it, or for
    the pairs of layers named; see `innersight.scan.kinds.correlation`. class_maps : also the mean map of every unit for
    each class. Memory for these grows with units times units, and units times classes.

    With `out` the work is kept in that study's folder after every `shard` images: after a kill, Ctrl-C or a full disk
    the same call goes on there, and ends with the same bytes as one that was not interrupted. overwrite : begin anew.

    ray : address of a Ray cluster whose workers do it, "auto" or "local"; `?workers=4&cpus=2&gpus=1` may follow, see
    `innersight.remote`. Images must be found under the same path there. `out` is written here, with the bytes that
    this machine would give on such a processor and with as many threads: a scan may begin here and end there.

    A file that cannot be read is skipped and listed. Memory does not grow with the number of images, but for 8 bytes
    of each where there is no `out`. Raises
    InnersightError for unknown layers, for images or settings that are not those of the scan in `out`, while another
    process works there, where what is asked for would keep more than 1 GiB, and what `innersight.remote.spread` raises;
    ImageError when no image could be read.
    """
    sizes = {"top": top, "alike": alike, "batch": batch, "shard": shard}
    for name, size in sizes.items():
        if size < 1:
            raise InnersightError(f"{name} is {size}, and at least 1")
    threads(workers)
    described = check_layers(model, tuple(layers) if layers else default_layers(model))
    data, assumed = repeatable(images), Assumed(model.input)
    plan = Plan(
        described, **sizes, workers=workers, correlate=correlate, class_maps=class_maps, digests=out is not None
    )  # fmt: skip
    work = _Work(model, plan)
    with ExitStack() as stack:
        source: Iterator[ImageEntry] = map(assumed.add, entries(data, model.labels))
        ledger = unmarked = None
        if out is not None:
            store = Store.create(out)
            stack.enter_context(store.locked())
            settings = {
                "format": FORMAT, "version": __version__, "model": model.digest(), "layers": list(work.layers),
                **sizes, "class_maps": class_maps,
                "correlate": {name: list(part.room.partners) for name, part in work.layers.items()},
            }  # fmt: skip
            ledger = Ledger.open(store, settings, overwrite=overwrite)
            before = ledger.progress()
            if before is not None:
                ledger.check(source, before.done)
                with written_by_innersight(f"{store.folder}, its scan"):
                    work.go_on(ledger, before)
            names = ledger.names()
            unmarked = ledger.remember(names)
        stack.enter_context(tap.untouched(model))
        stack.enter_context(torch.no_grad())
        look = work.look
        shards = here(model, plan, source, work.layers, look) if ray is None else there(model, plan, source, ray, look)
        waiting: list[Record] = []
        for parts, records in stack.enter_context(closing(shards)):
            work.take(parts, records)
            waiting += records
            # Where nothing can be read nothing is begun: a mistyped folder does not stand in the way of the right one.
            if ledger is not None and work.images:
                ledger.commit(settings, work.done, work.images, work.tensors(), waiting, names)
                waiting = []
            if watch is not None:
                watch(work.done, 0, printable(records[-1].name))
    if not work.images:
        raise ImageError(work.skipped[0] if work.skipped else "no images given")
    found = work.result(data, ledger, assumed.notes())
    return replace(found, notes=(*found.notes, unmarked)) if unmarked else found


def stored(model: Model, study: str | Path, permit: Permit | None = None) -> Scan | None:
    """Return what the scan kept in a study's folder has found so far; None where there is none of this model.

    Its images are read again only when their crops are asked for; those of a data set only where it has a name
    (`hf:`, `python:`). permit : which of them may be read; those of a scan that this user made, when None.
    Raises InnersightError where there is no study, or its file is damaged.
    """
    store = Store.open(study)
    ledger = Ledger(store)
    settings, before = ledger.settings(), ledger.progress()
    if settings is None or before is None or settings.get("model") != model.digest():
        return None
    if settings.get("format") != FORMAT:
        return None
    with written_by_innersight(f"{store.folder}, its scan"):
        pairs = [(name, other) for name, others in settings["correlate"].items() for other in others]
        sizes = {name: settings[name] for name in ("top", "alike", "batch", "shard")}
        layers = check_layers(model, settings["layers"])
        plan = Plan(layers, **sizes, workers=None, correlate=pairs, class_maps=settings["class_maps"], digests=True)
        work = _Work(model, plan)
        work.go_on(ledger, before)
        return replace(work.result(None, ledger), again=partial(_again, permit or Permit(store.inside)))


def _again(permit: Permit, claimed: str) -> ImageEntry:
    """Return an image of a scan that is kept, where it is this user who named it. Raises ImageError."""
    try:
        name, where = permit.scanned(claimed)
    except InnersightError as error:
        raise ImageError(str(error)) from error
    if not Path(where).is_dir():
        return again(name)
    if Path(where, name).exists() or any(map(ARCHIVE.search, Path(name).parts)):
        return again(os.path.join(where, name))
    # The module or folder of a data set is looked up from where the scan was made.
    with contextlib.chdir(where):
        return again(name)


class _Work:
    """A scan while it runs: sums, and the records of those images that are kept.

    done : entries of the source that were looked at. images : those that could be read. labels : how many of them
    have a label and the number of its class, -1 for one that is no class of the model. look : what they say of the
    input contract. hashes : of all of them, where
    the ledger does not keep them.
    """

    def __init__(self, model: Model, plan: Plan) -> None:
        self.model, self.top, self.layers = model, plan.top, plan.empty(model)
        self.records: dict[int, Record] = {}
        self.hashes: array[int] | None = None if plan.digests else array("q")
        self.look = InputLook(model)
        self.skipped: list[str] = []
        self.labels: Counter[tuple[str, int]] = Counter()
        self.done = self.images = 0

    def take(self, parts: Parts, records: Sequence[Record]) -> None:
        """Take in a shard, the next one in order."""
        for name, gathering in self.layers.items():
            gathering.merge(parts[name])
        read = [record for record in records if record.broken is None]
        self.done += len(records)
        self.images += len(read)
        self.skipped += [record.broken for record in records if record.broken is not None]
        self.labels.update((record.label, record.class_) for record in read if record.label is not None)
        if self.hashes is not None:
            self.hashes.extend(record.likeness for record in read)
        self.records |= {record.number: record for record in read}
        self.records = {number: self.records[number] for number in self.kept()}

    def kept(self) -> list[int]:
        """Return the numbers of the images that any unit keeps, in order."""
        found: list[Tensor] = []
        for gathering in self.layers.values():
            tensors = gathering.tensors()
            found += [torch.unique(decode(tensors[f"{end}/keys"])[1]) for end in ("highest", "lowest")]
            found += [tensors["bands/numbers"], tensors["presence/first"]]
        numbers: list[int] = torch.unique(torch.cat(found)).tolist()
        return [number for number in numbers if 0 <= number < self.done]

    def tensors(self) -> dict[str, Tensor]:
        """Return all sums by `LAYER/STATISTIC/name`."""
        sums = {f"{name}/{key}": tensor for name, part in self.layers.items() for key, tensor in part.tensors().items()}
        return sums | {f"{LOOK}{key}": tensor for key, tensor in self.look.tensors().items()}

    def go_on(self, ledger: Ledger, before: Progress) -> None:
        """Take up the work where the ledger says it stopped."""
        self.done, self.images = before.done, before.images
        for name, gathering in self.layers.items():
            own = f"{name}/"
            gathering.load({key[len(own) :]: value for key, value in before.tensors.items() if key.startswith(own)})
        seen = {key.removeprefix(LOOK): value for key, value in before.tensors.items() if key.startswith(LOOK)}
        self.look.load(seen)
        self.records = ledger.records(self.kept())
        self.skipped = ledger.broken()
        self.labels = Counter(ledger.labels())
        classes = {one.class_ for one in self.records.values()} | {class_ for _, class_ in self.labels}
        if not all(-1 <= class_ < len(self.model.labels) for class_ in classes):
            raise ValueError(f"the classes {sorted(classes)}, and {self.model.name} has {len(self.model.labels)}")

    def result(self, images: Given | None, ledger: Ledger | None, assumed: Sequence[str] = ()) -> Scan:
        """Return what was found. assumed : notes on what was assumed of tensors."""
        notes = (*(() if images is None else images.notes), *assumed)
        hashes = partial(np.asarray, self.hashes, np.int64) if ledger is None else ledger.hashes
        tallies = {name: Tally(part.tensors(), self.images, part.grid) for name, part in self.layers.items()}
        return Scan(
            self.model,
            tallies,
            self.records,
            self.top,
            self.images,
            tuple(self.skipped),
            (*notes, *self._notes(tallies)),
            hashes,
            images if images is not None and not images.of_files else None,
            warnings=self.look.warnings,
        )

    def _notes(self, tallies: Mapping[str, Tally]) -> Iterator[str]:
        # Numbers that a data set or a `.cls` gives are meant as such; folders may be named by anything.
        folders = {one.label for one in self.records.values() if one.label in Path(one.name).parts[:-1]}
        yield from label_notes(self.labels, folders, self.model.labels)
        for name, tally in tallies.items():
            if tally.not_finite:
                first_number = tally.first_not_finite
                where = printable(self.records[first_number].name) if first_number is not None else "?"
                yield (
                    f"{name}: {tally.not_finite:,} maps of {int((tally.raw['presence/broken'] > 0).sum())} units hold "
                    f"NaN or an infinity, first on {where}; they are left out of all that is counted"
                )
