"""Commands for studies: everything for a model and images."""

from pathlib import Path
from typing import Annotated

import typer

from innersight.cli.base import Data, Device, Layers, ModelName, Target, Weights, app, load
from innersight.commands import list_notes, list_skipped, list_warnings, progress
from innersight.errors import InnersightError, printable


@app.command()
def study(
    model: ModelName,
    images: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="study folder; made, or gone on with")] = Path("study"),
    layer: Layers = None,
    units: Annotated[int, typer.Option(help="patterns for each layer; 0 for none")] = 24,
    steps: Annotated[int, typer.Option(help="updates of each pattern, at most")] = 160,
    seeds: Annotated[int, typer.Option(help="images drawn of each pattern; the strongest is shown")] = 2,
    size: Annotated[int | None, typer.Option(help="side of the patterns in pixels")] = None,
    target: Target = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="see `innersight methods`; quick (the default), or all"),
    ] = None,
    seed: Annotated[int, typer.Option(help="of the patterns")] = 0,
    trust: Annotated[
        int,
        typer.Option(help="images of the scan in OUT (or of these) on which heatmap methods are tested; 0 for none"),
    ] = 16,
    weights: Weights = None,
    device: Device = None,
    report_: Annotated[Path | None, typer.Option("--report", help="report file [default: OUT/report.html]")] = None,
) -> None:
    """Do everything for a model and images, and write the report. Run again to go on after an interruption."""
    from innersight.study import Plan
    from innersight.study import study as run

    methods_ = tuple(method) if method else Plan.methods
    plan = Plan(tuple(layer or ()), units, steps, size, methods_, target, seed, seeds, trust=trust)
    opened = load(model, weights, device)
    with progress("study") as watch:
        result = run(opened, images, out, plan=plan, watch=watch)
    typer.echo(f"computed {result.computed} items, reused {result.reused}")
    typer.echo(f"report: {printable(result.report(report_ or out / 'report.html').resolve())}")
    list_warnings(result.warnings)
    list_notes(result.notes)
    list_skipped(result.skipped)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="study folder")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="file [default: STUDY/report.html]")] = None,
    units: Annotated[list[str] | None, typer.Option(help="only these, such as stage1:3; may be repeated")] = None,
    images: Annotated[list[str] | None, typer.Option(help="only these, by id or name; may be repeated")] = None,
) -> None:
    """Write a study as one HTML file that opens offline; needs neither the model nor the images."""
    from innersight.study import Study

    path = Study.open(folder).report(out or folder / "report.html", units=units or (), images=images or ())
    typer.echo(f"report: {printable(path.resolve())}")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="study folder")],
    to: Annotated[str, typer.Option(help="tensorboard, wandb or trackio")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write")],
) -> None:
    """Write a study for another tool; needs neither the model nor the images."""
    from innersight.study import Study

    typer.echo(f"wrote {printable(Study.open(folder).export(to, out))}")


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="study folder")],
    port: Annotated[int, typer.Option(help="0 takes any free one")] = 8765,
    host: Annotated[
        str, typer.Option(help="where others can reach it too, they need the token it prints")
    ] = "127.0.0.1",
    model: Annotated[
        str | None, typer.Option(help="the network that computes more, where the study's own may not be opened")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(help="folder of the study's images, where those it names may not be opened; may be repeated"),
    ] = None,
    browser: Annotated[bool, typer.Option(help="open it in the browser")] = True,
) -> None:
    """Serve a study on this machine: look at it, and compute what is missing from its pages.

    A study that you did not make on this machine opens nothing by itself: to compute, name --model and --images.
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
