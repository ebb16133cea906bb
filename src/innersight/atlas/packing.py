"""An atlas as plain data and tensors: how a study holds it."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from innersight.render.colour import to_bytes

if TYPE_CHECKING:
    from innersight.atlas.result import Atlas

OF_LEVEL = ("position", "count", "mean", "attribution", "share", "examples")
Packed = tuple[dict[str, Any], dict[str, Tensor]]


def packed(atlas: "Atlas") -> Packed:
    """Return an atlas as plain data and tensors: `GRID/NAME` of each level, pixels as bytes with channels last."""
    document = {
        "images": atlas.images,
        "vectors": len(atlas.points),
        "trustworthiness": atlas.trustworthiness,
        "unit": atlas.model.head.unit,
        "classes": [[atlas.model.labels.index(label), label] for label in atlas.classes],
        "settings": atlas.settings,
        "grids": [level.grid for level in atlas.levels],
        "crop_names": list(atlas.crop_names),
        "skipped": list(atlas.skipped),
        "notes": list(atlas.notes),
    }
    tensors = {"crops": torch.from_numpy(atlas.crops), "crop_location": atlas.crop_location}
    for level in atlas.levels:
        tensors |= {f"{level.grid}/{name}": getattr(level, name).contiguous() for name in OF_LEVEL}
        if level.drawn:
            tensors[f"{level.grid}/patterns"] = torch.from_numpy(to_bytes(level.patterns))
    return document, tensors
