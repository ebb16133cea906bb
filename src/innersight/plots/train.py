"""How accurate a trained network is."""

from typing import TYPE_CHECKING

from innersight.render.figures import confusion_matrix, new_figure
from innersight.result import figures
from innersight.train.result import TrainingRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERED = 20  # classes, up to which every cell shows its count


@figures.register("Confusion matrix of a trained network")
def training_run(found: TrainingRun) -> "Figure":
    """Draw the confusion matrix of the validation images: ground truth as rows, predictions as columns.

    Colour is the share of the class in the ground truth; cells show counts up to 20 classes.
    """
    counts, labels = found.tensors()["confusion"], found.card.labels
    side = 1.6 + 0.32 * len(labels)
    figure = new_figure(max(4.5, side + 0.8), max(3.5, side))
    axis = figure.subplots()
    shown = confusion_matrix(axis, counts, labels, numbered=len(labels) <= NUMBERED)
    figure.colorbar(shown, ax=axis, label="share of the class in the ground truth", shrink=0.8)
    low, high = found.interval
    title = f"accuracy {found.accuracy:.3f} ({low:.3f} to {high:.3f}), {found.images:,} images"
    axis.set_title(title, fontsize=9, loc="left")
    return figure
