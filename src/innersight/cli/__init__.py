"""The command line: parse and delegate. One file for each group of commands; torch is imported when work starts."""

# isort: off
from innersight.cli.base import app, main
from innersight.cli import (
    start,
    units,
    patterns,
    predictions,
    data_sets,
    studies,
    tools,
)  # in this order they are listed

__all__ = ["app", "data_sets", "main", "patterns", "predictions", "start", "studies", "tools", "units"]
