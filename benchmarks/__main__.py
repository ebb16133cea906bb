"""Run every benchmark and write docs/benchmarks.md: `make bench`."""

import importlib
import platform
from pathlib import Path

import torch

from benchmarks.timing import Row

MODULES = ("bench_start", "bench_heatmaps", "bench_patterns", "bench_telemetry")
OUT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`. The contenders of a row take turns in one run; times are medians, +- is half the interquartile
range. A ratio above 1 says that the other takes longer.

"""


def main() -> None:
    rows: list[Row] = []
    for name in MODULES:
        rows.extend(importlib.import_module(f"benchmarks.{name}").measure())
        print(f"{name}: done", flush=True)
    lines = ["| what | contender | seconds | +- | ratio | target |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for row in rows:
        for name, seconds in row.seconds.items():
            own = name == "innersight"
            what, target = (row.what, row.target) if own else ("", "")
            ratio = "" if own else f"{row.ratio(name):.2f}x"
            lines.append(f"| {what} | {name} | {seconds:.4g} | {row.spread[name]:.0%} | {ratio} | {target} |")
    machine = f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads, CPU."
    OUT.write_text(HEAD + machine + "\n\n" + "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
