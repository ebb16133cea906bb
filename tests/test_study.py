"""A study goes on where it stopped, computes again only what changed, and writes what the data contract says."""

import errno
import importlib
import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from safetensors.torch import load_file
from sheet_reader import read_tiles, read_values

from innersight.activations import activations
from innersight.errors import InnersightError
from innersight.image import ImageError
from innersight.input_spec import InputSpec
from innersight.layers import last_grid
from innersight.model import Model
from innersight.sources import load
from innersight.storage import index
from innersight.storage.store import Store
from innersight.storage.study_folder import StudyFolder
from innersight.study import Plan, Study, study
from innersight.study.plan import FORMAT

PLAN = Plan(layers=("relu1", "relu2"), units=3, steps=2, negatives=4, concepts=0)
IMAGES = [image(1), image(2)]


class StoppedError(Exception):
    pass


def stop_after(count: int) -> Any:
    """Stop when so many items are finished."""
    begun: list[str] = []

    def watch(_done: int, _total: int, name: str) -> None:
        if name not in begun:
            begun.append(name)
        if len(begun) > count:
            raise StoppedError

    return watch


def values_of(folder: Path) -> dict[str, Any]:
    """Everything a study has stored, without times."""
    with sqlite3.connect(folder / "index.sqlite") as db:
        rows = db.execute("SELECT key, settings, document, file FROM items").fetchall()
    db.close()
    found: dict[str, Any] = {}
    for key, settings, document, file in rows:
        tensors = load_file(folder / file) if file else {}
        found[key] = settings, document, {name: t.numpy().tobytes() for name, t in tensors.items()}
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study(tiny("in-place"), IMAGES, tmp_path_factory.mktemp("finished") / "study", plan=PLAN)


def test_every_item_is_computed_once(finished: Study) -> None:
    keys = {
        "model", "images", "activations/relu1", "activations/relu2", "compare/relu1", "compare/relu2", "weights",
        "heatmaps",
        "patterns/relu1/0", "patterns/relu2/0", "negatives/relu1/0", "negatives/relu2/0", "classes", "receptive-field",
        "ablation/relu1", "ablation/relu2", "connections/relu1/0", "connections/relu2/0",
    }  # fmt: skip
    assert values_of(finished.folder).keys() == keys
    assert (finished.computed, finished.reused) == (len(keys), 0)


def test_the_same_call_again_computes_nothing(finished: Study) -> None:
    before = values_of(finished.folder)
    again = study(tiny("in-place"), IMAGES, finished.folder, plan=PLAN)
    assert (again.computed, again.reused) == (0, finished.computed)
    assert values_of(finished.folder) == before


@pytest.mark.parametrize(("fixed", "size"), [(True, None), (False, 112)])
def test_patterns_are_drawn_at_a_size_that_the_network_takes(fixed: bool, size: int | None) -> None:
    end = torch.nn.Linear(4 * 324, 3) if fixed else torch.nn.Linear(4, 3)
    pool = torch.nn.Identity() if fixed else torch.nn.AdaptiveAvgPool2d(1)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5, 8), torch.nn.ReLU(), pool, torch.nn.Flatten(), end)
    model = load(net, input=InputSpec(144, 144))
    assert Plan(layers=("0",)).settled(model).size == size


@pytest.mark.parametrize("count", [0, 1, 4, 10])
def test_a_study_that_was_stopped_goes_on(count: int, finished: Study, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        study(tiny("in-place"), IMAGES, tmp_path / "s", plan=PLAN, progress=stop_after(count))
    assert len(values_of(tmp_path / "s")) == count
    rest = study(tiny("in-place"), IMAGES, tmp_path / "s", plan=PLAN)
    assert (rest.computed, rest.reused) == (finished.computed - count, count)
    assert values_of(tmp_path / "s") == values_of(finished.folder)


def test_a_report_can_be_opened_while_the_study_grows(
    finished: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = importlib.import_module("innersight.study.growing")
    monkeypatch.setattr(growing, "LONG", 30)
    monkeypatch.setattr(growing, "SECONDS", 0.0)
    monkeypatch.setattr(growing, "SHARE", 1e9)
    out, sizes = tmp_path / "r.html", {}

    def watch(_done: int, _total: int, name: str) -> None:
        sizes.setdefault(name, out.stat().st_size if out.is_file() else 0)

    study(tiny("in-place"), IMAGES, tmp_path / "s", plan=PLAN, report=out, progress=watch)
    drawn = [size for name, size in sizes.items() if name.startswith("patterns")]
    assert len(drawn) == 2
    assert 0 < drawn[0] < drawn[1] < out.stat().st_size
    # Seconds and dates differ.
    assert out.stat().st_size == pytest.approx(finished.report(tmp_path / "whole.html").stat().st_size, rel=0.01)
    assert {size for name, size in sizes.items() if name.startswith("activations")} == {0}


def test_progress_rises_to_the_end_and_leaves_out_what_is_done(finished: Study, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    study(tiny("in-place"), IMAGES, tmp_path / "s", plan=PLAN, progress=lambda *what: seen.append(what))
    shares = [done / total for done, total, _ in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    # The patterns report from within.
    assert len(seen) > finished.computed + 1
    again: list[tuple[int, int, str]] = []
    study(tiny("in-place"), IMAGES, tmp_path / "s", plan=PLAN, progress=lambda *what: again.append(what))
    assert [words for _, _, words in again] == ["done"]


def copy_of(finished: Study, folder: Path) -> Path:
    import shutil

    return Path(shutil.copytree(finished.folder, folder / "s"))


DRAWN = {"patterns/relu1/0", "patterns/relu2/0", "negatives/relu1/0", "negatives/relu2/0"}
CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "methods": ({"methods": ("saliency",)}, {"model", "heatmaps"}),
    "target": ({"target": "cedar"}, {"model", "heatmaps", "classes"}),
    "steps": ({"steps": 3}, {"model", *DRAWN, "classes"}),
    "seed": ({"seed": 1}, {"model", *DRAWN, "classes"}),
    "units": ({"units": 2}, {"model", *DRAWN, "connections/relu1/0", "connections/relu2/0"}),
    "negatives": ({"negatives": 1}, {"model", "negatives/relu1/0", "negatives/relu2/0"}),
    "rivals": ({"rivals": False}, {"model", "heatmaps"}),
    "layers": (
        {"layers": ("relu1", "conv2")},
        {
            "model",
            "receptive-field",
            "activations/conv2",
            "compare/conv2",
            "ablation/conv2",
            "patterns/conv2/0",
            "negatives/conv2/0",
            "connections/conv2/0",
        },
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_setting_computes_again_only_what_depends_on_it(change: str, finished: Study, tmp_path: Path) -> None:
    from dataclasses import replace

    folder = copy_of(finished, tmp_path)
    options, wanted = CHANGES[change]
    before = values_of(folder)
    done = study(tiny("in-place"), IMAGES, folder, plan=replace(PLAN, **options))
    after = values_of(folder)
    assert {key for key in after if after[key] != before.get(key)} == wanted
    assert done.computed == len(wanted)
    # What was not asked for this time is forgotten.
    assert len(after) == done.computed + done.reused
    assert len(list((folder / "values").iterdir())) == sum(bool(tensors) for *_, tensors in after.values())


@pytest.mark.parametrize("what", ["weights", "images"])
def test_other_weights_or_images_compute_everything_again(what: str, finished: Study, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path)
    model, images = tiny("in-place"), IMAGES
    if what == "weights":
        with torch.no_grad():
            model.net.head.bias[0] += 1e-3
    else:
        images = [image(1), image(3, name="blobs 2")]
    assert study(model, images, folder, plan=PLAN).reused == 0


def test_a_damaged_value_file_is_computed_again(finished: Study, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path)
    whole = values_of(folder)
    files = sorted((folder / "values").iterdir())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-40])
    assert study(tiny("in-place"), IMAGES, folder, plan=PLAN).computed == 2
    assert values_of(folder) == whole


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    import torch
    torch.set_num_threads(1)
    from networks import image, tiny
    import innersight as ins
    from innersight.study import Plan

    begun = set()

    def watch(done, total, name):
        begun.add(name)
        if len(begun) > {at}:
            os.kill(os.getpid(), signal.SIGKILL)

    plan = Plan(layers=("relu1", "relu2"), units=3, steps=2, negatives=4, concepts=0)
    ins.study(tiny("in-place"), [image(1), image(2)], {out!r}, plan=plan, progress=watch)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
def test_a_killed_study_ends_like_one_that_was_not(finished: Study, tmp_path: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), at=6, out=str(tmp_path / "s"))
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    done = study(tiny("in-place"), IMAGES, tmp_path / "s", plan=PLAN)
    assert done.reused == 6
    assert values_of(tmp_path / "s") == values_of(finished.folder)


def test_a_kill_between_file_and_row_leaves_the_item_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.create(tmp_path / "s")

    class Killed(BaseException):
        pass

    def die(_folder: StudyFolder) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(index, "writing", die)
        with pytest.raises(Killed):
            store.put("activations/x", {"a": 1}, {}, {"activations": torch.zeros(3)}, 0.1)
    assert not store.done("activations/x", {"a": 1})
    store.put("activations/x", {"a": 1}, {"b": 2}, {"activations": torch.ones(3)}, 0.1)
    assert store.done("activations/x", {"a": 1})
    assert not store.done("activations/x", {"a": 2})
    item = store.get("activations/x")
    assert item is not None
    assert item.document == {"b": 2}
    assert torch.equal(item.tensors()["activations"], torch.ones(3))


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("innersight.storage.store.write_tensors", OSError(errno.ENOSPC, "No space left on device")),
        ("innersight.storage.index._tables", sqlite3.OperationalError("database or disk is full")),
    ],
)
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(
    where: str, error: Exception, finished: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoppedError):
        study(tiny("in-place"), IMAGES, tmp_path / "s", plan=PLAN, progress=stop_after(3))

    def full(*_args: Any, **_kwargs: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(InnersightError, match=r"full|free"):
            study(tiny("in-place"), IMAGES, tmp_path / "s", plan=PLAN)
    assert study(tiny("in-place"), IMAGES, tmp_path / "s", plan=PLAN).reused == 3
    assert values_of(tmp_path / "s") == values_of(finished.folder)


def test_folders_and_unreadable_files(tmp_path: Path) -> None:
    for i in range(10):
        PILImage.fromarray(np.asarray(image(i).pil)).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"no")
    done = study(
        tiny("in-place"), tmp_path, tmp_path / "s", plan=Plan(layers=("relu2",), units=0, methods=("gradcam",))
    )
    assert [text.rsplit("/", 1)[-1].split(":")[0] for text in done.skipped] == ["1.png"]
    images = Store.open(tmp_path / "s").get("images")
    assert images is not None
    assert [row["name"] for row in images.document["images"]] == [f"{i}.png" for i in (0, 2, 3, 4, 5, 6, 7, 8)]
    with pytest.raises(ImageError, match=r"1\.png: not an image"):
        study(tiny("in-place"), tmp_path / "1.png", tmp_path / "t")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (Plan(units=-1), "must not be negative"),
        (Plan(steps=0), "steps=0 and seeds=2 must be at least 1"),
        (Plan(layers=("relu9",)), "did you mean relu"),
        (Plan(target="maple"), "no class 'maple'"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_before_anything_is_written(plan: Plan, why: str, tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match=why):
        study(tiny("in-place"), IMAGES, tmp_path / "s", plan=plan)
    assert not (tmp_path / "s").exists()


def test_folders_that_are_no_study(tmp_path: Path, small_model: Model) -> None:
    with pytest.raises(InnersightError, match="is not a study"):
        Study.open(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InnersightError, match="is a file; give a folder"):
        study(small_model, IMAGES, tmp_path / "file", plan=PLAN)
    Store.create(tmp_path / "begun")
    with pytest.raises(InnersightError, match="nothing is finished yet"):
        Study.open(tmp_path / "begun").render()


# Documents ----------------------------------------------------------------------------------------------------------


def forbidden(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


@pytest.fixture(scope="module")
def web(finished: Study) -> Path:
    return Study.open(finished.folder).render()


def document(web: Path, key: str) -> dict[str, Any]:
    kind, _, name = key.partition("/")
    path = web / "documents" / kind / f"{quote(name, safe='')}.json" if name else web / "documents" / f"{kind}.json"
    found = json.loads(path.read_text(), parse_constant=forbidden)
    assert found["format"] == 2
    return found


def sheets_in(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        own = [value] if "per_file" in value else []
        return own + [sheet for entry in value.values() for sheet in sheets_in(entry)]
    return [sheet for entry in value for sheet in sheets_in(entry)] if isinstance(value, list) else []


KEYS = ["study", "layer/relu1", "layer/relu2", "heatmaps", "classes"]


def test_every_document_is_json_and_every_file_is_there(web: Path) -> None:
    written = {str(path.relative_to(web / "documents")) for path in (web / "documents").rglob("*.json")}
    assert written == {f"{key}.json" for key in KEYS}
    named: set[str] = set()
    for key in KEYS:
        for sheet in sheets_in(document(web, key)):
            tiles = read_tiles(web / "files", sheet)
            assert tiles.shape[:3] == (sheet["count"], sheet["tile"][1], sheet["tile"][0])
            named.update(sheet["files"])
    named.update(row["original"]["file"] for row in document(web, "study")["images"])
    assert named == {path.name for path in (web / "files").iterdir()}
    assert not (web.parent / "web.partial").exists()


def test_the_study_document(web: Path) -> None:
    found = document(web, "study")
    model = tiny("in-place")
    assert found["model"]["labels"] == list(model.labels)
    assert found["model"]["input"]["height"] == 24
    assert found["model"]["parameters"] == sum(p.numel() for p in model.net.parameters())
    assert [(row["id"], row["name"]) for row in found["images"]] == [("p0", "blobs 1"), ("p1", "blobs 2")]
    row, box = found["images"][0], IMAGES[0].box(model.input)
    assert (row["width"], row["height"], row["truth"]) == (40, 30, None)
    assert row["box"] == [box.left, box.top, box.right, box.bottom]
    assert len(row["prediction"]) == 4
    assert found["seen"]["count"] == 2
    assert found["default_layers"] == ["relu1", "relu2"]
    assert [layer["name"] for layer in found["layers"]] == ["conv1", "relu1", "conv2", "relu2", "head"]
    assert [layer["document"] for layer in found["layers"]] == [None, "layer/relu1", None, "layer/relu2", None]
    assert {entry["what"] for entry in found["timing"]} == {key.split("/")[0] for key in values_of(web.parent)}
    assert all(sentence for sentence in found["how"].values())
    assert {entry["what"] for entry in found["missing"]} >= {"training"}
    assert found["skipped"] == []


@pytest.mark.parametrize("layer", ["relu1", "relu2"])
def test_the_layer_document_gives_the_values_back(layer: str, web: Path) -> None:
    found = document(web, f"layer/{layer}")
    truth = activations(tiny("in-place"), IMAGES, [layer]).values[layer]
    assert (found["units"], found["grid"]) == (truth.shape[1], list(truth.shape[2:]))
    assert found["signed"] is False
    for i in range(2):
        entry = found["activations"][f"p{i}"]
        span = truth[i].amax((1, 2)) - truth[i].amin((1, 2))
        off = (read_values(web / "files", entry) - truth[i]).abs().amax((1, 2))
        assert (off <= span / 255 + 1e-6).all()
        assert entry["mean"] == pytest.approx(truth[i].mean((1, 2)).tolist(), abs=1e-6)
    ranked = [row["unit"] for row in found["compare"]["rank"]]
    assert sorted(ranked) == list(range(truth.shape[1]))
    assert found["compare"]["images"] == ["p0", "p1"]
    assert all(len(row["strength"]) == 2 for row in found["compare"]["rank"])
    patterns = found["patterns"]
    assert patterns["units"] == ranked[:3]
    assert patterns["sheet"]["count"] == len(patterns["score"]) == 3
    assert patterns["score"][0].keys() >= {"activation", "natural", "ratio", "flags"}
    assert found["weights"] is None


def test_the_heatmaps_document_gives_the_values_back(web: Path) -> None:
    from innersight.heatmaps import explain

    found = document(web, "heatmaps")
    methods = PLAN.settled(tiny("in-place")).methods
    truth = explain(tiny("in-place"), IMAGES, None, methods)
    assert found["methods"].keys() == set(methods)
    assert len(truth.entries) == 2 * 5
    assert len(found["entries"]) == 3 * 2 * 5
    for row, entry in zip(found["entries"], truth.entries, strict=False):
        assert (row["image"], row["method"]) == (f"p{IMAGES.index(entry.image)}", entry.method)
        assert row["target"]["label"] == tiny("in-place").labels[entry.target]
        assert row["grid"] == list(entry.values.shape)
        assert row["verdict"] == entry.verdict
        assert (row["removal"] is None) is (entry.verdict is not None)
        back = read_values(web / "files", {"sheet": row["sheet"], "lo": [row["lo"]], "hi": [row["hi"]]})[0]
        assert float((back - entry.values).abs().max()) <= (row["hi"] - row["lo"]) / 255 + 1e-7
        if entry.layer is not None:
            assert row["layer"]["name"] == last_grid(tiny("in-place"))[0]
        else:
            assert row["layer"] is None


def test_the_classes_document(web: Path) -> None:
    found = document(web, "classes")["patterns"]
    labels = tiny("in-place").labels
    assert sorted(found["classes"]) == [0, 1, 2, 3]
    assert found["labels"] == [labels[c] for c in found["classes"]]
    assert found["sheet"]["count"] == len(found["score"]) == 4


def test_first_kernels_belong_to_the_layer_that_holds_them(tmp_path: Path) -> None:
    done = study(tiny("in-place"), IMAGES[:1], tmp_path / "s", plan=Plan(layers=("conv1", "relu2"), units=0))
    web = done.render()
    kernels = document(web, "layer/conv1")["weights"]
    assert kernels["sheet"]["count"] == 6
    assert kernels["sheet"]["tile"] == [3, 3]
    assert document(web, "layer/relu2")["weights"] is None
    assert document(web, "layer/conv1")["signed"] is True
    assert document(web, "layer/conv1")["compare"] is None
    missing = {entry["what"]: entry["why"] for entry in document(web, "study")["missing"]}
    assert "two images" in missing["compare"]
    assert missing.keys() >= {"training", "compare", "patterns"}


def test_a_study_that_stopped_early_renders_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        study(tiny("in-place"), IMAGES, tmp_path / "s", plan=PLAN, progress=stop_after(3))
    web = Study.open(tmp_path / "s").render()
    assert document(web, "layer/relu1")["activations"].keys() == {"p0", "p1"}
    assert document(web, "layer/relu2")["activations"] == {}
    assert {entry["what"] for entry in document(web, "study")["missing"]} >= {"heatmaps", "patterns", "compare"}


def test_numbers_that_json_cannot_say_are_null(tmp_path: Path) -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.head.bias[1] = float("inf")
    done = study(model, IMAGES, tmp_path / "s", plan=Plan(layers=("relu2",), units=1, steps=1))
    rows = document(done.render(), "study")["images"][0]["prediction"]
    assert {row["logit"] for row in rows} >= {None}


def test_grey_and_wide_networks(tmp_path: Path) -> None:
    for name in ("grey", "wide"):
        done = study(tiny(name), IMAGES, tmp_path / name, plan=Plan(units=1, steps=1))
        web = done.render()
        spec = tiny(name).input
        assert document(web, "study")["seen"]["tile"] == [spec.width, spec.height]
        assert document(web, "layer/relu2")["patterns"]["sheet"]["tile"] == [spec.width, spec.height]


def test_the_card_says_what_a_study_of_many_units_did_in_parts(tmp_path: Path) -> None:
    model = tiny("in-place")
    model.net.conv1 = torch.nn.Conv2d(3, 40, 3, padding=1)
    model.net.bn1 = torch.nn.BatchNorm2d(40).eval()
    model.net.conv2 = torch.nn.Conv2d(40, 8, 3, padding=1)
    done = study(model, IMAGES, tmp_path / "s", plan=Plan(layers=("relu1",), units=20, steps=1))
    found = document(done.render(), "layer/relu1")
    assert found["patterns"]["units"] == [row["unit"] for row in found["compare"]["rank"]][:20]
    assert found["patterns"]["sheet"]["count"] == len(found["patterns"]["score"]) == 20


def test_a_later_call_of_a_module_has_a_page_of_its_own(tmp_path: Path) -> None:
    made = study(tiny("twice"), [image(1), image(2)], tmp_path / "s", plan=Plan(layers=("block#2",), units=1, steps=1))
    made.report(tmp_path / "report.html")
    layer = json.loads((tmp_path / "s" / "web" / "documents" / "layer" / "block%232.json").read_text())
    assert (layer["name"], layer["prefix"]) == ("block#2", 0)
    assert len(layer["patterns"]["units"]) == 1
    listed = json.loads((tmp_path / "s" / "web" / "documents" / "study.json").read_text())["layers"]
    assert "layer/block#2" in [row["document"] for row in listed]


def test_a_study_of_an_older_version_is_refused_and_made_again(tmp_path: Path) -> None:
    folder = study(tiny("in-place"), IMAGES, tmp_path / "study", plan=PLAN).folder
    with sqlite3.connect(folder / "index.sqlite") as db:
        old = f"UPDATE items SET settings = replace(settings, '\"format\": {FORMAT}', '\"format\": 1'), "
        old += f"document = replace(document, '\"format\": {FORMAT}', '\"format\": 1')"
        db.execute(old)
    db.close()
    with pytest.raises(InnersightError, match="made by another version of innersight; run the study again"):
        Study.open(folder).render()
    again = study(tiny("in-place"), IMAGES, folder, plan=PLAN)
    assert again.reused == 0
    assert again.render().is_dir()
