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
    to: Annotated[str, typer.Option(help="tensorboard, wandb, trackio or fiftyone; see `innersight list exports`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    images: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of the study's images, for fiftyone, where those it names may not be opened. May be repeated."
        ),
    ] = None,
) -> None:
    """Write a study for another tool, without the model; only fiftyone names the files of its images."""
    from innersight.study.result import export_study

    for note in export_study(folder, to, out, images or ()):
        typer.echo(printable(note), err=True)
    typer.echo(f"wrote {printable(out)}")


@app.command(rich_help_panel=PAGES)
def annotate(
    folder: StudyFolder,
    address: Annotated[
        str, typer.Argument(metavar="[ADDRESS]", help="Unit or concept (stage3:17), or id or name of an image.")
    ] = "",
    name: Annotated[str | None, typer.Option(help="Name, shown beside the address; '' removes it.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag; may be repeated. Replaces the tags there are.")] = None,
    note: Annotated[str | None, typer.Option(help="Note in plain text; '' removes it.")] = None,
    find: Annotated[str | None, typer.Option(help="List those whose name, tags or note hold this text.")] = None,
    remove: Annotated[bool, typer.Option(help="Remove name, tags and note.")] = False,
    json: Annotated[bool, typer.Option(help="Print JSON.")] = False,
) -> None:
    """Name units, concepts and images of a study, tag them, and write notes; without options, list what there is."""
    from json import dumps

    from innersight.study import Study

    study = Study.open(folder)
    if remove or name is not None or tag or note is not None:
        if not address:
            raise InnersightError(
                "annotate needs an address: innersight annotate STUDY stage3:17 --name 'hair outline'"
            )
        if remove:
            name, tag, note = "", [], ""
        found = [study.annotate(address, name=name, tags=tag, note=note)]
    else:
        found = [one for one in study.annotations.values() if address in ("", one.address)]
        found = [one for one in found if find is None or one.holds(find)]
    if json:
        typer.echo(dumps([one.to_json() for one in found], indent=1, ensure_ascii=False))
        return
    for one in found:
        tags = "".join(f" [{tag}]" for tag in one.tags)
        typer.echo(printable(f"{one.address}{f' · {one.name}' if one.name else ''}{tags}"))
        for line in one.note.splitlines():
            typer.echo(f"    {printable(line)}")
