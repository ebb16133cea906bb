"""The demo: an embedded network looks at drawn characters."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image as PILImage

from innersight import toons
from innersight.dissection import dissect, keep_labels
from innersight.model import Model
from innersight.scan import scan
from innersight.sources import load
from innersight.storage.study_folder import StudyFolder
from innersight.storage.writing import replacing
from innersight.study import Plan, study

CHARACTER = "ambra"
SEEDS = (90_001, 90_004)
SCANNED = range(91_000, 91_011)
QUANTILE = 0.05  # hair and clothes are far larger than the share of locations that is usual for photographs
PLAN = Plan(units=8, negatives=2, trust=24)


def demo(out: str | Path, *, progress: Callable[[int, int, str], None] | None = None) -> Path:
    """Draw two images of one character, study the embedded network `toon:robust` on them, and return the report's path.

    Eleven images of every character are scanned, for examples, to test the heatmap methods and to know what is usual;
    units are labelled by the drawn parts (hair, eyes, clothes) that they respond to.
    The network was trained on none of these images.

    Parameters
    ----------
    out
        Folder of the study, in which the images are written too.
    progress
        Called as `progress(done, total, name)` with the work done, the work in all, and the item at work, see `study`.

    Returns
    -------
    pathlib.Path
        The report, one HTML file.

    """
    inside = StudyFolder(Path(out))
    inside.check()
    model = load("toon:robust")
    files = [_drawn(inside, "images", CHARACTER, seed) for seed in SEEDS]
    for name in toons.CLASSES:
        for seed in SCANNED:
            _drawn(inside, "dataset", name, seed)
    scan(model, Path(out) / "dataset", PLAN.settled(model).layers, out=out)
    label_units(model, inside.folder)
    made = study(model, files, out, plan=PLAN, progress=progress)
    return made.report(Path(out) / "report.html")


def label_units(model: Model, out: Path) -> None:
    """Label the units of the two deepest layers by the parts of the scanned drawings, and keep that in the study."""
    drawings = toons.Drawn(per_class=len(SCANNED), seed=SCANNED.start)
    keep_labels(dissect(model, drawings, layers=PLAN.settled(model).layers[-2:], quantile=QUANTILE), out)


def _drawn(inside: StudyFolder, folder: str, name: str, seed: int) -> Path:
    file = inside.path(folder, name, f"{name}-{seed}.png")
    if not file.is_file():
        with replacing(file) as partial:
            PILImage.fromarray(toons.draw(name, seed).pixels).save(partial)
    return file
