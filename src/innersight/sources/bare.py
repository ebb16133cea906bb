"""A bare `nn.Module`: unwrapped, refused where nothing can be seen, its input contract and head recognised."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from innersight import ambient
from innersight.errors import InnersightError, UnusableError
from innersight.heads import PLAIN, Fitted, Head, Outputs, recognise
from innersight.heads.ending import Ending
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.network import NetworkError, run
from innersight.sources.query import with_stated
from innersight.sources.refusal import check_weights, refused

IMAGES = 3
GUESSES = ("height", "width", "mean", "std", "fit")
SIZES = (224, 96, 64, 48, 32, 28, 80, 128, 160, 256, 299, 384, 512)


def wrap(
    net: nn.Module,
    stated: Mapping[str, Any],
    *,
    name: str | None = None,
    head: Head | None = None,
    usual: Mapping[str, Any] | None = None,
) -> Model:
    """Return a Model around `net`, unchanged and where it is.

    stated : the fields of the input contract that are known. The others are guessed: the channels of the first
    convolution, the first size of 224, 96, 64 ... that the network accepts, mean 0 and std 1, and the whole image
    squashed to that size, since nothing of it is lost. usual : what the framework does where nothing is stated, in
    place of these. Without `head` the output is looked at, see `innersight.heads.recognise`.
    Raises InnersightError when no size fits, the output cannot be read, or nothing can be seen inside the network.
    """
    net, notes = _unwrap(net)
    failures: list[str] = []
    for spec in _contracts(net, stated, usual or {}):
        try:
            found = _try(net, spec, head)
        except UnusableError:
            raise
        except InnersightError as error:
            if "height" not in spec.guessed:
                raise
            failures.append(str(error))
            continue
        title = name or type(net).__name__
        notes += found.notes
        return Model(net, spec, found.labels, title, f"nn.Module {title}", notes, head=found.head)
    raise InnersightError(_none_fits(net, failures[0]))


def fitting(net: nn.Module, stated: Mapping[str, Any]) -> InputSpec:
    """Return the first input contract that `net` accepts, whatever it returns; see `wrap`."""
    failures: list[str] = []
    for spec in _contracts(net, stated, {}):
        try:
            _run(net, spec)
        except UnusableError:
            raise
        except InnersightError as error:
            if "height" not in spec.guessed:
                raise
            failures.append(str(error))
        else:
            return spec
    raise InnersightError(_none_fits(net, failures[0]))


def _contracts(net: nn.Module, stated: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[InputSpec]:
    """Yield the input contracts to try, likeliest first."""
    known = "height" in stated and "width" in stated
    if "channels" in stated:
        possible = [stated["channels"]]
    else:
        convs = [m.in_channels for m in net.modules() if isinstance(m, nn.Conv2d)]
        # The first convolution in the list need not be the first to be called.
        possible = list(dict.fromkeys([*convs[:1], 3, 1]))
    spec = with_stated(InputSpec(1, 1, fit="squash"), usual)
    for channels in possible:
        for size in SIZES[:1] if known else SIZES:
            tried = replace(
                spec, height=size, width=size, channels=channels, mean=spec.mean[:1], std=spec.std[:1], guessed=GUESSES
            )
            yield with_stated(tried, stated)


def _none_fits(net: nn.Module, first: str) -> str:
    return (
        f"{type(net).__name__}: no input of size {', '.join(map(str, SIZES))} fits; "
        f"pass input=InputSpec(height, width) (for {SIZES[0]}: {first})"
    )


def guesses(spec: InputSpec) -> tuple[str, ...]:
    """Return a sentence for each part of the input contract that nobody stated."""
    kept = (
        "only the centre of the image is used"
        if spec.fit == "crop"
        else "the whole image is squashed to the input size"
    )
    other = "squash" if spec.fit == "crop" else "crop"
    sentences = {
        "height": f"input size {spec.height}x{spec.width} is a guess: set it with size= or input=InputSpec(...)",
        "mean": (
            f"normalisation is a guess ({_stats(spec)}, for pixels in 0..1): set it with mean= and std=, or "
            "input=InputSpec(...); mean=0&std=0.00392 for a network that takes 0..255"
        ),
        "fit": (
            f"how images of another aspect ratio are fitted is a guess ({kept}): set it with fit={other} or "
            f"fit={spec.fit}"
        ),
    }
    return tuple(text for name, text in sentences.items() if name in spec.guessed)


def _stats(spec: InputSpec) -> str:
    rows = ((name, dict.fromkeys(f"{v:.3g}" for v in getattr(spec, name))) for name in ("mean", "std"))
    return ", ".join(f"{name} {', '.join(values)}" for name, values in rows)


def check(net: nn.Module, spec: InputSpec) -> None:
    """Raise InnersightError unless `net` takes three images of this contract."""
    _try(net, spec, PLAIN)


def with_head(model: Model, head: Head) -> Model:
    """Return `model` with another head; its labels stay where they are as many as the scores.

    Raises InnersightError when the head cannot read the network's output.
    """
    found = _try(model.net, model.input, head)
    labels = model.labels if len(model.labels) == len(found.labels) else found.labels
    return replace(model, head=found.head, labels=labels, notes=(*model.notes, *found.notes))


def as_built(model: Model, *, classes: int | None, weights: str | None = None, notes: tuple[str, ...] = ()) -> Model:
    """Return `model` of an origin whose file fixes the network, with `notes` before its own.

    Raises InnersightError when another number of classes or other weights were asked for.
    """
    if weights is not None:
        raise InnersightError(f"{model.name} has its own weights: omit weights={weights!r}")
    if classes is not None and classes != len(model.labels):
        raise InnersightError(f"{model.name} has {len(model.labels)} classes, not {classes}: omit classes")
    return replace(model, notes=(*notes, *model.notes))


def _unwrap(net: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the network inside `torch.compile`, DataParallel and DDP; refuse what has no layers to read."""
    notes: tuple[str, ...] = ()
    while True:
        if isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel):
            net, word = net.module, f"inside {type(net).__name__}"
        elif ambient.stands_for_compiled(net):
            net, word = net.get_submodule("_orig_mod"), "behind torch.compile"
        else:
            break
        notes = (*notes, f"the network {word} is used")
    for name, module in net.named_modules():
        where = f"{type(net).__name__}{f' ({name})' if name else ''}"
        if isinstance(module, torch.jit.ScriptModule):
            raise InnersightError(
                f"{where} is TorchScript, whose layers cannot be read: load the Python network it was made from, "
                "or a torch.export of it with pt2:FILE"
            )
        if ".quantized" in type(module).__module__:
            raise InnersightError(
                f"{where} is quantized: no gradient passes through it and its activations are integers: "
                "load the float network"
            )
    return net, notes


def _try(net: nn.Module, spec: InputSpec, head: Head | None) -> Fitted:
    """Run random images through an untouched `net`; return its head, labels, and what was assumed."""
    outputs = _run(net, spec)
    try:
        with torch.no_grad():
            return recognise(outputs, head)
    except InnersightError as error:
        kind = UnusableError if isinstance(error, UnusableError) else InnersightError
        raise kind(f"{type(net).__name__}: {error}") from error


def _run(net: nn.Module, spec: InputSpec) -> Outputs:
    """Run random images through an untouched `net`. Raises InnersightError when it refuses them."""
    parameter = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    pixels = torch.rand(IMAGES, *spec.shape, generator=torch.Generator().manual_seed(0))
    x = spec.normalise(pixels).to(parameter.device, parameter.dtype)
    check_weights(net)
    training = {m: m.training for m in net.modules()}
    ending = Ending(net.parameters())
    try:
        with torch.no_grad(), torch.random.fork_rng(), ambient.uncompiled(net.modules()):
            for module in training:
                module.training = False
            with ending:
                output, strong = run(net, x, type(net).__name__), run(net, x * 100, type(net).__name__)
            one = run(net, x[:1], type(net).__name__)
    except NetworkError as error:
        raise refused(net, spec.shape, x[:1], error) from error
    finally:
        for module, mode in training.items():
            module.training = mode
    return Outputs(output, strong, one, IMAGES, (spec.height, spec.width), ending)
