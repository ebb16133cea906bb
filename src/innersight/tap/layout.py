"""Layout: where the units and the locations are in a layer's output."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, cat

from innersight.errors import InnersightError
from innersight.nested import leaves, transform


class LayoutError(InnersightError):
    """Raised for a layer whose output has no units and locations that can be recognised."""


@dataclass(frozen=True)
class Layout:
    """How a layer's output becomes (B, units, h, w).

    Attributes
    ----------
    axes : str
        One letter per dimension of the output: b images, u units, h and w locations, p tokens (locations in rows).
        "buhw" convolutional, "bhwu" channels last, "bpu" tokens, "pbu" tokens first, "bup" units before tokens, "bu".
    units : int
        How many units.
    grid : (int, int)
        (h, w) for the model's own input size; (1, 1) without locations.
    prefix : int
        Tokens before the grid, such as a class token.
    part : str
        Which tensor of a nested output it is, such as "[0]"; "" for a bare tensor.
    measured : bool
        Whether the order was seen to follow the image; False where it is taken from layers of the same shape.

    """

    axes: str
    units: int
    grid: tuple[int, int]
    prefix: int = 0
    part: str = ""
    measured: bool = True

    def read(self, output: Any) -> Tensor:
        """Return the output as (B, units, h, w), a view where that is possible; tokens before the grid are left out.

        Parameters
        ----------
        output
            What the layer gave.

        Returns
        -------
        torch.Tensor
            (B, units, h, w).

        Raises
        ------
        LayoutError
            For an output of another form than when the layout was measured.

        """
        tensor = self._leaf(output)
        if "p" in self.axes:
            rows = tensor.permute(*(self.axes.index(a) for a in "bup"))[:, :, self.prefix :]
            return rows.reshape(*rows.shape[:2], *self._grid(rows.shape[2]))
        if "h" in self.axes:
            return tensor.permute(*(self.axes.index(a) for a in "buhw"))
        return tensor[:, :, None, None]

    def write(self, changed: Tensor, output: Any) -> Any:
        """Return an output with its units replaced; the rest of it stays.

        Parameters
        ----------
        changed
            (B, units, h, w), as `read` returns it.
        output
            What the layer gave.

        Returns
        -------
        Any
            As `output`, in its form.

        Raises
        ------
        LayoutError
            For an output of another form than when the layout was measured.

        """
        own = self._leaf(output)
        if "p" in self.axes:
            rows = changed.flatten(2)
            if self.prefix:
                before = own.permute(*(self.axes.index(a) for a in "bup"))[:, :, : self.prefix]
                rows = cat([before, rows], 2)
            tensor = rows.permute(*("bup".index(a) for a in self.axes))
        elif "h" in self.axes:
            tensor = changed.permute(*("buhw".index(a) for a in self.axes))
        else:
            tensor = changed.flatten(1)
        return transform(lambda where, leaf: tensor if where == self.part else leaf, output)

    @property
    def batch_axis(self) -> int:
        """The dimension of the output that counts images."""
        return self.axes.index("b")

    def _leaf(self, output: Any) -> Tensor:
        found = dict(leaves(output)).get(self.part)
        if found is None or found.ndim != len(self.axes) or found.shape[self.axes.index("u")] != self.units:
            shape = "no tensor" if found is None else tuple(found.shape)
            raise LayoutError(
                f"a layer that gave {self.units} units as {self.axes} now gives {shape}: load the model again"
            )
        return found

    def _grid(self, tokens: int) -> tuple[int, int]:
        """Return (h, w) for this number of tokens, in the proportions of the grid."""
        h, w = self.grid
        if tokens == h * w:
            return h, w
        rows = max(1, round((tokens * h / w) ** 0.5))
        if tokens % rows:
            raise LayoutError(f"{tokens} tokens make no grid in the proportions of {h}x{w}")
        return rows, tokens // rows
