"""Commands for networks: train them, look at their layers, ask them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from innersight.cli.base import Data, Device, Json, ModelName, Out, Weights, app, load
from innersight.commands import (
    deliver,
    desktop,
    progress,
)
from innersight.errors import InnersightError, printable


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of the study")] = Path("demo"),
    view: Annotated[bool, typer.Option(help="open the report in a browser when there is a desktop")] = True,
) -> None:
    """Study the embedded network on drawn characters and open the report."""
    from innersight.demo import demo as run

    with progress("demo") as watch:
        report = run(out, watch=watch)
    typer.echo(f"report: {printable(report.resolve())}")
    if view and desktop():
        typer.launch(str(report.resolve()))


@app.command()
def train(
    folder: Annotated[str, typer.Argument(help="FOLDER/CLASS/*.jpg, a .tar file or data set with labels")],
    out: Annotated[Path, typer.Option("--out", "-o", help="run folder to write")],
    net: Annotated[str, typer.Option(help="small:WIDTH, timm:NAME, torchvision:NAME or run:DIR")] = "small",
    weights: Weights = None,
    val: Annotated[str | None, typer.Option(help="validation folder; else a share is held out")] = None,
    holdout: Annotated[float, typer.Option(help="stratified share held out")] = 0.1,
    epochs: Annotated[int | None, typer.Option(help="passes over the images; by the size of the folder")] = None,
    size: Annotated[int | None, typer.Option(help="input side in pixels; 80, or the network's own")] = None,
    batch: Annotated[int, typer.Option(help="images per step")] = 64,
    lr: Annotated[float | None, typer.Option(help="peak learning rate")] = None,
    patience: Annotated[int, typer.Option(help="epochs without progress before it ends; 0 never")] = 10,
    seed: Annotated[int, typer.Option(help="of split, weights, order and augmentation")] = 0,
    devices: Annotated[str, typer.Option(help="passed to Lightning")] = "auto",
    strategy: Annotated[str, typer.Option(help="passed to Lightning")] = "auto",
    nodes: Annotated[int, typer.Option(help="passed to Lightning")] = 1,
    balance: Annotated[bool, typer.Option(help="weigh rare classes more")] = True,
    shuffle_labels: Annotated[
        bool, typer.Option("--shuffle-labels", help="learn by heart what cannot be seen: for `trust --against`")
    ] = False,
    robust: Annotated[
        float, typer.Option(metavar="SIZE", help="withstand changes of this L2 size (pixels 0 to 1), such as 2; 0 off")
    ] = 0.0,
    telemetry_every: Annotated[int, typer.Option(help="steps between records of every layer")] = 25,
    keep_epochs: Annotated[
        bool, typer.Option("--keep-epochs", help="keep the weights of every epoch: run:OUT?epoch=3, for `match`")
    ] = False,
    half: Annotated[bool, typer.Option(help="store the weights as float16")] = False,
    resume: Annotated[bool, typer.Option(help="go on with a run that Ctrl-C ended")] = False,
    overwrite: Annotated[bool, typer.Option(help="begin anew in a finished run folder")] = False,
) -> None:
    """Train a classifier on a folder of images and record how it learns."""
    options = {key: value for key, value in locals().items() if key not in ("folder", "out")}
    from innersight.train import train as run

    result = run(folder, out, **options, say=lambda text: typer.echo(text, err=True))
    typer.echo(result.summary())


@app.command()
def predict(
    model: ModelName,
    images: Data,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Say what the network sees; for class-per-folder trees also accuracy and confusions."""
    from innersight.predict import predict as run

    result = run(load(model, weights, device), images)
    if not json_:
        from innersight import terminal

        typer.echo(terminal.prediction(result))
    deliver(result, json_, out, None)


@app.command()
def layers(
    model: ModelName,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    all_: Annotated[bool, typer.Option("--all", help="also activations, norms and pools")] = False,
    measure: Annotated[bool, typer.Option(help="receptive field, stride and share of compute")] = True,
) -> None:
    """List the layers of a network: name, kind, units, grid, what a place sees, parameters, share of compute."""
    from dataclasses import asdict

    from innersight.layers import default_layers, unreadable
    from innersight.layers import layers as run

    opened = load(model, weights, device)
    found = run(opened, all=all_, measure=measure)
    if json_:
        typer.echo(json.dumps([asdict(layer) for layer in found], indent=1))
        return
    from innersight import terminal

    typer.echo(terminal.layers(opened, found, default_layers(opened), unreadable(opened)))


@app.command()
def toons(
    folder: Annotated[Path, typer.Argument(help="folder to write, as FOLDER/CLASS/*.png")],
    per_class: Annotated[int, typer.Option(help="images of each character")] = 400,
    seed: Annotated[int, typer.Option(help="of the first image")] = 0,
    size: Annotated[int, typer.Option(help="side in pixels")] = 96,
    masks: Annotated[Path | None, typer.Option(help="folder to write masks of the parts to, for dissect")] = None,
) -> None:
    """Draw the embedded characters into a class-per-folder tree, to train on."""
    from innersight.toons import write

    try:
        count = write(folder, per_class=per_class, seed=seed, size=size, masks=masks)
    except ValueError as error:
        raise InnersightError(str(error)) from error
    typer.echo(f"{count} images in {printable(folder)}")


@app.command()
def doctor() -> None:
    """Say what is installed, which devices there are, and what an extra would add."""
    from innersight import terminal

    typer.echo(terminal.doctor())
