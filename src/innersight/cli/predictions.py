"""Commands for predictions: make them, explain them, judge the explanations, and see what they depend on."""

import typer

from innersight.cli.command import PREDICTIONS, Call, command
from innersight.errors import printable


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
