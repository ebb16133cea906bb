"""Patterns of classes that the plan left out."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from innersight.study.ask import Ask, Scene, Work, check_classes

Class = Annotated[int, Field(ge=0, le=10_000_000)]


class Classes(Ask):
    """What some classes look like to the network: their patterns, drawn with the settings of the study's plan."""

    kind: Literal["classes"]
    classes: Annotated[tuple[Class, ...], Field(min_length=1, max_length=256)]

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the network has no such class."""
        check_classes(study, self.classes)

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield patterns in batches."""
        from innersight.study import items

        for start in range(0, len(self.classes), items.CHUNK):
            classes = self.classes[start : start + items.CHUNK]
            key = f"classes/asked/{','.join(map(str, classes))}"
            yield key, items.drawn(scene), partial(items.class_patterns, scene, classes)
