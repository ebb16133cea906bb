"""Concepts as a layer: its units are computed from another layer's, and the network continues with what they become."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from innersight import ambient
from innersight.errors import InnersightError
from innersight.model import Model
from innersight.tap.passes import layout


@runtime_checkable
class Coder(Protocol):
    """Turns activation vectors into concepts: a `Factorization`.

    Attributes
    ----------
    directions : Tensor
        (concepts, units), what each concept adds to the layer, of unit length.

    """

    @property
    def directions(self) -> Float[Tensor, "concepts units"]:
        """What each concept adds to the layer, of unit length."""
        ...

    def encode(self, vectors: Float[Tensor, "N units"]) -> Float[Tensor, "N concepts"]:
        """Return how strong each concept is in each vector.

        Parameters
        ----------
        vectors
            (N, units).

        Returns
        -------
        torch.Tensor
            (N, concepts).

        """
        ...


class ConceptUnits(nn.Identity):
    """What the concepts of a pass go through, where they are read and changed like the output of any layer."""


@dataclass(frozen=True, eq=False)
class ConceptLayer:
    """A set of concepts as a layer of a `Model`, see `Model.with_concepts`.

    The layer's output is left as it is where nothing is done to the concepts; otherwise the change of each concept,
    times its direction, is added to it. A concept that is set to 0 is so removed, and what no concept explains stays.

    Attributes
    ----------
    name, layer : str
        Its address, such as `stage4~nmf`, and the layer that it reads.
    coder : Coder
        How concepts are computed.
    module : ConceptUnits
        What the concepts of a pass go through.
    found_in : str
        Digest of the network that they were found in; "" where nobody states one.

    """

    name: str
    layer: str
    coder: Coder
    module: ConceptUnits
    found_in: str = ""

    @classmethod
    def of(cls, name: str, layer: str, coder: Coder, found_in: str = "") -> "ConceptLayer":
        """Return the layer of a set of concepts.

        Parameters
        ----------
        name
            Of the set, such as "nmf".
        layer
            The layer that it reads.
        coder
            How concepts are computed.
        found_in
            Digest of the network that they were found in.

        """
        return cls(f"{layer}~{name}", layer, coder, ConceptUnits(), found_in)

    @property
    def directions(self) -> Float[Tensor, "concepts units"]:
        """What each concept adds to the layer."""
        return self.coder.directions

    @contextmanager
    def inside(self, model: Model) -> Iterator[None]:
        """Inside, passes of the network go through the concepts, where something reads them.

        Parameters
        ----------
        model
            The network.

        Raises
        ------
        InnersightError
            Where the layer has another number of units than the directions.

        """
        if not (self.module._forward_hooks or "forward" in vars(self.module)):
            yield
            return
        assert model.plain is not None
        read = layout(model.plain, self.layer)
        source, number = model.plain.call(self.layer)
        if read.units != self.coder.directions.shape[1]:
            raise InnersightError(
                f"{self.name} was found in a layer of {self.coder.directions.shape[1]} units, and {self.layer} of "
                f"{model.name} has {read.units}: give the network that the concepts were found in"
            )
        calls = 0

        def through(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls != number:
                return None
            with ambient.plain():
                activation = read.read(output)
                changed = self._through(activation)
            return None if changed is activation else read.write(changed, output)

        hook = source.register_forward_hook(through)
        try:
            yield
        finally:
            hook.remove()

    def _through(self, activation: Float[Tensor, "B units h w"]) -> Float[Tensor, "B units h w"]:
        batch, units, height, width = activation.shape
        found = self.coder.encode(activation.permute(0, 2, 3, 1).reshape(-1, units))
        codes = found.reshape(batch, height, width, -1).permute(0, 3, 1, 2).to(activation.dtype)
        changed = self.module(codes)
        if changed is codes:
            return activation
        directions = self.coder.directions.to(codes.device, codes.dtype)
        return activation + torch.einsum("bkhw,ku->buhw", changed - codes, directions)
