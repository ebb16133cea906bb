"""TensorBoard: a folder of events."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from innersight.errors import MissingExtraError
from innersight.storage.writing import filling
from innersight.study.content import Content
from innersight.study.exports import exports


@exports.register("TensorBoard")
def tensorboard(content: Content, out: Path) -> tuple[str, ...]:
    """Write sheets, curves, histograms, and the projector with the patterns as sprites, for `tensorboard --logdir OUT`.

    Raises MissingExtraError without tensorboard.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "train") from error
    with filling(out) as folder, SummaryWriter(str(folder)) as writer:
        for tag, sheet in content.sheets.items():
            writer.add_image(tag, sheet, dataformats="HWC")
        for tag, (steps, values) in content.curves.items():
            for step, value in zip(steps, values, strict=True):
                writer.add_scalar(tag, value, step)
        for tag, found in content.values.items():
            if len(found):
                writer.add_histogram(tag, found)
        if content.notes:
            writer.add_text("names and notes", "\n".join(_table(content.notes)))
        for tag, points in content.points.items():
            sprites = torch.from_numpy(points.sprites).permute(0, 3, 1, 2).float() / 255
            writer.add_embedding(points.vectors, metadata=points.labels, label_img=sprites, tag=tag)
    return ()


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown; what people wrote is shown as it is."""
    yield "| address | name | tags | note |"
    yield "| --- | --- | --- | --- |"
    for row in rows:
        cells = (row["address"], row["name"], ", ".join(row["tags"]), row["note"])
        yield f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+-.!|>" else letter for letter in text)
