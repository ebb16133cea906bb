"""Commands to begin with: the demo, a study of everything, and training."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from innersight.cli.base import app
from innersight.cli.command import START, Call, Typed, command
from innersight.cli.output import desktop, list_notes, list_skipped, list_warnings
from innersight.cli.progress import progress
from innersight.errors import printable


@app.command(rich_help_panel=START)
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Study folder to write.")] = Path("demo"),
    view: Annotated[bool, typer.Option(help="Open the report in the browser where there is a desktop.")] = True,
) -> None:
    """Study an embedded network, `toon:robust`, on drawn characters and open the report."""
    from innersight.demo import demo as run

    with progress("demo") as show:
        report = run(out, progress=show)
    typer.echo(f"report: {printable(report.resolve())}")
    if view and desktop():
        typer.launch(str(report.resolve()))


LABELLED = Typed("IMAGES", help="Folder with a sub-folder for each class, .tar files, or a data set with labels.")


@command(START, writes=False)
def study(call: Call) -> None:
    """Write the report to OUT/report.html unless --report names another file.

    Run the same command again to resume after an interruption.
    """
    out = Path(call.arguments.get("out", call.signature.parameters["out"].default))
    report = Path(call.arguments.setdefault("report", out / "report.html"))
    result = call.run()
    typer.echo(f"computed {result.computed} items, reused {result.reused}")
    typer.echo(f"report: {printable(report.resolve())}")
    list_warnings(result.warnings)
    list_notes(result.notes)
    list_skipped(result.skipped)


@command(START, arguments=("images",), typed={"images": LABELLED}, writes=False)
def train(call: Call) -> None:
    """Ctrl-C ends the training after the current step and keeps the best epoch so far."""
    result = call.run(report=lambda text: typer.echo(text, file=sys.stderr))
    typer.echo(result.summary())
    arguments = result.card.recipe["arguments"]
    if not arguments["robust"] and not arguments["shuffle_labels"]:
        radius = 2 * result.card.input.height / 112
        typer.echo(
            "hint: patterns of such a network show colours and textures. After further training with --net "
            f"run:{printable(result.folder)} --robust {radius:.2g}, whose steps take 2 to 3 times as long, they show "
            "more of the shapes"
        )
