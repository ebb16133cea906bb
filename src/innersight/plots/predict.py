"""Predictions: the most likely classes of images, or the confusion matrix of many."""

from typing import TYPE_CHECKING

from innersight.predict import Prediction
from innersight.render.figures import confusion_matrix, new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 12  # images of which the most likely classes are drawn


@figures.register("Predictions")
def prediction(found: Prediction) -> "Figure":
    """Draw the most likely classes of each image; of more than 12 of known classes the confusion matrix."""
    return _confusion(found) if len(found.names) > DRAWN and found.summary() else _bars(found)


def _confusion(found: Prediction) -> "Figure":
    table, summary = found.confusion(), found.summary()
    assert summary is not None
    keep = [i for i in range(len(table)) if table[i].sum() or table[:, i].sum()]
    cut, labels = table[keep][:, keep], [found.model.labels[i] for i in keep]
    size = max(3.5, 0.32 * len(keep) + 2)
    figure = new_figure(size, size)
    axis = figure.subplots()
    confusion_matrix(axis, cut, labels)
    low, high = summary["interval"]
    text = f"Accuracy {summary['accuracy']:.3f} (95% interval {low:.3f} to {high:.3f}), {summary['images']} images"
    if found.trained_on:
        text += f"\nThe network was trained on {found.trained_on} of these {len(found.names)} images"
    axis.set_title(text, fontsize=9)
    return figure


def _bars(found: Prediction) -> "Figure":
    count = min(DRAWN, len(found.names))
    figure = new_figure(6, 0.9 * count + 0.4)
    for i, axis in enumerate(figure.subplots(count, 1, squeeze=False).flat):
        rows = found.top(i, 3)[::-1]
        key = "probability" if found.model.has_probabilities else "logit"
        axis.barh([row["label"] for row in rows], [row[key] for row in rows], color="#4c6ef5")
        own = found.row(i)
        truth = "" if own["correct"] is not False else f"  (ground truth: {own['ground_truth']})"
        axis.set(title=f"{found.names[i]}{truth}")
        if key == "probability":
            axis.set_xlim(0, 1)
        else:
            axis.set_xlabel(found.model.head.unit, fontsize=7)
        axis.tick_params(labelsize=7)
        axis.title.set_fontsize(8)
    return figure
