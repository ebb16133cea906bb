"""What all commands share: the program, its arguments, and how it ends."""

import io
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from innersight import __version__
from innersight.errors import InnersightError, printable

if TYPE_CHECKING:
    from innersight.model import Model

app = typer.Typer(
    name="innersight",
    help="See what an image classifier sees. Try `innersight demo` first.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130  # exit status after Ctrl-C


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
        typer.echo(f"innersight: {printable(error)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        named = "" if error.filename is not None else "what is printed cannot be written: "
        typer.echo(f"innersight: {named}{printable(error)}", file=sys.stderr)
        # What could not be written is still waiting, and Python would try again on its way out.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as stop:
        # Newer versions of typer make an exit of Ctrl-C.
        if isinstance(stop, SystemExit) and stop.code != INTERRUPTED:
            raise
        typer.echo("innersight: stopped; finished work is kept", file=sys.stderr)
        sys.exit(INTERRUPTED)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def load(name: str, weights: str | None, device: str | None) -> "Model":
    """Load a network, and print its notes."""
    from innersight.sources import load as run

    model = run(name, weights=weights, device=device)
    for note in model.notes:
        typer.echo(f"note: {printable(note)}", file=sys.stderr)
    return model
