"""Sprite sheets: many small images in few files; the format is described in docs/data-contract.md."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image as PILImage
from torch import Tensor

from innersight.storage.writing import write_bytes

MAX_SIDE = 4096


def value_sheet(folder: Path, maps: Float[Tensor, "n h w"]) -> dict[str, Any]:
    """Write maps as greyscale tiles; return `{"sheet", "lo", "hi"}` with one bound per tile.

    Byte q of tile i stands for `lo[i] + (hi[i] - lo[i]) * q / 255`; a value that is not finite is written as lo.
    """
    # In float64: the difference of two float32 may be more, or less, than float32 holds.
    values = maps.detach().cpu().double()
    lo = values.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf).flatten(1).amin(1)
    hi = values.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf).flatten(1).amax(1)
    lo, hi = (bound.where(bound.isfinite(), 0.0) for bound in (lo, hi))
    span = torch.where(hi > lo, hi - lo, torch.ones_like(hi))
    unit = ((values - lo[:, None, None]) / span[:, None, None]).nan_to_num(0.0, 0.0, 0.0).clamp(0, 1)
    tiles = (unit * 255).round().to(torch.uint8).numpy()
    return {"sheet": _write(folder, tiles, "png"), "lo": lo.tolist(), "hi": hi.tolist()}


def colour_sheet(folder: Path, tiles: UInt8[np.ndarray, "n h w 3"]) -> dict[str, Any]:
    """Write colour tiles as WebP and return the sheet."""
    return _write(folder, tiles, "webp")


def image_file(folder: Path, pixels: UInt8[np.ndarray, "H W 3"]) -> dict[str, Any]:
    """Write one image and return `{"file", "width", "height"}`."""
    image = PILImage.fromarray(pixels)
    return {"file": _save(folder, image, "webp"), "width": image.width, "height": image.height}


def _write(folder: Path, tiles: np.ndarray, suffix: str) -> dict[str, Any]:
    count, height, width = tiles.shape[:3]
    columns = max(1, min(MAX_SIDE // width, int(np.ceil(np.sqrt(count * height / width))) or 1))
    per_file = columns * max(1, MAX_SIDE // height)
    files = [_save(folder, _grid(tiles[i : i + per_file], columns), suffix) for i in range(0, count, per_file)]
    return {"files": files, "tile": [width, height], "columns": columns, "per_file": per_file, "count": count}


def _grid(tiles: np.ndarray, columns: int) -> PILImage.Image:
    count, height, width = tiles.shape[:3]
    rows = -(-count // columns)
    sheet = np.zeros((rows * height, columns * width, *tiles.shape[3:]), dtype=np.uint8)
    for i, tile in enumerate(tiles):
        y, x = divmod(i, columns)
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] = tile
    return PILImage.fromarray(sheet)


def _save(folder: Path, image: PILImage.Image, suffix: str) -> str:
    """Write the file under the digest of its content: the same image is stored once."""
    buffer = io.BytesIO()
    if suffix == "webp":
        image.save(buffer, "WEBP", quality=90, method=4)
    else:
        image.save(buffer, "PNG", optimize=True)
    name = f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:20]}.{suffix}"
    # A file of this name may have come with a study.
    present = (folder / name).is_file() and (folder / name).read_bytes() == buffer.getvalue()
    if not present:
        write_bytes(folder / name, buffer.getvalue())
    return name


def small(image: PILImage.Image, *, side: int = 640) -> UInt8[np.ndarray, "H W 3"]:
    """Return an image as RGB, scaled down to at most `side` pixels."""
    image = image.convert("RGB")
    image.thumbnail((side, side), PILImage.Resampling.LANCZOS)
    return np.array(image)
