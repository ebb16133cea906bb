"""What `trust` was called with, checked before anything is run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from innersight.errors import InnersightError
from innersight.heatmaps.engine import BatchResult, explain_batch, located, named, options_of
from innersight.heatmaps.request import layer_of
from innersight.heatmaps.target import Target, class_target
from innersight.image import Image
from innersight.layers import check_layers
from innersight.model import Model
from innersight.trust.baselines import baselines
from innersight.trust.case import baseline_maps
from innersight.trust.faithfulness import check_steps
from innersight.trust.likeness import Maps
from innersight.trust.protocol import Protocol
from innersight.trust.regions import Regions, check_labels, read_regions

CHUNK = 16


@dataclass(frozen=True, eq=False)
class TrustRequest:
    """What does not change from image to image.

    options : of each method. layer : None where no layer of the network has a grid. shuffled_labels : the network
    trained on shuffled labels. left_out : takes the sentence of a method that cannot read this network. unknown : a
    sentence for each class of the boxes that the network does not know. report : takes how many passes were made.
    """

    model: Model
    options: dict[str, dict[str, Any]]
    layer: str | None
    protocol: Protocol
    seed: int
    regions: Regions | None
    shuffled_labels: Model | None
    left_out: dict[str, str]
    unknown: tuple[str, ...]
    report: Callable[[int], None]

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that can read the network."""
        return tuple(name for name in self.options if name not in self.left_out)

    def region(self, image: Image, target: int) -> Tensor | None:
        """Return where a class is seen on an image, (H, W) bool, where people marked it."""
        if self.regions is None:
            return None
        return self.regions.find(image, self.model.input, self.model.labels[target])

    def explain(self, x: Tensor, classes: Tensor | None = None, *, model: Model | None = None) -> BatchResult:
        """Return the maps of all methods for network inputs (B, C, H, W) and classes (B,).

        Without classes, and where one is -1, the predicted class is explained. model : another network of that form.
        """
        net = model or self.model

        def aim(logits: Tensor) -> Target:
            predicted = logits.argmax(1).cpu()
            return class_target(net, predicted if classes is None else torch.where(classes < 0, predicted, classes))

        inputs = x.to(net.device, net.dtype)
        layers = [] if self.layer is None else [self.layer]
        return explain_batch(net, inputs, aim, layers, self.options, self.seed, self.left_out, report=self.report)

    def maps(self, found: BatchResult, i: int) -> Maps:
        """Return the maps of image `i`, in the order of the methods."""
        return [found.found[name, layer_of(name, self.layer)].values[i] for name in self.methods]

    def explain_made(self, x: Tensor, classes: Tensor) -> Iterator[tuple[int, Maps, float]]:
        """Yield for each of some made inputs its number, all maps and baselines of its class, and its probability."""
        for start in range(0, len(x), CHUNK):
            part, targets = x[start : start + CHUNK], classes[start : start + CHUNK]
            found = self.explain(part, targets)
            sure = self.model.probabilities(found.logits)[torch.arange(len(part)), targets]
            for i in range(len(part)):
                rng = np.random.default_rng((self.seed, start + i))
                yield start + i, [*self.maps(found, i), *baseline_maps(self.model, part[i], rng)], float(sure[i])


def checked(
    model: Model,
    methods: Sequence[str] | str,
    protocol: Protocol,
    seed: int,
    layer: str | None,
    options: Mapping[str, Mapping[str, Any]] | None,
    regions: str | Path | None,
    shuffled_labels: Model | None,
    report: Callable[[int], None],
) -> TrustRequest:
    """Return the checked request. Raises InnersightError for what cannot be tested."""
    if not model.has_probabilities:
        raise InnersightError(
            f"trust measures a probability, and the scores of {model.name} ({model.head.unit}) give none"
        )
    if model.head.link == "softmax" and len(model.labels) == 1:
        raise InnersightError(
            f"{model.name} has the one class {model.labels[0]!r}, whose probability is always 1; if its output is the "
            "logit of yes or no, load it with head=heads.multilabel()"
        )
    if seed < 0:
        raise InnersightError(f"seed={seed}: give a number of 0 or more")
    other = shuffled_labels
    if other is not None and (other.input, other.labels) != (model.input, model.labels):
        raise InnersightError(
            f"{other.name} has another input or other classes than {model.name}; train the same network on the same "
            "images with their labels shuffled"
        )
    check_steps(protocol.steps, model.input.height * model.input.width)
    chosen = named(methods)
    clash = set(chosen) & set(baselines)
    if clash:
        raise InnersightError(f"{', '.join(sorted(clash))}: always in the table; name heatmap methods only")
    parsed = options_of(chosen, options)
    where, _, missing = located(model, None if layer is None else [layer], chosen)
    parsed = {name: own for name, own in parsed.items() if name not in missing}
    if other is not None:
        check_layers(other, where)
    unknown = () if regions is None else check_labels(regions, model.labels)
    return TrustRequest(
        model, parsed, where[0] if where else None, protocol, seed,
        None if regions is None else read_regions(regions), other, dict(missing), unknown, report,
    )  # fmt: skip
