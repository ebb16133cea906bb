"""One HTML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from innersight.study.hosts import hosts
from innersight.web.report import write_report


@hosts.register("Report")
def report(
    folder: Path, shown: Path, out: Path, units: Sequence[str], images: Sequence[str], lacking: Mapping[str, str]
) -> None:
    """Write the study as one file that opens offline."""
    write_report(shown, out, units=units, images=images, lacking=lacking)
