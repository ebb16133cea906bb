"""Every family of networks: layers, maps, patterns, heatmaps and the suffix; docs/zoo.md is what these tests saw.

INNERSIGHT_WRITE_ZOO=1 writes the page anew.
"""

import os
from pathlib import Path

import pytest
import zoo

PAGE = Path(__file__).parent.parent / "docs" / "zoo.md"
HEAD = "| --- | ---: | ---: | --- | --- | --- |\n"
WRITE = os.environ.get("INNERSIGHT_WRITE_ZOO") == "1"

# Libraries of the networks, not of this project.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def split() -> tuple[str, list[str], str]:
    """Return the page before, in, and after the table of families."""
    before, head, rest = PAGE.read_text(encoding="utf-8").partition(HEAD)
    table, _, after = rest.partition("\n\n")
    return before + head, table.splitlines(), after


def rows() -> dict[str, str]:
    return {row.split(" | ")[0].removeprefix("| "): row for row in split()[1]}


@pytest.mark.parametrize("family", zoo.FAMILIES)
def test_family(family: str) -> None:
    verdict = zoo.visit(family, zoo.FAMILIES[family])
    if WRITE:
        before, _, after = split()
        known = {**rows(), family: verdict.row()}
        table = "\n".join(known[name] for name in zoo.FAMILIES if name in known)
        PAGE.write_text(f"{before}{table}\n\n{after}", encoding="utf-8")
    said, page = (row.split(" | ") for row in (verdict.row(), rows()[family]))
    # How many of hundreds of layers can be read may differ by a few from one version of a library to the next.
    counts, rest = slice(1, 3), (0, 3, 4, 5)
    assert [said[i] for i in rest] == [page[i] for i in rest], "write the page anew with INNERSIGHT_WRITE_ZOO=1"
    assert [int(n) for n in said[counts]] == pytest.approx([int(n) for n in page[counts]], rel=0.05, abs=2)


def test_the_page_has_these_families_and_no_others() -> None:
    assert list(rows()) == list(zoo.FAMILIES)
    assert len(zoo.FAMILIES) >= 30
