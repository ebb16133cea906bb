"""Edit and watch: an image's prediction with units or concepts switched off and a region hidden; nothing is kept."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from innersight.address import Address, parse
from innersight.errors import InnersightError, nearest
from innersight.study.panel import StudyTask, panels
from innersight.study.request import Name, check_image

if TYPE_CHECKING:
    from torch import Tensor

    from innersight.ablation.edit import Edits
    from innersight.study.context import StudyContext

EDIT = "edit"
UNITS = 256
CELLS = 64
TOP = 5
Row = Annotated[str, StringConstraints(pattern=r"^[01]{1,64}$")]


class EditRequest(BaseModel):
    """An image, changed: the prediction is returned and not kept.

    off : addresses of units and concepts that are switched off. hidden : rows of cells over what the network sees, "1"
    where it is hidden. fill : what hidden cells are filled with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["edit"] = "edit"
    image: Name
    off: Annotated[tuple[Name, ...], Field(max_length=UNITS)] = ()
    hidden: Annotated[tuple[Row, ...], Field(max_length=CELLS)] = ()
    fill: Literal["blur", "mean"] = "blur"

    def units(self, known: Mapping[str, int]) -> dict[str, list[int]]:
        """Return the units that are switched off, by layer. known : how many units each layer has.

        Raises InnersightError for what is no address of a unit there.
        """
        found: dict[str, list[int]] = {}
        for one in (address for text in self.off for address in parse(text)):
            if not isinstance(one, Address) or one.unit is None or one.location is not None:
                raise InnersightError(f"{str(one)!r} is no unit: write LAYER:NUMBER")
            if one.layer not in known:
                raise InnersightError(f"no layer {one.layer!r} in this study; {nearest(one.layer, known)}")
            if one.unit >= known[one.layer]:
                raise InnersightError(f"no unit {one.unit}: {one.layer} has the units 0 to {known[one.layer] - 1}")
            if one.unit not in (own := found.setdefault(one.layer, [])):
                own.append(one.unit)
        return found

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where this names something that the document `study` does not have."""
        check_image(study, self.image)
        self.units({layer["name"]: layer["units"] for layer in study["layers"]})
        if len({len(row) for row in self.hidden}) > 1:
            raise InnersightError("hidden: all rows must have the same number of cells")


class EditedClass(BaseModel):
    """A class before and after. probability : None where scores stand for none."""

    number: int
    label: str
    before: float | None
    after: float | None
    logit_before: float
    logit_after: float


class Edited(BaseModel):
    """The prediction of an edited image: the classes most likely before or after, and what was done, in sentences."""

    classes: list[EditedClass]
    done: list[str]


class EditSession:
    """Edits of the images of one study: what is computed up to the first change is remembered."""

    def __init__(self, context: "StudyContext") -> None:
        from innersight.layers import survey

        self._context = context
        self._model = _with_sets(context)
        self._units = {layer.name: layer.units for layer in survey(self._model)}
        self._image = ""
        self._edits: Edits | None = None
        self._before: Tensor | None = None

    def edited(self, request: EditRequest) -> Edited:
        """Return the prediction of the edited image. Raises InnersightError for what the study does not have."""
        import torch

        from innersight.ablation.edit import Edits
        from innersight.trust.imputers import imputers

        off, model = request.units(self._units), self._model
        if request.image != self._image or self._edits is None or self._before is None:
            x = self._context.image(request.image).tensor(model.input).to(model.device, model.dtype)
            stream = torch.Generator().manual_seed(0)
            self._edits = Edits(model, x, {name: imputers[name](x, stream) for name in ("blur", "mean")})
            self._before, self._image = self._edits.logits({}), request.image
        hidden = cells(request.hidden, (model.input.height, model.input.width)) if request.hidden else None
        before, after = self._before, self._edits.logits(off, hidden, request.fill)
        if not bool(after.isfinite().all()):
            raise InnersightError("the class scores of the edited image are not finite: switch less off")
        scores = torch.stack([before, after])
        shares = model.probabilities(scores).tolist() if model.has_probabilities else None
        best = [row.topk(min(TOP, len(row))).indices.tolist() for row in (before, after)]
        numbers = list(dict.fromkeys([*best[0], *best[1]]))
        return Edited(
            classes=[
                EditedClass(
                    number=number,
                    label=model.labels[number],
                    before=None if shares is None else shares[0][number],
                    after=None if shares is None else shares[1][number],
                    logit_before=float(before[number]),
                    logit_after=float(after[number]),
                )
                for number in numbers
            ],
            done=[
                *_off_in_words(off),
                *([] if hidden is None or not bool(hidden.any()) else [_hidden(hidden, request)]),
            ],
        )


def cells(rows: Sequence[str], size: tuple[int, int]) -> Any:
    """Return the pixels (H, W) that cells laid over them hide: each pixel's middle lies in one cell."""
    import torch

    grid = torch.tensor([[letter == "1" for letter in row] for row in rows])
    y, x = (
        ((torch.arange(side) + 0.5) / side * count).long().clamp(max=count - 1)
        for side, count in zip(size, grid.shape, strict=True)
    )
    return grid[y][:, x]


def _off_in_words(off: Mapping[str, Sequence[int]]) -> list[str]:
    found = []
    for layer, units in off.items():
        named = ", ".join(f"{layer}:{unit}" for unit in units)
        several = len(units) > 1
        if "~" in layer:
            found.append(
                f"{named}: {'these concepts were' if several else 'this concept was'} taken out of "
                f"{layer.rpartition('~')[0]} (the activation of the concept times its direction is subtracted at every "
                "location; what no concept explains stays)."
            )
        else:
            found.append(f"{named}: the activation map{'s were' if several else ' was'} set to 0 at every location.")
    return found


def _hidden(hidden: Any, request: EditRequest) -> str:
    from innersight.trust.imputers import imputers

    with_what = imputers.entry(request.fill).summary.rstrip(".")
    share = float(hidden.float().mean())
    return f"{share:.1%} of what the network sees was filled with {with_what[0].lower()}{with_what[1:]}."


def _with_sets(context: "StudyContext") -> Any:
    """Return the network with all sets of concepts of the study as layers."""
    from innersight.concepts.keep import KeptConcepts, read_set
    from innersight.study.concept_sets import key_of

    if not context.sets:
        return context.model
    sets = tuple(read_set(context.store, str(key_of(address))) for address in context.sets)
    return context.model.with_concepts(KeptConcepts(sets))


@panels.register("Edit and watch", order=82)
def edit(context: "StudyContext") -> Iterator[StudyTask]:
    """Nothing: edits are computed when they are asked for, and not kept."""
    yield from ()
