"""Weight files: safetensors or a torch state dict, read without running any code from the file."""

import copy
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from innersight.errors import InnersightError, printable
from innersight.sources.claims.checkpoints import WHAT, check_checkpoint
from innersight.storage.bounded import MAX_MODEL, check, opened, reading

STATES = ("state_dict", "model_state_dict", "model")
SAVED = "file of weights"


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a weight file by name.

    A Lightning or training checkpoint is searched for its `state_dict` or `model` entry. Raises InnersightError for a
    file that is missing, broken, declares more than it holds, or a pickle with more than tensors and plain containers.
    """
    if str(path) == "hub" and not os.path.exists(path):
        raise InnersightError("weights='hub': only torchvision:, timm: and hf: download weights; give a file")
    if _is_safetensors(path):
        with reading(path, "safetensors file", SafetensorError):
            return dict(load_file(path))
    return state_dict(read_checkpoint(path), printable(path))


def state_dict(content: Any, where: str) -> dict[str, Tensor]:
    """Return the tensors by name of what a checkpoint holds. Raises InnersightError where there are none."""
    for key in STATES:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InnersightError(f"{where}: holds no state dict (tensors by name)")
    return {str(name): tensor for name, tensor in content.items()}


def read_checkpoint(path: str | Path) -> Any:
    """Return what `torch.save` wrote into a file, as tensors and plain containers.

    Raises InnersightError for a file that is missing, broken, declares more than it holds, or has objects in it that
    would run code.
    """
    with opened(path, what=SAVED, limit=MAX_MODEL) as file:
        check_checkpoint(file, printable(path))
        with reading(path, WHAT), warnings.catch_warnings():
            # Of an unusual protocol: what it cannot read, it says.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)


def _is_safetensors(path: str | Path) -> bool:
    """Whether a file is one of safetensors, by its beginning: the length of a JSON object, and the object."""
    check(path, what=SAVED)
    with opened(path, what=SAVED, limit=MAX_MODEL) as file:
        return file.read(9)[8:] == b"{" or Path(path).suffix == ".safetensors"


def fit_with_head(
    net: nn.Module, tensors: dict[str, Tensor], *, origin: str, resize: Callable[[nn.Module], None]
) -> str:
    """Load weights into `net` and give it another number of outputs by `resize`; say how, in one sentence.

    The file may be of the architecture as published (its head is dropped after loading) or already resized (a run).
    Raises InnersightError as `fit_weights` does.
    """
    resized = copy.deepcopy(net)
    resize(resized)
    shapes = {name: tensor.shape for name, tensor in resized.state_dict().items()}
    if shapes == {name: tensor.shape for name, tensor in tensors.items()}:
        resize(net)
        return fit_weights(net, tensors, origin=origin)
    note = fit_weights(net, tensors, origin=origin)
    resize(net)
    return f"{note}, with a new head"


def fit_weights(net: nn.Module, tensors: dict[str, Tensor], *, origin: str) -> str:
    """Load `tensors` into `net` and say how, in one sentence.

    By name; where the names differ but number, order and shapes are the same, by position. Raises InnersightError that
    lists the first differences.
    """
    own = net.state_dict()
    if own.keys() != tensors.keys():
        counted = {n: t for n, t in own.items() if not n.endswith("num_batches_tracked")}
        given = {n: t for n, t in tensors.items() if not n.endswith("num_batches_tracked")}
        if [t.shape for t in counted.values()] == [t.shape for t in given.values()]:
            renamed = dict(zip(counted, given.values(), strict=True))
            net.load_state_dict(renamed, strict=False)
            return f"weights from {origin}, matched by position because their names differ"
    differences = [f"{n} is missing" for n in own if n not in tensors]
    differences += [f"{n} is not in the network" for n in tensors if n not in own]
    differences += [
        f"{n} has shape {tuple(tensors[n].shape)} instead of {tuple(own[n].shape)}"
        for n in own
        if n in tensors and own[n].shape != tensors[n].shape
    ]
    if differences:
        more = f" and {len(differences) - 4} more" if len(differences) > 4 else ""
        raise InnersightError(f"{origin}: the weights do not fit: {'; '.join(differences[:4])}{more}")
    net.load_state_dict(tensors)
    return f"weights from {origin}"


def not_finite(net: nn.Module) -> str | None:
    """Return a sentence that names the weights of `net` that hold NaN or infinite values; None when there are none."""
    bad = [n for n, t in net.state_dict().items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if not bad:
        return None
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return (
        f"NaN or infinite values in the weights {', '.join(bad[:3])}{more}: results that depend on them are meaningless"
    )
