"""Images as concepts: which concepts are where in an image, and what each adds to the score of its class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from innersight import tap
from innersight.activations import BATCH
from innersight.call import public
from innersight.concepts.contribution import Contributions, contribute
from innersight.errors import InnersightError
from innersight.image import Image, stack
from innersight.inputs import read
from innersight.model import Model
from innersight.result import Result
from innersight.scalars import shown

if TYPE_CHECKING:
    from innersight.concepts.result import Concepts

FEWEST, MOST = 4, 8
LITTLE = 0.02  # of what all concepts of an image contribute, in size


@dataclass(frozen=True, eq=False, repr=False)
class ConceptImages(Result):
    """Images as concepts, as `innersight.concepts.image_concepts` returns them.

    Attributes
    ----------
    concepts : Concepts
        The set.
    images : tuple of Image
        In order.
    contributions : Contributions
        How strong each concept is at each location, and what it adds to the score of the class.
    skipped, notes : tuple of str
        Images that were left out, and how they were understood.

    """

    concepts: "Concepts"
    images: tuple[Image, ...]
    contributions: Contributions
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def groups(self, image: int, limit: int = MOST) -> tuple[int, ...]:
        """Return the concepts that add most to the score of an image, or take most from it, the largest first.

        Parameters
        ----------
        image
            Number of the image.
        limit
            At most this many; of those behind the fourth only such that contribute 2% of all that is contributed.

        Raises
        ------
        InnersightError
            For a number that is out of range.

        """
        if not 0 <= image < len(self.images):
            raise InnersightError(f"image {image} is out of range: there are images 0-{len(self.images) - 1}")
        return strongest(self.contributions.values[image], limit)

    def to_json(self) -> dict[str, Any]:
        """Return for each image its class and score, and the contribution of every concept and of the rest."""
        found = self.contributions
        return {
            "model": self.concepts.model.name,
            "address": self.concepts.address,
            "unit": self.concepts.model.head.unit,
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "images": [
                {
                    "image": image.name,
                    "class": self.concepts.model.labels[int(found.classes[i])],
                    "score": float(found.score[i]),
                    "rest": float(found.rest[i]),
                    "missing": float(found.missing[i]),
                    "groups": list(self.groups(i)),
                    "contributions": found.values[i].tolist(),
                }
                for i, image in enumerate(self.images)
            ],
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return maps, contributions, rest and score."""
        found = self.contributions
        return {"maps": found.maps, "contributions": found.values, "rest": found.rest, "score": found.score}


def strongest(values: Tensor, limit: int = MOST) -> tuple[int, ...]:
    """Return the concepts of an image by the size of their contributions (concepts,); see `ConceptImages.groups`.

    >>> strongest(torch.tensor([0.0, 5.0, -3.0, 0.01, 0.02, 0.5]))
    (1, 2, 5, 4)
    """
    order = values.abs().argsort(descending=True, stable=True)[:limit].tolist()
    least = LITTLE * float(values.abs().sum())
    return tuple(one for place, one in enumerate(order) if place < FEWEST or abs(float(values[one])) >= least)


@public()
def image_concepts(model: Model, images: Any, found: "Concepts", *, target: int | str | None = None) -> ConceptImages:
    """Return where each concept is in each image, and what it adds to the score of a class.

    Parameters
    ----------
    model
        The network that the concepts were found in.
    images
        Anything that holds images, see `innersight.inputs.entries`; all are held in memory.
    found
        The concepts, of `innersight.concepts`.
    target
        Label or number of the class; None for that predicted for each image.

    Returns
    -------
    ConceptImages
        Contributions in the unit of the network's head; with the rest they add up to the score.

    Raises
    ------
    InnersightError
        For an unknown class, and for concepts of another network.
    ImageError
        Where no image could be read.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.concepts import image_concepts
    >>> from innersight.toons import Drawn, draw
    >>> model = ins.load("toon")
    >>> found = ins.concepts(model, Drawn(per_class=2), layer="stage4", count=8)
    >>> image_concepts(model, draw("ambra", 1).pixels, found).contributions.values.shape
    torch.Size([1, 8])

    """
    from innersight.concepts.result import Concepts

    if not isinstance(found, Concepts):
        raise InnersightError(f"found is {shown(found)}: give what `innersight.concepts` returned")
    if found.digest != model.digest(concepts=False):
        raise InnersightError(f"the concepts were found in {found.model.name} with other weights than {model.name} has")
    number = None if target is None else model.class_index(target)
    given = read(images, model.input)
    layered = (model.plain or model).with_concepts(found)
    parts = contributions(layered, given.images, found.address, number)
    return ConceptImages(found, given.images, parts, given.skipped, given.notes)


def contributions(model: Model, images: Sequence[Image], address: str, number: int | None = None) -> Contributions:
    """Return what the concepts of a set contribute to the score of a class of each image.

    Parameters
    ----------
    model
        The network with the set, see `Model.with_concepts`.
    images
        One or more.
    address
        Of the set, such as `stage4~nmf`.
    number
        Of the class; None for that predicted for each image.

    """
    parts = []
    with tap.untouched(model):
        for x in torch.split(stack(images, model.input), BATCH):
            suffix = tap.resume(model, x.to(model.device, model.dtype), address)
            predicted = suffix.output.argmax(1)
            parts.append(contribute(suffix, predicted if number is None else torch.full_like(predicted, number)))
    return Contributions.joined(parts)
