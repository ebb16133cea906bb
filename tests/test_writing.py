"""Files are whole or as they were: full disks, kills and links; and everything in the project is written this way."""

import ast
import errno
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import image, tiny
from safetensors.torch import load_file
from torch import Tensor

import innersight
from innersight import toons
from innersight.errors import InnersightError, WriteError
from innersight.patterns import patterns
from innersight.render.figures import new_figure
from innersight.result import Result
from innersight.sources.run_card import RunCard, write_run
from innersight.storage.store import Store
from innersight.storage.writing import (
    filling,
    is_full,
    quiet_writers,
    remove_leftovers,
    replacing,
    write_bytes,
    write_tensors,
    write_text,
)
from innersight.study import Plan, Study, study
from innersight.study.content import content_of
from innersight.study.exports import exports
from innersight.web.report import write_report


@contextmanager
def largest(size: int) -> Iterator[None]:
    """Inside, no file of this process may be larger: writing ends as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    plan = Plan(layers=("relu1",), units=1, steps=2, seeds=1, trust=0, methods=("gradcam",))
    return study(tiny("in-place"), [image(1), image(2)], tmp_path_factory.mktemp("made"), plan=plan)


class Kept(Result):
    """A result of a size."""

    def __init__(self, size: int = 3000) -> None:
        self.size = size

    def figure(self, **drawing: Any) -> Any:
        figure = new_figure(5, 5)
        figure.subplots().plot(torch.rand(self.size).tolist())
        return figure

    def to_json(self) -> dict[str, Any]:
        return {"x": list(range(self.size))}

    def tensors(self) -> dict[str, Tensor]:
        return {"x": torch.zeros(self.size)}


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.txt": lambda path: write_text(path, "x" * 9000),
    "b.bin": lambda path: write_bytes(path, b"x" * 9000),
    "c.safetensors": lambda path: write_tensors(path, {"x": torch.zeros(3000)}),
    **{
        f"d{suffix}": lambda path: Kept().save(path)
        for suffix in (".png", ".svg", ".pdf", ".jpg", ".webp", ".json", ".safetensors")
    },
    "toons": lambda path: toons.write(path, per_class=1, size=96),
    "run/weights.safetensors": lambda path: write_run(
        path.parent, torch.nn.Linear(60, 60), RunCard("small:4", ("a", "b"), tiny("in-place").input)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_without_room_the_error_names_the_file_and_what_was_there_stays(name: str, tmp_path: Path) -> None:
    write, path = WRITERS[name], tmp_path / "sub" / name
    for before in (False, True):
        if before and path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("before")
        held = below(tmp_path)
        with largest(2000), pytest.raises(WriteError, match=re.escape(str(path))) as caught:
            write(path)
        assert caught.value.full
        assert "free some space" in str(caught.value)
        assert below(tmp_path) == held
    write(path)
    assert not list(tmp_path.rglob(".innersight-*"))
    if path.suffix:
        assert path.read_bytes() != b"before"
    else:
        assert len(below(path)) == len(toons.CLASSES)


@pytest.mark.parametrize("to", ["report", "tensorboard"])
def test_reports_and_exports_without_room(made: Study, tmp_path: Path, to: str) -> None:
    out = tmp_path / "out" / "x.html"
    made.render()
    content = content_of(Store.open(made.folder))

    def write(path: Path) -> object:
        return write_report(made.folder, path) if to == "report" else exports[to](content, path)

    with largest(2000), quiet_writers(), pytest.raises(WriteError, match=r"out/x\.html cannot be written"):
        write(out)
    assert not below(tmp_path)
    write(out)
    assert below(tmp_path)


def test_a_large_report_without_room_leaves_the_former_one(
    made: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innersight.web.report.LARGEST", 1000)
    made.report(tmp_path / "x.html")
    before = below(tmp_path)
    assert len(before) > 3
    with largest(2000), pytest.raises(WriteError):
        write_report(made.folder, tmp_path / "x.html")
    assert below(tmp_path) == before
    made.report(tmp_path / "x.html")
    assert below(tmp_path).keys() == before.keys()


def test_kept_patterns_without_room(tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 2, "seeds": 1, "keep": tmp_path / "kept"}
    with largest(500), pytest.raises(WriteError, match=r"kept/[0-9a-f]+\.safetensors cannot be written"):
        patterns(tiny("in-place"), "relu1:0", **options)
    assert not below(tmp_path)
    patterns(tiny("in-place"), "relu1:0", **options)
    assert len(below(tmp_path)) == 1


@pytest.mark.parametrize(
    ("error", "full", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True, "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True, "the disk is full"),
        (OSError(errno.EFBIG, "File too large"), True, "File too large"),
        (PermissionError(errno.EACCES, "Permission denied"), False, "Permission denied): choose another path"),
    ],
)
def test_what_the_system_says_becomes_a_sentence(tmp_path: Path, error: OSError, full: bool, words: str) -> None:
    with pytest.raises(WriteError, match=re.escape(words)) as caught, replacing(tmp_path / "a\nb.txt"):
        raise error
    assert isinstance(caught.value, InnersightError)
    assert caught.value.full == full == is_full(error)
    assert r"a\nb.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_way_and_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt" / "inside").mkdir(parents=True)
    with pytest.raises(WriteError, match=r"a\.txt cannot be written"):
        write_text(tmp_path / "a.txt", "x")
    (tmp_path / "b").write_text("a file")
    with pytest.raises(WriteError, match=r"b/c\.txt cannot be written"):
        write_text(tmp_path / "b" / "c.txt", "x")
    assert not list(tmp_path.rglob(".innersight-*"))


def test_an_error_of_something_else_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        (tmp_path / "other" / "missing.png").read_bytes()
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.txt") as partial:
        partial.write_text("half" * (1 // 0))
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with replacing(tmp_path / "sheets") as partial:
            partial.mkdir()
            (partial / content).write_text(content)
        assert below(tmp_path) == {f"sheets/{content}": content.encode()}


def test_filling_keeps_what_else_is_there(tmp_path: Path) -> None:
    (tmp_path / "logs" / "run1").mkdir(parents=True)
    (tmp_path / "logs" / "run1" / "old").write_text("old")
    with filling(tmp_path / "logs") as folder:
        (folder / "run1").mkdir()
        (folder / "run1" / "new").write_text("new")
        assert below(tmp_path).keys() >= {"logs/run1/old"}
        assert not (tmp_path / "logs" / "run1" / "new").exists()
    assert below(tmp_path) == {"logs/run1/old": b"old", "logs/run1/new": b"new"}


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "report.html").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "report.html", "report")
    assert below(tmp_path) == {"precious": b"precious", "report.html": b"report"}


def test_pipes_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_bytes(pipe, b"through")
    reader.join()
    assert got == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


KILLED = """
import os, signal, sys
from pathlib import Path
from innersight.storage.writing import replacing
with replacing(Path(sys.argv[1]) / "a.txt") as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "before")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "before"
    (left,) = tmp_path.glob(".innersight-*")
    own = left.with_name(re.sub(r"-\d+-[^-]*$", f"-{os.getppid()}-x", left.name))
    link = left.with_name(left.name + "link")
    own.mkdir()
    (tmp_path / "precious").mkdir()
    link.symlink_to(tmp_path / "precious")
    (tmp_path / ".innersight-notes").mkdir()
    remove_leftovers(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", own.name, link.name, "precious", ".innersight-notes"}
    assert (tmp_path / "precious").is_dir()


def test_a_process_removes_leftovers_when_it_first_writes(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    write_tensors(tmp_path / "b.safetensors", {"x": torch.ones(2)})
    assert [p.name for p in tmp_path.iterdir()] == ["b.safetensors"]
    assert load_file(tmp_path / "b.safetensors")["x"].tolist() == [1, 1]


INSIDE = {"scan/sprites.py", "toons/toon.py", "web/report.py"}  # fill a folder that is put in its place as a whole


WRITES = ("write_text", "write_bytes", "savefig", "save_file")


def test_everything_is_written_this_way() -> None:
    root = Path(innersight.__file__).parent
    found = []
    for file in sorted(root.rglob("*.py")):
        name, text = str(file.relative_to(root)), file.read_text()
        if name in INSIDE | {"storage/writing.py"}:
            continue
        for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if method not in (*WRITES, "open"):
                continue
            line = ast.get_source_segment(text, call) or ""
            opened = method == "open" and re.search(r"\(([^()]*, )?(mode=)?[\"'][wax]", line)
            if (method in WRITES or opened) and not re.search(r"partial|buffer|path\.open|os\.devnull", line):
                found.append(f"{name}:{call.lineno}: {line}")
    assert not found
