"""Tensors and arrays as images: pixels, or the network's own input; batches of them one by one."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from innersight.image import Image, ImageError, NetworkInput, as_image
from innersight.input_spec import InputSpec

BANDS = (1, 3, 4)  # grey, colour, and colour with transparency
PIXELS = (torch.uint8, torch.uint16)


def is_batch(images: Any) -> bool:
    """Say whether it is a tensor or an array of several images, (B, C, H, W) or (B, H, W, C)."""
    return isinstance(images, Tensor | np.ndarray) and images.ndim == 4


def image_of(tensor: Tensor, name: str, spec: InputSpec) -> Image:
    """Return the image that a tensor holds.

    uint8 (or uint16) tensors are pixels, (C, H, W), (H, W, C) or (H, W). Floating ones of the network's input shape
    (C, H, W) are the network's input as it is, normalised by whoever made it. They may lie on any device and require a
    gradient. Raises ImageError for any other type or shape, and for values that are not finite.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else str(tensor.layout)
        raise ImageError(
            f"{name}: a {kind.removeprefix('torch.')} tensor is not an image: give a dense one with values"
        )
    plain = tensor.detach().cpu()
    shape, dtype = tuple(plain.shape), str(plain.dtype).removeprefix("torch.")
    if plain.ndim not in (2, 3) or not plain.numel():
        raise ImageError(f"{name}: a tensor of shape {shape} is not an image: give (C, H, W), or a batch (B, C, H, W)")
    if plain.dtype in PIXELS:
        return as_image(_pixels(plain, name, spec), name=name)
    if not plain.is_floating_point():
        raise ImageError(
            f"{name}: a {dtype} tensor is not an image: give uint8 pixels, 0 to 255, or "
            "floats as the network takes them"
        )
    return _network_input(plain.float(), name, spec)


def _network_input(plain: Tensor, name: str, spec: InputSpec) -> Image:
    shape = tuple(plain.shape)
    if plain.ndim == 2 and spec.channels == 1:
        plain = plain[None]
    if tuple(plain.shape) != spec.shape:
        remedy = _remedy(shape, spec)
        raise ImageError(f"{name}: the float tensor has shape {shape} but the network takes {spec.shape}{remedy}")
    bad = int((~plain.isfinite()).sum())
    if bad:
        raise ImageError(f"{name}: {bad:,} of the {plain.numel():,} values of the tensor are NaN or infinite")
    return NetworkInput(plain.clone(), spec).image(name)


def _remedy(shape: tuple[int, ...], spec: InputSpec) -> str:
    if len(shape) == 3 and (shape[2], *shape[:2]) == spec.shape:
        return ": write x.permute(2, 0, 1)"
    return (
        ": a float tensor has to be the network's input; of other sizes give uint8 pixels, (x * 255).to(torch.uint8), "
        "or a PIL image"
    )


def _pixels(plain: Tensor, name: str, spec: InputSpec) -> np.ndarray:
    """Return (H, W), (H, W, 3) or (H, W, C) of pixels whose channels come first or last."""
    if plain.ndim == 3:
        counts = {spec.channels, *BANDS}
        first, last = plain.shape[0] in counts, plain.shape[2] in counts
        if first and last:  # a very thin image: what this network takes, else as torch has it
            first = plain.shape[0] == spec.channels or plain.shape[2] != spec.channels
        if not first and not last:
            known = " or ".join(map(str, sorted(counts)))
            raise ImageError(
                f"{name}: a tensor of shape {tuple(plain.shape)} has no axis of {known} channels: give (C, H, W) or "
                "(H, W, C)"
            )
        plain = plain.permute(1, 2, 0) if first else plain
        plain = plain[..., 0] if plain.shape[2] == 1 else plain
    values: np.ndarray = np.ascontiguousarray(plain.numpy())
    return values


class Assumed:
    """What is assumed of the tensors among images, counted while they go by.

    Parameters
    ----------
    spec
        The network's input contract.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import inputs
    >>> assumed = inputs.Assumed(ins.InputSpec(8, 8))
    >>> _ = [assumed.add(entry) for entry in inputs.entries(torch.randn(2, 3, 8, 8))]
    >>> assumed.notes()
    ("float tensors are read as the network's own input, already normalised: 2",)

    """

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self._input = self._scaled = 0

    def add(self, entry: Any) -> Any:
        """Take in an entry and return it.

        Parameters
        ----------
        entry
            An ImageEntry.

        """
        given = entry.image
        if isinstance(given, Tensor) and given.is_floating_point() and given.numel() and given.layout == torch.strided:
            self._input += 1
            plain = given.detach()
            self._scaled += not given.is_meta and float(plain.min()) >= 0 and float(plain.max()) <= 1
        return entry

    def notes(self) -> tuple[str, ...]:
        """Return in words what was assumed."""
        if not self._input:
            return ()
        spec = self._spec
        taken = f"float tensors are read as the network's own input, already normalised: {self._input:,}"
        # One image alone may lie between 0 and 1 by chance, and the first of a set that is not normalised may be black.
        if self._scaled < self._input or (set(spec.mean) == {0.0} and set(spec.std) == {1.0}):
            return (taken,)
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
        return (
            f"{taken}; but all of them lie between 0 and 1, as if they were not normalised: if so, give uint8 "
            f"pixels or PIL images, or normalise them with mean {mean} and std {std}",
        )
