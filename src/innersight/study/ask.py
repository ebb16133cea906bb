"""Ask: something to be computed for a study beyond its plan; and Scene: what it is computed from."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from innersight.errors import InnersightError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from innersight.image import Image
    from innersight.model import Model
    from innersight.storage.permit import Permit
    from innersight.storage.store import Store
    from innersight.study.plan import Plan

AT_ONCE = 4
Unit = Annotated[int, Field(ge=0, le=1_000_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Outcome = tuple[dict[str, Any], "dict[str, Tensor]"]
Work = tuple[str, dict[str, Any], Callable[[], Outcome]]
"""(key, the settings its result depends on, what computes it)."""


class Ask(BaseModel):
    """Something to be computed for a study; plain data, checked. Subclasses name their `kind` and their fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    @abstractmethod
    def items(self, scene: "Scene") -> Iterator[Work]:
        """Yield the items that answer this ask; their keys are the same in every run."""

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where this names something that the document `study` does not have."""


class UnitsAsk(Ask):
    """Something about some units of a layer."""

    layer: Name
    units: Annotated[tuple[Unit, ...], Field(min_length=1, max_length=256)]

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study lists no such layer, or the layer has no such unit."""
        check_layer(study, self.layer)
        count = next(layer["units"] for layer in study["layers"] if layer["name"] == self.layer)
        for unit in self.units:
            if unit >= count:
                raise InnersightError(f"no unit {unit}: {self.layer} has the units 0 to {count - 1}")

    def batches(self) -> Iterator[tuple[int, ...]]:
        """Yield the units a few at a time: whoever cancels keeps those that are finished."""
        units = tuple(dict.fromkeys(self.units))
        for start in range(0, len(units), AT_ONCE):
            yield units[start : start + AT_ONCE]


@dataclass(frozen=True, eq=False)
class Scene:
    """What the items of a study are computed from.

    images : those the study was made of. permit : which other images may be read. added : those dropped onto the page
    later, by id. layers : those whose maps are in the study. base : settings that every result depends on. tell : takes
    the finished share, 0 to 1, of the item at work.
    """

    model: "Model"
    images: "tuple[Image, ...]"
    plan: "Plan"
    store: "Store"
    base: dict[str, Any]
    permit: "Permit"
    added: "dict[str, Image]" = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    tell: Callable[[float], None] = lambda share: None

    def image(self, name: str) -> "Image":
        """Return the image with this id. Raises InnersightError naming those there are."""
        known = {**{f"p{i}": image for i, image in enumerate(self.images)}, **self.added}
        if name not in known:
            raise InnersightError(f"the study has no image {name!r}; {nearest(name, known)}")
        return known[name]

    def settings(self, name: str) -> dict[str, Any]:
        """Return the settings that results for one image alone depend on."""
        return {**self.base, "images": self.image(name).digest()}


def check_layer(study: Mapping[str, Any], name: str) -> None:
    """Raise InnersightError where the document `study` lists no such layer."""
    known = [layer["name"] for layer in study["layers"]]
    if name not in known:
        raise InnersightError(f"no layer {name!r} in this study; {nearest(name, known)}")


def check_image(study: Mapping[str, Any], name: str) -> None:
    """Raise InnersightError where the document `study` lists no such image."""
    known = [image["id"] for image in study["images"]]
    if name not in known:
        raise InnersightError(f"no image {name!r} in this study; {nearest(name, known)}")


def check_classes(study: Mapping[str, Any], classes: Sequence[int | None]) -> None:
    """Raise InnersightError where the network has no class of such a number."""
    count = len(study["model"]["labels"])
    for number in classes:
        if number is not None and number >= count:
            raise InnersightError(f"no class {number}: this network has the classes 0 to {count - 1}")
