"""Folders of images: streamed, sorted, without loops; and names and files that mean harm."""

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import image, tiny
from PIL import Image as PILImage

import innersight as ins
from innersight.cli import main
from innersight.image import Image, ImageError, as_image, load_image
from innersight.input_spec import InputSpec
from innersight.inputs import files, read
from innersight.inputs.files import find_images
from innersight.model import Model
from innersight.study import Plan
from innersight.trust import Protocol

SPEC = InputSpec(24, 24)


def save(path: Path, seed: int = 0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image(seed).pil.save(path, **options)
    return path


def test_the_first_image_comes_before_the_last_folder_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        save(tmp_path / name / "1.png")
    listed: list[str] = []
    original = os.scandir
    monkeypatch.setattr(files.os, "scandir", lambda folder: (listed.append(Path(folder).name), original(folder))[1])
    found = find_images([tmp_path])
    assert next(found) == tmp_path / "a" / "1.png"
    assert listed == [tmp_path.name, "a"]
    assert [path.parent.name for path in found] == ["b", "c"]


def test_a_hundred_thousand_files_stream(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    first = save(folder / "0.png")
    for i in range(1, 1000):
        os.link(first, folder / f"{i}.png")
    for i in range(100):
        (tmp_path / f"part{i:02}").symlink_to(folder)
    # One folder linked a hundred times is one folder.
    assert sum(1 for _ in find_images([tmp_path])) == 1000
    assert list(itertools.islice(find_images([tmp_path] * 100), 3)) == sorted(folder.iterdir())[:3]


def test_what_a_study_has_written_is_no_image_of_the_folder_it_lies_in(tmp_path: Path) -> None:
    there = [
        save(tmp_path / "1.png", 1),
        save(tmp_path / "web" / "2.png", 2),
        save(tmp_path / "study" / "images" / "3.png"),
    ]
    plan = Plan(layers=("relu2",), units=1, steps=1, seeds=1, methods=("gradcam",), concepts=0, trust=0)
    for _ in range(2):
        ins.study(tiny("in-place"), there[:2], tmp_path / "study", plan=plan).render()
        assert any((tmp_path / "study" / "web").rglob("*.webp"))
        assert sorted(find_images([tmp_path])) == sorted(there)
    # Where it lies in the folder of the images itself, too.
    ins.study(tiny("in-place"), there[:1], tmp_path, plan=plan).render()
    assert sorted(find_images([tmp_path])) == sorted([there[0], there[2]])


def test_links_that_lead_in_circles(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "a" / "gone.png").symlink_to("nothing.png")
    save(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "a" / "linked").symlink_to(tmp_path / "elsewhere")
    found = [str(path.relative_to(tmp_path)) for path in find_images([tmp_path / "a"])]
    assert found == ["a/1.png", "a/gone.png", "a/linked/2.png"]
    images = read(tmp_path / "a", SPEC)
    assert [one.name for one in images.images] == ["1.png", "2.png"]
    assert "gone.png: no such file" in images.skipped[0]


NAMES = [
    "line\nbreak.png",
    "quo'te\".png",
    "<script>alert(1)</script>.png",
    "$a$ ^_{.png",
    "ünï 猫.png",
    "\x1b[31m.png",
]


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")  # the fonts that come with matplotlib know no 猫
@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_printed_on_one_line_and_drawn(name: str, tmp_path: Path) -> None:
    path = tmp_path / name.replace("/", "∕")
    save(path)
    one = load_image(path)
    assert one.name.isprintable()
    ins.activations(tiny("in-place"), path).save(tmp_path / "out" / "a.png")
    ins.explain(tiny("in-place"), path).save(tmp_path / "out" / "b.png")
    path.write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        load_image(path)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist on Linux only")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"broken\xff.png")
    save(path)
    (tmp_path / "x").mkdir()
    one = load_image(path)
    assert one.name == r"broken\udcff.png"
    study = ins.study(tiny("in-place"), [path, path], tmp_path / "x" / "study", plan=Plan(units=1, steps=1))
    study.report(tmp_path / "x" / "report.html")


def test_markup_in_names_stays_text_in_the_report(tmp_path: Path) -> None:
    path = save(tmp_path / "in" / NAMES[2].replace("/", "∕"))
    made = ins.study(tiny("in-place"), [path], tmp_path / "study", plan=Plan(units=1, steps=1))
    assert "<script>alert" not in made.report(tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_panorama_of_thirty_thousand_pixels(tmp_path: Path) -> None:
    wide = PILImage.new("RGB", (30_000, 500), "navy")
    wide.paste("white", (15_000, 0, 30_000, 500))
    wide.save(tmp_path / "wide.png")
    one = load_image(tmp_path / "wide.png")
    seen = np.asarray(one.seen(ins.InputSpec(24, 24, fit="squash")))
    assert (one.width, one.height) == (30_000, 500)
    assert seen[:, 0].tolist() == [[0, 0, 128]] * 24
    assert seen[:, -1].tolist() == [[255, 255, 255]] * 24


def test_one_pixel_and_a_lot_of_exif(tmp_path: Path) -> None:
    PILImage.new("RGB", (1, 1), "red").save(tmp_path / "a.png")
    assert ins.predict(tiny("in-place"), tmp_path / "a.png").logits.isfinite().all()
    exif = PILImage.Exif()
    exif[0x010E] = "x" * 60_000
    exif[0x0112] = 6
    image(1).pil.save(tmp_path / "b.jpg", exif=exif)
    assert (load_image(tmp_path / "b.jpg").width, load_image(tmp_path / "b.jpg").height) == (30, 40)
    assert not load_image(tmp_path / "b.jpg").pil.info


@pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1)])
@pytest.mark.parametrize("fit", ["crop", "squash"])
@pytest.mark.parametrize("resample", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_the_thinnest_images_are_seen(size: tuple[int, int], fit: Any, resample: Any) -> None:
    one = as_image(PILImage.new("RGB", size, (0, 255, 0)))
    seen = one.tensor(InputSpec(24, 24, fit=fit, resample=resample, crop=0.5))
    assert seen.amax((1, 2)).tolist() == [0, 1, 0]


def test_folders_nested_deeper_than_the_stack_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1200):
            os.mkdir("a")
            os.chdir("a")
        save(Path("p.png"))
    finally:
        os.chdir(before)
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in find_images(["."])] == ["p.png"]
    while (tmp_path / os.listdir(tmp_path)[0]).is_dir():  # the fixture's own clean-up calls itself for each folder
        top = tmp_path / "a"
        top.rename(tmp_path / "b")
        for name in os.listdir(tmp_path / "b"):
            os.rename(tmp_path / "b" / name, tmp_path / name)
        (tmp_path / "b").rmdir()


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes among the files of Windows")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    save(tmp_path / "good.png")
    found = ins.predict(tiny("in-place"), tmp_path)
    assert found.names == ("good.png",)
    assert all(text.endswith(": a pipe, socket or device, not an image file") for text in found.skipped)
    assert len(found.skipped) == 2


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0.png"])
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    found = ins.predict(tiny("in-place"), [name, save(tmp_path / "good.png")])
    assert found.names == ("good.png",)
    assert "cannot be opened" in found.skipped[0]


def test_no_other_program_is_started(tmp_path: Path) -> None:
    head = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    (tmp_path / "a.png").write_bytes(head)
    with pytest.raises(ImageError, match="not an image in a supported format"):
        load_image(tmp_path / "a.png")


def test_an_archive_called_npy_is_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.zeros((4, 4)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(b"PK\x03\x04 and nothing more")
    for name in ("a.npy", "b.npy"):
        with pytest.raises(ImageError, match="cannot be read as an array"):
            load_image(tmp_path / name)


def test_an_unknown_background_is_not_the_fault_of_the_file(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"^background='nonsense' is not a colour"):
        load_image(tmp_path / "a.png", background="nonsense")


# One bad file among good ones ---------------------------------------------------------------------------------------

COMMANDS: dict[str, Callable[[Model, Path, Path], Any]] = {
    "compare": lambda model, folder, out: ins.compare(model, folder, "conv1"),
    "explain": lambda model, folder, out: ins.explain(model, folder),
    "activations": lambda model, folder, out: ins.activations(model, folder),
    "patterns": lambda model, folder, out: ins.patterns(model, "conv1:0", steps=1, images=folder),
    "predict": lambda model, folder, out: ins.predict(model, folder),
    "scan": lambda model, folder, out: ins.scan(model, folder),
    "study": lambda model, folder, out: ins.study(model, folder, out / "study", plan=Plan(units=1, steps=1)),
    "trust": lambda model, folder, out: ins.trust(model, folder, ["gradcam"], protocol=Protocol(steps=2)),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_file_is_skipped_and_listed(command: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for i in range(2):
        save(folder / f"good{i}.png", i)
    whole = (folder / "good0.png").read_bytes()
    for name, content in {"cut.png": whole[:200], "empty.jpg": b"", "text.jpg": b"no image"}.items():
        (folder / name).write_bytes(content)
    np.save(folder / "six.npy", np.zeros((20, 20, 6), np.float32))
    found = COMMANDS[command](tiny("in-place"), folder, tmp_path)
    assert sorted(sentence.split(": ")[0].rsplit("/", 1)[-1] for sentence in found.skipped) == [
        "cut.png", "empty.jpg", "six.npy", "text.jpg",
    ]  # fmt: skip
    (folder / "good0.png").unlink()
    (folder / "good1.png").unlink()
    with pytest.raises(ImageError, match=r"cut\.png: cannot be read as an image"):
        COMMANDS[command](tiny("in-place"), folder, tmp_path)


@pytest.mark.parametrize("command", ["predict", "activations", "compare", "explain", "scan", "trust", "study"])
def test_on_the_command_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        save(tmp_path / "in" / f"good{i}.png", i)
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG nothing")
    words = {
        "compare": ["--layer", "stem"], "activations": ["--layer", "stem"], "scan": ["--layer", "stem"],
        "study": ["--layer", "stem", "--units", "0", "--out", "s"], "trust": ["-m", "gradcam", "--steps", "2"],
    }.get(command, [])  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["innersight", command, "toon", "in", *words])
    assert status() == 0
    assert len([line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped in/bad.png: ")]) == 1
    monkeypatch.setattr(sys, "argv", ["innersight", command, "toon", "in/bad.png", *words])
    assert status() == 2
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if not line.startswith("note: ")] == [
        "innersight: in/bad.png: not an image in a supported format (.jpg, .jpeg, .png, .webp, .bmp, .gif, .tif, "
        ".tiff, .ppm, .avif, .npy)"
    ]


def status() -> int:
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_images_that_are_given_pass_through() -> None:
    given: list[Image] = [image(1), image(2)]
    assert read(given, SPEC).images == tuple(given)
    assert read(given[0], SPEC).images == (given[0],)
    assert read(np.zeros((4, 4, 3), np.uint8), SPEC).images[0].width == 4
    with pytest.raises(ImageError, match="no images given"):
        read([], SPEC)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_the_terminal_cannot_write_is_escaped(encoding: str, tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "in").mkdir()
    for name in (b"\xff.png", "猫.png".encode(), b"line\nbreak.png"):
        (tmp_path / "in" / os.fsdecode(name)).write_bytes(save(tmp_path / "a.png").read_bytes())
    (tmp_path / "in" / "bad\n.png").write_bytes(b"")
    script = "import sys, innersight.cli; sys.argv[0] = 'innersight'; innersight.cli.main()"
    words = ["compare", "small:4", "in", "-l", "stem", "-o", os.fsdecode(b"out\xff.json")]
    for arguments in (["predict", "small:4", "in"], words) if encoding == "ascii" else (words,):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False,
        )  # fmt: skip
        said = done.stderr.decode(encoding)
        assert done.returncode == 0, said
        assert r"skipped in/bad\n.png: " in said
        assert all(line.startswith(("note: ", "skipped ")) for line in said.splitlines())
    assert r"wrote out\udcff.json" in done.stdout.decode(encoding)
