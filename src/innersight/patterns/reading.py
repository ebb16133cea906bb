"""What the objectives of a batch make of a forward pass."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from innersight import tap
from innersight.address import Address
from innersight.image import Image
from innersight.model import Model
from innersight.patterns.objectives import Objective, Read, Rows, Term, objectives
from innersight.patterns.transforms import Window

References = dict[tuple[str | None, int], Tensor]


class Reading:
    """The values of one objective for each row of a batch, from one forward pass that ends at the deepest layer.

    wanted : one per row. together : a number per row, the same for rows that are drawn together. references : see
    `references_of`. peak : see `Rows`. compiled : runs the passes in which no unit is woken.
    """

    def __init__(
        self,
        model: Model,
        wanted: Sequence[Objective],
        *,
        together: Sequence[int] | None = None,
        references: References | None = None,
        peak: bool = False,
        compiled: "tap.Compiled | None" = None,
    ) -> None:
        groups: dict[tuple[str | None, str], list[tuple[int, Term]]] = {}
        for row, objective in enumerate(wanted):
            for term in objective.terms:
                groups.setdefault((term.layer, term.kind), []).append((row, term))
        self._model, self.count, self._compiled = model, len(wanted), compiled
        self._parts: list[tuple[str | None, Tensor, Tensor, Read]] = []
        for (layer, kind), members in groups.items():
            at = torch.tensor([row for row, _ in members], device=model.device)
            bound = torch.tensor([together[row] if together else row for row, _ in members], device=model.device)
            terms = tuple(term for _, term in members)
            given = tuple((references or {}).get((layer, id(term.given))) for term in terms)
            weights = torch.tensor([term.weight for term in terms], device=model.device)
            read = objectives[kind](Rows(model, at, bound, terms, given, peak))
            self._parts.append((layer, at, weights, read))
        self.layers = sorted({layer for layer, _ in groups if layer is not None})
        self._scores = any(layer is None for layer, _ in groups)
        # To go below zero, or up from it, a unit is read before its ReLU.
        self._below = torch.tensor(
            [any(t.weight < 0 and t.layer for t in o.terms) for o in wanted], device=model.device
        )
        self._nobody = torch.zeros(0, dtype=torch.long, device=model.device)
        self._any_below = any(t.weight < 0 and t.layer is not None for o in wanted for t in o.terms)

    def __call__(self, pixels: Tensor, waking: Tensor | None = None) -> Tensor:
        """Return (B,) values for pixels (B, C, H, W) in 0..1.

        waking : numbers of the rows in which silent units are woken: their ReLUs let through what would raise them, and
        the unit is read before its own.
        """
        x = self._model.input.normalise(pixels).to(self._model.dtype)
        if waking is None and not self._any_below:
            return self._values(x, None, None)
        woken = self._nobody if waking is None else waking
        with tap.redirected(woken) as mode:
            values = self._values(x, mode, self._below.index_fill(0, woken, True))
            mode.forget()
        return values

    def _values(self, x: Tensor, mode: "tap.redirected | None", before: Tensor | None) -> Tensor:
        if self._compiled is not None and mode is None:
            captured = self._compiled(x, self.layers, stop=not self._scores)
        else:
            captured = tap.capture(self._model, x, self.layers, stop=not self._scores)
        total = torch.zeros(self.count, device=x.device)
        for layer, at, weights, read in self._parts:
            seen = captured.logits() if layer is None else captured.activations[layer]
            values = read(seen)
            if mode is not None and before is not None and layer is not None:
                given = mode.unrectified(seen)
                if given is not seen:
                    values = torch.where(before[at], read(given), values)
            total = total.index_add(0, at, weights * values)
        return total


def references_of(model: Model, wanted: Sequence[Objective], size: tuple[int, int]) -> References:
    """Return what each layer makes of the images that objectives look at, at the size (H, W) of the patterns."""
    spec = replace(model.input, height=size[0], width=size[1])
    found: References = {}
    with torch.no_grad():
        for term in (term for objective in wanted for term in objective.terms if isinstance(term.given, Image)):
            key = term.layer, id(term.given)
            if key not in found and isinstance(term.given, Image) and term.layer is not None:
                x = term.given.tensor(spec)[None].to(model.device, model.dtype)
                found[key] = tap.capture(model, x, [term.layer]).activations[term.layer][0]
    return found


def moved(objective: Objective, window: Window, stride: tuple[int, int]) -> Objective:
    """Return the objective with its place counted in the grid of a window of the image."""

    def shift(term: Term) -> Term:
        address = term.address
        assert isinstance(address, Address)
        assert address.location is not None
        y, x = address.location
        return replace(
            term, address=replace(address, location=(y - window.top // stride[0], x - window.left // stride[1]))
        )

    return Objective(tuple(map(shift, objective.terms)))
