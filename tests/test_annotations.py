"""Names, tags and notes of units, concepts and images: kept, checked as a stranger's, in reports and exports."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import image, tiny
from serving import Serving, ask, call
from typer.testing import CliRunner

from innersight.cli import app as command
from innersight.errors import InnersightError
from innersight.storage.annotations import NAME, NOTE, TAGS, Annotation
from innersight.storage.stamp import shown, stamp
from innersight.storage.store import Store
from innersight.storage.study_folder import StudyFolder
from innersight.study import Plan, Study, study
from innersight.study.content import content_of
from innersight.web.app import create_app
from innersight.web.selection import selected
from innersight.web.shell import study_web

PLAN = Plan(layers=("relu2",), units=2, steps=1, seeds=1, methods=("gradcam",), negatives=0, concepts=3)
IMAGES = [image(1), image(2)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = study(tiny("in-place"), IMAGES, tmp_path_factory.mktemp("annotated") / "s", plan=PLAN)
    done.render()
    return done.folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "s"))


def document(folder: Path) -> dict[str, dict[str, Any]]:
    text = (folder / "web" / "documents" / "annotations.json").read_text()
    return {row["address"]: row for row in json.loads(text)["annotations"]}


def test_what_is_written_is_kept_and_shown(folder: Path) -> None:
    before = stamp(StudyFolder(folder))
    done = Study.open(folder)
    done.annotate("relu2:3", name=" hair outline ", tags=["hair", " edges ", "hair"], note="strong\non the left")
    done.annotate("relu2~nmf:1", name="sky")
    done.annotate(IMAGES[1].name, tags=["odd"])
    assert done.annotations["relu2:3"].tags == ("hair", "edges")
    assert {one.address: one.name for one in done.annotations.values()} == {
        "relu2:3": "hair outline",
        "relu2~nmf:1": "sky",
        "p1": "",
    }
    assert document(folder)["relu2:3"] == {
        "address": "relu2:3", "name": "hair outline", "tags": ["hair", "edges"], "note": "strong\non the left",
        "stale": False,
    }  # fmt: skip
    # The rest of the pages stays what it was, and the study still counts as shown as it is.
    assert stamp(StudyFolder(folder)) == before
    assert shown(StudyFolder(folder))
    # One part at a time; nothing left takes it away.
    done.annotate("relu2:3", note="")
    assert done.annotations["relu2:3"].name == "hair outline"
    assert done.annotations["relu2:3"].note == ""
    done.annotate("relu2:3", name="", tags=[])
    assert "relu2:3" not in done.annotations
    assert document(folder).keys() == {"relu2~nmf:1", "p1"}


def test_a_further_run_keeps_it_and_says_where_it_is_stale(folder: Path) -> None:
    done = Study.open(folder)
    for address in ("relu2:3", "relu2~nmf:1", "p0", "p1"):
        done.annotate(address, name=f"my {address[-1]}")
    study(tiny("in-place"), IMAGES, folder, plan=PLAN).render()
    assert not any(row["stale"] for row in document(folder).values())
    study(tiny("in-place"), [IMAGES[0], image(7)], folder, plan=PLAN).render()
    stale = {address for address, row in document(folder).items() if row["stale"]}
    # Its own concepts were found over other images, so their numbers mean something else.
    assert stale == {"p1", "relu2~nmf:1"}
    model = tiny("in-place")
    with torch.no_grad():
        model.net.head.bias[0] += 1e-3
    study(model, IMAGES, folder, plan=PLAN).render()
    assert {address for address, row in document(folder).items() if row["stale"]} == {"relu2:3", "relu2~nmf:1"}
    # Whoever looks again makes it current.
    done.annotate("relu2:3", name="still hair")
    assert not document(folder)["relu2:3"]["stale"]


def test_it_is_written_while_another_process_computes(folder: Path) -> None:
    with Store.open(folder).locked():
        Study.open(folder).annotate("relu2:0", name="while at work")
    assert document(folder)["relu2:0"]["name"] == "while at work"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"address": "relu9:1", "name": "a"}, "no layer 'relu9'"),
        ({"address": "relu2:99", "name": "a"}, "no unit 99"),
        ({"address": "p7", "name": "a"}, "no unit or image 'p7'"),
        # Spellings under which no page looks a unit up.
        ({"address": "relu2:01", "name": "a"}, "no unit or image 'relu2:01'"),
        ({"address": "relu2:\u0661", "name": "a"}, "no unit or image 'relu2:\u0661'"),
        ({"address": "relu2:1", "name": "a" * (NAME + 1)}, f"at most {NAME}"),
        ({"address": "relu2:1", "name": "a\nb"}, r"U\+000A"),
        ({"address": "relu2:1", "name": "a\u202eb"}, r"U\+202E"),
        ({"address": "relu2:1", "note": "a\x1b[31m"}, r"U\+001B"),
        ({"address": "relu2:1", "note": "a" * (NOTE + 1)}, f"at most {NOTE}"),
        ({"address": "relu2:1", "tags": [str(i) for i in range(TAGS + 1)]}, f"at most {TAGS}"),
        ({"address": "relu2:1", "tags": ["a,b"]}, "no comma"),
    ],
)
def test_what_cannot_be_kept_is_refused(given: dict[str, Any], why: str, folder: Path) -> None:
    address = given.pop("address")
    with pytest.raises(InnersightError, match=why):
        Study.open(folder).annotate(address, **given)
    assert Study.open(folder).annotations == {}


ROW = {"address": "relu2:1", "name": "a", "tags": [], "note": "", "about": ""}


@pytest.mark.parametrize(
    "planted",
    [
        {"annotations": 3},
        {"annotations": [3]},
        {},
        {"annotations": [{**ROW, "name": "a" * 61}]},
        {"annotations": [{**ROW, "name": "a\u202eb"}]},
        {"annotations": [{**ROW, "name": None}]},
        {"annotations": [{**ROW, "note": "\x00"}]},
        {"annotations": [{**ROW, "tags": "hair"}]},
        {"annotations": [{**ROW, "tags": [["hair"]]}]},
        {"annotations": [{**ROW, "address": "x" * 700}]},
        {"annotations": [{**ROW, "address": 1}]},
        {"annotations": [ROW] * 5001},
    ],
)
def test_what_a_stranger_planted_ends_in_one_sentence(planted: dict[str, Any], folder: Path) -> None:
    with closing(sqlite3.connect(folder / "index.sqlite")) as db:
        values = ("annotations", "{}", json.dumps(planted), None, 0.0)
        db.execute("INSERT INTO items (key, settings, document, file, seconds) VALUES (?, ?, ?, ?, ?)", values)
        db.commit()
    for act in (
        lambda: Study.open(folder).annotations,
        lambda: Study.open(folder).annotate("relu2:1", name="b"),
        lambda: Study.open(folder).render(),
    ):
        with pytest.raises(InnersightError, match="annotations"):
            act()


def test_markup_is_text_in_every_page_and_export(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    name = "</script><img src=x> | *b*"
    Study.open(folder).annotate("relu2:1", name=name, note="<b>bold</b>", tags=["[a](b)"])
    Study.open(folder).report(tmp_path / "report.html")
    assert "</script><img" not in (tmp_path / "report.html").read_text()
    content = content_of(Store.open(folder))
    labels = [label for points in content.points.values() for label in points.labels]
    units = [label for label in labels if label.startswith("relu2:1 ")]
    assert units in ([], [f"relu2:1 · {name}"])
    Study.open(folder).export("tensorboard", tmp_path / "tb")
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    (tag,) = [tag for tag in events.Tags()["tensors"] if "notes" in tag]
    text = events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
    assert "relu2:1" in text.replace("\\", "")
    assert "<img" not in text
    assert "<b>" not in text


def test_labels_of_exported_points_have_the_name(folder: Path) -> None:
    (points, *_) = content_of(Store.open(folder)).points.values()
    unit = points.labels[0]
    Study.open(folder).annotate(unit, name="mine")
    (points, *_) = content_of(Store.open(folder)).points.values()
    assert points.labels[0] == f"{unit} · mine"


def test_a_report_of_some_units_holds_theirs_alone(folder: Path) -> None:
    done = Study.open(folder)
    for address in ("relu2:1", "relu2:2", "relu2~nmf:0", "p0", "p1"):
        done.annotate(address, name="n")
    web = study_web(folder)

    def kept(units: list[str], images: list[str]) -> set[str]:
        found, _ = selected(web, units, images)
        return {row["address"] for row in found["annotations"]["annotations"]}

    assert kept(["relu2:1"], ["p1"]) == {"relu2:1", "p1"}
    assert kept(["relu2"], []) == {"relu2:1", "relu2:2", "p0", "p1"}
    assert kept([], ["p0"]) == {"relu2:1", "relu2:2", "relu2~nmf:0", "p0"}


def test_the_command_writes_finds_and_removes(folder: Path) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(command, ["annotate", str(folder), *words])
        assert done.exit_code == 0, done.output
        return done.output

    run("relu2:1", "--name", "hair outline", "--tag", "hair", "--tag", "edges", "--note", "left")
    run("relu2:2", "--note", "nothing yet")
    assert run() == "relu2:1 · hair outline [hair] [edges]\n    left\nrelu2:2\n    nothing yet\n"
    assert run("--find", "OUTLINE").startswith("relu2:1")
    assert "relu2:2" not in run("--find", "edges")
    assert json.loads(run("relu2:1", "--json")) == [
        {"address": "relu2:1", "name": "hair outline", "tags": ["hair", "edges"], "note": "left"}
    ]
    run("relu2:1", "--remove")
    assert "relu2:1" not in run()


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    with Serving(create_app(folder)) as number:
        yield number


def test_the_server_keeps_what_its_page_sends(port: int, folder: Path) -> None:
    sent = {"address": "relu2:1", "name": "hair", "tags": [" a "], "note": "b"}
    assert ask(port, "PUT", "/api/annotations", sent) == {**sent, "tags": ["a"]}
    assert ask(port, "GET", "/api/documents/annotations")["annotations"] == [{**sent, "tags": ["a"], "stale": False}]
    assert ask(port, "PUT", "/api/annotations", {"address": "relu2:1"})["name"] == ""
    assert Study.open(folder).annotations == {}
    for body, status in (
        ({"address": "relu9:1"}, 404),
        ({"address": "../index.sqlite"}, 404),
        ({"address": "relu2:1", "name": "a" * 61}, 422),
        ({"address": "relu2:1", "name": "a\u0007"}, 404),
        ({"address": "relu2:1", "tags": ["a"] * 13}, 422),
        ({"address": "relu2:1", "more": 1}, 422),
        ({}, 422),
    ):
        assert call(port, "PUT", "/api/annotations", body)[0] == status, body
    status, _, _ = call(port, "PUT", "/api/annotations", sent, {"Origin": "http://evil.example"})
    assert status == 403
    assert Study.open(folder).annotations == {}


def test_pages_alone_cannot_be_written_to(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "web", tmp_path / "pages" / "web")
    with Serving(create_app(tmp_path / "pages")) as port:
        status, _, text = call(port, "PUT", "/api/annotations", {"address": "relu2:1", "name": "a"})
    assert status == 409
    assert "cannot be written to" in json.loads(text)["detail"]


def test_an_annotation_knows_what_it_holds() -> None:
    one = Annotation("relu2:1", "Hair outline", ("edges",), "Straße")
    assert one.holds("HAIR")
    assert one.holds("edge")
    assert one.holds("STRASSE")
    assert not one.holds("sky")
    assert Annotation("relu2:1").empty
