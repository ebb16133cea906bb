"""Image: load, orient, crop, normalise, and back to source pixels."""

import hashlib
import io
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PILImage
from PIL import ImageColor
from torch import Tensor

from innersight.boxes import PixelBox
from innersight.brief import brief
from innersight.errors import printable
from innersight.input_spec import InputSpec
from innersight.pixels import BROKEN as BROKEN
from innersight.pixels import MAX_PIXELS as MAX_PIXELS
from innersight.pixels import SUFFIXES as SUFFIXES
from innersight.pixels import Decoded, decode, eight_bit, from_array, painted, read_npy
from innersight.pixels import ImageError as ImageError


@dataclass(frozen=True, eq=False)
class Image:
    """An image, upright, with where it comes from, as `innersight.load_image` reads it.

    Attributes
    ----------
    pil : PIL.Image.Image
        8-bit, mode RGB or L. Of an image with other bands its first three, or its first.
    name : str
        For people; printable, and as unique as the caller's files.
    path : pathlib.Path or None
        Of its file.
    notes : tuple of str
        What loading changed, such as "transparent parts laid on white".
    bands : numpy.ndarray or None
        (H, W, C) float32 in 0..1, of an image that is more than 8-bit colour or grey.
    colour : bool
        Whether `pil` shows the image's own colours or grey, which networks of 1 or 3 channels take.
    network : NetworkInput or None
        The network's input, of an image that was given as such; `pil` displays it.
    label : str, int or None
        Name or number of its class, as its source states it.
    folder : bool
        Whether `label` is the name of a folder.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.image import as_image
    >>> from innersight.toons import draw
    >>> image = as_image(draw("ambra", seed=0).pixels, name="ambra")
    >>> image.width, image.height, image.tensor(ins.load("toon").input).shape
    (96, 96, torch.Size([3, 96, 96]))

    """

    pil: PILImage.Image
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
        return self.pil.width

    @property
    def height(self) -> int:
        """Height in pixels, after orientation."""
        return self.pil.height

    def box(self, spec: InputSpec) -> PixelBox:
        """Return the part of the image that the network receives.

        Parameters
        ----------
        spec
            The network's input contract.

        Returns
        -------
        PixelBox
            In pixels of the image. An activation map with grid (h, w), stretched over this box, lies on the image:
            cell (y, x) begins at `left + x * box.width / w`.

        """
        if spec.fit == "squash" or self.network is not None:
            return PixelBox(0, 0, self.width, self.height)
        scale = min(self.width / spec.width, self.height / spec.height) * spec.crop
        w, h = spec.width * scale, spec.height * scale
        left, top = (self.width - w) / 2, (self.height - h) / 2
        return PixelBox(left, top, left + w, top + h)

    def digest(self) -> str:
        """Return a digest of the name and the pixels: 16 hexadecimal digits."""
        digest = hashlib.sha256(f"{self.name} {self.pil.size}".encode())
        digest.update(np.asarray(self.pil if self.bands is None else self.bands).tobytes())
        if self.network is not None:
            digest.update(self.network.values.numpy().tobytes())
        return digest.hexdigest()[:16]

    def seen(self, spec: InputSpec) -> PILImage.Image:
        """Return what the network receives, as an image for people.

        Parameters
        ----------
        spec
            The network's input contract; of many bands `spec.shown` are displayed.

        Returns
        -------
        PIL.Image.Image
            The `box`, at the size of the network's input, mode RGB or L.

        """
        if self.network is not None:
            return self.pil
        if self._colour(spec):
            return self._fitted(self.pil.convert("L" if spec.channels == 1 else "RGB"), spec)
        return painted(self._bands(spec), spec.shown)

    def display(self, spec: InputSpec) -> PILImage.Image:
        """Return the whole image for people.

        Parameters
        ----------
        spec
            The network's input contract; of many bands `spec.shown` are displayed.

        Returns
        -------
        PIL.Image.Image
            At its own size, mode RGB or L.

        """
        if self.bands is None or self.bands.shape[2] != spec.channels:
            return self.pil
        return painted(self.bands, spec.shown)

    def tensor(self, spec: InputSpec) -> Float[Tensor, "C H W"]:
        """Return the image as network input.

        Parameters
        ----------
        spec
            The network's input contract.

        Returns
        -------
        torch.Tensor
            (C, H, W) float32: `(pixel - mean) / std` of pixels in 0..1.

        Raises
        ------
        ImageError
            Where the image has another number of bands than the network takes.

        """
        array = self.values(spec)
        if isinstance(array, Tensor):
            return array
        scaled = array.astype(np.float32) / 255.0 if array.dtype == np.uint8 else array
        pixels = torch.from_numpy(scaled).permute(2, 0, 1)
        return spec.normalise(pixels.unsqueeze(0)).squeeze(0).contiguous()

    def values(self, spec: InputSpec) -> np.ndarray | Tensor:
        """Return what the network sees.

        Parameters
        ----------
        spec
            The network's input contract.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            (H, W, C): uint8 in 0..255, or float32 in 0..1 of an image with other bands. Of an image given as the
            network's input that input, (C, H, W), as a Tensor.

        Raises
        ------
        ImageError
            For an image with another number of bands than the network takes.

        """
        if self.network is not None:
            return self.network.fed_to(spec, self.name)
        array = np.asarray(self.seen(spec)) if self._colour(spec) else self._bands(spec)
        return array.reshape(spec.height, spec.width, spec.channels)

    def checked(self, spec: InputSpec) -> "Image":
        """Return this image where the network takes it.

        Parameters
        ----------
        spec
            The network's input contract.

        Raises
        ------
        ImageError
            Where it has another number of bands than the network takes.

        """
        if self.network is not None:
            self.network.fed_to(spec, self.name)
        else:
            self._colour(spec)
        return self

    def _colour(self, spec: InputSpec) -> bool:
        """Say whether the network is fed the 8-bit image rather than the bands."""
        bands = 0 if self.bands is None else self.bands.shape[2]
        if bands == spec.channels:
            return False
        if spec.channels in (1, 3) and self.colour:
            return True
        has = bands or len(self.pil.getbands())
        where = printable(self.path or self.name)
        remedy = "give .npy, a multi-band TIFF or an array with as many bands"
        if self.bands is not None and self.path is None and self.bands.shape[0] == spec.channels:
            remedy = "its first axis has that many: put the bands last with np.moveaxis(array, 0, -1)"
        raise ImageError(f"{where}: the network takes {spec.channels} channels but the image has {has}; {remedy}")

    def _bands(self, spec: InputSpec) -> np.ndarray:
        assert self.bands is not None
        parts = (PILImage.fromarray(np.ascontiguousarray(band)) for band in self.bands.transpose(2, 0, 1))
        return np.stack([np.asarray(self._fitted(part, spec)) for part in parts], 2)

    def _fitted(self, image: PILImage.Image, spec: InputSpec) -> PILImage.Image:
        box = self.box(spec)
        return image.resize(
            (spec.width, spec.height),
            resample=PILImage.Resampling[spec.resample.upper()],
            box=(max(0.0, box.left), max(0.0, box.top), min(self.width, box.right), min(self.height, box.bottom)),
        )


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """What a network is fed, made by somebody else. values : (C, H, W) float32. spec : the network's input contract."""

    values: Tensor
    spec: InputSpec

    __repr__ = brief

    def image(self, name: str) -> Image:
        """Return it as an Image, which shows what the mean and std of the network make of it."""
        pixels = self.spec.denormalise(self.values[None])[0].clamp(0, 1).permute(1, 2, 0).numpy()
        pil = painted(pixels, self.spec.shown)
        return Image(pil if self.spec.channels >= 3 else pil.convert("L"), name, network=self)

    def fed_to(self, spec: InputSpec, name: str) -> Float[Tensor, "C H W"]:
        """Return it for a network of this or another mean and std. Raises ImageError for another shape."""
        if tuple(self.values.shape) != spec.shape:
            raise ImageError(
                f"{name}: the tensor has shape {tuple(self.values.shape)} but the network takes {spec.shape}"
            )
        if (spec.mean, spec.std) == (self.spec.mean, self.spec.std):
            return self.values
        return spec.normalise(self.spec.denormalise(self.values[None]))[0]


def load_image(path: str | Path, *, background: str = "white") -> Image:
    """Read an image file, upright, as 8-bit RGB or greyscale, or as the bands of a `.npy` or multi-band TIFF.

    EXIF orientation, palettes, transparency, CMYK, 16-bit and float samples are converted; of an animation the first
    frame is read.

    Parameters
    ----------
    path
        A file of any format that PIL reads; a `.npy` of (H, W) or (H, W, C), uint8, uint16 or floats in 0..1; or a TIFF
        with any number of bands, which needs the extra `tiff`.
    background
        Colour behind transparent parts: any PIL colour, such as "white" (the default) or "#808080".

    Returns
    -------
    Image
        Its `notes` say what was changed.

    Raises
    ------
    ImageError
        For a file that is missing, empty, truncated, not an image, or larger than 178 million pixels; for a folder,
        pipe or device; for an unknown colour; and for a multi-band TIFF without the extra `tiff`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import innersight as ins
    >>> from PIL import Image as PILImage
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "red.png"
    ...     PILImage.new("RGB", (8, 4), "red").save(file)
    ...     image = ins.load_image(file)
    >>> image.name, image.width, image.height
    ('red.png', 8, 4)

    """
    path = Path(path)
    shown = printable(path)
    try:
        ImageColor.getrgb(background)
    except ValueError as error:
        raise ImageError(f"background={background!r} is not a colour: give a name or #rrggbb") from error
    _refuse_special(path)
    found = read_npy(path, shown) if path.suffix.lower() == ".npy" else decode(path, shown, background)
    return _image(found, path.name, path)


def file_bytes(path: Path) -> bytes:
    """Return what a file holds. Raises ImageError for what `load_image` refuses unread: pipes, devices and the like."""
    _refuse_special(path)
    return path.read_bytes()


def decode_image(data: bytes, name: str) -> Image:
    """Read the bytes of an image file, as `load_image` reads the file; `name` ends like it (`.png`, `.npy`).

    Raises ImageError too for a TIFF with more bands than colours: that has to be a file.
    """
    shown = printable(name)
    if not data:
        raise ImageError(f"{shown}: the file is empty")
    found = read_npy(data, shown) if name.lower().endswith(".npy") else decode(io.BytesIO(data), shown, "white")
    return _image(found, name, None)


def _image(found: Decoded, name: str, path: Path | None) -> Image:
    return Image(found.image, printable(name), path, found.notes, found.bands, found.colour)


def as_image(source: "str | Path | PILImage.Image | np.ndarray | Image", *, name: str = "image") -> Image:
    """Return `source` as an Image: a path, a PIL image, or an array.

    An array is (H, W), (H, W, 3) or, with transparency, (H, W, 4) of uint8; or bands (H, W, C) of uint8, uint16 or
    floats in 0..1 (four bands as uint16 or floats). Raises ImageError for anything else.
    """
    if isinstance(source, Image):
        return source
    if isinstance(source, str | Path):
        return load_image(source)
    if isinstance(source, np.ndarray):
        colour = source.ndim == 2 or (source.ndim == 3 and source.shape[2] in (3, 4))
        if source.dtype != np.uint8 or not colour or not source.size:
            return _image(from_array(source, printable(name)), name, None)
        source = PILImage.fromarray(source)
    try:
        pil, notes = eight_bit(source, printable(name))
    except ImageError:
        raise
    except BROKEN as error:  # of a file that is decoded only now
        raise ImageError(f"{printable(name)}: cannot be read as an image ({printable(error)})") from error
    return Image(pil, printable(name), None, notes)


def stack(images: Sequence[Image], spec: InputSpec) -> Float[Tensor, "B C H W"]:
    """Return the images as one batch of network input."""
    return torch.stack([image.tensor(spec) for image in images])


def _refuse_special(path: Path) -> None:
    """Raise ImageError for what is no file: to open a pipe would wait for ever, and a device may have no end."""
    shown = printable(path)
    try:
        found = path.stat()
    except FileNotFoundError as error:
        url = ":/" in shown and not path.is_absolute()
        raise ImageError(
            f"{shown}: no such file{'; URLs are not downloaded, save the file first' if url else ''}"
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ImageError(f"{shown}: cannot be opened ({printable(error)})") from error
    if stat.S_ISDIR(found.st_mode):
        raise ImageError(f"{shown}: a folder without image files ({', '.join(SUFFIXES)}), or one you may not read")
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(f"{shown}: a pipe, socket or device, not an image file")
    if not found.st_size:
        raise ImageError(f"{shown}: the file is empty")
