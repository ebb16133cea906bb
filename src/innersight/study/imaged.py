"""What units and concepts have to do with each image: what its class loses without units, what concepts add to it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from innersight.concepts.images import strongest
from innersight.storage.annotations import Annotation, called
from innersight.storage.key import Key
from innersight.storage.study_folder import written_by_innersight
from innersight.study.plain import below, number, typed
from innersight.study.reader import StudyReader

if TYPE_CHECKING:
    from torch import Tensor

LISTED = 8  # units of a layer, or concepts of a set, of one image


@dataclass(frozen=True)
class Strength:
    """A unit or concept in one image. label : with its name. peak : of its map; None where the study has none.

    change : of the score of the image's class without the unit, or what the concept adds to that score.
    """

    address: str
    label: str
    peak: float | None = None
    change: float | None = None


_Found = dict[str, tuple[Strength, ...]]


def ablated_units(reader: StudyReader, annotations: Mapping[str, Annotation]) -> _Found:
    """Return by image the units of each ablated layer whose removal changes its predicted class most."""
    found: _Found = {}
    for item in reader.items("ablation", images=True):
        key = Key.parse(item.key)
        for image, row in item.document["own"].items():
            changes = [number(one) for one in typed(row["change"], list)]
            order = sorted(range(len(changes)), key=lambda unit: -abs(changes[unit]))
            chosen = [unit for unit in order[:LISTED] if changes[unit]]
            name = key.image or image
            rows = _strengths(reader, key.layer, name, chosen, changes, annotations)
            found[name] = (*found.get(name, ()), *rows)
    return found


def image_concepts(reader: StudyReader, annotations: Mapping[str, Annotation]) -> _Found:
    """Return by image the concepts of each set that contribute most to the score of its class."""
    import torch

    found: _Found = {}
    for key, item in reader.all.items():
        if key.panel != "concepts" or not key.part.endswith("/images"):
            continue
        address = f"{key.layer}~{key.part.removesuffix('/images')}"
        for row in item.document["images"]:
            values = [number(one) for one in typed(row["values"], list)]
            chosen = [one for one in strongest(torch.tensor(values).nan_to_num()) if values[one]]
            name = typed(row["id"], str)
            rows = _strengths(reader, address, name, chosen, values, annotations)
            found[name] = (*found.get(name, ()), *rows)
    return found


def mistaken_concepts(reader: StudyReader, annotations: Mapping[str, Annotation]) -> dict[int, tuple[Strength, ...]]:
    """Return by number in the scan the strongest concepts of the images that the mistakes' page shows."""
    items = reader.items("errors")
    if not items or not items[0].document.get("set"):
        return {}
    with written_by_innersight(f"{reader.store.folder}, the mistakes"):
        address, rows = typed(items[0].document["set"], str), typed(items[0].document["images"], list)
        peaks = items[0].tensors()["strength"]
        if peaks.ndim != 2 or len(peaks) != len(rows):
            raise ValueError(f"{len(rows)} images, strengths {tuple(peaks.shape)}")
        return {
            typed(row["number"], int): _peaks(address, one, annotations) for row, one in zip(rows, peaks, strict=True)
        }


def _peaks(address: str, peaks: "Tensor", annotations: Mapping[str, Annotation]) -> tuple[Strength, ...]:
    values = peaks.float()
    order = values.argsort(descending=True, stable=True)[:LISTED].tolist()
    return tuple(
        Strength(f"{address}:{one}", called(f"{address}:{one}", annotations), float(values[one]))
        for one in order
        if values[one] > 0
    )


def _strengths(
    reader: StudyReader,
    layer: str,
    image: str,
    units: Sequence[int],
    changes: Sequence[float],
    annotations: Mapping[str, Annotation],
) -> Iterator[Strength]:
    maps = _maps(reader, layer, image)
    for unit in units:
        address = f"{layer}:{unit}"
        one = Strength(address, called(address, annotations), change=changes[unit])
        yield one if maps is None else replace(one, peak=float(maps[below(unit, len(maps))].max()))


def _maps(reader: StudyReader, layer: str, image: str) -> "Tensor | None":
    """Return the maps (units, h, w) of an image; None where the study has none."""
    own = image.startswith("d")
    item = reader.item("activations", layer, image if own else "")
    if item is None:
        return None
    maps = item.tensors()["activations"]
    return maps[0] if own else maps[below(int(image.removeprefix("p")), len(maps))]
