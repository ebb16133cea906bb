"""Two checkpoints or networks: predictions that changed, units matched, patterns, maps and heatmaps side by side."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels
from innersight.study.plain import below, maybe, number, typed

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from innersight.model import Model
    from innersight.storage.store import Item
    from innersight.study.compared import Compared
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

UNITS = 4  # shown side by side, of each layer
LAYERS = 2  # the deepest ones
LISTED = 60
OWN = Key("diff", part="own")
PAIR = ("unit", "verdict", "before", "correlation", "interval")
KINDS = ("same", "moved", "born", "died", "silent")


def _shown(context: "StudyContext") -> dict[str, list[int]]:
    """Return the units that stand side by side: of the deepest layers those that the study ranks first."""
    from innersight.study.drawing import ranked

    layers = context.gridded()[-LAYERS:]
    return {layer: ranked(context, layer)[: min(UNITS, context.plan.units or UNITS)] for layer in layers}


def _own(context: "StudyContext") -> Outcome:
    """Return what the study's own network gives: the predictions, heatmaps, maps and patterns to compare with."""
    import torch

    from innersight.activations import activations

    shown, model = _shown(context), context.model
    found = _seen(context, model, [None] * len(context.images))
    document, tensors = found
    layers = []
    for k, (layer, units) in enumerate(shown.items()):
        maps = activations(model, context.images, [layer]).values[layer][:, units]
        images = maps.amax((2, 3)).argmax(0).tolist()
        layers.append({"name": layer, "units": units, "images": images})
        tensors[f"maps/{k}"] = torch.stack([maps[image, at] for at, image in enumerate(images)])
        drawn = context.store.get(str(Key("patterns", layer, "0"))) if context.plan.units else None
        if drawn is not None and drawn.document["units"][: len(units)] == units:
            tensors[f"patterns/{k}"] = drawn.tensors()["images"][: len(units)]
    examples = _examples(context, model, list(shown.items()), tensors)
    return {**document, "layers": layers, "examples": examples}, tensors


def _examples(
    context: "StudyContext",
    model: "Model",
    rows: "Sequence[tuple[str, list[int]] | None]",
    tensors: "dict[str, Tensor]",
) -> dict[str, Any] | None:
    """Add the crops that units of the layers shown respond to most, and return their peaks; None without a scan.

    rows : of each layer shown its name and the units; None where the network has none.
    """
    from innersight.image import ImageError
    from innersight.study.cutting import strongest

    named = {k: row for k, row in enumerate(rows) if row is not None}
    try:
        tiles, peaks, images = strongest(context, model, dict(named.values()))
    except ImageError as error:
        return {"images": 0, "peaks": {}, "why": f"an image of the scan can no longer be read ({error})"}
    if not images:
        return None
    tensors |= {f"examples/{k}": tiles[name] for k, (name, _) in named.items()}
    return {"images": images, "peaks": {str(k): peaks[name] for k, (name, _) in named.items()}, "why": None}


def _other(context: "StudyContext", other: "Compared") -> Outcome:
    """Return the same of another network: of each unit shown, the unit that it was or resembles."""
    import torch

    from innersight.activations import activations
    from innersight.matching import match
    from innersight.patterns import patterns
    from innersight.study.concept_sets import images_of
    from innersight.study.drawing import pattern_options

    own, model = context.store.get(str(OWN)), other.model
    if own is None:
        raise InnersightError("the study's own side of the comparison is missing: run the study again")
    classes = [context.model.labels[one["class"]] for one in own.document["predictions"]]
    numbers = [model.labels.index(label) if label in model.labels else None for label in classes]
    document, tensors = _seen(context, model, numbers, known=True)
    layers: list[dict[str, Any]] = []
    found, why = other.matching, None
    try:
        found = found or match(model, context.model, images_of(context), context.plan.layers)
    except InnersightError as error:
        why = str(error)
    matched = {} if found is None else found.layers
    for k, row in enumerate(own.document["layers"]):
        if row["name"] not in matched:
            continue
        rows = matched[row["name"]].rows()
        shown = [{key: rows[unit][key] for key in PAIR} for unit in row["units"]]
        units = [one["unit"] if one["before"] is None else one["before"] for one in shown]
        maps = activations(model, context.images, [row["name"]]).values[row["name"]]
        pairs = zip(row["images"], units, strict=True)
        tensors[f"maps/{k}"] = torch.stack([maps[image, unit] for image, unit in pairs])
        if f"patterns/{k}" in own.tensors():
            what = [f"{row['name']}:{unit}" for unit in units]
            options = {**pattern_options(context.plan, context.plan.steps), "growth": False}
            tensors[f"patterns/{k}"] = patterns(model, what, **options, images=context.images).images
        layers.append({"at": k, "units": units, "rows": shown})
    beside = {row["at"]: (own.document["layers"][row["at"]]["name"], row["units"]) for row in layers}
    about = {
        "name": model.name, "epoch": other.epoch, "why": why, "layers": layers,
        "matched": [_matched(name, one) for name, one in matched.items()],
        "over": 0 if found is None else found.images,
        "examples": _examples(context, model, [beside.get(k) for k in range(len(own.document["layers"]))], tensors),
        "differs": _frame(model) != _frame(context.model),
    }  # fmt: skip
    return {**document, **about}, tensors


def _frame(model: "Model") -> tuple[Any, ...]:
    """Return what decides which part of an image a network sees."""
    spec = model.input
    return spec.height, spec.width, spec.fit, spec.crop if spec.fit == "crop" else 1.0


def _matched(layer: str, found: Any) -> dict[str, Any]:
    rows = found.rows()
    paired = [row["correlation"] for row in rows if row["before"] is not None]
    return {
        "layer": layer, "counts": found.counts(), "cka": found.cka, "threshold": found.threshold,
        "median": sorted(paired)[len(paired) // 2] if paired else None,
        "born": [row["unit"] for row in rows if row["verdict"] == "born"][:LISTED],
        "moved": [[row["before"], row["unit"]] for row in rows if row["verdict"] == "moved"][:LISTED],
        "died": found.died()[:LISTED],
    }  # fmt: skip


def _seen(
    context: "StudyContext", model: "Model", targets: Sequence[int | None], *, known: bool = False
) -> "tuple[dict[str, Any], dict[str, torch.Tensor]]":
    """Return predictions and heatmaps of the images by a network.

    targets : the class explained in each image. None: the predicted class, or where `known` is, a class that this
    network does not have.
    """
    import numpy as np
    import torch

    from innersight.activations import seen_array
    from innersight.heads import readable
    from innersight.heatmaps import explain
    from innersight.predict import predict

    images = context.images
    scores = predict(model, list(images))
    if known and not bool(readable(scores.logits).all()):
        raise InnersightError(f"{model.name} gives scores that are not finite: nothing can be compared with them")
    best = scores.logits.argmax(1).tolist()
    predictions = [scores.top(i, 1)[0] for i in range(len(images))]
    chosen = [i for i, target in enumerate(targets) if target is not None or not known]
    classes = [best[i] if targets[i] is None else targets[i] for i in chosen]
    tensors = {"seen": torch.from_numpy(np.stack([seen_array(image, model) for image in images]))}
    heat: dict[str, Any] = {"images": [], "why": None}
    method = context.plan.methods[0]
    try:
        found = explain(model, [images[i] for i in chosen], classes, [method]) if chosen else None
    except InnersightError as error:
        heat["why"] = str(error)
    else:
        if found is not None:
            layer = found.layer if tuple(found.entries[0].values.shape) != _frame(model)[:2] else None
            heat |= {"images": chosen, "layer": layer, "unit": found.entries[0].unit}
            tensors["heat"] = torch.stack([entry.values.float() for entry in found.entries])
    return {"predictions": predictions, "heat": {**heat, "method": method}}, tensors


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    items = {key.part: item for key, item in reader.all.items() if key.panel == "diff"}
    own = items.pop("own")
    order = sorted(items, key=lambda part: below(int(part), 10_000))
    tensors = {part: item.tensors() for part, item in {"own": own, **items}.items()}
    images = len(reader.items("images")[0].document["images"])
    layers = [_layer(row, images) for row in typed(own.document["layers"], list)]
    shared = _scales(list(tensors.values()), layers, images, [items[part].document for part in order])
    networks = [_network(items[part], tensors[part], files, images, layers, reader.shown) for part in order]
    ours = _side(own.document, tensors["own"], files, images, layers, reader.shown)
    return {"own": ours, "layers": layers, "networks": networks, **shared}


def _layer(row: Any, images: int) -> dict[str, Any]:
    units = [below(unit, 10**6) for unit in typed(row["units"], list)]
    shown = [below(image, images) for image in typed(row["images"], list)]
    if len(units) != len(shown):
        raise ValueError("each unit has one image")
    return {"name": typed(row["name"], str), "units": units, "images": shown}


def _scales(
    tensors: "list[dict[str, Tensor]]", layers: list[dict[str, Any]], images: int, documents: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return one scale for the heatmaps of an image, and one for the maps of a unit, by all networks."""
    import torch

    from innersight.render.colour import scale_of

    def scale(parts: "list[Tensor]") -> dict[str, Any]:
        found = scale_of(torch.cat([part.flatten().float() for part in parts]) if parts else torch.zeros(0))
        return {"limit": found.high, "signed": found.signed, "clipped": False}

    chosen = [list(range(images)), *([below(i, images) for i in one["heat"]["images"]] for one in documents)]
    heat = [
        scale([own["heat"][at.index(i)] for own, at in zip(tensors, chosen, strict=True) if "heat" in own and i in at])
        for i in range(images)
    ]
    maps = [
        [scale([own[f"maps/{k}"][at] for own in tensors if f"maps/{k}" in own]) for at in range(len(row["units"]))]
        for k, row in enumerate(layers)
    ]
    return {"heat_scales": heat, "map_scales": maps}


def _network(
    item: "Item",
    tensors: "dict[str, Tensor]",
    files: Path,
    images: int,
    layers: list[dict[str, Any]],
    shown: Sequence[int],
) -> dict[str, Any]:
    from innersight.render.sheets import colour_sheet

    found = item.document
    rows = []
    for row in typed(found["layers"], list):
        at = below(row["at"], len(layers))
        units = [below(unit, 10**6) for unit in row["units"]]
        if not len(units) == len(row["rows"]) == len(layers[at]["units"]):
            raise ValueError("each unit shown has one beside it")
        rows.append({"at": at, "units": units, "rows": [_pair(one) for one in row["rows"]]})
    return {
        "name": typed(found["name"], str),
        "epoch": maybe(found["epoch"], lambda epoch: below(epoch, 10**9)),
        "why": maybe(found["why"], lambda why: typed(why, str)),
        "matched": [_summary(row) for row in typed(found["matched"], list)],
        "over": below(found.get("over", 0), 10**12),
        "layers": rows,
        "seen": colour_sheet(files, tensors["seen"].numpy()) if found["differs"] is True else None,
        **_side(found, tensors, files, images, layers, shown),
    }


def _pair(row: Any) -> dict[str, Any]:
    return {
        "unit": below(row["unit"], 10**6),
        "verdict": KINDS[KINDS.index(row["verdict"])],
        "before": maybe(row["before"], lambda unit: below(unit, 10**6)),
        "correlation": number(row["correlation"]),
        "interval": [number(end) for end in row["interval"]],
    }


def _summary(row: Any) -> dict[str, Any]:
    return {
        "layer": typed(row["layer"], str),
        "counts": {kind: below(row["counts"][kind], 10**6) for kind in KINDS},
        **{key: maybe(row[key], number) for key in ("cka", "threshold", "median")},
        **{key: [below(unit, 10**6) for unit in row[key]] for key in ("born", "died")},
        "moved": [[below(unit, 10**6) for unit in pair] for pair in row["moved"]],
    }


def _side(
    found: dict[str, Any],
    tensors: "dict[str, Tensor]",
    files: Path,
    images: int,
    layers: list[dict[str, Any]],
    shown: Sequence[int],
) -> dict[str, Any]:
    """Return predictions, heatmaps, maps and patterns of one network."""
    from innersight.render.colour import as_colour
    from innersight.render.sheets import colour_sheet, value_sheet

    keys = ("probability", "logit")
    predictions = [
        {"label": typed(one["label"], str), **{key: maybe(one[key], number) for key in keys}}
        for one in typed(found["predictions"], list)
    ]
    if len(predictions) != images:
        raise ValueError("each image has one prediction")
    heat = found["heat"]
    about = {key: maybe(heat.get(key), lambda text: typed(text, str)) for key in ("method", "layer", "unit", "why")}
    chosen = [below(i, images) for i in typed(heat["images"], list)]
    drawn = {str(k): tensors[f"patterns/{k}"] for k in range(len(layers)) if f"patterns/{k}" in tensors}
    maps = {str(k): tensors[f"maps/{k}"] for k in range(len(layers)) if f"maps/{k}" in tensors}
    return {
        "predictions": predictions,
        "heat": {**about, "images": chosen, "maps": value_sheet(files, tensors["heat"]) if chosen else None},
        "maps": {k: value_sheet(files, own) for k, own in maps.items()},
        "patterns": {k: colour_sheet(files, as_colour(own, shown)) for k, own in drawn.items()},
        "examples": maybe(found.get("examples"), lambda own: _crops(own, tensors, files, layers)),
    }


def _crops(found: Any, tensors: "dict[str, Tensor]", files: Path, layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the examples of one network's units: by layer shown a sheet, `each` for every unit, and their peaks."""
    import torch

    from innersight.render.sheets import colour_sheet

    shown = {}
    for k, peaks in typed(found["peaks"], dict).items():
        crops, values = tensors[f"examples/{below(int(k), len(layers))}"], [list(map(number, own)) for own in peaks]
        if (
            crops.dtype != torch.uint8
            or crops.ndim != 5
            or not len(crops) == len(values) == len(layers[int(k)]["units"])
        ):
            raise ValueError("each unit shown has its examples")
        if max(map(len, values), default=0) > crops.shape[1]:
            raise ValueError(f"{crops.shape[1]} examples of a unit have more peaks")
        shown[str(int(k))] = {
            "sheet": colour_sheet(files, crops.flatten(0, 1).numpy()), "each": crops.shape[1], "peaks": values,
        }  # fmt: skip
    why = maybe(found["why"], lambda text: typed(text, str))
    return {"images": below(found["images"], 10**9), "layers": shown, "why": why}


def _study(reader: "StudyReader", files: Path) -> dict[str, Any]:
    others = [item for item in reader.items("diff") if item.key != str(OWN)]
    return {"compared": [typed(item.document["name"], str) for item in others]}


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any] | None:
    """Leave the comparison out: it is about all images and units together."""
    return None


def _how(reader: "StudyReader") -> str:
    return (
        "Both networks saw the same images. Units are matched one to one by the correlation of their maps over all "
        "locations of the images named there, where it is beyond chance; see `innersight match`. Beside each unit of "
        "this network stands its predecessor, or the unit of the same number where it has none. Patterns of both are "
        "drawn with the same settings, heatmaps are of the same class and method, and the maps of one image, and of "
        "one unit, share a scale in all networks. Examples of both are sought among the same images of the scanned "
        "data set, drawn at random: the crops that a unit responds to most."
    )


def _lost() -> Outcome:
    raise InnersightError("the comparison is damaged: run the study again with --compare")


@panels.register(
    "Differences",
    order=110,
    missing="This network was not compared with another. `innersight study MODEL IMAGES --out STUDY --compare OTHER` "
    "compares it with another checkpoint or network; `--compare epochs` with the epochs that its own training kept.",
    how=_how,
    document=_document,
    study=_study,
    select=_select,
)
def diff(context: "StudyContext") -> Iterator[StudyTask]:
    """The study's network beside each of those it was compared with, now or by an earlier run."""
    if not context.compared:
        for key, settings in context.left(lambda key: key.panel == "diff"):
            yield StudyTask(key, settings, _lost)
        return
    from innersight.study.scanned import scan_settings

    plan, count = context.plan, len(context.images)
    drawing = {key: getattr(plan, key) for key in ("units", "steps", "size", "seed", "seeds")}
    about = {"layers": list(plan.layers), "method": plan.methods[0], "scan": scan_settings(context.store)}
    settings = {**context.base, **drawing, **about}
    yield StudyTask(OWN, settings, partial(_own, context), 6.0 * count)
    units = LAYERS * min(UNITS, plan.units)
    for i, other in enumerate(context.compared):
        named = {"other": other.model.digest(concepts=False), "name": other.model.name, "epoch": other.epoch}
        own = {**settings, **named, **other.matched}
        passes = 12.0 * count + 3.0 * units * plan.steps * plan.seeds
        words = f"differences to {other.model.name}"
        yield StudyTask(Key("diff", part=str(i)), own, partial(_other, context, other), passes, words, True, OWN)
