"""Serve a study: the same front end over the files in the study's folder, and jobs that compute what is missing."""

import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from innersight import __version__
from innersight.errors import InnersightError
from innersight.web import shell
from innersight.web.computing import computing
from innersight.web.guard import Guard, loopback, problem
from innersight.web.jobs import Jobs
from innersight.web.schema import problems
from innersight.web.workers import Inside, Process

if TYPE_CHECKING:
    from innersight.model import Model

_GUARDED = problems(
    _400="not a request that can be read",
    _401="the token is missing",
    _403="asked by a page of another site",
    _421="addressed to another host",
    _422="the request does not fit the description",
)


def create_app(
    study_folder: Path,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    source: str | None = None,
    model: "Model | None" = None,
) -> FastAPI:
    """Return the application over a study folder. Who may ask it: see `innersight.web.guard.Guard`.

    source, model : what computes; by default the study's own network, opened anew by another process.
    Raises InnersightError where there is no study.
    """
    folder = Path(study_folder)
    web = shell.study_web(folder)
    documents, files = web / "documents", web / "files"
    front_end = shell.bundle()
    jobs = Jobs(Process(folder, source) if model is None else Inside(folder, model))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()

    app = FastAPI(
        title="Innersight",
        version=__version__,
        description="A study of an image classifier: its documents, its sheets, and jobs that compute more.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses=_GUARDED,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, host=host, token=token)

    @app.exception_handler(RequestValidationError)
    async def unfit(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return problem(422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")

    @app.get("/", response_class=HTMLResponse)
    def index() -> HTMLResponse:
        """Return the page of the front end."""
        return HTMLResponse(shell.page(title="Innersight"))

    @app.get(
        "/app.js",
        response_class=Response,
        responses={200: {"content": {"text/javascript": {}}, "description": "a module of JavaScript"}},
    )
    def script() -> Response:
        """Return the front end as one module: fifty would be asked for one level of imports after the other."""
        return Response(front_end, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @app.get("/api/documents")
    def keys() -> list[str]:
        """Return the keys of all documents."""
        return sorted(_documents(documents))

    @app.get(
        "/api/documents/{key:path}",
        response_class=JSONResponse,
        response_model=dict[str, Any],
        responses=problems(_404="the study has no such document"),
    )
    def document(key: str) -> Response:
        """Return a document; its shape is that of docs/data-contract.md."""
        # Read at once: it may be replaced by a job at any moment.
        text = _listed(_documents(documents), key, documents).read_bytes()
        return Response(text, media_type="application/json")

    @app.get(
        "/files/{name:path}",
        response_class=Response,
        responses={
            200: {"content": {"image/webp": {}, "image/png": {}}, "description": "a sheet or a picture"},
            **problems(_404="the study has no such file"),
        },
    )
    def file(name: str) -> FileResponse:
        """Return a sheet or a picture."""
        known = {path.name: path for path in files.iterdir()} if files.is_dir() else {}
        path = _listed(known, name, files)
        kind = "image/webp" if path.suffix == ".webp" else None
        # Named by a digest of their content.
        return FileResponse(path, media_type=kind, headers={"Cache-Control": "private, max-age=86400, immutable"})

    app.include_router(computing(folder, jobs, given=source is not None or model is not None))
    _describe(app)
    app.mount("/static", StaticFiles(directory=shell.STATIC))
    return app


def serve(
    study_folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    open_browser: bool = True,
    source: str | None = None,
    model: "Model | None" = None,
) -> None:
    """Serve a study until interrupted; SIGTERM ends it too, with status 0.

    host : where others can reach it as well, whoever asks needs the token that the printed address holds.
    port : 0 takes any free one. source, model : see `create_app`.
    Raises InnersightError where there is no study or the port is taken.
    """
    token = None if loopback(host) else secrets.token_urlsafe(24)
    app = create_app(study_folder, host=host, token=token, source=source, model=model)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = f"cannot listen on {host}, port {port}: {error.strerror}; try another port, or 0"
        raise InnersightError(reason) from error
    with listening:
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}/{f'?token={token}' if token else ''}"
        print(f"Innersight shows {study_folder} at {url} (Ctrl-C ends it)", flush=True)
        if open_browser:
            webbrowser.open(url)
        # A page that listens to a job would otherwise hold the server up.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, ws="none")
        with _ended_by_signal():
            uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """End well at SIGTERM. Only a main thread may listen to signals; a server in another one ends with its process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    """Uvicorn raises the signal again once everything is closed."""
    raise SystemExit(0)


def _describe(app: FastAPI) -> None:
    """Say in the OpenAPI document that errors are JSON also where the answer is not."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            for operation in (own for path in made()["paths"].values() for own in path.values()):
                for status, answer in operation["responses"].items():
                    if not status.startswith("2"):
                        answer["content"] = {"application/json": next(iter(answer["content"].values()))}
        return made()

    app.openapi = openapi  # type: ignore[method-assign]


def _documents(folder: Path) -> dict[str, Path]:
    return {shell.document_key(folder, path): path for path in folder.rglob("*.json")}


def _listed(paths: Mapping[str, Path], key: str, folder: Path) -> Path:
    """Return the file of this key. No path is ever made from what was asked for, and links must not lead outside."""
    path = paths.get(key)
    if path is None or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise HTTPException(404, "no such file in this study")
    return path
