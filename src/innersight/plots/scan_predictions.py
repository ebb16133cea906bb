"""What a network predicts for the images of a scan: the confusion matrix and the calibration curve."""

from typing import TYPE_CHECKING, Any

from innersight.errors import brief
from innersight.render.figures import confusion_matrix, new_figure
from innersight.result import figures
from innersight.scan import ScanPredictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = 30  # of the matrix, at most
BLUE, GREY = "#4c6ef5", "#888"


@figures.register("Predictions of a scan")
def scan_predictions(found: ScanPredictions) -> "Figure":
    """Draw the confusion matrix of the classes that are confused most, and how often each confidence is right."""
    labels = found.model.labels
    mistakes = [0] * len(labels)
    for true, predicted, count in found.pairs():
        mistakes[true] += count
        mistakes[predicted] += count * (true != predicted)
    shown = sorted(sorted(range(len(labels)), key=lambda i: -mistakes[i])[:CLASSES])
    shown = [i for i in shown if mistakes[i]]
    figure = new_figure(max(8.0, 0.3 * len(shown) + 5.5), max(3.6, 0.3 * len(shown) + 1.6))
    figure.suptitle(_title(found), x=0.01, ha="left", fontsize=9)
    if not shown:
        return figure
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    confusion_matrix(left, found.confusion()[shown][:, shown], [brief(labels[i], 20) for i in shown])
    if len(shown) < sum(map(bool, mistakes)):
        left.set_title(f"the {len(shown)} classes with the most images and mistakes", fontsize=7)
    _curve(right, found)
    return figure


def _title(found: ScanPredictions) -> str:
    if found.accuracy is None:
        return f"{found.images:,} images of no known class: no accuracy"
    low, high = found.interval
    error = found.calibration_error()
    parts = [f"Accuracy {found.accuracy:.3f} (95%: {low:.3f} to {high:.3f}) on {found.labelled:,} images"]
    if error is not None:
        parts.append(f"calibration error {error:.3f}")
    if found.trained_on:
        parts.append(f"the network was trained on {found.trained_on:,} of them")
    return "; ".join(parts)


def _curve(axis: Any, found: ScanPredictions) -> None:
    some = [one for one in found.calibration() if one.images]
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="probability of the predicted class", ylabel="share that is right")
    if not some:
        axis.set_title("the scores stand for no probability", fontsize=7)
        return
    x, y = [one.confidence for one in some], [one.accuracy for one in some]
    low, high = zip(*(one.interval for one in some), strict=True)
    spread = [[b - a for a, b in zip(low, y, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
    axis.errorbar(x, y, yerr=spread, color=BLUE, marker="o", markersize=3, linewidth=1)
    for one in some:
        axis.annotate(
            f"{one.images:,}", (one.confidence, one.accuracy), (3, -9), textcoords="offset points", fontsize=6
        )
    axis.tick_params(labelsize=7)
