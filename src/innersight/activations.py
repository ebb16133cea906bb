"""Activation maps: what every unit of chosen layers responds to in an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.call import public
from innersight.image import Image, stack
from innersight.inputs import read
from innersight.layers import check_layers, default_layers
from innersight.model import Model
from innersight.result import Result

BATCH = 16


@dataclass(frozen=True, eq=False, repr=False)
class ActivationMaps(Result):
    """Activation maps of whole layers over images, as `innersight.activations` returns them.

    Attributes
    ----------
    model : Model
        The network.
    images : tuple of Image
        The images, in order.
    values : dict of str to Tensor
        By layer (images, units, h, w) float32, as the network computed them: signed and unscaled.
    skipped : tuple of str
        One sentence for each file that could not be read.
    notes : tuple of str
        How the images were understood.

    """

    model: Model
    images: tuple[Image, ...]
    values: dict[str, Tensor]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return layer, grid, and per image the highest and mean response of every unit."""
        return {
            "model": self.model.name,
            "images": [image.name for image in self.images],
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "layers": {
                layer: {
                    "units": values.shape[1],
                    "grid": list(values.shape[2:]),
                    "max": values.amax((2, 3)).tolist(),
                    "mean": values.mean((2, 3)).tolist(),
                }
                for layer, values in self.values.items()
            },
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the raw values by layer."""
        return self.values


@public()
def activations(
    model: Model,
    images: Any,
    layers: Sequence[str] | None = None,
) -> ActivationMaps:
    """Compute the activation maps of every unit of one or several layers.

    Parameters
    ----------
    model
        The network, see `innersight.load`.
    images
        Anything that holds images, see `innersight.inputs.entries`; all are held in memory.
    layers
        Names of layers; by default up to five that are spread over the depth, see
        `innersight.layers.default_layers`.

    Returns
    -------
    ActivationMaps
        `values` holds, by layer, (images, units, h, w) float32: the raw output in the layer's own grid.

    Raises
    ------
    InnersightError
        For a layer that does not exist, with the nearest names, or that has no units.
    ImageError
        Where no image could be read. Single files that cannot be read are listed in `skipped`.

    Notes
    -----
    One forward pass per batch of 16 images, which ends at the deepest layer asked for.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import draw
    >>> found = ins.activations(ins.load("toon"), draw("ambra", seed=0).pixels, layers=["stage4"])
    >>> found.values["stage4"].shape
    torch.Size([1, 128, 12, 12])

    """
    found = read(images, model.input)
    names = tuple(layers) if layers else default_layers(model)
    check_layers(model, names)
    values = compute(model, stack(found.images, model.input), names)
    return ActivationMaps(model, found.images, values, found.skipped, found.notes)


def compute(model: Model, x: Float[Tensor, "B C H W"], layers: Sequence[str]) -> dict[str, Tensor]:
    """Return the maps (B, units, h, w) float32 on the CPU for network input `x`, by layer."""
    parts: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    with tap.untouched(model), torch.no_grad():
        for batch in torch.split(x, BATCH):
            captured = tap.capture(model, batch.to(model.device, model.dtype), layers)
            for layer in parts:
                parts[layer].append(captured.activations[layer].float().cpu())
    return {layer: torch.cat(chunks) for layer, chunks in parts.items()}


def seen_array(image: Image, model: Model) -> Any:
    """Return what the network sees of an image as uint8 (H, W, 3)."""
    import numpy as np

    return np.asarray(image.seen(model.input).convert("RGB"))
