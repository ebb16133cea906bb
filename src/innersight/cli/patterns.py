"""Commands for patterns: draw them, and judge what explains a unit."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from innersight.cli.command import UNITS, Call, Typed, command
from innersight.cli.output import kept_beside
from innersight.cli.progress import drawing
from innersight.errors import InnersightError, printable
from innersight.render.formats import FIGURES, FILMS, check

if TYPE_CHECKING:
    from collections.abc import Callable

    from innersight.model import Model
    from innersight.patterns import PatternGrowth, PatternProgress
    from innersight.scan import Scan

ONE_NETWORK = ("scan", "keep", "judge")  # arguments of `patterns` that say nothing of other networks, or of the cost
WHAT = Typed("WHAT")
VIEWS = Typed("NAME=VALUE,...")
Estimate = Annotated[bool, typer.Option("--estimate", help="Print how long it will take, and stop.")]
Preview = Annotated[Path | None, typer.Option(help="Figure file to rewrite every few seconds while patterns grow.")]
Transparent = Annotated[bool, typer.Option("--transparent", help="Fade what did not change the response to white.")]
Film = Annotated[
    Path | None, typer.Option(help="Animation of how the patterns arose: .webp, .gif, or .mp4 (needs ffmpeg).")
]
Epochs = Annotated[
    bool,
    typer.Option(
        "--epochs", help="Make the film of the weights after each epoch of a run that was trained with --keep-epochs."
    ),
]


@command(
    UNITS,
    arguments=("model", "what"),
    typed={"what": WHAT, "size": Typed("SIDE|HEIGHTxWIDTH"), "views": VIEWS, "scan": Typed("STUDY")},
)
def patterns(
    call: Call,
    *,
    estimate: Estimate = False,
    preview: Preview = None,
    transparent: Transparent = False,
    film: Film = None,
    epochs: Epochs = False,
) -> None:
    """Run the same command again to resume after Ctrl-C: finished images are kept until the work is done."""
    check([preview] if preview else [], FIGURES)
    check([film] if film else [], FILMS)
    if epochs and film is None:
        raise InnersightError("--epochs needs a film to write: add --film FILE.webp")
    asked = call.arguments
    if "scan" in asked:
        asked["scan"] = _scanned(call.model, Path(asked["scan"]))
    if estimate:
        from innersight.patterns import estimate as plan

        asked = {key: value for key, value in asked.items() if key not in (*ONE_NETWORK, "ray")}
        planned = plan(**{**asked, "model": call.model})
        typer.echo(json.dumps(vars(planned), indent=1) if call.json else str(planned))
        return
    if film is not None and not epochs:
        asked["growth"] = True
    with kept_beside(call.out, "patterns.png", asked.pop("keep", None)) as folder:
        with drawing("patterns", preview) as show:
            result = call.run(keep=folder, progress=show)
        call.deliver(result, transparent=transparent)
        if film is not None:
            with drawing("epochs", None) as show:
                growth = _over_epochs(call, show) if epochs else result.growth
            typer.echo(f"wrote {printable(growth.film(film))}", err=call.json)


@command(UNITS, arguments=("model", "layer", "images"), without=("distance",))
def interpretability(call: Call) -> None:
    """LAYER may name some of its units: layer2:0-15."""
    with drawing("patterns", None) as show:
        result = call.run(progress=show)
    call.deliver(result, "interpretability")


def _over_epochs(call: Call, show: "Callable[[PatternProgress], None]") -> "PatternGrowth":
    from innersight.patterns import over_epochs

    asked = {key: value for key, value in call.arguments.items() if key not in ("model", "what", *ONE_NETWORK)}
    return over_epochs(call.model, call.arguments["what"], progress=show, **asked)


def _scanned(model: "Model", study: Path) -> "Scan":
    from innersight.scan import load_scan

    found = load_scan(model, study)
    if found is None:
        raise InnersightError(
            f"{study} holds no scan of {model.name}: make one with innersight scan MODEL IMAGES --out {study}"
        )
    return found
