"""The command line: parse and delegate. One file for each group of commands; torch is imported when work starts."""

# isort: off
from innersight.cli.base import app, main
from innersight.cli import (
    models,
    units,
    patterns,
    scans,
    dissection,
    evidence,
    studies,
)  # in this order they are listed

__all__ = ["app", "dissection", "evidence", "main", "models", "patterns", "scans", "studies", "units"]
