"""Capture, stop, leaf, replace, resume: the only file that knows hooks.

Every function leaves the network as it was, also after an exception or Ctrl-C: hooks and patched methods live inside
an `ExitStack`. Call them inside `untouched(model)`, which freezes the parameters and switches to eval mode meanwhile.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from innersight.errors import InnersightError
from innersight.model import Model

Handler = Callable[[Tensor], Tensor | None]


class LayoutError(InnersightError):
    """Raised for a layer whose output has no units and places that are known here."""


class _Reached(BaseException):
    """Ends a forward pass early; not an Exception, so that no network swallows it."""


@dataclass(frozen=True)
class Captured:
    """What one forward pass gave.

    activations : (B, units, h, w) per layer, as the network computed them, in the order of the forward pass.
    output : (B, classes) logits, or None when the pass stopped early.
    """

    activations: dict[str, Tensor]
    output: Tensor | None

    def logits(self) -> Tensor:
        """Return `output` of a pass that ran to the end."""
        if self.output is None:
            raise InnersightError("the forward pass was stopped before the logits")
        return self.output


@contextmanager
def untouched(model: Model) -> Iterator[None]:
    """Inside: eval mode, all parameters frozen. Afterwards modes, requires_grad, and torch's RNG are as before."""
    training = [(module, module.training) for module in model.net.modules()]
    frozen = [p for p in model.net.parameters() if p.requires_grad]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            for module, _ in training:
                module.training = False
            for parameter in frozen:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
            for module, mode in training:
                module.training = mode


def canonical(output: Any, layer: str) -> Tensor:
    """Return a layer's output as (B, units, h, w): convolutional as it is, (B, units) with a 1x1 grid.

    Raises LayoutError for any other shape.
    """
    if isinstance(output, Tensor) and output.ndim == 4:
        return output
    if isinstance(output, Tensor) and output.ndim == 2:
        return output[:, :, None, None]
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise LayoutError(f"layer {layer} gives {shape}; only (B, units, h, w) and (B, units) can be read so far")


def capture(model: Model, x: Tensor, layers: Sequence[str], *, stop: bool = True) -> Captured:
    """Run `x` (B, C, H, W) and return the activations of `layers`.

    With `stop` the pass ends as soon as the last of them is known. Gradients flow when the caller's grad mode and `x`
    ask for them. A module called several times is read at its first call. Raises InnersightError when a layer was never
    called.
    """
    activations: dict[str, Tensor] = {}
    wanted = len(set(layers))

    def reader(layer: str) -> Handler:
        def read(output: Tensor) -> Tensor | None:
            activations[layer] = output
            if stop and len(activations) == wanted:
                raise _Reached
            # The network goes on with a copy: a later in-place activation must not change what was read.
            return output.clone()

        return read

    output = None
    with _handled(model, {layer: reader(layer) for layer in layers}):
        if wanted or not stop:
            with suppress(_Reached):
                output = model.net(x)
    _require(model, layers, activations)
    return Captured(activations, output)


def outputs(model: Model, x: Tensor, layers: Sequence[str]) -> list[tuple[str, Any]]:
    """Run `x` to the end and return what each of `layers` gave at its first call, whatever it is, in that order."""
    found: dict[str, Any] = {}

    def reader(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def read(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found.setdefault(name, output)

        return read

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(model.module(layer).register_forward_hook(reader(layer)).remove)
        model.net(x)
    return list(found.items())


def leaf(model: Model, x: Tensor, layers: Sequence[str]) -> Captured:
    """Run `x` to the logits with a graph that starts at the first of `layers` to be reached.

    Nothing before that layer is differentiated or kept. `torch.autograd.grad(logits, activations)` works for every
    layer named, and the backward pass ends at the first.
    """
    activations: dict[str, Tensor] = {}

    def starter(layer: str) -> Handler:
        def start(output: Tensor) -> Tensor:
            if not activations:
                torch.set_grad_enabled(True)
                output = output.detach().clone().requires_grad_(True)
            activations[layer] = output
            # An in-place activation may follow: it gets a copy of its own.
            return output.clone()

        return start

    # no_grad restores the caller's grad mode on exit, whatever the handler switched on.
    with _handled(model, {layer: starter(layer) for layer in layers}), torch.no_grad():
        output = model.net(x)
    _require(model, layers, activations)
    return Captured(activations, output)


def replace(model: Model, x: Tensor, layer: str, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Run `x` (B, C, H, W) to the logits with the output (B, units, h, w) of `layer` replaced by `change(output)`."""
    reached: dict[str, Tensor] = {}

    def handler(output: Tensor) -> Tensor:
        reached[layer] = output
        return change(output)

    with _handled(model, {layer: handler}):
        output = model.net(x)
    _require(model, [layer], reached)
    return output  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Suffix:
    """The rest of the network after one layer, for the pictures of one prefix run.

    activation : (B, units, h, w) what the layer gave. output : (B, classes) logits of the plain run.
    mode : "resumed" (modules before the layer answer from memory), "copied" (the same, with copies because the network
        writes in place), or "full" (the network defeats resuming: every call is a full run).
    """

    model: Model
    layer: str
    pictures: Tensor
    activation: Tensor
    output: Tensor
    mode: Literal["resumed", "copied", "full"]
    _memory: Mapping[tuple[nn.Module, int], Any]
    _flat: bool

    def __call__(self, variants: Tensor, index: Tensor | None = None) -> Tensor:
        """Return logits (V, classes) for `variants` (V, units, h, w) of the layer's output.

        index : (V,) which picture each variant belongs to; may be left out for a single picture, or for one variant
        per picture in order.
        """
        batch, pictures = len(variants), len(self.pictures)
        if index is None:
            if pictures not in (1, batch):
                raise InnersightError(f"{batch} variants for {pictures} pictures: say with index= whose each one is")
            index = torch.arange(batch) if pictures > 1 else torch.zeros(batch, dtype=torch.long)
        index = index.to(self.pictures.device)
        # A copy: an in-place activation may follow.
        variants = variants.clone()
        if self.mode == "full":
            return replace(self.model, self.pictures[index], self.layer, lambda _: variants)
        x = _spread(self.pictures, index, pictures, copy=False)
        answers = {
            key: _spread(value, index, pictures, copy=self.mode == "copied") for key, value in self._memory.items()
        }
        answers[self.model.module(self.layer), 0] = variants.flatten(1) if self._flat else variants
        with _answering(answers), torch.inference_mode(mode=False):
            return self.model.net(x)  # type: ignore[no-any-return]


def resume(model: Model, x: Tensor, layer: str) -> Suffix:
    """Run the prefix of `x` (B, C, H, W) once and return the suffix after `layer`.

    The outputs of the largest modules that finish before the layer are remembered. One variant is compared with a full
    run; where the network defeats resuming, the suffix falls back to full runs and says so in `mode`.
    """
    with torch.no_grad():
        memory, activation, flat = _record(model, x, layer)
        output = model.net(x)
        trial = activation.clone()
        trial[:, ::2] = 0
        twice = torch.arange(len(x)).repeat(2)
        variants = torch.cat([trial, activation])
        truth = torch.cat([replace(model, x, layer, lambda _: trial.clone()), output])
        modes: tuple[Literal["resumed", "copied"], ...] = ("resumed", "copied")
        for mode in modes:
            suffix = Suffix(model, layer, x, activation, output, mode, memory, flat)
            with suppress(RuntimeError):
                if torch.allclose(suffix(variants, twice), truth, rtol=1e-3, atol=1e-4 * float(truth.abs().max())):
                    return suffix
    return Suffix(model, layer, x, activation, output, "full", {}, flat)


@contextmanager
def _handled(model: Model, handlers: Mapping[str, Handler]) -> Iterator[None]:
    """Call each handler with the layer's canonical output at its first call; a tensor it returns takes its place."""
    with ExitStack() as stack:
        for layer, handler in handlers.items():
            seen: list[bool] = []

            def hook(
                _module: nn.Module,
                _inputs: Any,
                output: Any,
                layer: str = layer,
                handler: Handler = handler,
                seen: list[bool] = seen,
            ) -> Any:
                if seen:
                    return None
                seen.append(True)
                changed = handler(canonical(output, layer))
                return None if changed is None else _shaped_like(changed, output)

            stack.callback(model.module(layer).register_forward_hook(hook).remove)
        yield


def _record(model: Model, x: Tensor, layer: str) -> tuple[dict[tuple[nn.Module, int], Any], Tensor, bool]:
    """Run up to `layer`; return the outputs of the largest finished modules by (module, call), and the layer's own.

    The last value says whether the layer gives (B, units) rather than maps.
    """
    target = model.module(layer)
    calls: Counter[nn.Module] = Counter()
    running: list[tuple[tuple[nn.Module, int], int]] = []
    finished: list[tuple[tuple[nn.Module, int], Any]] = []
    activation: list[Tensor] = []
    flat = False

    def enter(module: nn.Module, _inputs: Any) -> None:
        running.append(((module, calls[module]), len(finished)))
        calls[module] += 1

    def leave(module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal flat
        key, first = running.pop()
        if module is target:
            flat = getattr(output, "ndim", 0) == 2
            activation.append(canonical(output, layer).clone())
            raise _Reached
        del finished[first:]
        finished.append((key, _map(torch.Tensor.clone, output)))

    with ExitStack() as stack:
        for module in model.net.modules():
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        with suppress(_Reached):
            model.net(x)
    _require(model, [layer], {layer: activation[0]} if activation else {})
    return dict(finished), activation[0], flat


@contextmanager
def _answering(answers: Mapping[tuple[nn.Module, int], Any]) -> Iterator[None]:
    """Inside, the given calls of modules return the given outputs without computing; other calls run as usual."""
    calls: Counter[nn.Module] = Counter()

    def answerer(module: nn.Module) -> Callable[..., Any]:
        original = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            key = module, calls[module]
            calls[module] += 1
            return answers[key] if key in answers else original(*args, **kwargs)

        return forward

    with _forwards({module: answerer(module) for module, _ in answers}):
        yield


@contextmanager
def _forwards(replacements: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Inside, each module computes its replacement in place of its `forward`."""
    with ExitStack() as stack:
        for module, forward in replacements.items():
            if "forward" in vars(module):
                stack.callback(setattr, module, "forward", module.forward)
            else:
                stack.callback(delattr, module, "forward")
            module.forward = forward
        yield


@contextmanager
def redirected(model: Model) -> Iterator[None]:
    """Inside, a ReLU that would block the whole gradient of a picture lets through what would raise its output.

    So a unit that is silent on random pixels can still be climbed to. Values are unchanged. Covers `nn.ReLU` and
    `nn.ReLU6` modules (as in Lucid, Olah et al. 2017).
    """
    highs = {nn.ReLU: torch.inf, nn.ReLU6: 6.0}
    relus = {module: highs[type(module)] for module in model.net.modules() if type(module) in highs}

    def forward(high: float) -> Callable[[Tensor], Tensor]:
        return lambda x: _Redirected.apply(x, high)

    with _forwards({module: forward(high) for module, high in relus.items()}):
        yield


class _Redirected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float) -> Tensor:
        ctx.high = high
        ctx.save_for_backward(x)
        return x.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        plain = gradient * ((x > 0) & (x < ctx.high))
        blocked = ~plain.flatten(1).any(1).view(-1, *[1] * (x.ndim - 1))
        # Descent raises the output where the gradient is negative.
        return torch.where(blocked, gradient.clamp(max=0), plain), None


def _spread(value: Any, index: Tensor, pictures: int, *, copy: bool) -> Any:
    def spread(tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or len(tensor) != pictures:
            return tensor
        if pictures > 1:
            return tensor[index]
        wide = tensor.expand(len(index), *tensor.shape[1:])
        return wide.clone() if copy else wide

    return _map(spread, value)


def _map(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_map(function, v) for v in value))
    if isinstance(value, tuple | list):
        return type(value)(_map(function, v) for v in value)
    if isinstance(value, dict):
        return {k: _map(function, v) for k, v in value.items()}
    return value


def _shaped_like(changed: Tensor, output: Tensor) -> Tensor:
    return changed.flatten(1) if output.ndim == 2 else changed


def _require(model: Model, layers: Sequence[str], found: Mapping[str, Tensor]) -> None:
    for layer in layers:
        if layer not in found:
            raise InnersightError(f"layer {layer} of {model.name} was not called in the forward pass; choose another")
