"""What the training page calls a quantity, whatever the program that logged it called it."""

import re
from collections.abc import Collection

KNOWN = ("loss", "accuracy", "lr")
_SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "eval": "val", "evaluation": "val",
}  # fmt: skip
_SPLIT = re.compile(rf"({'|'.join(_SPLITS)})[_./ -]+(.+)", re.IGNORECASE)
_BEHIND = re.compile(rf"(.+)/({'|'.join(_SPLITS)})", re.IGNORECASE)
_QUANTITIES = {"acc": "accuracy", "learning_rate": "lr"}
_RATE = re.compile(r"(?:lr|learning_rate)[-/](.+)", re.IGNORECASE)


def plain_name(name: str, among: Collection[str] = ()) -> str:
    """Return RUN/QUANTITY, such as "val/loss", of a name such as "val_loss"; other names stay as they are.

    among : all names of the log: Lightning writes a value by step and its mean by epoch as `train_loss_step` and
    `train_loss_epoch`.

    >>> [plain_name(name) for name in ("val_loss", "train/acc", "learning_rate", "lr-Adam/pg1", "Loss/valid", "iou")]
    ['val/loss', 'train/accuracy', 'lr', 'Adam/pg1/lr', 'val/loss', 'iou']
    >>> both = ("train_loss_step", "train_loss_epoch")
    >>> [plain_name(name, both) for name in both]
    ['train/loss', 'train by epoch/loss']
    """
    means = ""
    if name.endswith("_step") and f"{name[:-5]}_epoch" in among:
        name = name[:-5]
    elif name.endswith("_epoch") and f"{name[:-6]}_step" in among:
        name, means = name[:-6], "by epoch"
    if rate := _RATE.fullmatch(name):
        return f"{rate[1]}/lr"
    before, after = _SPLIT.fullmatch(name), _BEHIND.fullmatch(name)
    run, quantity = "", name
    if before:
        run, quantity = _SPLITS[before[1].lower()], before[2]
    elif after:
        run, quantity = _SPLITS[after[2].lower()], after[1]
    lower = quantity.lower()
    quantity = _QUANTITIES.get(lower, lower if lower in KNOWN else quantity)
    where = " ".join(filter(None, (run, means)))
    return f"{where}/{quantity}" if where else quantity
