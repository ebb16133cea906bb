"""`audit`: what is wrong with a classifier, tested by intervention."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from innersight.audit.checks import NotCheckedError, Report
from innersight.audit.checks import checks as registry
from innersight.audit.finding import Checked, Finding
from innersight.audit.keep import Keep, StudyKeep, Values, state_of
from innersight.audit.packing import packed, unpacked
from innersight.audit.reading import pixel_store, read_table
from innersight.audit.result import Audit
from innersight.audit.subject import Subject
from innersight.call import public
from innersight.errors import InnersightError
from innersight.inputs import Given, ImageReader, count, repeatable
from innersight.model import Model
from innersight.registry import Entry
from innersight.storage.study_folder import written_by_innersight
from innersight.trust.regions import Regions, read_regions

BUDGETS = {"quick": 15, "full": 60}
"""Forward passes over all images, with that of the reading."""
MAX_IMAGES = 10_000
ProgressCallback = Callable[[int, int, str], None]


@public()
def audit(
    model: Model,
    images: Any,
    *,
    train: Any = None,
    boxes: str | Path | None = None,
    masks: str | Path | None = None,
    checks: Sequence[str] | None = None,
    budget: str = "quick",
    out: str | Path | None = None,
    max_images: int | None = MAX_IMAGES,
    seed: int = 0,
    ray: str | None = None,
    progress: ProgressCallback | None = None,
) -> Audit:
    """Say what is wrong with a classifier, and prove it.

    Hypotheses are suggested by one half of the images, from the inside of the network, and confirmed by interventions
    on the other half.

    Parameters
    ----------
    model
        The network.
    images
        Whatever holds images, see `innersight.inputs.entries`: best those that the network was not trained on, in
        folders named like the classes. What cannot be read is skipped and listed.
    train
        Images that the network was trained on: the check for leaks compares them with `images`.
    boxes
        A CSV file of boxes in which the classes are seen (file,x0,y0,x1,y1): what decides outside is a shortcut.

        See `innersight.trust.read_regions`.
    masks
        The same as a folder of masks.
    checks
        Names of the checks to run, all when None: reliance, shortcut, slice, label, preprocessing, leak, units.
    budget
        "quick": at most 15 forward passes over the images; "full": at most 60.
    out
        Folder of a study that the audit is kept in; an interrupted one resumes there.
    max_images
        Draw so many images at random where there are more.

        None for all.
    seed
        Of everything that is random.
    ray
        Address of a Ray cluster that the classes are spread over: HOST:PORT, "auto" or "local", with
        `?workers=4&cpus=2&gpus=1` behind it; this machine when None. Files must have the same path on every machine.
    progress
        Called with the number done, the total, and what is being done: forward passes of single images.

    Returns
    -------
    Audit
        The findings, the confirmed ones first; what was checked and what that could have missed; `clean` says whether
        no fault was confirmed.

    Raises
    ------
    InnersightError
        For unknown checks and budgets, wrong boxes, and a network whose scores are NaN for all images.
    ImageError
        Where no image could be read.

    Notes
    -----
    A reliance is a part of the image that the network takes for a class: pasted into images of other classes it turns
    them into the class, removed it loses the class, both more often than controls of the same size. It is called a
    shortcut only with a reason: the same pixels recur, at a fixed position, it is a property of the whole image, it
    lies outside of the boxes, or only some images of the class have it and it decides there alone. Tests are paired, of
    all that a check tried p is corrected (Holm 1979), intervals are 95% ones.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import Drawn
    >>> found = ins.audit(ins.load("toon"), Drawn(per_class=4), checks=["units"])
    >>> found.clean
    True

    """
    chosen = _chosen(checks)
    if budget not in BUDGETS:
        raise InnersightError(f"budget={budget!r}: choose {' or '.join(BUDGETS)}")
    if max_images is not None and max_images < 1:
        raise InnersightError(f"max_images={max_images}: give 1 or more, or None for all")
    if boxes is not None and masks is not None:
        raise InnersightError("boxes= and masks= say the same in two ways: give only one")
    if out is not None and isinstance(images, str | Path) and Path(images).resolve() == Path(out).resolve():
        raise InnersightError(f"out={str(out)!r} is the folder of the images: give another one for the study")
    marked = boxes if boxes is not None else masks
    regions = None if marked is None else read_regions(marked)
    data = repeatable(images)
    total = count(data)
    numbers: list[int] | None = None
    notes: tuple[str, ...] = ()
    if max_images is not None and total > max_images:
        numbers = sorted(np.random.default_rng(seed).choice(total, max_images, replace=False).tolist())
        notes = (f"{max_images:,} of {total:,} images were drawn at random; `max_images` changes this",)
        total = max_images
    known = repeatable(train) if train is not None else None
    if known is not None:
        _check_readable(known, model)
    keep = Keep() if out is None else StudyKeep.open(out, model)
    with keep.working(), pixel_store(model.input, total) as pixels:
        reported = _Progress(progress, BUDGETS[budget] * total)
        table = read_table(model, data, numbers, pixels, lambda n: reported.add(n, "reading the images"), keep)
        keep.depend(table, {"budget": budget, "seed": seed})
        limit = BUDGETS[budget] * len(table) - len(table)
        subject = Subject(
            model, data, table, pixels, known, regions, budget == "full", limit, seed, reported.add, keep, ray,
            keep.taken,
        )  # fmt: skip
        if regions is not None:
            _check_regions(regions, marked, table.names)
        done, findings = _carried_out(subject, chosen, _stated(chosen, train, marked))
        found = Audit(
            model, _ordered(findings), done, len(table), subject.passes + len(table), budget, table.skipped,
            (*table.notes, *notes),
        )  # fmt: skip
        keep.finish(found)
        reported.end()
    return found


def _chosen(names: Sequence[str] | None) -> tuple[str, ...]:
    every = tuple(entry.name for entry in sorted(registry.entries(), key=lambda entry: entry.order))
    if names is None:
        return every
    if not names:
        raise InnersightError(f"checks is empty: omit it for all, or choose of {', '.join(every)}")
    wanted = {registry.entry(name).name for name in names}
    return tuple(name for name in every if name in wanted)


def _check_readable(images: Given, model: Model) -> None:
    """Raise ImageError where no image can be read: nothing would be compared with nothing."""
    with closing(ImageReader(images, model.input, model.labels).images()) as read:
        next(read, None)


def _check_regions(regions: Regions, marked: Any, names: Sequence[str]) -> None:
    if not any(regions.covers(Path(name)) for name in names):
        raise InnersightError(
            f"{marked} names none of the {len(names):,} images; `file` is the end of an image's path, such as "
            "cats/7.jpg"
        )


def _stated(chosen: Sequence[str], train: Any, marked: Any) -> dict[str, Any] | None:
    """Return what checks depend on beside the network and the images; None where that cannot be said."""
    states = {"train": train, "marked": marked}
    found = {key: state_of(one) for key, one in states.items() if one is not None}
    return None if None in found.values() else {**found, "checks": list(chosen)}


def _report(entry: Entry[Any], subject: Subject, stated: dict[str, Any] | None) -> Report:
    """Return what a check reports, from an interrupted audit where it had come to its end."""
    name, keep = f"check/{entry.name}", subject.keep
    if stated is not None and keep.has(name, stated):
        document, tensors = keep.piece(name, stated, _never)
        with written_by_innersight(f"what the study keeps of the check {entry.name}"):
            return Report(unpacked(document, tensors), document["looked"], document["limits"])
    before, shared = subject.passes, set(subject.found)
    report: Report = entry.function(subject)
    # What it found for others too is found again, from pieces of its own: they count the same passes.
    if stated is not None and set(subject.found) == shared:
        document, tensors = packed(report.findings)
        values = {**document, "looked": report.looked, "limits": report.limits}, tensors
        keep.leave(name, stated, values, subject.passes - before)
    return report


def _never() -> Values:
    raise AssertionError("it is kept")


def _carried_out(
    subject: Subject, chosen: Sequence[str], stated: dict[str, Any] | None
) -> tuple[tuple[Checked, ...], list[Finding]]:
    done: list[Checked] = []
    findings: list[Finding] = []
    for entry in sorted(registry.entries(), key=lambda entry: entry.order):
        before = subject.passes
        try:
            if entry.name not in chosen:
                raise NotCheckedError("not asked for")
            _require(entry, subject)
            report = _report(entry, subject, stated)
        except NotCheckedError as reason:
            done.append(Checked(entry.name, entry.title, False, str(reason), entry.limits))
            continue
        findings += report.findings
        limits = " ".join(filter(None, [entry.limits, report.limits]))
        done.append(Checked(entry.name, entry.title, True, report.looked, limits, subject.passes - before))
    return tuple(done), findings


def _require(entry: Entry[Any], subject: Subject) -> None:
    if entry.labelled and not subject.labelled:
        raise NotCheckedError("needs labels: put the images into folders named like the classes")
    if entry.train and subject.train is None:
        raise NotCheckedError("needs the images that the network was trained on: give them with --train")


def _ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    place = {name: registry.entry(name).order for name in registry}
    ranked = sorted(findings, key=lambda one: (not one.confirmed, place[one.check], -_size(one)))
    return tuple(ranked)


def _size(finding: Finding) -> float:
    return abs(finding.effect.value) if finding.effect is not None else 0.0


class _Progress:
    """Counts passes and reports them: the total is the most that the budget allows, which is seldom used up."""

    def __init__(self, progress: ProgressCallback | None, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, max(1, total)

    def add(self, passes: int, what: str) -> None:
        self._done = min(self._done + passes, self._total)
        if self._progress is not None:
            self._progress(self._done, self._total, what)

    def end(self) -> None:
        self.add(self._total - self._done, "done")
