"""The images of a study and of its scan, one by one with all that is known of them, for tools that show data sets."""

import mimetypes
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from innersight.errors import InnersightError, brief, printable
from innersight.image import ImageError, load_image
from innersight.inputs import again
from innersight.scan.ledger import Ledger
from innersight.scan.scores import ClassScores
from innersight.storage.annotations import Annotation, annotations_of
from innersight.storage.permit import Permit
from innersight.storage.store import Item
from innersight.storage.study_folder import written_by_innersight
from innersight.study.imaged import Strength, ablated_units, image_concepts, mistaken_concepts
from innersight.study.plain import below, maybe, number, typed
from innersight.study.reader import StudyReader
from innersight.study.scanned import scan_settings

PAGE = 1000  # images of a scan read at a time
_ID = re.compile(r"p\d{1,9}|d[0-9a-f]{8}", re.ASCII)
SIDE = 512  # pixels of a heatmap that is laid out on a whole image
_SCANNED = (
    "SELECT i.number, i.name, i.label, i.class, i.stamp, i.digest, p.best, p.own, p.rank, p.trained "
    "FROM scan_images AS i LEFT JOIN scan_predictions AS p ON p.number = i.number "
    f"WHERE i.broken IS NULL AND i.number > ? ORDER BY i.number LIMIT {PAGE}"
)
_KINDS = (int, str, str | None, int, str, str, bytes | None, float | None, int | None, int | None)


@dataclass(frozen=True, eq=False)
class ImageHeatmap:
    """A heatmap laid out on the whole image: raw values, 0 where the network does not see it.

    method, question, unit, doubt : as the study states them. class_ : whose score is explained. rival : the class whose
    score is subtracted. kind : "" for the predicted class, "versus" for a difference, "other" for another class.
    """

    method: str
    class_: str | None
    rival: str | None
    kind: str
    question: str
    unit: str
    doubt: str | None
    values: Float[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class ExportedImage:
    """An image. file : absolute; None where `pixels`, a small copy, is all there is.

    id : in the study. number : in the scan. best : (label, score, probability) of its best classes, best first.
    rank, own : rank and probability of its own class. trained : whether the network was trained on it.
    """

    file: Path | None
    pixels: UInt8[np.ndarray, "H W 3"] | None = None
    id: str | None = None
    number: int | None = None
    truth: str | None = None
    best: tuple[tuple[str, float, float | None], ...] = ()
    correct: bool | None = None
    rank: int | None = None
    own: float | None = None
    trained: bool | None = None
    annotation: Annotation | None = None
    heatmaps: tuple[ImageHeatmap, ...] = ()
    units: tuple[Strength, ...] = ()
    concepts: tuple[Strength, ...] = ()


@dataclass
class ExportedImages:
    """Iterates over the images of a study: its scan's first, its own last. `left_out` fills meanwhile.

    An image of the study that was scanned too comes once. left_out : how many images, and an example, by reason.
    """

    reader: StudyReader
    permit: Permit
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ExportedImage]:
        self.left_out.clear()
        with written_by_innersight(f"{self.reader.store.folder}, its images"):
            listed = list(self._of_study())
            own = {str(one.id): one for one in listed}
            if len(own) != len(listed) or not all(map(_ID.fullmatch, own)):
                raise ValueError(f"ids of images are {[one.id for one in listed]}")
        # One file may have been given twice.
        files: dict[tuple[int, int] | None, list[str]] = {}
        for name, one in own.items():
            files.setdefault(_identity(one.file), []).append(name)
        concepts = mistaken_concepts(self.reader, self._annotations)
        for one in self._of_scan():
            known = files.get(_identity(one.file), [])
            for name in known:
                own[name] = replace(own[name], number=one.number, rank=one.rank, own=one.own, trained=one.trained)
            if not known:
                yield replace(one, concepts=concepts.get(one.number or 0, ()))
        yield from own.values()

    def notes(self) -> list[str]:
        """Return one sentence for each reason that images were left out for."""
        return [
            f"{count:,} image{'s' if count > 1 else ''} left out, such as {example}: {reason}"
            for reason, (count, example) in self.left_out.items()
        ]

    @property
    def _unnamed(self) -> str:
        """Why images are left out that the study names and may not open."""
        if self.permit.images:
            return f"it is not in {printable(', '.join(self.permit.images))}"
        return (
            "this study was not made by you on this machine, or was changed since, so its images are read only where "
            "you name them: add --images FOLDER"
        )

    def _lose(self, reason: str, name: str) -> None:
        count, example = self.left_out.get(reason, (0, brief(name)))
        self.left_out[reason] = (count + 1, example)

    @property
    def _annotations(self) -> Mapping[str, Annotation]:
        item = self.reader.item("annotations")
        return {} if item is None else annotations_of(item.document, self.reader.store.inside)

    @property
    def _labels(self) -> list[str]:
        return [typed(one, str) for one in self.reader.model.document["model"]["labels"]]

    def _of_study(self) -> Iterator[ExportedImage]:
        item = self.reader.item("images")
        rows: list[tuple[dict[str, Any], str | None, str, Any]] = []
        if item is not None:
            tensors = item.tensors()
            for i, (row, source) in enumerate(zip(item.document["images"], item.document["sources"], strict=True)):
                path = maybe(source["path"], lambda text: typed(text, str))
                rows.append((row, path, typed(source["digest"], str), tensors[f"original/{i}"]))
        # What was added later lies in the study itself.
        rows += [
            (one.document["image"], None, "", one.tensors()["original"]) for one in self.reader.added("images").values()
        ]
        labels, annotations = self._labels, self._annotations
        maps = _heatmaps(self.reader, labels)
        units, concepts = ablated_units(self.reader, annotations), image_concepts(self.reader, annotations)
        for row, path, digest, small in rows:
            name, id_ = typed(row["name"], str), typed(row["id"], str)
            file = None
            if path is not None:
                try:
                    file = Path(self.permit.image(path)).absolute()
                    if replace(load_image(file), name=name).digest() != digest:
                        self._lose("it has changed since the study was made; run the study again", name)
                        continue
                except ImageError as error:
                    self._lose(f"it cannot be read again: {brief(error)}", name)
                    continue
                except InnersightError:
                    self._lose(self._unnamed, name)
                    continue
            truth = maybe(row["truth"], lambda text: typed(text, str))
            predicted = row["prediction"][0]["class"] if row["prediction"] else None
            best = tuple(
                (labels[below(one["class"], len(labels))], number(one["logit"]), maybe(one["probability"], number))
                for one in typed(row["prediction"], list)
            )
            # Two classes of one name cannot be told apart here.
            sure = truth is not None and best and labels.count(truth) == 1
            yield ExportedImage(
                file if file is not None and shown_as_image(file) else None,
                _pixels(small),
                id_,
                truth=truth,
                best=best,
                correct=best[0][0] == truth if sure else None,
                annotation=annotations.get(id_),
                heatmaps=tuple(
                    _on_image(replace(one, kind=_kind(question, predicted)), row)
                    for question, one in maps.get(id_, {}).items()
                ),
                units=units.get(id_, ()),
                concepts=concepts.get(id_, ()),
            )

    def _of_scan(self) -> Iterator[ExportedImage]:
        settings = scan_settings(self.reader.store)
        if settings is None or settings.get("model") != self.reader.model.document["digest"]:
            return
        ledger, labels, last = Ledger(self.reader.store), self._labels, -1
        while rows := ledger.rows(_SCANNED, _KINDS, (last,)):
            for row in rows:
                with written_by_innersight("the predictions of the scan"):
                    found = _scanned(row, labels)
                file = self._file(row[1], *row[4:6])
                if file is not None:
                    yield replace(found, file=file)
            last = rows[-1][0]

    def _file(self, claimed: str, stamp: str, digest: str) -> Path | None:
        """Return the file of an image of the scan; None where it is none, may not be read, or has changed."""
        try:
            name, where = self.permit.scanned(claimed)
        except InnersightError:
            self._lose(self._unnamed, claimed)
            return None
        file = Path(os.path.abspath(os.path.join(where, name)))
        if _identity(file) is None:
            self._lose("it is no file of its own, but in an archive or a data set, or is gone", claimed)
            return None
        if not shown_as_image(file):
            self._lose("its file's name does not end like that of an image", claimed)
            return None
        try:
            entry = again(os.fspath(file))
            now = entry.stamp()
            same = (now and now == stamp) or (digest and entry.digest() == digest)
        except (ImageError, OSError):
            same = False
        if not same:
            self._lose("it has changed since it was scanned; scan again", claimed)
            return None
        return file


def shown_as_image(file: Path) -> bool:
    """Say whether a file is taken for an image by its name, and can be named in UTF-8."""
    kind, packed = mimetypes.guess_type(file.name)
    try:
        os.fspath(file).encode()
    except UnicodeEncodeError:
        return False
    return packed is None and (kind or "").startswith("image/")


def _identity(file: Path | None) -> tuple[int, int] | None:
    """Return what tells a file from all others; None for what is no regular file."""
    if file is None:
        return None
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _scanned(row: tuple[Any, ...], labels: list[str]) -> ExportedImage:
    count, class_, best, own, rank, trained = row[0], row[3], *row[6:]
    known = class_ if class_ < 0 else below(class_, len(labels))
    sample = ExportedImage(None, number=count, truth=row[2] if known < 0 else labels[known])
    if best is None:
        return sample
    scores = ClassScores.unpacked(best, own, rank)
    chances: list[float | None] = list(scores.probabilities) or [None] * len(scores.classes)
    if not all(one is None or 0 <= one <= 1 for one in (own, *chances)):
        raise ValueError(f"probabilities {own}, {chances}")
    return replace(
        sample,
        best=tuple(
            (labels[below(one, len(labels))], score, chance)
            for one, score, chance in zip(scores.classes, scores.scores, chances, strict=True)
        ),
        correct=None if known < 0 else known == scores.classes[0],
        rank=rank,
        own=own,
        trained=None if trained is None else bool(trained),
    )


def _pixels(small: Any) -> UInt8[np.ndarray, "H W 3"]:
    pixels: np.ndarray = small.numpy()
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}")
    return pixels


_Question = tuple[str, int | None, int | None]
"""Method, class, and the class whose score is subtracted."""


def _heatmaps(reader: StudyReader, labels: Sequence[str]) -> dict[str, dict[_Question, ImageHeatmap]]:
    """Return the heatmaps of every image, by its id, as they are stored; each question once."""
    found: dict[str, dict[_Question, ImageHeatmap]] = {}

    for item in reader.items("heatmaps", images=True):
        for row, values in _entries(item):
            method, question, unit = (typed(row[key], str) for key in ("method", "question", "unit"))
            class_, rival = (None if row[key] is None else below(row[key], len(labels)) for key in ("class", "rival"))
            doubt = maybe(row["verdict"] or row["doubt"] or None, lambda text: typed(text, str))
            class_name, rival_name = (None if one is None else labels[one] for one in (class_, rival))
            one = ImageHeatmap(method, class_name, rival_name, "", question, unit, doubt, values)
            found.setdefault(typed(row["image"], str), {}).setdefault((method, class_, rival), one)
    return found


def _kind(question: _Question, predicted: int | None) -> str:
    _, class_, rival = question
    return "versus" if rival is not None else "" if class_ is not None and class_ == predicted else "other"


def _entries(item: Item) -> Iterator[tuple[Mapping[str, Any], np.ndarray]]:
    tensors = item.tensors()
    for i, row in enumerate(item.document["entries"]):
        values = tensors[str(i)]
        if values.ndim != 2 or not values.numel() or not values.is_floating_point():
            raise ValueError(f"a heatmap is {values.dtype} {tuple(values.shape)}")
        yield row, values.float().numpy()


def _on_image(one: ImageHeatmap, row: Mapping[str, Any]) -> ImageHeatmap:
    """Lay the cells out on the whole image, of which the network sees a box."""
    width, height = (below(row[key], 1 << 31) for key in ("width", "height"))
    left, top, right, bottom = (number(side) for side in row["box"])
    if not (right > left and bottom > top and width and height):
        raise ValueError(f"a box of {left, top, right, bottom} on {width} x {height}")
    if max(abs(left), abs(top), abs(right - width), abs(bottom - height)) < 0.5:
        return one
    scale = min(1.0, SIDE / max(width, height))
    sides = [
        _cells(max(1, round(size * scale)), size, ends, cells)
        for size, ends, cells in zip((height, width), ((top, bottom), (left, right)), one.values.shape, strict=True)
    ]
    (rows, seen_rows), (columns, seen_columns) = sides
    values = np.where(seen_rows[:, None] & seen_columns, one.values[rows[:, None], columns], np.float32(0))
    return replace(one, values=values.astype(np.float32))


def _cells(count: int, size: int, ends: tuple[float, float], cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for `count` positions along a side the cell that lies there, and whether one does."""
    places = ((np.arange(count) + 0.5) * (size / count) - ends[0]) / (ends[1] - ends[0]) * cells
    return np.clip(np.floor(places), 0, cells - 1).astype(int), (places >= 0) & (places < cells)
