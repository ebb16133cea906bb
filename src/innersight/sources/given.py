"""What people give as a model: brought to a text that `load` knows or a torch module, or refused with what to type."""

import difflib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from innersight.errors import InnersightError, nearest, printable
from innersight.sources import query
from innersight.sources.claims.archives import is_archive
from innersight.storage.bounded import BROKEN, MAX_MODEL, opened

# Endings by which a file of a whole network is known.
NETWORKS = {".keras": "keras", ".h5": "keras", ".hdf5": "keras", ".onnx": "onnx", ".pt2": "pt2"}
WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pkl", ".pickle", ".tar")
ELSEWHERE = {
    ".pb": "TensorFlow", ".tflite": "TensorFlow Lite", ".mlmodel": "Core ML", ".mlpackage": "Core ML",
    ".engine": "TensorRT", ".plan": "TensorRT", ".pdparams": "Paddle", ".pdmodel": "Paddle", ".msgpack": "Flax",
    ".caffemodel": "Caffe", ".params": "MXNet", ".gguf": "GGUF", ".mat": "MATLAB",
}  # fmt: skip
SAVED_MODEL = "a SavedModel of TensorFlow: call model.save('net.keras') in TensorFlow and give keras:net.keras"


def is_keras(thing: Any) -> bool:
    """Whether something is a network or layer of Keras. On its torch backend these are torch modules too."""
    return any(base.__module__.partition(".")[0] in ("keras", "tf_keras") for base in type(thing).__mro__)


def is_path(source: Any, origins: list[str]) -> bool:
    """Whether a model is given by the path of a file or folder instead of by ORIGIN:NAME."""
    if isinstance(source, os.PathLike):
        return True
    head = source.partition("?")[0]
    origin, colon, _ = head.partition(":")
    return not (colon and origin in origins) and (head not in origins or os.path.exists(head)) and _is_place(head)


def _is_place(text: str) -> bool:
    suffix = os.path.splitext(text)[1].lower()
    known = suffix in NETWORKS or suffix in WEIGHTS or suffix in ELSEWHERE
    return known or text.startswith((".", "/", "~", "\\")) or (os.path.exists(text) if "\0" not in text else False)


def source_of(path: "str | os.PathLike[str]") -> str:
    """Return the text ORIGIN:NAME for a file or folder, options behind its name kept.

    Raises InnersightError for what holds no whole network, with the line to type.
    """
    text = os.fspath(path)
    place, options = query.without_options(text)
    shown = printable(place)
    try:
        found = Path(place).expanduser()
        is_folder, exists = found.is_dir(), found.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise InnersightError(f"{shown!r} is not a file name ({error})") from error
    if not exists:
        raise InnersightError(f"{shown}: no such file or folder; give one, or write ORIGIN:NAME, such as timm:resnet18")
    if is_folder:
        return f"{_folder(found, shown)}:{found}{options}"
    suffix = found.suffix.lower()
    if suffix in NETWORKS:
        return f"{NETWORKS[suffix]}:{found}{options}"
    if found.name in ("run.json", "config.json"):
        return source_of(f"{found.parent}{options}")
    if suffix in ELSEWHERE:
        raise InnersightError(
            f"{shown}: a file of {ELSEWHERE[suffix]}, which is not supported: convert it to ONNX and give "
            "onnx:FILE.onnx"
        )
    with opened(found, what="file of a network", limit=MAX_MODEL) as file:
        exported = is_archive(file) and _is_export(file)
    if exported:
        return f"pt2:{found}{options}"
    if suffix == ".ckpt":
        raise InnersightError(f"{shown}: a checkpoint, which needs its class: lightning:{shown}?class=MODULE:CLASS")
    if suffix not in WEIGHTS:
        raise InnersightError(
            f"{shown}: not a file of a network: give {', '.join(NETWORKS)}, a folder of a run or of transformers, or "
            "ORIGIN:NAME with --weights FILE"
        )
    from innersight.sources.architectures import advice
    from innersight.sources.weights import read_weights

    raise InnersightError(f"{shown}: {advice(read_weights(found), shown)}")


def _is_export(file: Any) -> bool:
    try:
        with zipfile.ZipFile(file) as entries:
            return any(name.partition("/")[2] == "archive_format" for name in entries.namelist())
    except BROKEN:
        return False


def _folder(found: Path, shown: str) -> str:
    """Return the origin that opens a folder. Raises InnersightError that says what it is, if none does."""
    if (found / "run.json").is_file():
        return "run"
    if (found / "config.json").is_file():
        return "hf"
    for name, reason in (
        ("index.sqlite", f"a study; look at it with: innersight view {shown}"),
        ("saved_model.pb", SAVED_MODEL),
        ("keras_metadata.pb", SAVED_MODEL),
    ):
        if (found / name).exists():
            raise InnersightError(f"{shown}: {reason}")
    inside = sorted(p.name for p in found.iterdir() if p.suffix.lower() in (*NETWORKS, *WEIGHTS))
    more = f"; give one of its files, such as {shown}/{printable(inside[0])}" if inside else ""
    raise InnersightError(
        f"{shown}: a folder without run.json (of `innersight train`) or config.json (of transformers){more}"
    )


def no_origin(text: str, origins: list[str]) -> InnersightError:
    """Return the error for a text that names no origin and no file, with the origins that know the name."""
    head, options = query.without_options(text)
    known = _known(head)
    if known:
        choices = " or ".join(f"{name}{options}" for name in known)
        return InnersightError(f"{text!r} names no origin (written ORIGIN:NAME): write {printable(choices)}")
    if head.count("/") == 1 and ":" not in head:
        return InnersightError(f"{text!r} names no origin: for a network on the hub write hf:{printable(text)}")
    if ":" in head:
        origin = head.partition(":")[0]
        return InnersightError(f"{text!r} names no known origin; {nearest(origin, origins)} (written ORIGIN:NAME)")
    named = difflib.get_close_matches(
        head, [name for names in _libraries().values() for name in names], n=1, cutoff=0.6
    )
    lines = [f"{origin}:{name}" for name in named for origin in _known(name)]
    hint = f"did you mean {' or '.join(lines)}?" if lines else nearest(head, origins)
    return InnersightError(f"{text!r} names no known origin; {hint} (written ORIGIN:NAME)")


def _known(name: str) -> list[str]:
    """Return ORIGIN:NAME for each library that has a network of this name."""
    return [f"{origin}:{name}" for origin, names in _libraries().items() if name in names]


def _libraries() -> dict[str, list[str]]:
    """Return the names of the networks of torchvision, and of timm where it is installed."""
    from torchvision import models

    found = {"torchvision": models.list_models(module=models)}
    try:
        import timm
    except ImportError:
        return found
    return {**found, "timm": timm.list_models()}


def no_model(thing: Any) -> InnersightError:
    """Return the error for an object that is no network: what it is, and what to type."""
    kind = type(thing).__name__
    if thing is None:
        return InnersightError("no model given: None; give a torch.nn.Module, or a text such as 'timm:resnet18'")
    if isinstance(thing, type) and issubclass(thing, nn.Module):
        return InnersightError(f"{thing.__name__} is a class: make a network of it, as in load({thing.__name__}())")
    if isinstance(thing, Mapping):
        return InnersightError(_mapping(thing))
    if callable(thing) and hasattr(thing, "__qualname__"):
        name = thing.__name__
        library = (thing.__module__ or "").partition(".")[0]
        text = f", or load('{library}:{name}')" if library in ("torchvision", "timm") else ""
        return InnersightError(f"{name} is a function: call it, as in load({name}()){text}")
    if isinstance(thing, list | tuple | set):
        return InnersightError(f"a {kind} of {len(thing)} given as the model: load() takes one at a time")
    if isinstance(thing, bytes | bytearray) or hasattr(thing, "read"):
        return InnersightError(f"an object of type {kind} given as the model: give the name of its file")
    if isinstance(thing, Tensor) or type(thing).__module__.partition(".")[0] in ("numpy", "PIL"):
        return InnersightError(f"an object of type {kind} given as the model: the model comes first, then the images")
    if type(thing).__module__.startswith("onnx"):
        return InnersightError(f"an object of type {kind} given as the model: load its file, load('onnx:FILE.onnx')")
    for attribute in ("model", "module", "net", "network", "learner"):
        if isinstance(getattr(thing, attribute, None), nn.Module):
            return InnersightError(
                f"an object of type {kind} given as the model: give the network in it, its .{attribute}"
            )
    return InnersightError(
        f"an object of type {kind} given as the model: give a torch.nn.Module, a live Keras model, or a text such as "
        "'timm:resnet18'"
    )


def _mapping(thing: Mapping[Any, Any]) -> str:
    from innersight.sources.architectures import advice
    from innersight.sources.weights import STATES

    for key in STATES:
        if isinstance(thing.get(key), Mapping):
            return f"a checkpoint, a dictionary with {key!r}: {_mapping(thing[key])}"
        if isinstance(thing.get(key), nn.Module):
            return f"a dictionary with a network: give it, load(YOURS[{key!r}])"
    tensors = {str(name): value for name, value in thing.items() if isinstance(value, Tensor)}
    if not tensors or len(tensors) < len(thing):
        keys = ", ".join(f"{key!r:.30}" for key in list(thing)[:4])
        return f"a dictionary with {keys or 'nothing'} given as the model: give a torch.nn.Module, or a text"
    return advice(tensors, None)


def pipeline_of(thing: Any) -> "tuple[nn.Module, Any] | None":
    """Return the network and the image processor of a pipeline of transformers; None for anything else."""
    if not any(base.__module__ == "transformers.pipelines.base" for base in type(thing).__mro__):
        return None
    if not isinstance(thing.model, nn.Module) or getattr(thing, "image_processor", None) is None:
        raise InnersightError(f"a pipeline for {printable(thing.task)} given as the model: one for images is needed")
    return thing.model, thing.image_processor
