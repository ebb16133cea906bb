"""Some tiles of the sheets of a study, as sheets of their own."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from innersight.errors import InnersightError

FORMATS = ("PNG", "WEBP")


class Cutter:
    """Cuts tiles out of sheets; what it made is in `files`, by name."""

    def __init__(self, folder: Mapping[str, Path]) -> None:
        """Folder : the files that may be opened, by name."""
        self._folder = folder
        self.files: dict[str, bytes] = {}

    def cut(self, sheet: dict[str, Any], kept: Sequence[int], columns: int = 16) -> dict[str, Any]:
        """Return the description of a sheet with these tiles of another, in this order; values stay as they are."""
        width, height = sheet["tile"]
        columns = max(1, min(columns, len(kept)))
        grey = self._open(sheet["files"][0]).mode == "L"
        made = PILImage.new("L" if grey else "RGB", (width * columns, height * max(1, -(-len(kept) // columns))))
        opened: dict[str, PILImage.Image] = {}
        for at, i in enumerate(kept):
            name, position = sheet["files"][i // sheet["per_file"]], i % sheet["per_file"]
            if name not in opened:
                opened[name] = self._open(name).convert(made.mode)
            left, top = position % sheet["columns"] * width, position // sheet["columns"] * height
            tile = opened[name].crop((left, top, left + width, top + height))
            made.paste(tile, (at % columns * width, at // columns * height))
        buffer = io.BytesIO()
        # The front end reads values from greyscale PNG.
        made.save(buffer, "PNG") if grey else made.save(buffer, "WEBP", lossless=True)
        name = f"selected-{len(self.files)}.{'png' if grey else 'webp'}"
        self.files[name] = buffer.getvalue()
        return {**sheet, "files": [name], "columns": columns, "per_file": max(1, len(kept)), "count": len(kept)}

    def _open(self, name: str) -> PILImage.Image:
        path = self._folder.get(name)
        if path is None:
            raise InnersightError(f"the study lacks the file {name!r}; run the study again")
        try:
            with PILImage.open(path, formats=FORMATS) as image:
                image.load()
                return image
        except (OSError, SyntaxError, PILImage.DecompressionBombError) as error:
            raise InnersightError(f"{path} cannot be read as an image sheet ({error}); run the study again") from error
