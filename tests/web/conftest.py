"""One study, its report, a server and a browser for all tests of the front end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Reader, launched
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
