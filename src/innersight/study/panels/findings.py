"""What an audit found in the classifier: statements with their effects, and the images that show them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels
from innersight.study.plain import interval, maybe, number, texts, typed

if TYPE_CHECKING:
    from torch import Tensor

    from innersight.study.content import Content
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    item = reader.items("findings")[0]
    found, tensors = item.document, item.tensors()
    ids = _ids(reader)
    labels = [str(label) for label in reader.model.document["model"]["labels"]]
    return {
        "findings": [
            _finding(row, tensors.get(f"finding/{i}"), files, ids, labels) for i, row in enumerate(found["findings"])
        ],
        "checked": [_checked(row) for row in found["checked"]],
        "clean": typed(found["clean"], bool),
        "images": typed(found["images"], int),
        "passes": typed(found["passes"], int),
        "budget": typed(found["budget"], str),
        "skipped": texts(found["skipped"]),
        "notes": texts(found["notes"]),
    }


def _ids(reader: "StudyReader") -> dict[str, str]:
    """Return the ids of the study's images by where they lie."""
    item = reader.item("images")
    if item is None:
        return {}
    rows = zip(item.document["images"], item.document["sources"], strict=True)
    return {str(source["path"]): str(row["id"]) for row, source in rows if source["path"] is not None}


def _finding(
    row: Mapping[str, Any], pixels: "Tensor | None", files: Path, ids: Mapping[str, str], labels: Sequence[str]
) -> dict[str, Any]:
    from innersight.audit.finding import is_fault

    label = maybe(row["class"], lambda text: typed(text, str))
    return {
        **{key: typed(row[key], str) for key in ("check", "sentence", "reason", "next")},
        "class": label,
        "number": labels.index(label) if label in labels else None,
        "confirmed": typed(row["confirmed"], bool),
        "fault": is_fault(row["check"], row["confirmed"]),
        "effect": maybe(row["effect"], _effect),
        "region": maybe(row["region"], _region),
        "images": [
            {"name": typed(name, str), "id": ids.get(str(path))}
            for name, path in zip(row["images"], row["paths"], strict=True)
        ],
        "images_total": typed(row["images_total"], int),
        "proof": None if pixels is None else _proof(row["proof"], pixels, files),
    }


def _effect(effect: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "value": number(effect["value"]),
        "interval": interval(effect["interval"]),
        "control": maybe(effect["control"], number),
        "p": maybe(effect["p"], number),
        "unit": typed(effect["unit"], str),
    }


def _proof(proof: Mapping[str, Any], pixels: "Tensor", files: Path) -> dict[str, Any]:
    import torch

    from innersight.render.sheets import colour_sheet

    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"images are {pixels.dtype} {tuple(pixels.shape)}")
    regions = [maybe(region, _region) for region in proof["regions"]]
    captions = texts(proof["captions"])
    if not len(regions) == len(captions) == len(pixels):
        raise ValueError(f"{len(pixels)} images, {len(regions)} regions, {len(captions)} captions")
    return {"sheet": colour_sheet(files, pixels.numpy()), "regions": regions, "captions": captions}


def _checked(row: Mapping[str, Any]) -> dict[str, Any]:
    words = {key: typed(row[key], str) for key in ("check", "title", "sentence", "limits")}
    return {**words, "done": typed(row["done"], bool), "passes": typed(row["passes"], int)}


def _region(corners: Sequence[Any]) -> list[float]:
    found = [min(1.0, max(0.0, number(one))) for one in corners]
    if len(found) != 4:
        raise ValueError("a region has four sides")
    return found


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any] | None:
    """Leave findings out: they are about all images of a data set, and show some of them."""
    return None


def _how(reader: "StudyReader") -> str:
    item = reader.item("findings")
    if item is None:
        return "No audit was made."
    images, passes = (typed(item.document[key], int) for key in ("images", "passes"))
    return (
        f"Hypotheses were suggested by one half of {images:,} images and tested on the other, by changing images and "
        "against controls. All that a check tried counts in its p (Holm 1979); intervals are 95% ones. The audit took "
        f"{passes:,} forward passes."
    )


def _export(reader: "StudyReader", content: "Content") -> None:
    from innersight.study.content import sheet_of

    item = reader.item("findings")
    if item is None:
        return
    tensors = item.tensors()
    for i, row in enumerate(item.document["findings"]):
        pixels = tensors.get(f"finding/{i}")
        if pixels is not None and len(pixels):
            content.sheets[f"findings/{i + 1} {typed(row['check'], str)}"] = sheet_of(pixels.numpy())


def _lost() -> Outcome:
    raise InnersightError("the findings of the audit are damaged: run `innersight audit` again")


@panels.register(
    "Findings",
    order=5,
    missing="The classifier was not audited. `innersight audit MODEL FOLDER --out STUDY` tests it for shortcuts, weak "
    "subsets, wrong labels, wrong preprocessing and leaks.",
    how=_how,
    document=_document,
    select=_select,
    export=_export,
)
def findings(context: "StudyContext") -> Iterator[StudyTask]:
    """What `innersight audit` left here of this network, kept as it is, with what an interrupted one has done."""
    from innersight.audit.keep import FINDINGS, PREFIX

    for key, settings in context.left(lambda key: key == Key(FINDINGS) or str(key).startswith(PREFIX)):
        yield StudyTask(key, settings, _lost)
