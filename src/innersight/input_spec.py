"""InputSpec: what a network expects of an image."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, SupportsIndex, get_args

import torch

from innersight.errors import InnersightError

Fit = Literal["crop", "squash"]
Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
FITS, RESAMPLES = get_args(Fit), get_args(Resample)
MAX_CHANNELS = 4096
MAX_VALUES = 2**26  # of one input: 4,700 x 4,700 pixels in colour


@dataclass(frozen=True, init=False)
class InputSpec:
    """What a network expects of an image: size, channels, normalisation, and how images of other sizes are fitted.

    A field that is left out, or is None, is listed in `guessed` and takes its default; `innersight.load` puts what the
    origin of a network states in its place.

    Parameters
    ----------
    height, width
        Size of the network's input in pixels.
    channels
        1 for greyscale, 3 for colour (the default), or any other number for images with that many bands.
    mean, std
        One value for each channel, or one for all, for pixels in 0..1: the network receives `(pixel - mean) / std`.
        0 and 1 by default. A network for pixels in 0..255 has mean 0 and std 1/255.
    fit
        "crop" (the default) keeps the aspect ratio and uses the centre; "squash" resizes the whole image.
    crop
        Fraction of the largest centred window that is used, 0 to 1 (224/256 for most ImageNet networks); 1 by default.
        For `fit="crop"` only.
    resample
        PIL resampling filter: nearest, box, bilinear (the default), hamming, bicubic or lanczos.
    display
        The three bands to display as red, green and blue. By default the first three; with one or two channels the
        first, in grey.
    guessed
        Fields that nobody stated. Two contracts that differ only in this are equal.

    Raises
    ------
    InnersightError
        Naming the field and the value that is not allowed.

    Examples
    --------
    >>> import innersight as ins
    >>> spec = ins.InputSpec(96, 96, mean=0.5)
    >>> spec.mean, spec.std, "mean" in spec.guessed, "std" in spec.guessed
    ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), False, True)

    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit
    crop: float
    resample: Resample
    display: tuple[int, ...]
    guessed: tuple[str, ...] = field(compare=False)

    def __init__(
        self,
        height: SupportsIndex,
        width: SupportsIndex,
        channels: SupportsIndex | None = None,
        mean: "float | Sequence[float] | None" = None,
        std: "float | Sequence[float] | None" = None,
        fit: Fit | None = None,
        crop: float | None = None,
        resample: Resample | None = None,
        display: "Sequence[int] | None" = None,
        guessed: "Sequence[str] | None" = None,
    ) -> None:
        given: dict[str, Any] = {"channels": channels, "mean": mean, "std": std, "fit": fit}
        given |= {"crop": crop, "resample": resample, "display": display}
        left = tuple(name for name, value in given.items() if value is None)
        stated = {name: value for name, value in given.items() if value is not None}
        values: dict[str, Any] = {**_DEFAULTS, **stated, "height": height, "width": width}
        for name in ("height", "width", "channels"):
            values[name] = _whole(name, values[name])
        for name in ("mean", "std"):
            values[name] = _each(name, values[name], values["channels"])
        values["crop"] = _each("crop", values["crop"], 1)[0]
        values["display"] = tuple(_whole("display", band) for band in values["display"])
        values["guessed"] = left if guessed is None else tuple(guessed)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        if self.height < 1 or self.width < 1 or self.channels < 1:
            raise InnersightError(f"input size {self.channels}x{self.height}x{self.width} must be positive")
        if self.channels > MAX_CHANNELS:
            raise InnersightError(f"channels={self.channels}: give a number from 1 to {MAX_CHANNELS:,}")
        if self.height * self.width * self.channels > MAX_VALUES:
            raise InnersightError(
                f"input size {self.channels}x{self.height}x{self.width} has more than {MAX_VALUES:,} values"
            )
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise InnersightError(
                f"mean {self.mean} and std {self.std} need one value for each of {self.channels} channels"
            )
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise InnersightError(f"mean {self.mean} must be finite and std {self.std} finite and positive")
        for name, words in (("fit", FITS), ("resample", RESAMPLES)):
            if getattr(self, name) not in words:
                raise InnersightError(f"{name}={getattr(self, name)!r}: give {' or '.join(words)}")
        if not 0 < self.crop <= 1:
            raise InnersightError(f"crop={self.crop}: give a fraction of the image, 0 < crop <= 1")
        if self.display and (len(self.display) != 3 or not all(0 <= band < self.channels for band in self.display)):
            raise InnersightError(
                f"display={self.display}: give three band numbers, each from 0 to {self.channels - 1}"
            )

    @property
    def shown(self) -> tuple[int, int, int]:
        """The three bands that are displayed as red, green and blue."""
        if self.display:
            return self.display[0], self.display[1], self.display[2]
        return (0, 1, 2) if self.channels >= 3 else (0, 0, 0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input."""
        return self.channels, self.height, self.width

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels as network input: `(pixels - mean) / std`.

        Parameters
        ----------
        pixels
            (B, C, H, W) in 0..1.

        Returns
        -------
        torch.Tensor
            (B, C, H, W).

        """
        mean, std = self._stats(pixels)
        return (pixels - mean) / std

    def normalise_bytes(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return 8-bit pixels as network input: what `normalise` returns for `pixels / 255`, several times as fast.

        Parameters
        ----------
        pixels
            (B, H, W, C) uint8.

        Returns
        -------
        torch.Tensor
            (B, C, H, W) float32, channels last in memory.

        """
        x = pixels.float().div_(255.0)
        # By whole rows: torch goes through the innermost dimension at once, and there are few channels.
        mean, std = (row.flatten().repeat(x.shape[2]) for row in self._stats(x))
        x.flatten(2).sub_(mean).div_(std)
        return x.permute(0, 3, 1, 2)

    def denormalise(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return network input as pixels: the inverse of `normalise`.

        Parameters
        ----------
        tensor
            (B, C, H, W), as the network receives it.

        Returns
        -------
        torch.Tensor
            (B, C, H, W), 0..1 where it comes from an image; not clipped.

        """
        mean, std = self._stats(tensor)
        rows = tensor.permute(0, 2, 3, 1)
        if not rows.is_contiguous():
            return tensor * std + mean
        # By whole rows, as in `normalise`.
        mean, std = (row.flatten().repeat(rows.shape[2]) for row in (mean, std))
        return (rows.flatten(2) * std).add_(mean).view(rows.shape).permute(0, 3, 1, 2)

    def _stats(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _row(self.mean, like.dtype, like.device), _row(self.std, like.dtype, like.device)


_DEFAULTS: dict[str, Any] = {
    "channels": 3,
    "mean": (0.0,),
    "std": (1.0,),
    "fit": "crop",
    "crop": 1.0,
    "resample": "bilinear",
    "display": (),
}


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise InnersightError(f"{name}={value!r}: give a whole number") from error


def _each(name: str, value: Any, channels: int) -> tuple[float, ...]:
    """Return one number for each channel; a single one stands for all of them."""
    try:
        row = tuple(float(v) for v in value) if hasattr(value, "__len__") else (float(value),)
    except (TypeError, ValueError) as error:
        raise InnersightError(f"{name}={value!r}: give one number, or one for each channel") from error
    return row * channels if len(row) == 1 else row


@cache
def _row(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return (1, C, 1, 1) numbers on a device, copied there once: a copy makes a GPU's host wait."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1, 1)
