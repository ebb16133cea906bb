"""Picture: load, orient, crop, normalise, and back to source pixels."""

import logging
import struct
import tokenize
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError
from torch import Tensor

from innersight.errors import InnersightError, MissingExtraError
from innersight.model import InputSpec

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif", ".npy")
MAX_PIXELS = 178_000_000  # just below what Pillow itself refuses
MAX_BANDS = 64
# What Pillow and numpy throw at damaged files.
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, AttributeError, MemoryError,
    RuntimeError, struct.error,
)  # fmt: skip


class PictureError(InnersightError):
    """Raised for a file that cannot be read as a picture; names the file and the reason."""


@dataclass(frozen=True)
class Box:
    """A rectangle in source pixels; (left, top) inclusive, fractions of a pixel allowed."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Width in source pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in source pixels."""
        return self.bottom - self.top


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright picture with its origin.

    image : PIL image of 8 bits, mode RGB or L; of a picture with other bands than those its first three, or its first.
    name : printable; unique among the pictures of one call only if the caller's files are.
    notes : what loading changed, for people ("transparent parts laid on white").
    bands : (H, W, C) float32 in 0..1 of a picture that is more than 8-bit colour or grey, else None.
    """

    image: Image.Image
    name: str
    path: Path | None = None
    notes: tuple[str, ...] = field(default=())
    bands: np.ndarray | None = None

    @property
    def width(self) -> int:
        """Width in pixels, after orientation."""
        return self.image.width

    @property
    def height(self) -> int:
        """Height in pixels, after orientation."""
        return self.image.height

    def box(self, spec: InputSpec) -> Box:
        """Return the part of this picture the network sees, in source pixels.

        A map of grid (h, w) laid over exactly this box lies on the picture: cell (y, x) covers
        `left + x * box.width / w` onwards.
        """
        if spec.fit == "squash":
            return Box(0, 0, self.width, self.height)
        scale = min(self.width / spec.width, self.height / spec.height) * spec.crop
        w, h = spec.width * scale, spec.height * scale
        left, top = (self.width - w) / 2, (self.height - h) / 2
        return Box(left, top, left + w, top + h)

    def seen(self, spec: InputSpec) -> Image.Image:
        """Return what the network sees, for people: the box at the network's size, mode RGB or L.

        Of many bands those that `spec.shown` names as red, green and blue.
        """
        if self._colour(spec):
            return self._fitted(self.image.convert("L" if spec.channels == 1 else "RGB"), spec)
        return _painted(self._bands(spec), spec)

    def display(self, spec: InputSpec) -> Image.Image:
        """Return the whole picture for people, mode RGB or L; of many bands those that `spec.shown` names."""
        if self.bands is None or self.bands.shape[2] != spec.channels:
            return self.image
        return _painted(self.bands, spec)

    def tensor(self, spec: InputSpec) -> Float[Tensor, "C H W"]:
        """Return the network's input: float32, `(pixel in 0..1 - mean) / std`.

        Raises PictureError for a picture with another number of bands than the network takes.
        """
        array = np.array(self.seen(spec), dtype=np.float32) / 255.0 if self._colour(spec) else self._bands(spec)
        pixels = torch.from_numpy(array.reshape(spec.height, spec.width, spec.channels)).permute(2, 0, 1)
        return spec.normalise(pixels.unsqueeze(0)).squeeze(0).contiguous()

    def _colour(self, spec: InputSpec) -> bool:
        """Say whether the network is fed the 8-bit picture rather than the bands."""
        bands = 0 if self.bands is None else self.bands.shape[2]
        if bands == spec.channels:
            return False
        if spec.channels in (1, 3) and bands in (0, 1, 3):
            return True
        has = bands or len(self.image.getbands())
        raise PictureError(
            f"{self.name}: the network takes {spec.channels} channels but the picture has {has}; "
            "give .npy, a multi-band TIFF or an array with as many bands"
        )

    def _bands(self, spec: InputSpec) -> np.ndarray:
        assert self.bands is not None
        parts = (Image.fromarray(np.ascontiguousarray(band)) for band in self.bands.transpose(2, 0, 1))
        return np.stack([np.asarray(self._fitted(part, spec)) for part in parts], 2)

    def _fitted(self, image: Image.Image, spec: InputSpec) -> Image.Image:
        box = self.box(spec)
        return image.resize(
            (spec.width, spec.height),
            resample=Image.Resampling[spec.resample.upper()],
            box=(max(0.0, box.left), max(0.0, box.top), min(self.width, box.right), min(self.height, box.bottom)),
        )


def load_picture(path: str | Path, *, background: str = "white") -> Picture:
    """Read a picture file as upright 8-bit RGB (or L for greyscale), or the bands of a `.npy` or multi-band TIFF.

    Honours EXIF orientation, palettes, transparency (laid on `background`, any PIL colour), CMYK, 16-bit
    and float samples, and takes the first frame of an animation. `.npy` holds (H, W) or (H, W, C) uint8, uint16 or
    floats in 0..1. Raises PictureError for a file that is missing, empty, truncated, not a picture, or of more than 178
    million pixels, for an unknown colour, and for a multi-band TIFF without the extra `tiff`.
    """
    path = Path(path)
    shown = printable(path)
    try:
        ImageColor.getrgb(background)
    except ValueError as error:
        raise PictureError(f"background={background!r} is no colour: write a name, or #rrggbb") from error
    if path.suffix.lower() == ".npy":
        values = _read(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False), (tokenize.TokenError,))
        return _from_array(values, path.name, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(path) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise PictureError(f"{opened.width}x{opened.height} pixels are more than {MAX_PIXELS:,}")
                frames = getattr(opened, "n_frames", 1)
                opened.load()
                upright = ImageOps.exif_transpose(opened)
                image, notes = _eight_bit(upright, background, frames)
    except FileNotFoundError as error:
        raise PictureError(f"{shown}: no such file") from error
    except IsADirectoryError as error:
        raise PictureError(f"{shown}: a folder that cannot be listed") from error
    except UnidentifiedImageError as error:
        if path.suffix.lower() in (".tif", ".tiff") and path.stat().st_size:
            return _from_array(_read_tiff(path), path.name, path)
        raise PictureError(f"{shown}: not a picture in a format known here ({', '.join(SUFFIXES)})") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{shown}: more than {MAX_PIXELS:,} pixels") from error
    except BROKEN as error:
        if isinstance(error, PictureError):
            raise PictureError(f"{shown}: {error}") from error
        raise PictureError(f"{shown}: cannot be read as a picture ({printable(error)})") from error
    return Picture(image, printable(path.name), path, notes)


def as_picture(source: "str | Path | Image.Image | np.ndarray | Picture", *, name: str = "picture") -> Picture:
    """Return `source` as a Picture: a path, a PIL image, or an array.

    An array is (H, W), (H, W, 3) or, with transparency, (H, W, 4) of uint8; or bands (H, W, C) of uint8, uint16 or
    floats in 0..1 (four bands as uint16 or floats). Raises PictureError for anything else.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, str | Path):
        return load_picture(source)
    if isinstance(source, np.ndarray):
        colour = source.ndim == 2 or (source.ndim == 3 and source.shape[2] in (3, 4))
        if source.dtype != np.uint8 or not colour or not source.size:
            return _from_array(source, name, None)
        source = Image.fromarray(source)
    image, notes = _eight_bit(source, "white")
    return Picture(image, printable(name), None, notes)


def printable(text: object) -> str:
    r"""Return text with everything that is not printable escaped: newlines, control characters, broken names of files.

    >>> printable("a" + chr(10) + "b")
    'a\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def stack(pictures: Sequence[Picture], spec: InputSpec) -> Float[Tensor, "B C H W"]:
    """Return the pictures as one batch of network input."""
    return torch.stack([picture.tensor(spec) for picture in pictures])


def _eight_bit(image: Image.Image, background: str, frames: int = 1) -> tuple[Image.Image, tuple[str, ...]]:
    notes: list[str] = [f"first of {frames} frames"] if frames > 1 else []
    if image.mode.startswith("I") or image.mode == "F":
        image = _from_wide(np.asarray(image))
        notes.append("reduced to 8 bits")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, background), layer).convert("RGB")
        notes.append(f"transparent parts laid on {background}")
    if image.mode == "1":
        image = image.convert("L")
    if image.mode not in ("RGB", "L"):
        notes.append(f"converted from {image.mode}")
        image = image.convert("RGB")
    # A plain picture: no file handle, palette or metadata travels on.
    plain = image.copy() if type(image) is not Image.Image or image.readonly else image
    plain.info = {}
    return plain, tuple(notes)


def _painted(bands: np.ndarray, spec: InputSpec) -> Image.Image:
    return Image.fromarray(np.rint(bands[:, :, list(spec.shown)].clip(0, 1) * 255).astype(np.uint8))


def _from_wide(values: np.ndarray) -> Image.Image:
    """Reduce integer samples of up to 16 bits, or floats in 0..1, to 8 bits."""
    wide = np.asarray(values, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise PictureError("the picture has samples that are not numbers")
    top = 1.0 if np.issubdtype(values.dtype, np.floating) else 65535.0
    if wide.min() < 0 or wide.max() > top:
        raise PictureError(f"samples from {wide.min():g} to {wide.max():g} are outside 0..{top:g}")
    return Image.fromarray(np.rint(wide * (255.0 / top)).astype(np.uint8))


def _from_array(values: np.ndarray, name: str, path: Path | None) -> Picture:
    """Return the picture of an array (H, W) or (H, W, C); raises PictureError naming dtype, shape or values."""
    shown = printable(path or name)
    if values.ndim == 2:
        values = values[:, :, None]
    kinds = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
    top = kinds.get(values.dtype, 1.0)
    if values.ndim != 3 or not values.size or not (values.dtype in kinds or np.issubdtype(values.dtype, np.floating)):
        raise PictureError(
            f"{shown}: array of {values.dtype} {values.shape} is not a picture: "
            "give (H, W) or (H, W, C) of uint8, uint16 or floats in 0..1"
        )
    if values.shape[0] * values.shape[1] > MAX_PIXELS or values.size > 3 * MAX_PIXELS:
        raise PictureError(f"{shown}: {values.shape} are more than {MAX_PIXELS:,} pixels of three bands")
    if values.shape[2] > MAX_BANDS:
        raise PictureError(f"{shown}: {values.shape[2]} bands in {values.shape}: bands come last, at most {MAX_BANDS}")
    bands = np.asarray(values, dtype=np.float32) / np.float32(top)
    if not np.isfinite(bands).all():
        raise PictureError(f"{shown}: the picture has samples that are not numbers")
    if bands.min() < 0 or bands.max() > 1:
        raise PictureError(
            f"{shown}: samples from {bands.min():g} to {bands.max():g} are outside 0..1: scale them first"
        )
    first = np.rint(bands[:, :, :3] * 255).astype(np.uint8)
    image = Image.fromarray(first if first.shape[2] == 3 else first[:, :, 0])
    return Picture(image, printable(name), path, (f"{bands.shape[2]} bands of {values.dtype}",), bands)


def _read_tiff(path: Path) -> np.ndarray:
    try:
        import tifffile
    except ImportError as error:
        # Among other files it is one more that cannot be read.
        raise PictureError(f"{printable(path)}: {MissingExtraError('tifffile', 'tiff')}") from error

    def read() -> np.ndarray:
        with tifffile.TiffFile(path) as file:
            first = file.series[0]
            if first.size > 3 * MAX_PIXELS:
                raise PictureError(f"{first.shape} are more than {MAX_PIXELS:,} pixels of three bands")
            values: np.ndarray = first.asarray()
            # Planar files come with the bands in front.
            return values.transpose(1, 2, 0) if values.ndim == 3 and first.axes.endswith("YX") else values

    # What it would log about a damaged file is in the error.
    log = logging.getLogger("tifffile")
    before, log.disabled = log.disabled, True
    try:
        return _read(path, read, (tifffile.TiffFileError, zlib.error))
    finally:
        log.disabled = before


def _read(path: Path, reader: Callable[[], Any], further: tuple[type[Exception], ...] = ()) -> np.ndarray:
    try:
        values = reader()
    except FileNotFoundError as error:
        raise PictureError(f"{printable(path)}: no such file") from error
    except BROKEN + further as error:
        raise PictureError(f"{printable(path)}: cannot be read as an array ({printable(error)})") from error
    if not isinstance(values, np.ndarray):
        raise PictureError(f"{printable(path)}: holds {type(values).__name__} instead of an array")
    return values
