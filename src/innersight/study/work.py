"""`study`: do everything for a model and some pictures, item by item, skipping what is done."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from innersight import __version__
from innersight.address import Address, ClassAddress
from innersight.compare import DEFINITION, compare
from innersight.errors import InnersightError
from innersight.files import batches, expand, reader
from innersight.heatmaps import explain
from innersight.heatmaps.result import Heatmap
from innersight.heatmaps.target import RUNNER_UP
from innersight.image import Picture, PictureError
from innersight.layers import check_layers, survey
from innersight.maps import maps, seen_array
from innersight.model import InputSpec, Model
from innersight.patterns import Patterns, patterns
from innersight.predict import Prediction, predict
from innersight.receptive import fields
from innersight.render.sheets import small
from innersight.store import Store
from innersight.study.causes import LAYERS, ablation
from innersight.study.documents import write_documents
from innersight.study.plan import ITEMS, Plan, picture_digest
from innersight.study.scanned import examples, scan_settings

CHUNK = 16
FIRST_PICTURES = 8
Watch = Callable[[int, int, str], None]
Outcome = tuple[dict[str, Any], dict[str, Tensor]]


@dataclass(frozen=True)
class Study:
    """A study on disk. computed, reused : items of the last run. skipped : one sentence per unreadable file."""

    folder: Path
    computed: int = 0
    reused: int = 0
    skipped: tuple[str, ...] = field(default=())

    @classmethod
    def open(cls, folder: str | Path) -> "Study":
        """Open a study made before; needs neither the model nor the pictures."""
        return cls(Store.open(folder).folder)

    def render(self) -> Path:
        """Write the documents and sheets of the front end from the stored values; return their folder."""
        return write_documents(Store.open(self.folder))

    def report(self, out: str | Path) -> Path:
        """Write one self-contained HTML file and return its path."""
        from innersight.web.report import write_report

        self.render()
        return write_report(self.folder, Path(out))

    def view(self, *, port: int = 8765) -> None:
        """Serve the study on 127.0.0.1 until interrupted."""
        from innersight.web.app import serve

        self.render()
        serve(self.folder, port=port, open_browser=True)

    def _repr_html_(self) -> str:
        from innersight.web.report import embed

        self.render()
        return embed(self.folder)


def study(
    model: Model,
    pictures: "Sequence[str | Path | Picture] | str | Path | Picture",
    out: str | Path,
    *,
    plan: Plan | None = None,
    watch: Watch | None = None,
) -> Study:
    """Compute predictions, maps, comparison, patterns and heatmaps into the folder `out`.

    pictures : files, folders (their first 8 pictures, in order), or Pictures. plan : what to compute.
    watch : called with (items done, items in all, name of the next one).

    Every finished item is kept: after a kill or Ctrl-C the same call goes on where it stopped, and items whose model,
    pictures or settings changed are made again. Unreadable files are skipped and listed. Raises PictureError when none
    can be read, and InnersightError for a plan that does not fit the model, a full disk, or while another process works
    on this study.
    """
    loaded, skipped = _load(pictures, model.input)
    settled = (plan or Plan()).settled(model)
    store = Store.create(out)
    work = list(_items(model, loaded, skipped, settled, store))
    computed = 0
    with store.locked():
        for number, (key, settings, make) in enumerate(work):
            if watch:
                watch(number, len(work), key)
            if store.done(key, settings):
                continue
            start = time.perf_counter()
            document, tensors = make()
            store.put(key, settings, document, tensors, time.perf_counter() - start)
            computed += 1
        store.drop_others({key for key, _, _ in work})
    if watch:
        watch(len(work), len(work), "done")
    return Study(store.folder, computed, len(work) - computed, tuple(skipped))


def _load(
    pictures: "Sequence[str | Path | Picture] | str | Path | Picture", spec: InputSpec
) -> tuple[tuple[Picture, ...], list[str]]:
    if isinstance(pictures, str | Path | Picture):
        pictures = [pictures]
    loaded: list[Picture] = []
    skipped: list[str] = []
    for item in pictures:
        loaded += next(batches(expand(item), reader(spec), FIRST_PICTURES, skipped), [])
    if not loaded:
        raise PictureError(skipped[0] if skipped else "no pictures given")
    return _distinct(loaded), skipped


def _distinct(pictures: list[Picture]) -> tuple[Picture, ...]:
    """Give pictures of the same file name the name of their folder too."""
    names = Counter(picture.name for picture in pictures)
    return tuple(
        replace(picture, name=f"{picture.path.resolve().parent.name}/{picture.name}")
        if names[picture.name] > 1 and picture.path
        else picture
        for picture in pictures
    )


def _items(
    model: Model, pictures: tuple[Picture, ...], skipped: list[str], plan: Plan, store: Store
) -> Iterator[tuple[str, dict[str, Any], Callable[[], Outcome]]]:
    """Yield (key, settings, function) for everything the plan asks for, cheap and important things first."""
    base: dict[str, Any] = {"model": model.digest(), "pictures": picture_digest(pictures)}
    base |= {"version": __version__, "format": ITEMS}
    first = _first_conv(model)
    grids = {layer.name: layer for layer in survey(model)}
    yield "model", {**base, "plan": plan.to_json(), "skipped": skipped}, partial(_model, model, plan, skipped)
    yield "pictures", base, partial(_pictures, model, pictures)
    for layer in plan.layers:
        yield f"maps/{layer}", base, partial(_maps, model, pictures, layer)
    for layer in plan.layers if len(pictures) > 1 else ():
        if grids[layer].grid != (1, 1):
            yield f"compare/{layer}", base, partial(_compare, model, pictures, layer)
    yield "fields", {**base, "layers": list(plan.layers)}, partial(_fields, model, plan.layers)
    if first is not None:
        yield "kernels", base, partial(_kernels, model, first)
    heat = {**base, "methods": list(plan.methods), "target": plan.target, "rivals": plan.rivals}
    yield "heatmaps", heat, partial(_heatmaps, model, pictures, plan)
    for layer in [name for name in plan.layers if grids[name].grid != (1, 1)][-LAYERS:]:
        yield f"ablation/{layer}", base, partial(ablation, model, pictures, layer)
    if model.run is not None and (model.run / "telemetry.json").is_file():
        yield "train", base, partial(_train, model.run)
    drawn = {**base, "steps": plan.steps, "size": plan.size, "seed": plan.seed, "seeds": plan.seeds}
    for layer in plan.layers:
        count = min(plan.units, grids[layer].units)
        for start in range(0, count, CHUNK):
            span = range(start, min(start + CHUNK, count))
            settings = {**drawn, "count": len(span)}
            yield f"patterns/{layer}/{start}", settings, partial(_patterns, model, pictures, layer, span, plan, store)
    scanned = scan_settings(store)
    known = scanned["layers"] if scanned and scanned["model"] == base["model"] else ()
    for layer in plan.layers if plan.units else ():
        if layer in known:
            settings = {**base, "scan": scanned, "count": plan.units}
            yield f"examples/{layer}", settings, partial(_examples, model, layer, plan.units, store)
    for layer in plan.layers if plan.units and plan.negatives else ():
        settings = {**drawn, "count": min(plan.negatives, plan.units)}
        yield f"negatives/{layer}", settings, partial(_negatives, model, layer, plan, store)
    if plan.units:
        yield "classes", {**drawn, "target": plan.target}, partial(_classes, model, pictures, plan)


def _model(model: Model, plan: Plan, skipped: list[str]) -> Outcome:
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
    card = {
        "name": model.name,
        "source": model.source,
        "parameters": sum(p.numel() for p in model.net.parameters()),
        "labels": list(model.labels),
        "notes": list(model.notes),
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
        },
    }
    about = {"format": ITEMS, "digest": model.digest(), "plan": plan.to_json(), "skipped": skipped}
    return {**about, "model": card, "layers": layers}, {}


def _pictures(model: Model, pictures: tuple[Picture, ...]) -> Outcome:
    said: Prediction = predict(model, pictures)
    rows = []
    tensors = {"seen": torch.from_numpy(np.stack([seen_array(picture, model) for picture in pictures]))}
    for i, picture in enumerate(pictures):
        box = picture.box(model.input)
        truth = said.truth[i]
        rows.append(
            {
                "id": f"p{i}",
                "name": picture.name,
                "width": picture.width,
                "height": picture.height,
                "box": [box.left, box.top, box.right, box.bottom],
                "notes": list(picture.notes),
                "truth": model.labels[truth] if truth >= 0 else None,
                "prediction": said.top(i),
            }
        )
        tensors[f"original/{i}"] = torch.from_numpy(small(picture.display(model.input)))
    return {"pictures": rows}, tensors


def _maps(model: Model, pictures: tuple[Picture, ...], layer: str) -> Outcome:
    return {}, {"maps": maps(model, pictures, [layer]).values[layer]}


def _compare(model: Model, pictures: tuple[Picture, ...], layer: str) -> Outcome:
    return {"definition": DEFINITION, "rank": compare(model, pictures, layer).rank()}, {}


def _fields(model: Model, layers: Sequence[str]) -> Outcome:
    return {name: asdict(found) for name, found in fields(model, layers).items()}, {}


def _first_conv(model: Model) -> str | None:
    """Return the name of the convolution that sees the picture itself, if its kernels can be shown in colour."""
    for name, module in model.net.named_modules():
        weight = getattr(module, "weight", None)
        # By its weights (units, channels, h, w) and not by its class: exported networks have classes of their own.
        if isinstance(weight, Tensor) and weight.ndim == 4:
            return name if weight.shape[1] == model.input.channels == 3 and min(weight.shape[2:]) > 1 else None
    return None


def _kernels(model: Model, name: str) -> Outcome:
    weight = model.net.get_parameter(f"{name}.weight").detach().float().cpu()
    top = weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return {"layer": name}, {"pixels": 0.5 + weight / top / 2}


def _heatmaps(model: Model, pictures: tuple[Picture, ...], plan: Plan) -> Outcome:
    found = explain(model, pictures, plan.target, plan.methods)
    entries = list(found.entries)
    if plan.rivals and len(model.labels) > 1:
        entries += explain(model, pictures, plan.target, plan.methods, versus=RUNNER_UP).entries
        for picture in pictures:
            rival = next(entry.rival for entry in reversed(entries) if entry.picture == picture)
            entries += explain(model, picture, rival, plan.methods).entries
    index = {picture: f"p{i}" for i, picture in enumerate(pictures)}
    grid = check_layers(model, [found.layer])[0].grid
    # A mistake is explained against its runner-up in any case: each question is kept once.
    asked = {(index[entry.picture], entry.method, entry.target, entry.rival): entry for entry in reversed(entries)}
    rows = {key: _heatmap(model, key[0], entry, grid) for key, entry in reversed(asked.items())}
    tensors = {str(i): asked[key].values for i, key in enumerate(rows)}
    return {"layer": found.layer, "why": found.why, "entries": list(rows.values())}, tensors


def _heatmap(model: Model, picture: str, entry: Heatmap, grid: tuple[int, int]) -> dict[str, Any]:
    def label(number: int | None) -> str | None:
        return None if number is None else model.labels[number]

    return {
        "picture": picture,
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


def _train(run: Path) -> Outcome:
    try:
        telemetry = json.loads((run / "telemetry.json").read_text())
        card = json.loads((run / "run.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InnersightError(f"{run}: the training record cannot be read ({error})") from error
    return {**telemetry, "metrics": card["metrics"], "recipe": card["recipe"], "labels": card["labels"]}, {}


def _patterns(
    model: Model, pictures: tuple[Picture, ...], layer: str, span: range, plan: Plan, store: Store
) -> Outcome:
    order = _order(store, layer)
    addresses = [Address(layer, order[i]) for i in span]
    found = patterns(model, addresses, **_drawing(plan, plan.steps), pictures=pictures)
    units = [address.unit for address in addresses]
    others = [
        [one for j, one in enumerate(own) if j != best] for own, best in zip(found.every, found.best, strict=True)
    ]
    tensors = {"images": found.images}
    if plan.seeds > 1:
        tensors["others"] = torch.stack([torch.stack(own) for own in others])
    return {"units": units, **_scored(found)}, tensors


def _negatives(model: Model, layer: str, plan: Plan, store: Store) -> Outcome:
    units = _order(store, layer)[: min(plan.negatives, plan.units)]
    found = patterns(model, [f"-{Address(layer, unit)}" for unit in units], **_drawing(plan, plan.steps))
    return {"units": units, **_scored(found)}, {"images": found.images}


def _examples(model: Model, layer: str, count: int, store: Store) -> Outcome:
    return examples(model, layer, _order(store, layer)[:count], store)


def _order(store: Store, layer: str) -> list[int]:
    """Units in the order in which their patterns are drawn: compare's ranking, else the highest peak first."""
    compared = store.get(f"compare/{layer}")
    if compared:
        return [row["unit"] for row in compared.document["rank"]]
    stored = store.get(f"maps/{layer}")
    if stored is None:
        raise InnersightError(f"{store.folder}: the maps of {layer} are missing; run the study again")
    return stored.tensors()["maps"].amax((0, 2, 3)).argsort(descending=True, stable=True).tolist()


def _classes(model: Model, pictures: tuple[Picture, ...], plan: Plan) -> Outcome:
    said = predict(model, pictures)
    wanted = [said.top(i, 1)[0]["class"] for i in range(len(pictures))]
    if plan.target is not None:
        wanted.insert(0, model.class_index(plan.target))
    if len(model.labels) <= CHUNK:
        wanted.extend(range(len(model.labels)))
    classes = list(dict.fromkeys(wanted))
    addresses = [ClassAddress(str(c)) for c in classes]
    found = patterns(model, addresses, **_drawing(plan, plan.steps * 2), pictures=pictures)
    labels = [model.labels[c] for c in classes]
    return {"classes": classes, "labels": labels, **_scored(found)}, {"images": found.images}


def _drawing(plan: Plan, steps: int) -> dict[str, Any]:
    return {"steps": steps, "size": plan.size, "seed": plan.seed, "seeds": plan.seeds}


def _scored(found: Patterns) -> dict[str, Any]:
    settings = {key: value for key, value in found.settings.items() if key not in ("views", "statistics")}
    return {"score": [score.to_json() for score in found.scores], "settings": settings}
