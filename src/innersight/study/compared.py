"""The networks that a study compares its own with: other checkpoints, epochs that were kept, other networks."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError, whole
from innersight.matching import Matching
from innersight.model import Model
from innersight.scalars import shown
from innersight.sources import load, query
from innersight.sources.origins.run import kept_epochs

EPOCHS = "epochs"
MOST = 8


@dataclass(frozen=True, eq=False)
class Compared:
    """A network beside the study's own.

    epoch : after which it was kept, of a training; None where nobody knows. matching : how its units were matched with
    those of the study's network, where that is known already.
    """

    model: Model
    epoch: int | None
    matching: Matching | None = None

    @property
    def matched(self) -> dict[str, str]:
        """The settings by which a matching that was given is known."""
        if self.matching is None:
            return {}
        content = self.matching.to_json()
        known = json.dumps([content["images"], content["layers"]])
        return {"matched": hashlib.sha256(known.encode()).hexdigest()[:16]}


def compared(model: Model, given: Any) -> tuple[Compared, ...]:
    """Return the networks to compare with, each once.

    given : a network or a name as `innersight.load` takes it, or several; "epochs" stands for the epochs that the
    study's own run kept, 8 at most. Raises InnersightError for more than 8, and where no epochs were kept.
    """
    if not isinstance(given, str | Path | Model | Iterable):
        raise InnersightError(f"compare is {shown(given)}: give networks, or names of networks")
    several = [given] if isinstance(given, str | Path | Model) else list(given)
    found = [one for name in several for one in (_epochs(model) if name == EPOCHS else [_one(model, name)])]
    if len(found) > MOST:
        raise InnersightError(f"{len(found)} networks to compare with: give at most {MOST}")
    own = {one.model.digest(concepts=False): one for one in reversed(found)}
    return tuple(own[digest] for digest in dict.fromkeys(one.model.digest(concepts=False) for one in found))


def _one(model: Model, given: Any) -> Compared:
    if isinstance(given, Model):
        return Compared(given, epoch_of(given.source))
    return Compared(load(str(given), device=str(model.device)), epoch_of(str(given)))


def epoch_of(source: str) -> int | None:
    """Return the epoch that the name of a network tells."""
    return whole(query.split(source)[2].get("epoch", "")) if source.startswith("run:") else None


def _epochs(model: Model) -> Iterable[Compared]:
    if model.run is None:
        raise InnersightError(
            f"{model.name} comes with no weights of single epochs to compare with: name a run, or a network with "
            "--compare"
        )
    return [_one(model, f"run:{model.run}?epoch={epoch}") for epoch in spread(kept_epochs(model.run), MOST)]


def spread(values: Sequence[int], most: int) -> list[int]:
    """Return at most so many values, the first and the last and between them at even distances.

    >>> spread(range(11), 3)
    [0, 5, 10]
    """
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
