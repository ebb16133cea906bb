"""The networks that a study compares its own with: other checkpoints, epochs that were kept, other networks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError, whole
from innersight.model import Model
from innersight.scalars import shown
from innersight.sources import load, query
from innersight.sources.origins.run import kept_epochs

EPOCHS = "epochs"
MOST = 8


@dataclass(frozen=True, eq=False)
class Compared:
    """A network beside the study's own. epoch : after which it was kept, of a training; None where nobody knows."""

    model: Model
    epoch: int | None


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
        return Compared(given, _epoch(given.source))
    return Compared(load(str(given), device=str(model.device)), _epoch(str(given)))


def _epoch(source: str) -> int | None:
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
