"""Requests: what can be asked of a study beyond what it computes by default. Nothing here loads torch."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from innersight.errors import InnersightError, nearest
from innersight.storage.key import Key
from innersight.study.panel import StudyTask

if TYPE_CHECKING:
    from innersight.study.context import StudyContext

AT_ONCE = 4
Unit = Annotated[int, Field(ge=0, le=1_000_000)]
ClassNumber = Annotated[int, Field(ge=0, le=10_000_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class StudyRequest(BaseModel):
    """Something to be computed for a study; plain data, checked. Subclasses name their `kind` and their fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    @classmethod
    def of_kind(cls) -> str:
        """Return the kind that requests of this class name."""
        return str(get_args(cls.model_fields["kind"].annotation)[0])

    @abstractmethod
    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield the tasks whose items answer this request; their keys are the same in every run."""

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where this names something that the document `study` does not have."""


class LayerRequest(StudyRequest):
    """Something about a layer."""

    layer: Name

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study lists no such layer."""
        known = [layer["name"] for layer in study["layers"]]
        if self.layer not in known:
            raise InnersightError(f"no layer {self.layer!r} in this study; {nearest(self.layer, known)}")


class UnitsRequest(LayerRequest):
    """Something about some units of a layer."""

    units: Annotated[tuple[Unit, ...], Field(min_length=1, max_length=256)]

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study lists no such layer, or the layer has no such unit."""
        super().check(study)
        count = next(layer["units"] for layer in study["layers"] if layer["name"] == self.layer)
        for unit in self.units:
            if unit >= count:
                raise InnersightError(f"no unit {unit}: {self.layer} has the units 0 to {count - 1}")

    def batches(self) -> Iterator[tuple[int, ...]]:
        """Yield the units a few at a time: whoever cancels keeps those that are finished."""
        units = tuple(dict.fromkeys(self.units))
        for start in range(0, len(units), AT_ONCE):
            yield units[start : start + AT_ONCE]


def units_key(panel: str, layer: str, units: Sequence[int]) -> Key:
    """Return the key of an item of these units of a layer."""
    return Key(panel, layer, f"units={','.join(map(str, units))}")


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
