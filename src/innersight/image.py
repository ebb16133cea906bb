"""Picture: load, orient, crop, normalise, and back to source pixels."""

import hashlib
import io
import logging
import stat
import struct
import tokenize
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError
from torch import Tensor

from innersight.brief import brief
from innersight.errors import InnersightError, MissingExtraError, printable
from innersight.model import InputSpec

T = TypeVar("T")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif", ".npy")
MAX_PIXELS = 178_000_000  # just below what Pillow itself refuses
MAX_BANDS = 64
_FOREIGN = {"EPS"}  # Pillow reads these by starting another program
_PHOTOMETRIC, _SAMPLES, _EXTRA = 262, 277, 338  # tags of TIFF
_RGB = 2
_SAMPLES_OF = {_RGB: 3, 5: 4, 6: 3, 8: 3}  # RGB, CMYK, YCbCr and Lab; one sample in grey and palettes
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
    colour : whether `image` is the picture in its own colours or grey, which networks of 1 or 3 channels can take.
    network : of a picture given as the network's own input that input; `image` shows it then.
    label : what its source calls its class, a name or a number. folder : whether that is the name of a folder.
    """

    image: Image.Image
    name: str
    path: Path | None = None
    notes: tuple[str, ...] = field(default=())
    bands: np.ndarray | None = None
    colour: bool = True
    network: "NetworkInput | None" = None
    label: str | int | None = None
    folder: bool = False

    __repr__ = brief

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
        if spec.fit == "squash" or self.network is not None:
            return Box(0, 0, self.width, self.height)
        scale = min(self.width / spec.width, self.height / spec.height) * spec.crop
        w, h = spec.width * scale, spec.height * scale
        left, top = (self.width - w) / 2, (self.height - h) / 2
        return Box(left, top, left + w, top + h)

    def digest(self) -> str:
        """Return a digest of the name and the pixels."""
        digest = hashlib.sha256(f"{self.name} {self.image.size}".encode())
        digest.update(np.asarray(self.image if self.bands is None else self.bands).tobytes())
        if self.network is not None:
            digest.update(self.network.values.numpy().tobytes())
        return digest.hexdigest()[:16]

    def seen(self, spec: InputSpec) -> Image.Image:
        """Return what the network sees, for people: the box at the network's size, mode RGB or L.

        Of many bands those that `spec.shown` names as red, green and blue.
        """
        if self.network is not None:
            return self.image
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
        array = self.values(spec)
        if isinstance(array, Tensor):
            return array
        scaled = array.astype(np.float32) / 255.0 if array.dtype == np.uint8 else array
        pixels = torch.from_numpy(scaled).permute(2, 0, 1)
        return spec.normalise(pixels.unsqueeze(0)).squeeze(0).contiguous()

    def values(self, spec: InputSpec) -> np.ndarray | Tensor:
        """Return what the network sees, (H, W, C): uint8 in 0..255, or float32 in 0..1 of a picture with other bands.

        Of a picture given as the network's input that input, (C, H, W), as a Tensor. Raises PictureError for a picture
        with another number of bands than the network takes.
        """
        if self.network is not None:
            return self.network.fed_to(spec, self.name)
        array = np.asarray(self.seen(spec)) if self._colour(spec) else self._bands(spec)
        return array.reshape(spec.height, spec.width, spec.channels)

    def checked(self, spec: InputSpec) -> "Picture":
        """Return this picture. Raises PictureError where it has another number of bands than the network takes."""
        if self.network is not None:
            self.network.fed_to(spec, self.name)
        else:
            self._colour(spec)
        return self

    def _colour(self, spec: InputSpec) -> bool:
        """Say whether the network is fed the 8-bit picture rather than the bands."""
        bands = 0 if self.bands is None else self.bands.shape[2]
        if bands == spec.channels:
            return False
        if spec.channels in (1, 3) and self.colour:
            return True
        has = bands or len(self.image.getbands())
        where = printable(self.path or self.name)
        raise PictureError(
            f"{where}: the network takes {spec.channels} channels but the picture has {has}; "
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


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """What a network is fed, made by somebody else. values : (C, H, W) float32. spec : the network's input contract."""

    values: Tensor
    spec: InputSpec

    __repr__ = brief

    def picture(self, name: str) -> Picture:
        """Return it as a Picture, which shows what the mean and std of the network make of it."""
        pixels = self.spec.denormalise(self.values[None])[0].clamp(0, 1).permute(1, 2, 0).numpy()
        image = _painted(pixels, self.spec)
        return Picture(image if self.spec.channels >= 3 else image.convert("L"), name, network=self)

    def fed_to(self, spec: InputSpec, name: str) -> Float[Tensor, "C H W"]:
        """Return it for a network of this or another mean and std. Raises PictureError for another shape."""
        if tuple(self.values.shape) != spec.shape:
            raise PictureError(f"{name}: a Tensor of {tuple(self.values.shape)} where the network takes {spec.shape}")
        if (spec.mean, spec.std) == (self.spec.mean, self.spec.std):
            return self.values
        return spec.normalise(self.spec.denormalise(self.values[None]))[0]


def load_picture(path: str | Path, *, background: str = "white") -> Picture:
    """Read a picture file as upright 8-bit RGB (or L for greyscale), or the bands of a `.npy` or multi-band TIFF.

    Honours EXIF orientation, palettes, transparency (laid on `background`, any PIL colour), CMYK, 16-bit
    and float samples, and takes the first frame of an animation. `.npy` holds (H, W) or (H, W, C) uint8, uint16 or
    floats in 0..1. Raises PictureError for a file that is missing, empty, truncated, not a picture, or of more than 178
    million pixels, for folders, pipes and devices, for an unknown colour, and for a multi-band TIFF without the extra
    `tiff`.
    """
    path = Path(path)
    shown = printable(path)
    try:
        ImageColor.getrgb(background)
    except ValueError as error:
        raise PictureError(f"background={background!r} is no colour: write a name, or #rrggbb") from error
    _refuse_special(path)
    if path.suffix.lower() == ".npy":
        # Not np.load, which opens archives and pickles too.
        values: np.ndarray = _read(path, lambda: np.lib.format.open_memmap(path, mode="r"), (tokenize.TokenError,))
        return _from_array(values, path.name, path)
    return _decoded(path, shown, printable(path.name), path, background, lambda: _read_tiff(path))


def decode_picture(data: bytes, name: str) -> Picture:
    """Read the bytes of a picture file, as `load_picture` reads the file; `name` ends like it (`.png`, `.npy`).

    Raises PictureError too for a TIFF with more bands than colours: that has to be a file.
    """
    shown = printable(name)
    if not data:
        raise PictureError(f"{shown}: the file is empty")
    if name.lower().endswith(".npy"):
        try:
            values = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        except (*BROKEN, tokenize.TokenError) as error:
            raise PictureError(f"{shown}: cannot be read as an array ({printable(error)})") from error
        return _from_array(values, name, None)

    def banded() -> Picture:
        raise PictureError(f"{shown}: a TIFF of many bands has to be a file of its own")

    return _decoded(io.BytesIO(data), shown, shown, None, "white", banded)


def _decoded(
    file: Path | io.BytesIO, shown: str, name: str, path: Path | None, background: str, banded: Callable[[], Picture]
) -> Picture:
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(file, formats=[name for name in Image.OPEN if name not in _FOREIGN]) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise PictureError(f"{shown}: {opened.width}x{opened.height} pixels are more than {MAX_PIXELS:,}")
                many, rgb = _layout(opened)
                lost: tuple[str, ...] = ()
                if many:
                    try:
                        return banded()
                    except PictureError as error:
                        if not rgb:
                            raise
                        lost = (f"only the colours were read, not the further bands: {error}",)
                frames = getattr(opened, "n_frames", 1)
                opened.load()
                ImageOps.exif_transpose(opened, in_place=True)
                image, notes = _eight_bit(opened, shown, background, frames)
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        if shown.lower().endswith((".tif", ".tiff")):
            return banded()
        raise PictureError(f"{shown}: not a picture in a format known here ({', '.join(SUFFIXES)})") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{shown}: more than {MAX_PIXELS:,} pixels") from error
    except BROKEN as error:
        raise PictureError(f"{shown}: cannot be read as a picture ({printable(error)})") from error
    return Picture(image, name, path, notes + lost)


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
    try:
        image, notes = _eight_bit(source, printable(name))
    except (OSError, SyntaxError, EOFError, struct.error) as error:  # of a file that is decoded only now
        raise PictureError(f"{printable(name)}: cannot be read as a picture ({printable(error)})") from error
    return Picture(image, printable(name), None, notes)


def stack(pictures: Sequence[Picture], spec: InputSpec) -> Float[Tensor, "B C H W"]:
    """Return the pictures as one batch of network input."""
    return torch.stack([picture.tensor(spec) for picture in pictures])


def _eight_bit(
    image: Image.Image, shown: str, background: str = "white", frames: int = 1
) -> tuple[Image.Image, tuple[str, ...]]:
    given = image
    notes: list[str] = [f"first of {frames} frames"] if frames > 1 else []
    if image.mode.startswith("I") or image.mode == "F":
        image = _from_wide(np.asarray(image), shown)
        notes.append("reduced to 8 bits")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", layer.size, background)
        image.paste(layer, mask=layer)
        notes.append(f"transparent parts laid on {background}")
    if image.mode == "1":
        image = image.convert("L")
    if image.mode not in ("RGB", "L"):
        notes.append(f"converted from {image.mode}")
        image = image.convert("RGB")
    # A plain picture of our own: no file handle, palette or metadata travels on, and the caller's stays as it is.
    plain = image.copy() if image is given else image
    plain.info = {}
    return plain, tuple(notes)


def _painted(bands: np.ndarray, spec: InputSpec) -> Image.Image:
    return Image.fromarray(np.rint(bands[:, :, list(spec.shown)].clip(0, 1) * 255).astype(np.uint8))


def _from_wide(values: np.ndarray, shown: str) -> Image.Image:
    """Reduce integer samples of up to 16 bits, or floats in 0..1, to 8 bits."""
    top = 1.0 if np.issubdtype(values.dtype, np.floating) else 65535.0
    _check_range(values, top, shown)
    return Image.fromarray(_bytes(values, 255.0 / top))


def _bytes(values: np.ndarray, factor: float) -> np.ndarray:
    scaled = np.multiply(values, factor, dtype=np.float32, casting="unsafe")
    np.rint(scaled, out=scaled)
    whole: np.ndarray = scaled.astype(np.uint8)
    return whole


def _check_range(values: np.ndarray, top: float, shown: str) -> None:
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PictureError(f"{shown}: the picture has samples that are not numbers")
    if low < 0 or high > top:
        raise PictureError(f"{shown}: samples from {low:g} to {high:g} are outside 0..{top:g}: scale them first")


def _from_array(values: np.ndarray, name: str, path: Path | None, *, rgb: bool = False) -> Picture:
    """Return the picture of an array (H, W) or (H, W, C); raises PictureError naming dtype, shape or values."""
    shown = printable(path or name)
    if values.ndim == 2:
        values = values[:, :, None]
    kinds = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
    stored = values.dtype.newbyteorder("=")
    top = kinds.get(stored, 1.0)
    if values.ndim != 3 or not values.size or not (stored in kinds or np.issubdtype(stored, np.floating)):
        raise PictureError(
            f"{shown}: array of {values.dtype} {values.shape} is not a picture: "
            "give (H, W) or (H, W, C) of uint8, uint16 or floats in 0..1"
        )
    if values.shape[0] * values.shape[1] > MAX_PIXELS or values.size > 3 * MAX_PIXELS:
        raise PictureError(f"{shown}: {values.shape} are more than {MAX_PIXELS:,} pixels of three bands")
    if values.shape[2] > MAX_BANDS:
        raise PictureError(f"{shown}: {values.shape[2]} bands in {values.shape}: bands come last, at most {MAX_BANDS}")
    _check_range(values, top, shown)
    bands = np.multiply(values, 1 / top, dtype=np.float32, casting="unsafe")
    count = bands.shape[2]
    first = [_bytes(bands[:, :, band], 255.0) for band in range(3 if count >= 3 else 1)]
    image = Image.fromarray(np.dstack(first) if count >= 3 else first[0])
    return Picture(image, printable(name), path, (f"{count} bands of {stored}",), bands, rgb or count in (1, 3))


def _refuse_special(path: Path) -> None:
    """Raise PictureError for what is no file: to open a pipe would wait for ever, and a device may have no end."""
    shown = printable(path)
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise PictureError(f"{shown}: no such file") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise PictureError(f"{shown}: cannot be opened ({printable(error)})") from error
    if stat.S_ISDIR(found.st_mode):
        raise PictureError(f"{shown}: a folder without picture files ({', '.join(SUFFIXES)}), or one closed to you")
    if not stat.S_ISREG(found.st_mode):
        raise PictureError(f"{shown}: a pipe, socket or device and not a picture file")
    if not found.st_size:
        raise PictureError(f"{shown}: the file is empty")


def _layout(opened: Image.Image) -> tuple[bool, bool]:
    """Say whether it is a TIFF with more samples than its colours and stated transparency, and whether it is RGB."""
    tags: Any = getattr(opened, "tag_v2", {}) if opened.format == "TIFF" else {}
    samples = tags.get(_SAMPLES, 1)
    extra = samples - _SAMPLES_OF.get(tags.get(_PHOTOMETRIC), 1)
    alpha = extra == 1 and tuple(tags.get(_EXTRA, ()))[:1] in ((1,), (2,))
    return extra > 0 and not alpha, tags.get(_PHOTOMETRIC) == _RGB


def _read_tiff(path: Path) -> Picture:
    try:
        import tifffile
    except ImportError as error:
        # Among other files it is one more that cannot be read.
        raise PictureError(f"{printable(path)}: {MissingExtraError('tifffile', 'tiff')}") from error

    def read() -> tuple[np.ndarray, bool]:
        with tifffile.TiffFile(path) as file:
            first = file.series[0]
            if first.size > 3 * MAX_PIXELS or first.nbytes > 12 * MAX_PIXELS:
                raise PictureError(f"{first.shape} are more than {MAX_PIXELS:,} pixels of three bands")
            values: np.ndarray = first.asarray()
            # Planar files come with the bands in front.
            planar = values.ndim == 3 and first.axes.endswith("YX")
            return values.transpose(1, 2, 0) if planar else values, first.keyframe.photometric == _RGB

    # What it would log about a damaged file is in the error.
    log = logging.getLogger("tifffile")
    before, log.disabled = log.disabled, True
    try:
        values, rgb = _read(path, read, (tifffile.TiffFileError, zlib.error))
    finally:
        log.disabled = before
    return _from_array(values, path.name, path, rgb=rgb)


def _read(path: Path, reader: Callable[[], T], further: tuple[type[Exception], ...] = ()) -> T:
    try:
        return reader()
    except BROKEN + further as error:
        raise PictureError(f"{printable(path)}: cannot be read as an array ({printable(error)})") from error
