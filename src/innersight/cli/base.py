"""What all commands share: the program, its arguments, and how it ends."""

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innersight import __version__
from innersight.errors import InnersightError, printable
from innersight.render.formats import check

if TYPE_CHECKING:
    from innersight.model import Model

app = typer.Typer(
    name="innersight",
    help="See what an image classifier sees. Try `innersight demo` first.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="toon, run:DIR, torchvision:NAME, timm:NAME, hf:NAME_OR_DIR, keras:FILE, onnx:FILE, pt2:FILE, "
        "lightning:FILE?class=MODULE:CLASS, python:MODULE:FUNCTION, or the file or folder of a whole network; "
        "then ?checkpoint=FILE&size=96&mean=0.5 ...",
    ),
]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES...",
        help="image files, folders, .tar files; or one data set, hf:NAME_OR_DIR?split=train or python:MODULE:NAME",
    ),
]
Weights = Annotated[str | None, typer.Option(help="'hub' or a weight file; nothing is ever unpickled")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, mps ...; the GPU where there is one")]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="work on a Ray cluster: HOST:PORT, auto or local, then ?workers=4&cpus=2&gpus=1",
    ),
]
Layers = Annotated[list[str] | None, typer.Option("--layer", "-l", help="layer name; may be repeated")]
Target = Annotated[str | None, typer.Option(help="class label or number; the predicted class when not given")]


def _written(paths: list[Path] | None) -> list[Path] | None:
    """Refuse a file that could not be written before any work is done."""
    check(paths or [])
    return paths


def _out(default: str, kinds: str) -> Any:
    return typer.Option(
        "--out", "-o", callback=_written, help=f"file to write, {kinds}; may be repeated [default: {default}]"
    )


Out = Annotated[list[Path] | None, _out("COMMAND.png", ".png .svg .pdf figure, .json data, .safetensors raw values")]


def main() -> None:
    """Run the command line; bad input, a full disk and their like end with one sentence and status 2."""
    # Names of files may hold what the terminal's encoding cannot write.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except InnersightError as error:
        typer.echo(f"innersight: {printable(error)}", err=True)
        sys.exit(2)
    except OSError as error:
        named = "" if error.filename is not None else "what is printed cannot be written: "
        typer.echo(f"innersight: {named}{printable(error)}", err=True)
        # What could not be written is still waiting, and Python would try again on its way out.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("innersight: stopped; finished work is kept", err=True)
        sys.exit(130)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def load(name: str, weights: str | None, device: str | None) -> "Model":
    """Load a network, and print its notes."""
    from innersight.sources import load as run

    model = run(name, weights=weights, device=device)
    for note in model.notes:
        typer.echo(f"note: {printable(note)}", err=True)
    return model
