"""Commands for units: maps, comparisons, patterns, and what excites them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from innersight.cli.base import Device, Files, Json, Layers, ModelName, Out, Ray, Weights, app, load
from innersight.commands import (
    deliver,
    drawing,
    kept_beside,
    progress,
    study_and_files,
)
from innersight.errors import InnersightError, printable
from innersight.render.formats import FIGURES, check


@app.command()
def maps(
    model: ModelName,
    pictures: Files,
    layer: Layers = None,
    shared: Annotated[bool, typer.Option(help="one colour scale for all units of a layer")] = False,
    overlay: Annotated[bool, typer.Option(help="lay the maps over the picture")] = False,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Show what every unit of chosen layers responds to in a picture."""
    from innersight.maps import maps as run

    result = run(load(model, weights, device), list(pictures), layer)
    deliver(result, json_, out, "maps.png", shared=shared, overlay=overlay)


@app.command()
def compare(
    model: ModelName,
    pictures: Files,
    layer: Annotated[str, typer.Option("--layer", "-l", help="layer name")],
    top: Annotated[int, typer.Option(help="units to list")] = 10,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Rank the units that see the same thing in two or more pictures."""
    from innersight.compare import compare as run

    result = run(load(model, weights, device), list(pictures), layer)
    if not json_:
        for row in result.rank(top):
            typer.echo(f"{printable(row['address']):<24} {row['score']:.3f}  {row['reason']}")
    deliver(result, json_, out, "compare.png", count=top)


@app.command()
def find(
    model: ModelName,
    like: Annotated[
        list[str],
        typer.Option(metavar="PICTURE@x0,y0,x1,y1", help="tight box round the thing, 0 to 1; may be repeated"),
    ],
    pictures: Annotated[
        list[Path] | None, typer.Argument(metavar="[PICTURES]...", help="files or folders that do not show the thing")
    ] = None,
    not_: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="PICTURE[@x0,y0,x1,y1]", help="what the thing is not; may be repeated"),
    ] = None,
    layer: Layers = None,
    top: Annotated[int, typer.Option(help="units to list")] = 8,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Find the filter that answers to a region of a picture, such as the hair."""
    from innersight.find import find as run

    result = run(load(model, weights, device), like, but_not=not_ or (), layers=layer, pictures=pictures or ())
    if not json_:
        typer.echo(f"{len(result.order)} units of {printable(', '.join(result.maps))}")
        for row in result.rank(top):
            typer.echo(f"{printable(row['address']):<24} {row['score']:.3f}  {row['reason']}")
    deliver(result, json_, out, "find.png", count=top)


@app.command()
def ablate(
    model: ModelName,
    pictures: Files,
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

    result = run(load(model, weights, device), list(pictures), layer, to=to, classes=class_)
    if not json_:
        from innersight import terminal

        typer.echo(terminal.ablation(result, top))
    deliver(result, json_, out, "ablate.png", count=top)


@app.command()
def connections(
    model: ModelName,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="layer:7, layer:0-3, or a layer")],
    pictures: Annotated[
        list[Path] | None, typer.Argument(metavar="[PICTURES]...", help="files or folders, for attribution")
    ] = None,
    before: Annotated[str | None, typer.Option(help="layer that drives [default: the one before in the story]")] = None,
    after: Annotated[str | None, typer.Option(help="layer that is driven [default: the one after, or classes]")] = None,
    of: Annotated[str, typer.Option(help="the driven unit's response: mean or peak of its map")] = "mean",
    top: Annotated[int, typer.Option(help="connections to list in each direction")] = 8,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Show which units drive a unit and which it drives, by weight and, over pictures, by attribution."""
    from innersight.connections import connections as run

    result = run(load(model, weights, device), address, pictures or (), before=before, after=after, of=of)
    if not json_:
        from innersight import terminal

        typer.echo(terminal.connections(result, top))
    deliver(result, json_, out, "connections.png", count=top)


@app.command()
def match(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="a checkpoint, as MODEL elsewhere; run:DIR?epoch=3")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="another one of the same network")],
    pictures: Files,
    layer: Layers = None,
    seed: Annotated[int, typer.Option(help="of the order of the pictures")] = 0,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Match the units of two checkpoints of one network: what stayed, moved, was born or died in training."""
    from innersight.matching import match as run

    result = run(load(before, None, device), load(after, None, device), list(pictures), layer, seed=seed)
    if not json_:
        from innersight import terminal

        typer.echo(terminal.matching(result))
    for note in result.notes:
        typer.echo(f"note: {printable(note)}", err=True)
    deliver(result, json_, out, "match.png")


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
    steps: Annotated[int, typer.Option(help="updates of each picture, at most")] = 256,
    size: Annotated[
        str | None, typer.Option(help="side in pixels, or HEIGHTxWIDTH; the network's own when not given")
    ] = None,
    parameterize: Annotated[str, typer.Option(help="fourier, maco or pixels")] = "fourier",
    statistics: Annotated[
        str, typer.Option(help="colours and spectrum of photographs, or of the pictures")
    ] = "photographs",
    seed: Annotated[int, typer.Option(help="of the random pixels")] = 0,
    seeds: Annotated[int, typer.Option(help="pictures drawn of each; the strongest is shown")] = 2,
    negatives: Annotated[bool, typer.Option(help="also what switches each off; half of the time")] = True,
    variants: Annotated[int, typer.Option(help="pictures of each that are to differ")] = 1,
    picture: Annotated[list[Path] | None, typer.Option(help="for natural maxima and examples; file or folder")] = None,
    of: Annotated[Path | None, typer.Option(help="the picture that caricature and inversion look at")] = None,
    begin: Annotated[Path | None, typer.Option(help="start from this picture")] = None,
    views: Annotated[
        str, typer.Option(metavar="NAME=VALUE,...", help="how far views move: shift, zoom, turn, crop, noise, pad")
    ] = "",
    rate: Annotated[float | None, typer.Option(help="of learning; by default the parameterization's own")] = None,
    until: Annotated[str, typer.Option(help="converged: end when it stops rising; steps: make all")] = "converged",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile; for hundreds of units")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="say how long it takes, and end")] = False,
    transparent: Annotated[bool, typer.Option("--transparent", help="fade what did not matter into white")] = False,
    preview: Annotated[Path | None, typer.Option(help="picture file rewritten while they are drawn")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="folder of finished pictures, to go on from [default: by --out]")
    ] = None,
    ray: Ray = None,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Find the picture that drives each unit or class most, from random pixels. Run again to go on after Ctrl-C."""
    asked = {key: value for key, value in locals().items() if key in _DRAWING} | {"pictures": picture or None}
    check([preview] if preview else [], FIGURES)
    asked["size"] = None if size is None else _sides(size)
    from innersight.patterns import Views
    from innersight.patterns import estimate as plan
    from innersight.patterns import patterns as run

    asked["views"] = Views.parse(views)
    opened = load(model, weights, device)
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
    pictures: Files,
    by: Annotated[str, typer.Option(help="what explains a unit: examples, or patterns drawn for it")] = "examples",
    tasks: Annotated[int, typer.Option(help="pairs of pictures to tell apart, for each unit")] = 20,
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
    from innersight.address import Address, ClassAddress, parse
    from innersight.patterns import interpretability as run
    from innersight.patterns import patterns as draw

    if by not in ("examples", "patterns"):
        raise InnersightError(f"by={by!r}: choose examples or patterns")
    first, *others = parse(what)
    if isinstance(first, ClassAddress) or first.place is not None:
        raise InnersightError(f"{what!r}: name a layer, or some of its units such as stage2:0-15")
    units = [address.unit for address in (first, *others) if isinstance(address, Address) and address.unit is not None]
    opened = load(model, weights, device)
    shown: dict[str, Any] = {}
    if by == "patterns":
        with drawing("patterns", None) as watch:
            drawn = draw(opened, what, steps=steps, seed=seed, seeds=explanations, negatives=True, progress=watch)
        assert drawn.negatives is not None
        shown = {"by": drawn.every, "negatives": drawn.negatives.every}
    result = run(
        opened, first.layer, list(pictures), units or None, tasks=tasks, explanations=explanations, seed=seed, **shown
    )  # fmt: skip
    if not json_:
        typer.echo(terminal.interpretability(result))
    deliver(result, json_, out, "interpretability.png")


def _sides(text: str) -> int | tuple[int, int]:
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise InnersightError(f"size={text!r}: give a side in pixels such as 96, or HEIGHTxWIDTH such as 64x96")
    sides = [int(part) for part in parts]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


@app.command()
def scan(
    model: ModelName,
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURES...", help="folders, .tar files or picture files")],
    layer: Layers = None,
    all_: Annotated[bool, typer.Option("--all", help="every convolution, linear layer and block")] = False,
    top: Annotated[int, typer.Option(help="pictures shown for each unit")] = 9,
    batch: Annotated[int, typer.Option(help="pictures in one forward pass")] = 32,
    workers: Annotated[int | None, typer.Option(help="threads that decode [default: one per core, up to 4]")] = None,
    correlate: Annotated[
        bool, typer.Option("--correlate", help="also which units go together, in a layer and with the one before it")
    ] = False,
    class_maps: Annotated[bool, typer.Option("--class-maps", help="also each unit's mean map for each class")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="begin anew in a study that has a scan")] = False,
    ray: Ray = None,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help="study folder to keep the scan in and go on from, or a file, .png .json ..."),
    ] = None,
) -> None:
    """Find what excites each unit in a whole folder of pictures, and which classes it tells apart.

    With --out STUDY it is kept there after every 512 pictures: run the same command again to go on after a kill.
    """
    from innersight.layers import layers as listed
    from innersight.scan import scan as run

    folders, files = study_and_files(out)
    opened = load(model, weights, device)
    names = [found.name for found in listed(opened)] if all_ else layer
    with progress("scan") as watch:
        result = run(
            opened, list(pictures), names, top=top, batch=batch, correlate=correlate, class_maps=class_maps,
            workers=workers, out=folders, overwrite=overwrite, ray=ray, watch=watch,
        )  # fmt: skip
    if not json_:
        from innersight import terminal

        typer.echo(terminal.scan(result))
    for note in result.notes:
        typer.echo(f"note: {printable(note)}", err=True)
    beside = folders or Path()
    deliver(result, json_, files or None, str(beside / "scan.png"))
    if files or json_:
        return
    for asked, name, draw in (
        (correlate, "correlation.png", result.correlation_figure),
        (class_maps, "class-maps.png", result.class_figure),
    ):
        if asked:
            draw().savefig(beside / name)
            typer.echo(f"wrote {printable(beside / name)}")
