"""Model, Layer and InputSpec: any network behind one face."""

import hashlib
import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from innersight.errors import InnersightError, nearest
from innersight.heads import PLAIN, Head

Role = Literal["conv", "linear", "block", "activation", "norm", "pool", "other"]


@dataclass(frozen=True)
class InputSpec:
    """What a network expects of a picture.

    height, width : pixels of the network's input.
    channels : 1 for greyscale, 3 for colour, any other number for pictures with that many bands.
    mean, std : one value per channel, for pixels in 0..1; the network is fed `(pixel - mean) / std`.
    fit : "crop" keeps the aspect ratio and takes the centre; "squash" resizes the whole picture.
    crop : fraction of the largest centred window that is kept (224/256 for most ImageNet networks); "crop" only.
    resample : name of a PIL resampling filter.
    display : three bands to show as red, green and blue. Where nothing is stated, the first three; of one or two
        channels the first, in grey.
    guessed : names of the fields that nobody stated.
    """

    height: int
    width: int
    channels: int = 3
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    fit: Literal["crop", "squash"] = "crop"
    crop: float = 1.0
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bilinear"
    display: tuple[int, ...] = ()
    guessed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.channels < 1:
            raise InnersightError(f"input size {self.channels}x{self.height}x{self.width} must be positive")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise InnersightError(
                f"mean {self.mean} and std {self.std} need one value for each of {self.channels} channels"
            )
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise InnersightError(f"mean {self.mean} must be finite and std {self.std} finite and positive")
        if not 0 < self.crop <= 1:
            raise InnersightError(f"crop {self.crop} is a fraction of the picture: give 0 < crop <= 1")
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


@cache
def _row(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return (1, C, 1, 1) numbers on a device, copied there once: a copy makes a GPU's host wait."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1, 1)


@dataclass(frozen=True)
class Field:
    """What one place of a layer sees of the picture, in pixels of the network's input as (height, width).

    size : the receptive field, as far as the picture reaches. effective : the part that holds 95% of the gradient's
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
    field: Field | None = None
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

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return the class scores (B, classes) for network input `x` (B, C, H, W), in the unit `head` states."""
        return self.head.read(self.net(x))

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
        """Return a digest of the weights, the input contract and the labels: what is computed depends on these."""
        digest = hashlib.sha256(repr((self.input, self.labels)).encode())
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
        if layer not in modules and mark and number.isdecimal() and int(number) > 0 and name in modules:
            return modules[name], int(number)
        if not layer or layer not in modules:
            raise InnersightError(f"{self.name} has no layer {layer!r}; {nearest(layer, filter(None, modules))}")
        return modules[layer], 1

    def class_index(self, target: int | str) -> int:
        """Return the class number for a label or number. Raises InnersightError with the nearest labels."""
        if isinstance(target, str) and target in self.labels:
            return self.labels.index(target)
        number = int(target) if isinstance(target, int) or target.isdecimal() else -1
        if 0 <= number < len(self.labels):
            return number
        if isinstance(target, int) or target.isdecimal():
            raise InnersightError(f"class {target} is out of range: {self.name} has classes 0-{len(self.labels) - 1}")
        raise InnersightError(f"{self.name} has no class {target!r}; {nearest(target, self.labels)}")
