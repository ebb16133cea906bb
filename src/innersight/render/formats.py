"""The files that results are written to, by their endings."""

from collections.abc import Iterable
from pathlib import Path

from innersight.errors import InnersightError, printable

FIGURES = (".png", ".svg", ".pdf", ".jpg", ".webp")
DATA = (".json", ".safetensors")
FILMS = (".webp", ".gif", ".mp4")


def check(paths: Iterable[Path], kinds: tuple[str, ...] = FIGURES + DATA) -> None:
    """Raise InnersightError for a file that could not be written: a folder, or an ending that stands for nothing."""
    for path in paths:
        if path.is_dir():
            raise InnersightError(f"{printable(path)} is a folder; give a file in it, such as {path.name}/result.png")
        if path.suffix not in kinds and kinds == FILMS:
            raise InnersightError(f"{printable(path)}: save a film as .webp, .gif or .mp4")
        if path.suffix not in kinds:
            rest = "" if kinds == FIGURES else ", data as .json, raw values as .safetensors"
            raise InnersightError(f"{printable(path)}: save a figure as .png, .svg or .pdf{rest}")
