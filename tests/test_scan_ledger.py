"""A scan that is kept: killed at any moment it ends like one that was not; what changed meanwhile is told."""

from __future__ import annotations

import errno
import importlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from networks import tiny
from PIL import Image as PILImage

from innersight.errors import InnersightError
from innersight.image import ImageError
from innersight.scan import Batching, Scan, scan
from innersight.scan import ledger as ledger_module
from innersight.scan.ledger import Ledger
from innersight.storage.store import Store

COUNT, SHARD = 60, 8
OPTIONS: dict[str, Any] = {"examples": 3, "batching": Batching(batch=4, shard=SHARD, workers=2)}
LAYERS = ("relu1", "relu2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        (folder / ("ash", "birch")[i % 2]).mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (30, 26, 3)).astype(np.uint8)
        PILImage.fromarray(pixels).save(folder / ("ash", "birch")[i % 2] / f"{i:02}.png")
    (folder / "birch" / "31-broken.png").write_bytes(b"no image")
    return folder


def run(folder: Path, out: Path | None, **options: Any) -> Scan:
    return scan(tiny("in-place"), folder, LAYERS, out=out, **{**OPTIONS, **options})


def stored(out: Path) -> tuple[Any, ...]:
    """Everything a scan has stored, byte for byte; times of files apart."""
    with closing(sqlite3.connect(out / "index.sqlite")) as db:
        rows = db.execute(
            "SELECT number, name, label, class, phash, digest, broken FROM scan_images ORDER BY number"
        ).fetchall()
        rows += db.execute("SELECT * FROM scan_predictions ORDER BY number").fetchall()
        state = db.execute("SELECT settings, done, images, file FROM scan").fetchone()
    files = sorted(path.name for path in (out / "values").iterdir())
    return rows, state, files, (out / "values" / state[3]).read_bytes()


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "study"
    run(folder, out)
    return out


def test_kept_or_not_the_result_is_the_same(folder: Path, finished: Path) -> None:
    kept, again = run(folder, None), run(folder, finished)
    assert kept.images == again.images == COUNT
    assert kept.to_json() == again.to_json()
    assert len(kept.skipped) == 1
    assert "31-broken" in kept.skipped[0]


def test_nothing_is_read_twice(folder: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(finished)
    feed = importlib.import_module("innersight.inputs.entry")
    monkeypatch.setattr(feed, "load_image", lambda path: pytest.fail(f"{path} was read again"))
    run(folder, finished)
    assert stored(finished) == before


def test_one_row_and_one_file(finished: Path) -> None:
    rows, state, files, _ = stored(finished)
    assert [row[0] for row in rows] == [*range(COUNT + 1), *(row[0] for row in rows[: COUNT + 1] if row[6] is None)]
    assert files == [state[3]]
    with closing(sqlite3.connect(finished / "index.sqlite")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


KILLED = """
    import os, signal, sys, threading, time
    sys.path.insert(0, {tests!r})
    import torch
    torch.set_num_threads(1)
    from networks import tiny
    from innersight.scan import Batching, scan

    def victim(out, seconds):
        # The clock of the killer starts with the work, not with Python.
        def kill():
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Thread(target=kill, daemon=True).start()
        model = tiny("in-place")
        scan(model, {folder!r}, {layers!r}, out=out, examples=3, batching=Batching(4, 8, 2))
        os._exit(0)

    def fork(out, seconds):
        child = os.fork()
        if not child:
            victim(out, seconds)
        return os.waitpid(child, 0)[1]

    scan(tiny("in-place"), {folder!r}, {layers!r}, batching=Batching(workers=0))  # imported and set up before the fork
    for line in sys.stdin:
        out, seconds = line.rstrip("\\n").split("\\t")
        print(fork(out, float(seconds)), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_many_kills_at_random_moments(folder: Path, finished: Path, tmp_path: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(folder), layers=LAYERS)
    rng = random.Random(0)
    kills, ends, moments = 0, 0, set()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forker:
        assert forker.stdin is not None
        assert forker.stdout is not None

        def attempt(out: Path, seconds: float) -> int:
            print(f"{out}\t{seconds}", file=forker.stdin, flush=True)
            return int(forker.stdout.readline())

        start = time.perf_counter()
        assert attempt(tmp_path / "measured", 100.0) == 0
        whole = time.perf_counter() - start
        while kills < 20:
            out = tmp_path / f"study{ends}"
            # About as many are killed as come to their end, however fast the machine is at the moment.
            whole *= 0.8
            while attempt(out, rng.uniform(0.2, 1.0) * whole) == signal.SIGKILL:
                kills += 1
                whole *= 1.15
                if (out / "index.sqlite").exists():
                    with closing(sqlite3.connect(out / "index.sqlite")) as db:
                        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                        if db.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'scan'").fetchone()[0]:
                            moments.add(db.execute("SELECT MAX(done) FROM scan").fetchone()[0])
            ends += 1
            assert stored(out) == stored(finished)
        forker.stdin.close()
    assert not list(tmp_path.rglob(".innersight-*"))
    assert len(moments) > 3  # they did not all fall into the same shard


@pytest.mark.parametrize("moment", ["save", "replace", "row", "sweep"])
def test_a_kill_inside_of_a_commit(
    moment: str, folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    calls = 0

    def dies(original: Any, at: int) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                raise Killed
            return original(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        if moment == "save":
            patch.setattr(safetensors.torch, "save_file", dies(safetensors.torch.save_file, 4))
        elif moment == "replace":
            patch.setattr(Path, "replace", dies(Path.replace, 4))
        elif moment == "row":
            patch.setattr(ledger_module, "_text", dies(ledger_module._text, 4))
        else:
            patch.setattr(Path, "unlink", dies(Path.unlink, 3))
        with pytest.raises(Killed):
            run(folder, tmp_path / "s")
    run(folder, tmp_path / "s")
    assert stored(tmp_path / "s") == stored(finished)


def test_ctrl_c_goes_on(folder: Path, finished: Path, tmp_path: Path) -> None:
    def stop(done: int, _total: int, _name: str) -> None:
        if done >= 3 * SHARD:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "s", progress=stop)
    assert stored(tmp_path / "s")[1][1] == 3 * SHARD
    run(folder, tmp_path / "s")
    assert stored(tmp_path / "s") == stored(finished)


def test_a_second_process_is_refused(folder: Path, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "s")
    with (
        Store.create(tmp_path / "s").locked(),
        pytest.raises(InnersightError, match="another process is working on this study"),
    ):
        run(folder, tmp_path / "s")
    run(folder, tmp_path / "s")
    assert stored(tmp_path / "s") == stored(finished)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("database or disk is full")]
)
def test_a_full_disk_leaves_the_study_whole(
    error: Exception, folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def full(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise error
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        name = "save_file" if isinstance(error, OSError) else "_text"
        module: Any = safetensors.torch if isinstance(error, OSError) else ledger_module
        original = getattr(module, name)
        patch.setattr(module, name, full)
        with pytest.raises(InnersightError, match=r"disk.*full|free some disk space"):
            run(folder, tmp_path / "s")
    assert stored(tmp_path / "s")[1][1] == 2 * SHARD
    run(folder, tmp_path / "s")
    assert stored(tmp_path / "s") == stored(finished)


@pytest.fixture
def stopped(folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the images, and a scan of them that got as far as three shards."""
    images = Path(shutil.copytree(folder, tmp_path / "images"))

    def stop(done: int, _total: int, _name: str) -> None:
        if done >= 3 * SHARD:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path / "s", progress=stop)
    return images, tmp_path / "s"


def test_an_image_that_changed_is_named(stopped: tuple[Path, Path]) -> None:
    images, out = stopped
    changed = sorted(images.rglob("*.png"))[5]
    before = stored(out)
    PILImage.new("RGB", (30, 26), "red").save(changed)
    with pytest.raises(InnersightError, match=rf"{changed.name} changed since it was scanned.*--overwrite"):
        run(images, out)
    assert stored(out) == before
    assert run(images, out, overwrite=True).images == COUNT
    fresh = run(images, out.parent / "fresh")
    assert fresh.to_json() == run(images, out).to_json()


def test_an_image_that_was_only_touched_is_the_same(stopped: tuple[Path, Path]) -> None:
    images, out = stopped
    os.utime(sorted(images.rglob("*.png"))[5], (1, 1))
    assert run(images, out).images == COUNT


def test_an_image_not_scanned_yet_may_change(stopped: tuple[Path, Path]) -> None:
    images, out = stopped
    PILImage.new("RGB", (30, 26), "red").save(sorted(images.rglob("*.png"))[-1])
    assert run(images, out).images == COUNT


@pytest.mark.parametrize("change", ["gone", "new"])
def test_an_image_that_is_gone_or_new_is_named(change: str, stopped: tuple[Path, Path]) -> None:
    images, out = stopped
    third = sorted(images.rglob("*.png"))[2]
    if change == "gone":
        third.unlink()
    else:
        shutil.copy(third, third.with_name(f"{third.stem}-a.png"))
    with pytest.raises(InnersightError, match="the images are not those of the scan"):
        run(images, out)


def test_fewer_images_than_were_scanned(stopped: tuple[Path, Path]) -> None:
    images, out = stopped
    with pytest.raises(InnersightError, match="found nothing instead of"):
        run(sorted(images.rglob("*.png"))[: 2 * SHARD], out)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("examples", {"examples": 4}),
        ("max_duplicates", {"max_duplicates": 2}),
        ("batch", {"batching": Batching(5, SHARD)}),
        ("shard", {"batching": Batching(4, 9)}),
    ],
)
def test_other_settings_are_refused_by_name(name: str, change: dict[str, Any], folder: Path, finished: Path) -> None:
    with pytest.raises(InnersightError, match=rf"other settings: {name} was"):
        run(folder, finished, **change)


def test_another_network_is_refused(folder: Path, finished: Path) -> None:
    with pytest.raises(InnersightError, match="other settings: model"):
        scan(tiny("in-place", seed=1), folder, LAYERS, out=finished, **OPTIONS)


def test_damaged_sums_are_told(folder: Path, finished: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "s"))
    (file,) = (out / "values").iterdir()
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(InnersightError, match=r"damaged.*--overwrite"):
        run(folder, out)


def test_more_images_are_added(stopped: tuple[Path, Path]) -> None:
    images, out = stopped
    assert run(images, out).images == COUNT
    PILImage.new("RGB", (30, 26), "red").save(images / "birch" / "zz.png")
    assert run(images, out).images == COUNT + 1


def test_a_study_is_not_harmed_by_a_scan_in_its_folder(folder: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    store = Store.create(out)
    store.put("maps/x", {}, {"a": 1}, {}, 0.1)
    run(folder, out)
    item = store.get("maps/x")
    assert item is not None
    assert item.document == {"a": 1}
    store.drop_others(set())
    assert stored(out) == stored(finished)


def test_nothing_to_scan_is_told_and_leaves_no_scan(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="a folder without image files"):
        run(tmp_path / "empty", tmp_path / "s")
    store = Store.create(tmp_path / "s")
    assert Ledger(store).progress() is None


def test_a_folder_without_a_readable_image_does_not_stand_in_the_way(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        run(tmp_path / "mistyped", tmp_path / "s")
    assert run(folder, tmp_path / "s").images == COUNT
    # Files that cannot be read before the first that can belong to the scan.
    late = tmp_path / "late"
    late.mkdir()
    for i in range(SHARD + 2):
        (late / f"{i:02}.png").write_bytes(b"no image")
    shutil.copy(next(folder.rglob("00.png")), late / "99.png")
    assert len(run(late, tmp_path / "t").skipped) == SHARD + 2
    again = run(late, tmp_path / "t")
    assert (again.images, len(again.skipped)) == (1, SHARD + 2)
