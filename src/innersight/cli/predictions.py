"""Commands for predictions: make them, explain them, judge the explanations, and see what they depend on."""

from typing import Annotated

import typer

from innersight.cli.command import PREDICTIONS, Call, Json, StudyOut, Typed, command
from innersight.cli.output import study_and_files
from innersight.errors import InnersightError, printable
from innersight.render.formats import check

FailOn = Annotated[
    str | None,
    typer.Option(
        metavar="confirmed", help="Exit with status 1 where a fault is confirmed, for CI.", rich_help_panel="Output"
    ),
]


@command(PREDICTIONS)
def predict(call: Call) -> None:
    """Images in folders named like classes are labelled by them."""
    call.deliver(call.run(), "prediction", default=None)


@command(PREDICTIONS)
def explain(call: Call) -> None:
    """Set an option of a method by --METHOD.OPTION=VALUE, such as --gradcam.relu=true: see `list methods`."""
    result = call.run()
    if not call.json:
        typer.echo(f"read at {', '.join(result.layers)}: {result.why}" if result.layers else result.why)
        for line in result.left_out:
            typer.echo(f"left out: {line}")
        for name, doubt in dict.fromkeys((entry.image.name, entry.doubt) for entry in result.entries if entry.doubt):
            typer.echo(printable(f"{name}: {doubt}"))
    call.deliver(result)


@command(PREDICTIONS)
def trust(call: Call) -> None:
    """Set an option of a method by --METHOD.OPTION=VALUE, such as --gradcam.relu=true: see `list methods`."""
    call.deliver(call.run(), "trust")


@command(PREDICTIONS, draws="ablation")
def ablate(call: Call) -> None:
    """Write ablate.png unless --out names other files."""
    call.deliver(call.run(), "ablation")


@command(
    PREDICTIONS,
    without=("out",),
    typed={"train": Typed("FOLDER"), "boxes": Typed("CSV"), "masks": Typed("DIR")},
    writes=False,
)
def audit(call: Call, *, fail_on: FailOn = None, json: Json = False, out: StudyOut = None) -> None:
    """With --out STUDY the audit is kept there: run the same command again to resume, and open STUDY/report.html.

    The exit status is 0 whatever is found, unless --fail-on says otherwise.
    """
    if fail_on not in (None, "confirmed"):
        raise InnersightError(f"--fail-on {fail_on}: the only choice is confirmed")
    folder, files = study_and_files(out)
    check(files)
    call.json, call.out = json, files or None
    result = call.run(out=folder)
    call.deliver(result, "audit", default=None)
    if folder is not None:
        call.report(result.model, (one.images for one in result.findings), folder)
    if fail_on is not None and not result.clean:
        raise typer.Exit(1)
