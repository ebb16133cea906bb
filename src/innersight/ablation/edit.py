"""The class scores of one image with units of any layers switched off and a part of the image hidden."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from innersight import tap
from innersight.layers import check_layers, survey
from innersight.model import Model

KEPT = 8  # runs up to a layer that are remembered
Fill = Callable[[Tensor], Tensor]
Off = Mapping[str, Sequence[int]]
"""The units that are switched off, by layer."""


class Edits:
    """Runs of one image through a network, changed; the network is left as it was.

    A unit is switched off by setting its activation map to 0, a concept by setting its activation to 0, which takes
    what it adds to its layer out of it. Where units of several layers are switched off, later layers see what the
    earlier changes left. The run up to the first layer that is changed is remembered.

    model : with the sets of concepts whose concepts may be switched off. x : (C, H, W), the network's input.
    fill : from masks (n, H, W) of the pixels that stay to inputs (n, C, H, W).
    """

    def __init__(self, model: Model, x: Float[Tensor, "C H W"], fills: Mapping[str, Fill]) -> None:
        self._model, self._x, self._fills = model, x, fills
        self._order = [layer.name for layer in survey(model)]
        self._runs: OrderedDict[tuple[str, str, bytes], tap.Suffix] = OrderedDict()

    def logits(
        self, off: Off, hidden: Bool[Tensor, "H W"] | None = None, fill: str = "blur"
    ) -> Float[Tensor, " classes"]:
        """Return the class scores, float32.

        off : the units that are switched off. hidden : the pixels of the network's input that are filled, by `fill`.
        Raises InnersightError for a layer that the network does not have.
        """
        named = [layer for layer, units in off.items() if units]
        check_layers(self._model, named)
        layers = sorted(named, key=self._order.index)
        with tap.untouched(self._model), torch.no_grad():
            if not layers:
                return self._model.logits(self._input(hidden, fill))[0].float().cpu()
            first, later = layers[0], layers[1:]
            suffix = self._run(first, hidden, fill)
            with tap.changing(self._model, {layer: _without(off[layer]) for layer in later}):
                return suffix(_without(off[first])(suffix.activation))[0].float().cpu()

    def _input(self, hidden: Bool[Tensor, "H W"] | None, fill: str) -> Float[Tensor, "1 C H W"]:
        if hidden is None or not bool(hidden.any()):
            return self._x[None]
        return self._fills[fill](~hidden.to(self._x.device)[None])

    def _run(self, layer: str, hidden: Bool[Tensor, "H W"] | None, fill: str) -> tap.Suffix:
        none = hidden is None or not bool(hidden.any())
        key = layer, "" if none else fill, b"" if hidden is None or none else hidden.cpu().numpy().tobytes()
        if key not in self._runs:
            self._runs[key] = tap.resume(self._model, self._input(hidden, fill), layer)
        self._runs.move_to_end(key)
        if len(self._runs) > KEPT:
            self._runs.popitem(last=False)
        return self._runs[key]


def _without(units: Sequence[int]) -> Callable[[Tensor], Tensor]:
    def change(activation: Tensor) -> Tensor:
        changed = activation.clone()
        changed[:, list(units)] = 0
        return changed

    return change
