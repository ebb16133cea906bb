"""Commands for studies that are already computed: report, view, export."""

from pathlib import Path
from typing import Annotated

import typer

from innersight.cli.base import app
from innersight.cli.command import PAGES
from innersight.errors import InnersightError, printable

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="Study folder.")]


@app.command(rich_help_panel=PAGES)
def report(
    folder: StudyFolder,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write. Default: STUDY/report.html.")] = None,
    unit: Annotated[list[str] | None, typer.Option(help="Keep only this unit: stage1:3. May be repeated.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="Keep only this image: id or name. May be repeated.")] = None,
) -> None:
    """Write a study as one HTML file that opens offline, without the model or the images."""
    from innersight.study import Study

    path = Study.open(folder).report(out or folder / "report.html", units=unit or (), images=image or ())
    typer.echo(f"report: {printable(path.resolve())}")


@app.command(rich_help_panel=PAGES)
def view(
    folder: StudyFolder,
    port: Annotated[int, typer.Option(help="Port to serve on; 0 for any free one.")] = 8765,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Other machines need the token that is printed.")
    ] = "127.0.0.1",
    model: Annotated[
        str | None, typer.Option(help="Network that computes more, where the study's own may not be opened.")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(help="Folder of the study's images, where those it names may not be opened. May be repeated."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Serve a study on this machine: look at it, and compute what is missing from its pages.

    A study that was not made on this machine opens nothing by itself. To compute more, name --model and --images.
    """
    from contextlib import ExitStack

    from innersight.storage.stamp import shown
    from innersight.storage.study_folder import StudyFolder
    from innersight.web.app import serve

    for text in images or ():
        if not Path(text).exists() and text.partition(":")[0] not in ("hf", "python"):
            raise InnersightError(f"--images {text}: there is no such folder or file")
    with ExitStack() as stack:
        where = folder
        if not shown(StudyFolder.open(folder)):
            from innersight.storage.store import Store
            from innersight.study.documents import rendered

            where = stack.enter_context(rendered(Store.open(folder)))
        serve(
            folder, shown=where, host=host, port=port, open_browser=browser, source=model, images=tuple(images or ())
        )  # fmt: skip


@app.command(rich_help_panel=PAGES)
def export(
    folder: StudyFolder,
    to: Annotated[str, typer.Option(help="tensorboard, wandb or trackio; see `innersight list exports`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
) -> None:
    """Write a study for another tool, without the model or the images."""
    from innersight.study import Study

    typer.echo(f"wrote {printable(Study.open(folder).export(to, out))}")
