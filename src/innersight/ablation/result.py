"""What `ablate` returns: the change of every class score when a unit is ablated."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from innersight.model import Model
from innersight.result import Result
from innersight.statistics import bootstrap, fewest, holm, sign_flips

CLASSES = 6
DEFINITION = (
    "Change: the class score with the unit ablated minus the score of the intact network; negative where the class "
    "depends on the unit. Mean over the images predicted as the class (over all images where there are none), with the "
    "95% bootstrap interval. p: two-sided sign-flip test over the images, Holm-corrected for all units of the "
    "layer."
)


@dataclass(frozen=True, eq=False, repr=False)
class Ablation(Result):
    """The change of every class score when a unit of a layer is ablated.

    Attributes
    ----------
    model : Model
        The network.
    layer : str
        Name of the layer.
    images : tuple of str
        Names of the images, in the order of the rows.
    change : Tensor
        (images, units, classes) float32, in the unit of the model's head: score with the unit ablated minus score of
        the intact network.
    logits : Tensor
        (images, classes) of the intact network.
    to : str
        What a unit's map was set to.
    closed_form : bool
        Whether the scores are an affine function of the layer, so that no unit needed runs of its own.
    classes : tuple of str
        Labels of the classes asked for; empty for those predicted.
    skipped : tuple of str
        One sentence for each file that could not be read.
    notes : tuple of str
        How the images were understood.

    """

    model: Model
    layer: str
    images: tuple[str, ...]
    change: Tensor
    logits: Tensor
    to: str
    closed_form: bool = False
    classes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def shown_classes(self) -> tuple[str, ...]:
        """Return the labels of the classes asked for, or of the up to 6 predicted most often."""
        if self.classes:
            return self.classes
        seen = torch.bincount(self.logits.argmax(1), minlength=len(self.model.labels))
        order = seen.argsort(descending=True, stable=True)[:CLASSES].tolist()
        return tuple(self.model.labels[i] for i in order if seen[i])

    def rows(self, target: int | str) -> list[int]:
        """Return the numbers of the images predicted as a class, or of all images where there are none.

        Parameters
        ----------
        target
            Label or number of the class.

        Returns
        -------
        list of int
            Rows of `change`.

        Raises
        ------
        InnersightError
            For an unknown class; it lists the nearest names.

        """
        own = (self.logits.argmax(1) == self.model.class_index(target)).nonzero()[:, 0].tolist()
        return own or list(range(len(self.images)))

    def rank(self, target: int | str, limit: int | None = 10) -> list[dict[str, Any]]:
        """Return the units whose ablation lowers a class score most.

        Parameters
        ----------
        target
            Label or number of the class.
        limit
            At most this many units; all when None.

        Returns
        -------
        list of dict
            unit, address, mean change, interval (95%; None for a single image), p, and the number of images.

        Raises
        ------
        InnersightError
            For an unknown class.

        """
        number = self.model.class_index(target)
        own = self._of(number)
        if number not in self._tests:
            self._tests[number] = _test(own)
        p = self._tests[number]
        found = []
        for unit in own.mean(0).argsort(kind="stable")[:limit].tolist():
            interval = bootstrap(own[:, unit])
            found.append(
                {
                    "unit": unit,
                    "address": f"{self.layer}:{unit}",
                    "mean": float(own[:, unit].mean()),
                    "interval": None if interval is None else list(interval),
                    "p": p[unit],
                    "images": len(own),
                }
            )
        return found

    def _of(self, number: int) -> Float[np.ndarray, "rows units"]:
        """Return the changes of a class over its images, see `rows`."""
        return self.change[self.rows(number), :, number].double().numpy()

    @cached_property
    def _tests(self) -> dict[int, tuple[float, ...]]:
        """The corrected p-values of every unit, by class, computed once: table, figure and file use the same."""
        return {}

    def note(self, target: int | str) -> str:
        """Return in one sentence the images of a class, and whether they are enough for a test.

        Parameters
        ----------
        target
            Label or number of the class.

        Raises
        ------
        InnersightError
            For an unknown class.

        """
        number = self.model.class_index(target)
        own, label = len(self.rows(number)), self.model.labels[number]
        predicted = bool((self.logits.argmax(1) == number).any())
        images = f"{own} image{'s' * (own != 1)}"
        text = f"{images} predicted as {label}" if predicted else f"no image is predicted as {label}: all {images}"
        needed = fewest(self.change.shape[1])
        return text + (f"; too few to test {self.change.shape[1]} units: {needed} needed" if own < needed else "")

    def to_json(self) -> dict[str, Any]:
        """Return the ranking for each class of `shown_classes`, with the definition."""
        return {
            "model": self.model.name,
            "layer": self.layer,
            "to": self.to,
            "unit": self.model.head.unit,
            "images": list(self.images),
            "closed_form": self.closed_form,
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "definition": DEFINITION,
            "classes": {
                label: {
                    "note": self.note(label),
                    "rank": self.rank(label, None if self.change.shape[1] <= 512 else 100),
                }
                for label in self.shown_classes()
            },
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the changes and the scores of the intact network."""
        return {"change": self.change, "logits": self.logits}


def _test(own: Float[np.ndarray, "rows units"]) -> tuple[float, ...]:
    """Return the p-value of every unit, corrected for their number."""
    # The least p-value is one flip among all, so many units need many flips.
    return holm(sign_flips(own, resamples=max(9999, 50 * own.shape[1])))
