"""`load`: a Model of a text `ORIGIN:NAME`, of a file or folder, or of a network of this process."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from innersight.call import public
from innersight.errors import InnersightError, brief
from innersight.heads import Head
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources import query
from innersight.sources.bare import check, guesses, with_head, wrap
from innersight.sources.given import is_keras, is_path, no_model, no_origin, pipeline_of, source_of
from innersight.sources.origins import LoadRequest, registry
from innersight.sources.origins.hf import of_live as of_pipeline
from innersight.sources.origins.keras import of_live as of_keras
from innersight.sources.origins.pt2 import of_program
from innersight.sources.weights import not_finite


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
    """Load a network, whatever it was made with, as a Model.

    Parameters
    ----------
    source
        One of these:

        - text `ORIGIN:NAME`: `torchvision:NAME`, `timm:NAME`, `hf:NAME_OR_DIR`, `keras:FILE`, `onnx:FILE`, `pt2:FILE`,
          `lightning:FILE?class=MODULE:CLASS`, `python:MODULE:FUNCTION`, `run:DIR` (what `innersight.train` wrote),
          `toon` or `toon:robust` (the embedded examples), `small:WIDTH` (our own architecture, untrained);
          `innersight list sources` shows them. Options may follow as `?key=value&key=value`: checkpoint, classes,
          labels (a file with one name per line), the input contract (size, as 96 or 64x96, channels, mean, std, fit,
          crop, resample, display), and the origin's own;
        - a file or folder that holds a whole network;
        - a network of this process: an `nn.Module` (used as it is, never copied or moved), a Keras model (copied), a
          `torch.export` program, an image-classification pipeline of transformers, or a Model, of which what is stated
          is replaced.
    input
        The input contract. Fields that are left out are the origin's own, or guessed; `Model.notes` say which.
    labels
        One name for each class. For a network with a single output, the name of the positive class is enough.
    classes
        Number of outputs to build the architecture with; its own number by default.
    weights
        "hub" for the origin's published weights, or a file (.safetensors, or a .pt or .pth state dict, of which no code
        is ever run). By default an architecture has random weights, and a file its own.
    device
        Where to put a network that is built, such as "cpu" or "cuda:1"; by default CUDA, else MPS, else the CPU. Not
        allowed for a network of this process.
    head
        How the network's output becomes class scores, see `innersight.heads`; recognised by default.

    Returns
    -------
    Model
        The network in eval mode, with its input contract, labels and head. `notes` say what was guessed.

    Raises
    ------
    InnersightError
        For an unknown origin, name or option, one that is given twice, an object that is not a network (with what to
        give instead), files that are damaged or hold code, weights that do not fit, and a wrong number of labels.
    MissingExtraError
        Where a library is not installed, with the command that installs it.

    Examples
    --------
    >>> import innersight as ins
    >>> ins.load("toon")
    Model toon: SmallResNet, input 3x96x96, 10 classes (ambra, bosk, corvo...), logits
    >>> ins.load("small:8?size=64", classes=3).input.shape
    (3, 64, 64)

    """
    names = _texts(labels)
    _refuse_types(input, head)
    if not isinstance(source, str | os.PathLike):
        if classes is not None or weights is not None or device is not None:
            kind = "nn.Module" if isinstance(source, nn.Module) else type(source).__name__
            raise InnersightError(f"a given {kind} is used as it is: set its classes, weights and device before load()")
        return _relabel(_live(source, _fields(input), head), names)
    known = list(registry)
    if is_path(source, known):
        source = source_of(source)
    text = cast(str, source)
    origin, name, options = query.split(text)
    if origin not in known:
        raise no_origin(text, known)
    entry = registry.entry(origin)
    asked = query.read(options, own=tuple(option.name for option in entry.options))
    classes = None if classes is None else query.check_classes(classes)
    file = None if weights is None else os.fspath(weights)
    _refuse_twice(asked, classes=classes, weights=file, labels=names, input=_fields(input))
    stated = {**asked.stated, **_fields(input)}
    request = LoadRequest(
        classes if classes is not None else asked.classes,
        file if file is not None else asked.checkpoint,
        stated,
        head,
    )
    model = entry.function(name, request, **asked.own)
    looks = entry.reads_output
    model = _restated(model, stated, None if looks else head, looked=looks)
    model.net.to(usable(device) if device else best_device()).eval()
    model = _noted(replace(model, source=query.joined(text, checkpoint=file, classes=classes)))
    if "crop" in asked.stated and model.input.fit == "squash":
        model = replace(model, notes=(*model.notes, "crop= has no effect: the whole image is squashed (fit=squash)"))
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
        return _noted(of_keras(source, stated=stated, head=head))
    if isinstance(source, torch.export.ExportedProgram):
        return _noted(of_program(source, "the program", "ExportedProgram", stated=stated, head=head))
    if (pipeline := pipeline_of(source)) is not None:
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
        raise InnersightError(f"{twice[0]} are both given, one of them in the model's name: give it once")


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
        available = ["cpu"]
        available += (
            [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
        )
        available += ["mps"] if torch.backends.mps.is_available() else []
        raise InnersightError(f"device {device!r} is not available; choose from: {', '.join(available)}") from error
    return device


def _refuse_types(input: object, head: object) -> None:
    if not isinstance(input, InputSpec | None):
        raise InnersightError(f"input={brief(repr(input))}: give an InputSpec, such as InputSpec(height=32, width=32)")
    if not isinstance(head, Head | None):
        raise InnersightError(f"head={brief(repr(head))}: give a Head, see docs/models.md#networks-with-another-output")


def _fields(spec: InputSpec | None) -> dict[str, Any]:
    return {} if spec is None else {key: value for key, value in vars(spec).items() if key not in spec.guessed}


def _noted(model: Model) -> Model:
    """Note what of the input contract is a guess, weights that are no numbers, and which bands are shown by choice."""
    notes = [*guesses(model.input), not_finite(model.net)]
    if model.input.channels not in (1, 3):
        red, green, blue = model.input.shown
        stated = "" if model.input.display else ": choose others with display="
        notes.append(f"bands {red}, {green} and {blue} are displayed as red, green and blue{stated}")
    return replace(model, notes=(*model.notes, *filter(None, notes)))


def _texts(labels: "Sequence[str] | None") -> tuple[str, ...] | None:
    if isinstance(labels, str | bytes | os.PathLike):
        raise InnersightError(
            f"labels={labels!r} is a single text: give a list with one name per class (for a file: ?labels=FILE)"
        )
    if not isinstance(labels, Iterable | None):
        raise InnersightError(f"labels={brief(repr(labels))}: give a list with one name per class")
    return None if labels is None else tuple(map(str, labels))


def _relabel(model: Model, named: tuple[str, ...] | None) -> Model:
    if named is not None:
        if model.labels == ("no", "yes") and len(named) == 1:
            named = (f"not {named[0]}", *named)
        if model.labels and len(named) != len(model.labels):
            raise InnersightError(f"{len(named)} labels given, but {model.name} has {len(model.labels)} outputs")
        model = replace(model, labels=named)
    shared = [label for label, count in Counter(model.labels).items() if count > 1]
    if shared:
        more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
        shared_note = f"several classes are named {', '.join(shared[:3])}{more}: refer to them by number"
        model = replace(model, notes=(*(note for note in model.notes if note != shared_note), shared_note))
    return model
