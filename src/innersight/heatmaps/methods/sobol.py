"""Sobol indices."""

from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight.errors import InnersightError
from innersight.heatmaps.request import MethodOutput, Trial, methods, relative_error
from innersight.quotients import quotient

LEAST = 8


@methods.register(
    "Sobol",
    source="Fel et al. 2021, arXiv:2111.04138",
    use="For locations that matter only together with others, which hiding one at a time does not find.",
    unit="share of the target's variance",
    reads="masks",
    passes=2112,
    quick={"max_samples": 8, "cells": 4},
)
def sobol(
    trial: Trial, *, cells: int = 8, max_samples: int = 32, max_error: float = 0.3
) -> Generator[Tensor, Tensor, MethodOutput]:
    """Each cell's total share of the target's variance under masks.

    Total-order indices by Jansen's estimator over scrambled Sobol sequences: 0 for a cell without any effect. Never
    negative, so the direction of an effect is not shown.

    Parameters
    ----------
    trial
        The image.
    cells
        Cells along each side of a mask, 2 or more.
    max_samples
        Designs, of cells * cells + 2 masks each, after which it ends at the latest, 2 or more.
    max_error
        It ends when the standard error is below this share of how much the map varies.

    """
    if cells < 2 or max_samples < 2:
        raise InnersightError(f"cells={cells}, max_samples={max_samples}: give at least 2 of each")
    number = cells * cells
    seed = int(torch.randint(2**31, (1,), generator=trial.generator()))
    engine = torch.quasirandom.SobolEngine(2 * number, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    ends: list[Tensor] = []
    effects: list[Tensor] = []
    while True:
        first, second = engine.draw(1)[0].view(2, number)
        designs = first.repeat(number + 2, 1)
        designs[1] = second
        designs[range(2, number + 2), range(number)] = second
        grids = designs.view(-1, 1, cells, cells)
        values = (yield F.interpolate(grids, trial.size, mode="nearest")[:, 0]).cpu().double()
        ends.append(values[:2])
        effects.append((values[0] - values[2:]).square() / 2)
        drawn, variance = torch.stack(effects), torch.cat(ends).var()
        indices = quotient(drawn.mean(0), variance)
        spread = drawn.std(0) if len(drawn) > 1 else torch.full_like(indices, torch.inf)
        errors = quotient(spread, variance) / len(drawn) ** 0.5
        enough = len(drawn) >= LEAST and relative_error(indices, errors) < max_error
        if enough or len(drawn) >= max_samples:
            shape, facts = (1, cells, cells), {"designs": torch.tensor([len(drawn)])}
            return MethodOutput(indices.view(shape), errors.view(shape), facts)
