"""Networks with one planted fault, or none, and the held-out images they are audited on."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

import innersight as ins
from benchmarks.audit_card.planters import PLANTERS, Box, Planter
from benchmarks.audit_card.pool import CLASSES, PER_CLASS, TRAIN, Pixels, home, pool
from benchmarks.audit_card.training import keep, predicted, small, train
from innersight import toons
from innersight.model import Model
from innersight.sources.small_resnet import SmallResNet

LEARNED, AUDITED, HONEST = 200, 100, 100
"""Images of each class to train on, in the audited folder, and without any plant for the accuracy."""
ATTEMPTS, BITES = 3, 0.1
"""A plant that changes neither the recall of its class nor other images by so much is no shortcut: another look and
another class are tried."""
FIRST_HONEST = PER_CLASS - HONEST
STRENGTHS = (0.70, 0.77, 0.84, 0.91, 0.98)


@dataclass(frozen=True)
class Case:
    """One network with its images, and what was planted. All figures are of held-out images.

    kind : one of `PLANTERS`, or "clean". strength : share of the class that has the plant, in training and in the
    audited folder. label : the class, None for clean. folder : holds `images/CLASS/*.png` to audit, `run/` (open it
    with `run:`) and `truth.json`. labels : of the network. planted : box of the plant by path below `images`, None
    where it is the whole image. attempt : how many plants before it had no effect. accuracy : of images without any
    plant. recall, recall_planted : of the class without and with the plant. turned : share of other classes' images
    that the plant turns into the class.
    """

    kind: str
    seed: int
    strength: float
    label: str | None
    folder: Path
    labels: tuple[str, ...]
    planted: Mapping[str, Box | None]
    accuracy: float
    attempt: int = 0
    recall: float = float("nan")
    recall_planted: float = float("nan")
    turned: float = float("nan")

    @property
    def images(self) -> Path:
        """The folder to audit."""
        return self.folder / "images"

    @property
    def model(self) -> Model:
        """The network, as `innersight.load` opens it."""
        return ins.load(f"run:{self.folder / 'run'}")


def make_case(kind: str, seed: int, strength: float = 0.9) -> Case:
    """Make one network with a planted shortcut and the folder to audit, or return those made before.

    Parameters
    ----------
    kind
        One of `PLANTERS`, or "clean" for a network without a plant.
    seed
        Chooses classes, images, the look of the plant and the initial weights.
    strength
        Share of the class that has the plant, in training and in the audited folder alike.

    Returns
    -------
    Case
        `case.images` (a folder), `case.model` and the truth.

    Examples
    --------
    >>> from benchmarks.audit_card import make_case
    >>> case = make_case("stamp", 0, 0.9)  # doctest: +SKIP
    >>> ins.audit(case.model, case.images)  # doctest: +SKIP
    >>> case.label, case.recall, case.recall_planted, case.turned  # doctest: +SKIP

    """
    if kind == "clean":
        strength = 0.0
    folder = made(f"{kind}-{seed}-{strength:.2f}", partial(_make, kind, seed, strength))
    truth = json.loads((folder / "truth.json").read_text())
    truth["planted"] = {path: box and tuple(box) for path, box in truth["planted"].items()}
    return Case(**{**truth, "folder": folder, "labels": tuple(truth["labels"])})


def made(name: str, make: Callable[[Path], None], code: str = __file__) -> Path:
    """Return a folder that `make` fills, whole or not at all, and once. code : the file that decides what is in it."""
    folder = home() / f"{name}-{hashlib.sha256(Path(code).read_bytes()).hexdigest()[:8]}"
    if not folder.exists():
        new = home() / f"{os.getpid()}-{folder.name}"
        shutil.rmtree(new, ignore_errors=True)
        make(new)
        try:
            new.rename(folder)
        except OSError:
            # Another process was first.
            if not folder.exists():
                raise
            shutil.rmtree(new)
    return folder


def chosen_labels(seed: int) -> list[str]:
    """Return the classes of the network of a seed, in order."""
    return sorted(np.random.default_rng((seed, 1)).choice(toons.CLASSES, CLASSES, replace=False).tolist())


def taken(labels: Sequence[str], first: int, last: int, count: int, seed: int, colours: str = "shuffled") -> Pixels:
    """Return `count` toons of each class, thrown from those with seeds `first` to `last` (classes, count, ...)."""
    dice, toon = np.random.default_rng((seed, 2)), pool(colours)
    rows = [toons.CLASSES.index(label) for label in labels]
    return np.stack([toon[row, np.sort(dice.choice(np.arange(first, last), count, replace=False))] for row in rows])


def paths_of(labels: Sequence[str], counts: Sequence[int], seed: int) -> list[list[str]]:
    """Return a path `CLASS/NUMBER.png` for every image of each class; the numbers say nothing."""
    numbers = iter(np.random.default_rng((seed, 3)).permutation(sum(counts)))
    return [[f"{label}/{next(numbers):05d}.png" for _ in range(n)] for label, n in zip(labels, counts, strict=True)]


def write_images(folder: Path, labels: Sequence[str], images: Sequence[Pixels], seed: int) -> list[list[str]]:
    """Write images of each class into a folder; return their paths below it, see `paths_of`."""
    every = paths_of(labels, [len(own) for own in images], seed)
    for label, paths, own in zip(labels, every, images, strict=True):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for path, pixels in zip(paths, own, strict=True):
            PILImage.fromarray(pixels).save(folder / path, compress_level=1)
    return every


def _make(kind: str, seed: int, strength: float, folder: Path) -> None:
    labels = chosen_labels(seed)
    learned = taken(labels, 0, TRAIN, LEARNED, seed)
    audited = taken(labels, TRAIN, FIRST_HONEST, AUDITED, seed)
    honest = taken(labels, FIRST_HONEST, PER_CLASS, HONEST, seed)
    truth: dict[str, Any] = {"kind": kind, "seed": seed, "strength": strength, "label": None, "labels": labels}
    if kind == "clean":
        net, truth["accuracy"] = trained(learned, seed, honest)
        paths, boxes = write_images(folder / "images", labels, list(audited), seed), {}
    else:
        for attempt in range(ATTEMPTS):
            look = np.random.default_rng((seed, 4, list(PLANTERS).index(kind), attempt))
            plant = PLANTERS[kind](look, [name for name in toons.CLASSES if name not in labels])
            target = int(look.integers(CLASSES))
            planted = learned.copy()
            plant_in(planted[target], plant, strength, look)
            net, accuracy = trained(planted, seed, honest)
            bite = _bite(net, honest, target, plant, seed)
            truth |= {"label": labels[target], "attempt": attempt, "accuracy": accuracy, **bite}
            if bite["turned"] >= BITES or bite["recall_planted"] - bite["recall"] >= BITES:
                break
        boxes = plant_in(audited[target], plant, strength, look)
        paths = write_images(folder / "images", labels, list(audited), seed)
        boxes = {paths[target][i]: box for i, box in boxes.items()}
    keep(folder / "run", net, labels)
    (folder / "truth.json").write_text(json.dumps({**truth, "planted": boxes}))


def trained(learned: Pixels, seed: int, honest: Pixels) -> tuple[SmallResNet, float]:
    """Return a network that learned from images (classes, count, ...), and its accuracy on honest ones."""
    net = small(len(learned), seed)
    train(net, np.concatenate(learned), np.repeat(np.arange(len(learned)), learned.shape[1]), seed)
    guesses = predicted(net, np.concatenate(honest)).reshape(honest.shape[:2])
    return net, float((guesses == np.arange(len(honest))[:, None]).mean())


def _bite(net: SmallResNet, honest: Pixels, target: int, plant: Planter, seed: int) -> dict[str, float]:
    """Return what the plant does to honest images of its class and of others."""
    changed = np.concatenate(honest)
    before = predicted(net, changed).reshape(honest.shape[:2]) == target
    plant_in(changed, plant, 1.0, np.random.default_rng((seed, 5)))
    after = predicted(net, changed).reshape(honest.shape[:2]) == target
    others = np.arange(len(honest)) != target
    turned = float(after[others][~before[others]].mean())
    return {"recall": float(before[target].mean()), "recall_planted": float(after[target].mean()), "turned": turned}


def plant_in(images: Pixels, plant: Planter, share: float, dice: np.random.Generator) -> dict[int, Box | None]:
    """Plant into a share of the images, in place; return where, by the number of the image."""
    found: dict[int, Box | None] = {}
    for i in sorted(dice.choice(len(images), round(share * len(images)), replace=False).tolist()):
        images[i], found[i] = plant(images[i], dice)
    return found
