"""The command for what units stand for: parts of images, or words."""

from pathlib import Path
from typing import Annotated, Any

import typer

from innersight.cli.base import Data, Device, Json, Layers, ModelName, Out, Weights, app, load
from innersight.commands import deliver, progress
from innersight.errors import InnersightError


@app.command()
def dissect(
    model: ModelName,
    images: Data,
    masks: Annotated[
        Path | None, typer.Option(help="folder of masks: images of numbers with parts.json, or PART/NAME.png")
    ] = None,
    concepts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="instead of masks: words to label units by, one a line")
    ] = None,
    clip: Annotated[
        str | None, typer.Option(metavar="DIR", help="folder of the CLIP model of transformers that knows the words")
    ] = None,
    layer: Layers = None,
    top: Annotated[float, typer.Option(help="share of its places at which a unit answers")] = 0.005,
    least: Annotated[float, typer.Option(help="overlap that a label needs")] = 0.04,
    batch: Annotated[int, typer.Option(help="images in one forward pass")] = 32,
    workers: Annotated[int | None, typer.Option(help="threads that decode [default: one per core, up to 4]")] = None,
    seed: Annotated[int, typer.Option(help="of the shuffles")] = 0,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Say which part of the images each unit stands for, by masks; or which word, by a CLIP model of yours."""
    if (masks is None) == (concepts is None and clip is None):
        raise InnersightError("dissect needs --masks FOLDER, or --concepts FILE and --clip DIR, and not both")
    if (concepts is None) != (clip is None):
        raise InnersightError("--concepts FILE and --clip DIR belong together: the model tells how near words are")
    from innersight import terminal

    opened = load(model, weights, device)
    with progress("dissect") as watch:
        if concepts is None or clip is None:
            from innersight.dissection import dissect as run

            result: Any = run(
                opened, images, masks, layer, top=top, least=least, batch=batch, workers=workers, seed=seed,
                watch=watch,
            )  # fmt: skip
        else:
            from innersight.dissection import clip_encoder, label, read_words

            result = label(
                opened, images, read_words(concepts), clip_encoder(clip), layer, batch=batch, workers=workers,
                seed=seed, watch=watch,
            )  # fmt: skip
    if not json_:
        typer.echo(terminal.dissection(result))
    deliver(result, json_, out, "dissect.png")
