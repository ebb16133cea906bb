"""StudyContext: what the items of a study are computed from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from innersight.errors import InnersightError, nearest
from innersight.image import Image
from innersight.layer import Layer
from innersight.layers import survey
from innersight.model import Model
from innersight.storage.key import Key
from innersight.storage.permit import Permit
from innersight.storage.store import Item, Store
from innersight.study.compared import Compared
from innersight.study.concept_sets import layered, state_of
from innersight.study.plan import Plan
from innersight.train.logs import TrainingLog


@dataclass(frozen=True, eq=False)
class StudyContext:
    """What the items of a study are computed from.

    Parameters
    ----------
    model, images, plan
        The network, the images that the study was made of, and its settings.
    store
        Holds the finished items.
    base
        Settings that every result depends on.
    permit
        Which other images may be read.
    added
        Images that were dropped onto the page later, by id.
    layers
        Layers whose activation maps are in the study.
    sets
        The settings that each set of concepts is made with, by its address.
    skipped
        One sentence for each file that could not be read.
    progress
        Takes the finished share, 0 to 1, of the item at work.
    log
        The log of its training that was given.
    compared
        The networks that it is compared with.
    made
        The network with sets of concepts, by the state of these; filled when first asked for.

    """

    model: Model
    images: tuple[Image, ...]
    plan: Plan
    store: Store
    base: dict[str, Any]
    permit: Permit
    added: Mapping[str, Image] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    progress: Callable[[float], None] = lambda share: None
    log: TrainingLog | None = None
    compared: tuple[Compared, ...] = ()
    made: dict[str, Model] = field(default_factory=dict, repr=False)

    def image(self, name: str) -> Image:
        """Return the image with this id. Raises InnersightError naming those there are."""
        known = {**{f"p{i}": image for i, image in enumerate(self.images)}, **self.added}
        if name not in known:
            raise InnersightError(f"the study has no image {name!r}; {nearest(name, known)}")
        return known[name]

    def settings(self, name: str) -> dict[str, Any]:
        """Return the settings that results for one image alone depend on."""
        return {**self.base, "images": self.image(name).digest()}

    def about(self, layer: str) -> dict[str, Any]:
        """Return the settings that results about a layer depend on: of concepts also those of their set."""
        return {**self.base, "set": dict(self.sets[layer])} if layer in self.sets else self.base

    def over(self, image: str = "", layer: str = "") -> tuple[tuple[Image, ...], dict[str, Any]]:
        """Return the images of the study, or the one with an id, and the settings that results over them depend on.

        layer : that the results are about.
        """
        if not image:
            return self.images, self.about(layer)
        return (self.image(image),), {**self.about(layer), **self.settings(image)}

    def model_of(self, layer: str) -> Model:
        """Return the network, where a set of concepts of the study is named, with that set as a layer."""
        if layer not in self.sets:
            return self.model
        state = state_of(self.store, layer)
        if state not in self.made:
            self.made[state] = layered(self.model, self.store, layer)
        return self.made[state]

    def item(self, panel: str, layer: str = "") -> Item | None:
        """Return a finished item of a panel, or None."""
        return self.store.get(str(Key(panel, layer)))

    def left(self, wanted: Callable[[Key], bool]) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Yield key and settings of the whole items of this network that a command left here, those that are wanted."""
        for name in self.store.names():
            key = Key.parse(name)
            settings = self.store.settings(name) if wanted(key) else None
            mine = settings is not None and settings.get("model") == self.base["model"]
            if settings is not None and mine and self.store.done(name, settings):
                yield key, settings

    def surveyed(self, layer: str = "") -> dict[str, Layer]:
        """Return the network's layers by name; with a set of concepts where it is named."""
        return {found.name: found for found in survey(self.model_of(layer))}

    def gridded(self) -> list[str]:
        """Return the plan's layers whose maps have more than one position."""
        known = self.surveyed()
        return [name for name in self.plan.layers if known[name].grid != (1, 1)]
