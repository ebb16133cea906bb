"""What commands print and write: results and notes. Nothing in this file imports torch."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from innersight.errors import InnersightError, printable


def method_options(words: list[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Split image names from `--METHOD.OPTION=VALUE`."""
    files: list[str] = []
    options: dict[str, dict[str, str]] = {}
    for word in words:
        if not word.startswith("--"):
            files.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        method, dot, option = name.partition(".")
        if not (equals and dot):
            raise InnersightError(f"no option {word!r}; options of a method are written --METHOD.OPTION=VALUE")
        options.setdefault(method, {})[option] = value
    return files, options


def deliver(result: Any, as_json: bool, out: list[Path] | None, default: str | None, **drawing: Any) -> None:
    """Print JSON, write the files asked for (or the default one), and list warnings, notes and skipped files."""
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=1))
    paths = out or ([Path(default)] if default and not as_json else [])
    for path in paths:
        result.save(path, **drawing)
        typer.echo(f"wrote {printable(path)}", file=sys.stderr if as_json else None)
    list_warnings(getattr(result, "warnings", ()))
    list_notes(result.notes)
    list_skipped(result.skipped)


def list_warnings(sentences: Sequence[str]) -> None:
    """Print what seems wrong with the input contract."""
    for sentence in sentences:
        typer.echo(f"warning: {printable(sentence)}", file=sys.stderr)


def list_notes(sentences: Sequence[str]) -> None:
    """Print what a reader of the result must know."""
    for sentence in sentences:
        typer.echo(f"note: {printable(sentence)}", file=sys.stderr)


def study_and_files(out: list[Path] | None) -> tuple[Path | None, list[Path]]:
    """Split what --out names into the folder of a study and files; a name without an ending is a folder."""
    folders = [path for path in out or () if path.is_dir() or not path.suffix]
    if len(folders) > 1:
        raise InnersightError(
            f"--out names {len(folders)} folders, {folders[0]} and {folders[1]}: name one for the study"
        )
    return (folders[0] if folders else None), [path for path in out or () if path not in folders]


def list_skipped(sentences: Sequence[str]) -> None:
    """Print the files that could not be read, and their number."""
    for sentence in sentences:
        typer.echo(f"skipped {sentence}", file=sys.stderr)
    if len(sentences) > 1:
        typer.echo(f"{len(sentences)} files were skipped", file=sys.stderr)


@contextmanager
def kept_beside(out: list[Path] | None, default: str, folder: Path | None) -> Iterator[Path]:
    """Yield the folder in which finished patterns are kept.

    Unless one is given it lies beside the first file to be written and is deleted when the work is done.
    """
    if folder is not None:
        yield folder
        return
    first = out[0] if out else Path(default)
    beside = first.with_name(first.name + ".kept")
    try:
        yield beside
    except KeyboardInterrupt:
        count = len(list(beside.glob("*.safetensors")))
        typer.echo(
            f"{count} finished images are kept in {printable(beside)}: run the same command again to resume",
            file=sys.stderr,
        )
        raise
    shutil.rmtree(beside, ignore_errors=True)


def desktop() -> bool:
    """Return whether this machine has a desktop on which a browser can be opened."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
