"""The files that a document of the front end refers to."""

from collections.abc import Sequence
from typing import Any


def files_of(document: Any) -> set[str]:
    """Return every file name that a document refers to, at any depth."""
    if isinstance(document, dict):
        names = {n for key, value in document.items() if key not in ("file", "files") for n in files_of(value)}
        names.update(document.get("files", ()))
        return names | ({document["file"]} if isinstance(document.get("file"), str) else set())
    if isinstance(document, Sequence) and not isinstance(document, str):
        return {n for value in document for n in files_of(value)}
    return set()
