"""The parts of images where each concept is strongest, cut out for a study and for figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PILImage

from innersight.image import ImageError
from innersight.receptive_field import receptive_fields
from innersight.scan.crops import crops, reopen

if TYPE_CHECKING:
    from innersight.concepts.result import Concepts

SIDE, MASK, SHOWN = 96, 24, 6


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
    for concept in range(len(found)):
        examples = found.scan.examples(f"{address}:{concept}", limit=limit)
        for one in examples:
            try:
                opened = reopen([found.scan.records[one.number]], model, found.scan.dataset, found.scan.again)
            except ImageError as error:
                lost[str(error)] = None
                continue
            (crop,) = crops(model, address, concept, field, opened, [one.location])
            rows.append({"concept": concept, "image": str(one.path), "value": one.value})
            pixels.append(_resized(crop.pixels, SIDE))
            masks.append(_resized(crop.mask, MASK))
    empty = np.zeros((0, SIDE, SIDE, 3), np.uint8), np.zeros((0, MASK, MASK), np.float32)
    shown, strength = (np.stack(pixels), np.stack(masks)) if rows else empty
    return ConceptCrops(rows, shown, strength, tuple(lost))


def _resized(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(PILImage.fromarray(pixels).resize((side, side), PILImage.Resampling.BILINEAR))
