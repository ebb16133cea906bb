"""The server: what it answers, and what it refuses."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
from pathlib import Path

import pytest
from serving import Serving
from web_fixture import HOSTILE_LAYER

from innersight.errors import InnersightError
from innersight.web.app import create_app, serve


def get(port: int, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{port}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_app_serves_page_documents_and_files(port: int, study: Path) -> None:
    status, headers, body = get(port, "/")
    assert status == 200
    assert b"app.js" in body
    assert "'unsafe" not in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    keys = json.loads(get(port, "/api/documents")[2])
    assert f"layer/{HOSTILE_LAYER}" in keys
    for path in ("/app.js", "/static/style.css", "/api/documents/study", "/api/documents/layer/stem.conv"):
        status, headers, _ = get(port, path)
        assert (path, status, headers["x-content-type-options"]) == (path, 200, "nosniff")
    name = next((study / "web" / "files").glob("*.webp")).name
    status, headers, body = get(port, f"/files/{name}")
    assert (status, headers["content-type"]) == (200, "image/webp")
    assert body == (study / "web" / "files" / name).read_bytes()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "LOCALHOST", "[::1]:80", "192.168.0.7"])
def test_app_answers_this_machine(port: int, host: str) -> None:
    assert get(port, "/api/documents", host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "[evil]:80", "x:80"])
def test_app_refuses_other_hosts(port: int, host: str) -> None:
    status, headers, body = get(port, "/api/documents/study", host)
    assert status == 421
    assert b"format" not in body
    assert "content-security-policy" in headers


@pytest.mark.parametrize(
    "path",
    [
        "/files/../documents/study.json", "/files/..%2Fdocuments%2Fstudy.json", "/files/%2e%2e/documents/study.json",
        "/files//etc/passwd", "/files/%2Fetc%2Fpasswd", "/files/", "/files/.", "/files/a%00b",
        "/api/documents/../../secret", "/api/documents/..%2F..%2Fsecret", "/api/documents/layer/..%2F..%2Fstudy",
        "/api/documents/nothing", "/api/documents/", "/static/../shell.html", "/static/..%2Fshell.html", "/docs",
        "/openapi.json", "/files/" + "a" * 300,
    ],
)  # fmt: skip
def test_app_serves_nothing_else(tmp_path: Path, study: Path, path: str) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study / "web", folder / "web")
    (folder / "secret.json").write_text("{}")
    with Serving(create_app(folder)) as number:
        status, _, body = get(number, path)
    assert status in (400, 404), body


def test_app_follows_no_link_that_comes_while_it_serves(tmp_path: Path, study: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study / "web", folder / "web")
    (folder / "secret.json").write_text("{}")
    with Serving(create_app(folder)) as number:
        (folder / "web" / "files" / "link.png").symlink_to(folder / "secret.json")
        assert get(number, "/files/link.png")[0] == 409
        (folder / "web" / "documents" / "link.json").symlink_to(folder / "secret.json")
        assert get(number, "/api/documents/link")[0] == 409


def test_serve_says_which_port_is_taken(study: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(InnersightError, match=f"port {number}.*try another port"):
            serve(study, port=number, open_browser=False)
    with pytest.raises(InnersightError, match="contains no study"):
        serve(tmp_path, open_browser=False)
