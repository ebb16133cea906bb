"""Predictions: probabilities for images; accuracy and confusions for a class-per-folder tree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.brief import brief
from innersight.call import public
from innersight.errors import printable
from innersight.heads import readable
from innersight.input_warnings import InputLook
from innersight.inputs import ImageEntry, ImageReader, Loaded, batched, class_of, network_input
from innersight.model import InputSpec, Model
from innersight.render import figures
from innersight.statistics import wilson
from innersight.train.data import content_of
from innersight.train.split import learned_by

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 32
DRAWN = 12  # images of which the figure shows the likeliest classes
LISTED, SHOWN = 20, 10  # images that are listed one by one, and of more the mistakes


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says.

    names : one per image. logits : (images, classes) float32. truth : class number per image, -1 where unknown.
    skipped : one sentence for each file that could not be read. notes : how images and labels were understood.
    learned : how many of the images the network was trained on, as far as its run says.
    warnings : what of the input contract seems wrong, see `innersight.input_warnings`.
    """

    model: Model
    names: tuple[str, ...]
    logits: Tensor
    truth: tuple[int, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()
    learned: int = 0
    warnings: tuple[str, ...] = ()

    __repr__ = brief

    @property
    def probabilities(self) -> Tensor:
        """(images, classes) in 0..1; NaN where the network's scores stand for no probability."""
        return self.model.probabilities(self.logits)

    def top(self, image: int, count: int = 5) -> list[dict[str, Any]]:
        """Return the `count` likeliest classes of an image, best first; probability None where there is none."""
        scores, index = self.logits[image].topk(min(count, len(self.model.labels)))
        probability = self.probabilities[image, index].tolist() if self.model.has_probabilities else [None] * len(index)
        return [
            {"class": c, "label": self.model.labels[c], "probability": p, "logit": score}
            for c, p, score in zip(index.tolist(), probability, scores.tolist(), strict=True)
        ]

    def row(self, image: int) -> dict[str, Any]:
        """Return what an image is taken for: name, label, probability and logit, and its truth and whether it is right.

        probability, truth and right are None where there is none.
        """
        (best,), true = self.top(image, 1), self.truth[image]
        return {
            "name": self.names[image],
            "label": best["label"],
            "probability": best["probability"],
            "logit": best["logit"],
            "truth": self.model.labels[true] if true >= 0 else None,
            "right": best["class"] == true if true >= 0 else None,
        }

    def mistakes(self, count: int | None = None) -> list[int]:
        """Return the numbers of up to `count` images that are taken for another class than theirs, the surest first."""
        truth, predicted = torch.tensor(self.truth), self.logits.argmax(1)
        wrong = ((truth >= 0) & (truth != predicted)).nonzero()[:, 0]
        own = self.probabilities[wrong] if self.model.has_probabilities else self.logits[wrong]
        order = own.gather(1, predicted[wrong, None])[:, 0].argsort(descending=True, stable=True)
        found: list[int] = wrong[order].tolist()
        return found[:count]

    def counts(self) -> list[tuple[str, int]]:
        """Return how many images are taken for each class, of those that any is taken for, most first."""
        found = Counter(self.logits.argmax(1).tolist())
        return [(self.model.labels[number], count) for number, count in found.most_common()]

    def confusion(self) -> Tensor:
        """Return (classes, classes) counts, rows the truth, columns the prediction, of the images with a truth."""
        size = len(self.model.labels)
        table = torch.zeros(size, size, dtype=torch.long)
        for true, predicted in zip(self.truth, self.logits.argmax(1).tolist(), strict=True):
            if true >= 0:
                table[true, predicted] += 1
        return table

    def summary(self) -> dict[str, Any] | None:
        """Return accuracy with its 95% Wilson interval, the per-class table and confusions; None without any truth."""
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
            {"truth": self.model.labels[i], "predicted": self.model.labels[j], "images": int(table[i, j])}
            for i, j in (table - table.diag().diag()).nonzero().tolist()
        ]
        return {
            "images": total,
            "accuracy": right / total,
            "trained_on": self.learned,
            "interval": list(wilson(right, total)),
            "classes": per_class,
            "confusions": sorted(wrong, key=lambda row: -row["images"]),
        }

    def figure(self) -> "Figure":
        """Draw the likeliest classes of up to 12 images; the confusion table of more of which the truth is known."""
        return _draw_confusion(self) if len(self.names) > DRAWN and self.summary() else _draw_bars(self)

    def to_json(self) -> dict[str, Any]:
        """Return every image's best classes and the summary."""
        return {
            "model": self.model.name,
            "images": [
                {"name": name, "truth": self.model.labels[t] if t >= 0 else None, "prediction": self.top(i)}
                for i, (name, t) in enumerate(zip(self.names, self.truth, strict=True))
            ],
            "summary": self.summary(),
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the logits."""
        return {"logits": self.logits}

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return _html(self) + figures.html(self.figure())


@public()
def predict(model: Model, images: Any) -> Prediction:
    """Return the prediction for images.

    images : whatever holds images, see `innersight.inputs.entries`; only a batch at a time is held. The truth is what
    a data set says, or a folder that a file lies in and that is named like one of the model's classes; the notes say
    how that was read, and how many of the images a network from a run was trained on, known by their content. Files
    that cannot be read are skipped and listed. Raises ImageError when none could be read.
    """
    names: list[str] = []
    paths: list[Path | None] = []
    truth: list[int] = []
    logits: list[Tensor] = []
    known, learned = learned_by(model.run), 0
    look = InputLook(model)
    reading = ImageReader(images, model.input, model.labels)
    for both in batched(reading.each(partial(_read, spec=model.input, known=known)), BATCH):
        loaded = [one for one, _ in both]
        learned += sum(trained for _, trained in both)
        names += [one.name for one in loaded]
        paths += [one.entry.path for one in loaded]
        truth += [class_of(one.entry.label, model.labels) for one in loaded]
        x = network_input(loaded, model)
        look.add(x, (one.size for one in loaded))
        logits.append(run(model, x))
    notes = reading.notes
    if learned:
        notes += (f"{learned:,} of {len(names):,} images are among those that {model.name} was trained on",)
    shown, scores = _distinct(names, paths), torch.cat(logits)
    warnings = (*look.warnings, *_no_numbers(scores))
    return Prediction(model, shown, scores, tuple(truth), reading.skipped, notes, learned, warnings)


def _no_numbers(scores: Tensor) -> tuple[str, ...]:
    """Warn of images whose scores are not numbers: what they are taken for means nothing."""
    count = int((~readable(scores)).sum())
    if not count:
        return ()
    many = f"the scores of {count:,} of {len(scores):,} images are not numbers"
    return (f"{many}: the class stated for them, and any accuracy, mean nothing",)


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
    """Return what each image is taken for as a table; of many the surest mistakes."""
    few = len(prediction.names) <= LISTED
    numbers = range(len(prediction.names)) if few else prediction.mistakes(SHOWN)
    lines = []
    for row in map(prediction.row, numbers):
        sure = f"{row['logit']:.3g}" if row["probability"] is None else f"{row['probability']:.3f}"
        truth = "" if row["truth"] is None else row["truth"] if row["right"] else f"{row['truth']} (wrong)"
        cells = "".join(f"<td>{escape(printable(cell))}</td>" for cell in (row["name"], row["label"], sure, truth))
        lines.append(f"<tr>{cells}</tr>")
    if not lines:
        return ""
    unit = "probability" if prediction.model.has_probabilities else prediction.model.head.unit
    names = "".join(f"<th>{escape(name)}</th>" for name in ("image", "taken for", unit, "truth"))
    caption = "" if few else f"<caption>the {len(lines)} surest mistakes of {len(prediction.names):,} images</caption>"
    return f"<table>{caption}<tr>{names}</tr>{''.join(lines)}</table>"


def _draw_confusion(prediction: Prediction) -> "Figure":
    table, summary = prediction.confusion(), prediction.summary()
    assert summary is not None
    keep = [i for i in range(len(table)) if table[i].sum() or table[:, i].sum()]
    cut, labels = table[keep][:, keep], [prediction.model.labels[i] for i in keep]
    size = max(3.5, 0.32 * len(keep) + 2)
    figure = figures.new_figure(size, size)
    axis = figure.subplots()
    share = cut / cut.sum(1, keepdim=True).clamp(min=1)
    axis.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=1)
    axis.set(xticks=range(len(keep)), yticks=range(len(keep)), xlabel="predicted", ylabel="truth")
    axis.set_xticklabels(labels, rotation=60, ha="right", fontsize=7)
    axis.set_yticklabels(labels, fontsize=7)
    for i, j in cut.nonzero().tolist():
        axis.text(
            j, i, str(int(cut[i, j])), ha="center", va="center", fontsize=6, color="w" if share[i, j] > 0.5 else "k"
        )
    low, high = summary["interval"]
    text = f"accuracy {summary['accuracy']:.3f} ({low:.3f} to {high:.3f}) on {summary['images']} images"
    if prediction.learned:
        text += f"\n{prediction.learned} of {len(prediction.names)} images were training images"
    axis.set_title(text, fontsize=9)
    return figure


def _draw_bars(prediction: Prediction) -> "Figure":
    count = min(DRAWN, len(prediction.names))
    figure = figures.new_figure(6, 0.9 * count + 0.4)
    for i, axis in enumerate(figure.subplots(count, 1, squeeze=False).flat):
        rows = prediction.top(i, 3)[::-1]
        key = "probability" if prediction.model.has_probabilities else "logit"
        axis.barh([row["label"] for row in rows], [row[key] for row in rows], color="#4c6ef5")
        own = prediction.row(i)
        said = "" if own["right"] is not False else f"  (truth: {own['truth']})"
        axis.set(title=f"{prediction.names[i]}{said}")
        if key == "probability":
            axis.set_xlim(0, 1)
        else:
            axis.set_xlabel(prediction.model.head.unit, fontsize=7)
        axis.tick_params(labelsize=7)
        axis.title.set_fontsize(8)
    return figure
