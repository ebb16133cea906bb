"""Serve a study: the same front end over the files in the study's folder, and jobs that compute what is missing."""

import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect

from innersight import __version__
from innersight.errors import InnersightError
from innersight.storage.key import document_path
from innersight.storage.permit import Permit
from innersight.storage.study_folder import GoneError, StudyFolder, is_plain, read
from innersight.web import shell
from innersight.web.computing import computing
from innersight.web.guard import Guard, loopback, problem
from innersight.web.jobs import Jobs
from innersight.web.schema import problems
from innersight.web.workers import Inside, Process

if TYPE_CHECKING:
    from innersight.model import Model

_GUARDED = problems(
    _400="malformed request",
    _401="the token is missing",
    _403="sent by a page of another site",
    _404="not found, or the study no longer exists",
    _409="the study cannot be read, or nothing can be computed",
    _421="addressed to another host",
    _422="the request does not match the schema",
)


def create_app(
    study_folder: Path,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    source: str | None = None,
    model: "Model | None" = None,
    images: Sequence[str] = (),
    shown: Path | None = None,
) -> FastAPI:
    """Return the application over a study folder. Who may ask it: see `innersight.web.guard.Guard`.

    source, model : what computes; by default the study's own network, opened anew by another process. images : where
    the study's images are found. Both are needed for a study of somebody else, see `innersight.storage.permit`.
    shown : the folder whose `web` shows the study, where that is not its own.
    Raises InnersightError where there is no study.
    """
    folder = Path(study_folder)
    inside, web = StudyFolder(folder), shell.study_web(shown or folder)
    front_end = shell.bundle()
    jobs = Jobs(Process(folder, source, images) if model is None else Inside(folder, model, images))

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

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(InnersightError)
    async def unreadable(_request: Request, error: InnersightError) -> Response:
        return problem(404 if isinstance(error, GoneError) else 409, str(error))

    @app.exception_handler(ClientDisconnect)
    async def left(_request: Request, _error: ClientDisconnect) -> Response:
        # Nobody is there to read it.
        return problem(400, "the request ended before it was complete")

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
        return sorted(shell.documents(web))

    @app.get(
        "/api/documents/{key:path}",
        response_class=JSONResponse,
        response_model=dict[str, Any],
        responses=problems(_404="the study has no such document"),
    )
    def document(key: str) -> Response:
        """Return a document; its shape is that of docs/data-contract.md."""
        # Read at once: it may be replaced by a job at any moment.
        text = read(_asked(web, *document_path(key)))
        return Response(text, media_type="application/json")

    @app.get(
        "/files/{name:path}",
        response_class=Response,
        responses={
            200: {"content": {"image/webp": {}, "image/png": {}}, "description": "a sheet or an image"},
            **problems(_404="the study has no such file"),
        },
    )
    def file(name: str) -> Response:
        """Return a sheet or an image."""
        path = _asked(web, "web", "files", name)
        # Whatever else lies there is no image, and a page of it would be one of this server's.
        kind = {".webp": "image/webp", ".png": "image/png"}.get(path.suffix)
        if kind is None:
            raise HTTPException(404, "no such file in this study")
        # Named by a digest of their content.
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return Response(read(path), media_type=kind, headers=headers)

    named = Permit(inside, named=source is not None or model is not None, images=tuple(images))
    app.include_router(computing(named, web, jobs))
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
    images: Sequence[str] = (),
    shown: Path | None = None,
) -> None:
    """Serve a study until interrupted; SIGTERM ends it too, with status 0.

    host : where others can reach it as well, whoever asks needs the token that the printed address holds.
    port : 0 takes any free one. source, model, images, shown : see `create_app`.
    Raises InnersightError where there is no study or the port is taken.
    """
    token = None if loopback(host) else secrets.token_urlsafe(24)
    app = create_app(study_folder, host=host, token=token, source=source, model=model, images=images, shown=shown)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = f"cannot listen on {host}, port {port}: {error.strerror}; try another port, or 0"
        raise InnersightError(reason) from error
    with listening:
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{listening.getsockname()[1]}/{f'?token={token}' if token else ''}"
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


def _asked(inside: StudyFolder, *names: str) -> Path:
    """Return a file that was asked for: a study has none whose names are not plain.

    It is looked up, not listed: a folder that is listed while a file in it is replaced may lack that file.
    """
    path = inside.file(*names) if all(map(is_plain, names)) else None
    if path is None:
        raise HTTPException(404, "no such file in this study")
    return path
