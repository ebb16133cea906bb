"""How an atlas is made: the options of `atlas`, of the command of that name, and of what is stored with it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from innersight.errors import InnersightError
from innersight.options import convert, made
from innersight.patterns.options import LEAST_SIDE
from innersight.scalars import at_least_one

LEVELS = 3


@dataclass(frozen=True)
class AtlasOptions:
    """Options of `atlas`: plain values, stored with the atlas as they are.

    Attributes
    ----------
    vectors : int
        Activation vectors drawn at random from all locations of all images; at least 1.
    per_image : int or None
        At most so many vectors of one image, at least 1; None for as many as the draw brings.
    layout : str
        How vectors are laid out in two dimensions: "tsne", "umap" (needs umap-learn) or "pca"; see `list layouts`.
    drawn : int
        How many of the three zoom levels are drawn as patterns, the coarsest first; 0 to 3. The others show crops only.
    steps : int
        Updates of each pattern; 1 or more.
    size : int or None
        Side of the patterns in pixels, 8 or more.

        When None, half of the network's own, but at least 64, where the network takes it.
    seed : int
        Of the draw, the layout and the patterns; 0 or more.

    Examples
    --------
    >>> from innersight.atlas import AtlasOptions
    >>> AtlasOptions(vectors=2_000).drawn
    2

    """

    vectors: int = 10_000
    per_image: int | None = None
    layout: str = "tsne"
    drawn: int = 2
    steps: int = 96
    size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        convert(self)
        at_least_one(vectors=self.vectors, steps=self.steps)
        if self.per_image is not None:
            at_least_one(per_image=self.per_image)
        if not 0 <= self.drawn <= LEVELS:
            raise InnersightError(f"drawn={self.drawn}: give 0 to {LEVELS}, as there are {LEVELS} zoom levels")
        if self.size is not None and self.size < LEAST_SIDE:
            raise InnersightError(f"size={self.size}: give at least {LEAST_SIDE} pixels")

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain data, which `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AtlasOptions":
        """Return the options that `to_json` described.

        Parameters
        ----------
        data
            As `to_json` returns it; what is no option is left out.

        """
        return made(cls, {one.name: data[one.name] for one in fields(cls) if one.name in data})
