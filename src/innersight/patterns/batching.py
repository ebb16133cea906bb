"""How many images are optimized at a time: as many as half of the free memory holds."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from innersight.model import Model
from innersight.patterns.jobs import PatternJob, Recipe
from innersight.patterns.responses import ObjectiveBatch, References, threads, whole

ROWS, ROWS_ON_GPU = 16, 64
USED = 0.5  # of what is free


def batch_of(model: Model, jobs: Sequence[PatternJob], recipe: Recipe, references: References) -> tuple[int, int]:
    """Return how many images are on their way at a time, and how many of them go through the network at once.

    One forward pass of the deepest objective counts what autograd keeps; half of the free memory is filled at most.
    """
    most = ROWS_ON_GPU if model.device.type == "cuda" else ROWS
    need = bytes_of(model, jobs[-1], recipe, references)
    fits = int(USED * free(model.device) / max(1, need))
    share = max(threads(), min(whole(most), fits // threads() * threads()))
    return whole(most), share


def bytes_of(model: Model, job: PatternJob, recipe: Recipe, references: References) -> int:
    """Return what autograd keeps for one image, in bytes."""
    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in model.net.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        # An output that is kept with its own graph would hold itself: such a circle is never freed.
        return tensor.detach()

    shape = recipe.shape if job.window is None else (recipe.shape[0], job.window.height, job.window.width)
    x = torch.full((1, *shape), 0.5, device=model.device, requires_grad=True)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = ObjectiveBatch(model, [job.optimized], references=references)(x)
    del value
    return sum(kept.values())


def free(device: torch.device) -> int:
    """Return the free memory of a device in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4 << 30
