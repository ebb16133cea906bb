"""Commands for patterns: draw them, and judge what explains a unit."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from innersight.cli.base import Data, Device, Json, ModelName, Out, Ray, Weights, app, load
from innersight.commands import deliver, drawing, kept_beside
from innersight.errors import InnersightError, whole
from innersight.render.formats import FIGURES, check

if TYPE_CHECKING:
    from innersight.model import Model
    from innersight.scan import Scan

_DRAWING = (
    "steps", "size", "parameterize", "statistics", "seed", "seeds", "negatives", "variants", "of", "begin", "until",
    "rate", "precision", "compile",
)  # fmt: skip


@app.command()
def patterns(
    model: ModelName,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT...",
            help="layer:0-15, layer:7@3,4, layer, class:NAME, dream(layer) and its like, or a sum: 'layer:1 - layer:2'",
        ),
    ],
    steps: Annotated[int, typer.Option(help="updates of each image, at most")] = 256,
    size: Annotated[
        str | None, typer.Option(help="side in pixels, or HEIGHTxWIDTH; the network's own when not given")
    ] = None,
    parameterize: Annotated[str, typer.Option(help="fourier, maco or pixels")] = "fourier",
    statistics: Annotated[
        str, typer.Option(help="colours and spectrum of photographs, or of the images")
    ] = "photographs",
    seed: Annotated[int, typer.Option(help="of the random pixels")] = 0,
    seeds: Annotated[int, typer.Option(help="images drawn of each; the strongest is shown")] = 2,
    negatives: Annotated[bool, typer.Option(help="also what switches each off; takes twice as long")] = False,
    variants: Annotated[int, typer.Option(help="images of each that are to differ")] = 1,
    image: Annotated[
        list[str] | None, typer.Option(help="for natural maxima and examples; file, folder, .tar file or data set")
    ] = None,
    scan: Annotated[
        Path | None, typer.Option(metavar="STUDY", help="study with a scan: natural maxima from all its images")
    ] = None,
    of: Annotated[Path | None, typer.Option(help="the image that caricature and inversion look at")] = None,
    begin: Annotated[Path | None, typer.Option(help="start from this image")] = None,
    views: Annotated[
        str, typer.Option(metavar="NAME=VALUE,...", help="how far views move: shift, zoom, turn, crop, noise, pad")
    ] = "",
    rate: Annotated[float | None, typer.Option(help="of learning; by default the parameterization's own")] = None,
    until: Annotated[str, typer.Option(help="converged: end when it stops rising; steps: make all")] = "converged",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile; for hundreds of units")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="say how long it takes, and end")] = False,
    transparent: Annotated[bool, typer.Option("--transparent", help="fade what did not matter into white")] = False,
    preview: Annotated[Path | None, typer.Option(help="image file rewritten while they are drawn")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="folder of finished images, to go on from [default: by --out]")
    ] = None,
    ray: Ray = None,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Find the image that drives each unit or class most, from random pixels. Run again to go on after Ctrl-C."""
    asked = {key: value for key, value in locals().items() if key in _DRAWING} | {"images": image or None}
    check([preview] if preview else [], FIGURES)
    asked["size"] = None if size is None else _sides(size)
    from innersight.patterns import Views
    from innersight.patterns import estimate as plan
    from innersight.patterns import patterns as run

    asked["views"] = Views.parse(views)
    opened = load(model, weights, device)
    asked["scan"] = None if scan is None else _scanned(opened, scan)
    if estimate:
        planned = plan(opened, what, **asked)
        typer.echo(json.dumps(vars(planned), indent=1) if json_ else str(planned))
        return
    with kept_beside(out, "patterns.png", keep) as folder:
        with drawing("patterns", preview) as watch:
            result = run(opened, what, **asked, keep=folder, ray=ray, progress=watch)
        deliver(result, json_, out, "patterns.png", transparent=transparent)


@app.command()
def interpretability(
    model: ModelName,
    what: Annotated[str, typer.Argument(metavar="WHAT", help="layer, or some of its units: layer:0-15")],
    images: Data,
    by: Annotated[str, typer.Option(help="what explains a unit: examples, or patterns drawn for it")] = "examples",
    tasks: Annotated[int, typer.Option(help="pairs of images to tell apart, for each unit")] = 20,
    explanations: Annotated[int, typer.Option(help="examples, or patterns, shown for each unit")] = 4,
    steps: Annotated[int, typer.Option(help="updates of each pattern, at most")] = 256,
    seed: Annotated[int, typer.Option(help="of all that is random")] = 0,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Say whether the examples or patterns of a unit tell what drives it from what does not (forced choice)."""
    from innersight import terminal
    from innersight.patterns import interpretability as run

    opened = load(model, weights, device)
    with drawing("patterns", None) as watch:
        result = run(
            opened, what, images, by=by, tasks=tasks, explanations=explanations, steps=steps, seed=seed,
            progress=watch,
        )  # fmt: skip
    if not json_:
        typer.echo(terminal.interpretability(result))
    deliver(result, json_, out, "interpretability.png")


def _scanned(model: "Model", study: Path) -> "Scan":
    from innersight.scan import stored

    found = stored(model, study)
    if found is None:
        raise InnersightError(
            f"{study} holds no scan of {model.name}: make one with innersight scan MODEL IMAGES --out {study}"
        )
    return found


def _sides(text: str) -> int | tuple[int, int]:
    parts = text.split("x")
    sides = [side for side in map(whole, parts) if side is not None]
    if len(parts) > 2 or len(sides) < len(parts):
        raise InnersightError(f"size={text!r}: give a side in pixels such as 96, or HEIGHTxWIDTH such as 64x96")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])
