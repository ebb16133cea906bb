"""What tests of training share: a tree of coloured images, quick settings, and a listener."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image as PILImage

from innersight.sources.weights import read_weights

COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}
QUICK = {"net": "small:4", "size": 32, "epochs": 3, "batch": 8, "telemetry_every": 2}


def draw(root: Path, name: str, count: int) -> None:
    random = np.random.default_rng(len(name))
    (root / name).mkdir(parents=True)
    for n in range(count):
        noisy = np.clip(np.array(COLOURS[name]) + random.normal(0, 40, (24, 32, 3)), 0, 255).astype(np.uint8)
        PILImage.fromarray(noisy).save(root / name / f"{n:03}.png")


def draw_tree(root: Path) -> Path:
    for name, count in {"blue": 12, "green": 12, "red": 24}.items():
        draw(root, name, count)
    return root


class Said(list[str]):
    """Collects messages; `at` maps the beginning of a message to what is done then."""

    def __init__(self, **at: object) -> None:
        super().__init__()
        self.at = at

    def __call__(self, message: str) -> None:
        self.append(message)
        for start, action in self.at.items():
            if message.startswith(start.replace("_", " ")):
                action()  # type: ignore[operator]

    @property
    def text(self) -> str:
        return "\n".join(self)


def assert_same_weights(a: Path, b: Path) -> None:
    left, right = (read_weights(folder / "weights.safetensors") for folder in (a, b))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
