"""`innersight audit`: what is printed and written, its exit status, and bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from audit_fixture import draw, plant_check
from typer.testing import CliRunner

import innersight as ins
from innersight.audit import Audit, Checked, Effect, Finding
from innersight.audit.wording import described, sentences
from innersight.cli import app
from innersight.errors import InnersightError
from innersight.heads import multilabel
from innersight.storage.store import Store

NET = "small:4?size=24&labels=LABELS"
KEYS = {"check", "class", "sentence", "confirmed", "effect", "region", "images", "images_total", "next"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    plant_check(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "LABELS").write_text("\n".join(["ash", "birch", "cedar", *"defghij"]))
    return draw(tmp_path / "images")


def run(*words: str, status: int = 0) -> Any:
    done = CliRunner().invoke(app, ["audit", *words])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, ["audit", *words])
    assert isinstance(done.exception, InnersightError), done.output
    return str(done.exception)


def test_what_is_printed(folder: Path) -> None:
    lines = run(NET, str(folder), "--check", "planted").stdout.splitlines()
    assert lines[0].startswith("1 fault confirmed; 1 of ")
    assert lines[0].endswith("checks ran on 8 images")
    at = lines.index("CONFIRMED: planted (same pixels), class ash")
    assert lines[at + 1] == "  The corner makes images ash."
    effect = "71% (95%: 62% to 79%), control 4%, p < 0.001 (share of other images that turn into the class)"
    assert lines[at + 2] == f"  {effect}"
    assert lines[at + 3].startswith("  images: ")
    assert lines[at + 3].endswith(" and 10 more")
    assert lines[at + 4] == "  next: Crop the corner away and train again."
    assert "- Planted: two images" in lines
    assert "  could have missed: Everything that was not planted." in lines
    assert "- Units, NOT CHECKED: not asked for" in lines


def test_json_has_the_keys_that_are_documented(folder: Path) -> None:
    found = json.loads(run(NET, str(folder), "--check", "planted", "--json").stdout)
    assert found["clean"] is False
    one = found["findings"][0]
    assert set(one) >= KEYS
    assert set(one["effect"]) >= {"value", "interval", "control", "p"}
    assert one["images_total"] == 12
    assert all(Path(name).is_file() for name in one["images"])
    assert {row["check"] for row in found["checked"]} >= {"planted", "units"}


def test_the_status_is_for_ci(folder: Path) -> None:
    run(NET, str(folder), "--check", "planted")
    run(NET, str(folder), "--check", "planted", "--fail-on", "confirmed", status=1)
    run(NET, str(folder), "--check", "units", "--fail-on", "confirmed")


def test_files_and_a_study_are_written(folder: Path) -> None:
    words = ("--check", "planted", "-o", "s", "-o", "f.png", "-o", "f.json", "-o", "f.safetensors")
    done = run("toon", str(folder), *words)
    assert f"report: {Path('s/report.html').resolve()}" in done.stdout
    assert {"model", "images", "findings"} <= set(Store.open("s").names())
    text = Path("s/report.html").read_text()
    assert 'data-document="findings"' in text
    assert "The corner makes images ambra." in text
    assert json.loads(Path("f.json").read_text())["findings"][0]["check"] == "planted"
    assert Path("f.png").stat().st_size > 10_000
    # Again, and into a study that is there.
    run("toon", str(folder), *words)
    run("toon", str(folder), "--check", "units", "-o", "s")
    assert json.loads(Path("s/web/documents/findings.json").read_text())["clean"] is True


def test_a_figure_of_many_findings_and_of_none(folder: Path) -> None:
    found = ins.audit(ins.load(NET), folder, checks=["planted"])
    assert "<img" in found._repr_html_()
    many = Audit(found.model, found.findings * 30, found.checked, 8, 16, "quick")
    few, none = found.figure(), Audit(found.model, (), found.checked, 8, 16, "quick").figure()
    assert none.get_figheight() < few.get_figheight() < many.figure(limit=3).get_figheight()
    assert "28 more findings" in "".join(text.get_text() for text in many.figure(limit=2).findobj(match=_text))


def _text(artist: Any) -> bool:
    return hasattr(artist, "get_text")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--check", "planned"), "no check 'planned'; did you mean planted"),
        (("--budget", "huge"), "choose quick or full"),
        (("--fail-on", "all"), "the only choice is confirmed"),
        (("-o", "a", "-o", "b"), "names 2 folders"),
        (("-o", "x.txt"), "save a figure as"),
        (("--train", "nowhere"), "no such file"),
        (("--train", "empty"), "without image files"),
        (("--masks", "nowhere"), "nowhere: no such"),
        (("--boxes", "boxes.csv"), "names none of the 8 images"),
        (("--boxes", "boxes.csv", "--masks", "empty"), "give only one"),
        (("--max-images", "-1"), "give 1 or more"),
    ],
)
def test_bad_options_end_in_a_sentence(words: tuple[str, ...], says: str, folder: Path) -> None:
    Path("empty").mkdir()
    Path("boxes.csv").write_text("file,x0,y0,x1,y1\nothers/7.png,0,0,0.5,0.5\n")
    said = refused(NET, str(folder), *words)
    assert says in said
    assert "\n" not in said


def unlabelled(folder: Path) -> None:
    for i, file in enumerate(sorted(folder.rglob("*.png"))):
        file.rename(folder / f"{i}.png")
    for name in ("ash", "birch"):
        (folder / name).rmdir()


def one_class(folder: Path) -> None:
    shutil.rmtree(folder / "birch")


def foreign(folder: Path) -> None:
    for name in ("ash", "birch"):
        (folder / name).rename(folder / f"no {name}")


CASES = {
    "unlabelled": unlabelled,
    "one class": one_class,
    "labels of others": foreign,
    "few of a class": lambda folder: draw(folder, 22, ("cedar",)),
}


@pytest.mark.parametrize("case", CASES)
def test_folders_that_are_not_as_one_hopes(case: str, folder: Path) -> None:
    """Every check that there is runs, or says in a sentence why it does not."""
    CASES[case](folder)
    found = json.loads(run(NET, str(folder), "--json").stdout)
    assert all(row["sentence"] for row in found["checked"])
    if case == "labels of others":
        assert any("not classes of the network" in note for note in found["notes"])
    if case == "unlabelled":
        left = {row["check"]: row["sentence"] for row in found["checked"] if not row["done"]}
        assert left


@pytest.mark.parametrize("net", ["one logit", "many classes", "many labels"])
def test_networks_of_other_kinds(net: str, folder: Path) -> None:
    draw(folder, 22, ("cedar",))
    names = ["ash", "birch", "cedar"]
    kinds: dict[str, dict[str, Any]] = {
        "one logit": {"source": head(1), "labels": ["cedar"]},
        "many classes": {"source": head(1000), "labels": [*names, *map(str, range(997))]},
        "many labels": {"source": head(3), "labels": names, "head": multilabel()},
    }
    model = ins.load(**kinds[net], input=ins.InputSpec(24, 24))
    found = ins.audit(model, folder)
    assert len(found.checked) > 1
    assert found.to_json()


def head(classes: int) -> torch.nn.Sequential:
    torch.manual_seed(0)
    conv, pool = torch.nn.Conv2d(3, 6, 3, 2), torch.nn.AdaptiveAvgPool2d(1)
    return torch.nn.Sequential(conv, torch.nn.ReLU(), pool, torch.nn.Flatten(), torch.nn.Linear(6, classes)).eval()


def test_scores_that_are_no_numbers(folder: Path) -> None:
    net = head(2)
    model = ins.load(net, input=ins.InputSpec(24, 24), labels=["ash", "birch"])
    with torch.no_grad():
        net[-1].bias.fill_(float("nan"))
    with pytest.raises(InnersightError, match="NaN or infinite: nothing can be audited"):
        ins.audit(model, folder)


def test_effects_in_words() -> None:
    assert described(Effect(-2.417, unit="logits")) == "-2.42 (logits)"
    assert described(Effect(0.5)) == "0.5"
    bare = Finding("label", None, "Something.", False)
    model = ins.load("small:4?size=24")
    found = Audit(model, (bare,), (Checked("label", "Labels", False, "why", ""),), 3, 3, "quick")
    lines = list(sentences(found))
    assert lines[0] == "No fault was confirmed, 1 further finding; 0 of 1 checks ran on 3 images"
    assert "not confirmed: label" in lines
    assert lines[-1] == "- Labels, NOT CHECKED: why"
