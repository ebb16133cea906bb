"""Model, Layer and InputSpec: any network behind one face."""

import hashlib
import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, SupportsIndex, get_args
from weakref import WeakKeyDictionary

import torch
from torch import nn

from innersight import ambient
from innersight.address import ClassAddress
from innersight.errors import InnersightError, nearest, printable, whole
from innersight.heads import PLAIN, Head
from innersight.scalars import integer, is_integer

Fit = Literal["crop", "squash"]
Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
FITS, RESAMPLES = get_args(Fit), get_args(Resample)
MAX_CHANNELS = 4096
MAX_VALUES = 2**26  # of one input: 4,700 x 4,700 pixels in colour
Role = Literal["conv", "linear", "block", "activation", "norm", "pool", "other"]


@dataclass(frozen=True, init=False)
class InputSpec:
    """What a network expects of an image.

    A field that is not stated, or is None, is listed in `guessed` and takes the value below; `innersight.load` puts
    what the origin of a network states in its place.

    height, width : pixels of the network's input.
    channels : 1 for greyscale, 3 for colour (the default), any other number for images with that many bands.
    mean, std : one value per channel, or one for all of them, for pixels in 0..1; the network is fed
        `(pixel - mean) / std`. 0 and 1 by default. A network for pixels in 0..255 has mean 0 and std 1/255.
    fit : "crop" (the default) keeps the aspect ratio and takes the centre; "squash" resizes the whole image.
    crop : fraction of the largest centred window that is kept (224/256 for most ImageNet networks), 1 by default;
        "crop" only.
    resample : name of a PIL resampling filter, "bilinear" by default.
    display : three bands to show as red, green and blue. Where nothing is stated, the first three; of one or two
        channels the first, in grey.
    guessed : names of the fields that nobody stated. It counts in no comparison of two contracts.

    Raises InnersightError naming the field and the value that cannot be.

    Examples
    --------
    >>> from innersight.model import InputSpec
    >>> spec = InputSpec(96, 96, mean=0.5)
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
        told = {name: value for name, value in given.items() if value is not None}
        values: dict[str, Any] = {**_DEFAULTS, **told, "height": height, "width": width}
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
            raise InnersightError(f"crop {self.crop} is a fraction of the image: give 0 < crop <= 1")
        if self.display and (len(self.display) != 3 or not all(0 <= band < self.channels for band in self.display)):
            raise InnersightError(f"display {self.display} names three bands, each from 0 to {self.channels - 1}")

    @property
    def shown(self) -> tuple[int, int, int]:
        """The bands shown as red, green and blue."""
        if self.display:
            return self.display[0], self.display[1], self.display[2]
        return (0, 1, 2) if self.channels >= 3 else (0, 0, 0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input."""
        return self.channels, self.height, self.width

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) pixels in 0..1 to what the network is fed."""
        mean, std = self._stats(pixels)
        return (pixels - mean) / std

    def denormalise(self, tensor: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) network input back to pixels in 0..1 (not clipped)."""
        mean, std = self._stats(tensor)
        return tensor * std + mean

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
        raise InnersightError(f"{name}={value!r} is no whole number") from error


def _each(name: str, value: Any, channels: int) -> tuple[float, ...]:
    """Return one number for each channel; a single one stands for all of them."""
    try:
        row = tuple(float(v) for v in value) if hasattr(value, "__len__") else (float(value),)
    except (TypeError, ValueError) as error:
        raise InnersightError(f"{name}={value!r}: give one number, or one for each channel") from error
    return row * channels if len(row) == 1 else row


# What a network throws when it is fed what it does not expect.
DEFEATED = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)


# Whether a network writes into its input, where that is known.
_writes: "WeakKeyDictionary[nn.Module, bool]" = WeakKeyDictionary()


class NetworkError(InnersightError):
    """Raised where the user's network, or the head that reads its output, fails."""


def run(net: nn.Module, x: torch.Tensor, name: str) -> Any:
    """Return what a network gives for input `x` (B, C, H, W), under the caller's defaults of torch.

    A network that writes into its input gets copies of it, and the first time every network does, which tells it from
    others. Raises NetworkError.
    """
    fed = x if _writes.get(net) is False else x.clone()
    version = fed._version
    try:
        with failing(f"{name} fails on an input of {tuple(x.shape)}"), ambient.callers():
            return net(fed)
    finally:
        if net not in _writes or fed._version != version:
            _writes[net] = fed._version != version


@contextmanager
def failing(what: str) -> Iterator[None]:
    """Inside, what the user's network or head throws becomes a NetworkError that says what failed."""
    try:
        yield
    except DEFEATED as error:
        if isinstance(error, InnersightError) or no_memory(error):
            raise
        lines = str(error).strip().splitlines()
        said = f": {printable(lines[0])[:300]}" if lines else ""
        raise NetworkError(f"{what}: {type(error).__name__}{said}") from error


def no_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@cache
def _row(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return (1, C, 1, 1) numbers on a device, copied there once: a copy makes a GPU's host wait."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1, 1)


@dataclass(frozen=True)
class ReceptiveField:
    """What one place of a layer sees of the image, in pixels of the network's input as (height, width).

    size : the receptive field, as far as the image reaches. effective : the part that holds 95% of the gradient's
    energy. stride : how far the fields of neighbouring places are apart. middle : where the field of the place
    ((h - 1) // 2, (w - 1) // 2) has its middle, from the upper left corner.
    """

    size: tuple[int, int]
    effective: tuple[int, int]
    stride: tuple[int, int]
    middle: tuple[float, float]


@dataclass(frozen=True)
class Layer:
    """A named module that gives one response per unit.

    name : dotted name; `NAME#2` for the second call of a module that is called several times.
    units : channels of a convolution, features of a linear layer or of the token stream.
    grid : (h, w) of its maps for the model's own input size; (1, 1) for a linear layer.
    parameters : weights in the module and everything below it.
    prefix : tokens before those of the grid, such as a class token. axes : how its output is laid out, see
        `innersight.tap.Layout`. part : which of several outputs is read, such as "[0]".
    field : what a place sees, and share : the layer's part of the network's multiplications, 0 to 1; where measured.
    """

    name: str
    kind: str
    role: Role
    units: int
    grid: tuple[int, int]
    parameters: int
    prefix: int = 0
    axes: str = "buhw"
    part: str = ""
    field: ReceptiveField | None = None
    share: float | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its input contract and class labels. Nothing here changes the network.

    net : the torch module, as given. head : how its output becomes one score per class.
    labels : one name per class; numbers as text where nobody stated names.
    name : short, for people. source : what `ins.load` was given.
    notes : what had to be guessed, for people. run : folder of the training run it comes from, if any.
    """

    net: nn.Module
    input: InputSpec
    labels: tuple[str, ...]
    name: str
    source: str
    notes: tuple[str, ...] = field(default=())
    run: Path | None = None
    head: Head = PLAIN

    def __repr__(self) -> str:
        size = "x".join(map(str, self.input.shape))
        some = ", ".join(label[:40] for label in self.labels[:3]) + ("..." if len(self.labels) > 3 else "")
        notes = f"; {len(self.notes)} notes" if self.notes else ""
        kind = type(self.net).__name__
        return f"Model {self.name}: {kind}, input {size}, {len(self.labels)} classes ({some}), {self.head.unit}{notes}"

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return the class scores (B, classes) for network input `x` (B, C, H, W), in the unit `head` states."""
        output = self.output(x)
        with failing(f"the head of {self.name} cannot read the output"):
            return self.head.read(output)

    def output(self, x: torch.Tensor) -> Any:
        """Return what the network gives for network input `x` (B, C, H, W), as it gives it.

        Raises NetworkError where it fails.
        """
        return run(self.net, x, self.name)

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the probabilities (B, classes) that class scores stand for; NaN where they stand for none."""
        return self.head.probabilities(logits)

    @property
    def has_probabilities(self) -> bool:
        """Whether class scores stand for probabilities."""
        return self.head.link != "none"

    @property
    def device(self) -> torch.device:
        """Where the network's weights are; CPU for a network without any."""
        return next((p.device for p in self.net.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the network's weights; float32 for a network without any."""
        return next((p.dtype for p in self.net.parameters() if p.is_floating_point()), torch.float32)

    def digest(self) -> str:
        """Return a digest of the weights, the input contract, the labels and the head: results depend on these."""
        # Who stated the contract does not matter; how scores are read does.
        spec = {name: value for name, value in vars(self.input).items() if name != "guessed"}
        head = (self.head.link, self.head.unit, self.head.mark)
        digest = hashlib.sha256(repr((spec, self.labels, head)).encode())
        for name, tensor in self.net.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()[:16]

    def module(self, layer: str) -> nn.Module:
        """Return the module named `layer`. Raises InnersightError with the nearest names."""
        return self.call(layer)[0]

    def call(self, layer: str) -> tuple[nn.Module, int]:
        """Return the module named `layer` and which of its calls is meant: 2 for `NAME#2`, 1 for `NAME`.

        Raises InnersightError with the nearest names.
        """
        modules: dict[str, nn.Module] = dict(self.net.named_modules())
        name, mark, number = layer.rpartition("#")
        call = whole(number)
        if layer not in modules and mark and call and name in modules:
            return modules[name], call
        if not layer or layer not in modules:
            raise InnersightError(f"{self.name} has no layer {layer!r}; {nearest(layer, filter(None, modules))}")
        return modules[layer], 1

    def class_index(self, target: "int | str | SupportsIndex | ClassAddress") -> int:
        """Return the class number for a label, a number (of NumPy or torch too), or an address `class:NAME`.

        Raises InnersightError for a label that several classes share, and with the nearest labels for an unknown one.
        """
        given = target.name if isinstance(target, ClassAddress) else target
        if isinstance(given, str):
            return self._labelled(given)
        if not is_integer(given):
            raise InnersightError(f"{given!r} is no class of {self.name}: give a label, or a whole number")
        return self._numbered(integer(given, "the class"))

    def _labelled(self, text: str) -> int:
        name = text.removeprefix("class:")
        for label in (text, name):
            same = [number for number, own in enumerate(self.labels) if own == label]
            if len(same) > 1:
                numbers = ", ".join(map(str, same))
                raise InnersightError(
                    f"{self.name} has {len(same)} classes called {label!r}: give one of the numbers {numbers}"
                )
            if same:
                return same[0]
        number = whole(name)
        if number is None:
            raise InnersightError(f"{self.name} has no class {text!r}; {nearest(name, self.labels)}")
        return self._numbered(number)

    def _numbered(self, number: int) -> int:
        if 0 <= number < len(self.labels):
            return number
        raise InnersightError(f"class {number} is out of range: {self.name} has classes 0-{len(self.labels) - 1}")
