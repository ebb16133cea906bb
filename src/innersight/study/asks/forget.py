"""Taking an image out again that was dropped onto the page."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from innersight.errors import InnersightError
from innersight.study.ask import Ask, Name, Scene, Work, check_image
from innersight.study.asks.heatmaps import Heatmaps
from innersight.study.asks.image import Image


class Forget(Ask):
    """An image that was added later leaves the study, with everything computed for it alone."""

    kind: Literal["forget"]
    image: Name

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study has no such image, or was made of it."""
        check_image(study, self.image)
        if not self.image.startswith("d"):
            raise InnersightError(f"the study was made of {self.image}: run it again without; only added ones leave")

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield nothing: see `innersight.study.later`."""
        yield from ()

    def undoes(self, other: Ask) -> bool:
        """Say whether what was asked earlier is about this image alone."""
        if isinstance(other, Image):
            return other.id == self.image
        return isinstance(other, Heatmaps) and other.image == self.image

    def holds(self, key: str) -> bool:
        """Say whether an item is about this image alone."""
        return f"{key}/".startswith((f"added/{self.image}/", f"heatmaps/{self.image}/"))
