"""What a network predicts for the images of a scan: accuracy, calibration, confusions, and every image by question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from innersight.errors import InnersightError, nearest
from innersight.model import Model
from innersight.result import Result
from innersight.scalars import at_least_one, shown
from innersight.scan.rows import ScanRows
from innersight.scan.scores import ClassScores
from innersight.statistics import wilson
from innersight.storage.study_folder import written_by_innersight

Order = Literal["number", "confident", "doubtful"]
BINS = 10  # of a calibration curve
PAGE = 1000  # images read at a time
_ORDERS = {
    "number": "i.number",
    "confident": "COALESCE(p.confidence, p.score) DESC, i.number",
    "doubtful": "COALESCE(p.confidence, p.score), i.number",
}
_FROM = "FROM scan_predictions AS p JOIN scan_images AS i ON i.number = p.number"
_COLUMNS = "i.number, i.name, i.label, i.class, p.best, p.own, p.rank, p.trained"
_KINDS = (int, str, str | None, int, bytes, float | None, int | None, int | None)


@dataclass(frozen=True)
class PredictedImage:
    """An image of a scan and its best classes.

    Attributes
    ----------
    number : int
        Of the image in the scan.
    name : str
        Path of the file; TAR/MEMBER in a tar file, #NUMBER in a data set.
    label : str or None
        The name of its class in its source.
    class_ : int
        Number of the model's class that this names; -1 where it names none.
    scores : ClassScores
        Its best classes, and how its own class ranks.
    trained : bool or None
        Whether the network was trained on it; None where its run does not record that.

    """

    number: int
    name: str
    label: str | None
    class_: int
    scores: ClassScores
    trained: bool | None = None

    @property
    def predicted(self) -> int:
        """Number of the predicted class."""
        return self.scores.classes[0]

    @property
    def confidence(self) -> float | None:
        """Probability of the predicted class, 0 to 1; None where scores stand for none."""
        return self.scores.confidence

    @property
    def correct(self) -> bool | None:
        """Whether the prediction is right; None where the image's class is not known."""
        return None if self.class_ < 0 else self.class_ == self.predicted


@dataclass(frozen=True)
class CalibrationBin:
    """The images of known class whose confidence lies in a range.

    Attributes
    ----------
    low, high : float
        The range, 0 to 1; `high` belongs to it only at 1.
    images, correct : int
        How many there are, and how many of them are predicted correctly.
    confidence : float
        Mean of their confidence; NaN without images.

    """

    low: float
    high: float
    images: int
    correct: int
    confidence: float

    @property
    def accuracy(self) -> float:
        """Share that is predicted correctly, 0 to 1; NaN without images."""
        return self.correct / self.images if self.images else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval of the accuracy."""
        return wilson(self.correct, self.images)


@dataclass(frozen=True, eq=False, repr=False)
class ScanPredictions(Result):
    """What a network predicts for every image of a scan, read from disk when it is asked for.

    Attributes
    ----------
    model : Model
        The network.
    rows : ScanRows
        Where the images are read from.
    images : int
        How many images have a prediction.
    labelled : int
        How many of them are of a class of the network.
    correct : int
        How many of those are predicted correctly.
    not_finite : int
        Images left out because a score of theirs is NaN or infinite.
    trained_on : int or None
        How many the network was trained on; None where its run does not record that.

    """

    model: Model
    rows: ScanRows
    images: int
    labelled: int
    correct: int
    not_finite: int
    trained_on: int | None

    @classmethod
    def of(cls, model: Model, rows: ScanRows, read: int) -> "ScanPredictions":
        """Return the predictions of a scan; every column is looked through once, as a study may come from a stranger.

        Parameters
        ----------
        model
            The network.
        rows
            Of the scan.
        read
            How many of its images could be read.

        Raises
        ------
        InnersightError
            Where a column holds what a scan does not write.

        """
        integers = " AND ".join(f"typeof(p.{name}) IN ('integer', 'null')" for name in ("rank", "trained"))
        numbers = "COALESCE(p.confidence BETWEEN 0 AND 1, 1) AND COALESCE(p.own BETWEEN 0 AND 1, 1)"
        last = len(model.labels) - 1
        classes = f"p.predicted BETWEEN 0 AND {last} AND i.class BETWEEN -1 AND {last}"
        kinds = "typeof(p.predicted) = 'integer' AND typeof(i.class) = 'integer' AND typeof(p.score) = 'real'"
        query = (
            f"SELECT COUNT(*), SUM(i.class >= 0), SUM(i.class = p.predicted), SUM(p.trained), SUM(p.trained IS NULL), "
            f"SUM(NOT ({kinds} AND {integers} AND {classes} AND {numbers})) {_FROM}"
        )
        ((images, labelled, correct, trained, unknown, foreign),) = rows.rows(query, (int, *(int | None,) * 5))
        with written_by_innersight("the predictions of the scan"):
            if foreign or images > read:
                raise ValueError(f"{images} predictions of {read} images, {foreign} of them with numbers out of range")
        trained_on = None if unknown or trained is None else trained
        return cls(model, rows, images, labelled or 0, correct or 0, read - images, trained_on)

    @property
    def accuracy(self) -> float | None:
        """Share of the images of known class that is predicted correctly, 0 to 1; None where no class is known."""
        return self.correct / self.labelled if self.labelled else None

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval of the accuracy."""
        return wilson(self.correct, self.labelled)

    def pairs(self) -> list[tuple[int, int, int]]:
        """Return how many images of each class are predicted as each.

        Returns
        -------
        list of (int, int, int)
            Class, predicted class and number of images, the most frequent first; only pairs that occur.

        """
        query = f"SELECT i.class, p.predicted, COUNT(*) {_FROM} WHERE i.class >= 0 GROUP BY i.class, p.predicted"
        return sorted(self.rows.rows(query, (int, int, int)), key=lambda row: (-row[2], row[0], row[1]))

    def confusion(self) -> Int[Tensor, "classes classes"]:
        """Return the confusion matrix in images: rows the ground truth, columns the prediction."""
        size = len(self.model.labels)
        table = torch.zeros(size, size, dtype=torch.long)
        for true, predicted, count in self.pairs():
            table[true, predicted] = count
        return table

    def predicted_counts(self) -> dict[int, int]:
        """Return how many images, of known class or not, are predicted as each class, by its number."""
        query = f"SELECT p.predicted, COUNT(*) {_FROM} GROUP BY p.predicted ORDER BY p.predicted"
        return dict(self.rows.rows(query, (int, int)))

    def calibration(self, bins: int = BINS) -> tuple[CalibrationBin, ...]:
        """Return how often predictions of a confidence are right, over the images of known class.

        Parameters
        ----------
        bins
            Ranges of equal width from 0 to 1.

        Returns
        -------
        tuple of CalibrationBin
            Lowest confidence first; empty where scores stand for no probability or no class is known.

        Notes
        -----
        A reliability diagram (DeGroot and Fienberg 1983; Guo et al. 2017, arXiv:1706.04599).

        """
        if not self.model.has_probabilities or not self.labelled:
            return ()
        query = (
            f"SELECT MIN(CAST(p.confidence * {bins:d} AS INTEGER), {bins - 1:d}) AS bin, COUNT(*), "
            f"SUM(i.class = p.predicted), SUM(p.confidence) {_FROM} WHERE i.class >= 0 GROUP BY bin"
        )
        found = {bin_: rest for bin_, *rest in self.rows.rows(query, (int, int, int, float))}
        result = []
        for bin_ in range(bins):
            images, correct, total = found.get(bin_, (0, 0, 0.0))
            mean = total / images if images else float("nan")
            result.append(CalibrationBin(bin_ / bins, (bin_ + 1) / bins, images, correct, mean))
        return tuple(result)

    def calibration_error(self, bins: int = BINS) -> float | None:
        """Return the expected calibration error (ECE): the mean gap between confidence and accuracy of the bins.

        Parameters
        ----------
        bins
            Ranges of equal width from 0 to 1; each counts by its images.

        Returns
        -------
        float or None
            0 to 1; None where scores stand for no probability or no class is known.

        """
        some = [one for one in self.calibration(bins) if one.images]
        if not some:
            return None
        return sum(one.images * abs(one.accuracy - one.confidence) for one in some) / self.labelled

    def select(
        self,
        *,
        class_: int | None = None,
        predicted: int | None = None,
        correct: bool | None = None,
        confidence: tuple[float, float] = (0.0, 1.0),
        order: Order = "number",
        limit: int | None = None,
    ) -> list[PredictedImage]:
        """Return the images of a question.

        Parameters
        ----------
        class_
            Number of their own class; -1 for those of no known class.
        predicted
            Number of their predicted class.
        correct
            Whether the prediction is right; images of no known class are neither right nor wrong.
        confidence
            Range of the probability of the predicted class, both ends included. Where scores stand for no
            probability it is not looked at.
        order
            "number": as scanned. "confident": the surest first. "doubtful": the least sure first.
        limit
            At most this many; all when None.

        Returns
        -------
        list of PredictedImage
            The images.

        Raises
        ------
        InnersightError
            For another order, and `limit` below 1.

        """
        if order not in _ORDERS:
            raise InnersightError(f"order is {shown(order)}; {nearest(str(order), _ORDERS)}")
        at_least_one(limit=1 if limit is None else limit)
        where, values = ["1"], list[Any]()
        for column, value in (("i.class", class_), ("p.predicted", predicted)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(int(value))
        if correct is not None:
            where.append(f"i.class >= 0 AND i.class {'=' if correct else '<>'} p.predicted")
        if tuple(confidence) != (0.0, 1.0):
            where.append("COALESCE(p.confidence BETWEEN ? AND ?, 1)")
            values += [float(value) for value in confidence]
        bound = "" if limit is None else f" LIMIT {int(limit)}"
        return self._read(f"WHERE {' AND '.join(where)} ORDER BY {_ORDERS[order]}{bound}", tuple(values))

    def numbered(self, numbers: Sequence[int]) -> list[PredictedImage]:
        """Return images by their numbers in the scan; those without a prediction are left out.

        Parameters
        ----------
        numbers
            Of the images; the result is in their order.

        """
        found: dict[int, PredictedImage] = {}
        for first in range(0, len(numbers), PAGE):
            some = tuple(map(int, numbers[first : first + PAGE]))
            marks = ", ".join("?" * len(some))
            found |= {one.number: one for one in self._read(f"WHERE i.number IN ({marks})", some)}
        return [found[number] for number in map(int, numbers) if number in found]

    def __iter__(self) -> Iterator[PredictedImage]:
        """Iterate over all images in the order of the scan; a thousand at a time are in memory."""
        last = -1
        while some := self._read("WHERE i.number > ? ORDER BY i.number LIMIT ?", (last, PAGE)):
            yield from some
            last = some[-1].number

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain data.

        Returns
        -------
        dict
            images, labelled, not_finite, trained_on; accuracy (0 to 1) and interval (95%, Wilson), None where no class
            is known; calibration_error (None where scores stand for no probability); classes (by label: images, recall
            and precision) and confusions (ground_truth, predicted, images; the most frequent first).

        """
        pairs, labels = self.pairs(), self.model.labels
        true, predicted = dict[int, int](), dict[int, int]()
        for row, column, count in pairs:
            true[row] = true.get(row, 0) + count
            predicted[column] = predicted.get(column, 0) + count
        hits = {row: count for row, column, count in pairs if row == column}
        return {
            "images": self.images,
            "labelled": self.labelled,
            "not_finite": self.not_finite,
            "trained_on": self.trained_on,
            "accuracy": self.accuracy,
            "interval": list(self.interval) if self.labelled else None,
            "calibration_error": self.calibration_error(),
            "classes": {
                labels[i]: {
                    "images": true.get(i, 0),
                    "recall": hits.get(i, 0) / true[i] if i in true else None,
                    "precision": hits.get(i, 0) / predicted[i] if i in predicted else None,
                }
                for i in sorted(true.keys() | predicted.keys())
            },
            "confusions": [
                {"ground_truth": labels[row], "predicted": labels[column], "images": count}
                for row, column, count in pairs
                if row != column
            ],
        }

    def to_json(self) -> dict[str, Any]:
        """Return the summary, and the calibration curve."""
        bins = [{**vars(one), "confidence": one.confidence if one.images else None} for one in self.calibration()]
        return {"model": self.model.name, **self.summary(), "calibration": bins}

    def tensors(self) -> dict[str, Tensor]:
        """Return the confusion matrix."""
        return {"confusion": self.confusion()}

    def _read(self, rest: str, values: tuple[Any, ...]) -> list[PredictedImage]:
        found = []
        with written_by_innersight("the predictions of the scan"):
            for number, name, label, class_, best, own, rank, trained in self.rows.rows(
                f"SELECT {_COLUMNS} {_FROM} {rest}", _KINDS, values
            ):
                scores = ClassScores.unpacked(best, own, rank)
                if not all(0 <= one < len(self.model.labels) for one in scores.classes):
                    raise ValueError(f"the classes {scores.classes} of {len(self.model.labels)}")
                known = None if trained is None else bool(trained)
                found.append(PredictedImage(number, name, label, class_, scores, known))
        return found
