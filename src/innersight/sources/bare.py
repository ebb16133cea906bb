"""A bare `nn.Module`: its input contract given or inferred."""

from dataclasses import replace

import torch
from torch import nn

from innersight.errors import InnersightError
from innersight.model import InputSpec, Model

SIZES = (224, 96, 64, 48, 32, 28, 80, 128, 160, 256, 299, 384, 512)


def wrap(net: nn.Module, input: InputSpec | None, *, name: str | None = None) -> Model:
    """Return a Model around `net`, unchanged and where it is.

    Without `input`, the channels are read from the first convolution and the size is the first of 224, 96, 64 ...
    that the network accepts; mean and std are then unknown and taken as 0 and 1. All this is said in the notes.
    Raises InnersightError when no size fits or the output is not one row of logits per picture.
    """
    notes: tuple[str, ...] = ()
    if input is None:
        input, classes = _infer(net)
        notes = (
            f"input size {input.height}x{input.width} and normalisation (mean 0, std 1) are guesses: "
            "pass input=InputSpec(...) to state them",
        )
    else:
        classes = _classes(net, input)
    labels = tuple(str(i) for i in range(classes))
    title = name or type(net).__name__
    return Model(net, input, labels, title, f"nn.Module {title}", notes)


def _infer(net: nn.Module) -> tuple[InputSpec, int]:
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    channels = first.in_channels if first is not None else 3
    failures: list[str] = []
    for size in SIZES:
        stats = ((0.0,) * channels, (1.0,) * channels)
        spec = InputSpec(size, size, channels, *stats, guessed=("height", "width", "mean", "std"))
        try:
            return spec, _classes(net, spec)
        except InnersightError as error:
            failures.append(str(error))
    raise InnersightError(
        f"{type(net).__name__}: no input of size {', '.join(map(str, SIZES))} fits; "
        f"pass input=InputSpec(height, width) (for {SIZES[0]}: {failures[0]})"
    )


def _classes(net: nn.Module, spec: InputSpec) -> int:
    """Run one grey picture through an untouched `net` and count its outputs."""
    parameter = next(net.parameters(), torch.empty(0))
    x = torch.zeros(1, *spec.shape, device=parameter.device, dtype=parameter.dtype)
    training = {m: m.training for m in net.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for module in training:
                module.training = False
            output = net(x)
    except RuntimeError as error:
        raise InnersightError(f"{type(net).__name__} refuses an input of {spec.shape}: {error}") from error
    finally:
        for module, mode in training.items():
            module.training = mode
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise InnersightError(
            f"{type(net).__name__} returned {shape}; one row of logits per picture (B, classes) is needed"
        )
    return int(output.shape[1])


def with_classes(model: Model, classes: int) -> Model:
    """Replace the labels by numbers when the architecture was built with another number of outputs."""
    return replace(model, labels=tuple(str(i) for i in range(classes)))
