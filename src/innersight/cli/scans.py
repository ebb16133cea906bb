"""The command for a whole data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from innersight.cli.base import Data, Device, Json, Layers, ModelName, Ray, Weights, app, load
from innersight.commands import deliver, progress, study_and_files
from innersight.errors import printable

if TYPE_CHECKING:
    from innersight.scan import Scan


@app.command()
def scan(
    model: ModelName,
    images: Data,
    layer: Layers = None,
    all_: Annotated[bool, typer.Option("--all", help="every convolution, linear layer and block")] = False,
    top: Annotated[int, typer.Option(help="images shown for each unit")] = 9,
    alike: Annotated[int, typer.Option(help="at most so many of those are nearly the same image")] = 1,
    batch: Annotated[int, typer.Option(help="images in one forward pass")] = 32,
    workers: Annotated[int | None, typer.Option(help="threads that decode [default: one per core, up to 4]")] = None,
    correlate: Annotated[
        bool, typer.Option("--correlate", help="also which units go together, in a layer and with the one before it")
    ] = False,
    class_maps: Annotated[bool, typer.Option("--class-maps", help="also each unit's mean map for each class")] = False,
    sprites: Annotated[
        bool, typer.Option("--sprites/--no-sprites", help="write sheets of every unit's examples into the study")
    ] = True,
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
    """Find what excites each unit in a whole folder of images, and which classes it tells apart.

    With --out STUDY it is kept there after every 512 images: run the same command again to go on after a kill.
    What each unit of every layer sees of its examples is in STUDY/sprites then.
    """
    from innersight.layers import layers as listed
    from innersight.scan import scan as run

    folders, files = study_and_files(out)
    opened = load(model, weights, device)
    names = [found.name for found in listed(opened, measure=False)] if all_ else layer
    with progress("scan") as watch:
        result = run(
            opened, images, names, top=top, alike=alike, batch=batch, correlate=correlate,
            class_maps=class_maps, workers=workers, out=folders, overwrite=overwrite, ray=ray, watch=watch,
        )  # fmt: skip
    if not json_:
        from innersight import terminal

        typer.echo(terminal.scan(result))
    beside = folders or Path()
    deliver(result, json_, files or None, str(beside / "scan.png"))
    if folders is not None and sprites:
        _write_sprites(result, folders)
    if files or json_:
        return
    from innersight.render.figures import save_figure

    for asked, name, draw in (
        (correlate, "correlation.png", result.correlation_figure),
        (class_maps, "class-maps.png", result.class_figure),
    ):
        if asked:
            save_figure(draw(), beside / name)
            typer.echo(f"wrote {printable(beside / name)}")


def _write_sprites(result: "Scan", study: Path) -> None:
    """Write sheets of the examples; a scan of images that are not there twice has none, and says so."""
    from innersight.image import ImageError

    try:
        with progress("sprites") as watch:
            sheets = result.sprites(study, watch)
    except ImageError as error:
        typer.echo(f"note: no sprites are written: {printable(error)}", err=True)
    else:
        typer.echo(f"wrote {printable(study / 'sprites')}: {len(sheets)} sheets", err=True)
