"""The atlas of a layer: its activation vectors on a map, and where the images of the study lie on it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.errors import InnersightError
from innersight.study.panel import Outcome, Selection, StudyTask, panels

if TYPE_CHECKING:
    from torch import Tensor

    from innersight.study.content import Content
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

PANEL = "atlas"
CONCEPTS = 3  # shown of a cell


def _study(reader: "StudyReader", files: Path) -> dict[str, Any]:
    return {"atlases": [name for name in reader.layer_names() if reader.item(PANEL, name) is not None]}


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    item = reader.item(PANEL, row["name"])
    if item is None:
        return {"atlas": None}
    from innersight.render.sheets import colour_sheet

    found, tensors = item.document, item.tensors()
    names = [_short(name) for name in found["crop_names"]]
    crops = _pixels(tensors["crops"], len(names))
    labels = reader.model.document["model"]["labels"]
    numbers = [int(number) for number, _ in found["classes"]]
    if any(not 0 <= number < len(labels) for number in numbers):
        raise ValueError(f"classes {numbers}, and the network has {len(labels)}")
    classes = [{"number": number, "label": str(labels[number])} for number in numbers]
    levels = [_level(int(grid), tensors, files, len(classes), len(names), reader.shown) for grid in found["grids"]]
    for level in levels:
        level["concepts"] = _concepts(reader, row["name"], tensors[f"{level['grid']}/mean"].float())
    return {
        "atlas": {
            **{key: int(found[key]) for key in ("images", "vectors")},
            "trustworthiness": float(found["trustworthiness"]),
            "unit": str(found["unit"]),
            "layout": _title(str(found["settings"]["layout"])),
            "classes": classes,
            "levels": levels,
            "crops": colour_sheet(files, crops),
            "names": names,
            "location": _whole(tensors["crop_location"], (len(names), 2)),
            "notes": [str(note) for note in found["notes"]],
            "trace": _traces(reader, row["name"], tensors[f"{found['grids'][-1]}/mean"]),
        }
    }


def _level(
    grid: int, tensors: "Mapping[str, Tensor]", files: Path, classes: int, crops: int, shown: list[int]
) -> dict[str, Any]:
    from innersight.render.sheets import colour_sheet

    own = {name: tensors[f"{grid}/{name}"] for name in ("position", "count", "attribution", "share", "examples")}
    cells = len(own["position"])
    position, examples = _whole(own["position"], (cells, 2)), _whole(own["examples"], (cells, own["examples"].shape[1]))
    inside = all(0 <= i < grid for row in position for i in row)
    if not inside or any(not -1 <= i < crops for row in examples for i in row):
        raise ValueError(f"cells of level {grid} lie outside of it, or name crops that are not there")
    patterns = tensors.get(f"{grid}/patterns")
    return {
        "grid": grid,
        "row": [row for row, _ in position],
        "column": [column for _, column in position],
        "count": _whole(own["count"], (cells,)),
        "attribution": _numbers(own["attribution"], (cells, classes)),
        "share": _numbers(own["share"], (cells, classes)),
        "examples": [[i for i in row if i >= 0] for row in examples],
        "patterns": None if patterns is None else colour_sheet(files, _pixels(patterns, cells)[..., shown]),
    }


def _concepts(reader: "StudyReader", layer: str, means: "Tensor") -> list[list[dict[str, Any]]]:
    """Return for each cell the concepts that are strongest in its mean vector, of all sets of the layer."""
    from innersight.concepts.keep import factorization_of, is_set

    cells: list[list[dict[str, Any]]] = [[] for _ in range(len(means))]
    for key, item in reader.all.items():
        if is_set(key) and key.layer == layer:
            for own, codes in zip(cells, factorization_of(item).encode(means).tolist(), strict=True):
                own += [{"set": key.part, "concept": k, "value": value} for k, value in enumerate(codes) if value > 0]
    strongest = [sorted(own, key=lambda one: -one["value"])[:CONCEPTS] for own in cells]
    return [[{**one, "value": float(f"{one['value']:.4g}")} for one in own] for own in strongest]


def _pixels(values: "Tensor", count: int) -> Any:
    import torch

    if values.dtype != torch.uint8 or values.ndim != 4 or len(values) != count:
        raise ValueError(f"pixels are {values.dtype} {tuple(values.shape)}, and {count} are stated")
    return values.numpy()


def _whole(values: "Tensor", shape: tuple[int, ...]) -> Any:
    import torch

    if values.dtype != torch.int64 or tuple(values.shape) != shape:
        raise ValueError(f"numbers are {values.dtype} {tuple(values.shape)} instead of {shape}")
    return values.tolist()


def _numbers(values: "Tensor", shape: tuple[int, ...]) -> list[list[float]]:
    """Return numbers in four digits: the page shows three, and there are tens of thousands of them."""
    if tuple(values.shape) != shape:
        raise ValueError(f"numbers are {tuple(values.shape)} instead of {shape}")
    return [[float(f"{value:.4g}") for value in row] for row in values.tolist()]


def _short(name: str) -> str:
    return "/".join(Path(str(name)).parts[-2:])


def _title(layout: str) -> str:
    from innersight.atlas.layouts import layouts

    return layouts.entry(layout).title if layout in layouts else layout


def _traces(reader: "StudyReader", layer: str, means: "Tensor") -> dict[str, Any]:
    """Return by image the cell of the finest level that each location of the layer's grid is most like."""
    from innersight.atlas.result import trace

    maps = reader.item("activations", layer)
    found = {} if maps is None else {f"p{i}": one for i, one in enumerate(maps.tensors()["activations"])}
    found |= {name: item.tensors()["activations"][0] for name, item in reader.added("activations", layer).items()}
    traces = {name: trace(one.float(), means.float()) for name, one in found.items()}
    return {
        name: {"cells": one.cells.tolist(), "cosine": _numbers(one.cosine, tuple(one.cells.shape))}
        for name, one in traces.items()
    }


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    found = document["atlas"]
    # An atlas is of all units together.
    if found is None or chosen.units is not None:
        return {"atlas": None}
    return {"atlas": {**found, "trace": {name: one for name, one in found["trace"].items() if name in chosen.images}}}


def _export(reader: "StudyReader", content: "Content") -> None:
    from innersight.study.content import sheet_of

    for layer in reader.layer_names():
        item = reader.item(PANEL, layer)
        if item is None:
            continue
        tensors = item.tensors()
        for grid in map(int, item.document["grids"]):
            if f"{grid}/patterns" in tensors:
                own = tensors[f"{grid}/patterns"]
                content.sheets[f"atlas/{layer}/{grid}"] = sheet_of(_pixels(own, len(own))[..., reader.shown])


def _lost() -> Outcome:
    raise InnersightError("an atlas is damaged: run `innersight atlas` again")


@panels.register(
    "Atlas",
    order=96,
    missing="No atlas was made. `innersight atlas MODEL FOLDER --layer LAYER --out STUDY` lays out what a layer tells "
    "apart.",
    how="Activation vectors are drawn at random from all locations of all images and laid out so that vectors of "
    "similar direction are neighbours. A pattern maximizes the mean vector of its cell, less the mean of all, "
    "whitened by the layer's covariance (Carter et al. 2019). A crop is the effective receptive field of one "
    "of the vectors. Attribution is gradient × activation of the vectors on their own images, averaged over the cell.",
    layer=_layer,
    study=_study,
    select=_select,
    export=_export,
)
def atlas(context: "StudyContext") -> Iterator[StudyTask]:
    """What `innersight atlas` left here of this network, kept as it is, with what an interrupted one has done."""
    for key, settings in context.left(lambda key: key.panel == PANEL):
        yield StudyTask(key, settings, _lost)
