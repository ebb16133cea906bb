"""Serve a study on this machine: the same front end over the files in the study's folder."""

import ipaddress
import socket
import webbrowser
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles

from innersight.errors import InnersightError
from innersight.web import shell
from innersight.web.report import document_key

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def create_app(study_folder: Path, *, host: str = "127.0.0.1") -> FastAPI:
    """Return the application over a study folder. It answers only requests addressed to `host`, localhost or an IP.

    A page of another site that resolves its own name to this machine sends that name as Host, and is refused.
    Raises InnersightError where there is no study.
    """
    web = shell.study_web(Path(study_folder))
    documents, files = web / "documents", web / "files"
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if not _known_host(request.headers.get("host", ""), host):
            return PlainTextResponse("This server answers only requests addressed to this machine.\n", 421, _HEADERS)
        response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(shell.page(title="Innersight", modules=[*shell.pages(), shell.ENTRY]))

    @app.get("/api/documents")
    def keys() -> JSONResponse:
        return JSONResponse(sorted(_documents(documents)))

    @app.get("/api/documents/{key:path}")
    def document(key: str) -> FileResponse:
        return FileResponse(_listed(_documents(documents), key, documents), media_type="application/json")

    @app.get("/files/{name:path}")
    def file(name: str) -> FileResponse:
        path = _listed({path.name: path for path in files.iterdir()}, name, files)
        return FileResponse(path, media_type="image/webp" if path.suffix == ".webp" else None)

    app.mount("/static", StaticFiles(directory=shell.STATIC))
    return app


def serve(study_folder: Path, *, host: str = "127.0.0.1", port: int = 8765, open_browser: bool = True) -> None:
    """Serve a study until interrupted.

    port : 0 takes any free one; the address is printed.
    Raises InnersightError where there is no study or the port is taken.
    """
    app = create_app(study_folder, host=host)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = f"cannot listen on {host}, port {port}: {error.strerror}; try another port, or 0"
        raise InnersightError(reason) from error
    with listening:
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}/"
        print(f"Innersight shows {study_folder} at {url} (Ctrl-C ends it)", flush=True)
        if open_browser:
            webbrowser.open(url)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


def _known_host(header: str, host: str) -> bool:
    name = header.rpartition("]")[0].removeprefix("[") if header.startswith("[") else header.partition(":")[0]
    if name.lower() in ("localhost", host.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _documents(folder: Path) -> dict[str, Path]:
    return {document_key(folder, path): path for path in folder.rglob("*.json")}


def _listed(paths: Mapping[str, Path], key: str, folder: Path) -> Path:
    """Return the file of this key. No path is ever made from what was asked for, and links must not lead outside."""
    path = paths.get(key)
    if path is None or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise HTTPException(404, "no such file in this study")
    return path
