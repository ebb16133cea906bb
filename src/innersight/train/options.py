"""How a network is trained: the options of `train`, of its command, of the recipe in run.json, and of resuming."""

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError
from innersight.options import convert

MAX_IMAGES = 16  # of which heatmaps are recorded
# Must be the same when an unfinished run is resumed.
_FIXED = {"fixed": True}
# Of the machine, no part of the recipe.
_MACHINE = {"machine": True}


@dataclass(frozen=True)
class TrainOptions:
    """Options of `train`: plain values, stored in the recipe of the run.

    Attributes
    ----------
    net : str
        Architecture: "small" or "small:WIDTH", "timm:NAME", "torchvision:NAME", or "run:DIR" for the weights of an
        earlier run, whose split is kept: no image that it, or a run before it, learned from is held out.
    weights : str, path or None
        Weights to start from: "hub", or a weight file (nothing is unpickled). Random, or those of `net`, when None.
    holdout : float
        Share of every class that is held out for validation; above 0, below 1. Unused with a validation set.
    epochs : int or None
        Passes over the training images; 1 or more. When None as many as show about 80,000 images, 12 to 60; with
        learned weights 20,000 images, 4 to 10.
    size : int or None
        Side of the network's input in pixels; 1 or more. 80 for "small", the network's own otherwise.
    batch : int
        Images per step and process; 1 or more.
    lr : float or None
        Peak learning rate; above 0. 0.002, with learned weights 0.0005, when None.
    patience : int
        Epochs without a better validation accuracy after which training ends; 0 for never.
    seed : int
        Seed of the split, the first weights, the order and the augmentation; 0 or more.
    balance : bool
        Weight the classes by `1 / sqrt(images)` in the loss.
    shuffle_labels : bool
        Permute the labels of the images, for a network that memorised what cannot be seen: `shuffled_labels` of
        `innersight.trust`. No image is held out; the accuracy is that on the training images.
    robust : float
        Adversarial training: L2 size of the changes that the network is to withstand, over an image's values in 0..1;
        0 or more, 0 for none. Steps take two to three times as long.
    telemetry_every : int
        Steps between records of every layer, see `Telemetry`; 1 or more.
    heatmaps : int
        Held out images of which heatmaps are recorded before the first and after every epoch, of as many classes as
        possible, see `FixedImages`; 0 to 16.
    keep_epochs : bool
        Keep the weights of every epoch and those before the first, opened as `run:OUT?epoch=3`.
    half : bool
        Store the weights as float16; the accuracy stated is theirs.
    workers : int or None
        Threads that decode images; 1 or more. One for each core, at most 8, when None.
    devices : int or str
        Devices: "auto", how many, or their numbers such as "0,1"; passed to Lightning's Trainer.
    strategy : str
        Strategy for several devices, passed to Lightning's Trainer.
    nodes : int
        Number of machines, passed to Lightning's Trainer; 1 or more.
    cache : str, path or None
        Folder of the decoded images; `$INNERSIGHT_CACHE`, else `innersight` in the user's cache folder, when None.

    Examples
    --------
    >>> import innersight as ins
    >>> ins.TrainOptions(net="timm:resnet18", epochs=3).recipe()["epochs"]
    3

    """

    net: str = field(default="small", metadata=_FIXED)
    weights: str | Path | None = field(default=None, metadata=_FIXED)
    holdout: float = field(default=0.1, metadata=_FIXED)
    epochs: int | None = field(default=None, metadata=_FIXED)
    size: int | None = field(default=None, metadata=_FIXED)
    batch: int = field(default=64, metadata=_FIXED)
    lr: float | None = field(default=None, metadata=_FIXED)
    patience: int = 10
    seed: int = field(default=0, metadata=_FIXED)
    balance: bool = field(default=True, metadata=_FIXED)
    shuffle_labels: bool = field(default=False, metadata=_FIXED)
    robust: float = field(default=0.0, metadata=_FIXED)
    telemetry_every: int = 25
    heatmaps: int = 4
    keep_epochs: bool = False
    half: bool = False
    workers: int | None = field(default=None, metadata=_MACHINE)
    devices: int | str = field(default="auto", metadata=_MACHINE)
    strategy: str = field(default="auto", metadata=_MACHINE)
    nodes: int = field(default=1, metadata=_MACHINE)
    cache: str | Path | None = field(default=None, metadata=_MACHINE)

    def __post_init__(self) -> None:
        convert(self)
        for name in ("epochs", "size", "batch", "telemetry_every", "workers", "nodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InnersightError(f"{name}={value}: give a number of 1 or more")
        if not 0 <= self.heatmaps <= MAX_IMAGES:
            raise InnersightError(f"heatmaps={self.heatmaps}: give a number from 0 to {MAX_IMAGES}")
        if self.patience < 0:
            raise InnersightError(f"patience={self.patience}: give a number of 0 or more")
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise InnersightError(f"lr={self.lr}: give a learning rate above 0, such as 0.002")
        if not (math.isfinite(self.robust) and self.robust >= 0):
            raise InnersightError(f"robust={self.robust}: give an L2 size of 0 or more, such as 2 at 112 px")

    def recipe(self) -> dict[str, Any]:
        """Return the options that the weights depend on, as plain data: those of the machine are left out."""
        kept = [one.name for one in fields(self) if not one.metadata.get("machine")]
        values = asdict(self)
        return {name: str(values[name]) if isinstance(values[name], Path) else values[name] for name in kept}


DEFAULTS = {"val": None, **TrainOptions().recipe()}
"""What a recipe holds beside the images and the folder, with its defaults."""
FIXED = ("val", *(one.name for one in fields(TrainOptions) if one.metadata.get("fixed")))
"""What makes two runs different runs; the rest may change between a start and its continuation."""
