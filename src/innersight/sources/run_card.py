"""What `innersight train` writes: `run.json`, the model card and `weights.safetensors`."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from innersight.errors import InnersightError, printable
from innersight.input_spec import InputSpec
from innersight.sources import query
from innersight.storage.bounded import read_json, reading
from innersight.storage.writing import write_tensors, write_text

FORMAT = 2
# Origins that build a network by its name alone: no file is opened, and no code runs but that of installed libraries.
LIBRARIES = ("small", "timm", "torchvision")


@dataclass(frozen=True)
class RunCard:
    """The content of `run.json`.

    net : architecture as `ORIGIN:NAME`. labels : one name per class, in output order.
    metrics : measured figures, such as `accuracy`, with the number of images they stand on; `not_held_out` says why
        these cannot be called held out, None where they can.
    recipe : everything needed to train it again, the seed and the command line included.
    """

    net: str
    labels: tuple[str, ...]
    input: InputSpec
    metrics: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def judged_on(metrics: dict[str, Any]) -> str:
    """Return which images an accuracy was measured on, such as "112 held out images", and any that were trained on.

    >>> judged_on({"images": 112, "not_held_out": "not held out: 102 of 112 were training images of first"})
    '112 images, not held out: 102 of 112 were training images of first'
    """
    doubt = metrics.get("not_held_out")
    return f"{metrics['images']:,} images, {doubt}" if doubt else f"{metrics['images']:,} held out images"


def write_run(folder: str | Path, net: nn.Module, card: RunCard, *, half: bool = False) -> None:
    """Write `run.json`, `README.md` (the model card) and `weights.safetensors`; `half` stores float16."""
    folder = Path(folder)
    tensors = {name: t.half() if half and t.is_floating_point() else t for name, t in net.state_dict().items()}
    write_tensors(folder / "weights.safetensors", tensors)
    if card.metrics:
        write_text(folder / "README.md", card_text(card))
    write_text(folder / "run.json", json.dumps(asdict(card), indent=1) + "\n")


def card_text(card: RunCard) -> str:
    """Return the model card of a run as Markdown: what it is, how good, how made, where it errs."""
    metrics, labels = card.metrics, card.labels
    low, high = metrics["interval"]
    columns, height, width = card.input.channels, card.input.height, card.input.width
    lines = [
        "# Model card",
        "",
        f"Architecture `{card.net}`, input {columns}x{height}x{width}, {len(labels)} classes.",
        "",
        f"Accuracy {metrics['accuracy']:.4f} (95% interval {low:.4f} to {high:.4f}) on "
        f"{judged_on(metrics)}. Made by, with seed {card.recipe['seed']}:",
        "",
        f"    {card.recipe['command']}",
        "",
        "| class | images | precision | recall |",
        "| --- | ---: | ---: | ---: |",
    ]
    for label, row in metrics["per_class"].items():
        shown = ("-" if row[key] is None else f"{row[key]:.4f}" for key in ("precision", "recall"))
        lines.append(f"| {label} | {row['images']:,} | {' | '.join(shown)} |")
    lines += ["", "Confusions, rows the truth, columns the prediction:", "", f"| | {' | '.join(labels)} |"]
    lines.append("| --- |" + " ---: |" * len(labels))
    for label, counts in zip(labels, metrics["confusion"], strict=True):
        lines.append(f"| {label} | {' | '.join(str(count) for count in counts)} |")
    return "\n".join(lines) + "\n"


def read_card(folder: str | Path) -> RunCard:
    """Read `run.json` of a run folder.

    Raises InnersightError when it is missing, not of a known format, or names a network whose code or files are not
    those of a library: a run that somebody sent must be safe to open.
    """
    path, shown = Path(folder) / "run.json", printable(folder)
    if "\0" in str(path) or not os.path.lexists(path):
        raise InnersightError(
            f"{shown}: not a finished run (no run.json); `innersight train FOLDER --out {shown}` writes one"
        )
    data = read_json(path, what="run card")
    where = printable(path)
    with reading(where, "run card"):
        if data["format"] != FORMAT:
            raise InnersightError(
                f"{where}: format {data['format']} is not known to this version, which reads {FORMAT}; train it again"
            )
        spec: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["input"].items()}
        card = RunCard(
            data["net"], tuple(data["labels"]), InputSpec(**spec), data["metrics"], data["recipe"], data["format"]
        )
        texts = [data["net"], *data["labels"]]
        if not isinstance(data["labels"], list) or not card.labels or not all(isinstance(t, str) for t in texts):
            raise TypeError("net must be a text, labels a list of at least one text")
        if not isinstance(card.metrics, dict) or not isinstance(card.recipe, dict):
            raise TypeError("metrics and recipe must be objects")
    _check_net(card.net, shown)
    return card


def _check_net(net: str, shown: str) -> None:
    """Raise InnersightError for an architecture that is code or a file of somebody's own, which a card may not name."""
    origin, _, options = query.split(net)
    named = sorted(options.keys() - {"channels", "size"})
    if origin not in LIBRARIES or named:
        raise InnersightError(
            f"{shown}: refused, its run.json names the network {printable(net)!r}, and only {', '.join(LIBRARIES)} are "
            f"built from there, because nothing in a folder may make code run or files open: if you "
            f"trust it, write '{printable(query.joined(net, checkpoint=f'{shown}/weights.safetensors'))}'"
        )


def epoch_file(epoch: int) -> str:
    """Return the name of the file in `checkpoints/` that keeps the weights after an epoch; 0 before the first."""
    return f"epoch-{epoch:04d}.safetensors"
