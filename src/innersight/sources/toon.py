"""`toon`: the small network trained on the embedded characters, in the wheel."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import as_file, files
from typing import Any

from innersight.errors import InnersightError
from innersight.model import Model
from innersight.sources import run


def open_model(name: str, *, classes: int | None, weights: str | None, stated: Mapping[str, Any]) -> Model:
    """Load the embedded run; see `innersight.load`."""
    if name:
        raise InnersightError(f"toon:{name}: there is only one, written `toon`")
    with as_file(files("innersight.toons") / "run") as folder:
        return replace(run.open_model(str(folder), classes=classes, weights=weights, stated=stated), name="toon")
