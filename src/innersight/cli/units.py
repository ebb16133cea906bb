"""Commands for units: activation maps, comparisons, what they respond to, are connected to and become."""

import json as text
from pathlib import Path

import typer

from innersight.cli.command import UNITS, Call, Json, StudyOut, Typed, command
from innersight.cli.output import study_and_files
from innersight.cli.progress import progress
from innersight.errors import printable


@command(UNITS, arguments=("model",), writes=False)
def layers(call: Call, *, json: Json = False) -> None:
    """Mark the layers that commands use when none is named."""
    from dataclasses import asdict

    found = call.run()
    if json:
        typer.echo(text.dumps([asdict(layer) for layer in found], indent=1))
        return
    from innersight import terminal

    typer.echo(terminal.layers(call.model, found))


@command(UNITS, draws="activation_maps")
def activations(call: Call) -> None:
    """Write activations.png unless --out names other files."""
    call.deliver(call.run())


@command(UNITS, draws="comparison")
def compare(call: Call) -> None:
    """Write compare.png unless --out names other files."""
    call.deliver(call.run(), "comparison")


@command(
    UNITS, draws="unit_ranking", typed={"like": Typed("IMAGE@x0,y0,x1,y1"), "but_not": Typed("IMAGE[@x0,y0,x1,y1]")}
)
def find(call: Call) -> None:
    """Give boxes in fractions of width and height: --like frame.png@0.3,0.1,0.6,0.4."""
    call.deliver(call.run(), "unit_ranking")


@command(UNITS, arguments=("model", "address", "images"), draws="connections", without=("units",))
def connections(call: Call) -> None:
    """Write connections.png unless --out names other files."""
    call.deliver(call.run(), "connections")


@command(UNITS, arguments=("before", "after", "images"), writes=False)
def match(call: Call, *, json: Json = False, out: StudyOut = None) -> None:
    """Write BEFORE and AFTER as MODEL elsewhere; run:DIR?epoch=3 names an epoch that was kept.

    With --out STUDY, a study of AFTER, its page of differences shows both networks side by side, in place of what AFTER
    was compared with there before.
    """
    folder, files = study_and_files(out)
    call.json, call.out = json, files or None
    if folder is not None:
        call.check_study(folder, "after")
    result = call.run()
    call.deliver(result, "matching", default=str((folder or Path()) / "match.png"))
    if folder is not None:
        from innersight.study import Study, keep_matching

        with progress("study") as show:
            keep_matching(result, call.arguments["images"], folder, progress=show)
        report = Study.open(folder).report(folder / "report.html")
        typer.echo(f"report: {printable(report.resolve())}", err=json)
