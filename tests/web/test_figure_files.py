"""The files of the front end: the report, the bundle, and what no script may do."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from innersight.errors import InnersightError
from innersight.web import shell
from innersight.web.report import write_report


def test_report_holds_everything_once_and_nothing_executable_from_the_data(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    assert html.count('<script type="module">') == 1
    assert "<script>" not in html.replace("\\u003cscript>", "")
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert [p.name for p in report.parent.iterdir()] == ["report.html"]


def test_report_of_no_study_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="make one with: innersight study"):
        write_report(tmp_path, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_report_that_fails_leaves_the_old_one(study: Path, tmp_path: Path) -> None:
    broken = tmp_path / "study"
    shutil.copytree(study / "web", broken / "web")
    (broken / "web" / "documents" / "train.json").write_text("{")
    out = tmp_path / "report.html"
    out.write_text("old")
    with pytest.raises(InnersightError, match=r"train\.json is not as innersight writes it"):
        write_report(broken, out)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "study"]


def test_bundle_refuses_what_it_does_not_understand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "STATIC", tmp_path)
    (tmp_path / "main.js").write_text('import * as all from "./other.js";\n')
    with pytest.raises(ValueError, match="import and export forms"):
        shell.bundle()
    (tmp_path / "main.js").write_text('import { a } from "./main.js";\n')
    with pytest.raises(ValueError, match="circle"):
        shell.bundle()
    (tmp_path / "main.js").write_text('const text = "</script>";\n')
    with pytest.raises(ValueError, match="inline script"):
        shell.bundle()


@pytest.mark.parametrize(("constant", "name"), [("MAGMA", "magma"), ("RDBU_R", "RdBu_r")])
def test_colours_are_those_of_the_figures(constant: str, name: str) -> None:
    source = (shell.STATIC / "colour.js").read_text(encoding="utf-8")
    found = re.search(rf"{constant} = `([^`]*)`", source)
    assert found
    anchors = np.array([[int(text[i : i + 2], 16) for i in (0, 2, 4)] for text in found[1].split()])
    levels = np.linspace(0, len(anchors) - 1, 256)
    ours = np.stack([np.interp(levels, range(len(anchors)), anchors[:, c]) for c in range(3)], axis=1)
    theirs = 255 * matplotlib.colormaps[name](np.arange(256))[:, :3]
    assert np.abs(ours - theirs).max() < 4


def test_scripts_never_parse_markup() -> None:
    for path in shell.STATIC.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|DOMParser", text), path
        assert len(text.splitlines()) < 400, path
