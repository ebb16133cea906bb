"""A server on a free port for as long as a test needs it, and requests as raw as a test needs them."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from innersight.web.app import create_app
from innersight.web.report import write_report


class Serving:
    """Serve an application from a thread while inside `with`; gives the port."""

    def __init__(self, app: FastAPI) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    def __enter__(self) -> int:
        self.thread.start()
        until = time.monotonic() + 30
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.01)
        return int(self.socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()


@contextmanager
def hosted(folder: Path, host: str) -> Iterator[str]:
    """Give the address of a study's pages: "report" as a file, "app" from a server."""
    if host == "report":
        yield write_report(folder, folder / "report.html").as_uri()
        return
    with Serving(create_app(folder)) as port:
        yield f"http://127.0.0.1:{port}/"


def call(
    port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Send a request; a body that is not bytes goes as JSON. Return status, headers in lower case, and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    kind = {} if data is None or isinstance(body, bytes) else {"Content-Type": "application/json"}
    try:
        connection.request(method, path, data, {**kind, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def ask(port: int, method: str, path: str, body: object = None, **headers: str) -> Any:
    """Send a request that must succeed and return what its JSON says."""
    status, _, text = call(port, method, path, body, headers)
    assert status < 300, (status, text)
    return json.loads(text)


def follow(port: int, job: str) -> list[dict[str, Any]]:
    """Return every event of a job, up to its end."""
    status, headers, text = call(port, "GET", f"/api/jobs/{job}/events")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    lines = text.decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
