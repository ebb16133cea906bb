"""The demo: the embedded network looks at drawn characters."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from innersight import toons
from innersight.sources import load
from innersight.study import Plan, study

CHARACTER = "ambra"
SEEDS = (90_001, 90_004)


def demo(out: str | Path, *, watch: Callable[[int, int, str], None] | None = None) -> Path:
    """Draw two pictures of one character, study the embedded network on them, and return the report's path.

    The pictures are written to `out`/pictures; their seeds are not among those the network was trained on.
    """
    folder = Path(out) / "pictures" / CHARACTER
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for seed in SEEDS:
        file = folder / f"{CHARACTER}-{seed}.png"
        Image.fromarray(toons.draw(CHARACTER, seed).pixels).save(file)
        files.append(file)
    made = study(load("toon"), files, out, plan=Plan(units=8, steps=80, negatives=2), watch=watch)
    return made.report(Path(out) / "report.html")
