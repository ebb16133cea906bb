"""Toons drawn once and kept in a folder: the images that faults are planted into."""

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innersight import toons

Pixels = npt.NDArray[np.uint8]
"""(SIDE, SIDE, 3), RGB."""

SIDE = 64
PER_CLASS = 700
TRAIN = 350
"""Networks are trained on toons of the first seeds, and judged and audited on those of the others."""
CLASSES = 8
"""Of the ten characters, to each network; the two others may be bystanders."""


@cache
def home() -> Path:
    """Return the folder that pools and networks are kept in; other code of this package has another one."""
    code = hashlib.sha256()
    for file in ("pool.py", "planters.py", "training.py", "cases.py"):
        code.update((Path(__file__).parent / file).read_bytes())
    root = os.environ.get("INNERSIGHT_CARD") or Path(tempfile.gettempdir()) / "innersight-audit-card"
    folder = Path(root) / code.hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pool(colours: str = "shuffled") -> Pixels:
    """Return toons (characters, PER_CLASS, SIDE, SIDE, 3), in the order of `toons.CLASSES` and of seeds from 0."""
    file = home() / f"toons-{colours}.npy"
    if not file.exists():
        images = ((name, seed) for name in toons.CLASSES for seed in range(PER_CLASS))
        drawn = np.stack([toons.draw(*image, size=SIDE, colours=colours).pixels for image in images])
        partial = file.with_name(f"{os.getpid()}-{file.name}")
        np.save(partial, drawn.reshape(len(toons.CLASSES), PER_CLASS, SIDE, SIDE, 3))
        partial.replace(file)
    kept: Pixels = np.load(file, mmap_mode="r")
    return kept
