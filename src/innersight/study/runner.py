"""`study`: do everything for a model and some images, item by item, skipping what is done."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from innersight.call import public
from innersight.errors import InnersightError
from innersight.image import Image, ImageError
from innersight.input_warnings import image_warnings
from innersight.inputs import Given, ImageReader, given
from innersight.model import Model
from innersight.storage.permit import Claims, Permit, own_identity, remember
from innersight.storage.stamp import ANNOTATIONS
from innersight.storage.store import Store
from innersight.study.compared import compared
from innersight.study.compute import REQUESTED, context_of, keep_requests, requested, tasks_of
from innersight.study.growing import GrowingReport
from innersight.study.panel import StudyTask, ordered
from innersight.study.panels.images import paths_of
from innersight.study.plan import Plan
from innersight.study.result import Study
from innersight.study.run import ReportProgress, TaskProgress, carry_out

FIRST_IMAGES = 8


@public()
def study(
    model: Model,
    images: Any,
    out: str | Path = "study",
    *,
    plan: Plan | None = None,
    report: str | Path | None = None,
    log: str | Path | None = None,
    compare: Sequence[Any] | None = None,
    progress: ReportProgress | None = None,
) -> Study:
    """Compute everything that a study shows of a model and images into a folder.

    Every finished item is kept: after a kill or Ctrl-C the same call resumes where it stopped, and items whose model,
    images or settings have changed are computed again.

    Parameters
    ----------
    model
        The network.
    images
        Whatever holds images, see `innersight.inputs.entries`; of a folder, tar file or data set the first 8.
    out
        Folder of the study.
    plan
        What to compute; the default `Plan` when None.
    report
        HTML file to write, see `Study.report`. It can be opened as soon as the panels that need no optimization are
        there, and is written again while the study grows.
    log
        Log of the training, for a network that Innersight did not train: a file of Keras' or Lightning's `CSVLogger`,
        TensorBoard event files, or `telemetry.json`; or the folder in which they lie. A further run keeps it.
    compare
        Networks to compare with, at most 8, as MODEL: other checkpoints, or other networks. "epochs" stands for those
        that the network's own run kept. A further run keeps the comparison.
    progress
        Called with the work done, the work in all (in passes of one image through the network, estimated), and the
        item at work in words.

    Returns
    -------
    Study
        The folder, how many items were computed and reused, and what was skipped.

    Raises
    ------
    ImageError
        Where no image can be read.
    InnersightError
        For a log that cannot be read, networks that cannot be compared with, a plan that does not fit the model, for a
        full disk, and while another process works on this study.

    Examples
    --------
    >>> import tempfile
    >>> import innersight as ins
    >>> from innersight.study import Plan
    >>> from innersight.toons import draw
    >>> images = [draw("ambra", seed).pixels for seed in (1, 2)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = ins.study(ins.load("small:8"), images, folder, plan=Plan(layers=("stem",), units=0))
    ...     made.reused
    0

    """
    from innersight.train.logs import read_log

    read = None if log is None else read_log(log)
    others = () if compare is None else compared(model, compare)
    loaded, skipped, notes = _load(images, model)
    settled = (plan or Plan()).settled(model)
    store = Store.create(out)
    with store.locked():
        own_identity(store.inside)
        requests = requested(store)
        permit = Permit(store.inside, named=True, images=paths_named(images))
        context, lost = context_of(model, loaded, settled, store, requests, permit, planned=True)
        claims = Claims(model.source, str(Path.cwd()), tuple(paths_of(loaded)))
        unmarked = remember(store.inside, study=claims.digest())
        fitting, further, forgotten = tasks_of(requests, context)
        skipped += [*lost.values(), *forgotten]
        work = TaskProgress(progress)
        context = replace(context, skipped=skipped, progress=work.within, log=read, compared=others)
        tasks = {task.key: task for entry in ordered() for task in entry.function(context)}
        planned = set(tasks)
        # What was requested later comes last, and once: the plan may have grown to hold it.
        for task in further:
            tasks.setdefault(task.key, task)

        def failed(task: StudyTask, error: InnersightError) -> None:
            if task.key in planned and not task.optional:
                raise error
            skipped.append(f"{task.key.words()}{'' if task.optional else ', requested earlier'}: {error}")

        growing = GrowingReport(store.folder, report)
        made = dict(carry_out(store, tasks.values(), work, failed, growing.before))
        fitting = [
            request for request in fitting if all(task.key in made or task.optional for task in request.tasks(context))
        ]
        keep_requests(store, fitting)
        store.drop_others({*map(str, made), ANNOTATIONS, *([REQUESTED] if fitting else [])})
    growing.write()
    computed = sum(made.values())
    notes = (*notes, unmarked) if unmarked else notes
    warnings = image_warnings(model, loaded)
    return Study(store.folder, computed, len(made) - computed, tuple(skipped), notes, warnings)


def _load(images: Any, model: Model) -> tuple[tuple[Image, ...], list[str], tuple[str, ...]]:
    """Return the first 8 images of every folder, tar file and data set, all others, and what was skipped and noted."""
    own = given(images)
    loaded: list[Image] = []
    errors: list[ImageError] = []
    notes: list[str] = []
    for several in _parts(own):
        reading = ImageReader(several, model.input, model.labels, required=False)
        most = None if isinstance(several, list) else FIRST_IMAGES
        with closing(reading.images()) as read:
            loaded += islice(read, most)
        errors += reading.errors
        notes += reading.notes
    if not loaded:
        raise errors[0] if errors else ImageError("no images given")
    return _distinct(loaded), list(map(str, errors)), tuple(dict.fromkeys(notes))


def _parts(own: Given) -> Iterator[Any]:
    """Yield one by one what is read in part: a data set, and each path; other things as lists."""
    if own.things is None:
        yield own
        return
    for named, several in groupby(own.things, lambda thing: isinstance(thing, str | Path)):
        things = list(several)
        yield from things if named else [things]


def paths_named(images: object) -> tuple[str, ...]:
    """Return the files and folders among what was given."""
    given = [images] if isinstance(images, str | Path) else images
    return tuple(str(one) for one in given if isinstance(one, str | Path)) if isinstance(given, list | tuple) else ()


def _distinct(images: list[Image]) -> tuple[Image, ...]:
    """Give images of the same file name the name of their folder too."""
    names = Counter(image.name for image in images)
    return tuple(
        replace(image, name=f"{image.path.resolve().parent.name}/{image.name}")
        if names[image.name] > 1 and image.path
        else image
        for image in images
    )
