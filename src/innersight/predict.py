"""Predictions: probabilities for images; accuracy and confusions for a class-per-folder tree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.call import public
from innersight.errors import printable
from innersight.heads import readable
from innersight.input_spec import InputSpec
from innersight.input_warnings import InputLook
from innersight.inputs import ImageEntry, ImageReader, Loaded, batched, class_of, content_of, network_input
from innersight.model import Model
from innersight.result import Result
from innersight.statistics import wilson
from innersight.train.split import learned_by

BATCH = 32
LISTED, SHOWN = 20, 10  # images that are listed one by one, and of more the mistakes


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Result):
    """The class scores of a network for images, as `innersight.predict` returns them.

    Attributes
    ----------
    model : Model
        The network.
    names : tuple of str
        One for each image; with its folder where several files have one name.
    logits : Tensor
        (images, classes) float32, in the unit that `model.head` states.
    ground_truth : tuple of int
        Class number of each image, -1 where it is not known.
    skipped : tuple of str
        One sentence for each file that could not be read.
    notes : tuple of str
        How images and labels were understood.
    trained_on : int
        How many of the images the network was trained on, as far as its run records them.
    warnings : tuple of str
        What seems wrong with the input contract, see `innersight.input_warnings`, and scores that are NaN or infinite.

    """

    model: Model
    names: tuple[str, ...]
    logits: Tensor
    ground_truth: tuple[int, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()
    trained_on: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def probabilities(self) -> Tensor:
        """(images, classes) in 0..1; NaN where the network's scores stand for no probability."""
        return self.model.probabilities(self.logits)

    def top(self, image: int, limit: int = 5) -> list[dict[str, Any]]:
        """Return the most likely classes of an image.

        Parameters
        ----------
        image
            Number of the image, in the order of `names`.
        limit
            How many classes at most.

        Returns
        -------
        list of dict
            Best first: class (its number), label, probability (0 to 1; None where scores stand for none) and logit.

        """
        scores, index = self.logits[image].topk(min(limit, len(self.model.labels)))
        probability: list[float | None] = [None] * len(index)
        if self.model.has_probabilities:
            probability = self.model.probabilities(self.logits[image][None])[0, index].tolist()
        return [
            {"class": c, "label": self.model.labels[c], "probability": p, "logit": score}
            for c, p, score in zip(index.tolist(), probability, scores.tolist(), strict=True)
        ]

    def row(self, image: int) -> dict[str, Any]:
        """Return the predicted class of an image, and whether it is correct.

        Parameters
        ----------
        image
            Number of the image, in the order of `names`.

        Returns
        -------
        dict
            name, label, probability, logit, ground_truth (the label) and correct; probability, ground_truth and
            correct are None where they are not known.

        """
        (best,), true = self.top(image, 1), self.ground_truth[image]
        return {
            "name": self.names[image],
            "label": best["label"],
            "probability": best["probability"],
            "logit": best["logit"],
            "ground_truth": self.model.labels[true] if true >= 0 else None,
            "correct": best["class"] == true if true >= 0 else None,
        }

    def mistakes(self, limit: int | None = None) -> list[int]:
        """Return the numbers of images that were predicted wrongly, the most confident first.

        Parameters
        ----------
        limit
            How many at most; all when None.

        """
        true, predicted = torch.tensor(self.ground_truth), self.logits.argmax(1)
        wrong = ((true >= 0) & (true != predicted)).nonzero()[:, 0]
        own = self.probabilities[wrong] if self.model.has_probabilities else self.logits[wrong]
        order = own.gather(1, predicted[wrong, None])[:, 0].argsort(descending=True, stable=True)
        found: list[int] = wrong[order].tolist()
        return found[:limit]

    def counts(self) -> list[tuple[str, int]]:
        """Return how many images are predicted as each class, the most frequent first."""
        found = Counter(self.logits.argmax(1).tolist())
        return [(self.model.labels[number], count) for number, count in found.most_common()]

    def confusion(self) -> Tensor:
        """Return the confusion matrix (classes, classes) in images: rows the ground truth, columns the prediction."""
        size = len(self.model.labels)
        table = torch.zeros(size, size, dtype=torch.long)
        for true, predicted in zip(self.ground_truth, self.logits.argmax(1).tolist(), strict=True):
            if true >= 0:
                table[true, predicted] += 1
        return table

    def summary(self) -> dict[str, Any] | None:
        """Return accuracy, the figures of each class, and the confusions.

        Returns
        -------
        dict or None
            None where no ground truth is known. Else images (with a known class), accuracy (0 to 1), interval (its 95%
            Wilson interval), trained_on, classes (by label: images, recall, precision) and confusions (ground_truth,
            predicted, images; the most frequent first).

        """
        table = self.confusion()
        total = int(table.sum())
        if not total:
            return None
        right = int(table.diag().sum())
        per_class = {}
        for i, label in enumerate(self.model.labels):
            true, predicted, hit = int(table[i].sum()), int(table[:, i].sum()), int(table[i, i])
            if true or predicted:
                per_class[label] = {
                    "images": true,
                    "recall": hit / true if true else None,
                    "precision": hit / predicted if predicted else None,
                }
        wrong = [
            {"ground_truth": self.model.labels[i], "predicted": self.model.labels[j], "images": int(table[i, j])}
            for i, j in (table - table.diag().diag()).nonzero().tolist()
        ]
        return {
            "images": total,
            "accuracy": right / total,
            "trained_on": self.trained_on,
            "interval": list(wilson(right, total)),
            "classes": per_class,
            "confusions": sorted(wrong, key=lambda row: -row["images"]),
        }

    def to_json(self) -> dict[str, Any]:
        """Return every image's best classes and the summary."""
        return {
            "model": self.model.name,
            "images": [
                {"name": name, "ground_truth": self.model.labels[t] if t >= 0 else None, "prediction": self.top(i)}
                for i, (name, t) in enumerate(zip(self.names, self.ground_truth, strict=True))
            ],
            "summary": self.summary(),
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the logits."""
        return {"logits": self.logits}

    def _repr_html_(self) -> str:
        return _html(self) + super()._repr_html_()


@public()
def predict(model: Model, images: Any) -> Prediction:
    """Predict the class of images; where their classes are known, measure accuracy and confusions.

    Parameters
    ----------
    model
        The network, see `innersight.load`.
    images
        Anything that holds images, see `innersight.inputs.entries`: files, folders, tar files, data sets, arrays,
        tensors. Only one batch is held in memory.

    Returns
    -------
    Prediction
        `logits` (images, classes), `probabilities`, and by method the best classes of an image, the confusion matrix
        and a summary. The ground truth is what a data set states, or the name of a folder that a file lies in, where
        it is one of the model's classes; `notes` say how labels were read.

    Raises
    ------
    ImageError
        Where no image could be read. Single files that cannot be read are listed in `skipped`.

    Notes
    -----
    The notes also count the images that the network was trained on, recognised by their content, where it comes from a
    training run.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import draw
    >>> model = ins.load("toon")
    >>> found = ins.predict(model, draw("ambra", seed=0).pixels)
    >>> found.row(0)["label"]
    'ambra'

    """
    names: list[str] = []
    paths: list[Path | None] = []
    ground_truth: list[int] = []
    logits: list[Tensor] = []
    known, trained_on = learned_by(model.run), 0
    look = InputLook(model)
    reading = ImageReader(images, model.input, model.labels)
    for both in batched(reading.each(partial(_read, spec=model.input, known=known)), BATCH):
        loaded = [one for one, _ in both]
        trained_on += sum(trained for _, trained in both)
        names += [one.name for one in loaded]
        paths += [one.entry.path for one in loaded]
        ground_truth += [class_of(one.entry.label, model.labels) for one in loaded]
        x = network_input(loaded, model)
        look.add(x, (one.size for one in loaded))
        logits.append(run(model, x))
    notes = reading.notes
    if trained_on:
        notes += (f"{model.name} was trained on {trained_on:,} of these {len(names):,} images",)
    shown, scores = _distinct(names, paths), torch.cat(logits)
    warnings = (*look.warnings, *_no_numbers(scores))
    return Prediction(model, shown, scores, tuple(ground_truth), reading.skipped, notes, trained_on, warnings)


def _no_numbers(scores: Tensor) -> tuple[str, ...]:
    """Warn of images whose scores are NaN or infinite: their predictions mean nothing."""
    count = int((~readable(scores)).sum())
    if not count:
        return ()
    many = f"the scores of {count:,} of {len(scores):,} images are NaN or infinite"
    return (f"{many}: their predicted class, and any accuracy, are meaningless",)


def _read(entry: ImageEntry, spec: InputSpec, known: frozenset[str]) -> tuple[Loaded, bool]:
    """Read an image, and say whether it is among those known by their digests."""
    found = entry.load(spec)
    trained = bool(known) and not known.isdisjoint(content_of(entry.bytes(), found))
    size = found.height, found.width
    return Loaded(entry, found.values(spec), None, name=found.name, size=size), trained


def run(model: Model, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B classes"]:
    """Return the logits for network input `x`, float32 on the CPU."""
    with tap.untouched(model), torch.no_grad():
        output: Tensor = model.logits(x.to(model.device, model.dtype))
    return output.float().cpu()


def _distinct(names: Sequence[str], paths: Sequence[Path | None]) -> tuple[str, ...]:
    """Return the names of images, with their folder where several have one name."""
    several = {name for name, count in Counter(names).items() if count > 1}
    return tuple(
        f"{printable(path.absolute().parent.name)}/{name}" if name in several and path is not None else name
        for name, path in zip(names, paths, strict=True)
    )


def _html(prediction: Prediction) -> str:
    """Return the predictions as a table; of more than `LISTED` images the most confident mistakes."""
    few = len(prediction.names) <= LISTED
    numbers = range(len(prediction.names)) if few else prediction.mistakes(SHOWN)
    lines = []
    for row in map(prediction.row, numbers):
        sure = f"{row['logit']:.3g}" if row["probability"] is None else f"{row['probability']:.3f}"
        truth = "" if row["ground_truth"] is None else row["ground_truth"] + " (wrong)" * (not row["correct"])
        cells = "".join(f"<td>{escape(printable(cell))}</td>" for cell in (row["name"], row["label"], sure, truth))
        lines.append(f"<tr>{cells}</tr>")
    if not lines:
        return ""
    unit = "probability" if prediction.model.has_probabilities else prediction.model.head.unit
    names = "".join(f"<th>{escape(name)}</th>" for name in ("image", "prediction", unit, "ground truth"))
    title = f"The {len(lines)} most confident mistakes among {len(prediction.names):,} images"
    caption = "" if few else f"<caption>{title}</caption>"
    return f"<table>{caption}<tr>{names}</tr>{''.join(lines)}</table>"
