"""What a study has to show to other tools: contact sheets, curves, distributions, and units as points with images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from innersight.errors import InnersightError
from innersight.storage.permit import Permit
from innersight.storage.store import Store
from innersight.storage.study_folder import written_by_innersight
from innersight.study.panel import ordered
from innersight.study.reader import StudyReader

UNITS = 64
POOLED = 4


@dataclass(frozen=True, eq=False)
class Points:
    """Units of a layer as points. vectors : (n, d), their maps over all images, pooled. labels : addresses.

    sprites : (n, side, side, 3), the pattern of each.
    """

    vectors: Float[Tensor, "n d"]
    labels: list[str]
    sprites: UInt8[np.ndarray, "n side side 3"]


@dataclass(frozen=True, eq=False)
class Content:
    """What can be exported, each by a tag such as `patterns/stage1`.

    sheets : (H, W, 3) uint8. curves : (steps, values) as training recorded them. values : numbers whose distribution
    counts. points : see Points. notes : names, tags and notes of units, concepts and images, as `Annotation.to_json`.
    reader, permit : for what is read image by image, see `innersight.study.exported_images`.
    """

    reader: StudyReader
    permit: Permit
    title: str
    settings: dict[str, Any]
    sheets: dict[str, UInt8[np.ndarray, "H W 3"]]
    curves: dict[str, tuple[list[int], list[float]]]
    values: dict[str, Tensor]
    points: dict[str, Points]
    notes: list[dict[str, Any]] = field(default_factory=list)

    def by_step(self) -> dict[int, dict[str, float]]:
        """Return the values of all curves at each step."""
        rows: dict[int, dict[str, float]] = {}
        for tag, (steps, values) in self.curves.items():
            for step, value in zip(steps, values, strict=True):
                rows.setdefault(step, {})[tag] = value
        return dict(sorted(rows.items()))


def content_of(store: Store, images: Sequence[str] = ()) -> Content:
    """Return what a study has to show. images : where the images are found, for a study that is somebody else's.

    Raises InnersightError when it has not got as far as its model, and where it holds what innersight does not write.
    """
    model = store.get("model")
    if model is None:
        raise InnersightError(f"{store.folder}: nothing is finished yet; run the study again")
    with written_by_innersight(f"{store.folder}, what is exported"):
        reader = StudyReader(store, model)
        permit = Permit(store.inside, images=tuple(images))
        content = Content(reader, permit, model.document["model"]["name"], reader.plan, {}, {}, {}, {})
        for entry in ordered():
            if entry.export is not None:
                entry.export(reader, content)
    return content


def sheet_of(tiles: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Lay tiles out in rows, about as wide as high, with a gap of one pixel."""
    count, height, width = tiles.shape[:3]
    columns = math.ceil(math.sqrt(count))
    sheet = np.full((math.ceil(count / columns) * (height + 1), columns * (width + 1), 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * (height + 1), i % columns * (width + 1)
        sheet[y : y + height, x : x + width] = tile
    return sheet
