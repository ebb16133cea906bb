"""A frame in a notebook."""

from pathlib import Path

from innersight.study.hosts import hosts
from innersight.web.report import embed


@hosts.register("Notebook")
def notebook(folder: Path, shown: Path) -> str:
    """Return the report as the HTML of a frame."""
    return embed(shown)
