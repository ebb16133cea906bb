"""What the server answers, what it refuses, and what it computes: over a study of the embedded network."""

from __future__ import annotations

import io
import json
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from networks import image, tiny
from PIL import Image as PILImage
from serving import Serving, ask, call, follow

from innersight.study import Plan, study
from innersight.study.panel import parse_request, requests
from innersight.web import uploads
from innersight.web.app import create_app
from innersight.web.guard import COOKIE
from innersight.web.jobs import Jobs

PLAN = Plan(layers=("relu2",), units=0, steps=2, seeds=1, methods=("gradcam",))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = study(tiny("in-place"), [image(1), image(2)], tmp_path_factory.mktemp("server") / "s", plan=PLAN)
    done.render()
    return done.folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "s"))


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    """A server that computes in this process, with a network that only Python has."""
    with Serving(create_app(folder, model=tiny("in-place"))) as number:
        yield number


def png(seed: int = 5, size: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    pil = image(seed).pil
    (pil.resize(size) if size else pil).save(buffer, "PNG")
    return buffer.getvalue()


# Who may ask ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1", ""])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_other_origins_are_refused(origin: str, method: str, port: int) -> None:
    status, headers, body = call(port, method, "/api/jobs", b"", {"Origin": origin})
    assert status == 403
    assert "detail" in json.loads(body)
    assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_its_own_page_may_ask(name: str, port: int) -> None:
    headers = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
    assert call(port, "GET", "/api/jobs", None, headers)[0] == 200


def test_a_token_is_demanded_where_one_is_set(folder: Path) -> None:
    with Serving(create_app(folder, host="0.0.0.0", token="s3cret")) as number:
        for path in (
            "/",
            "/api/documents",
            "/app.js",
            "/files/x",
            "/api/openapi.json",
            "/?token=wrong",
            "/api/documents?token=s3cret",
        ):
            status, headers, body = call(number, "GET", path)
            assert (path, status) == (path, 401)
            assert b"innersight view" in body
            assert "set-cookie" not in headers
        for wrong in ({"Authorization": "Bearer no"}, {"Authorization": "s3cret"}, {"Cookie": f"{COOKIE}=no"}):
            assert call(number, "GET", "/api/documents", None, wrong)[0] == 401
        assert call(number, "GET", "/api/documents", None, {"Authorization": "Bearer s3cret"})[0] == 200
        status, headers, _ = call(number, "GET", "/?token=s3cret")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
        assert call(number, "GET", "/", None, {"Cookie": cookie.partition(";")[0]})[0] == 200


# What is described ---------------------------------------------------------------------------------------------------


def test_openapi_is_complete(port: int) -> None:
    found = ask(port, "GET", "/api/openapi.json")
    operations = {(method, path) for path, own in found["paths"].items() for method in own}
    assert operations == {
        ("get", "/"), ("get", "/app.js"), ("get", "/api/documents"), ("post", "/api/scanned/{number}"),
        ("get", "/api/documents/{key}"), ("get", "/files/{name}"), ("get", "/api/host"), ("get", "/api/progress"),
        ("get", "/api/jobs"), ("post", "/api/jobs"), ("get", "/api/jobs/{key}"),
        ("delete", "/api/jobs/{key}"), ("get", "/api/jobs/{key}/events"), ("post", "/api/images"),
        ("post", "/api/report"), ("post", "/api/edit"), ("put", "/api/annotations"),
    }  # fmt: skip
    for path, own in found["paths"].items():
        for method, operation in own.items():
            assert operation["description"], (method, path)
            for status, answer in operation["responses"].items():
                if not status.startswith("2"):
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}, (path, status)
    body = found["paths"]["/api/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["discriminator"]["mapping"].keys() == requests().keys()


def test_the_host_says_what_it_can_compute(port: int, folder: Path) -> None:
    found = ask(port, "GET", "/api/host")
    assert (found["compute"], found["why"], found["kinds"]) == (True, None, sorted(requests()))
    assert found["limits"] == {"bytes": uploads.MAX_BYTES, "pixels": uploads.MAX_PIXELS}
    assert found["cost"]["activations"]["per"] == "layer"
    with Serving(create_app(folder)) as number:
        found = ask(number, "GET", "/api/host")
        assert not found["compute"]
        assert "study.view(model=...)" in found["why"]
        status, _, body = call(number, "POST", "/api/jobs", {"kind": "activations", "layer": "conv2"})
        assert (status, json.loads(body)["detail"]) == (409, found["why"])
        assert call(number, "POST", "/api/images?name=a.png", png())[0] == 409
        assert not list((folder / "images").glob("*")) if (folder / "images").is_dir() else True


# What is computed ----------------------------------------------------------------------------------------------------


def test_a_job_lands_in_the_study(port: int) -> None:
    job = ask(port, "POST", "/api/jobs", {"kind": "activations", "layer": "conv2"})
    events = follow(port, job["id"])
    assert [event["state"] for event in events][-1] == "done"
    shares = [event["share"] for event in events]
    assert shares == sorted(shares)
    assert events[-1]["documents"] == ["layer/conv2"]
    assert ask(port, "GET", "/api/documents/layer/conv2")["activations"].keys() == {"p0", "p1"}
    assert ask(port, "GET", f"/api/jobs/{job['id']}") == events[-1]
    assert [one["id"] for one in ask(port, "GET", "/api/jobs")] == [job["id"]]


def test_a_dropped_image_is_looked_at(port: int, folder: Path) -> None:
    job = ask(port, "POST", "/api/images?name=cat%3Cb%3E.png", png())
    assert follow(port, job["id"])[-1]["state"] == "done"
    row = ask(port, "GET", "/api/documents/study")["images"][2]
    assert row["name"] == "cat<b>.png"
    assert row["id"] in ask(port, "GET", "/api/documents/layer/relu2")["activations"]
    assert any(entry["image"] == row["id"] for entry in ask(port, "GET", "/api/documents/heatmaps")["entries"])
    assert [path.suffix for path in (folder / "images").iterdir()] == [".png"]
    asked = {"kind": "heatmaps", "image": row["id"], "methods": ["saliency"], "target": 0, "versus": 1}
    assert follow(port, ask(port, "POST", "/api/jobs", asked)["id"])[-1]["state"] == "done"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 415),
        (b"no image at all", 415),
        (png()[:40], 415),
        (b"GIF89a", 415),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415),
        (b"\x00" * (uploads.MAX_BYTES + 1), 413),
    ],
)
def test_what_is_no_image_is_refused(body: bytes, status: int, port: int, folder: Path) -> None:
    found, _, text = call(port, "POST", "/api/images?name=a.png", body)
    assert (found, "detail" in json.loads(text)) == (status, True)
    assert not (folder / "images").exists()
    assert ask(port, "GET", "/api/jobs") == []


def test_a_decompression_bomb_is_refused_by_its_header(port: int) -> None:
    buffer = io.BytesIO()
    PILImage.new("1", (20_000, 20_000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 200_000
    status, _, text = call(port, "POST", "/api/images?name=bomb.png", buffer.getvalue())
    assert (status, "pixels" in json.loads(text)["detail"]) == (413, True)


def test_an_image_with_a_broken_body_leaves_nothing(port: int, folder: Path) -> None:
    job = ask(port, "POST", "/api/images?name=half.png", png(size=(200, 200))[:-300])
    last = follow(port, job["id"])[-1]
    assert (last["state"], "cannot be read as an image" in last["error"]) == ("failed", True)
    assert list((folder / "images").iterdir()) == []
    assert len(ask(port, "GET", "/api/documents/study")["images"]) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "activations", "layer": "relu9"}, 404),
        ({"kind": "patterns", "layer": "relu2", "units": [99]}, 404),
        ({"kind": "classes", "classes": [99]}, 404),
        ({"kind": "heatmaps", "image": "p9", "methods": ["gradcam"]}, 404),
        ({"kind": "image", "file": "0123456789abcdef.png", "name": "a"}, 404),
        ({"kind": "image", "file": "../web/x.png", "name": "a"}, 422),
        ({"kind": "activations"}, 422),
        ({"layer": "relu2"}, 422),
        ([], 422),
    ],
)
def test_asks_that_do_not_fit_say_why(body: object, status: int, port: int) -> None:
    found, _, text = call(port, "POST", "/api/jobs", body)
    assert found == status
    assert len(json.loads(text)["detail"]) > 10
    assert call(port, "GET", "/api/jobs/nothing")[0] == 404
    assert call(port, "DELETE", "/api/jobs/nothing")[0] == 404
    assert call(port, "GET", "/api/jobs/nothing/events")[0] == 404


def test_a_method_that_cannot_read_the_network_fails_with_its_reason(port: int) -> None:
    asked = {"kind": "heatmaps", "image": "p0", "methods": ["attention-rollout"]}
    last = follow(port, ask(port, "POST", "/api/jobs", asked)["id"])[-1]
    assert last["state"] == "failed"
    assert "attention" in last["error"]


class Slow:
    """A worker that works until it is stopped, or told to end."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def run(self, request: Any, progress: Any, stopped: threading.Event) -> None:
        from innersight.web.workers import StoppedError

        progress({"share": 0.25, "what": "activations/x"})
        while not self.end.wait(0.01):
            if stopped.is_set():
                raise StoppedError

    def edit(self, request: Any) -> dict[str, Any]:
        raise NotImplementedError

    def stop(self, stopped: threading.Event) -> None:
        stopped.set()

    def close(self) -> None:
        self.end.set()


def test_jobs_wait_for_each_other_and_are_cancelled() -> None:
    from innersight.study.panel import parse_request
    from innersight.web.jobs import BusyError, Jobs

    ended: list[str] = []
    jobs = Jobs(Slow(), ended=lambda job: ended.append(job.state))
    first, second = (jobs.add(parse_request({"kind": "activations", "layer": name})) for name in "ab")
    assert jobs.add(parse_request({"kind": "activations", "layer": "b"})).id == second.id
    events = jobs.watch(first.id, 5)
    while (job := next(events)) is None or job.share == 0:
        pass
    waiting = jobs.get(second.id)
    assert (job.state, job.share, job.what, waiting and waiting.state) == ("running", 0.25, "activations/x", "waiting")
    assert next(jobs.watch(second.id, 0.01)) == waiting
    for _ in range(49):
        jobs.add(parse_request({"kind": "activations", "layer": f"more {_}"}))
    with pytest.raises(BusyError, match="50 jobs are waiting"):
        jobs.add(parse_request({"kind": "activations", "layer": "one more"}))
    cancelled = jobs.cancel(second.id)
    assert cancelled is not None
    assert cancelled.state == "cancelled"
    jobs.cancel(first.id)
    assert [job and job.state for job in events][-1] == "cancelled"
    jobs.close()
    assert {job.state for job in jobs.all()} <= {"cancelled", "done"}
    assert ended.count("cancelled") == 51


def test_an_error_nobody_foresaw_is_told_and_ends_one_job_only(monkeypatch: pytest.MonkeyPatch) -> None:
    told: queue.Queue[threading.ExceptHookArgs] = queue.Queue()
    monkeypatch.setattr(threading, "excepthook", told.put)

    class Broken:
        def run(self, request: Any, progress: Any, stopped: threading.Event) -> None:
            if request.layer == "bad":
                raise RuntimeError("no memory")

        def edit(self, request: Any) -> dict[str, Any]:
            raise NotImplementedError

        def stop(self, stopped: threading.Event) -> None:
            stopped.set()

        def close(self) -> None:
            pass

    jobs = Jobs(Broken())
    first, second = (jobs.add(parse_request({"kind": "activations", "layer": layer})) for layer in ("bad", "good"))
    ends = [list(jobs.watch(job.id, 5.0))[-1] for job in (first, second)]
    jobs.close()
    assert [job.state for job in ends if job] == ["failed", "done"]
    assert told.get(timeout=5).exc_type is RuntimeError


def test_an_image_that_is_shown_outlives_a_second_job_of_it(port: int, folder: Path) -> None:
    body = png(9)
    job = ask(port, "POST", "/api/images?name=a.png", body)
    assert follow(port, job["id"])[-1]["state"] == "done"
    # It waits behind another one, or has just begun, when it is cancelled.
    ask(port, "POST", "/api/jobs", {"kind": "patterns", "layer": "relu2", "units": [0, 1]})
    again = ask(port, "POST", "/api/images?name=a.png", body)
    ask(port, "DELETE", f"/api/jobs/{again['id']}")
    assert (folder / "images" / job["request"]["file"]).is_file()


def test_two_clients_at_once(port: int) -> None:
    """Both ask, both follow both jobs, and both read documents all the while."""
    asked = [{"kind": "activations", "layer": name} for name in ("conv2", "conv1")]
    jobs = [ask(port, "POST", "/api/jobs", body)["id"] for body in asked]
    ends: list[str] = []
    broken: list[int] = []
    over = threading.Event()

    def client() -> None:
        ends.extend(follow(port, job)[-1]["state"] for job in jobs)

    def reader() -> None:
        while not over.is_set():
            status, _, text = call(port, "GET", "/api/documents/study")
            if status != 200 or json.loads(text)["format"] != 2:
                broken.append(status)

    clients = [threading.Thread(target=client) for _ in range(2)]
    reading = threading.Thread(target=reader)
    for thread in (*clients, reading):
        thread.start()
    for thread in clients:
        thread.join()
    over.set()
    reading.join()
    assert ends == ["done"] * 4
    assert broken == []


class Deaf:
    """A worker that lets go of a job when it is told to, and not when the job is cancelled."""

    def __init__(self) -> None:
        self.begun: queue.Queue[str] = queue.Queue()
        self.end: queue.Queue[None] = queue.Queue()

    def run(self, request: Any, progress: Any, stopped: threading.Event) -> None:
        self.begun.put(request.layer)
        self.end.get()
        progress({"document": "layer/x"})

    def edit(self, request: Any) -> dict[str, Any]:
        raise NotImplementedError

    def stop(self, stopped: threading.Event) -> None:
        stopped.set()

    def close(self) -> None:
        self.end.put(None)


def test_a_job_that_was_cancelled_and_forgotten_ends_like_any_other() -> None:
    """It is over before the worker has let go of it, and older than the 200 that are known."""
    worker = Deaf()
    jobs = Jobs(worker)
    first = jobs.add(parse_request({"kind": "activations", "layer": "first"}))
    assert worker.begun.get(timeout=5) == "first"
    jobs.cancel(first.id)
    for number in range(260):
        jobs.cancel(jobs.add(parse_request({"kind": "activations", "layer": str(number)})).id)
    worker.end.put(None)
    last = jobs.add(parse_request({"kind": "activations", "layer": "last"}))
    assert worker.begun.get(timeout=5) == "last"
    worker.end.put(None)
    assert [job.state for job in jobs.watch(last.id, 5) if job][-1] == "done"
    assert len(jobs.all()) <= 201
    jobs.close()


# What can go wrong while it serves -----------------------------------------------------------------------------------

ROUTES = [
    ("GET", "/"), ("GET", "/app.js"), ("GET", "/api/documents"), ("GET", "/api/documents/study"), ("GET", "/api/host"),
    ("GET", "/api/jobs"), ("GET", "/api/jobs/x"), ("GET", "/api/jobs/x/events"), ("DELETE", "/api/jobs/x"),
    ("GET", "/files/x.webp"), ("POST", "/api/report"), ("POST", "/api/report?units=relu2:0&imgs=p0"),
]  # fmt: skip
ODD = [
    "..",
    "%00",
    "%2e%2e%2f",
    "a" * 5000,
    "9" * 5000,
    "%F0%9F",
    "%ED%A0%80",
    "relu2:" + "9" * 5000,
    "-1",
    "relu2:\u0663",
    "$",
]


def test_a_study_that_goes_while_it_is_served_is_said_to_be_gone(
    folder: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(folder)
    posts: list[tuple[str, str, object]] = [
        ("POST", "/api/jobs", {"kind": "activations", "layer": "conv2"}), ("POST", "/api/images?name=a", png())
    ]  # fmt: skip
    answers = {
        f"{method} {path}": call(port, method, path, body)
        for method, path, body in [*((method, path, None) for method, path in ROUTES), *posts]
    }
    assert {name: answer[0] for name, answer in answers.items() if answer[0] >= 500} == {}
    assert answers["GET /api/documents/study"][0] == 404
    assert b"has been removed" in answers["GET /api/host"][2]
    assert b"has been removed" in answers["POST /api/jobs"][2]
    assert not folder.exists()
    assert not caplog.records


@pytest.mark.parametrize(
    "part", ["web/documents/study.json", "web/documents/layer/relu2.json", "web/files", "index.sqlite"]
)
def test_a_part_that_goes_or_is_half_written_is_told(part: str, folder: Path, port: int) -> None:
    for text in (b"", b"{", b"[]", b'{"images": 7}'):
        path = folder / part
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(text)
        answers = {f"{method} {path}": call(port, method, path)[0] for method, path in ROUTES}
        answers["job"] = call(port, "POST", "/api/jobs", {"kind": "activations", "layer": "conv2"})[0]
        assert {name: status for name, status in answers.items() if status >= 500} == {}


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_odd_values_in_any_place_are_answered(odd: str, port: int) -> None:
    paths = [f"/{odd}", f"/api/documents/{odd}", f"/api/documents/layer/{odd}", f"/files/{odd}", f"/api/jobs/{odd}"]
    requests: list[tuple[str, str, object]] = [
        ("GET", path.encode("ascii", "replace").decode(), None) for path in paths
    ]
    quoted = quote(odd, safe="%:")
    requests += [("POST", f"/api/report?units={quoted}", None), ("POST", f"/api/report?imgs={quoted}", None)]
    requests += [("POST", f"/api/images?name={quoted}", png()), ("DELETE", f"/api/jobs/{quoted}", None)]
    bodies = [
        '{"kind": "activations", "layer": ' + json.dumps(odd) + "}",
        '{"kind": "activations", "layer": "\\ud800"}',
    ]
    bodies += ['{"kind": "patterns", "layer": "relu2", "units": [' + "9" * 5000 + "]}", "[" * 100_000, "9" * 5000]
    bodies += [
        '{"kind": "classes", "classes": [1e400]}',
        '{"kind": "heatmaps", "image": "p0", "methods": ["\\udfff"]}',
    ]
    for method, path, body in requests:
        assert call(port, method, path, body)[0] < 500, (method, path)
    for text in bodies:
        kind = {"Content-Type": "application/json"}
        assert call(port, "POST", "/api/jobs", text.encode(), kind)[0] < 500, text[:80]


def test_a_page_that_leaves_while_it_sends_is_no_error(port: int, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/api/images?name=a", "/api/jobs"):
        with socket.create_connection(("127.0.0.1", port)) as sending:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            sending.sendall(f"{head}Content-Length: 100000\r\n\r\nabc".encode())
            time.sleep(0.2)
    assert call(port, "GET", "/api/jobs")[2] == b"[]"
    assert not caplog.records


HOSTS = ["studio.local", "STUDIO", "studio.local.", "studio.local:8765", "example.org"]


@pytest.mark.parametrize("name", HOSTS)
def test_a_machine_with_a_token_may_be_called_by_any_of_its_names(name: str, folder: Path) -> None:
    with Serving(create_app(folder, host="0.0.0.0", token="s3cret")) as number:
        host = {"Host": name}
        assert call(number, "GET", "/api/jobs", headers=host)[0] == 401
        status, headers, _ = call(number, "GET", "/?token=s3cret", headers=host)
        assert status == 303
        cookie = {**host, "Cookie": headers["set-cookie"].partition(";")[0]}
        assert call(number, "GET", "/api/jobs", headers=cookie)[0] == 200
        assert call(number, "GET", "/api/jobs", headers={**host, "Authorization": "Bearer s3cret"})[0] == 200
        assert call(number, "GET", "/api/jobs", headers={**cookie, "Origin": "http://elsewhere.org"})[0] == 403


@pytest.mark.parametrize(
    "name", [*HOSTS, "[::1", "[::1]x", "a b", "", "127.0.0.1@evil.org", "localhost:99999999", "[zz]"]
)
def test_a_machine_without_a_token_is_called_by_its_own_names_alone(name: str, port: int) -> None:
    assert call(port, "GET", "/api/jobs", headers={"Host": name})[0] == 421


# The process that computes, and the command -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from innersight import toons
    from innersight.sources import load

    folder = tmp_path_factory.mktemp("toon")
    PILImage.fromarray(np.asarray(toons.draw(toons.CLASSES[0], 3).pixels)).save(folder / "a.png")
    plan = Plan(layers=("stage1",), units=0, seeds=1, methods=("gradcam",))
    done = study(load("toon", device="cpu"), [folder / "a.png"], folder / "s", plan=plan)
    done.render()
    return done.folder


def started(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Start `innersight view` and return it and the address it prints."""
    command = [sys.executable, "-m", "innersight", "view", str(folder), "--port", "0", "--no-browser", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert " at http" in line, (line, process.stderr and process.stderr.read())
    return process, line.split(" at ")[1].split()[0]


def test_the_command_computes_in_another_process_cancels_and_ends_cleanly(toon: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(toon, tmp_path / "s"))
    process, url = started(folder)
    try:
        number = int(url.split(":")[2].strip("/"))
        job = ask(number, "POST", "/api/jobs", {"kind": "activations", "layer": "stage2"})
        assert follow(number, job["id"])[-1]["state"] == "done"
        assert ask(number, "GET", "/api/documents/layer/stage2")["activations"].keys() == {"p0"}
        # A long one is cut off in the middle of its work: what is finished stays.
        job = ask(number, "POST", "/api/jobs", {"kind": "patterns", "layer": "stage2", "units": list(range(32))})
        until = time.monotonic() + 60
        while ask(number, "GET", f"/api/jobs/{job['id']}")["what"] != "patterns of stage2, units 4, 5, 6, 7":
            assert time.monotonic() < until
            time.sleep(0.05)
        assert ask(number, "DELETE", f"/api/jobs/{job['id']}")["state"] == "cancelled"
        assert ask(number, "GET", "/api/documents/layer/stage2")["patterns"]["units"] == [0, 1, 2, 3]
        # The next job starts a new process.
        job = ask(number, "POST", "/api/jobs", {"kind": "classes", "classes": [0]})
        time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_the_first_page_needs_no_torch(toon: Path) -> None:
    code = f"""
import sys, threading, urllib.request
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from serving import Serving, call
from innersight.web.app import create_app
from innersight.storage.stamp import fresh
from innersight.storage.study_folder import StudyFolder
assert fresh(StudyFolder(Path({str(toon)!r})))
with Serving(create_app(Path({str(toon)!r}))) as port:
    api = ("documents", "documents/study", "host", "jobs", "openapi.json")
    for path in ("/", "/app.js", *("/api/" + name for name in api)):
        assert call(port, "GET", path)[0] == 200, path
print([name for name in ("torch", "numpy", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_other_hosts_get_an_address_with_a_token(toon: Path) -> None:
    process, url = started(toon, "--host", "0.0.0.0")
    try:
        assert "/?token=" in url
        assert len(url.split("token=")[1]) >= 32
        number = int(url.split(":")[2].split("/")[0])
        assert call(number, "GET", "/")[0] == 401
        assert call(number, "GET", "/?token=" + url.split("token=")[1])[0] == 303
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_a_study_that_went_on_is_shown_as_it_is(toon: Path, tmp_path: Path) -> None:
    from innersight.sources import load
    from innersight.storage.stamp import fresh
    from innersight.storage.study_folder import StudyFolder
    from innersight.study.compute import compute
    from innersight.study.panel import parse_request

    folder = Path(shutil.copytree(toon, tmp_path / "s"))
    assert fresh(StudyFolder(folder))
    study_json = folder / "web" / "documents" / "study.json"
    old = study_json.read_text()
    list(compute(folder, parse_request({"kind": "activations", "layer": "stage2"}), model=load("toon", device="cpu")))
    assert fresh(StudyFolder(folder))
    study_json.write_text(old)
    assert not fresh(StudyFolder(folder))
    process, url = started(folder)
    try:
        number = int(url.split(":")[2].strip("/"))
        assert "layer/stage2" in ask(number, "GET", "/api/documents")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


# Any request at all --------------------------------------------------------------------------------------------------


def test_schemathesis_finds_nothing(made: Path, tmp_path: Path) -> None:
    """Requests made from the description, fitting and not, are answered as described."""
    schemathesis = pytest.importorskip("schemathesis", reason="pip install 'innersight[test]'")
    import hypothesis
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    folder = Path(shutil.copytree(made, tmp_path / "s"))
    app = create_app(folder, model=tiny("in-place"))
    with Serving(app) as number:
        schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{number}/api/openapi.json")
        for result in schema.get_all_operations():
            operation = result.ok()

            @hypothesis.settings(max_examples=12, deadline=None, database=None, derandomize=True)
            @hypothesis.given(case=operation.as_strategy())
            def check(case: Any) -> None:
                # No schema can say which bytes are an image.
                unfit = [positive_data_acceptance] if case.operation.path == "/api/images" else []
                case.call_and_validate(timeout=20, excluded_checks=unfit)

            check()
