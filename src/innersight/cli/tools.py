"""Commands about the program itself."""

import json as text
from pathlib import Path
from typing import Annotated

import typer

from innersight.cli import listing
from innersight.cli.base import app
from innersight.cli.command import TOOLS, Json
from innersight.cli.listing import KINDS
from innersight.errors import InnersightError, printable


@app.command("list", rich_help_panel=TOOLS)
def list_(
    kind: Annotated[str | None, typer.Argument(help=f"{', '.join(KINDS)}; all kinds when not given.")] = None,
    name: Annotated[str | None, typer.Argument(help="One entry, to show everything about it.")] = None,
    json: Json = False,
) -> None:
    """List what can be chosen: heatmap methods, objectives, metrics, exports and the like, with their options."""
    if json:
        chosen = KINDS if kind is None else [kind]
        found = {one: [listing.as_json(entry) for entry in listing.registry(one).entries()] for one in chosen}
        typer.echo(text.dumps(found if kind is None else found[kind], indent=1))
        return
    from innersight import terminal

    if kind is not None and name is not None:
        typer.echo(listing.details(kind, name))
    else:
        typer.echo(terminal.table(*(listing.kinds() if kind is None else listing.entries(kind))))


@app.command(rich_help_panel=TOOLS)
def doctor() -> None:
    """Show versions and devices, and what each extra would add."""
    from innersight.doctor import doctor as found

    typer.echo(found())


@app.command(rich_help_panel=TOOLS)
def toons(
    folder: Annotated[Path, typer.Argument(help="Folder to write, as FOLDER/CLASS/*.png.")],
    per_class: Annotated[int, typer.Option(help="Images of each character.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the first image.")] = 0,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 96,
    masks: Annotated[
        Path | None, typer.Option(help="Also write masks of the characters' parts, into this folder, for `dissect`.")
    ] = None,
    colours: Annotated[
        str, typer.Option(help="own, or shuffled: each image in the colours of a character thrown for it.")
    ] = "own",
) -> None:
    """Draw the embedded characters into a folder for each class, to train on."""
    from innersight.toons import write

    try:
        count = write(folder, per_class=per_class, seed=seed, size=size, masks=masks, colours=colours)
    except ValueError as error:
        raise InnersightError(str(error)) from error
    typer.echo(f"{count} images in {printable(folder)}")
