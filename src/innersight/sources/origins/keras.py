"""`keras:FILE`: networks saved by Keras (.keras, .h5), run by Keras 3 on its torch backend."""

import copy
import importlib
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from innersight.errors import InnersightError, MissingExtraError, printable
from innersight.heads import Head, multilabel
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources.bare import as_built, fitting, wrap
from innersight.sources.claims.archives import archive, is_archive, read_entry
from innersight.sources.claims.hdf5 import check_hdf5
from innersight.sources.importing import import_user_module
from innersight.sources.origins import LoadRequest, registry
from innersight.storage.bounded import BROKEN, MAX_MODEL, check, check_claim, opened, parse_json, reading

# Older versions run code that a file brings along although asked not to (CVE-2025-1550, -8747, -9905, -9906, -49655).
MINIMUM = (3, 12)
# What its own loaders do: image_dataset_from_directory resizes whole images.
USUAL = {"fit": "squash", "resample": "bilinear"}
# Layers that carry code: a Python lambda, or the network of another library with its pickled weights.
CODE = ("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")

SAVED = "file that Keras saved (.keras, .h5)"
NETWORK = "network that Keras saved"
NOT_ENOUGH = "weights alone are not enough; save it with model.save('FILE.keras')"
MAX_MAP = 2**28  # values of one layer for one image


class Channels(nn.Module):
    """A Keras network behind torch's face: images (B, C, H, W) in, scores out, every Keras layer a named submodule.

    A layer is called as Keras names it, and `OUTER.INNER` inside another one. Its maps are as Keras lays them out:
    (B, h, w, units) unless the network was built with `data_format="channels_first"`. Dropout and batch norms follow
    `training`, as everywhere in torch.
    """

    def __init__(self, network: Any, *, last: bool) -> None:
        super().__init__()
        # Kept out of the submodules: its layers stand there under their own names.
        self.__dict__["network"] = network
        self.last = last
        _list_layers(network, self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to what the Keras network returns."""
        import keras

        with keras.device(str(x.device)):
            x = x.permute(0, 2, 3, 1).contiguous() if self.last else x
            output: Tensor = self.__dict__["network"](x, training=self.training)
        return output


@registry.register(
    "Keras file",
    source="https://keras.io",
    use="For a network that model.save() of Keras wrote as .keras or .h5.",
    example="keras:net.keras",
    extra="keras",
    reads_output=True,
)
def keras(name: str, request: LoadRequest, *, module: str = "") -> Model:
    """Open a network that Keras saved.

    A softmax or sigmoid at its end is taken off, so that the scores are logits. Where the network holds a Rescaling or
    Normalization layer, it is fed the range that layer expects. Raises InnersightError for a file that holds code, and
    MissingExtraError without Keras.

    Parameters
    ----------
    module
        A Python module to import first, which registers the network's own classes with
        `@keras.saving.register_keras_serializable()`.

    """
    path = check(name, what=SAVED)
    config = _checked(path)
    for kind in _kinds(config):
        if kind in CODE:
            raise InnersightError(
                f"{printable(path)}: refused, it holds a {kind.strip('_')} layer, code that would run: replace it "
                "with a layer of Keras, or by a registered class with keras:FILE?module=MODULE, and save again"
            )
    keras = library()
    if module:
        import_user_module(module)
    # First without memory for its weights: a layer may claim to have any number of units.
    _check_size(_read(keras, path, device="meta"), printable(path), path.stat().st_size)
    model = of_network(
        keras, _read(keras, path, device="cpu"), printable(path), path.stem, stated=request.stated, head=request.head
    )
    return as_built(model, classes=request.classes, weights=request.weights)


def of_live(network: Any, *, stated: Mapping[str, Any], head: Head | None) -> Model:
    """Return a Model around a copy of a Keras network of this process; the network itself is left as it is.

    Raises InnersightError for a network on another backend than torch, one that is not built, and a single layer.
    """
    package = sys.modules.get("keras")
    backend = getattr(getattr(package, "backend", None), "backend", lambda: "tensorflow")()
    if type(network).__module__.startswith("tf_keras") or backend != "torch":
        raise InnersightError(
            f"a Keras network on {backend} cannot be read in this process: model.save('net.keras'), then "
            "innersight.load('keras:net.keras') in a process that has not imported Keras, or has KERAS_BACKEND=torch"
        )
    keras = library()
    name = str(network.name)
    if not isinstance(network, keras.Model):
        raise InnersightError(f"{name} is a layer of Keras: give a network, keras.Sequential([keras.Input(SHAPE), it])")
    if not network.built or not network.weights:
        raise InnersightError(f"the Keras network {name} is not built: call it once on a batch of images")
    own = {type(layer).__name__: type(layer) for layer in (network, *network._flatten_layers(include_self=False))}
    try:
        # Keras copies a network by saving it to memory and reading that.
        with keras.saving.custom_object_scope(own), keras.device("cpu"):
            copied = copy.deepcopy(network)
    except BROKEN as error:
        reason = " ".join(str(error).split())[:300]
        raise InnersightError(
            f"the Keras network {name} cannot be copied ({reason}): give its classes get_config(), as for saving"
        ) from error
    model = of_network(keras, copied, name, name, stated=stated, head=head)
    return replace(model, notes=("a copy of the Keras network, made when it was loaded", *model.notes))


def of_network(
    keras: Any, network: Any, where: str, title: str, *, stated: Mapping[str, Any], head: Head | None
) -> Model:
    """Return a Model around a Keras network, whose modules are rearranged; where : what it is called in messages."""
    height, width, channels, last = _input(network, where)
    net = Channels(network, last=last).eval()
    known: dict[str, Any] = {"channels": channels, **_range(keras, network, channels)}
    if height and width:
        known |= {"height": height, "width": width}
    link = _open_end(keras, net, fitting(net, {**known, **stated}))
    head = head or (multilabel() if link == "sigmoid" else None)
    model = wrap(net, {**known, **stated}, name=title, head=head, usual=USUAL)
    notes = (f"the {link} at the end is removed: the scores are logits",) if link else ()
    return replace(model, notes=(*notes, *model.notes))


def library() -> Any:
    """Return Keras on its torch backend.

    Raises InnersightError when it runs on another one already or is too old, and MissingExtraError without Keras.
    """
    if sys.modules.get("keras") is None:
        before = os.environ.get("KERAS_BACKEND")
        os.environ["KERAS_BACKEND"] = "torch"
        try:
            importlib.import_module("keras")
        except ImportError as error:
            raise MissingExtraError("keras", "keras") from error
        finally:
            if before is None:
                del os.environ["KERAS_BACKEND"]
            else:
                os.environ["KERAS_BACKEND"] = before
    keras: Any = sys.modules["keras"]
    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    if version < MINIMUM:
        raise InnersightError(
            f"keras {keras.__version__} can run code from a file: pip install 'keras>={MINIMUM[0]}.{MINIMUM[1]}'"
        )
    if keras.backend.backend() != "torch":
        raise InnersightError(
            f"Keras runs on {keras.backend.backend()} in this process: set the environment variable "
            "KERAS_BACKEND=torch before anything imports keras"
        )
    return keras


def _checked(path: Path) -> Any:
    """Return the saved architecture of a file that declares no more than it holds, and points to no other file."""
    shown = printable(path)
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise InnersightError(f"{shown}: give a .keras or .h5 file that Keras saved")
    if path.suffix != ".keras":
        try:
            import h5py
        except ImportError as error:
            raise MissingExtraError("h5py", "keras") from error
        if not h5py.is_hdf5(path):
            raise InnersightError(f"{shown}: no network that Keras saved: {NOT_ENOUGH}")
        with opened(path, what=SAVED, limit=MAX_MODEL) as file:
            check_hdf5(file, shown, present=path.stat().st_size)
        with reading(shown, NETWORK), h5py.File(path, "r") as stored:
            text = stored.attrs.get("model_config")
        if not isinstance(text, str | bytes):
            raise InnersightError(f"{shown}: no network that Keras saved: {NOT_ENOUGH}")
        return parse_json(text, where=shown, what=NETWORK)
    with opened(path, what=SAVED, limit=MAX_MODEL) as file, ExitStack() as stack:
        if not is_archive(file):
            raise InnersightError(f"{shown}: no network that Keras saved: {NOT_ENOUGH}")
        entries = stack.enter_context(archive(file, shown, what=NETWORK))
        if "config.json" not in entries.namelist():
            raise InnersightError(f"{shown}: no network that Keras saved (no config.json in it): {NOT_ENOUGH}")
        config = parse_json(read_entry(entries, "config.json", shown), where=shown, what=NETWORK)
        for entry in entries.infolist():
            if entry.filename.endswith(".h5"):
                with reading(shown, NETWORK), entries.open(entry) as weights:
                    check_hdf5(cast(BufferedIOBase, weights), shown, present=entry.file_size)
        return config


def _kinds(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        yield from (str(config[key]) for key in ("class_name", "registered_name") if key in config)
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _kinds(value)


def _read(keras: Any, path: Path, *, device: str) -> Any:
    try:
        with keras.device(device), warnings.catch_warnings():
            # What it could not read, the comparison of shapes and the first pass tell.
            warnings.simplefilter("ignore")
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except BROKEN as error:
        reason = " ".join(str(error).split())
        if "Could not locate" in reason:
            reason = reason.split(". ")[0] + ": name the module that defines it with keras:FILE?module=MODULE"
        raise InnersightError(f"{printable(path)}: Keras cannot open it ({printable(reason[:300])})") from error


def _check_size(network: Any, where: str, present: int) -> None:
    """Raise InnersightError for a network whose weights the file cannot hold, or whose maps no memory could."""
    check_claim(sum(weight.value.nbytes for weight in network.weights), present, where)
    for layer in _leaves(network):
        for node in getattr(layer, "_inbound_nodes", ()):
            for output in node.output_tensors:
                count = math.prod(side or 1 for side in output.shape)
                if count > MAX_MAP:
                    raise InnersightError(
                        f"{where}: refused, its layer {printable(layer.name)} gives {count:,} values for one image; "
                        f"at most {MAX_MAP:,} are computed"
                    )


def _input(network: Any, where: str) -> tuple[int | None, int | None, int, bool]:
    """Return height, width, channels and whether the channels come last; None for a side that may be of any length."""
    shape = getattr(network, "input_shape", None) if hasattr(network, "inputs") else None
    if shape is None:
        shape = (getattr(network, "_build_shapes_dict", None) or {}).get("input_shape")
    last = all(getattr(layer, "data_format", None) != "channels_first" for layer in _leaves(network))
    if shape is None:
        return None, None, 3, last
    if not isinstance(shape, tuple | list) or len(shape) != 4 or isinstance(shape[0], tuple | list | dict):
        raise InnersightError(f"{where}: its input is {shape}; one image (height, width, channels) is needed")
    height, width, channels = shape[1:] if last else (*shape[2:], shape[1])
    return height, width, channels or 3, last


def _leaves(network: Any) -> list[Any]:
    """Every layer without layers below it, in the order of the forward pass as far as Keras tells it."""
    below = _sublayers(network)
    return [leaf for layer in below for leaf in _leaves(layer)] if below else [network]


def _sublayers(layer: Any) -> list[Any]:
    import keras

    found = layer._flatten_layers(include_self=False, recursive=False)
    return [one for one in found if not isinstance(one, keras.layers.InputLayer)]


def named_layers(layer: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every layer of a Keras network under the name that it has in `Channels`; on any backend."""
    taken: dict[str, Any] = {}
    for one in _sublayers(layer):
        name = _free(one.name, taken)
        taken[name] = one
        yield f"{above}{name}", one
        yield from named_layers(one, f"{above}{name}.")


def _list_layers(layer: Any, module: nn.Module) -> None:
    """Make the layers and weights of a Keras layer visible in torch module `module`, which may be the layer itself."""
    below = _sublayers(layer)
    inner = {id(variable) for one in below for variable in one.weights}
    for name in list(layer._modules):
        # Keras's own list of all weights below, and shortcuts to layers: still attributes, but no submodules.
        layer.__dict__[name] = layer._modules.pop(name)
    layer.__dict__["_torch_params"] = {}
    for variable in layer.weights:
        if id(variable) not in inner:
            module._parameters[_free(variable.name, module._parameters)] = variable.value
    for one in below:
        module._modules[_free(one.name, module._modules)] = one
        _list_layers(one, one)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    name = name.replace(".", "_").replace("/", "_")
    number = 1
    while (free := name if number == 1 else f"{name}_{number}") in taken:
        number += 1
    return free


def _range(keras: Any, network: Any, channels: int) -> dict[str, Any]:
    """Return the mean and std that bring pixels in 0..1 to what a rescaling layer at the beginning expects.

    {} without one: behind the first layer with weights a rescaling says nothing about pixels.
    """
    for layer in _leaves(network):
        if isinstance(layer, keras.layers.Rescaling):
            scale = max(abs(float(v)) for v in torch.as_tensor(layer.scale).flatten())
            bytes_in = scale <= 0.1
        elif isinstance(layer, keras.layers.Normalization) and getattr(layer, "mean", None) is not None:
            bytes_in = float(torch.as_tensor(layer.mean).abs().max()) > 1.5
        elif layer.weights:
            return {}
        else:
            continue
        return {"mean": (0.0,) * channels, "std": (1 / 255 if bytes_in else 1.0,) * channels}
    return {}


def _open_end(keras: Any, net: Channels, spec: InputSpec) -> str:
    """Take a softmax or sigmoid off the end of the network; return which.

    "" when there is none, or when what is left, with the same function behind it, is not the network as it was.
    """
    last = _last(keras, net.__dict__["network"])
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Softmax):
        link, name, neutral = "softmax", "call", _as_it_is
    elif activation in (keras.activations.softmax, keras.activations.sigmoid):
        link, name, neutral = activation.__name__, "activation", keras.activations.linear
    else:
        return ""
    pixels = torch.rand(2, *spec.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = net(spec.normalise(pixels))
        kept = last.__dict__.get(name)
        last.__dict__[name] = neutral
        after = net(spec.normalise(pixels))
    if isinstance(before, Tensor) and before.ndim == 2:
        again = after.softmax(1) if link == "softmax" else after.sigmoid()
        if torch.allclose(again, before, atol=1e-5):
            return link
    del last.__dict__[name]
    if kept is not None:
        last.__dict__[name] = kept
    return ""


def _as_it_is(inputs: Any, mask: Any = None) -> Any:
    return inputs


def _last(keras: Any, layer: Any) -> Any:
    """Return the layer that makes the output: by the graph where there is one, else the last in the list."""
    below = _sublayers(layer)
    if not below:
        return layer
    outputs = getattr(layer, "outputs", None)
    if outputs:
        maker = outputs[0]._keras_history.operation
        return maker if maker is layer else _last(keras, maker) if isinstance(maker, keras.layers.Layer) else maker
    return _last(keras, below[-1])
