"""Trackio: a database in a folder, on this machine."""

import os
import sys
from pathlib import Path

from innersight.errors import InnersightError, MissingExtraError
from innersight.study.content import Content
from innersight.study.exports import exports

_FOLDER = "TRACKIO_DIR"


@exports.register("Trackio")
def trackio(content: Content, out: Path) -> tuple[str, ...]:
    """Write a run of the project `innersight`, for `TRACKIO_DIR=OUT trackio show --project innersight`.

    Raises MissingExtraError without trackio, InnersightError where it is loaded already and writes elsewhere.
    """
    out.mkdir(parents=True, exist_ok=True)
    # It decides where it writes when it is loaded.
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = str(out.resolve())
    try:
        import trackio as library
    except ImportError as error:
        raise MissingExtraError("trackio", "trackio") from error
    finally:
        if before is None:
            del os.environ[_FOLDER]
        else:
            os.environ[_FOLDER] = before
    folder = sys.modules["trackio.utils"].TRACKIO_DIR
    if Path(folder).resolve() != out.resolve():
        raise InnersightError(f"trackio writes to {folder} in this process; export from a new one, or to that folder")
    library.init(project="innersight", name=content.title, config=content.settings, embed=False)
    for step, row in content.by_step().items():
        library.log(row, step=step)
    library.log({tag: library.Image(sheet) for tag, sheet in content.sheets.items()})
    library.log({tag: library.Histogram(values.numpy()) for tag, values in content.values.items() if len(values)})
    library.finish()
    return ()
