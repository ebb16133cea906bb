"""What `concepts` returns: the directions, and a card of each concept."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxtyping import Float
from torch import Tensor

from innersight.ablation import Ablation
from innersight.concepts.contribution import Contributions, shares
from innersight.dissection import Dissection, WordLabels
from innersight.errors import InnersightError
from innersight.factorizations import Choice, Explained, Factorization, Stability, factorizations
from innersight.model import Model
from innersight.result import Result
from innersight.scalars import integer
from innersight.scan import Scan
from innersight.statistics import bootstrap
from innersight.tap import ConceptLayer

CLASSES, UNITS = 3, 8
DEFINITION = (
    "Contribution: integrated gradients of the score of the predicted class between the layer without the concepts and "
    "as it is, summed over locations; mean over the images predicted as the class, 95% bootstrap interval. Removal: "
    "change of the score when the concept's part of the layer is taken away; mean, interval, and p by sign flips, "
    "Holm-corrected for all concepts. Stability: cosine with the matched concept of other seeds, and of two halves of "
    "the sample. Variance: share of the layer's variance. Covered: share of the score, above that of a layer that "
    "gives nothing, which is left when the layer is rebuilt from the concepts alone."
)


@dataclass(frozen=True, eq=False, repr=False)
class Concepts(Result):
    """Concepts of a layer, as `innersight.concepts` returns them; give them to other functions as `concepts=`.

    Attributes
    ----------
    model : Model
        The network, without concepts.
    digest : str
        Its `Model.digest` when the concepts were found.
    layer, name : str
        Name of the layer, and of the set.
    factorization : Factorization
        Directions (concepts, units), of unit length, and how concepts are computed.
    scan : Scan
        The images and locations where each concept is strongest.
    ablation : Ablation
        The change of class scores when a concept is removed, on some images.
    contributions : Contributions
        What each concept adds to the predicted class of the same images.
    covered : Tensor
        (images,) float32, how much of that score the concepts keep; see `DEFINITION`.
    stability : Stability
        Cosines with matched concepts of other seeds and halves.
    variance : Explained
        Shares of the layer's variance.
    counts : tuple of Choice
        What `count="auto"` chose from; empty otherwise.
    labels : Dissection, WordLabels or None
        By which concepts are labelled.
    vectors : int
        Activation vectors that were factorized.
    skipped, notes, warnings : tuple of str
        Images that were left out, how they were understood, and what seems wrong with the input contract.

    """

    model: Model
    digest: str
    layer: str
    name: str
    factorization: Factorization
    scan: Scan
    ablation: Ablation
    contributions: Contributions
    covered: Float[Tensor, " images"]
    stability: Stability
    variance: Explained
    counts: tuple[Choice, ...]
    labels: Dissection | WordLabels | None
    vectors: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The address of the set, such as `stage4~nmf`."""
        return f"{self.layer}~{self.name}"

    def __len__(self) -> int:
        return len(self.factorization.directions)

    def inserted(self) -> Iterable[ConceptLayer]:
        """Return the set as a layer, see `Model.with_concepts`."""
        return (self._inserted,)

    @cached_property
    def _inserted(self) -> ConceptLayer:
        return ConceptLayer.of(self.name, self.layer, self.factorization, self.digest)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The concepts by the mean size of what they contribute, highest first."""
        size = self.contributions.values.abs().mean(0)
        return tuple(size.argsort(descending=True, stable=True).tolist())

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """Share of each concept in what all concepts add to the predicted classes; negative where it lowers scores."""
        return tuple(shares(self.contributions).tolist())

    def _checked(self, concept: int) -> None:
        if not 0 <= integer(concept, "the concept") < len(self):
            raise InnersightError(f"concept {concept} is out of range: {self.address} has concepts 0-{len(self) - 1}")

    def label(self, concept: int) -> dict[str, Any] | None:
        """Return the label of a concept, its score, and what the score is; None where it has none.

        Parameters
        ----------
        concept
            Number of the concept.

        Raises
        ------
        InnersightError
            For a number that is out of range.

        """
        self._checked(concept)
        if self.labels is None:
            return None
        row = self.labels.row(self.address, concept)
        if row["label"] is None:
            return None
        score = "overlap" if isinstance(self.labels, Dissection) else "correlation"
        return {"label": row["label"], "score": row[score], "by": score, "interval": row["interval"]}

    def classes(self, concept: int) -> list[dict[str, Any]]:
        """Return what a concept does to the classes that images are predicted as, the highest contribution first.

        Parameters
        ----------
        concept
            Number of the concept.

        Returns
        -------
        list of dict
            class, number, images, contribution and removal, each with value and interval (None for one image); of
            removal also p.

        Raises
        ------
        InnersightError
            For a number that is out of range.

        """
        self._checked(concept)
        return sorted(
            (self._of_class(concept, number) for number in self._predicted),
            key=lambda row: -row["contribution"]["value"],
        )

    @cached_property
    def _predicted(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.contributions.classes.tolist())))

    def _of_class(self, concept: int, number: int) -> dict[str, Any]:
        own = (self.contributions.classes == number).nonzero()[:, 0]
        added = self.contributions.values[own, concept].double().numpy()
        (removal,) = [row for row in self._removals[number] if row["unit"] == concept]
        return {
            "class": self.model.labels[number],
            "number": number,
            "images": len(own),
            "contribution": {"value": float(added.mean()), "interval": _listed(bootstrap(added))},
            "removal": {"value": removal["mean"], "interval": removal["interval"], "p": removal["p"]},
        }

    @cached_property
    def _removals(self) -> dict[int, list[dict[str, Any]]]:
        return {number: self.ablation.rank(number, None) for number in self._predicted}

    def card(self, concept: int) -> dict[str, Any]:
        """Return what is known of a concept as plain data.

        Parameters
        ----------
        concept
            Number of the concept, from 0.

        Returns
        -------
        dict
            concept, address, label (see `label`), classes (the first 3 of `classes`), share of the scores and of the
            layer's variance, stability over seeds and halves (cosines), units (those of largest weight in its
            direction), and examples (image and value).

        Raises
        ------
        InnersightError
            For a number that is out of range.

        """
        self._checked(concept)
        weights = self.factorization.directions[concept]
        units = weights.abs().topk(min(UNITS, len(weights))).indices.tolist()
        return {
            "concept": concept,
            "address": f"{self.address}:{concept}",
            "label": self.label(concept),
            "classes": self.classes(concept)[:CLASSES],
            "share": self.shares[concept],
            "variance": float(self.variance.each[concept]),
            "seeds": float(self.stability.seeds[concept]),
            "halves": float(self.stability.halves[concept]),
            "units": [{"unit": unit, "weight": float(weights[unit])} for unit in units],
            "examples": [
                {"image": str(one.path), "value": one.value} for one in self.scan.examples(f"{self.address}:{concept}")
            ],
        }

    def to_json(self) -> dict[str, Any]:
        """Return a card of every concept, the total numbers, and the definitions."""
        return {
            "model": self.model.name,
            "layer": self.layer,
            "name": self.name,
            "address": self.address,
            "kind": self.factorization.kind,
            "title": factorizations.entry(self.factorization.kind).title,
            "unit": self.model.head.unit,
            "images": self.scan.images,
            "vectors": self.vectors,
            "measured": len(self.ablation.images),
            "covered": _middle(self.covered),
            "variance": float(self.variance.total),
            "seeds": float(self.stability.seeds.mean()),
            "halves": float(self.stability.halves.mean()),
            "order": list(self.order),
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "definition": DEFINITION,
            "concepts": [self.card(concept) for concept in range(len(self))],
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return directions, contributions, scores and the changes that removals make."""
        return {
            "directions": self.factorization.directions,
            "contributions": self.contributions.values,
            "rest": self.contributions.rest,
            "score": self.contributions.score,
            "change": self.ablation.change,
            "covered": self.covered,
        }


def _middle(values: Float[Tensor, " n"]) -> float | None:
    """Return the median of the numbers that are finite, None for none."""
    finite = values[values.isfinite()]
    return float(finite.quantile(0.5)) if len(finite) else None


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
