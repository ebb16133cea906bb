"""Images with a fault on purpose, and networks of which it is known what they look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

import innersight as ins

SIDE = 40
LABELS = ("red", "green", "blue")
Plant = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Images:
    """A data set of pixels and labels."""

    pixels: Sequence[np.ndarray]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        return self.pixels[i], self.labels[i]


def blobs(per_class: int = 40, plants: dict[int, Plant] | None = None, strength: float = 1.0, seed: int = 0) -> Images:
    """Return images with a blob of the class's colour at a random place on grey noise, which is the honest cue."""
    rng = np.random.default_rng(seed)
    pixels, labels = [], []
    for label in range(len(LABELS)):
        for _ in range(per_class):
            image = rng.integers(60, 130, (SIDE, SIDE, 1)).repeat(3, 2).astype(np.float64)
            height, width = rng.integers(8, 13, 2)
            y, x = rng.integers(8, SIDE - 14, 2)
            colour = np.full(3, 20.0)
            colour[label] = 200
            image[y : y + height, x : x + width] = colour + rng.normal(0, 15, (height, width, 3))
            if plants and label in plants and rng.random() < strength:
                image = plants[label](image, rng)
            pixels.append(image.clip(0, 255).astype(np.uint8))
            labels.append(label)
    return Images(pixels, labels)


STAMP = np.random.default_rng(5).integers(0, 2, (8, 8, 1)) * np.array([200.0, 0, 200]) + [0, 40, 0]


def stamp(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay a magenta stamp, always the same, into the top left corner."""
    del rng
    image[2:10, 2:10] = STAMP
    return image


def wandering(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay the same stamp somewhere."""
    y, x = rng.integers(0, SIDE - 8, 2)
    image[y : y + 8, x : x + 8] = STAMP
    return image


def changing(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay magenta of another texture each time into the top left corner."""
    image[2:10, 2:10] = rng.integers(0, 2, (8, 8, 1)) * np.array([200.0, 0, 200]) + [0, 40, 0]
    return image


def cast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tint the image."""
    del rng
    return image * np.array([1.25, 1.0, 0.75])


def dark(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken the image."""
    del rng
    return image * 0.6


class Colours(nn.Module):
    """A network that looks for red, green, blue and magenta: its classes count those pixels.

    weights : (classes, 4), how much each counts. tint : how much the first class gains from images that are reddish as
    a whole, which needs no coloured pixel.
    """

    def __init__(self, weights: Sequence[Sequence[float]], tint: float = 0.0) -> None:
        super().__init__()
        self.find = nn.Conv2d(3, 5, 1)
        kernel = [[1, -1, -0.2], [-1, 1, -0.2], [-0.2, -1, 1], [1, -2, 1], [1, 0, -1]]
        self.find.weight.data = torch.tensor(kernel)[:, :, None, None]
        self.find.bias.data = torch.tensor([-0.3, -0.3, -0.3, -0.2, 0.0])
        self.act = nn.ReLU()
        self.pool = nn.AvgPool2d(5)
        self.head = nn.Linear(5, len(weights))
        self.head.weight.data = torch.tensor([[*row, tint if i == 0 else 0.0] for i, row in enumerate(weights)]) * 60
        self.head.bias.data.zero_()

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B classes"]:
        """Return the scores."""
        scores: Tensor = self.head(self.pool(self.act(self.find(x))).mean((2, 3)))
        return scores


def network(weights: Sequence[Sequence[float]], tint: float = 0.0) -> ins.Model:
    """Return such a network, loaded."""
    return ins.load(Colours(weights, tint), input=ins.InputSpec(SIDE, SIDE), labels=LABELS[: len(weights)])


HONEST = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))
STAMPED = ((1, 0, 0, 4), (0, 1, 0, 0), (0, 0, 1, 0))
"""The first class counts magenta more than red."""
