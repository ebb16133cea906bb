"""Commands for heatmaps: make them, and judge them."""

from pathlib import Path
from typing import Annotated

import typer

from innersight.cli.base import Data, Device, Json, ModelName, Out, Target, Weights, app, load
from innersight.commands import deliver, method_options, progress
from innersight.errors import printable


def _methods(chosen: list[str] | None, default: list[str] | str) -> list[str] | str:
    """Return the methods named, or the word for many of them."""
    many = [name for name in chosen or () if name in ("all", "quick")]
    return many[0] if many else chosen or default


@app.command(context_settings={"ignore_unknown_options": True})
def explain(
    model: ModelName,
    images: Data,
    target: Target = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="see `innersight methods`; all for every one that fits, or quick"),
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option("--layer", "-l", help="where class activation maps are read; may be repeated")
    ] = None,
    versus: Annotated[
        str | None, typer.Option(help="why not this class? a label, a number or runner-up: its score is taken off")
    ] = None,
    of: Annotated[str, typer.Option(help="logit or probability")] = "logit",
    like: Annotated[Path | None, typer.Option(help="what makes the images like this one, instead of a class")] = None,
    seed: Annotated[int, typer.Option(help="of the methods that draw at random")] = 0,
    shared: Annotated[bool, typer.Option("--shared", help="one scale for all images of a method")] = False,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Show which part of an image decided the class.

    A method's own options are written --METHOD.OPTION=VALUE, such as --gradcam.relu=true; see `innersight methods`.
    """
    from innersight.heatmaps import explain as run

    # Unknown options arrive among the images: a method's own options are known only once it is looked up.
    files, options = method_options(images)
    names = _methods(method, ["gradcam", "saliency"])
    result = run(
        load(model, weights, device), files, target, names, layers=layer, versus=versus,
        of=of, like=like, options=options, seed=seed, shared=shared,
    )  # fmt: skip
    if not json_:
        typer.echo(f"read at {', '.join(result.layers)}: {result.why}" if result.layers else result.why)
        for line in result.left_out:
            typer.echo(f"left out: {line}")
        for name, doubt in dict.fromkeys((entry.image.name, entry.doubt) for entry in result.entries if entry.doubt):
            typer.echo(printable(f"{name}: {doubt}"))
    deliver(result, json_, out, "explain.png")


@app.command(context_settings={"ignore_unknown_options": True})
def trust(
    model: ModelName,
    images: Data,
    target: Target = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="see `innersight methods`; quick (the default), or all"),
    ] = None,
    layer: Annotated[str | None, typer.Option("--layer", "-l", help="where class activation maps are read")] = None,
    most: Annotated[int, typer.Option(help="images drawn at random where there are more; 0 for all")] = 32,
    regions: Annotated[
        Path | None, typer.Option(metavar="PATH", help="CSV file of boxes (file,x0,y0,x1,y1) or folder of masks")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="the same network trained on shuffled labels")
    ] = None,
    steps: Annotated[int, typer.Option(help="portions in which pixels are removed")] = 10,
    baseline: Annotated[str, typer.Option(help="what takes their place: blur, inpaint, mean or noise")] = "blur",
    seed: Annotated[int, typer.Option(help="of all that is random")] = 0,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Say which heatmap methods may be believed on this network, before you read any heatmap.

    Against random, centre and edge maps, shuffled weights, mosaics of the images, and boxes where there are any.
    """
    from innersight import terminal
    from innersight.trust import trust as run

    files, options = method_options(images)
    opened = load(model, weights, device)
    other = None if against is None else load(against, None, device)
    with progress("trust") as watch:
        result = run(
            opened, files, _methods(method, "quick"), target=target, steps=steps, baseline=baseline, seed=seed,
            layer=layer, options=options, regions=regions, against=other, most=most or None, watch=watch,
        )  # fmt: skip
    if not json_:
        typer.echo(terminal.trust(result))
    deliver(result, json_, out, "trust.png")


@app.command()
def methods() -> None:
    """List the heatmap methods with their source, when to use them, and their options."""
    from innersight import terminal

    typer.echo(terminal.methods())
