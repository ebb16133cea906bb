"""Whether the documents on disk show what a study holds, found out without loading torch."""

import json
from pathlib import Path

from innersight.stamp import stamp


def fresh(folder: Path) -> bool:
    """Return whether the documents were written from the items there are, by this version.

    Raises InnersightError where there is no study.
    """
    now, study = stamp(folder), folder / "web" / "documents" / "study.json"
    if not study.is_file():
        return False
    try:
        return bool(json.loads(study.read_text(encoding="utf-8")).get("stamp") == now)
    except json.JSONDecodeError:
        return False
