"""An atlas: the activation vectors of a layer on a map, at three zoom levels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from innersight.atlas.cells import unit_vectors
from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.inputs import read_one
from innersight.model import Model
from innersight.result import Result


@dataclass(frozen=True, eq=False)
class AtlasLevel:
    """One zoom level of an atlas: the cells that hold any vector, row by row from the upper left.

    Attributes
    ----------
    grid : int
        Cells a side.
    position : Tensor
        (cells, 2) int64: row and column.
    count : Tensor
        (cells,) int64: vectors in each.
    mean : Tensor
        (cells, units) float32: their mean, raw.
    attribution : Tensor
        (cells, classes) float32: what a vector of the cell counts for each class of the atlas on average.

        Gradient x activation, in the unit of the network's scores.
    share : Tensor
        (cells, classes) float32: share of the vectors whose image is predicted as each class of the atlas, 0 to 1.
    examples : Tensor
        (cells, k) int64: the vectors shown of each, the most typical first, as an index into `Atlas.crops`; -1 for
        none.
    patterns : Tensor
        (cells, C, H, W) float32 in 0..1; empty where the level is not drawn.

    """

    grid: int
    position: Int[Tensor, "cells 2"]
    count: Int[Tensor, " cells"]
    mean: Float[Tensor, "cells units"]
    attribution: Float[Tensor, "cells classes"]
    share: Float[Tensor, "cells classes"]
    examples: Int[Tensor, "cells k"]
    patterns: Tensor

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.position)

    @property
    def drawn(self) -> bool:
        """Whether it has patterns."""
        return bool(self.patterns.numel())

    def cell(self, row: int, column: int) -> int | None:
        """Return the number of the cell at a row and column; None where no vector lies.

        Parameters
        ----------
        row, column
            From the upper left, from 0.

        """
        found = (self.position == torch.tensor([row, column])).all(1).nonzero()
        return int(found[0, 0]) if len(found) else None


@dataclass(frozen=True, eq=False)
class AtlasTrace:
    """Where the locations of an image lie in an atlas, as `Atlas.trace` returns it.

    Attributes
    ----------
    cells : Tensor
        (h, w) int64: for every location of the layer's grid the cell of the finest level whose mean is most alike.
    cosine : Tensor
        (h, w) float32: how much alike, 1 for the same direction.

    """

    cells: Int[Tensor, "h w"]
    cosine: Float[Tensor, "h w"]

    __repr__ = brief


@dataclass(frozen=True, eq=False, repr=False)
class Atlas(Result):
    """The activation vectors of a layer on a map, as `innersight.atlas` returns it.

    Attributes
    ----------
    model : Model
        The network.
    layer : str
        Name of the layer.
    classes : tuple of str
        The classes that cells are attributed to.
    levels : tuple of AtlasLevel
        Three zoom levels, the coarsest first.
    points : Tensor
        (vectors, 2) float32: the place (x, y) of every vector sampled, in the unit square, y downwards.
    crops : numpy.ndarray
        (n, side, side, 3) uint8: parts of images, each the effective receptive field of a vector shown.
    crop_names : tuple of str
        The image of each crop.
    crop_location : Tensor
        (n, 2) int64: its location (y, x) in the layer's grid.
    images : int
        How many images were read.
    trustworthiness : float
        Whether neighbours on the map are neighbours in the layer, 0 to 1 (Venna and Kaski 2001).
    settings : dict
        The options, as plain data.
    skipped : tuple of str
        One sentence for each image that could not be read.
    notes : tuple of str
        How images and labels were understood, and what limits the atlas.
    warnings : tuple of str
        What seems wrong with the input contract, see `innersight.input_warnings`.

    """

    model: Model
    layer: str
    classes: tuple[str, ...]
    levels: tuple[AtlasLevel, ...]
    points: Float[Tensor, "vectors 2"]
    crops: UInt8[np.ndarray, "n side side 3"]
    crop_names: tuple[str, ...]
    crop_location: Int[Tensor, "n 2"]
    images: int
    trustworthiness: float
    settings: dict[str, Any]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def level(self, grid: int | None = None) -> AtlasLevel:
        """Return a zoom level.

        Parameters
        ----------
        grid
            Cells a side; when None, the finest level that is drawn as patterns, else the middle one.

        Raises
        ------
        InnersightError
            For a level that the atlas does not have.

        """
        if grid is None:
            return next((one for one in reversed(self.levels) if one.drawn), self.levels[len(self.levels) // 2])
        for one in self.levels:
            if one.grid == grid:
                return one
        raise InnersightError(f"level={grid}: this atlas has {', '.join(str(one.grid) for one in self.levels)}")

    def class_number(self, name: str) -> int:
        """Return the place of a class among those of the atlas.

        Parameters
        ----------
        name
            Its label, or its number in the network.

        Raises
        ------
        InnersightError
            For a class that the network does not have, or that cells are not attributed to.

        """
        label = self.model.labels[self.model.class_index(name)]
        if label not in self.classes:
            raise InnersightError(
                f"the atlas has no attributions to {label!r}, only to {', '.join(self.classes)}: name it in classes= "
                "(--class)"
            )
        return self.classes.index(label)

    def trace(self, image: Any) -> AtlasTrace:
        """Return where every location of an image lies in the atlas.

        Parameters
        ----------
        image
            What holds one image, see `innersight.inputs.entries`.

        Raises
        ------
        ImageError
            Where it cannot be read, or is several.

        """
        from innersight.activations import compute

        x = read_one(image, self.model.input).tensor(self.model.input)[None]
        return trace(compute(self.model, x, [self.layer])[self.layer][0], self.levels[-1].mean)

    def to_json(self) -> dict[str, Any]:
        """Return levels, cells, attributions and settings."""
        return {
            "model": self.model.name,
            "layer": self.layer,
            "images": self.images,
            "vectors": len(self.points),
            "trustworthiness": self.trustworthiness,
            "unit": self.model.head.unit,
            "classes": list(self.classes),
            "settings": self.settings,
            "levels": [
                {"grid": level.grid, "drawn": level.drawn, "cells": self._cells(level)} for level in self.levels
            ],
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }

    def _cells(self, level: AtlasLevel) -> list[dict[str, Any]]:
        return [
            {
                "row": row,
                "column": column,
                "vectors": count,
                "attribution": dict(zip(self.classes, attribution, strict=True)),
                "share": dict(zip(self.classes, share, strict=True)),
                "images": list(dict.fromkeys(self.crop_names[i] for i in examples if i >= 0)),
            }
            for (row, column), count, attribution, share, examples in zip(
                level.position.tolist(), level.count.tolist(), level.attribution.tolist(), level.share.tolist(),
                level.examples.tolist(), strict=True,
            )
        ]  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        """Return places, crops and, by level, cells, means, attributions and patterns."""
        found = {"points": self.points, "crops": torch.from_numpy(self.crops), "crop_location": self.crop_location}
        for level in self.levels:
            for name in ("position", "count", "mean", "attribution", "share", "examples", "patterns"):
                found[f"level/{level.grid}/{name}"] = getattr(level, name)
        return found


def trace(maps: Float[Tensor, "units h w"], means: Float[Tensor, "cells units"]) -> AtlasTrace:
    """Return the cell whose mean is most alike the vector at each location.

    maps : of one image, raw. means : of the cells.
    """
    cosine = torch.einsum("cu,uhw->chw", unit_vectors(means), unit_vectors(maps.flatten(1).T).T.view(maps.shape))
    best = cosine.max(0)
    return AtlasTrace(best.indices, best.values.float())


def lists(rows: Sequence[Sequence[int]], width: int) -> Int[Tensor, "n width"]:
    """Return lists of numbers as one tensor, filled up with -1."""
    found = torch.full((len(rows), width), -1)
    for i, row in enumerate(rows):
        found[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return found
