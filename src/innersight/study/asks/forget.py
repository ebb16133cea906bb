"""Taking a picture out again that was dropped onto the page."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from innersight.errors import InnersightError
from innersight.study.ask import Ask, Name, Scene, Work, check_picture
from innersight.study.asks.heatmaps import Heatmaps
from innersight.study.asks.picture import Picture


class Forget(Ask):
    """A picture that was added later leaves the study, with everything computed for it alone."""

    kind: Literal["forget"]
    picture: Name

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study has no such picture, or was made of it."""
        check_picture(study, self.picture)
        if not self.picture.startswith("d"):
            raise InnersightError(f"the study was made of {self.picture}: run it again without; only added ones leave")

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield nothing: see `innersight.study.later`."""
        yield from ()

    def undoes(self, other: Ask) -> bool:
        """Say whether what was asked earlier is about this picture alone."""
        if isinstance(other, Picture):
            return other.id == self.picture
        return isinstance(other, Heatmaps) and other.picture == self.picture

    def holds(self, key: str) -> bool:
        """Say whether an item is about this picture alone."""
        return f"{key}/".startswith((f"added/{self.picture}/", f"heatmaps/{self.picture}/"))
