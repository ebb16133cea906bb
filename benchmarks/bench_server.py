"""How long `innersight view` takes to its first page, and how fast the server hands out documents and sheets."""

import re
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image as PILImage

from benchmarks.timing import Row, race
from innersight import toons
from innersight.sources import load
from innersight.study import Plan, study

REQUESTS = 200


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for i, name in enumerate(toons.CLASSES[:4]):
            (path / "images").mkdir(exist_ok=True)
            PILImage.fromarray(toons.draw(name, i).pixels).save(path / "images" / f"{name}.png")
        plan = Plan(units=8, steps=4, seeds=1, negatives=0)
        study(load("toon"), path / "images", path / "study", plan=plan).render()
        return [_cold(path / "study"), *_served(path / "study")]


def _cold(folder: Path) -> Row:
    def first_page() -> None:
        process, url = _started(folder)
        for name in ("", "app.js", "api/documents/study"):
            _get(url + name)
        process.terminate()
        process.wait()

    bare = lambda: subprocess.run([sys.executable, "-c", "import fastapi, uvicorn"], check=True)  # noqa: E731
    contenders = {"innersight": first_page, "python -c 'import fastapi, uvicorn'": bare}
    return race("view: start to first page and study, and end", contenders, target="under 2 s, without torch")


def _served(folder: Path) -> list[Row]:
    process, url = _started(folder)
    try:
        sheets = [f"{url}files/{path.name}" for path in (folder / "web" / "files").iterdir()]
        asked = (sheets * REQUESTS)[:REQUESTS]

        def with_clients(count: int):
            def run() -> None:
                with ThreadPoolExecutor(count) as pool:
                    list(pool.map(_get, asked))

            return run

        study_document = lambda: [_get(f"{url}api/documents/study") for _ in range(REQUESTS)]  # noqa: E731
        return [
            race(f"{REQUESTS} sheets, one client", {"innersight": with_clients(1)}),
            race(f"{REQUESTS} sheets, four clients", {"innersight": with_clients(4)}),
            race(f"{REQUESTS} times the document `study`", {"innersight": study_document}),
        ]
    finally:
        process.terminate()
        process.wait()


def _started(folder: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "innersight", "view", str(folder), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
    assert found
    return process, found[0]


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return answer.read()
