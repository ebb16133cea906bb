"""A program: kills work at random moments, runs it again until it ends, and compares with work that was not killed.

    python killing.py FOLDER KILLS KIND...

Prints a line of JSON for each kind: kills, how many runs ended after them, what differed, and how many files there were
at the kills.
"""

import hashlib
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import image, tiny
from PIL import Image as PILImage

from innersight.audit import audit
from innersight.patterns import patterns
from innersight.study import Plan, Study, study
from innersight.toons import write
from innersight.train import train

PLAN = Plan(layers=("relu1", "relu2"), units=2, steps=4, seeds=1, trust=0, methods=("gradcam", "saliency"), negatives=1)


def draw(root: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("ash", "birch"):
        (root / "images" / name).mkdir(parents=True)
        for n in range(8):
            pixels = rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)
            PILImage.fromarray(pixels).save(root / "images" / name / f"{n}.png")


def trained(root: Path, out: Path) -> None:
    options: dict[str, Any] = {"net": "small:4", "size": 24, "epochs": 3, "batch": 4, "telemetry_every": 2}
    train(root / "images", out, **options, keep_epochs=True, cache=root / "cache", bar=False, report=len)


def kept(root: Path, out: Path) -> None:
    patterns(tiny("in-place"), "relu2:0-3", steps=24, seeds=2, keep=out, until="steps")


def studied(root: Path, out: Path) -> None:
    study(tiny("in-place"), [image(1), image(2)], out, plan=PLAN).render()


def audited(root: Path, out: Path) -> None:
    audit(tiny("in-place"), root / "images", checks=["units", "reliance"], out=out)


def exported(root: Path, out: Path) -> None:
    if not out.exists():
        Study.open(root / "made").export("tensorboard", out)


def drawn(root: Path, out: Path) -> None:
    if not out.exists():
        write(out, per_class=2, size=32)


def state(out: Path) -> dict[str, Any]:
    """Everything in a folder, without what tells the time or the name of the folder."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_file() or name.endswith(("-wal", "-shm", "last.ckpt")) or name.startswith("tensorboard/"):
            continue
        if "tfevents" in name:
            found["events"] = events(out)
        elif path.suffix == ".sqlite":
            found[name] = rows(path)
        elif path.suffix in (".json", ".md"):
            found[name] = without_time(path.read_text().replace(out.name, "OUT"))
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def without_time(text: str) -> Any:
    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            timed = ("seconds", "created", "timing", "cost", "stamp")
            return {k: strip(v) for k, v in value.items() if k not in timed}
        return [strip(v) for v in value] if isinstance(value, list) else value

    return strip(json.loads(text)) if text.startswith(("{", "[")) else text


def rows(path: Path) -> Any:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'items'").fetchone():
            return None
        return db.execute("SELECT key, settings, document, file FROM items ORDER BY key").fetchall()


def events(out: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(out), size_guidance={"images": 0, "scalars": 0, "histograms": 0})
    read.Reload()
    tags = read.Tags()
    return [
        {tag: [zlib.crc32(one.encoded_image_string) for one in read.Images(tag)] for tag in tags["images"]},
        {tag: [(one.step, one.value) for one in read.Scalars(tag)] for tag in tags["scalars"]},
        {tag: [str(one.histogram_value) for one in read.Histograms(tag)] for tag in tags["histograms"]},
    ]  # fmt: skip


def attempt(work: Callable[[], None], seconds: float) -> int:
    """Do the work in a fork that is killed after some seconds; return its status."""
    child = os.fork()
    if not child:

        def kill() -> None:
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGKILL)

        # The clock starts with the work, not with Python.
        threading.Thread(target=kill, daemon=True).start()
        status = 1
        try:
            # In a fork the first use makes torch's threads anew, and two first uses at once fail inside torch.
            torch.set_num_threads(1)
            work()
            status = 0
        finally:
            if status:
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


WORK = {"train": trained, "patterns": kept, "study": studied, "audit": audited, "export": exported, "toons": drawn}


def compare(root: Path, name: str, kills: int) -> dict[str, Any]:
    def work(out: Path) -> Callable[[], None]:
        return lambda: WORK[name](root, out)

    rng, differing, moments, ends = random.Random(name), [], [], 0
    work(root / f"{name}-imported")()
    start = time.perf_counter()
    assert attempt(work(root / f"{name}-whole"), 1e3) == 0
    span = time.perf_counter() - start
    wanted = state(root / f"{name}-whole")
    while len(moments) < kills:
        out = root / f"{name}-{ends}"
        # About as many are killed as come to their end, however fast the machine is at the moment.
        span *= 0.8
        while (status := attempt(work(out), rng.uniform(0.05, 1.0) * span)) == -signal.SIGKILL:
            moments.append(len([p for p in out.rglob("*") if p.is_file()]) if out.exists() else 0)
            span *= 1.2
        ends += 1
        found = state(out)
        differing += [f"status {status}"] * bool(status)
        differing += [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
        differing += [str(left) for left in root.rglob(".innersight-*")]
    return {"kind": name, "kills": len(moments), "ends": ends, "differing": differing, "moments": moments}


def main() -> None:
    torch.set_num_threads(1)
    root, kills, *kinds = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    draw(root)
    if "export" in kinds:
        studied(root, root / "made")
    for kind in kinds:
        print(json.dumps(compare(root, kind, kills)), flush=True)


if __name__ == "__main__":
    main()
