"""Examples of units, from a scan in the study's folder; and what the scan counted: how often they respond, to what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels, units_of
from innersight.study.plain import maybe, number, typed
from innersight.study.request import ClassNumber, UnitsRequest, check_classes, units_key

if TYPE_CHECKING:
    from torch import Tensor

    from innersight.scan import Tally
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

CLASSES = 12
PASSES = 12.0  # of one image, for the examples of a unit


class ExamplesRequest(UnitsRequest):
    """Examples of some units of a layer that was scanned; of one class where it is named, else of all images."""

    kind: Literal["examples"]
    of: ClassNumber | None = None

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study lists no such layer or unit, or the network has no such class."""
        super().check(study)
        check_classes(study, [self.of])

    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield one item for all of the units: their images are read once."""
        from innersight.study.cutting import cut_out
        from innersight.study.scanned import scan_settings

        units = tuple(dict.fromkeys(self.units))
        key = units_key("examples", self.layer, units)
        if self.of is not None:
            key = replace(key, part=f"{key.part},class={self.of}")
        settings = {**context.base, "scan": scan_settings(context.store), "of": self.of}
        make = partial(cut_out, context, self.layer, units, self.of)
        yield StudyTask(key, settings, make, PASSES * len(units))


def _of_plan(context: "StudyContext", layer: str) -> Outcome:
    from innersight.study.cutting import cut_or_why
    from innersight.study.drawing import ranked

    return cut_or_why(context, layer, ranked(context, layer)[: context.plan.units])


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    return {"scan": _counts(reader, row), "examples": _examples(reader, files, row["name"])}


def _examples(reader: "StudyReader", files: Path, layer: str) -> dict[str, Any] | None:
    """Return all examples of a layer; those of a unit that were asked for once more in place of the earlier ones."""
    import torch

    from innersight.render.sheets import colour_sheet, value_sheet

    parts = reader.items("examples", layer)
    if not parts:
        return None
    newest = {(unit, part.document["of"]): i for i, part in enumerate(parts) for unit in part.document["units"]}
    rows: list[dict[str, Any]] = []
    sizes: list[list[int]] = []
    tiles: dict[str, list[Tensor]] = {"crops": [], "masks": [], "wholes": []}
    for i, part in enumerate(parts):
        if not part.document["rows"]:
            continue
        tensors, own = part.tensors(), [_row(row) for row in part.document["rows"]]
        kept = [at for at, row in enumerate(own) if newest.get((row["unit"], row["of"])) == i]
        rows += [{**own[at], "image": own[at]["image"] + len(sizes)} for at in kept]
        for key in ("crops", "masks"):
            tiles[key].append(tensors[key][kept])
        tiles["wholes"].append(tensors["wholes"])
        sizes += [[typed(side, int) for side in size] for size in part.document["sizes"]]
    about = {
        "units": sorted({typed(unit, int) for unit, of in newest if of is None}),
        "read": [
            {"unit": unit, "of": of, "images": parts[i].document["read"][0], "total": parts[i].document["read"][1]}
            for (unit, of), i in newest.items()
            if of is not None
        ],
    }
    if not rows:
        why = maybe(parts[-1].document["why"], lambda text: typed(text, str))
        return {**about, "rows": [], "sheet": None, "masks": None, "wholes": None, "sizes": [], "why": why}
    return {
        **about,
        "rows": rows,
        "why": None,
        "sheet": colour_sheet(files, torch.cat(tiles["crops"]).numpy()),
        "masks": value_sheet(files, torch.cat(tiles["masks"]))["sheet"],
        "wholes": colour_sheet(files, torch.cat(tiles["wholes"]).numpy()),
        "sizes": sizes,
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of an item, checked."""
    band, of = row["band"], maybe(row["of"], lambda number_: typed(number_, int))
    return {
        "unit": typed(row["unit"], int),
        "band": band if band in ("top", "low") else number(band),
        "value": number(row["value"]),
        "name": typed(row["name"], str),
        "copies": typed(row["copies"], int),
        "class": maybe(row["class"], lambda text: typed(text, str)),
        "of": of,
        "image": typed(row["image"], int),
        "box": [number(end) for end in typed(row["box"], list)],
    }


def _counts(reader: "StudyReader", row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the scan counted for the units of a layer; None where it was not scanned, or by another model."""
    from innersight.scan import Tally
    from innersight.scan.ledger import Ledger
    from innersight.study.scanned import scan_settings

    settings, before = scan_settings(reader.store), Ledger(reader.store).progress()
    own = f"{row['name']}/"
    raw = {} if before is None else {k[len(own) :]: v for k, v in before.tensors.items() if k.startswith(own)}
    if settings is None or before is None or not raw or settings["model"] != reader.model.document["digest"]:
        return None
    tally = Tally(raw, before.images, tuple(row["grid"]))
    found = tally.selectivity
    return {
        "images": before.images,
        "dead": tally.dead.nonzero()[:, 0].tolist(),
        "always_active": tally.always_active.nonzero()[:, 0].tolist(),
        "active": tally.active.nan_to_num().tolist(),
        "positive": (tally.positive / raw["presence/finite"].clamp(min=1)).tolist(),
        "mean": tally.mean.tolist(),
        "highest": tally.value[:, 0].tolist(),
        "p999": tally.quantile(0.999).tolist(),
        "selectivity": None if found is None else {key: values.tolist() for key, values in found.items()},
        "classes": _classes(tally, reader.model.document["model"]["labels"]),
    }


def _classes(tally: "Tally", labels: Sequence[str]) -> list[list[list[Any]]] | None:
    """Return for each unit [label, mean peak, images] of the classes it responds to most."""
    import torch

    count, total = tally.raw["classes/count"], tally.raw["classes/total"]
    if not len(count):
        return None
    mean = (total / count.clamp(min=1)).masked_fill(count == 0, -torch.inf)
    order = mean.topk(min(CLASSES, len(labels)), dim=0).indices
    return [
        [[labels[c], float(mean[c, u]), int(count[c, u])] for c in order[:, u].tolist() if count[c, u]]
        for u in range(tally.units)
    ]


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    found = document["examples"]
    if chosen.units is None or not found:
        return {}
    about = {
        "units": [unit for unit in found["units"] if unit in chosen.units],
        "read": [row for row in found["read"] if row["unit"] in chosen.units],
    }
    kept = [i for i, row in enumerate(found["rows"]) if row["unit"] in chosen.units]
    if not kept:
        why = found["why"] if not found["rows"] else None
        return {
            "examples": {**about, "rows": [], "sheet": None, "masks": None, "wholes": None, "sizes": [], "why": why}
        }
    images = list(dict.fromkeys(found["rows"][i]["image"] for i in kept))
    sheets = {key: chosen.cut(found[key], kept) for key in ("sheet", "masks")}
    return {
        "examples": {
            **about,
            **sheets,
            "wholes": chosen.cut(found["wholes"], images),
            "sizes": [found["sizes"][image] for image in images],
            "rows": [{**found["rows"][i], "image": images.index(found["rows"][i]["image"])} for i in kept],
            "why": None,
        }
    }


@panels.register(
    "Examples",
    order=94,
    requests=(ExamplesRequest,),
    per="unit",
    counted=units_of,
    missing="No data set was scanned. Run `innersight scan MODEL IMAGES --out STUDY`, then run the study again.",
    how="One pass over a data set finds the images with the highest and lowest peak activation of every unit, and some "
    "in between. A crop shows the effective receptive field at the peak; it is dark where the activation is below half "
    "of the peak.",
    layer=_layer,
    select=_select,
)
def examples(context: "StudyContext") -> Iterator[StudyTask]:
    """Examples of the best ranked units of the plan's layers that were scanned."""
    from innersight.study.scanned import scan_settings

    plan, scanned = context.plan, scan_settings(context.store)
    known = scanned["layers"] if scanned and scanned["model"] == context.base["model"] else ()
    for layer in plan.layers if plan.units else ():
        if layer in known:
            settings = {**context.base, "scan": scanned, "count": plan.units}
            yield StudyTask(Key("examples", layer), settings, partial(_of_plan, context, layer), PASSES * plan.units)
