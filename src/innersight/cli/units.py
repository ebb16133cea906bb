"""Commands for units: maps, comparisons, and what they answer to, depend on and become."""

from typing import Annotated

import typer

from innersight.cli.base import Data, Device, Json, Layers, ModelName, Out, Weights, app, load
from innersight.commands import deliver
from innersight.errors import printable


@app.command()
def activations(
    model: ModelName,
    images: Data,
    layer: Layers = None,
    shared: Annotated[bool, typer.Option(help="one colour scale for all units of a layer")] = False,
    overlay: Annotated[bool, typer.Option(help="lay the maps over the image")] = False,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Show what every unit of chosen layers responds to in an image."""
    from innersight.activations import activations as run

    result = run(load(model, weights, device), images, layer)
    deliver(result, json_, out, "activations.png", shared=shared, overlay=overlay)


@app.command()
def compare(
    model: ModelName,
    images: Data,
    layer: Annotated[str, typer.Option("--layer", "-l", help="layer name")],
    top: Annotated[int, typer.Option(help="units to list")] = 10,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Rank the units that see the same thing in two or more images."""
    from innersight.compare import compare as run

    result = run(load(model, weights, device), images, layer)
    if not json_:
        for row in result.rank(top):
            typer.echo(f"{printable(row['address']):<24} {row['score']:.3f}  {row['reason']}")
    deliver(result, json_, out, "compare.png", count=top)


@app.command()
def find(
    model: ModelName,
    like: Annotated[
        list[str],
        typer.Option(metavar="IMAGE@x0,y0,x1,y1", help="tight box round the thing, 0 to 1; may be repeated"),
    ],
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGES]...", help="those that do not show the thing; as for scan")
    ] = None,
    not_: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="IMAGE[@x0,y0,x1,y1]", help="what the thing is not; may be repeated"),
    ] = None,
    layer: Layers = None,
    colours: Annotated[
        bool, typer.Option(help="count the box's own colours for more; not where all around has them as well")
    ] = True,
    top: Annotated[int, typer.Option(help="units to list")] = 8,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Find the filter that answers to a region of an image, such as the hair."""
    from innersight.find import find as run

    network = load(model, weights, device)
    result = run(network, like, but_not=not_ or (), layers=layer, images=images or (), colours=colours)
    if not json_:
        typer.echo(f"{len(result.order)} units of {printable(', '.join(result.maps))}")
        for row in result.rank(top):
            typer.echo(f"{printable(row['address']):<24} {row['score']:.3f}  {row['reason']}")
    deliver(result, json_, out, "find.png", count=top)


@app.command()
def ablate(
    model: ModelName,
    images: Data,
    layer: Annotated[str, typer.Option("--layer", "-l", help="layer name")],
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="label or number; may be repeated [default: those predicted]")
    ] = None,
    to: Annotated[str, typer.Option(help="what takes the place of a unit's map: zero, or mean")] = "zero",
    top: Annotated[int, typer.Option(help="units to list for each class")] = 10,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Switch off every unit of a layer in turn, to see which ones a class depends on."""
    from innersight.ablation import ablate as run

    result = run(load(model, weights, device), images, layer, to=to, classes=class_)
    if not json_:
        from innersight import terminal

        typer.echo(terminal.ablation(result, top))
    deliver(result, json_, out, "ablate.png", count=top)


@app.command()
def connections(
    model: ModelName,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="layer:7, layer:0-3, or a layer")],
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGES]...", help="for attribution; as for scan")
    ] = None,
    before: Annotated[str | None, typer.Option(help="layer that drives [default: the default layer before it]")] = None,
    after: Annotated[str | None, typer.Option(help="layer that is driven [default: the one after, or classes]")] = None,
    of: Annotated[str, typer.Option(help="the driven unit's response: mean or peak of its map")] = "mean",
    top: Annotated[int, typer.Option(help="connections to list in each direction")] = 8,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Show which units drive a unit and which it drives, by weight and, over images, by attribution."""
    from innersight.connections import connections as run

    result = run(load(model, weights, device), address, images or (), before=before, after=after, of=of)
    if not json_:
        from innersight import terminal

        typer.echo(terminal.connections(result, top))
    deliver(result, json_, out, "connections.png", count=top)


@app.command()
def match(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="a checkpoint, as MODEL elsewhere; run:DIR?epoch=3")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="another one of the same network")],
    images: Data,
    layer: Layers = None,
    seed: Annotated[int, typer.Option(help="of the order of the images")] = 0,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Match the units of two checkpoints of one network: what stayed, moved, was born or died in training."""
    from innersight.matching import match as run

    result = run(load(before, None, device), load(after, None, device), images, layer, seed=seed)
    if not json_:
        from innersight import terminal

        typer.echo(terminal.matching(result))
    deliver(result, json_, out, "match.png")
