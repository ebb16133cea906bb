"""Whether a network runs on images of another size than its own."""

import torch

from innersight import tap
from innersight.errors import InnersightError
from innersight.model import Model


def takes_size(model: Model, side: int) -> bool:
    """Return whether a network runs on square images of another size than its own."""
    try:
        _run_size(model, (model.input.channels, side, side))
    except tap.DEFEATED:
        return False
    return True


def _run_size(model: Model, shape: tuple[int, int, int]) -> None:
    with tap.untouched(model), torch.no_grad():
        model.output(torch.zeros(1, *shape, device=model.device, dtype=model.dtype))


def check_size(model: Model, shape: tuple[int, int, int]) -> None:
    """Raise InnersightError where a network does not run on images of a shape (C, H, W)."""
    try:
        _run_size(model, shape)
    except tap.DEFEATED as error:
        own = f"{model.input.height}x{model.input.width}"
        raise InnersightError(
            f"size={shape[1]}: {model.name} takes only images of {own} or sizes that fit its parts ({error})"
        ) from error
