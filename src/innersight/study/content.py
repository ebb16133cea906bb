"""What a study has to show to other tools: contact sheets, curves, distributions, and units as points with images."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from innersight.errors import InnersightError
from innersight.render.colour import as_colour, paint, scale_of
from innersight.storage.store import Item, Store
from innersight.storage.study_folder import written_by_innersight

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
    counts. points : see Points.
    """

    title: str
    settings: dict[str, Any]
    sheets: dict[str, UInt8[np.ndarray, "H W 3"]]
    curves: dict[str, tuple[list[int], list[float]]]
    values: dict[str, Tensor]
    points: dict[str, Points]

    def by_step(self) -> dict[int, dict[str, float]]:
        """Return the values of all curves at each step."""
        rows: dict[int, dict[str, float]] = {}
        for tag, (steps, values) in self.curves.items():
            for step, value in zip(steps, values, strict=True):
                rows.setdefault(step, {})[tag] = value
        return dict(sorted(rows.items()))


def content_of(store: Store) -> Content:
    """Return what a study has to show.

    Raises InnersightError when it has not got as far as its model, and where it holds what innersight does not write.
    """
    card = store.get("model")
    if card is None:
        raise InnersightError(f"{store.folder}: nothing is finished yet; run the study again")
    with written_by_innersight(f"{store.folder}, what is exported"):
        return _content(store, card)


def _content(store: Store, card: Item) -> Content:
    shown = card.document["model"]["input"]["shown"]
    content = Content(card.document["model"]["name"], card.document["plan"], {}, _curves(store), {}, {})
    for item in store.starting("activations/"):
        layer, maps = item.key.removeprefix("activations/"), item.tensors()["activations"]
        scale = scale_of(maps)
        for i, of_image in enumerate(maps[:, :UNITS]):
            tiles = np.stack([paint(one, scale) for one in of_image])
            content.sheets[f"activations/{layer}/p{i}"] = sheet_of(tiles)
        content.values[f"peaks/{layer}"] = maps.amax((2, 3)).flatten()
        drawn = store.starting(f"patterns/{layer}/")
        if not drawn:
            continue
        images = as_colour(torch.cat([part.tensors()["images"] for part in drawn]), shown)
        units = [int(unit) for part in drawn for unit in part.document["units"]]
        content.sheets[f"patterns/{layer}"] = sheet_of(images)
        content.values[f"pattern ratio/{layer}"] = _ratios(drawn)
        pooled = adaptive_avg_pool2d(maps, POOLED).transpose(0, 1).flatten(1)
        content.points[layer] = Points(pooled[units], [f"{layer}:{unit}" for unit in units], images)
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


def _curves(store: Store) -> dict[str, tuple[list[int], list[float]]]:
    item = store.get("train")
    if item is None:
        return {}
    curves = {name: (found["step"], found["value"]) for name, found in item.document["scalars"].items()}
    for layer, found in item.document["layers"].items():
        for kind in ("weight_norm", "gradient_norm", "update_ratio", "dead"):
            if kind in found:
                curves[f"{kind}/{layer}"] = (found["step"], found[kind])
    return {
        name: ([s for s, v in zip(*pair, strict=True) if v is not None], [v for v in pair[1] if v is not None])
        for name, pair in curves.items()
    }


def _ratios(parts: Any) -> Tensor:
    found = [score["ratio"] for part in parts for score in part.document["score"]]
    return torch.tensor([ratio for ratio in found if ratio is not None and math.isfinite(ratio)])
