"""StudyReader: the finished items of a study, as the documents and exports are made from them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from innersight.storage.key import Key
from innersight.storage.store import Item, Store
from innersight.study.panel import ordered


@dataclass(frozen=True)
class StudyReader:
    """The items of a study. model : the item `model`."""

    store: Store
    model: Item

    @cached_property
    def all(self) -> dict[Key, Item]:
        """All items by their keys, in the order they were first made."""
        return {Key.parse(item.key): item for item in self.store.items()}

    @property
    def plan(self) -> dict[str, Any]:
        """The settings of the study as plain data."""
        found: dict[str, Any] = self.model.document["plan"]
        return found

    @property
    def shown(self) -> list[int]:
        """The bands that are shown as red, green and blue."""
        found: list[int] = self.model.document["model"]["input"]["shown"]
        return found

    def item(self, panel: str, layer: str = "", image: str = "") -> Item | None:
        """Return one item of a panel, or None."""
        return self.all.get(Key(panel, layer, image=image))

    def items(self, panel: str, layer: str | None = None, *, images: bool = False) -> list[Item]:
        """Return the items of a panel, of one layer where it is given; those of single images where `images` is."""
        return [
            item
            for key, item in self.all.items()
            if key.panel == panel and (layer is None or key.layer == layer) and (images or not key.image)
        ]

    def added(self, panel: str, layer: str = "") -> dict[str, Item]:
        """Return what a panel has of each image that was added later, by the image's id, in the order of the images."""
        names = [key.image for key in self.all if key.panel == "images" and key.image]
        found = ((name, self.item(panel, layer, name)) for name in names)
        return {name: item for name, item in found if item is not None}

    @cached_property
    def layers(self) -> list[dict[str, Any]]:
        """What is known of each layer, in the order of the forward pass; what panels add follows the layer it reads."""
        rows = []
        for row in self.model.document["layers"]:
            rows.append(row)
            rows += [one for entry in ordered() if entry.layers is not None for one in entry.layers(self, row)]
        return rows

    def layer_names(self) -> list[str]:
        """Return the layers that have a document: the plan's first, then the others in the network's order."""
        known = dict.fromkeys([*self.plan["layers"], *(row["name"] for row in self.layers)])
        return list(known)
