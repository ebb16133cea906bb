"""Where models come from: `ORIGIN:NAME`, one module of this package for each origin, or a bare torch module."""

import importlib
import inspect
import pkgutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import nn

from innersight.call import public
from innersight.errors import InnersightError, nearest
from innersight.heads import Head
from innersight.model import InputSpec, Model
from innersight.sources import query
from innersight.sources.bare import check, guesses, with_head, wrap
from innersight.sources.weights import not_finite

# Modules of this package that are no origin.
HELPERS = ("bare", "query", "refusal", "weights")


@runtime_checkable
class Source(Protocol):
    """What a module of this package offers: `open_model`."""

    def open_model(
        self, name: str, *, classes: int | None, weights: str | None, stated: Mapping[str, Any], **own: str
    ) -> Model:
        """Build the model called `name` in this origin, on the CPU; see `load`.

        stated : the fields of the input contract that the caller stated; `load` puts them into the result, so that only
            a source that has to build or guess by them needs to look. head : likewise, declared by a source that
            looks at the network's output. own : further keyword arguments that the source declares are its own options,
            texts written after `?`.
        """


def origins() -> list[str]:
    """Return the known origins, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in HELPERS)


@public()
def load(
    source: "str | nn.Module | Model",
    *,
    input: InputSpec | None = None,
    labels: "Sequence[str] | None" = None,
    classes: int | None = None,
    weights: str | None = None,
    device: str | None = None,
    head: "Head | None" = None,
) -> Model:
    """Return a Model for a network.

    source : an `nn.Module` (kept as it is, never copied or moved), a Model (what is stated here takes the place of its
        own), or text: `torchvision:NAME`, `timm:NAME`,
        `hf:NAME_OR_DIR`, `keras:FILE`, `onnx:FILE`, `pt2:FILE`, `lightning:FILE?class=MODULE:CLASS`,
        `python:MODULE:FUNCTION`, `run:DIR` (what `train` wrote; `?epoch=3` where epochs were kept), `toon` (the
        embedded example), `small:WIDTH` (our own architecture, untrained). Options may follow as
        `?key=value&key=value`: checkpoint, classes, labels (a file with one name per line), and the input contract:
        size (96 or 64x96), channels, mean, std, fit, crop, resample, display.
    input : the input contract; fields left away are the origin's own, or guessed and said in `Model.notes`.
    labels : one name per class; of a network with a single output the name of what it says yes to is enough.
    classes : build the architecture with this many outputs instead of its own number.
    weights : "hub" for the origin's pretrained weights, a file (.safetensors, or a .pt/.pth state dict, never unpickled
        into code), or None: random weights for an architecture, its own for an origin that always has some.
    device : where to put a network that is built here, such as "cpu"; the GPU when there is one (CUDA, then MPS), else
        the CPU. Not allowed for an `nn.Module`.
    head : how the network's output becomes class scores (see `innersight.heads`); recognised when not given.

    Raises InnersightError for an unknown origin, name or option, weights that do not fit, and labels of the wrong
    number.
    """
    if isinstance(source, Model | nn.Module) and (classes is not None or weights is not None or device is not None):
        raise InnersightError(
            f"a given {'Model' if isinstance(source, Model) else 'nn.Module'} stays as it is: set its classes, weights "
            "and device before load()"
        )
    if isinstance(source, Model):
        if input is None and labels is None and head is None:
            return source
        return _relabel(_restated(source, _fields(input), head), labels)
    if isinstance(source, nn.Module):
        return _relabel(_noted(wrap(source, _fields(input), head=head)), labels)
    origin, name, options = query.split(source)
    if origin not in origins():
        raise InnersightError(f"{source!r} names no known origin; {nearest(origin, origins())} (written ORIGIN:NAME)")
    module = cast(Source, importlib.import_module(f"{__name__}.{origin}"))
    asked = query.read(options, own=_own_options(module))
    stated = {**asked.stated, **_fields(input)}
    looks = "head" in inspect.signature(module.open_model).parameters
    heads: dict[str, Any] = {"head": head} if looks else {}
    model = module.open_model(
        name,
        classes=classes if classes is not None else asked.classes,
        weights=weights if weights is not None else asked.checkpoint,
        stated=stated,
        **heads,
        **asked.own,
    )
    again = query.joined(source, checkpoint=weights, classes=classes)
    model = _restated(model, stated, None if looks else head, looked=looks)
    model.net.to(usable(device) if device else best_device()).eval()
    model = _noted(replace(model, source=again))
    if "crop" in asked.stated and model.input.fit == "squash":
        model = replace(model, notes=(*model.notes, "crop= cuts nothing off: the whole image is squashed (fit=squash)"))
    return _relabel(model, labels if labels is not None else asked.labels)


def _restated(model: Model, stated: Mapping[str, Any], head: Head | None, *, looked: bool = False) -> Model:
    """Return a model with the stated fields and head in place of its own, tried on random images.

    looked : its origin did so itself.
    """
    model = replace(model, input=query.with_stated(model.input, stated))
    if head is not None:
        return with_head(model, head)
    if not looked and stated.keys() & {"channels", "height", "width"}:
        check(model.net, model.input)
    return model


def best_device() -> str:
    """Return "cuda", "mps" or "cpu": the first that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def usable(device: str) -> str:
    """Return the name of a device that is there, such as "cpu" or "cuda:1". Raises InnersightError for any other."""
    try:
        torch.empty(1, device=device).cpu()
    # What torch raises for words it does not know, for libraries it lacks, and for machines without the device.
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        there = ["cpu"]
        there += [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise InnersightError(f"no device {device!r} here; choose from: {', '.join(there)}") from error
    return device


def _own_options(module: Source) -> tuple[str, ...]:
    shared = ("classes", "weights", "stated", "head")
    parameters = inspect.signature(module.open_model).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in shared)


def _fields(spec: InputSpec | None) -> dict[str, Any]:
    return {} if spec is None else {key: value for key, value in vars(spec).items() if key not in spec.guessed}


def _noted(model: Model) -> Model:
    """Note what of the input contract is a guess, weights that are no numbers, and which bands are shown by choice."""
    notes = [*guesses(model.input), not_finite(model.net)]
    if model.input.channels not in (1, 3):
        red, green, blue = model.input.shown
        stated = "" if model.input.display else ": state others with display="
        notes.append(f"bands {red}, {green} and {blue} are shown as red, green and blue{stated}")
    return replace(model, notes=(*model.notes, *filter(None, notes)))


def _relabel(model: Model, labels: "Sequence[str] | None") -> Model:
    if labels is not None:
        if isinstance(labels, str):
            raise InnersightError(f"labels={labels!r} is one text: give a list with a name for each class")
        named = tuple(map(str, labels))
        if model.labels == ("no", "yes") and len(named) == 1:
            named = (f"not {named[0]}", *named)
        if model.labels and len(named) != len(model.labels):
            raise InnersightError(f"{len(named)} labels given but {model.name} has {len(model.labels)} outputs")
        model = replace(model, labels=named)
    shared = [label for label, count in Counter(model.labels).items() if count > 1]
    if shared:
        more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
        said = f"several classes are called {', '.join(shared[:3])}{more}: name them by their numbers"
        model = replace(model, notes=(*(note for note in model.notes if note != said), said))
    return model
