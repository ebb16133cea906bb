"""`scan`: one pass over a data set that keeps, for every unit, what excites it; a fixed amount of memory."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from innersight import __version__, tap
from innersight.call import public
from innersight.errors import InnersightError, printable
from innersight.image import ImageError
from innersight.inputs import (
    Assumed,
    Given,
    ImageEntry,
    again,
    entries,
    label_notes,
    repeatable,
)
from innersight.layers import check_layers, default_layers
from innersight.model import Model
from innersight.scalars import at_least_one
from innersight.scan.image_sums import ImageSums
from innersight.scan.ledger import Ledger, ScanProgress
from innersight.scan.options import Batching
from innersight.scan.predictions import ScanPredictions
from innersight.scan.record import Record
from innersight.scan.result import Scan
from innersight.scan.rows import ScanRows, ScratchRows
from innersight.scan.scores import no_scores
from innersight.scan.settings import Pairs
from innersight.scan.shards import Parts, ScanPlan, run_local, run_remote
from innersight.scan.statistics.extremes import decode
from innersight.scan.tally import Tally
from innersight.storage.permit import ARCHIVE, Permit
from innersight.storage.store import Store
from innersight.storage.study_folder import written_by_innersight
from innersight.train.split import learned_by

FORMAT = 7  # of what is stored; raise it when that changes
ProgressCallback = Callable[[int, int, str], None]


@public()
def scan(
    model: Model,
    images: Any,
    layers: Sequence[str] | None = None,
    *,
    examples: int = 9,
    max_duplicates: int = 1,
    correlate: Pairs = False,
    class_maps: bool = False,
    batching: Batching | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    ray: str | None = None,
    progress: ProgressCallback | None = None,
) -> Scan:
    """Find the images that every unit responds to most and least, and what each image is predicted as, in one pass.

    Parameters
    ----------
    model
        The network.
    images
        Anything that holds images: files, folders, tar files, data sets, arrays; see `innersight.inputs.entries`.
        Files that cannot be read are skipped and listed in the result.
    layers
        Names of layers; None for the default layers of `innersight.layers`.
    examples
        Images kept for each unit, at either end; at least 1.
    max_duplicates
        At most this many of a unit's examples are near-duplicates of each other, by perceptual hash; at least 1.
    correlate
        True also correlates the peaks of all units within every layer and with the layer before it; a list of pairs of
        layer names correlates these.
    class_maps
        Also keep the mean map of every unit over the images of each class, on at most 7 x 7 cells.
    batching
        How many images are read, computed and stored at a time; None for `Batching()`.
    out
        Folder of a study, in which the scan is stored after every shard. After an interruption the same call resumes
        there, and ends with the same bytes as a call that was not interrupted.
    overwrite
        Discard the scan stored in `out` and start anew.
    ray
        Address of a Ray cluster whose workers compute it: HOST:PORT, "auto" or "local", with `?workers=4&cpus=2&gpus=1`
        behind it where needed. Image files must be found under the same path on every machine.
    progress
        Called as `progress(done, 0, name)` after every shard, with the number of images done and the name of the last.

    Returns
    -------
    Scan
        Examples and statistics of every unit; the predicted classes of every image; a sample of features.

    Raises
    ------
    InnersightError
        For unknown layers, for images or settings that differ from those of the scan in `out`, while another process
        writes there, where `correlate` or `class_maps` would take more than 1 GiB, and what `innersight.remote.spread`
        raises.
    ImageError
        When no image could be read.

    Notes
    -----
    Memory does not grow with the number of images: what is kept of each is on disk, in `out` or in a temporary file
    that ends with the result. It grows with the square of the number of units for `correlate`, and with units times
    classes for `class_maps`.

    Examples
    --------
    >>> import innersight as ins
    >>> import torch
    >>> found = ins.scan(ins.load("small:8"), torch.rand(4, 3, 80, 80), ["stage1"], examples=2)
    >>> found.images, len(found.examples("stage1:0"))
    (4, 2)
    >>> found.predictions.images, found.predictions.labelled
    (4, 0)

    """
    at_least_one(examples=examples, max_duplicates=max_duplicates)
    batching = batching or Batching()
    described = check_layers(model, tuple(layers) if layers else default_layers(model))
    data, assumed = repeatable(images), Assumed(model.input)
    known = learned_by(model.run)
    plan = ScanPlan(described, examples, max_duplicates, batching, correlate, class_maps, out is not None, known)
    work = _Work(model, plan)
    with ExitStack() as stack:
        source: Iterator[ImageEntry] = map(assumed.add, entries(data, model.labels))
        ledger = unmarked = None
        if out is not None:
            store = Store.create(out)
            stack.enter_context(store.locked())
            settings = _settings(model, plan, work.layers)
            ledger = Ledger.open(store, settings, overwrite=overwrite)
            before = ledger.progress()
            if before is not None:
                ledger.check(source, before.done)
                with written_by_innersight(f"{store.folder}, its scan"):
                    work.resume(ledger, before)
            names = ledger.names()
            unmarked = ledger.remember(names)
        stack.enter_context(tap.untouched(model))
        stack.enter_context(torch.no_grad())
        shards = (
            run_local(model, plan, source, work.layers, work.sums)
            if ray is None
            else run_remote(model, plan, source, ray, work.sums)
        )
        waiting: list[Record] = []
        for parts, records in stack.enter_context(closing(shards)):
            work.add(parts, records)
            waiting += records
            # Where nothing can be read nothing is stored: a mistyped folder does not block the right one.
            if ledger is not None and work.images:
                ledger.commit(settings, work.done, work.images, work.tensors(), waiting, names)
                waiting = []
            if progress is not None:
                progress(work.done, 0, printable(records[-1].name))
    if not work.images:
        raise ImageError(work.skipped[0] if work.skipped else "no images given")
    found = work.result(data, ledger, assumed.notes())
    return replace(found, notes=(*found.notes, unmarked)) if unmarked else found


def _settings(model: Model, plan: ScanPlan, layers: Parts) -> dict[str, Any]:
    """Return what a stored scan must share with the call that resumes it."""
    return {
        "format": FORMAT,
        "version": __version__,
        "model": model.digest(),
        "layers": list(layers),
        "examples": plan.examples,
        "max_duplicates": plan.max_duplicates,
        "batch": plan.batching.batch,
        "shard": plan.batching.shard,
        "class_maps": plan.class_maps,
        "correlate": {name: list(part.settings.partners) for name, part in layers.items()},
    }


def load_scan(model: Model, study: str | Path, permit: Permit | None = None) -> Scan | None:
    """Return the scan stored in a study's folder, finished or not.

    Its images are read again only when their crops are asked for; those of a data set only where it has a name (`hf:`,
    `python:`).

    Parameters
    ----------
    model
        The network that was scanned.
    study
        Folder of the study.
    permit
        Which of the images may be read; those of a scan that this user made, when None.

    Returns
    -------
    Scan or None
        None where there is no scan of this model.

    Raises
    ------
    InnersightError
        Where there is no study, or its file is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import innersight as ins
    >>> from innersight import toons
    >>> from innersight.scan import load_scan
    >>> model = ins.load("small:4")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     images, study = Path(folder, "toons"), Path(folder, "study")
    ...     _ = toons.write(images, per_class=1)
    ...     _ = ins.scan(model, images, ["stage1"], out=study)
    ...     load_scan(model, study).images
    10

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
        layers = check_layers(model, settings["layers"])
        batching = Batching(settings["batch"], settings["shard"])
        plan = ScanPlan(
            layers,
            settings["examples"],
            settings["max_duplicates"],
            batching,
            pairs,
            settings["class_maps"],
            digests=True,
        )
        work = _Work(model, plan)
        work.resume(ledger, before)
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
    """A scan while it runs: statistics, and the records of the images kept.

    done : entries of the source read so far. images : those that could be read. labels : how many of them have each
    label and number of its class, -1 for none of the model's. sums : what is kept of the images beside the layers.
    scratch : the rows of all images, where there is no ledger.
    """

    def __init__(self, model: Model, plan: ScanPlan) -> None:
        self.model, self.limit, self.layers = model, plan.examples, plan.empty(model)
        self.records: dict[int, Record] = {}
        self.scratch = None if plan.digests else ScratchRows()
        self.sums = ImageSums(model)
        self.skipped: list[str] = []
        self.labels: Counter[tuple[str, int]] = Counter()
        self.done = self.images = 0

    def add(self, parts: Parts, records: Sequence[Record]) -> None:
        """Add a shard, the next one in order."""
        for name, statistics in self.layers.items():
            statistics.merge(parts[name])
        read = [record for record in records if record.broken is None]
        self.done += len(records)
        self.images += len(read)
        self.skipped += [record.broken for record in records if record.broken is not None]
        self.labels.update((record.label, record.class_) for record in read if record.label is not None)
        if self.scratch is not None:
            self.scratch.add(records)
        self.records |= {record.number: record for record in read}
        self.records = {number: self.records[number] for number in self.kept()}

    def kept(self) -> list[int]:
        """Return the numbers of the images that any unit keeps, and of those in the sample of features, in order."""
        found = [self.sums.kept()]
        for statistics in self.layers.values():
            tensors = statistics.tensors(("highest", "lowest", "bands", "presence"))
            found += [torch.unique(decode(tensors[f"{end}/keys"])[1]) for end in ("highest", "lowest")]
            found += [tensors["bands/numbers"], tensors["presence/first"]]
        numbers: list[int] = torch.unique(torch.cat(found)).tolist()
        return [number for number in numbers if 0 <= number < self.done]

    def tensors(self) -> dict[str, Tensor]:
        """Return all sums by `LAYER/STATISTIC/name`."""
        sums = {f"{name}/{key}": tensor for name, part in self.layers.items() for key, tensor in part.tensors().items()}
        return sums | self.sums.tensors()

    def resume(self, ledger: Ledger, before: ScanProgress) -> None:
        """Continue where the stored scan stopped."""
        self.done, self.images = before.done, before.images
        for name, statistics in self.layers.items():
            own = f"{name}/"
            statistics.load({key[len(own) :]: value for key, value in before.tensors.items() if key.startswith(own)})
        self.sums.load(before.tensors)
        if bool((self.sums.kept() >= self.done).any()):
            raise ValueError(f"features of images beyond the {self.done} that were scanned")
        self.records = ledger.records(self.kept())
        self.skipped = ledger.broken()
        self.labels = Counter(ledger.labels())
        classes = {one.class_ for one in self.records.values()} | {class_ for _, class_ in self.labels}
        if not all(-1 <= class_ < len(self.model.labels) for class_ in classes):
            raise ValueError(f"the classes {sorted(classes)}, and {self.model.name} has {len(self.model.labels)}")

    def result(self, images: Given | None, ledger: Ledger | None, assumed: Sequence[str] = ()) -> Scan:
        """Return what was found. assumed : notes on what was assumed of tensors."""
        notes = (*(() if images is None else images.notes), *assumed)
        rows: ScanRows | None = ledger or self.scratch
        assert rows is not None
        tallies = {name: Tally(part.tensors(), self.images, part.grid) for name, part in self.layers.items()}
        return Scan(
            self.model,
            tallies,
            self.records,
            self.limit,
            self.images,
            tuple(self.skipped),
            (*notes, *self._notes(tallies)),
            rows.hashes,
            images if images is not None and not images.of_files else None,
            warnings=self.sums.look.warnings,
            features=self.sums.features.result(),
            predicted=None if no_scores(self.model) else partial(ScanPredictions.of, self.model, rows, self.images),
        )

    def _notes(self, tallies: Mapping[str, Tally]) -> Iterator[str]:
        if reason := no_scores(self.model):
            yield f"{self.model.name} gives no class scores, so no predictions are kept: {reason}"
        # Numbers that a data set or a `.cls` gives are meant as such; folders may be named by anything.
        folders = {one.label for one in self.records.values() if one.label in Path(one.name).parts[:-1]}
        yield from label_notes(self.labels, folders, self.model.labels)
        for name, tally in tallies.items():
            if tally.not_finite:
                first_number = tally.first_not_finite
                where = printable(self.records[first_number].name) if first_number is not None else "?"
                yield (
                    f"{name}: {tally.not_finite:,} maps of {int((tally.raw['presence/broken'] > 0).sum())} units "
                    f"contain NaN or infinity, first on {where}; they are left out of all statistics"
                )
