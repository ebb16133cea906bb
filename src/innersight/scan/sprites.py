"""Sprites: sheets of the crops of every unit's examples, written beside a stored scan."""

import json
import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from torch import Tensor

from innersight import tap
from innersight.errors import InnersightError, printable
from innersight.inputs import threads
from innersight.layer import ReceptiveField
from innersight.receptive_field import receptive_fields
from innersight.scan.crops import ReopenedImage, cut, reopened
from innersight.scan.ledger import SPRITES
from innersight.scan.result import Scan
from innersight.storage.store import Store, clear_errors
from innersight.storage.study_folder import StudyFolder, parsed
from innersight.storage.writing import replacing

SIDE, GAP = 64, 4  # pixels of a tile, and between two
ROWS = 64  # units on a sheet
BATCH = 16
MADE = "made.json"
Wanted = dict[int, list[tuple[int, int, tuple[int, int]]]]
"""By the number of an image: unit, rank among its examples, and location."""


def write_sprites(scan: Scan, study: str | Path, progress: Callable[[int, int, str], None] | None = None) -> list[Path]:
    """Write sheets of the crops of every unit's examples into a study's folder.

    Parameters
    ----------
    scan
        Its images are read again: those that any unit keeps pass the network once.
    study
        Folder of the study. The files are `STUDY/sprites/LAYER-FIRST.webp`, with a row for each of up to 64 units.
    progress
        Called as `progress(done, total, name)` with the number of images done.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    ImageError
        When an image is gone or has changed.
    InnersightError
        For a full disk, and while another process writes there.

    Notes
    -----
    A row holds the unit's number and the crops of its examples, highest peak first, dark where the unit is below half
    of its peak; tiles of 64 pixels, 4 apart. Sheets of the same scan are not written again; those of an earlier scan
    stay until the new ones are finished. Meanwhile 12 KiB of disk are needed for each unit and example.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import innersight as ins
    >>> from innersight import toons
    >>> from innersight.scan import write_sprites
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     images = Path(folder, "toons")
    ...     _ = toons.write(images, per_class=1)
    ...     found = ins.scan(ins.load("small:4"), images, ["stage1"], examples=2)
    ...     [path.name for path in write_sprites(found, Path(folder, "study"))]
    ['stage1-00000.webp']

    """
    study = Path(study)
    state = {"settings": scan.digest(), "side": SIDE, "limit": scan.limit}
    store = Store.create(study)
    inside = store.inside
    with store.locked(), clear_errors(study):
        if _made(inside) != state:
            with replacing(inside.path(SPRITES)) as partial_:
                partial_.mkdir()
                _make(scan, partial_, progress)
                (partial_ / MADE).write_text(json.dumps(state))
    return sorted(path for name, path in inside.files(SPRITES).items() if name.endswith(".webp"))


def _make(scan: Scan, folder: Path, progress: Callable[[int, int, str], None] | None) -> None:
    """Write all sheets into an empty folder."""
    tiles = _tiles(scan, folder, progress)
    for layer, drawn in tiles.items():
        for first in range(0, len(drawn), ROWS):
            sheet = _sheet(first, drawn[first : first + ROWS])
            sheet.save(folder / f"{quote(layer, safe='')}-{first:05}.webp", quality=85, method=2)
    tiles.clear()
    for file in folder.glob("*.npy"):
        file.unlink()


def _made(inside: StudyFolder) -> Any:
    try:
        return parsed(inside.read(SPRITES, MADE), MADE)
    except InnersightError:
        return None


def _on_disk(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array in a file; raises OSError where it has no room, and not when it is written to."""
    array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _tiles(scan: Scan, folder: Path, progress: Callable[[int, int, str], None] | None) -> dict[str, np.ndarray]:
    """Return by layer (units, limit, SIDE, SIDE, 3) uint8, on disk, as many units do not fit into memory."""
    seen, model = receptive_fields(scan.model, list(scan.layers)), scan.model
    wanted: dict[str, Wanted] = {}
    found: dict[str, np.ndarray] = {}
    for i, (layer, tally) in enumerate(scan.layers.items()):
        wanted[layer] = defaultdict(list)
        for unit in range(tally.units):
            for rank, example in enumerate(scan.examples(f"{layer}:{unit}")):
                wanted[layer][example.number].append((unit, rank, example.location))
        shape = (tally.units, scan.limit, SIDE, SIDE, 3)
        found[layer] = _on_disk(folder / f"{i}.npy", shape)
        found[layer][:] = 255
    numbers = sorted(set().union(*wanted.values()))
    records = [scan.records[number] for number in numbers]
    done = 0
    with (
        closing(reopened(records, model, scan.dataset, threads(None), scan.again)) as stream,
        tap.untouched(model),
        torch.no_grad(),
    ):
        while some := list(islice(stream, BATCH)):
            images = {record.number: one for record, one in some}
            x = torch.stack([one.x for one in images.values()]).to(model.device, model.dtype)
            readers = {
                layer: partial(
                    _draw, images=images, wanted=wanted[layer], into=found[layer], cutter=_cutter(scan, seen[layer])
                )
                for layer in scan.layers
            }
            tap.read(model, x, readers)
            done += len(some)
            if progress is not None:
                progress(done, len(records), printable(some[-1][0].name))
    return found


def _cutter(scan: Scan, field: ReceptiveField) -> Callable[[ReopenedImage, Tensor, tuple[int, int]], np.ndarray]:
    def tile(one: ReopenedImage, map_: Tensor, location: tuple[int, int]) -> np.ndarray:
        masked = PILImage.fromarray(cut(one, map_, location, field, scan.model.input).masked())
        return np.asarray(masked.resize((SIDE, SIDE), PILImage.Resampling.BILINEAR))

    return tile


def _draw(
    activation: Tensor, *, images: dict[int, ReopenedImage], wanted: Wanted, into: np.ndarray,
    cutter: Callable[[ReopenedImage, Tensor, tuple[int, int]], np.ndarray],
) -> None:  # fmt: skip
    for maps, (number, one) in zip(activation, images.items(), strict=True):
        for unit, rank, location in wanted.get(number, ()):
            into[unit, rank] = cutter(one, maps[unit].float().cpu(), location)


def _sheet(first: int, tiles: np.ndarray) -> PILImage.Image:
    rows, columns = tiles.shape[:2]
    step = SIDE + GAP
    sheet = PILImage.new("RGB", ((columns + 1) * step, rows * step), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row in range(rows):
        pen.text((SIDE - 8, row * step + SIDE / 2), str(first + row), "#555", font, anchor="rm")
        for column in range(columns):
            sheet.paste(PILImage.fromarray(tiles[row, column]), ((column + 1) * step, row * step))
    return sheet
