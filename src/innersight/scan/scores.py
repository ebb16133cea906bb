"""What the network makes of each image of a scan: its best classes, and where the image's own class stands."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from innersight import measured, tap
from innersight.errors import InnersightError
from innersight.heads import readable
from innersight.model import Model

TOP = 5
_PACKED = np.dtype([("class", "<i4"), ("score", "<f4"), ("probability", "<f4")])


@dataclass(frozen=True)
class ClassScores:
    """The best classes of one image, and the rank of its own.

    Attributes
    ----------
    classes : tuple of int
        Numbers of the up to 5 best classes, best first.
    scores : tuple of float
        Their scores, in the unit of the model's head.
    probabilities : tuple of float
        0 to 1; empty where scores stand for none.
    own : float or None
        Probability of the image's own class, 0 to 1; None where it is not known.
    rank : int or None
        Rank of the image's own class, 1 for the best; None where it is not known.

    """

    classes: tuple[int, ...]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...] = ()
    own: float | None = None
    rank: int | None = None

    @property
    def confidence(self) -> float | None:
        """Probability of the best class, 0 to 1; None where scores stand for none."""
        return self.probabilities[0] if self.probabilities else None

    def packed(self) -> bytes:
        """Return classes, scores and probabilities as bytes."""
        chances = self.probabilities or (np.nan,) * len(self.classes)
        return np.array(list(zip(self.classes, self.scores, chances, strict=True)), dtype=_PACKED).tobytes()

    @classmethod
    def unpacked(cls, stored: bytes, own: float | None, rank: int | None) -> "ClassScores":
        """Return what was stored.

        Parameters
        ----------
        stored
            As `packed` returns it.
        own, rank
            Of the image's own class; None where it is not known.

        Raises
        ------
        ValueError
            For what `packed` does not write.

        """
        rows = np.frombuffer(stored, _PACKED)
        classes, scores, chances = rows["class"], rows["score"], rows["probability"]
        some = bool(np.isfinite(chances).all())
        if not 0 < len(rows) <= TOP or not np.isfinite(scores[0]) or np.isnan(scores).any():
            raise ValueError(f"{len(rows)} classes with scores {scores[:TOP].tolist()}")
        if not some and not np.isnan(chances).all():
            raise ValueError(f"probabilities {chances.tolist()}")
        return cls(tuple(classes.tolist()), tuple(scores.tolist()), tuple(chances.tolist()) if some else (), own, rank)


def class_scores(model: Model, logits: Float[Tensor, "B classes"], own: Sequence[int]) -> list[ClassScores | None]:
    """Return the best classes of every image; None for an image whose scores are NaN or infinite.

    own : number of the class of each image, -1 where it is not known.
    """
    logits = logits.float()
    # Unlike topk, a stable sort puts equal scores in the order of the classes on every machine.
    scores, classes = (found[:, :TOP] for found in logits.sort(dim=1, descending=True, stable=True))
    place = torch.tensor(own, device=logits.device).clamp(min=0)[:, None]
    ranks = (1 + (logits > logits.gather(1, place)).sum(1)).tolist()
    chances: list[list[float]] = [[]] * len(logits)
    chance: list[float | None] = [None] * len(logits)
    if model.has_probabilities:
        probabilities = model.probabilities(logits)
        chances = probabilities.gather(1, classes).tolist()
        chance = probabilities.gather(1, place)[:, 0].tolist()
    rows = zip(readable(logits).tolist(), classes.tolist(), scores.tolist(), chances, own, chance, ranks, strict=True)
    return [
        ClassScores(tuple(best), tuple(values), tuple(some), *((one, rank) if known >= 0 else ())) if usable else None
        for usable, best, values, some, known, one, rank in rows
    ]


def no_scores(model: Model) -> str | None:
    """Return why the network gives no score for each of its classes; None where it does. Measured once."""
    return measured.once(model, "class scores", lambda: _no_scores(model))


def _no_scores(model: Model) -> str | None:
    black = torch.zeros(1, *model.input.shape, device=model.device, dtype=model.dtype)
    with tap.untouched(model), torch.no_grad():
        try:
            shape = tuple(model.logits(black).shape)
        # Whoever made the Model stated a head that does not fit; the layers can be read all the same.
        except InnersightError as error:
            return str(error)
    wanted = (1, len(model.labels))
    return None if shape == wanted else f"its scores are {shape} for one image where {wanted} are needed"
