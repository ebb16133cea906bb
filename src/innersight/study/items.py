"""What the items of a study are made of: each function returns a document of plain data, and tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from innersight.activations import activations, seen_array
from innersight.address import Address, ClassAddress
from innersight.compare import DEFINITION, compare
from innersight.errors import InnersightError
from innersight.heatmaps import explain
from innersight.heatmaps.result import Heatmap, Heatmaps
from innersight.heatmaps.target import RUNNER_UP
from innersight.image import Image
from innersight.layers import check_layers, survey
from innersight.model import Model
from innersight.patterns import Patterns, patterns
from innersight.patterns.objectives import Target
from innersight.predict import Prediction, predict
from innersight.quotients import scaled
from innersight.receptive_field import receptive_fields
from innersight.render.sheets import small
from innersight.sources.run_card import read_card
from innersight.storage.bounded import read_json
from innersight.storage.store import Store
from innersight.storage.study_folder import written_by_innersight
from innersight.study.ask import Outcome, Scene
from innersight.study.causes import connected
from innersight.study.plan import ITEMS, Plan
from innersight.study.scanned import examples

CHUNK = 16


def card(model: Model, plan: Plan, skipped: list[str], warnings: Sequence[str]) -> Outcome:
    """Return the model's card: what it is, what seems wrong with its input, its layers, and the plan."""
    layers = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "role": layer.role,
            "units": layer.units,
            "grid": list(layer.grid),
            "parameters": layer.parameters,
            "prefix": layer.prefix,
        }
        for layer in survey(model)
        if layer.role in ("conv", "linear", "block") or layer.name in plan.layers
    ]
    spec = model.input
    facts = {
        "name": model.name,
        "source": model.source,
        "parameters": sum(p.numel() for p in model.net.parameters()),
        "labels": list(model.labels),
        "notes": list(model.notes),
        "warnings": list(warnings),
        "input": {
            "channels": spec.channels,
            "height": spec.height,
            "width": spec.width,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "fit": spec.fit,
            "crop": spec.crop,
            "resample": spec.resample,
            "shown": list(spec.shown),
            "guessed": list(spec.guessed),
        },
    }
    return {
        "format": ITEMS,
        "digest": model.digest(),
        "plan": plan.to_json(),
        "skipped": skipped,
        # Names of files in the model's source may be relative to it.
        "where": str(Path.cwd()),
        "model": facts,
        "layers": layers,
    }, {}


def images_of(model: Model, images: tuple[Image, ...]) -> Outcome:
    """Return the images: what they are, what is predicted, what the network sees, and where to read them again."""
    said: Prediction = predict(model, images)
    rows = [_image_row(model, image, f"p{i}", said, i) for i, image in enumerate(images)]
    tensors = {"seen": torch.from_numpy(np.stack([seen_array(image, model) for image in images]))}
    for i, image in enumerate(images):
        tensors[f"original/{i}"] = torch.from_numpy(small(image.display(model.input)))
        if image.network is not None:
            tensors[f"input/{i}"] = image.network.values.clone()
        elif image.path is None:
            tensors[f"source/{i}"] = torch.from_numpy(np.array(image.pil if image.bands is None else image.bands))
    sources = [
        {"path": path, "digest": image.digest(), "label": image.label, "folder": image.folder}
        for path, image in zip(paths_of(images), images, strict=True)
    ]
    return {"images": rows, "sources": sources}, tensors


def paths_of(images: Sequence[Image]) -> list[str | None]:
    """Return where to read the images again; None for those that have no file."""
    return [str(image.path.resolve()) if image.path else None for image in images]


def one_image(model: Model, image: Image, name: str) -> Outcome:
    """Return an image added later, with the id `name`."""
    row = _image_row(model, image, name, predict(model, [image]), 0)
    original = torch.from_numpy(small(image.display(model.input)))
    return {"image": row}, {"seen": torch.from_numpy(np.array(seen_array(image, model))), "original": original}


def _image_row(model: Model, image: Image, name: str, said: Prediction, at: int) -> dict[str, Any]:
    box = image.box(model.input)
    truth = said.ground_truth[at]
    return {
        "id": name,
        "name": image.name,
        "width": image.width,
        "height": image.height,
        "box": [box.left, box.top, box.right, box.bottom],
        "notes": list(image.notes),
        "truth": model.labels[truth] if truth >= 0 else None,
        "prediction": said.top(at),
    }


def maps_of(model: Model, images: tuple[Image, ...], layer: str) -> Outcome:
    """Return maps of all units of a layer."""
    return {}, {"activations": activations(model, images, [layer]).values[layer]}


def compared(model: Model, images: tuple[Image, ...], layer: str) -> Outcome:
    """Return the units of a layer compared between images."""
    return {"definition": DEFINITION, "rank": compare(model, images, layer).rank()}, {}


def fields_of(model: Model, layers: Sequence[str]) -> Outcome:
    """Return what a place of each layer sees."""
    return {name: asdict(found) for name, found in receptive_fields(model, layers).items()}, {}


def first_conv(model: Model) -> str | None:
    """Return the name of the convolution that sees the image itself, if its kernels can be shown in colour."""
    for name, module in model.net.named_modules():
        weight = getattr(module, "weight", None)
        # By its weights (units, channels, h, w) and not by its class: exported networks have classes of their own.
        if isinstance(weight, Tensor) and weight.ndim == 4:
            return name if weight.shape[1] == model.input.channels == 3 and min(weight.shape[2:]) > 1 else None
    return None


def kernels_of(model: Model, name: str) -> Outcome:
    """Return the weights of the convolution that sees the image, as colours around grey."""
    weight = model.net.get_parameter(f"{name}.weight").detach().float().cpu()
    return {"layer": name}, {"pixels": 0.5 + scaled(weight, (1, 2, 3)) / 2}


def planned_heatmaps(model: Model, images: tuple[Image, ...], plan: Plan) -> Outcome:
    """Return the heatmaps of the plan: the class, its runner-up, and the one less the other."""
    found = explain(model, images, plan.target, plan.methods)
    entries = list(found.entries)
    if plan.rivals and len(model.labels) > 1:
        entries += explain(model, images, plan.target, plan.methods, versus=RUNNER_UP).entries
        for image in images:
            rival = next(entry.rival for entry in reversed(entries) if entry.image == image)
            entries += explain(model, image, rival, plan.methods).entries
    return _kept(model, {f"p{i}": image for i, image in enumerate(images)}, found, entries)


def heatmaps_of(
    model: Model, images: Mapping[str, Image], methods: Sequence[str], target: int | None, versus: int | None
) -> Outcome:
    """Return heatmaps of images, by id, for one class (the predicted one when None), or one against another."""
    found = explain(model, list(images.values()), target, methods, versus=versus)
    return _kept(model, images, found, found.entries)


def _kept(model: Model, images: Mapping[str, Image], found: Heatmaps, entries: Sequence[Heatmap]) -> Outcome:
    index = {image: name for name, image in images.items()}
    grid = None if found.layer is None else check_layers(model, [found.layer])[0].grid
    # A mistake is explained against its runner-up in any case: each question is kept once.
    asked = {(index[entry.image], entry.method, entry.target, entry.rival): entry for entry in reversed(entries)}
    rows = {key: _heatmap(model, key[0], entry, grid) for key, entry in reversed(asked.items())}
    tensors = {str(i): asked[key].values for i, key in enumerate(rows)}
    return {"layer": found.layer, "why": found.why, "entries": list(rows.values())}, tensors


def _heatmap(model: Model, image: str, entry: Heatmap, grid: tuple[int, int] | None) -> dict[str, Any]:
    def label(number: int | None) -> str | None:
        return None if number is None else model.labels[number]

    return {
        "image": image,
        "method": entry.method,
        "class": entry.target,
        "label": label(entry.target),
        "rival": entry.rival,
        "rival_label": label(entry.rival),
        "question": entry.question,
        "unit": entry.unit,
        "logit": entry.logit,
        "probability": entry.probability,
        "scale": {"high": entry.scale.high, "clipped": entry.scale.clipped},
        "verdict": entry.verdict,
        "doubt": entry.doubt,
        "at_layer": tuple(entry.values.shape) == grid,
    }


def trained(run: Path) -> Outcome:
    """Return the record of the training that made the network."""
    telemetry = read_json(run / "telemetry.json", what="training record")
    if not isinstance(telemetry, dict):
        raise InnersightError(f"{run}: telemetry.json is no training record")
    card = read_card(run)
    return {**telemetry, "metrics": card.metrics, "recipe": card.recipe, "labels": card.labels}, {}


def ranked_patterns(scene: Scene, layer: str, span: range) -> Outcome:
    """Return patterns of the units of a layer that stand at the places `span` of its ranking."""
    order = _order(scene.store, layer)
    return patterns_of(scene, layer, [order[i] for i in span])


def patterns_of(scene: Scene, layer: str, units: Sequence[int]) -> Outcome:
    """Return patterns of units of a layer, and what the other seeds drew."""
    found = _draw(scene, [Address(layer, unit) for unit in units], scene.plan.steps)
    others = [
        [one for j, one in enumerate(own) if j != best] for own, best in zip(found.every, found.best, strict=True)
    ]
    tensors = {"images": found.images}
    if scene.plan.seeds > 1:
        tensors["others"] = torch.stack([torch.stack(own) for own in others])
    return {"units": list(units), **_scored(found)}, tensors


def ranked_connections(scene: Scene, layer: str, count: int) -> Outcome:
    """Return the connections of the best ranked units of a layer."""
    return connected(scene.model, scene.images, layer, _order(scene.store, layer)[:count])


def ranked_negatives(scene: Scene, layer: str, count: int) -> Outcome:
    """Return what switches the best ranked units of a layer off."""
    return negatives_of(scene, layer, _order(scene.store, layer)[:count])


def negatives_of(scene: Scene, layer: str, units: Sequence[int]) -> Outcome:
    """Return what switches these units of a layer off."""
    found = _draw(scene, [f"-{Address(layer, unit)}" for unit in units], scene.plan.steps)
    return {"units": list(units), **_scored(found)}, {"images": found.images}


def examples_of(scene: Scene, layer: str, count: int) -> Outcome:
    """Return examples of the best ranked units of a layer, from the scan in the study's folder."""
    return examples(scene, layer, _order(scene.store, layer)[:count])


def _order(store: Store, layer: str) -> list[int]:
    """Return units in the order in which their patterns are drawn: compare's ranking, else the highest peak first."""
    compared, stored = store.get(f"compare/{layer}"), store.get(f"activations/{layer}")
    with written_by_innersight(f"{store.folder}, the ranking of {layer}"):
        if compared:
            return [int(row["unit"]) for row in compared.document["rank"]]
        if stored is None:
            raise InnersightError(f"{store.folder}: the maps of {layer} are missing; run the study again")
        return stored.tensors()["activations"].amax((0, 2, 3)).argsort(descending=True, stable=True).tolist()


def planned_classes(scene: Scene) -> Outcome:
    """Return patterns of the classes that the images are taken for, of the target, and of all where they are few."""
    said = predict(scene.model, scene.images)
    wanted = [said.top(i, 1)[0]["class"] for i in range(len(scene.images))]
    if scene.plan.target is not None:
        wanted.insert(0, scene.model.class_index(scene.plan.target))
    if len(scene.model.labels) <= CHUNK:
        wanted.extend(range(len(scene.model.labels)))
    return class_patterns(scene, list(dict.fromkeys(wanted)))


def class_patterns(scene: Scene, classes: Sequence[int]) -> Outcome:
    """Return patterns of classes, drawn with twice the steps of a unit."""
    found = _draw(scene, [ClassAddress(str(c)) for c in classes], scene.plan.steps * 2)
    labels = [scene.model.labels[c] for c in classes]
    return {"classes": list(classes), "labels": labels, **_scored(found)}, {"images": found.images}


def drawn(scene: Scene) -> dict[str, Any]:
    """Return the settings that a pattern depends on."""
    return {**scene.base, **_drawing(scene.plan, scene.plan.steps)}


def _draw(scene: Scene, what: Sequence[str | Target], steps: int) -> Patterns:
    return patterns(
        scene.model,
        what,
        **_drawing(scene.plan, steps),
        images=scene.images,
        progress=lambda state: scene.tell(state.share),
    )


def _drawing(plan: Plan, steps: int) -> dict[str, Any]:
    return {"steps": steps, "size": plan.size, "seed": plan.seed, "seeds": plan.seeds}


def _scored(found: Patterns) -> dict[str, Any]:
    settings = {key: value for key, value in found.settings.items() if key not in ("views", "statistics")}
    return {"score": [score.to_json() for score in found.scores], "settings": settings}
