"""A study that somebody sent: nothing in it runs code, leads out of its folder, or ends in anything but a sentence."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image
from PIL import Image as PILImage
from safetensors.torch import load_file, save_file
from serving import Serving, ask, call

from innersight.audit import Audit, Checked, Effect, Finding, Proof, audit
from innersight.audit.keep import StudyKeep
from innersight.errors import InnersightError
from innersight.model import Model
from innersight.scan import load_scan, scan, write_sprites
from innersight.sources import load
from innersight.storage import permit
from innersight.storage.index import TABLES, identity
from innersight.storage.stamp import shown
from innersight.storage.store import Store
from innersight.storage.study_folder import StudyFolder
from innersight.study import Plan, Study, study
from innersight.study.around import report_around
from innersight.study.compute import compute
from innersight.study.content import content_of
from innersight.study.panel import parse_request
from innersight.web.app import create_app
from innersight.web.workers import Process

NET = """
import torch
def make():
    torch.manual_seed(0)
    conv, pool = torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1)
    return torch.nn.Sequential(conv, torch.nn.ReLU(), pool, torch.nn.Flatten(), torch.nn.Linear(4, 3))
"""
EVIL = "import pathlib\npathlib.Path(__file__).with_name('RAN').write_text('x')\ndef make(): raise SystemExit\n"
SOURCE = "python:mynet:make?size=24"
PLAN = Plan(layers=("1",), units=2, steps=2, seeds=1, methods=("gradcam",), negatives=0, trust=0)
MAPS = parse_request({"kind": "activations", "layer": "0"})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a network of one's own, images, a study of both with a scan, and a file that must outlive all."""
    home = tmp_path_factory.mktemp("home")
    (home / "mynet.py").write_text(NET)
    (home / "images").mkdir()
    for seed in range(3):
        PILImage.fromarray(np.asarray(image(seed).pil)).save(home / "images" / f"{seed}.png")
    (home / "precious.txt").write_text("mine")
    PILImage.fromarray(np.asarray(image(8).pil)).save(home / "private.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delitem(sys.modules, "mynet", raising=False)
        model = network()
        scan(model, "images", ["1"], out=home / "s", examples=1)
        study(model, [home / "images" / "0.png", image(4)], home / "s", plan=PLAN).render()
        StudyKeep.open(home / "s", model).finish(findings(model, home / "images" / "0.png"))
        Study.open(home / "s").render()
    yield home
    assert (home / "precious.txt").read_text() == "mine"


@pytest.fixture
def sent(home: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the study; beside it lies what must stay."""
    folder = Path(shutil.copytree(home / "s", tmp_path / "box" / "s"))
    (tmp_path / "box" / "precious.txt").write_text("mine")
    (tmp_path / "box" / "web" / "files").mkdir(parents=True)
    (tmp_path / "box" / "web" / "files" / "thesis.docx").write_text("mine")
    yield folder
    assert (tmp_path / "box" / "precious.txt").read_text() == "mine"
    assert (tmp_path / "box" / "web" / "files" / "thesis.docx").read_text() == "mine"


def change(folder: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "index.sqlite")) as db, db:
        db.execute(sql, values)


def document(folder: Path, key: str) -> Any:
    with closing(sqlite3.connect(folder / "index.sqlite")) as db:
        return json.loads(db.execute("SELECT document FROM items WHERE key = ?", (key,)).fetchone()[0])


def put(folder: Path, key: str, found: object) -> None:
    change(folder, "UPDATE items SET document = ? WHERE key = ?", json.dumps(found), key)


def findings(model: Model, file: Path) -> Audit:
    proof = Proof(torch.zeros(2, 24, 24, 3, dtype=torch.uint8), ((0.0, 0.0, 0.5, 0.5), None), ("with it", "without"))
    effect = Effect(0.7, (0.6, 0.8), 0.1, 0.001, "share of images")
    one = Finding("shortcut", "0", "A corner.", True, effect, None, "same pixels", (str(file),), 1, "Look.", proof)
    return Audit(model, (one,), (Checked("shortcut", "Shortcuts", True, "two images", "The rest."),), 2, 30, "quick")


def network() -> Model:
    """The network of the study; its module was imported where it lies."""
    return load(SOURCE, device="cpu")


# What can be done with a study.


def report(folder: Path, home: Path) -> None:
    Study.open(folder).report(folder / "report.html")


def export(folder: Path, home: Path) -> None:
    content_of(Store.open(folder))


def view(folder: Path, home: Path) -> None:
    if not shown(StudyFolder.open(folder)):
        Study.open(folder).render()
    served(folder)


def served(folder: Path) -> None:
    """Every route answers, over documents that are there."""
    with Serving(create_app(folder)) as port:
        paths = ["/", "/api/documents", "/api/host", "/api/jobs", "/api/documents/study", "/files/x"]
        paths += [f"/api/documents/{key}" for key in ask(port, "GET", "/api/documents")]
        answers = [call(port, "GET", path)[0] for path in paths]
        answers.append(call(port, "POST", "/api/report?imgs=p0")[0])
        answers.append(call(port, "POST", "/api/jobs", {"kind": "activations", "layer": "0"})[0])
    assert max(answers) < 500


def again(folder: Path, home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        study(network(), [home / "images" / "0.png", image(4)], folder, plan=PLAN).render()


def computed(folder: Path, home: Path) -> None:
    list(compute(folder, MAPS, model=network(), images=[str(home / "images")]))


def scans(folder: Path, home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        found = scan(network(), "images", ["1"], out=folder, examples=1)
        write_sprites(found, folder)
        assert found.predictions is not None
        found.predictions.to_json()
        assert len(list(found.predictions)) <= found.images


def audited(folder: Path, home: Path) -> None:
    found = audit(network(), home / "images", checks=["units"], out=folder)
    report_around(found.model, home / "images", (one.images for one in found.findings), folder)


ACTIONS: list[Callable[[Path, Path], None]] = [report, export, view, again, computed, scans, audited]
actions = pytest.mark.parametrize("act", ACTIONS, ids=lambda act: act.__name__)


def ends_well(act: Callable[[Path, Path], None], folder: Path, home: Path) -> None:
    """Whatever is wrong is said in one sentence."""
    said = ""
    try:
        act(folder, home)
    except InnersightError as error:
        said = str(error)
    assert len(said) < 1500
    assert "\n" not in said


def test_every_action_works_on_a_study_that_is_whole(sent: Path, home: Path) -> None:
    for act in ACTIONS:
        act(sent, home)


# Paths ---------------------------------------------------------------------------------------------------------------

PLACES = [
    "index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "index.sqlite-journal",
    "lock.sqlite", "lock.sqlite-journal",
    "values", "values/images.safetensors", "values/activations%2F1.safetensors", "values/new.safetensors",
    "web", "web/documents", "web/documents/study.json", "web/documents/layer", "web/documents/layer/1.json",
    "web/documents/new", "web/files", "web/files/new.webp", "images", "images/0123456789abcdef.png",
    "sprites", "sprites/made.json",
]  # fmt: skip


def symlink(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def relative(path: Path, outside: Path) -> None:
    path.symlink_to(os.path.relpath(outside, path.parent))


def nowhere(path: Path, outside: Path) -> None:
    path.symlink_to(outside.with_name("new.txt"))


def pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [symlink, relative, nowhere, pipe])
@pytest.mark.parametrize("place", PLACES)
def test_what_leads_out_of_a_study_is_refused_wherever_it_is_planted(
    plant: Any, place: str, sent: Path, home: Path
) -> None:
    path = sent / place
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    outside = sent.parent / ("web/files" if place in ("values", "web", "web/files", "sprites") else "precious.txt")
    plant(path, outside)
    for act in ACTIONS:
        with pytest.raises(InnersightError, match=r"is a link|no file and no folder"):
            act(sent, home)
    assert not (sent.parent / "new.txt").exists()


@pytest.mark.parametrize("name", ["index.sqlite", "lock.sqlite"])
def test_a_database_that_is_a_second_name_of_another_file_is_not_written(name: str, sent: Path, home: Path) -> None:
    (sent / name).touch()
    os.link(sent / name, sent.parent / "other.sqlite")
    before = (sent.parent / "other.sqlite").read_bytes()
    with pytest.raises(InnersightError, match="hard link"):
        computed(sent, home)
    # Reading changes nothing.
    export(sent, home)
    assert (sent.parent / "other.sqlite").read_bytes() == before


def test_a_journal_that_names_a_file_for_sqlite_to_delete_is_refused(sent: Path, home: Path) -> None:
    name = str(sent.parent / "precious.txt").encode()
    (sent / "index.sqlite-journal").write_bytes(
        b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504) + name + len(name).to_bytes(4, "big")
        + sum(name).to_bytes(4, "big") + b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
    )  # fmt: skip
    for act in ACTIONS:
        with pytest.raises(InnersightError, match="names a file outside"):
            act(sent, home)


@pytest.mark.parametrize(
    "stated", ["PRECIOUS", "../precious.txt", "values/../../precious.txt", "values/model.safetensors"]
)
def test_values_are_read_from_their_own_file_alone(stated: str, sent: Path, home: Path) -> None:
    stated = str(sent.parent / "precious.txt") if stated == "PRECIOUS" else stated
    change(sent, "UPDATE items SET file = ? WHERE key = 'activations/1'", stated)
    for act in (report, export, again, computed):
        with pytest.raises(InnersightError, match=r"names '.*' for the values of 'activations/1'"):
            act(sent, home)


def test_forgetting_an_image_deletes_its_own_files_alone(sent: Path, home: Path) -> None:
    (sent / "images").mkdir()
    PILImage.fromarray(np.asarray(image(5).pil)).save(sent / "images" / "0123456789abcdef.png")
    model = network()
    images = [str(home / "images")]
    list(
        compute(
            sent,
            parse_request({"kind": "image", "file": "0123456789abcdef.png", "name": "a"}),
            model=model,
            images=images,
        )
    )
    forget = parse_request({"kind": "forget", "image": "d01234567"})
    for stated in (str(sent.parent / "precious.txt"), "../precious.txt", "values/../../precious.txt"):
        change(sent, "UPDATE items SET file = ? WHERE key LIKE 'images@%'", stated)
        list(compute(sent, forget, model=model, images=images))
        assert not (sent / "images" / "0123456789abcdef.png").exists()


# The index -----------------------------------------------------------------------------------------------------------

# By column: absolute paths, paths that lead up, another type, and texts that are no document.
VALUES: list[object] = [
    2,
    "PRECIOUS",
    "../precious.txt",
    7,
    b"\xff\x00",
    "[]",
    '{"a": "\\ud800"}',
    "[" * 100_000,
    -(2**63),
]
COLUMNS = [
    (table, line.split()[0])
    for table in TABLES
    for line in TABLES[table].partition("(")[2].replace(", ", ",\n").splitlines()
    if line.strip() and line.split()[0] not in (")", "one", "key", "seconds", "finished", "phash")
]
READ_BY = {
    "items": (report, computed),
    "identity": (again,),
    "scan": (scans, report),
    "scan_images": (scans,),
    "scan_predictions": (scans,),
}


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda name: str(name))
def test_no_column_leads_anywhere_or_ends_in_a_traceback(table: str, column: str, sent: Path, home: Path) -> None:
    whole = (sent / "index.sqlite").read_bytes()
    for number, value in enumerate(VALUES):
        (sent / "index.sqlite").write_bytes(whole)
        value = str(sent.parent / "precious.txt") if value == "PRECIOUS" else value
        with contextlib.suppress(sqlite3.IntegrityError):
            change(sent, f"UPDATE OR IGNORE {table} SET {column} = ?", value)
        ends_well(READ_BY[table][number % len(READ_BY[table])], sent, home)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; END",
        "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        "CREATE VIRTUAL TABLE f USING fts5(x)",
        "CREATE TABLE other (a)",
        "CREATE INDEX i ON items (abs(seconds))",
        "ALTER TABLE items ADD COLUMN more TEXT DEFAULT 'x'",
    ],
)
def test_an_index_that_holds_more_than_rows_is_refused(sql: str, sent: Path, home: Path) -> None:
    change(sent, sql)
    for act in ACTIONS:
        with pytest.raises(InnersightError, match="not an index of this version"):
            act(sent, home)


def test_a_view_in_place_of_a_table_is_refused(sent: Path, home: Path) -> None:
    change(sent, "ALTER TABLE items RENAME TO hidden")
    change(sent, "CREATE VIEW items AS SELECT * FROM hidden")
    for act in ACTIONS:
        with pytest.raises(InnersightError, match="not an index of this version"):
            act(sent, home)


@pytest.mark.parametrize("data", [b"", b"no database at all", b"SQLite format 3\0" + bytes(4096)])
def test_a_file_that_is_no_index_is_said_to_be_none(data: bytes, sent: Path, home: Path) -> None:
    (sent / "index.sqlite").write_bytes(data)
    for act in (report, export, view, computed):
        with pytest.raises(InnersightError):
            act(sent, home)


# Values and documents ------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def no_header(path: Path) -> None:
    path.write_bytes(b"\xff" * 64)


def huge_header(path: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def others(path: Path) -> None:
    save_file({"x": torch.zeros(2)}, path)


def flat(path: Path) -> None:
    save_file({name: tensor.flatten() for name, tensor in load_file(path).items()}, path)


def bools(path: Path) -> None:
    save_file({name: tensor > 0 for name, tensor in load_file(path).items()}, path)


def halves(path: Path) -> None:
    save_file({name: tensor[:1].contiguous() for name, tensor in load_file(path).items()}, path)


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [cut, no_header, huge_header, others, flat, bools, halves, gone])
def test_values_of_any_kind_end_in_a_sentence(damage: Any, sent: Path, home: Path) -> None:
    for name in sorted(path.name for path in (sent / "values").iterdir()):
        kept = (sent / "values" / name).read_bytes()
        damage(sent / "values" / name)
        for act in (report, export, scans if name.startswith("scan-") else computed):
            ends_well(act, sent, home)
        (sent / "values" / name).write_bytes(kept)


ODD = [None, -1, 10**30, "x", [None], {"x": 1}]


def test_documents_of_any_kind_end_in_a_sentence(sent: Path, home: Path) -> None:
    store = Store.open(sent)
    for key in store.names():
        whole = document(sent, key)
        for number, name in enumerate([*whole, None]):
            for odd in ODD[number % 3 :: 3]:
                put(sent, key, odd if name is None else {**whole, name: odd, "unknown": odd})
                ends_well(export, sent, home)
                ends_well(report, sent, home)
        put(sent, key, whole)
    report(sent, home)


@pytest.mark.parametrize("key", ["model", "images", "requested"])
def test_so_do_documents_that_decide_what_is_computed(key: str, sent: Path, home: Path) -> None:
    computed(sent, home)
    whole = document(sent, key)
    inner = {"model": "model", "images": "sources"}.get(key)
    found = [{**whole, name: odd} for name in whole for odd in ODD[:3]]
    if inner is not None:
        own = whole[inner] if isinstance(whole[inner], dict) else whole[inner][0]
        changed = [{**own, name: odd} for name in own for odd in ODD[3:5]]
        found += [{**whole, inner: one if isinstance(whole[inner], dict) else [one]} for one in changed]
    for one in [*found, *ODD]:
        put(sent, key, one)
        ends_well(computed, sent, home)
    served(sent)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, '{"stamp": 1}', "\x00", '{"a": ' + "1" * 5000 + "}"]
)
def test_documents_that_came_with_a_study_are_written_anew(text: str, sent: Path, home: Path) -> None:
    for name in ("study", "layer/1"):
        (sent / "web" / "documents" / f"{name}.json").write_text(text)
        assert not shown(StudyFolder(sent))
        view(sent, home)
        assert "title" in json.loads((sent / "web" / "documents" / "study.json").read_text())


def test_documents_with_the_right_stamp_are_not_believed(sent: Path) -> None:
    Study.open(sent).render()
    assert shown(StudyFolder(sent))
    path = sent / "web" / "documents" / "study.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "title": "altered"}))
    assert not shown(StudyFolder(sent))


@pytest.mark.parametrize("name", ["page.html", "code.js", "image.svg"])
def test_files_that_could_be_a_page_are_not_served(name: str, sent: Path) -> None:
    (sent / "web" / "files" / name).write_text("<script>alert(1)</script>")
    with Serving(create_app(sent)) as port:
        assert call(port, "GET", f"/files/{name}")[0] == 404


def test_texts_of_a_study_stay_texts_in_its_report(sent: Path, home: Path) -> None:
    evil = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>"
    card = document(sent, "model")
    card["model"] = {**card["model"], "name": evil, "labels": [evil] * 3, "notes": [evil]}
    put(sent, "model", card)
    report(sent, home)
    text = (sent / "report.html").read_text()
    assert "<script>alert" not in text
    assert "<img src=x" not in text


# What a study may open -----------------------------------------------------------------------------------------------


def source(folder: Path, text: str, where: Path | None = None) -> None:
    card = document(folder, "model")
    card["model"]["source"] = text
    put(folder, "model", {**card, "where": str(where or card["where"])})


@pytest.fixture
def evil(sent: Path) -> Path:
    """A study that brings modules."""
    for name in ("evilmod", "mynet", "torch", "json", "safetensors"):
        (sent / f"{name}.py").write_text(EVIL)
    return sent


def worked(folder: Path, cwd: Path | None = None) -> str:
    """Return what the process that computes says when asked for maps."""
    done = subprocess.run(
        Process(folder).command,
        input=MAPS.model_dump_json() + "\n",
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert not (folder / "RAN").exists()
    return done.stdout + done.stderr


def test_a_study_of_ones_own_goes_on_by_itself_wherever_it_is(home: Path, sent: Path) -> None:
    assert "done" in worked(sent)


@pytest.mark.parametrize(
    "text",
    [
        "python:evilmod:make", "lightning:x.ckpt?class=evilmod:make", "keras:net.keras?module=evilmod",
        "toon?labels=../precious.txt", "run:.", "onnx:/etc/passwd", "hf:somebody/net", "timm:hf-hub:somebody/net",
        "python:mynet:make?size=24&labels=/etc/passwd", "small:8",
    ],
)  # fmt: skip
def test_a_network_that_this_user_never_named_is_not_opened(text: str, evil: Path) -> None:
    source(evil, text, evil)
    with pytest.raises(InnersightError, match=r"not made by you .* --model MODEL"):
        permit.Permit(StudyFolder(evil)).network()
    with Serving(create_app(evil)) as port:
        about = ask(port, "GET", "/api/host")
        assert about["compute"] is False
        assert "--model MODEL" in about["why"]
        status, _, said = call(port, "POST", "/api/jobs", {"kind": "activations", "layer": "0"})
    assert status == 409
    assert b"--model MODEL" in said


def test_neither_is_one_from_another_folder_than_it_was(evil: Path) -> None:
    source(evil, SOURCE, evil)
    assert "not made by you" in worked(evil)


def test_nothing_is_imported_from_the_folder_that_view_is_started_in(evil: Path) -> None:
    assert "done" in worked(evil, evil)


def test_code_in_a_studys_own_folder_is_named_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever had the folder in between may have changed it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ownnet.py").write_text(NET)
    done = study(load("python:ownnet:make?size=24", device="cpu"), [image(1)], tmp_path, plan=PLAN)
    with pytest.raises(InnersightError, match="not made by you"):
        permit.Permit(StudyFolder(done.folder)).network()


@pytest.mark.parametrize("name", ["toon", "toon:robust"])
def test_an_embedded_network_needs_no_name(sent: Path, name: str) -> None:
    source(sent, name)
    assert permit.Permit(StudyFolder(sent)).network().source == name


def test_a_study_without_a_mark_is_a_strangers(sent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNERSIGHT_STATE", str(tmp_path / "none"))
    why = permit.Permit(StudyFolder(sent)).refusal()
    assert why is not None
    assert "--model MODEL --images FOLDER" in why
    assert "runs Python code" in why
    assert permit.Permit(StudyFolder(sent), named=True, images=("x",)).refusal() is None


@pytest.mark.parametrize("name", ["../evil", "", "x", 7, None])
def test_an_identity_is_no_path(name: object, sent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Path(os.environ["INNERSIGHT_STATE"]) / "studies" / f"{identity(StudyFolder(sent))}.json"
    monkeypatch.setenv("INNERSIGHT_STATE", str(tmp_path))
    (tmp_path / "studies").mkdir()
    for path in ("evil", "studies/", "studies/x", "studies/7", "studies/None"):
        shutil.copy(known, tmp_path / f"{path}.json")
    change(sent, "DELETE FROM identity")
    if name is not None:
        change(sent, "INSERT INTO identity VALUES (1, ?)", name)
    assert permit.mark_of(StudyFolder(sent)) == permit.Mark()


def test_an_image_that_this_user_never_named_is_not_opened(sent: Path, home: Path) -> None:
    """Its path is the private image's, and so is its digest."""
    from innersight.image import load_image

    private = home / "private.png"
    found = document(sent, "images")
    model = network()
    digest = load_image(private).checked(model.input).digest()
    found["sources"][0] = {"path": str(private), "digest": digest}
    put(sent, "images", found)
    with pytest.raises(InnersightError, match=r"its images lie at .*--images FOLDER"):
        list(compute(sent, MAPS, model=model))
    with pytest.raises(InnersightError, match=r"private.png is not in .*--images FOLDER"):
        list(compute(sent, MAPS, model=model, images=[str(home / "images")]))


def test_images_are_found_where_they_are_said_to_be(sent: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNERSIGHT_STATE", str(sent.parent / "none"))
    shutil.copytree(home / "images", sent.parent / "copies" / "images")
    (sent.parent / "copies" / "0.png").write_bytes(b"another of that name")
    model = network()
    with pytest.raises(InnersightError, match="--images FOLDER"):
        list(compute(sent, MAPS, model=model))
    assert "layer/0" in list(compute(sent, MAPS, model=model, images=[str(sent.parent / "copies")]))


@pytest.mark.parametrize(
    "name", ["PRIVATE", "../private.png", "python:evilmod:make#0", "hf:somebody/set#1", "#3", "x.tar/a.png"]
)
def test_a_scan_opens_nothing_that_this_user_never_named(name: str, evil: Path, home: Path) -> None:
    model = network()
    opens = load_scan(model, evil)
    assert opens is not None
    known = opens.records[0].name
    assert opens.again(known).path == home / "images" / "0.png"
    change(
        evil,
        "UPDATE scan_images SET name = ? WHERE number = 0",
        str(home / "private.png") if name == "PRIVATE" else name,
    )
    found = load_scan(model, evil)
    assert found is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(evil)
        for record in found.records.values():
            with pytest.raises(InnersightError, match="not made by you"):
                found.again(record.name)
    assert not (evil / "RAN").exists()
    # The rest of the study goes on; its panel says why there are no examples.
    again(evil, home)


def test_a_study_that_is_taken_over_is_not_taken_for_the_one_it_claims_to_be(sent: Path, home: Path) -> None:
    """A stranger's folder gets an identity of its own; what is remembered of others is not touched."""
    known = permit.mark_of(StudyFolder(home / "s"))
    change(sent, "UPDATE identity SET id = ?", "0" * 32)
    again(sent, home)
    with closing(sqlite3.connect(sent / "index.sqlite")) as db:
        assert db.execute("SELECT id FROM identity").fetchone() != ("0" * 32,)
    assert permit.Permit(StudyFolder(sent)).refusal() is None
    assert permit.mark_of(StudyFolder(home / "s")) == known


def test_a_home_that_cannot_be_written_is_told(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INNERSIGHT_STATE", str(tmp_path / "file"))
    done = study(network(), [home / "images" / "0.png"], tmp_path / "t", plan=PLAN)
    assert "cannot be recognised as yours" in done.notes[0]
    with pytest.raises(InnersightError, match="--images"):
        list(compute(tmp_path / "t", MAPS, model=network()))


# A medium that cannot be written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [False, True], ids=["whole", "with a log that was left"])
def test_a_study_on_a_medium_that_cannot_be_written_opens(
    left: bool, sent: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if left:
        with closing(sqlite3.connect(sent / "index.sqlite")) as db:
            db.execute("UPDATE items SET seconds = 1234.5 WHERE key = 'activations/1'")
            db.commit()
            logs = {side: (sent / f"index.sqlite{side}").read_bytes() for side in ("", "-wal")}
        for side, data in logs.items():
            (sent / f"index.sqlite{side}").write_bytes(data)
    before = {path: path.read_bytes() for path in sorted(sent.rglob("*")) if path.is_file()}
    monkeypatch.setattr(
        os, "access", lambda path, mode: not (mode & os.W_OK and sent in (Path(path), *Path(path).parents))
    )
    for path in [sent, *sent.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    found = Store.open(sent).get("activations/1")
    assert found is not None
    assert (found.seconds == 1234.5) == left
    Study.open(sent).report(sent.parent / "out.html")
    export(sent, home)
    with pytest.raises(InnersightError, match=r"read-only: choose another file .* --out"):
        report(sent, home)
    for act in (again, computed, scans):
        with pytest.raises(InnersightError, match="read-only"):
            act(sent, home)
    with Serving(create_app(sent)) as port:
        assert ask(port, "GET", "/api/documents/layer/1")["name"] == "1"
        assert "read-only" in ask(port, "GET", "/api/host")["why"]
        assert call(port, "POST", "/api/jobs", {"kind": "activations", "layer": "0"})[0] == 409
        assert call(port, "POST", "/api/images?name=a", b"x")[0] == 409
    assert before == {path: path.read_bytes() for path in sorted(sent.rglob("*")) if path.is_file()}
