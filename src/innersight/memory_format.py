"""How the input of a network lies in memory: with its channels last, which is faster, where the network can read it."""

import torch

from innersight import measured
from innersight.model import Model
from innersight.network import DEFEATED
from innersight.untouched import untouched


def memory_format(model: Model) -> torch.memory_format:
    """Return the memory format for the input of a network; tried once, see `measured`.

    One that takes a `view` of what a convolution gives cannot read inputs with their channels last, as the output of
    the convolution then has its channels last too.
    """
    return measured.once(model, "memory format", lambda: tried(model))


def tried(model: Model) -> torch.memory_format:
    """Return the same from a pass made now."""
    shape = (2, *model.input.shape)
    with untouched(model), torch.no_grad():
        x = torch.zeros(shape, device=model.device, dtype=model.dtype).to(memory_format=torch.channels_last)
        try:
            model.output(x)
        except DEFEATED:
            return torch.contiguous_format
    return torch.channels_last
