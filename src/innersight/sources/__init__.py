"""Where models come from: `ORIGIN:NAME`, one module of this package for each origin, or a bare torch module."""

import importlib
import inspect
import os
import pkgutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import nn

from innersight.call import public
from innersight.errors import InnersightError, brief
from innersight.heads import Head
from innersight.model import InputSpec, Model
from innersight.sources import query
from innersight.sources.bare import check, guesses, with_head, wrap
from innersight.sources.given import is_keras, is_path, no_model, no_origin, pipeline_of, source_of
from innersight.sources.weights import not_finite

# Modules of this package that are no origin.
HELPERS = ("architectures", "bare", "claims", "given", "query", "refusal", "weights")


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
    source: Any,
    *,
    input: InputSpec | None = None,
    labels: "Sequence[str] | None" = None,
    classes: int | None = None,
    weights: "str | os.PathLike[str] | None" = None,
    device: str | None = None,
    head: "Head | None" = None,
) -> Model:
    """Return a Model for a network.

    Parameters
    ----------
    source
        A network of this process: an `nn.Module` (kept as it is, never copied or moved), a Keras model (copied), a
        program of `torch.export`, a pipeline of transformers for image classification, a Model (what is stated here
        takes the place of its own). Or a file or folder that holds a whole network. Or text:
        `torchvision:NAME`, `timm:NAME`, `hf:NAME_OR_DIR`, `keras:FILE`,
        `onnx:FILE`, `pt2:FILE`, `lightning:FILE?class=MODULE:CLASS`, `python:MODULE:FUNCTION`, `run:DIR` (what `train`
        wrote; `?epoch=3` where epochs were kept), `toon` (the embedded example), `small:WIDTH` (our own architecture,
        untrained). Options may follow as `?key=value&key=value`: checkpoint, classes, labels (a file with one name per
        line), and the input contract: size (96 or 64x96), channels, mean, std, fit, crop, resample, display.
    input
        The input contract; fields left away are the origin's own, or guessed and said in `Model.notes`.
    labels
        One name per class; of a network with a single output the name of what it says yes to is enough.
    classes
        Build the architecture with this many outputs instead of its own number.
    weights
        "hub" for the origin's pretrained weights, a file (.safetensors, or a .pt/.pth state dict, never unpickled into
        code), or None: random weights for an architecture, its own for an origin that always has some.
    device
        Where to put a network that is built here, such as "cpu"; the GPU when there is one (CUDA, then MPS), else the
        CPU. Not allowed for a network of this process.
    head
        How the network's output becomes class scores (see `innersight.heads`); recognised when not given.

    Raises
    ------
    InnersightError
        For an unknown origin, name or option, one that is stated twice, something that is no network (with what to
        type instead), files that are damaged or hold code, weights that do not fit, and labels of the wrong number.

    """
    names = _texts(labels)
    _refuse_types(input, head)
    if not isinstance(source, str | os.PathLike):
        if classes is not None or weights is not None or device is not None:
            kind = "nn.Module" if isinstance(source, nn.Module) else type(source).__name__
            raise InnersightError(f"a given {kind} stays as it is: set its classes, weights and device before load()")
        return _relabel(_live(source, _fields(input), head), names)
    if is_path(source, origins()):
        source = source_of(source)
    text = cast(str, source)
    origin, name, options = query.split(text)
    if origin not in origins():
        raise no_origin(text, origins())
    module = cast(Source, importlib.import_module(f"{__name__}.{origin}"))
    asked = query.read(options, own=_own_options(module))
    classes = None if classes is None else query.check_classes(classes)
    file = None if weights is None else os.fspath(weights)
    _refuse_twice(asked, classes=classes, weights=file, labels=names, input=_fields(input))
    stated = {**asked.stated, **_fields(input)}
    looks = "head" in inspect.signature(module.open_model).parameters
    heads: dict[str, Any] = {"head": head} if looks else {}
    model = module.open_model(
        name,
        classes=classes if classes is not None else asked.classes,
        weights=file if file is not None else asked.checkpoint,
        stated=stated,
        **heads,
        **asked.own,
    )
    model = _restated(model, stated, None if looks else head, looked=looks)
    model.net.to(usable(device) if device else best_device()).eval()
    model = _noted(replace(model, source=query.joined(text, checkpoint=file, classes=classes)))
    if "crop" in asked.stated and model.input.fit == "squash":
        model = replace(model, notes=(*model.notes, "crop= cuts nothing off: the whole image is squashed (fit=squash)"))
    return _relabel(model, names if names is not None else asked.labels)


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


def _live(source: Any, stated: dict[str, Any], head: "Head | None") -> Model:
    """Return a Model for an object of this process. Raises InnersightError for one that is no network."""
    if isinstance(source, Model):
        return _restated(source, stated, head) if stated or head else source
    if is_keras(source):
        from innersight.sources.keras import of_live

        return _noted(of_live(source, stated=stated, head=head))
    if isinstance(source, torch.export.ExportedProgram):
        from innersight.sources.pt2 import of_program

        return _noted(of_program(source, "the program", "ExportedProgram", stated=stated, head=head))
    if (pipeline := pipeline_of(source)) is not None:
        from innersight.sources.hf import of_live as of_pipeline

        return _noted(of_pipeline(*pipeline, stated=stated, head=head))
    if not isinstance(source, nn.Module):
        raise no_model(source)
    return _noted(wrap(source, stated, head=head))


def _refuse_twice(asked: query.SourceOptions, *, input: dict[str, Any], **given: Any) -> None:
    """Raise InnersightError for what is stated behind the name and beside it, in two ways."""
    behind = {"classes": asked.classes, "weights": asked.checkpoint, "labels": asked.labels}
    twice = [
        f"{key}={value!r:.40} and {key}={behind[key]!r:.40}"
        for key, value in given.items()
        if None not in (value, behind[key]) and value != behind[key]
    ]
    twice += [
        f"{key}={input[key]!r} and {key}={value!r}"
        for key, value in asked.stated.items()
        # One mean or std stands for every channel.
        if key in input and input[key] not in (value, value * (len(input[key]) if key in ("mean", "std") else 1))
    ]
    if twice:
        raise InnersightError(f"{twice[0]} are both stated, one of them behind the model's name: state it once")


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


def _refuse_types(input: object, head: object) -> None:
    if not isinstance(input, InputSpec | None):
        raise InnersightError(f"input={brief(repr(input))}: give an InputSpec, such as InputSpec(height=32, width=32)")
    if not isinstance(head, Head | None):
        raise InnersightError(f"head={brief(repr(head))}: give a Head, see docs/models.md#networks-with-another-output")


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


def _texts(labels: "Sequence[str] | None") -> tuple[str, ...] | None:
    if isinstance(labels, str | os.PathLike):
        raise InnersightError(
            f"labels={labels!r} is one text: give a list with a name for each class (of a file: ?labels=FILE)"
        )
    if not isinstance(labels, Iterable | None):
        raise InnersightError(f"labels={brief(repr(labels))}: give a list with a name for each class")
    return None if labels is None else tuple(map(str, labels))


def _relabel(model: Model, named: tuple[str, ...] | None) -> Model:
    if named is not None:
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
