"""Weights & Biases: a run in a folder, kept on this machine until `wandb sync`."""

import os
from pathlib import Path
from typing import Literal

from innersight.errors import MissingExtraError
from innersight.storage.writing import filling
from innersight.study.content import Content
from innersight.study.exports import exports


@exports.register("Weights & Biases")
def wandb(content: Content, out: Path) -> tuple[str, ...]:
    """Write a run of the project `innersight`; offline, unless WANDB_MODE says otherwise.

    Raises MissingExtraError without wandb.
    """
    try:
        import wandb as library
    except ImportError as error:
        raise MissingExtraError("wandb", "wandb") from error
    mode: Literal["offline"] | None = None if "WANDB_MODE" in os.environ else "offline"
    settings = library.Settings(silent=True, console="off", x_disable_stats=True)
    with filling(out) as folder, library.init(
        project="innersight", name=content.title, dir=str(folder), mode=mode, config=content.settings,
        settings=settings,
    ) as run:  # fmt: skip
        for step, row in content.by_step().items():
            run.log({"step": step, **row})
        run.log({tag: library.Image(sheet) for tag, sheet in content.sheets.items()})
        run.log({tag: library.Histogram(values.numpy()) for tag, values in content.values.items() if len(values)})
        if content.notes:
            rows = [[row["address"], row["name"], ", ".join(row["tags"]), row["note"]] for row in content.notes]
            run.log({"names and notes": library.Table(columns=["address", "name", "tags", "note"], data=rows)})
        for tag, points in content.points.items():
            rows = [
                [label, library.Image(sprite), *vector]
                for label, sprite, vector in zip(points.labels, points.sprites, points.vectors.tolist(), strict=True)
            ]
            columns = ["unit", "pattern", *(f"v{i}" for i in range(points.vectors.shape[1]))]
            run.log({f"units/{tag}": library.Table(columns=columns, data=rows)})
    return ()
