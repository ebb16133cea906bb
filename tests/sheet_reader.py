"""Reads sheets back as docs/data-contract.md says, sharing no code with the writer."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage


def read_tiles(folder: Path, sheet: dict[str, Any]) -> np.ndarray:
    """Return the tiles of a sheet, (count, h, w) or (count, h, w, 3)."""
    files = []
    for name in sheet["files"]:
        with PILImage.open(folder / name) as file:
            files.append(np.asarray(file))
    width, height = sheet["tile"]
    tiles = []
    for i in range(sheet["count"]):
        row, column = divmod(i % sheet["per_file"], sheet["columns"])
        pixels = files[i // sheet["per_file"]]
        tiles.append(pixels[row * height : (row + 1) * height, column * width : (column + 1) * width])
    return np.stack(tiles)


def read_values(folder: Path, document: dict[str, Any]) -> torch.Tensor:
    """Return the values of a value sheet with its bounds."""
    tiles = torch.from_numpy(read_tiles(folder, document["sheet"])).double()
    lo, hi = (torch.tensor(document[key], dtype=torch.float64)[:, None, None] for key in ("lo", "hi"))
    return (lo + (hi - lo) * tiles / 255).float()
