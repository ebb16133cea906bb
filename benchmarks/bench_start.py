"""How long the command line takes to answer, and how fast toons are drawn."""

import subprocess
import sys

from benchmarks.timing import Row, race
from innersight import toons


def measure() -> list[Row]:
    def cli(*words: str):
        return lambda: subprocess.run([sys.executable, "-m", "innersight", *words], check=True, capture_output=True)

    def draw() -> None:
        for seed in range(20):
            toons.draw(toons.CLASSES[seed % len(toons.CLASSES)], seed)

    drawn = race("20 toons at 96 px", {"innersight": draw}, target="at least 150 a second: under 0.133 s")
    bare = lambda: subprocess.run([sys.executable, "-c", "import typer"], check=True)  # noqa: E731
    return [
        race(
            "innersight --help", {"innersight": cli("--help"), "python -c 'import typer'": bare}, target="under 0.4 s"
        ),
        race("innersight layers --help", {"innersight": cli("layers", "--help")}, target="under 0.4 s"),
        drawn,
    ]
