"""How accurate a trained network is."""

from typing import TYPE_CHECKING

from innersight.render.figures import new_figure
from innersight.result import figures
from innersight.train.result import TrainingRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERED = 20  # classes, up to which every cell shows its count


@figures.register("Confusion matrix of a trained network")
def training_run(found: TrainingRun) -> "Figure":
    """Draw the confusion matrix of the validation images: true classes as rows, predictions as columns.

    Colour is the share of the true class; cells show counts up to 20 classes.
    """
    counts, labels = found.tensors()["confusion"], found.card.labels
    share = (counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy()
    side = 1.6 + 0.32 * len(labels)
    figure = new_figure(max(4.5, side + 0.8), max(3.5, side))
    axis = figure.subplots()
    shown = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, ax=axis, label="share of the true class", shrink=0.8)
    axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6)
    axis.set_yticks(range(len(labels)), labels, fontsize=6)
    axis.set(xlabel="predicted", ylabel="true")
    low, high = found.interval
    title = f"accuracy {found.accuracy:.3f} ({low:.3f} to {high:.3f}), {found.images:,} images"
    axis.set_title(title, fontsize=9, loc="left")
    if len(labels) <= NUMBERED:
        for y, row in enumerate(counts.tolist()):
            for x, count in enumerate(row):
                if count:
                    colour = "white" if share[y, x] > 0.6 else "#333"
                    axis.text(x, y, f"{count:,}", ha="center", va="center", fontsize=6, color=colour)
    return figure
