"""The card of a run: figures on the held out images, and the recipe that makes it again."""

import platform
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from innersight.registry import word
from innersight.statistics import wilson
from innersight.train import data
from innersight.train.options import DEFAULTS

STATED = ("seed", "batch")
"""Written into the command even where they are the default: whoever reads a card looks for them."""


def skipped(images: data.TrainingImages, judges: data.TrainingImages) -> list[str]:
    """Return one sentence for each file that could not be read, of both sets where they differ."""
    return list(images.skipped + (judges.skipped if judges is not images else ()))


def counts(images: data.TrainingImages, positions: np.ndarray) -> dict[str, int]:
    """Return how many of the images at `positions` (n,) belong to each class."""
    numbers = np.bincount(images.targets[positions], minlength=len(images.labels))
    return {label: int(n) for label, n in zip(images.labels, numbers, strict=True)}


def measured(sums: Tensor, labels: tuple[str, ...]) -> dict[str, Any]:
    """Return accuracy with its interval, the per-class table and confusions.

    sums : (classes, classes + 1), rows the truth: the counts of every prediction, then the summed loss.
    """
    confusion = sums[:, :-1].round().long()
    total, correct = int(confusion.sum()), int(confusion.diagonal().sum())
    table = {}
    for n, label in enumerate(labels):
        hit, shown, named = int(confusion[n, n]), int(confusion[n].sum()), int(confusion[:, n].sum())
        table[label] = {
            "images": shown,
            "precision": round(hit / named, 4) if named else None,
            "recall": round(hit / shown, 4) if shown else None,
        }
    low, high = wilson(correct, total)
    return {
        "accuracy": round(correct / total, 6),
        "correct": correct,
        "images": total,
        "interval": [round(low, 4), round(high, 4)],
        "loss": round(float(sums[:, -1].sum()) / total, 5),
        "per_class": table,
        "confusion": confusion.tolist(),
    }


def recipe_of(images: str, out: Path, given: dict[str, Any], task: Any, device: torch.device) -> dict[str, Any]:
    """Return everything that makes the run again: command, arguments, seed, schedule, versions."""
    import lightning
    import torchvision

    import innersight

    words = ["innersight", "train", images, "--out", str(out)]
    for key, value in given.items():
        option = word(key)
        if isinstance(value, bool):
            words += [f"--{option}" if value else f"--no-{option}"] if value != DEFAULTS[key] else []
        elif value is not None and (value != DEFAULTS[key] or key in STATED):
            words += [f"--{option}", str(value)]
    changes = f", on changes of L2 size {given['robust']:g} that raise it" if given["robust"] else ""
    return {
        "command": shlex.join(words),
        "arguments": {"images": images, "out": str(out), **given},
        "seed": given["seed"],
        "epochs": task.epochs,
        "lr": task.lr,
        "learning": f"AdamW, one cycle, cross-entropy with label smoothing 0.1{changes}",
        "augmentation": "flip, zoom, aspect, shift, rotation, brightness, contrast, saturation",
        "device": device.type,
        "threads": torch.get_num_threads(),
        "versions": {
            "innersight": innersight.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "lightning": lightning.__version__,
        },
    }
