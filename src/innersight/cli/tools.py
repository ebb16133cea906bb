"""Commands about the program itself."""

from pathlib import Path
from typing import Annotated

import typer

from innersight.cli.base import app
from innersight.cli.command import TOOLS
from innersight.errors import InnersightError, printable


@app.command(rich_help_panel=TOOLS)
def methods() -> None:
    """List the heatmap methods with their source, when to use them, and their options."""
    from innersight import terminal

    typer.echo(terminal.methods())


@app.command(rich_help_panel=TOOLS)
def doctor() -> None:
    """Show versions and devices, and what each extra would add."""
    from innersight import terminal

    typer.echo(terminal.doctor())


@app.command(rich_help_panel=TOOLS)
def toons(
    folder: Annotated[Path, typer.Argument(help="Folder to write, as FOLDER/CLASS/*.png.")],
    per_class: Annotated[int, typer.Option(help="Images of each character.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the first image.")] = 0,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 96,
    masks: Annotated[
        Path | None, typer.Option(help="Also write masks of the characters' parts, into this folder, for `dissect`.")
    ] = None,
) -> None:
    """Draw the embedded characters into a folder for each class, to train on."""
    from innersight.toons import write

    try:
        count = write(folder, per_class=per_class, seed=seed, size=size, masks=masks)
    except ValueError as error:
        raise InnersightError(str(error)) from error
    typer.echo(f"{count} images in {printable(folder)}")
