"""Picture: load, orient, crop, normalise, and back to source pixels."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from innersight.errors import InnersightError
from innersight.model import InputSpec

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif")
MAX_PIXELS = 178_000_000  # just below what Pillow itself refuses


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
    """An upright 8-bit picture with its origin.

    image : PIL image, mode RGB or L.
    name : unique among the pictures of one call only if the caller's files are.
    notes : what loading changed, for people ("transparent parts laid on white").
    """

    image: Image.Image
    name: str
    path: Path | None = None
    notes: tuple[str, ...] = field(default=())

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
        """Return what the network sees: the box at the network's size, mode RGB or L."""
        if spec.channels not in (1, 3):
            raise InnersightError(
                f"the network takes {spec.channels} channels but {self.name} is a picture: it has 1 or 3"
            )
        image = self.image.convert("L" if spec.channels == 1 else "RGB")
        box = self.box(spec)
        return image.resize(
            (spec.width, spec.height),
            resample=Image.Resampling[spec.resample.upper()],
            box=(max(0.0, box.left), max(0.0, box.top), min(self.width, box.right), min(self.height, box.bottom)),
        )

    def tensor(self, spec: InputSpec) -> Float[Tensor, "C H W"]:
        """Return the network's input: float32, `(pixel in 0..1 - mean) / std`."""
        array = np.array(self.seen(spec), dtype=np.float32) / 255.0
        pixels = torch.from_numpy(array.reshape(spec.height, spec.width, spec.channels)).permute(2, 0, 1)
        return spec.normalise(pixels.unsqueeze(0)).squeeze(0).contiguous()


def load_picture(path: str | Path, *, background: str = "white") -> Picture:
    """Read a picture file as upright 8-bit RGB (or L for greyscale).

    Honours EXIF orientation, palettes, transparency (laid on `background`, any PIL colour), CMYK, 16-bit
    and float samples, and takes the first frame of an animation. Raises PictureError for a file that is missing,
    empty, truncated, not a picture, or of more than 178 million pixels.
    """
    path = Path(path)
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
        raise PictureError(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{path}: not a picture in a format known here ({', '.join(SUFFIXES)})") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path}: more than {MAX_PIXELS:,} pixels") from error
    except (OSError, SyntaxError, ValueError, TypeError, EOFError) as error:
        if isinstance(error, PictureError):
            raise PictureError(f"{path}: {error}") from error
        raise PictureError(f"{path}: cannot be read as a picture ({error})") from error
    return Picture(image, path.name, path, notes)


def as_picture(source: "str | Path | Image.Image | np.ndarray | Picture", *, name: str = "picture") -> Picture:
    """Return `source` as a Picture: a path, a PIL image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4)."""
    if isinstance(source, Picture):
        return source
    if isinstance(source, str | Path):
        return load_picture(source)
    if isinstance(source, np.ndarray):
        if (
            source.dtype != np.uint8
            or source.ndim not in (2, 3)
            or (source.ndim == 3 and source.shape[2] not in (3, 4))
        ):
            raise PictureError(
                f"array of {source.dtype} {source.shape} is not a picture: give uint8 (H, W), (H, W, 3) or (H, W, 4)"
            )
        source = Image.fromarray(source)
    image, notes = _eight_bit(source, "white")
    return Picture(image, name, None, notes)


def load_pictures(paths: Iterable[str | Path]) -> tuple[list[Picture], list[str]]:
    """Load every file that can be read; return the pictures and one sentence for each file that could not.

    Folders stand for all picture files below them. Raises PictureError when nothing at all could be read.
    """
    pictures, skipped = [], []
    for path in find_pictures(paths):
        try:
            pictures.append(load_picture(path))
        except PictureError as error:
            skipped.append(str(error))
    if not pictures:
        raise PictureError(skipped[0] if skipped else "no pictures given")
    return pictures, skipped


def find_pictures(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the files named, and for each folder the picture files below it in sorted order."""
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        found = False
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                found = True
                yield file
        if not found:
            raise PictureError(f"{path}: no picture files below this folder ({', '.join(SUFFIXES)})")


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
    # A plain copy: no file handle, palette or metadata travels on.
    return Image.frombytes(image.mode, image.size, image.tobytes()), tuple(notes)


def _from_wide(values: np.ndarray) -> Image.Image:
    """Reduce integer samples of up to 16 bits, or floats in 0..1, to 8 bits."""
    wide = np.asarray(values, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise PictureError("the picture has samples that are not numbers")
    top = 1.0 if np.issubdtype(values.dtype, np.floating) else 65535.0
    if wide.min() < 0 or wide.max() > top:
        raise PictureError(f"samples from {wide.min():g} to {wide.max():g} are outside 0..{top:g}")
    return Image.fromarray(np.rint(wide * (255.0 / top)).astype(np.uint8))
