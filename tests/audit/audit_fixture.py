"""A check for the tests of what stands around checks: it finds one shortcut, with images that show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from planting import plant

from innersight.audit.checks import checks

CHECK = '''
from innersight.audit.checks import Report, checks
from innersight.audit.finding import Effect, Finding, Proof

@checks.register("Planted", order=5, limits="Everything that was not planted.")
def planted(subject):
    """Find what the test planted."""
    pixels = subject.pixels[[0, 1]]
    subject.logits(pixels, "looking for what was planted")
    label = subject.model.labels[0]
    corner = (0.0, 0.0, 0.25, 0.25)
    proof = Proof(subject.shown(pixels), (corner, None), ("with it", "without"))
    effect = Effect(0.71, (0.62, 0.79), 0.04, 0.0002, "share of other images that turn into the class")
    one = Finding(
        "planted", label, f"The corner makes images {label}.", True, effect, corner, "same pixels",
        subject.named([0, 1]), 12, "Crop the corner away and train again.", proof,
    )
    return Report([one], "two images")
'''
NAMES = ("ash", "birch")


def plant_check(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str = CHECK) -> None:
    """Register the checks of one file for one test."""
    plant(monkeypatch, folder, checks, "planted", source)


def draw(root: Path, count: int = 4, names: tuple[str, ...] = NAMES) -> Path:
    """Write random images into a folder for each class."""
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for n in range(count):
            PILImage.fromarray(rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)).save(root / name / f"{n}.png")
    return root
