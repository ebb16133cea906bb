"""Run benchmarks and write docs/benchmarks.md: `make bench`, or `python -m benchmarks patterns` for one of them.

With --print the page is left as it is: `make bench-quick`, before a commit.
"""

import importlib
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.timing import Row

NAMES = (
    "start",
    "predict",
    "explain",
    "heatmaps",
    "patterns",
    "scan",
    "wait",
    "concepts",
    "atlas",
    "functions",
    "ray",
    "telemetry",
    "web",
    "server",
)
OUT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`. The contenders of a row take turns in one run; times are medians, +- is half the interquartile
range (of two or three runs, half the range; 0% where there was one). A ratio above 1 says that the other takes longer.

"""


def main(names: Sequence[str]) -> None:
    text = OUT.read_text() if OUT.exists() else ""
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    keep = "--print" in names
    for name in [name for name in names if name != "--print"] or NAMES:
        sections[name] = _section(importlib.import_module(f"benchmarks.bench_{name}").measure())
        print(f"## {name}\n{sections[name]}", flush=True)
        if keep:
            continue
        OUT.write_text(HEAD + "\n".join(f"## {key}\n{sections[key].strip()}\n" for key in NAMES if key in sections))


def _section(rows: Sequence[Row]) -> str:
    lines = ["| what | contender | seconds | +- | ratio | target |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for row in rows:
        for name, seconds in row.seconds.items():
            own = name == "innersight"
            what, target = (row.what, row.target) if own else ("", "")
            ratio = "" if own else f"{row.ratio(name):.2f}x"
            lines.append(f"| {what} | {name} | {seconds:.4g}{row.unit} | {row.spread[name]:.0%} | {ratio} | {target} |")
    machine = f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads, CPU."
    return "\n".join([machine, "", *lines]) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
