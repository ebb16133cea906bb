"""The same patterns after every epoch of a training."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from innersight.errors import InnersightError
from innersight.model import Model
from innersight.patterns.engine import patterns
from innersight.patterns.growth import PatternGrowth
from innersight.patterns.result import PatternProgress
from innersight.scalars import integer, is_integer
from innersight.sources import load
from innersight.sources.origins.run import kept_epochs


def over_epochs(
    model: Model,
    what: Any,
    *,
    epochs: Sequence[int] | None = None,
    progress: Callable[[PatternProgress], None] | None = None,
    **changes: Any,
) -> PatternGrowth:
    """Draw the same patterns for the weights after each epoch of a training.

    Every epoch starts from the same random pixels, so that what differs is what the network learned.

    Parameters
    ----------
    model
        A network that was opened from a run whose epochs were kept, such as `ins.load("run:DIR")`.
    what
        What is drawn, as `patterns` takes it.
    epochs
        Numbers of epochs, 0 being before the first; all that were kept when None.
    progress
        As `patterns` calls it, for one epoch after the other.
    **changes
        Options of `patterns`; one seed is drawn unless `seeds` says otherwise.

    Returns
    -------
    PatternGrowth
        One stage for each epoch.

    Raises
    ------
    InnersightError
        For a network of no run, a run that kept no epochs, an epoch that it did not keep, and as `patterns` does.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.patterns import over_epochs
    >>> over_epochs(ins.load("small:4"), "stage1:0")
    Traceback (most recent call last):
    ...
    innersight.errors.InnersightError: small-4 was not opened from a training run: give run:DIR

    """
    if model.run is None:
        raise InnersightError(f"{model.name} was not opened from a training run: give run:DIR")
    chosen = kept_epochs(model.run) if epochs is None else _asked(epochs)
    found = []
    for epoch in chosen:
        then = load(f"run:{model.run}?epoch={epoch}")
        found.append(patterns(then, what, progress=progress, **{"seeds": 1, **changes}))
    images = torch.stack([one.images.half() for one in found], 1)
    return PatternGrowth(model, tuple(map(str, found[0].targets)), "epoch", tuple(chosen), images, found[0].settings)


def _asked(epochs: Any) -> list[int]:
    """Return numbers of epochs, each once and in order. Raises InnersightError for none and for what is no number."""
    several = [epochs] if is_integer(epochs) or not isinstance(epochs, Iterable) else list(epochs)
    if not several:
        raise InnersightError("epochs is empty: give numbers of epochs, or None for all that were kept")
    return sorted({integer(epoch, "epochs") for epoch in several})
