"""Where models come from: `ORIGIN:NAME`, one module of this package for each origin, or a bare torch module."""

import importlib
import pkgutil
from dataclasses import replace
from typing import Protocol, cast

from torch import nn

from innersight.errors import InnersightError, nearest
from innersight.model import InputSpec, Model
from innersight.sources.bare import wrap


class Source(Protocol):
    """What a module of this package offers: `open_model`."""

    def open_model(self, name: str, *, classes: int | None, weights: str | None) -> Model:
        """Build the model called `name` in this origin; see `load`."""


def origins() -> list[str]:
    """Return the known origins, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in ("bare", "weights"))


def load(
    source: "str | nn.Module | Model",
    *,
    input: InputSpec | None = None,
    labels: "tuple[str, ...] | list[str] | None" = None,
    classes: int | None = None,
    weights: str | None = None,
    device: str | None = None,
) -> Model:
    """Return a Model for a network.

    source : an `nn.Module` (kept as it is, never copied or moved), or text: `torchvision:NAME`, `timm:NAME`, `run:DIR`
        (what `train` wrote), `toon` (the embedded example), `small:WIDTH` (our own architecture, untrained).
    input : the input contract; the origin's own, or inferred and said in `Model.notes`, when not given.
    labels : one name per class.
    classes : build the architecture with this many outputs instead of its own number.
    weights : "hub" for the origin's pretrained weights, a file (.safetensors, or a .pt/.pth state dict, never unpickled
        into code), or None: random weights for an architecture, its own for `run:` and `toon`.
    device : where to put a network that is built here, such as "cuda"; not allowed for an `nn.Module`.

    Raises InnersightError for an unknown origin or name, weights that do not fit, and labels of the wrong number.
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, nn.Module):
        if classes is not None or weights is not None or device is not None:
            raise InnersightError("a given nn.Module stays as it is: set its classes, weights and device before load()")
        return _relabel(wrap(source, input), labels)
    origin, _, name = source.partition(":")
    if origin not in origins():
        raise InnersightError(f"{source!r} names no known origin; {nearest(origin, origins())} (written ORIGIN:NAME)")
    module = cast(Source, importlib.import_module(f"{__name__}.{origin}"))
    model = replace(module.open_model(name, classes=classes, weights=weights), source=source)
    if input is not None:
        model = replace(model, input=input)
    if device is not None:
        model.net.to(device)
    model.net.eval()
    return _relabel(model, labels)


def _relabel(model: Model, labels: "tuple[str, ...] | list[str] | None") -> Model:
    if labels is None:
        return model
    if model.labels and len(labels) != len(model.labels):
        raise InnersightError(f"{len(labels)} labels given but {model.name} has {len(model.labels)} outputs")
    return replace(model, labels=tuple(labels))
