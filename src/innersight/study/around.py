"""What a command leaves in a study, and its report: in the study that is there, or in one made around it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError
from innersight.layers import has_grid
from innersight.matching import Matching
from innersight.model import Model
from innersight.storage.key import Key
from innersight.storage.permit import Permit
from innersight.storage.store import Store
from innersight.study.compared import Compared, epoch_of
from innersight.study.compute import reopened, requested
from innersight.study.documents import write_documents
from innersight.study.panel import StudyTask
from innersight.study.panels.diff import diff
from innersight.study.plan import Plan
from innersight.study.result import Study
from innersight.study.run import ReportProgress, TaskProgress, carry_out
from innersight.study.runner import FIRST_IMAGES, paths_named
from innersight.study.runner import study as make_study


def report_around(
    model: Model, images: Any, named: Iterable[Sequence[str]], folder: Path, progress: ReportProgress | None = None
) -> Path:
    """Write FOLDER/report.html, and return it.

    Where the folder holds no study yet, one is made without patterns. images : what the command read. named : images
    by name, several lists; the study shows files of each in turn, or else the first images. Raises InnersightError
    where that cannot be.
    """
    _made_around(model, files(named) or images, folder, progress)
    return Study.open(folder).report(folder / "report.html")


def _made_around(model: Model, images: Any, folder: Path, progress: ReportProgress | None) -> None:
    if Store.open(folder).get("model") is None:
        method = "gradcam" if has_grid(model) else "saliency"
        plan = Plan(units=0, methods=(method,), rivals=False, trust=0, concepts=0)
        make_study(model, images, folder, plan=plan, progress=progress)


def files(named: Iterable[Sequence[str]], limit: int = FIRST_IMAGES) -> list[str]:
    """Return those names that are files, of each list in turn, each once."""
    turns = chain.from_iterable(zip_longest(*named))
    found = (name for name in dict.fromkeys(turns) if name is not None and Path(name).is_file())
    return [name for name, _ in zip(found, range(limit), strict=False)]


def keep_matching(found: Matching, images: Any, study: str | Path, *, progress: ReportProgress | None = None) -> None:
    """Put the network before beside the study of the network after: the page `#/diff`, as `study(compare=)` makes it.

    Parameters
    ----------
    found
        As `innersight.match` returns it. The study is, or becomes, that of `found.after`.
    images
        Of which a study is made where the folder holds none, without patterns: of a folder, tar file or data set the
        first 8. They also name where the images of a study that this user did not make are found.
    study
        Folder of the study, made where it is not there. What its network was compared with before is replaced.
    progress
        Called with the work done, the work in all, and the item at work in words.

    Raises
    ------
    InnersightError
        Where the folder holds a study of another network or cannot be written, where an image of the study has changed,
        where the network before gives scores that are not finite, and while another process is at work on the study.
        What its network was compared with before is still there then.

    Examples
    --------
    >>> import tempfile
    >>> import innersight as ins
    >>> from innersight.study import keep_matching
    >>> from innersight.toons import draw
    >>> images = [draw("ambra", seed).pixels for seed in (1, 2)]
    >>> before, after = ins.load("small:8"), ins.load("small:8")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keep_matching(ins.match(before, after, images, ["stem"]), images, folder)

    """
    store = Store.of_network(study, found.after.digest(concepts=False))
    _made_around(found.after, images, store.folder, progress)
    with store.locked():
        permit = Permit(store.inside, named=True, images=paths_named(images))
        context, _ = reopened(store, permit, found.after, requested(store))
        other = Compared(found.before, epoch_of(found.before.source), found)
        work = TaskProgress(progress)
        context = replace(context, compared=(other,), progress=work.within)
        made = {str(key) for key, _ in carry_out(store, diff(context), work, _raised)}
        store.drop_others({name for name in store.names() if Key.parse(name).panel != "diff"} | made)
    write_documents(store)


def _raised(task: StudyTask, error: InnersightError) -> None:
    # A study goes on without a comparison that fails; here it is all that was asked for.
    raise error
