"""Resume: many variants of one layer's output, each at the price of the rest of the network."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.model import Model
from innersight.nested import transform
from innersight.network import DEFEATED
from innersight.quotients import outlying
from innersight.tap.layout import Layout
from innersight.tap.passes import Reached, layout, replace
from innersight.untouched import forwards


@dataclass(frozen=True)
class Suffix:
    """The rest of the network after one layer, for the images of one prefix run.

    Attributes
    ----------
    model : Model
        The network.
    layer : str
        Name of the layer.
    images : Tensor
        (B, C, H, W) network input.
    activation : Tensor
        (B, units, h, w), what the layer gave.
    output : Tensor
        (B, classes) logits of the plain run.
    mode : str
        "resumed" (modules before the layer return what is remembered), "copied" (the same, with copies because the
        network writes in place), or "full" (the network defeats resuming: every call is a full run).

    """

    model: Model
    layer: str
    images: Tensor
    activation: Tensor
    output: Tensor
    mode: Literal["resumed", "copied", "full"]
    _memory: Mapping[tuple[nn.Module, int], Any]
    _own: Any
    _fed: Tensor

    __repr__ = brief

    def __call__(self, variants: Tensor, index: Tensor | None = None) -> Tensor:
        """Return the logits for variants of the layer's output.

        Parameters
        ----------
        variants
            (V, units, h, w).
        index
            (V,) which image each variant belongs to; may be left out for a single image, or for one variant per image
            in order.

        Returns
        -------
        torch.Tensor
            (V, classes) logits.

        Raises
        ------
        InnersightError
            Where `index` is needed and missing.

        """
        batch, images = len(variants), len(self.images)
        if index is None:
            if images not in (1, batch):
                raise InnersightError(
                    f"{batch} variants for {images} images: state with index= which image each belongs to"
                )
            index = torch.arange(batch) if images > 1 else torch.zeros(batch, dtype=torch.long)
        index = index.to(self.images.device)
        # A copy: an in-place activation may follow.
        variants = variants.clone()
        if self.mode == "full":
            return replace(self.model, self.images[index], self.layer, lambda _: variants)
        x = _spread(self._fed, index, images, copy=False)
        remembered = {
            key: _spread(value, index, images, copy=self.mode == "copied") for key, value in self._memory.items()
        }
        read = layout(self.model, self.layer)
        module, call = self.model.call(self.layer)
        own = _spread(self._own, index, images, copy=False, main=read)
        remembered[module, call - 1] = read.write(variants, own)
        with _answering(remembered):
            return self.model.logits(x)


def resume(model: Model, x: Tensor, layer: str) -> Suffix:
    """Run the network up to a layer once and return the rest of it.

    Parameters
    ----------
    model
        The network.
    x
        (B, C, H, W) network input.
    layer
        Name of the layer.

    Returns
    -------
    Suffix
        From variants of the layer's output to logits.

    Raises
    ------
    InnersightError
        For an unknown layer, and one that the forward pass does not call.
    LayoutError
        For a layer whose output has no units and locations.

    Notes
    -----
    The outputs of the largest modules that finish before the layer are remembered. Two variants are compared with full
    runs; where the network defeats resuming, the suffix falls back to full runs and says so in `mode`. Of outputs that
    the rest of the network does not read only the shape is kept.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model = ins.load("small:4")
    >>> with tap.untouched(model), torch.no_grad():
    ...     suffix = tap.resume(model, torch.rand(1, *model.input.shape), "stage4")
    ...     logits = suffix(suffix.activation * torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1))
    >>> logits.shape, torch.allclose(logits[2], suffix.output[0], atol=1e-5)
    (torch.Size([3, 10]), True)

    """
    read = layout(model, layer)
    with torch.no_grad():
        memory, own = _record(model, x, layer)
        activation = read.read(own).clone()
        output = model.logits(x)
        # Some units off; and noise, which also changes a layer that is silent on these images.
        some = activation.clone()
        some[:, ::2] = 0
        noise = torch.randn(activation.shape, generator=torch.Generator().manual_seed(0)).to(activation)
        trials = [some, activation + noise * (activation.float().std(correction=0).to(activation) or 1)]
        index = torch.arange(len(x), device=x.device).repeat(len(trials) + 1)
        variants = torch.cat([*trials, activation])
        found = [replace(model, x, layer, _giving(trial)) for trial in trials]
        expected = torch.cat([*found, output])
        last = dict(list(memory.items())[-1:])
        blank = {key: transform(_blank, value) for key, value in memory.items()}
        tried: tuple[tuple[Literal["resumed", "copied"], Mapping[tuple[nn.Module, int], Any], Tensor], ...] = (
            # Of a chain nothing but the layer is read again; of a block what went into it.
            ("resumed", blank, _blank("", x)),
            ("resumed", blank | last, _blank("", x)),
            ("resumed", memory, x),
            ("copied", memory, x),
        )
        for mode, kept, fed in tried:
            suffix = Suffix(model, layer, x, activation, output, mode, kept, own, fed)
            with suppress(*DEFEATED):
                if _same(suffix(variants, index), expected, output.repeat(len(trials) + 1, 1)):
                    return suffix
    return Suffix(model, layer, x, activation, output, "full", {}, own, x)


def _blank(_where: str, tensor: Tensor) -> Tensor:
    """Return a tensor of the same shape without memory of its own: NaN, so that scores show who reads it."""
    return tensor.new_full((), torch.nan).expand(tensor.shape) if tensor.is_floating_point() else tensor


def _giving(variant: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda _: variant.clone()


def _same(resumed: Tensor, expected: Tensor, plain: Tensor) -> bool:
    """Say whether resumed scores are those of full runs: to 1e-3, and to a twentieth of what the variants change.

    By the size of the scores alone, a suffix that leaves the variants out would pass where they change little.
    """
    finite = expected.isfinite()
    if not torch.equal(finite, resumed.isfinite()) or not finite.any():
        return False
    if not torch.equal(expected.isnan(), resumed.isnan()):
        return False
    values, changes, misses = (
        one.double().where(finite, 0).abs().amax(0)
        for one in (expected, expected.double() - plain, expected.double() - resumed)
    )
    ruled_out = outlying(values)
    return all(
        float(misses[group].max()) <= _allowed(expected.dtype, float(values[group].max()), float(changes[group].max()))
        for group in (ruled_out, ~ruled_out)
        if bool(group.any())
    )


def _allowed(kind: torch.dtype, size: float, change: float) -> float:
    return max(64 * torch.finfo(kind).eps * size, min(1e-3 * size, 0.05 * change))


def _record(model: Model, x: Tensor, layer: str) -> tuple[dict[tuple[nn.Module, int], Any], Any]:
    """Run up to `layer`; return the outputs of the largest finished modules by (module, call), and the layer's own."""
    target, wanted = model.call(layer)
    calls: Counter[nn.Module] = Counter()
    running: list[tuple[tuple[nn.Module, int], int]] = []
    finished: list[tuple[tuple[nn.Module, int], Any]] = []
    own: list[Any] = []

    def enter(module: nn.Module, _inputs: Any) -> None:
        running.append(((module, calls[module]), len(finished)))
        calls[module] += 1

    def leave(module: nn.Module, _inputs: Any, output: Any) -> None:
        key, first = running.pop()
        kept = transform(lambda _, tensor: tensor.clone(), output)
        if key == (target, wanted - 1):
            own.append(kept)
            raise Reached
        del finished[first:]
        finished.append((key, kept))

    with ExitStack() as stack:
        for module in (*model.net.modules(), *(one.module for one in model.inserted)):
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        with suppress(Reached):
            model.output(x)
    if not own:
        raise InnersightError(f"layer {layer} of {model.name} was not called in the forward pass; choose another")
    return dict(finished), own[0]


@contextmanager
def _answering(remembered: Mapping[tuple[nn.Module, int], Any]) -> Iterator[None]:
    """Inside, the given calls of modules return the given outputs without computing; other calls run as usual."""
    calls: Counter[nn.Module] = Counter()

    def answerer(module: nn.Module) -> Callable[..., Any]:
        original = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            key = module, calls[module]
            calls[module] += 1
            return remembered[key] if key in remembered else original(*args, **kwargs)

        return forward

    with forwards({module: answerer(module) for module, _ in remembered}):
        yield


def _spread(value: Any, index: Tensor, images: int, *, copy: bool, main: Layout | None = None) -> Any:
    """Give every tensor of a remembered output one row per variant.

    main : the layout of its chief tensor, where that is known; of all others the first dimension counts images.
    """

    def spread(where: str, tensor: Tensor) -> Tensor:
        axis = main.batch_axis if main is not None and where == main.part else 0
        if tensor.ndim == 0 or tensor.shape[axis] != images:
            return tensor
        if images > 1 and any(tensor.stride()):
            return tensor.index_select(axis, index)
        tensor = tensor.narrow(axis, 0, 1)
        sizes = [-1] * tensor.ndim
        sizes[axis] = len(index)
        wide = tensor.expand(*sizes)
        return wide.clone() if copy else wide

    return transform(spread, value)
