import ast
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from PIL import Image as PILImage
from safetensors.torch import load_file
from typer.testing import CliRunner

import innersight as ins
from innersight import toons
from innersight.cli import app, main
from innersight.scan import load_scan

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]


@pytest.fixture
def images(tmp_path):
    files = []
    for seed in (1, 2):
        file = tmp_path / "in" / f"ambra-{seed}.png"
        file.parent.mkdir(exist_ok=True)
        PILImage.fromarray(toons.draw("ambra", seed).pixels).save(file)
        files.append(str(file))
    return files


def run(*words):
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def fail(monkeypatch, capsys, *words, status=2):
    """Run the real entry point; return the one line it says."""
    monkeypatch.setattr(sys, "argv", ["innersight", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("innersight: ")]
    assert len(said) == 1
    return said[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    assert "Usage: " in run(command, "--help").output


def test_help_does_not_import_torch():
    script = "import sys, runpy; sys.argv = ['innersight', 'layers', '--help']\n"
    script += "try: runpy.run_module('innersight', run_name='__main__')\n"
    script += "except SystemExit: print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


SLOW = {
    "fastapi", "keras", "lightning", "matplotlib", "onnx", "onnx2torch", "pandas", "rich", "scipy", "sklearn", "sympy",
    "timm", "torch._dynamo", "torchvision", "transformers", "triton", "innersight.scan", "innersight.study",
    "innersight.toons", "innersight.trust",
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "used"),
    [
        (["predict", "toon", "IMAGE", "--json"], set()),
        (["predict", "run:RUN", "IMAGE"], set()),
        (["layers", "toon"], {"rich", "triton"}),
        (["predict", "toon", "IMAGE", "-o", "FIGURE"], {"matplotlib"}),
    ],
)
def test_a_command_imports_only_what_it_uses(words, used, images, tmp_path):
    named = {"IMAGE": images[0], "run:RUN": f"run:{Path(toons.__file__).parent / 'run'}", "FIGURE": tmp_path / "p.png"}
    script = f"import sys; sys.argv = {['innersight', *(str(named.get(word, word)) for word in words)]}\n"
    script += "from innersight.cli import app\napp(standalone_mode=False)\n"
    script += f"print(*sorted({SLOW} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = set(done.stdout.splitlines()[-1].split())
    assert imported <= used
    assert "matplotlib" not in used or "matplotlib" in imported


def test_cli_imports_nothing_heavy_at_module_level():
    names: set[str | None] = set()
    modules = [name for name in sys.modules if name.startswith("innersight.cli")]
    assert len(modules) >= 9
    for module in modules:
        tree = ast.parse(Path(sys.modules[module].__file__ or "").read_text())
        names |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert names == {
        "ast", "builtins", "collections.abc", "contextlib", "dataclasses", "functools", "importlib", "innersight",
        "innersight.cli", "innersight.cli.base", "innersight.cli.command", "innersight.cli.listing",
        "innersight.cli.signatures",
        "innersight.cli.output", "innersight.cli.progress", "innersight.errors", "innersight.options",
        "innersight.registry", "innersight.render.formats", "inspect", "io",
        "json", "os", "pathlib", "re", "shutil", "sys", "textwrap", "time", "typer", "typing",
    }  # fmt: skip


def test_ctrl_c_says_what_is_kept(images, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("innersight.cli.command.Call.run", stopped)
    assert "finished work is kept" in fail(monkeypatch, capsys, "predict", "toon", *images, status=130)


def test_version():
    assert run("--version").output.strip().count(".") == 2


def test_layers_table_and_json():
    rows = json.loads(run("layers", "small:4", "--json").stdout)
    assert {"name", "kind", "role", "units", "grid", "parameters"} <= set(rows[0])
    table = run("layers", "small:4").stdout
    assert all(row["name"] in table for row in rows)


def test_predict_prints_classes(images):
    output = run("predict", "small:4", *images).output
    assert all(Path(file).name in output for file in images)
    data = json.loads(run("predict", "small:4", *images, "--json").stdout)
    best = [row["probability"] for row in data["images"][0]["prediction"]]
    assert len(best) == 5
    assert best == sorted(best, reverse=True)
    assert 0 < sum(best) <= 1
    assert data["summary"] is None


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("activations", ["-l", "stem", "--overlay", "--shared"]),
        ("compare", ["-l", "stage1"]),
        ("ablate", ["-l", "stage1", "--class", "1", "--to", "mean"]),
        ("explain", ["--gradcam.relu=true", "--target", "3"]),
    ],
)
def test_figures_data_and_raw_values(command, words, images, tmp_path):
    outs = [tmp_path / f"deep/{command}{suffix}" for suffix in (".png", ".json", ".safetensors")]
    run(command, "small:4", *images, *words, *(f"--out={out}" for out in outs))
    with PILImage.open(outs[0]) as figure:
        assert figure.width > 300
    assert json.loads(outs[1].read_text())
    assert outs[2].stat().st_size > 100


def test_find_ranks_units_for_a_box(images, tmp_path, monkeypatch, capsys):
    outs = [tmp_path / f"find{suffix}" for suffix in (".png", ".json")]
    words = ["--like", f"{images[0]}@0.3,0.2,0.6,0.5", "--but-not", f"{images[0]}@0.3,0.4,0.6,0.5", "-l", "stage1"]
    said = run("find", "small:4", images[1], *words, "--limit", "2", *(f"--out={out}" for out in outs)).stdout
    assert "units of stage1" in said
    assert said.count("its strongest locations cover") == 2
    assert len(json.loads(outs[1].read_text())["images"]) == 2
    assert "outside the image" in fail(monkeypatch, capsys, "find", "small:4", "--like", f"{images[0]}@3,2,6,5")


def test_ablate_names_the_units_a_class_depends_on(images, tmp_path, monkeypatch, capsys):
    out = f"--out={tmp_path / 'a.json'}"
    said = run("ablate", "toon", *images, "-l", "stage4", "--class", "ambra", "--limit", "3", out).stdout
    assert said.count("stage4:") == 3
    assert "2 images predicted as ambra" in said
    wrong = ("ablate", "toon", *images, "-l", "stage4", "--class", "ambr")
    assert "did you mean ambra?" in fail(monkeypatch, capsys, *wrong)


def test_explain_takes_targets_layers_and_methods(images, tmp_path):
    words = (
        "explain",
        "small:4",
        *images,
        "-m",
        "gradcam",
        "-m",
        "rise",
        "--rise.max-samples=32",
        "-l",
        "stem",
        "-l",
        "stage1",
    )
    out = tmp_path / "a.json"
    said = run(*words, "--target", "1", "--versus", "2", "--shared", "--seed", "3", "--out", str(out)).stdout
    assert "read at stem, stage1: as asked" in said
    rows = json.loads(out.read_text())["heatmaps"]
    assert [(row["method"], row["layer"]) for row in rows[:3]] == [
        ("gradcam", "stem"),
        ("gradcam", "stage1"),
        ("rise", None),
    ]
    assert {row["question"] for row in rows} == {"the requested class minus 2"}
    assert rows[2]["masks"] == 32
    run("explain", "small:4", *images, "--like", images[0], "-m", "gradcam", "--out", str(out))
    liked = json.loads(out.read_text())["heatmaps"]
    assert liked[0]["score"] == pytest.approx(1, abs=1e-4)
    said = run(
        "explain", "small:4", images[0], "-m", "all", "--extremal-perturbation.steps=1", "--out", str(out)
    ).stdout
    assert "left out: legrad: small-4 has no self-attention" in said
    assert len({row["method"] for row in json.loads(out.read_text())["heatmaps"]}) == 20


def test_patterns(images, tmp_path):
    out = tmp_path / "p.json"
    run("patterns", "small:4", "stem:0-1", "class:3", "--steps", "2", "--image", images[0], "--out", str(out))
    rows = json.loads(out.read_text())["patterns"]
    assert [row["address"] for row in rows] == ["stem:0", "stem:1", "class:3"]
    assert all(row["natural"] is not None for row in rows)


def test_study_resumes_and_reports(images, tmp_path):
    words = ("study", "small:4", *images, "--out", str(tmp_path / "s"), "--units", "2", "--steps", "2")
    weights = tmp_path / "w.safetensors"
    _save_small(weights)
    first = run(*words, "--weights", str(weights)).stdout
    again = run(*words, "--weights", str(weights)).stdout
    assert "reused 0" in first
    assert "computed 0" in again
    assert (tmp_path / "s" / "report.html").stat().st_size > 10_000
    shown = run("report", str(tmp_path / "s"), "--out", str(tmp_path / "r.html")).stdout
    assert str(tmp_path / "r.html") in shown


def _save_small(path):
    from safetensors.torch import save_file

    from innersight.sources import load

    save_file(load("small:4").net.state_dict(), path)


def test_list_and_doctor_print_something():
    assert "--gradcam.relu=false" in run("list", "methods").stdout
    said = run("doctor").stdout
    assert "torch" in said
    stated = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"^([a-z]+) +(?:installed|pip install)", said, re.MULTILINE)) == set(
        stated["optional-dependencies"]
    )


def test_toons_writes_class_folders(tmp_path):
    run("toons", str(tmp_path / "t"), "--per-class", "1")
    assert sorted(p.name for p in (tmp_path / "t").iterdir()) == sorted(toons.CLASSES)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["layers", "torchvison:resnet18"], "did you mean torchvision"),
        (["layers", "torchvision:resnet19"], "did you mean resnet18"),
        (["layers", "run:nowhere"], "no run.json"),
        (["predict", "small:4", "missing.png"], "no such file"),
        (["layers", "small:4", "--device", "toon"], "device 'toon' is not available; choose from: cpu"),
        (["patterns", "small:4", "stage1:99"], "has units 0-3"),
        (["patterns", "small:4", "stage1:x"], "is not an address"),
        (["explain", "small:4", "missing.png", "--shiny"], "no option '--shiny'"),
        (["report", "nowhere"], "is not a study"),
        (["patterns", "toon", "stage2:1", "--out", "a.xyz"], "a.xyz: save a figure as .png"),
        (["patterns", "toon", "stage2:1", "--out", "src"], "is a folder; give a file in it"),
        (["patterns", "toon", "stage2:1", "--preview", "now.json"], "now.json: save a figure as .png"),
        (["patterns", "toon", "stage2:1", "--film", "now.png"], "now.png: save a film as .webp, .gif or .mp4"),
        (["patterns", "toon", "stage2:1", "--epochs"], "--epochs needs a film to write: add --film FILE.webp"),
        (["patterns", "toon", "stage2:1", "--size", "64 by 96"], "give a side in pixels such as 96"),
        (["patterns", "toon", "stage2:1", "--views", "zoom"], "'zoom' has no value; write zoom=0.1"),
        (["patterns", "toon", "stage2:1", "--views", "zooom=1"], "no option 'zooom'; did you mean zoom"),
        (["patterns", "toon", "stage2:1", "--views", "zoom=far"], "zoom='far' is not of type float"),
        (["patterns", "toon", "stage2:1", "--views", "zoom=2"], "zoom 0..1"),
        (["interpretability", "toon", "stage2", "IMAGE", "--by", "words"], "choose examples or patterns"),
        (["interpretability", "toon", "class:ada", "IMAGE"], "name a layer, or some of its units"),
        (["interpretability", "toon", "stage2:1@2,2", "IMAGE"], "name a layer, or some of its units"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(words, says, monkeypatch, capsys):
    assert says in fail(monkeypatch, capsys, *words)


def test_broken_image_is_one_sentence(tmp_path, monkeypatch, capsys):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    assert "not an image" in fail(monkeypatch, capsys, "activations", "small:4", os.fspath(bad))


def test_patterns_can_be_estimated_and_previewed(tmp_path, images):
    said = run("patterns", "small:4?size=24", "stem", "--negatives", "--estimate", "--image", images[0]).output
    assert "4 objectives, 16 images: about" in said
    words = ("--estimate", "--json")
    planned = json.loads(run("patterns", "small:4?size=24", "stem", *words).stdout)
    assert planned["images"] == 8
    assert planned["seconds"] > 0
    out, preview = tmp_path / "a.json", tmp_path / "now.png"
    words = ("--image", images[0], "--init", images[0], "--preview", str(preview))
    run(
        "patterns",
        "small:4?size=24",
        "stem:0",
        "dream(stage1)",
        "--negatives",
        "--steps",
        "3",
        *words,
        "--out",
        str(out),
    )
    document = json.loads(out.read_text())
    assert [row["address"] for row in document["patterns"]] == ["stem:0", "dream(stage1)"]
    assert [row["address"] for row in document["negatives"]] == ["-stem:0", "-dream(stage1)"]
    assert preview.stat().st_size > 1000
    assert not out.with_name("a.json.kept").exists()


def test_what_cannot_be_written_at_the_end_is_kept(tmp_path, monkeypatch, capsys):
    out = tmp_path / "a.png"
    monkeypatch.setattr("pathlib.Path.write_bytes", _full)
    sentence = fail(monkeypatch, capsys, "patterns", "small:4?size=24", "stem:0", "--steps", "2", "--out", str(out))
    assert "a.png cannot be written (the disk is full)" in sentence
    assert not out.exists()
    assert len(list(out.with_name("a.png.kept").glob("*.safetensors"))) == 2


def _full(path, data):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_patterns_of_any_two_sides(tmp_path):
    out = tmp_path / "a.safetensors"
    run("patterns", "small:4?size=24", "stem:0", "--steps", "2", "--size", "16x32", "--out", str(out))
    assert load_file(out)["images"].shape == (1, 3, 16, 32)


def test_rate_and_views_are_those_asked_for(tmp_path):
    out = tmp_path / "a.json"
    asked = ("--views", "zoom=0.2,rotate=0,pad=border", "--lr", "0.03", "--transparent")
    run(
        "patterns",
        "small:4?size=24",
        "stem:0",
        "--steps",
        "2",
        *asked,
        "--out",
        str(out),
        "--out",
        str(tmp_path / "a.png"),
    )
    settings = json.loads(out.read_text())["settings"]
    assert settings["lr"] == 0.03
    assert settings["views"] == {"shift": 0.06, "zoom": 0.2, "rotate": 0.0, "crop": 1.0, "noise": 0.0, "pad": "border"}


def test_natural_maxima_come_from_a_scan(tmp_path, monkeypatch, capsys):
    toons, study, out = tmp_path / "toons", tmp_path / "study", tmp_path / "a.json"
    run("toons", str(toons), "--per-class", "2", "--seed", "5")
    run("scan", "toon", str(toons), "-l", "stage1", "--out", str(study))
    words = ("--steps", "2", "--scan", str(study), "--out", str(out))
    run("patterns", "toon", "stage1:0", *words)
    pattern = json.loads(out.read_text())["patterns"][0]
    scanned = load_scan(ins.load("toon"), study)
    assert (pattern["natural"], pattern["p999"]) == pytest.approx(scanned.natural("stage1:0"))
    assert "holds no scan of" in fail(monkeypatch, capsys, "patterns", "small:4?size=24", "stem:0", *words)


@pytest.mark.parametrize("by", ["examples", "patterns"])
def test_interpretability_of_chosen_units(tmp_path, by):
    run("toons", str(tmp_path / "toons"), "--per-class", "3", "--seed", "5")
    out = tmp_path / "told.json"
    words = ("--by", by, "--tasks", "4", "--explanations", "2", "--steps", "2", "--out", str(out))
    said = run("interpretability", "toon", "stage4:0-2", str(tmp_path / "toons"), *words).output
    assert "chance is 0.5; by 2 " + by in said
    assert [row["address"] for row in json.loads(out.read_text())["units"]] == [f"stage4:{unit}" for unit in range(3)]


def test_patterns_ended_by_ctrl_c_go_on(tmp_path):
    words = ["patterns", "toon", "stage1:0-31", "--size", "24", "--steps", "48", "--until", "steps", "--out", "a.json"]
    command = [sys.executable, "-m", "innersight", *words]
    kept = tmp_path / "a.json.kept"
    # A test run that a shell put in the background has Ctrl-C ignored, and would pass that on.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, **heard) as process:
        while process.poll() is None and not list(kept.glob("*.safetensors")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 130, said
    finished = len(list(kept.glob("*.safetensors")))
    assert f"{finished} finished images are kept in a.json.kept: run the same command again to resume" in said
    assert 0 < finished < 64
    done = subprocess.run([*command, "--keep", kept], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "wrote a.json" in done.stdout
    assert len(list(kept.glob("*.safetensors"))) == 64
    assert len(json.loads((tmp_path / "a.json").read_text())["patterns"]) == 32
