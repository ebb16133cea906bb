"""What all methods and layers share: one forward and one backward pass over a batch."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from innersight import tap
from innersight.errors import InnersightError
from innersight.heatmaps.target import Aim, Target
from innersight.model import Model


class UnfitError(InnersightError):
    """Raised by a method that cannot read a network of this kind."""


class Pass:
    """One forward and one backward pass over a batch, made when first asked for and shared by methods and layers.

    x : (B, C, H, W) network input. aim : computes the target from the network's outputs (B, classes). layers : whose
    maps are read, and also : those that the target reads. pixels : whether a gradient of the pixels will be
    needed; without, the backward pass ends at the first layer.
    """

    def __init__(
        self,
        model: Model,
        x: Tensor,
        aim: Aim,
        layers: Sequence[str],
        *,
        also: Sequence[str] = (),
        pixels: bool = False,
    ) -> None:
        self.model, self._aim = model, aim
        self.x = x.detach().clone().requires_grad_(True) if pixels else x
        self._layers, self._also, self._pixels = layers, also, pixels
        self._suffixes: dict[str, tap.Suffix] = {}
        self._gradients: dict[str, dict[str | None, Tensor | None]] = {}

    @cached_property
    def captured(self) -> tap.Captured:
        """What the forward pass gave."""
        layers = list(dict.fromkeys([*self._layers, *self._also]))
        if not self._pixels:
            return tap.leaf(self.model, self.x, layers)
        with torch.enable_grad():
            found = tap.capture(self.model, self.x, layers, stop=False)
        # Of a network that cuts the graph before a layer, what is behind it may still have one.
        return found if found.logits().requires_grad else tap.leaf(self.model, self.x.detach(), layers)

    @cached_property
    def target(self) -> Target:
        """What is explained."""
        return self._aim(self.captured.logits().detach())

    @cached_property
    def scores(self) -> Tensor:
        """The target of every image, (B,)."""
        with torch.enable_grad():
            return self.target.score(self.captured, self.each)

    @property
    def each(self) -> Tensor:
        """The number of every image, (B,): for variants that are one for each, in order."""
        return torch.arange(len(self.x), device=self.x.device)

    def gradient(
        self, layer: str | None, name: str = "target", number: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return the gradient of the target at a layer, or at the pixels for None; of all layers at the first call.

        number : another function of the outputs, instead of the target; `name` is its own.
        """
        if name not in self._gradients:
            sources: dict[str | None, Tensor] = {layer: self.captured.activations[layer] for layer in self._layers}
            if self._pixels:
                sources[None] = self.x
            with torch.enable_grad():
                values = self.scores if number is None else number(self.captured.logits())
            self._gradients[name] = dict.fromkeys(sources)
            if values.requires_grad:
                each = torch.ones_like(values)
                read = list(sources.values())
                slopes = tap.gradients(self.model, values, read, each, allow_unused=True, retain_graph=True)
                self._gradients[name] = dict(zip(sources, slopes, strict=True))
        found = self._gradients[name][layer]
        if found is None:
            where = "the pixels" if layer is None else f"layer {layer}"
            why = "" if layer is not None and self.scores.requires_grad else f": {tap.CUT}"
            raise UnfitError(f"no gradient of the target reaches {where} in {self.model.name}{why}")
        return found

    def suffix(self, layer: str) -> tap.Suffix:
        """Return the rest of the network after a layer."""
        if layer not in self._suffixes:
            self._suffixes[layer] = tap.resume(self.model, self.x.detach(), layer)
        return self._suffixes[layer]

    def settle(self) -> None:
        """Let go of the graph, and keep its values."""
        if "captured" in self.__dict__:
            output = self.captured.output
            kept = {layer: activation.detach() for layer, activation in self.captured.activations.items()}
            self.__dict__["captured"] = tap.Captured(kept, None if output is None else output.detach())
            self.__dict__["scores"] = self.scores.detach()
