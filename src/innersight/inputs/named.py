"""Data sets by name, for the command line: `hf:NAME_OR_DIR?split=test` and `python:MODULE:NAME`."""

import importlib.util
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError, nearest, printable
from innersight.inputs.datasets import Named, numbered
from innersight.sources.importing import find_object
from innersight.sources.query import split

_OPTIONS = ("split", "config", "image", "label")


def is_named(text: str) -> bool:
    """Say whether a text names a data set, and is not the name of a file."""
    return text.partition(":")[0] in _ORIGINS and not os.path.lexists(text)


@lru_cache(1)
def opened(text: str) -> Named:
    """Return the data set that a text names; the last one stays open.

    `hf:NAME_OR_DIR` is one of Hugging Face `datasets`: of its hub or cache, a folder of data files, or one that
    `save_to_disk` wrote. Behind `?`: split, where it has several; config; image and label, the names of their columns
    where those are not the usual ones. `python:MODULE:NAME` is a data set of one's own, or a function that returns one.

    Raises InnersightError for one that cannot be opened, and for unknown options.
    """
    origin, name, options = split(text)
    found = _ORIGINS[origin](name, options)
    if origin == "hf" and os.path.isdir(name):
        # The name is kept, and may be asked for elsewhere.
        name = os.path.abspath(name)
    stated = "&".join(f"{key}={value}" for key, value in options.items())
    return Named(f"{origin}:{name}" + (f"?{stated}" if stated else ""), found)


def _of_hf(name: str, options: dict[str, str]) -> Any:
    unknown = [key for key in options if key not in _OPTIONS]
    if unknown:
        raise InnersightError(f"hf:{name}: no option {unknown[0]!r} for a data set; {nearest(unknown[0], _OPTIONS)}")
    if importlib.util.find_spec("datasets") is None:
        raise InnersightError("Hugging Face data sets need the library datasets: pip install 'innersight[datasets]'")
    import datasets

    saved = any((Path(name) / file).is_file() for file in ("state.json", "dataset_dict.json"))
    try:
        found: Any = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, options.get("config"))
    except Exception as error:  # the library raises what it likes for names, networks and files
        raise InnersightError(f"hf:{name} cannot be opened: {type(error).__name__}: {error}") from error
    found = _part(found, name, options.get("split"))
    for key in ("image", "label"):
        column = options.get(key)
        if column is None:
            continue
        if column not in found.column_names:
            raise InnersightError(f"hf:{name} has no column {column!r}; {nearest(column, found.column_names)}")
        if column != key:
            found = found.remove_columns([key] if key in found.column_names else []).rename_column(column, key)
    for column, feature in found.features.items():
        if isinstance(feature, datasets.Image):
            # Bytes are decoded by all threads; entries are asked for one after the other.
            found = found.cast_column(column, datasets.Image(decode=False))
    return found


def _part(found: Any, name: str, wanted: str | None) -> Any:
    if not isinstance(found, dict):
        if wanted is not None:
            raise InnersightError(f"hf:{name} has no splits: omit split={wanted}")
        return found
    if wanted is None and len(found) > 1:
        raise InnersightError(f"hf:{name} has the splits {', '.join(found)}: write hf:{name}?split={next(iter(found))}")
    if wanted is not None and wanted not in found:
        raise InnersightError(f"hf:{name} has no split {wanted!r}; {nearest(wanted, found)}")
    return found[wanted] if wanted is not None else next(iter(found.values()))


def _of_python(name: str, options: dict[str, str]) -> Any:
    if options:
        raise InnersightError(f"python:{name}: a data set of your own takes no options; remove {printable(options)}")
    made = find_object(name, f"python:{name}", "python:MODULE:NAME")
    if callable(made) and (isinstance(made, type) or not _holds_entries(made)):
        try:
            made = made()
        except Exception as error:  # the user's own code may raise anything; its error is passed on in one sentence
            raise InnersightError(f"python:{name} raised {type(error).__name__}: {error}") from error
    if not _holds_entries(made):
        raise InnersightError(
            f"python:{name} is of type {type(made).__name__}: give a data set, or a function that returns one"
        )
    return made


def _holds_entries(made: Any) -> bool:
    return not isinstance(made, str | Path | dict) and (numbered(made) or hasattr(made, "__iter__"))


_ORIGINS: dict[str, Callable[[str, dict[str, str]], Any]] = {"hf": _of_hf, "python": _of_python}
