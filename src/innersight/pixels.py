"""Pixels: files, PIL images and arrays of every kind as upright 8-bit images, with what was changed, and as bands."""

import io
import logging
import struct
import threading
import tokenize
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image as PILImage
from PIL import ImageColor, ImageOps, UnidentifiedImageError

from innersight.errors import InnersightError, MissingExtraError, printable

T = TypeVar("T")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif", ".npy")
MAX_PIXELS = 178_000_000  # just below what Pillow itself refuses
MAX_BANDS = 64
_FOREIGN = {"EPS"}  # Pillow reads these by starting another program
_PHOTOMETRIC, _SAMPLES, _EXTRA, _ORIENTATION = 262, 277, 338, 274  # tags of TIFF
_RGB = 2
_SAMPLES_OF = {_RGB: 3, 5: 4, 6: 3, 8: 3}  # RGB, CMYK, YCbCr and Lab; one sample in grey and palettes
_PREMULTIPLIED, _STRAIGHT = 1, 2  # what _EXTRA says of a sample that is transparency
_HEIC = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1")
# What Pillow and numpy throw at damaged files.
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, AttributeError, MemoryError,
    RuntimeError, struct.error,
)  # fmt: skip


class ImageError(InnersightError):
    """Raised for a file that cannot be read as an image; names the file and the reason."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """An image, decoded. image : of 8 bits, mode RGB or L, upright. notes, bands, colour : see `Image`."""

    image: PILImage.Image
    notes: tuple[str, ...] = ()
    bands: np.ndarray | None = None
    colour: bool = True


def decode(file: Path | io.BytesIO, shown: str, background: str) -> Decoded:
    """Read an image file. shown : its name, in sentences. Raises ImageError."""
    PILImage.init()
    try:
        with ExitStack() as stack:
            stack.enter_context(_quiet())
            # Given a name, Pillow 12 maps uncompressed TIFF into memory, and mixes up the rows where it is turned.
            stream = stack.enter_context(file.open("rb")) if isinstance(file, Path) else file
            known = [name for name in PILImage.OPEN if name not in _FOREIGN]
            return _opened(stack.enter_context(PILImage.open(stream, formats=known)), file, shown, background)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        if shown.lower().endswith((".tif", ".tiff")):
            return _tiff(file, shown, background)
        raise ImageError(f"{shown}: {_unknown(file)}") from error
    except PILImage.DecompressionBombError as error:
        raise ImageError(f"{shown}: more than {MAX_PIXELS:,} pixels") from error
    except BROKEN as error:
        raise ImageError(f"{shown}: cannot be read as an image ({printable(error)})") from error


def _opened(opened: PILImage.Image, file: Path | io.BytesIO, shown: str, background: str) -> Decoded:
    if opened.width * opened.height > MAX_PIXELS:
        raise ImageError(f"{shown}: {opened.width}x{opened.height} pixels are more than {MAX_PIXELS:,}")
    many, rgb = _layout(opened)
    lost: tuple[str, ...] = ()
    if many:
        try:
            return _tiff(file, shown, background)
        except ImageError as error:
            if not rgb:
                raise
            lost = (f"only the colours were read, not the further bands: {error}",)
    frames = getattr(opened, "n_frames", 1)
    hidden = _hidden(opened)
    opened.load()
    if hidden is not None:
        opened.info["transparency"] = hidden
    ImageOps.exif_transpose(opened, in_place=True)
    image, notes = eight_bit(opened, shown, background, frames)
    return Decoded(image, (*notes, *_profile(opened), *lost))


def _unknown(file: Path | io.BytesIO) -> str:
    try:
        if isinstance(file, Path):
            with file.open("rb") as opened:
                head = opened.read(12)
        else:
            head = file.getvalue()[:12]
    except OSError:
        head = b""
    if head[4:8] == b"ftyp" and head[8:] in _HEIC:
        return "HEIC is not supported: save it as JPEG or PNG"
    return f"not an image in a supported format ({', '.join(SUFFIXES)})"


_lock = threading.Lock()
_quieted: list[Any] = []


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow from warning of what it tolerates; only Pillow, and undone when the last thread is through.

    `warnings.catch_warnings` alone would leave its filters behind where two threads overlap.
    """
    with _lock:
        if not _quieted:
            saved = warnings.catch_warnings()
            saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\b")
            _quieted.append(saved)
        _quieted.append(None)
    try:
        yield
    finally:
        with _lock:
            _quieted.pop()
            if len(_quieted) == 1:
                _quieted.pop().__exit__(None, None, None)


def _hidden(opened: PILImage.Image) -> Any:
    """Return which value of a PNG's pixels is transparent, in 8 bits as Pillow brings the pixels; None for none.

    Pillow leaves it as the file has it, in the pixels' own depth.
    """
    hidden = opened.info.get("transparency")
    tiles: Any = getattr(opened, "tile", None)
    if opened.format != "PNG" or not tiles or isinstance(hidden, bytes) or hidden is None:
        return None
    mode = str(tiles[0].args)
    if isinstance(hidden, tuple) and "16B" in mode:
        return tuple(value >> 8 for value in hidden)
    depth = {"L;2": 3, "L;4": 15}.get(mode)
    return hidden * 255 // depth if depth and isinstance(hidden, int) else None


def _profile(opened: PILImage.Image) -> tuple[str, ...]:
    """Return a note for a colour profile other than sRGB: networks were trained without applying any."""
    data = opened.info.get("icc_profile")
    if not data:
        return ()
    try:
        from PIL import ImageCms

        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(data))).strip()
    except (ImportError, *BROKEN):
        name = "of unknown kind"
    plain = "srgb" in name.lower() or "gr" in name.lower()[:4]
    return () if plain else (f"its colour profile ({printable(name)}) was not applied",)


def eight_bit(
    image: PILImage.Image, shown: str, background: str = "white", frames: int = 1
) -> tuple[PILImage.Image, tuple[str, ...]]:
    """Return an image of 8 bits, mode RGB or L, and what was changed."""
    if not all(image.size):
        raise ImageError(f"{shown}: an image of {image.width}x{image.height} pixels shows nothing")
    given = image
    notes: list[str] = [f"first of {frames} frames"] if frames > 1 else []
    if image.mode.startswith("I") or image.mode == "F":
        values, hidden = np.asarray(image), image.info.get("transparency")
        image = _from_wide(values, shown)
        if isinstance(hidden, int):
            alpha = PILImage.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8))
            image = PILImage.merge("LA", (image, alpha))
        notes.append("reduced to 8 bits")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        straight = image.convert("LA") if image.mode == "La" else image
        layer = straight if straight.mode == "RGBA" else straight.convert("RGBA")
        image = PILImage.new("RGB", layer.size, background)
        image.paste(layer, mask=layer)
        notes.append(f"transparent parts laid on {background}")
    if image.mode == "1":
        image = image.convert("L")
    if image.mode not in ("RGB", "L"):
        notes.append(f"converted from {image.mode}")
        image = image.convert("RGB")
    # A plain image of our own: no file handle, palette or metadata travels on, and the caller's stays as it is.
    plain = image.copy() if image is given else image
    plain.info = {}
    return plain, tuple(notes)


def painted(bands: np.ndarray, shown: Sequence[int]) -> PILImage.Image:
    """Return three of the bands (H, W, C) in 0..1 as an image."""
    return PILImage.fromarray(np.rint(bands[:, :, list(shown)].clip(0, 1) * 255).astype(np.uint8))


def _from_wide(values: np.ndarray, shown: str) -> PILImage.Image:
    """Reduce integer samples of up to 16 bits, or floats in 0..1, to 8 bits."""
    top = 1.0 if np.issubdtype(values.dtype, np.floating) else 65535.0
    _check_range(values, top, shown)
    return PILImage.fromarray(_bytes(values, 255.0 / top))


def _bytes(values: np.ndarray, factor: float) -> np.ndarray:
    scaled = np.multiply(values, factor, dtype=np.float32, casting="unsafe")
    np.rint(scaled, out=scaled)
    whole: np.ndarray = scaled.astype(np.uint8)
    return whole


def _check_range(values: np.ndarray, top: float, shown: str) -> None:
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"{shown}: the image holds NaN or infinite values")
    if low < 0 or high > top:
        raise ImageError(f"{shown}: samples from {low:g} to {high:g} are outside 0..{top:g}: rescale them")


def from_array(values: np.ndarray, shown: str, *, rgb: bool = False) -> Decoded:
    """Return the image of an array (H, W) or (H, W, C); raises ImageError naming dtype, shape or values."""
    if values.ndim == 2:
        values = values[:, :, None]
    kinds = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
    stored = values.dtype.newbyteorder("=")
    top = kinds.get(stored, 1.0)
    if values.ndim != 3 or not values.size or not (stored in kinds or np.issubdtype(stored, np.floating)):
        raise ImageError(
            f"{shown}: array of {values.dtype} {values.shape} is not an image: "
            "give (H, W) or (H, W, C) of uint8, uint16 or floats in 0..1, bands last"
        )
    if values.shape[0] * values.shape[1] > MAX_PIXELS or values.size > 3 * MAX_PIXELS:
        raise ImageError(f"{shown}: {values.shape} are more than {MAX_PIXELS:,} pixels of three bands")
    if values.shape[2] > MAX_BANDS:
        raise ImageError(f"{shown}: {values.shape[2]} bands in {values.shape}: bands come last, at most {MAX_BANDS}")
    _check_range(values, top, shown)
    bands = np.multiply(values, 1 / top, dtype=np.float32, casting="unsafe")
    count = bands.shape[2]
    first = [_bytes(bands[:, :, band], 255.0) for band in range(3 if count >= 3 else 1)]
    image = PILImage.fromarray(np.dstack(first) if count >= 3 else first[0])
    return Decoded(image, (f"{count} bands of {stored}",), bands, rgb or count in (1, 3))


def read_npy(file: Path | bytes, shown: str) -> Decoded:
    """Read a `.npy` file or its bytes; not by `np.load`, which opens archives and pickles too. Raises ImageError."""

    def read() -> np.ndarray:
        if isinstance(file, Path):
            mapped: np.ndarray = np.lib.format.open_memmap(file, mode="r")
            return mapped
        return np.lib.format.read_array(io.BytesIO(file), allow_pickle=False)

    return from_array(_read(shown, read, (tokenize.TokenError,)), shown)


def _layout(opened: PILImage.Image) -> tuple[bool, bool]:
    """Say whether it is a TIFF with more samples than its colours and stated transparency, and whether it is RGB."""
    tags: Any = getattr(opened, "tag_v2", {}) if opened.format == "TIFF" else {}
    samples = tags.get(_SAMPLES, 1)
    extra = samples - _SAMPLES_OF.get(tags.get(_PHOTOMETRIC), 1)
    alpha = extra == 1 and tuple(tags.get(_EXTRA, ()))[:1] in ((_PREMULTIPLIED,), (_STRAIGHT,))
    return extra > 0 and not alpha, tags.get(_PHOTOMETRIC) == _RGB


@dataclass(frozen=True, eq=False)
class _Tiff:
    """What a TIFF holds. values : (H, W, C). extra : what it says of the samples beyond its colours."""

    values: np.ndarray
    rgb: bool
    extra: tuple[int, ...]


def _tiff(file: Path | io.BytesIO, shown: str, background: str) -> Decoded:
    """Read a TIFF whose bands or types Pillow does not know."""
    if not isinstance(file, Path):
        raise ImageError(f"{shown}: a TIFF of many bands has to be a file of its own")
    found = _tiff_values(file, shown)
    plain = from_array(found.values, shown, rgb=found.rgb)
    colours = 3 if found.rgb else 1
    if found.values.ndim != 3 or found.values.shape[2] != colours + 1 or plain.bands is None:
        return plain
    stated = found.extra[0] if found.extra else None
    if stated in (_PREMULTIPLIED, _STRAIGHT) or (stated is None and found.rgb):
        # Where nothing is stated Pillow takes the fourth sample for transparency too.
        over = _laid_on(plain.bands, background, premultiplied=stated == _PREMULTIPLIED)
        image = PILImage.fromarray(_bytes(over, 255.0))
        bands = plain.bands if stated is None else over
        return Decoded(image, (*plain.notes, f"transparent parts laid on {background}"), bands)
    if found.rgb:
        return Decoded(plain.image, (*plain.notes, "the fourth is not stated to be transparency"), plain.bands, True)
    return plain


def _laid_on(bands: np.ndarray, background: str, *, premultiplied: bool) -> np.ndarray:
    """Return bands (H, W, 2) or (H, W, 4) in 0..1, the last one opacity, over a colour, (H, W, 3)."""
    colours, opacity = bands[:, :, :-1], bands[:, :, -1:]
    behind = np.array(ImageColor.getrgb(background)[:3], np.float32) / 255
    over: np.ndarray = (colours if premultiplied else colours * opacity) + behind * (1 - opacity)
    return over.clip(0, 1)


def _tiff_values(path: Path, shown: str) -> _Tiff:
    try:
        import tifffile
    except ImportError as error:
        # Among other files it is one more that cannot be read.
        raise ImageError(f"{shown}: {MissingExtraError('tifffile', 'tiff')}") from error

    def read() -> _Tiff:
        with tifffile.TiffFile(path) as file:
            first = file.series[0]
            if first.size > 3 * MAX_PIXELS or first.nbytes > 12 * MAX_PIXELS:
                raise ImageError(f"{first.shape} are more than {MAX_PIXELS:,} pixels of three bands")
            values: np.ndarray = first.asarray()
            # Planar files come with the bands in front.
            planar = values.ndim == 3 and first.axes.endswith("YX")
            page = first.keyframe
            turned = page.tags[_ORIENTATION].value if _ORIENTATION in page.tags else 1
            upright = _upright(values.transpose(1, 2, 0) if planar else values, int(turned))
            extra = tuple(map(int, page.extrasamples or ())) if _EXTRA in page.tags else ()
            return _Tiff(upright, page.photometric == _RGB, extra)

    # What it would log about a damaged file is in the error.
    log = logging.getLogger("tifffile")
    before, log.disabled = log.disabled, True
    try:
        return _read(shown, read, (tifffile.TiffFileError, zlib.error))
    finally:
        log.disabled = before


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror rows and columns as the orientation 1 to 8 of TIFF and EXIF asks for."""
    if values.ndim < 2 or not 1 < orientation < 9:
        return values
    if orientation > 4:
        values = values.swapaxes(0, 1)
    # After the swap: which of the two axes run backwards.
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}[orientation]
    return values[::rows, ::columns]


def _read(shown: str, reader: Callable[[], T], further: tuple[type[Exception], ...] = ()) -> T:
    try:
        return reader()
    except BROKEN + further as error:
        raise ImageError(f"{shown}: cannot be read as an array ({printable(error)})") from error
