"""The record of the training that made the network: our own, or the log of another program."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.study.panel import Outcome, StudyTask, panels, unless_units
from innersight.study.plain import maybe, texts, typed

if TYPE_CHECKING:
    from torch import Tensor

    from innersight.study.content import Content
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader
    from innersight.train.fixed import ImagesRead

RECORD = "telemetry.json"
CURVES = ("weight_norm", "gradient_norm", "update_ratio", "dead")


def _recorded(run: Path) -> Outcome:
    from innersight.sources.run_card import read_card
    from innersight.storage.bounded import read_json, reading
    from innersight.train.fixed import read_images
    from innersight.train.records import checked_record

    telemetry = read_json(run / RECORD, what="training record")
    with reading(run / RECORD, "training record"):
        record = checked_record(telemetry)
    card = read_card(run)
    facts, tensors = read_images(run) or (None, {})
    stated = {"metrics": card.metrics, "recipe": card.recipe, "labels": card.labels}
    return {**record, **stated, "images": facts}, tensors


def _logged(document: dict[str, Any], images: "ImagesRead | None", run: Path | None) -> Outcome:
    """Return the record of a log; a run's accuracy is of the network, its settings are of another record."""
    from innersight.sources.run_card import read_card

    facts, tensors = images or (None, {})
    metrics = {"metrics": read_card(run).metrics} if run is not None else {}
    return {**document, **metrics, "images": facts}, tensors


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    from innersight.train.records import checked_record

    item = reader.items("training")[0]
    document = item.document
    record = checked_record(document)
    order = {row["name"]: number for number, row in enumerate(reader.model.document["layers"])}
    layers = sorted(record["layers"].items(), key=lambda named: order.get(named[0], len(order)))
    scalars = {
        name: {**found, **({"axis": "epoch"} if document["scalars"][name].get("axis") == "epoch" else {})}
        for name, found in record["scalars"].items()
    }
    axis = "epoch" if document.get("axis") == "epoch" else "step"
    source = maybe(document.get("source"), _source)
    images = _images(document["images"], item.tensors(), files) if document.get("images") is not None else None
    return {
        **document,
        "scalars": scalars,
        "layers": dict(layers),
        "axis": axis,
        "source": source,
        "images": images,
    }


def _images(stated: Any, tensors: "dict[str, Tensor]", files: Path) -> dict[str, Any]:
    """Return the heatmaps of fixed images at each record; one scale for all maps of an image."""
    from innersight.render.colour import scale_of
    from innersight.render.sheets import colour_sheet, value_sheet
    from innersight.train.fixed import checked_images

    facts, found = checked_images(stated, tensors)
    values = found["values"]
    scales = [scale_of(values[:, number]) for number in range(values.shape[1])]
    rows = [
        {
            "name": name,
            "high": scale.high,
            "signed": scale.signed,
            "target": [facts["labels"][number] for number in found["target"][:, at].tolist()],
            "predicted": [facts["labels"][number] for number in found["predicted"][:, at].tolist()],
            "probability": found["probability"][:, at].tolist(),
        }
        for at, (name, scale) in enumerate(zip(facts["names"], scales, strict=True))
    ]
    return {
        **{key: facts[key] for key in ("title", "layer", "unit")},
        "step": found["step"].tolist(),
        "epoch": found["epoch"].tolist(),
        "rows": rows,
        "pixels": colour_sheet(files, found["pixels"].numpy()),
        "maps": value_sheet(files, values.flatten(0, 1)),
    }


def _source(found: Any) -> dict[str, Any]:
    own = typed(found, dict)
    return {"title": typed(own["title"], str), "logs": texts(own["logs"]), "notes": texts(own["notes"])}


def _how(reader: "StudyReader") -> str:
    item = reader.item("training")
    source = None if item is None else maybe(item.document.get("source"), _source)
    if source is None:
        return (
            "Recorded during training: the curves, and statistics of the weights and gradients of every layer at each "
            "recorded step."
        )
    logs = source["logs"]
    shown = logs[0] if len(logs) == 1 else f"{len(logs):,} files"
    return (
        f"Read from a log that was given with --log: {source['title']}, {shown}. The numbers are those of the program "
        "that trained the network; Innersight neither measured nor checked them. Histograms are shown of layers whose "
        "names match, in 32 equal bins: the counts of a bin of the log are spread evenly over its width."
    )


def _export(reader: "StudyReader", content: "Content") -> None:
    from innersight.train.records import checked_record

    item = reader.item("training")
    if item is None:
        return
    record = checked_record(item.document)
    curves = {name: (found["step"], found["value"]) for name, found in record["scalars"].items()}
    for layer, found in record["layers"].items():
        curves |= {f"{kind}/{layer}": (found["step"], found[kind]) for kind in CURVES}
    for name, (steps, values) in curves.items():
        known = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
        content.curves[name] = [step for step, _ in known], [value for _, value in known]


def _lost() -> Outcome:
    raise InnersightError("the training record is damaged: run the study again with --log")


@panels.register(
    "Training",
    order=90,
    missing="There is no record of the training: this network was not trained with `innersight train`. "
    "`innersight study MODEL IMAGES --out STUDY --log FILE_OR_DIR` reads the log of another program: of Keras or "
    "Lightning (CSVLogger), or TensorBoard event files.",
    how=_how,
    document=_document,
    select=unless_units,
    export=_export,
)
def training(context: "StudyContext") -> Iterator[StudyTask]:
    """The log that was given, else the record that the network comes with, else the log given to an earlier run."""
    from innersight.train.logs.log import digest_of

    run, key = context.model.run, Key("training")
    if context.log is not None:
        document, images = context.log.document(list(context.surveyed())), context.log.images
        settings = {**context.base, "log": digest_of(document, images)}
        yield StudyTask(key, settings, partial(_logged, document, images, run))
    elif run is not None and (run / RECORD).is_file():
        yield StudyTask(key, context.base, partial(_recorded, run))
    else:
        for own, settings in context.left(lambda one: one == key):
            yield StudyTask(own, settings, _lost)
