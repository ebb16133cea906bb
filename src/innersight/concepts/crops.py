"""The parts of images where each concept is strongest, cut out for a study and for figures."""

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PILImage

from innersight.image import ImageError
from innersight.receptive_field import receptive_fields
from innersight.scan.crops import crops, reopen

if TYPE_CHECKING:
    from innersight.concepts.result import Concepts

SIDE, MASK, SHOWN = 96, 24, 6


def crops_of(found: "Concepts", limit: int = SHOWN) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """Return rows {concept, image, value}, crops (n, SIDE, SIDE, 3) uint8, and masks (n, MASK, MASK) 0 to 1 of them.

    The images of the examples are read again; those that cannot be are left out.
    """
    model, address = found.model.with_concepts(found), found.address
    field = receptive_fields(model, [address])[address]
    rows: list[dict[str, Any]] = []
    pixels, masks = [], []
    for concept in range(len(found)):
        examples = found.scan.examples(f"{address}:{concept}", limit=limit)
        for one in examples:
            try:
                opened = reopen([found.scan.records[one.number]], model, found.scan.dataset, found.scan.again)
            except ImageError:
                continue
            (crop,) = crops(model, address, concept, field, opened, [one.location])
            rows.append({"concept": concept, "image": str(one.path), "value": one.value})
            pixels.append(_resized(crop.pixels, SIDE))
            masks.append(_resized(crop.mask, MASK))
    if not rows:
        return [], np.zeros((0, SIDE, SIDE, 3), np.uint8), np.zeros((0, MASK, MASK), np.float32)
    return rows, np.stack(pixels), np.stack(masks)


def _resized(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(PILImage.fromarray(pixels).resize((side, side), PILImage.Resampling.BILINEAR))
