"""A server on this machine."""

from pathlib import Path

from innersight.model import Model
from innersight.study.hosts import hosts
from innersight.web.app import serve


@hosts.register("App")
def view(folder: Path, shown: Path, host: str, port: int, model: Model | None, images: tuple[str, ...]) -> None:
    """Serve the study until interrupted, and open it in the browser."""
    serve(folder, shown=shown, host=host, port=port, open_browser=True, model=model, images=images)
