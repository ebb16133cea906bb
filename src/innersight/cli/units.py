"""Commands for units: activation maps, comparisons, what they respond to, are connected to and become."""

import json as text

import typer

from innersight.cli.command import UNITS, Call, Json, Typed, command


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


@command(UNITS, arguments=("before", "after", "images"))
def match(call: Call) -> None:
    """Write BEFORE and AFTER as MODEL elsewhere; run:DIR?epoch=3 names an epoch that was kept."""
    call.deliver(call.run(), "matching")
