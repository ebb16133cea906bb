"""A panel is one .py and one .js of the same name: nothing else lists it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innersight.storage.key import Key
from innersight.study.panel import ordered, panels
from innersight.web import shell

COMPUTES = '''
"""How bright an image is."""

from functools import partial
from typing import Literal

from innersight.storage.key import Key
from innersight.study.panel import StudyTask, panels
from innersight.study.request import Name, StudyRequest, check_image


class BrightnessRequest(StudyRequest):
    """The brightness of one image."""

    kind: Literal["brightness"]
    image: Name

    def check(self, study):
        check_image(study, self.image)

    def tasks(self, context):
        yield _task(context, self.image)


def _task(context, image):
    make = partial(_measured, context, image)
    return StudyTask(Key("brightness", image=image), context.settings(image), make)


def _measured(context, image):
    from innersight.activations import seen_array

    return {"image": image, "mean": float(seen_array(context.image(image), context.model).mean())}, {}


def _document(reader, files):
    items = reader.items("brightness", images=True)
    return {"images": {item.document["image"]: item.document["mean"] for item in items}}


def _layer(reader, files, row):
    return {"brightness": row["units"]}


def _export(reader, content):
    found = _document(reader, None)["images"]
    content.curves["brightness"] = (list(range(len(found))), list(found.values()))


@panels.register(
    "Brightness", requests=(BrightnessRequest,), per="image", missing="Nobody looked.", how="The mean of the pixels.",
    document=_document, layer=_layer, export=_export,
)
def brightness(context):
    """The brightness of the first image."""
    yield _task(context, "p0")
'''
SHOWS = """
/** How bright an image is. */

import { h } from "../dom.js";
import { panel } from "../panel.js";
import { section } from "../section.js";

panel({
  name: "brightness",
  title: "Brightness",
  order: 25,
  document: "brightness",
  story: { show: ({ study, documents }) => section("brightness", "Brightness", "How bright it is", null,
    h("p", { class: "mean" }, String(documents.brightness.images.p0)), study.how.brightness) },
  unit: { column: "wide", title: "Units beside it", show: (study, layer) =>
    h("p", { class: "units" }, String(layer.brightness)) },
  table: ({ study, documents }) => {
    const done = Object.keys(documents.brightness.images).length;
    return { computed: `${done} image`, missing: "the others", done, left: study.images.length - done };
  },
  offer: (study) => ({ text: "Measure it", requests: [{ kind: "brightness", image: "p1" }], cost: ["brightness", 1] }),
  jobs: { brightness: ({ image }) => `Brightness of ${image}` },
});
"""
PLANTED = """
import json, shutil, sys
from pathlib import Path

tests, folder = map(Path, sys.argv[1:])
sys.path.insert(0, str(tests))
from importlib import import_module
from innersight.web import shell

import_module("innersight.study.panels").__path__.append(str(folder / "py"))
shutil.copytree(shell.STATIC, folder / "static")
shutil.copy(folder / "js" / "brightness.js", folder / "static" / "panels")
shell.STATIC = folder / "static"

from networks import image, tiny
from serving import Serving, ask, follow
from innersight.storage.store import Store
from innersight.study import Plan, study
from innersight.study.content import content_of
from innersight.web.app import create_app

plan = Plan(layers=("relu1",), units=0, seeds=1, methods=("gradcam",))
done = study(tiny("in-place"), [image(1), image(2)], folder / "s", plan=plan)
done.report(folder / "report.html")
done.report(folder / "part.html", units=["relu1:0"])
found = {"export": content_of(Store.open(folder / "s")).curves["brightness"][1]}
with Serving(create_app(folder / "s", model=tiny("in-place"))) as port:
    found["before"] = ask(port, "GET", "/api/documents/brightness")
    found["study"] = ask(port, "GET", "/api/documents/study")
    found["layer"] = ask(port, "GET", "/api/documents/layer/relu1")["brightness"]
    found["kinds"] = ask(port, "GET", "/api/host")["kinds"]
    schema = ask(port, "GET", "/api/openapi.json")["paths"]["/api/jobs"]["post"]["requestBody"]
    found["described"] = "brightness" in json.dumps(schema)
    job = ask(port, "POST", "/api/jobs", {"kind": "brightness", "image": "p1"})
    found["events"] = follow(port, job["id"])
    found["after"] = ask(port, "GET", "/api/documents/brightness")
again = study(tiny("in-place"), [image(1), image(2)], folder / "s", plan=plan)
found["again"] = [again.computed, sorted(Store.open(folder / "s").names())]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A study made by a package with one more panel, and what its server said."""
    folder = tmp_path_factory.mktemp("planted")
    for kind, name, text in (("py", "brightness.py", COMPUTES), ("js", "brightness.js", SHOWS)):
        (folder / kind).mkdir()
        (folder / kind / name).write_text(text)
    command = [sys.executable, "-c", PLANTED, str(Path(__file__).parent), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_a_new_panel_is_computed_stored_documented_and_exported(planted: tuple[Path, dict[str, Any]]) -> None:
    _, found = planted
    assert found["before"]["images"].keys() == {"p0"}
    about = found["study"]
    assert about["how"]["brightness"] == "The mean of the pixels."
    assert about["cost"]["brightness"]["per"] == "image"
    assert "brightness" in [row["what"] for row in about["timing"]]
    assert "brightness" in [row["what"] for row in about["missing"]]
    assert found["layer"] == next(row["units"] for row in about["layers"] if row["name"] == "relu1")
    assert found["export"] == pytest.approx(list(found["before"]["images"].values()))


def test_a_new_panel_can_be_requested(planted: tuple[Path, dict[str, Any]]) -> None:
    _, found = planted
    assert "brightness" in found["kinds"]
    assert found["described"]
    last = found["events"][-1]
    assert (last["state"], last["documents"]) == ("done", ["brightness"])
    assert last["request"] == {"kind": "brightness", "image": "p1"}
    assert any(event["what"] == "brightness of image p1" for event in found["events"])
    assert found["after"]["images"].keys() == {"p0", "p1"}
    # A further run keeps it, and computes nothing.
    computed, names = found["again"]
    assert computed == 0
    assert {"brightness@p0", "brightness@p1", "requested"} <= set(names)


@pytest.mark.browser
def test_a_new_panel_is_in_the_page(planted: tuple[Path, dict[str, Any]]) -> None:
    sys.path.insert(0, str(Path(__file__).parent / "web"))
    from browser import Reader, launched

    folder, found = planted
    for chromium in launched():
        reader = Reader(chromium, (folder / "report.html").as_uri())
        page = reader.page
        order = [link.inner_text() for link in page.locator("#sections a").all()]
        assert order[3:5] == ["Images", "Brightness"]
        assert page.locator("#brightness .mean").inner_text() == str(found["before"]["images"]["p0"])
        assert "1 image" in page.locator("tr[data-what=brightness]").inner_text()
        reader.go("#/l/relu1/u/0", "Unit 0")
        assert page.locator(".units").inner_text() == str(found["layer"])
        reader.close()


def test_a_report_of_some_units_leaves_out_a_panel_that_selects_nothing(planted: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = planted
    documents = re.findall(r'data-document="([^"]+)"', (folder / "part.html").read_text())
    assert "layer/relu1" in documents
    assert "brightness" not in documents


def test_what_is_shown_is_what_is_computed() -> None:
    """A panel's two files have one name; what has no `.js` only adds to what others show."""
    shown = {path.stem for path in (shell.STATIC / "panels").glob("*.js")}
    computed = {entry.function.__module__.rpartition(".")[2] for entry in ordered()}
    assert computed - shown == {"receptive_field"}
    assert shown <= computed
    for name in shown:
        text = (shell.STATIC / "panels" / f"{name}.js").read_text(encoding="utf-8")
        assert re.findall(r'^  name: "([^"]+)"', text, re.MULTILINE) == [name]
        assert panels.entry(name).function.__module__ == f"innersight.study.panels.{name}"


@pytest.mark.parametrize("name", [entry.name for entry in ordered()])
def test_every_panel_says_what_it_is(name: str) -> None:
    entry = panels.entry(name)
    assert entry.title
    assert entry.summary
    assert {request.of_kind() for request in entry.requests} <= {name, "image", "forget"}
    assert all(request.__doc__ for request in entry.requests)
    # What can be requested has a cost; a document of its own says what a report of some units keeps of it.
    assert entry.per or {request.of_kind() for request in entry.requests} <= {"image", "forget"}
    assert entry.document is None or entry.select is not None


@given(st.text(), st.text("0123456789abcdef"), st.sampled_from(["", "0", "units=1,2", "rise,3,"]))
def test_keys_are_read_as_they_were_written(layer: str, image: str, part: str) -> None:
    key = Key("patterns", layer.encode("utf-8", "ignore").decode(), part, image)
    assert Key.parse(str(key)) == key


@given(st.text())
def test_any_text_is_read_as_some_key(text: str) -> None:
    assert isinstance(Key.parse(text), Key)
