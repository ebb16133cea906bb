"""What a study computes: a list of items, each with the settings that its result depends on."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from innersight.errors import InnersightError
from innersight.heatmaps.cost import default_methods
from innersight.image import Image
from innersight.layers import check_layers, default_layers
from innersight.model import Model
from innersight.patterns.sizes import takes_size

LARGEST = 112
# Of the items of a study. Raise it when what they hold changes: a study of another format is refused until it is
# run again.
FORMAT = 10


@dataclass(frozen=True)
class Plan:
    """The settings of a study.

    Parameters
    ----------
    layers
        Names of layers; the default layers when empty.
    units
        Patterns for each layer, of the units that `compare` ranks best (with one image: those that peak highest).
        0 draws none.
    steps
        Updates of each pattern, at most; classes take twice as many.
    size
        Side of the patterns in pixels. When None, the model's own, but 112 where that is larger and the network takes
        images of 112 x 112 too.
    methods
        Heatmap methods; those of `innersight.heatmaps.default_methods` when empty.
    target
        Class that the heatmaps explain; the class predicted for each image when None.
    seed
        Seed of the patterns.
    seeds
        Images drawn of each pattern; the strongest is shown.
    rivals
        Whether heatmaps also explain the runner-up, and the class less the runner-up.
    negatives
        Units of each layer for which an inhibiting pattern is drawn too.
    trust
        Images, at most, on which the heatmap methods are tested: of the data set scanned into the study's folder, or
        else of the study. They are not tested where fewer than 10 are at hand.
    concepts
        Concepts of the last rectified layer, where the study holds no set of it: found over the data set
        scanned into the study's folder, or else over the images of the study. 0 finds none.

    Examples
    --------
    >>> import innersight as ins
    >>> Plan(layers=("stage1",), units=8).settled(ins.load("toon")).methods
    ('gradcam', 'occlusion', 'integrated-gradients', 'saliency')

    """

    layers: tuple[str, ...] = ()
    units: int = 4
    steps: int = 256
    size: int | None = None
    methods: tuple[str, ...] = ()
    target: str | None = None
    seed: int = 0
    seeds: int = 2
    rivals: bool = True
    negatives: int = 0
    trust: int = 16
    concepts: int = 16

    def settled(self, model: Model) -> "Plan":
        """Return the plan with its layers and methods named and everything checked against a model.

        Parameters
        ----------
        model
            The network.

        Raises
        ------
        InnersightError
            For unknown layers, an unknown target, and numbers out of their range.

        """
        if min(self.units, self.negatives, self.trust, self.concepts) < 0 or self.steps < 1 or self.seeds < 1:
            raise InnersightError(
                f"units={self.units}, negatives={self.negatives}, trust={self.trust} and concepts={self.concepts} must "
                "not be negative; "
                f"steps={self.steps} and seeds={self.seeds} must be at least 1"
            )
        if self.target is not None:
            model.class_index(self.target)
        names = self.layers or default_layers(model)
        check_layers(model, names)
        size = self.size
        if size is None and max(model.input.height, model.input.width) > LARGEST and takes_size(model, LARGEST):
            size = LARGEST
        methods = self.methods or default_methods(model)
        return replace(self, layers=tuple(dict.fromkeys(names)), methods=tuple(dict.fromkeys(methods)), size=size)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """Return the plan that `to_json` described.

        Parameters
        ----------
        data
            As `to_json` returns it.

        """
        settings: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
        return cls(**settings)

    def to_json(self) -> dict[str, object]:
        """Return the plan as plain data."""
        return asdict(self)


def image_digest(images: Sequence[Image]) -> str:
    """Return a digest of the images' pixels and names."""
    return hashlib.sha256(" ".join(image.digest() for image in images).encode()).hexdigest()[:16]
