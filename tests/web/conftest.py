"""One study, its report, a server and a browser for all tests of the front end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Edit, Opened, Reader, launched
from serving import Serving
from web_fixture import write_study

from innersight.web.app import create_app
from innersight.web.report import write_report


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def report(study: Path) -> Path:
    return write_report(study, study / "out" / "report.html")


@pytest.fixture(scope="session")
def port(study: Path) -> Iterator[int]:
    with Serving(create_app(study)) as number:
        yield number


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    yield from launched()


@pytest.fixture
def reader(chromium: Any, report: Path) -> Iterator[Reader]:
    opened = Reader(chromium, report.as_uri())
    yield opened
    opened.close()


@pytest.fixture(params=["report", "app"])
def host(request: pytest.FixtureRequest, report: Path, port: int) -> str:
    """The address of the same pages in either host."""
    return report.as_uri() if request.param == "report" else f"http://127.0.0.1:{port}/"


@pytest.fixture
def anywhere(chromium: Any, host: str) -> Iterator[Reader]:
    opened = Reader(chromium, host)
    yield opened
    opened.close()


@pytest.fixture
def opened(chromium: Any, study: Path, tmp_path: Path) -> Opened:
    """Return what opens a report of the study in which documents were edited."""

    def open_(address: str = "", options: dict[str, Any] | None = None, **edits: Edit) -> Reader:
        shutil.copytree(study / "web", tmp_path / "web")
        for name, edit in edits.items():
            path = tmp_path / "web" / "documents" / f"{name.replace('__', '/').replace('_dot_', '.')}.json"
            document = json.loads(path.read_text())
            edit(document)
            path.write_text(json.dumps(document))
        report = write_report(tmp_path, tmp_path / "report.html")
        return Reader(chromium, f"{report.as_uri()}{address}", **(options or {}))

    return open_
