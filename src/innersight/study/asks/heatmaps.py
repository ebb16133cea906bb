"""Heatmaps of one image: by any methods, for any class, or one class against another."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from innersight.study.ask import Ask, Name, Scene, Work, check_classes, check_image
from innersight.study.asks.classes import Class


class Heatmaps(Ask):
    """Which part of an image speaks for a class; without `target` for the class that the network predicts.

    versus : a class whose score is taken off: why this one and not that.
    """

    kind: Literal["heatmaps"]
    image: Name
    methods: Annotated[tuple[Name, ...], Field(min_length=1, max_length=40)]
    target: Class | None = None
    versus: Class | None = None

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study has no such image or class."""
        check_image(study, self.image)
        check_classes(study, (self.target, self.versus))

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield one item for each method, the cheap ones in the order asked."""
        from innersight.study import items

        image = scene.image(self.image)
        for method in dict.fromkeys(self.methods):
            key = f"heatmaps/{self.image}/{method}/{_word(self.target)}-{_word(self.versus)}"
            make = partial(items.heatmaps_of, scene.model, {self.image: image}, [method], self.target, self.versus)
            yield key, scene.settings(self.image), make


def _word(target: int | None) -> str:
    return "" if target is None else str(target)
