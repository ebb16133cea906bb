"""The parts of images where each concept is strongest, cut out for a study and for figures."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from innersight.image import ImageError
from innersight.receptive_field import receptive_fields
from innersight.scan.crops import ReopenedImage, crops, reopen, resized

if TYPE_CHECKING:
    from innersight.concepts.result import Concepts

SIDE, MASK, SHOWN = 96, 24, 6
OPENED = 96  # images held at a time


@dataclass(frozen=True, eq=False)
class ConceptCrops:
    """The parts of images where concepts are strongest.

    rows : {concept, image, value} of each. pixels : (n, SIDE, SIDE, 3) uint8. masks : (n, MASK, MASK) 0 to 1, the
    concept's map as a share of its peak. lost : a sentence for each example that could not be read again.
    """

    rows: list[dict[str, Any]]
    pixels: np.ndarray
    masks: np.ndarray
    lost: tuple[str, ...]


def crops_of(found: "Concepts", limit: int = SHOWN) -> ConceptCrops:
    """Return the parts of the first examples of each concept; their images are read again."""
    model, address = found.model.with_concepts(found), found.address
    field = receptive_fields(model, [address])[address]
    rows: list[dict[str, Any]] = []
    pixels, masks = [], []
    lost: dict[str, None] = {}

    @lru_cache(OPENED)
    def again(number: int) -> ReopenedImage | None:
        try:
            (opened,) = reopen([found.scan.records[number]], model, found.scan.dataset, found.scan.again)
        except ImageError as error:
            lost[str(error)] = None
            return None
        return opened

    for concept in range(len(found)):
        examples = found.scan.examples(f"{address}:{concept}", limit=limit)
        there = [(one, opened) for one in examples if (opened := again(one.number)) is not None]
        images, locations = [opened for _, opened in there], [one.location for one, _ in there]
        cut = crops(model, address, concept, field, images, locations) if there else []
        rows += [{"concept": concept, "image": str(one.path), "value": one.value} for one, _ in there]
        pixels += [resized(crop.pixels, SIDE) for crop in cut]
        masks += [resized(crop.mask, MASK) for crop in cut]
    empty = np.zeros((0, SIDE, SIDE, 3), np.uint8), np.zeros((0, MASK, MASK), np.float32)
    shown, strength = (np.stack(pixels), np.stack(masks)) if rows else empty
    return ConceptCrops(rows, shown, strength, tuple(lost))
