"""Every family of networks: layers, maps, patterns, heatmaps and the suffix; docs/zoo.md is what these tests saw.

INNERSIGHT_WRITE_ZOO=1 writes the page anew.
"""

import os
import re
from pathlib import Path

import pytest
import zoo

PAGE = Path(__file__).parent.parent / "docs" / "zoo.md"
ROWS = re.compile(r"^\| (?!family|---).*\|$", re.MULTILINE)
WRITE = os.environ.get("INNERSIGHT_WRITE_ZOO") == "1"

# Libraries of the networks, not of this project.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def rows() -> dict[str, str]:
    return {row.split(" | ")[0].removeprefix("| "): row for row in ROWS.findall(PAGE.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("family", zoo.FAMILIES)
def test_family(family: str) -> None:
    verdict = zoo.visit(family, zoo.FAMILIES[family])
    if WRITE:
        known = {**rows(), family: verdict.row()}
        table = "\n".join(known[name] for name in zoo.FAMILIES if name in known)
        page = ROWS.sub("", PAGE.read_text(encoding="utf-8"))
        head = "| --- | ---: | ---: | --- | --- | --- |\n"
        before, _, after = page.partition(head)
        PAGE.write_text(f"{before}{head}{table}\n\n{after.lstrip()}", encoding="utf-8")
    said, page = (row.split(" | ") for row in (verdict.row(), rows()[family]))
    # How many of hundreds of layers can be read may differ by a few from one version of a library to the next.
    counts, rest = slice(1, 3), (0, 3, 4, 5)
    assert [said[i] for i in rest] == [page[i] for i in rest], "write the page anew with INNERSIGHT_WRITE_ZOO=1"
    assert [int(n) for n in said[counts]] == pytest.approx([int(n) for n in page[counts]], rel=0.1, abs=5)


def test_the_page_has_these_families_and_no_others() -> None:
    assert list(rows()) == list(zoo.FAMILIES)
    assert len(zoo.FAMILIES) >= 30
