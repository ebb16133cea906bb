"""A report in Firefox, where it is installed: its own screenshot shows the images and fits the window."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
SECONDS = 5.0  # in which a page draws what is in the window
FRAME = """<!doctype html>
<style>body { margin: 0 } iframe { display: block; border: 0; width: 100vw; height: 100vh }</style>
<iframe src="REPORT"></iframe><img src="http://127.0.0.1:PORT/" hidden>"""


class Late(BaseHTTPRequestHandler):
    """Holds up the page that asks for it: Firefox takes its picture when everything is loaded."""

    def do_GET(self) -> None:
        time.sleep(SECONDS)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def late() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Late) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.skipif(FIREFOX is None, reason="no firefox-esr or firefox on PATH")
@pytest.mark.parametrize("width", [1280, 390])
def test_its_picture_of_a_page_shows_the_images(report: Path, late: int, tmp_path: Path, width: int) -> None:
    page, picture, profile = (tmp_path / name for name in ("page.html", "picture.png", "profile"))
    page.write_text(FRAME.replace("REPORT", f"{report.as_uri()}#/l/stages.1").replace("PORT", str(late)))
    profile.mkdir()
    assert FIREFOX is not None
    command = [FIREFOX, "--headless", "--no-remote", "--profile", str(profile), "--window-size", f"{width},1200"]
    subprocess.run(
        [*command, "--screenshot", str(picture), page.as_uri()],
        env={"HOME": str(profile), "PATH": "/usr/bin:/bin"},
        timeout=120,
        check=True,
        capture_output=True,
    )
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape[1] == width
    # Text and empty tiles are nearly grey: maps in their colours are not.
    colourful = np.ptp(pixels, axis=2) > 40
    assert colourful.mean() > 0.04
    assert len(np.unique(pixels[colourful], axis=0)) > 100
