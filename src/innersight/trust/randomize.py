"""Sanity checks: does a heatmap change when what the network learned is taken away (Adebayo et al. 2018)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from innersight import tap
from innersight.call import public
from innersight.errors import InnersightError
from innersight.heatmaps.engine import explain_batch, located, named, options_of
from innersight.heatmaps.target import class_target
from innersight.image import stack
from innersight.inputs import read
from innersight.model import Model
from innersight.trust.likeness import likeness


@contextmanager
def shuffled_weights(model: Model, x: Tensor, *, share: float = 1.0, seed: int = 0) -> Iterator[None]:
    """Shuffle the values of every weight tensor of a network inside a `with` block; afterwards they are as before.

    Parameters
    ----------
    model
        The network.
    x
        (B, C, H, W) network inputs, on which and on whose mirror images batch norms measure their statistics anew;
        otherwise the shuffled layers saturate.
    share
        Of the modules with weights, from the one registered last backwards; above 0 and at most 1.
    seed
        Of the shuffle.

    Raises
    ------
    InnersightError
        For a network without weights.

    Notes
    -----
    The parameter randomization test of Adebayo et al. 2018 (arXiv:1810.03292). Shuffled and not drawn anew: every
    tensor keeps its scale, and networks whose layers cannot initialize themselves can be tested too.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight.trust import shuffled_weights
    >>> model = ins.load("small:4")
    >>> x = torch.rand(2, *model.input.shape)
    >>> before = model.logits(x)
    >>> with shuffled_weights(model, x):
    ...     print(torch.allclose(model.logits(x), before))
    False
    >>> torch.allclose(model.logits(x), before)
    True

    """
    if not 0 < share <= 1:
        raise InnersightError(f"share={share}: of the modules with weights, above 0 and at most 1")
    net = model.net
    stream = torch.Generator().manual_seed(seed)
    owners = [module for module in net.modules() if _weights(module)]
    if not owners:
        raise InnersightError(f"{model.name} has no weights that could be shuffled")
    with tap.untouched(model):
        kept = [(tensor, tensor.detach().clone()) for tensor in (*net.parameters(), *net.buffers())]
        try:
            with torch.no_grad():
                for module in owners[-max(1, round(share * len(owners))) :]:
                    for weight in _weights(module):
                        order = torch.randperm(weight.numel(), generator=stream).to(weight.device)
                        weight.copy_(weight.flatten()[order].view(weight.shape))
                _measure_norms(model, torch.cat([x, x.flip(3)]))
            yield
        finally:
            with torch.no_grad():
                for tensor, before in kept:
                    tensor.copy_(before)


def _weights(module: nn.Module) -> list[Tensor]:
    """Return a module's own parameters, and matrices that it saves as buffers, as converted networks hold theirs."""
    saved = module.state_dict(keep_vars=True)
    matrices = [t for name, t in module.named_buffers(recurse=False) if name in saved and t.ndim > 1]
    return [*module.parameters(recurse=False), *(t for t in matrices if t.is_floating_point())]


def _measure_norms(model: Model, x: Tensor) -> None:
    """Let batch norms take the mean and variance of a batch."""
    norms = [module for module in model.net.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    with tap.untouched(model):
        try:
            for norm in norms:
                norm.training, norm.momentum = True, 1.0
            model.output(x)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


@public()
def cascade(
    model: Model,
    images: Any,
    methods: Sequence[str] = ("gradcam", "saliency"),
    *,
    stages: int = 5,
    layer: str | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Return how similar the maps of each method stay while the network is shuffled from its output to its input.

    Parameters
    ----------
    model
        The network.
    images
        Whatever holds images, see `innersight.inputs.entries`; all are held in memory.
    methods
        Names of heatmap methods.
    stages
        Into how many the modules with weights are divided.
    layer
        Where class activation maps are read; by default the last layer with a grid.
    seed
        Of the shuffles and of methods that draw at random.

    Returns
    -------
    dict[str, Tensor]
        By method, (images, stages) rank correlations of the maps with those of the network as it is, -1 to 1, of the
        class that it predicts; stage k has `(k + 1) / stages` of the modules shuffled. NaN where a map is constant. A
        method that shows what the network learned falls to about 0.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import draw
    >>> from innersight.trust import cascade
    >>> found = cascade(ins.load("small:4"), draw("ambra", 7).pixels, ["gradcam"], stages=2)
    >>> found["gradcam"].shape
    torch.Size([1, 2])

    """
    x = stack(read(images, model.input).images, model.input).to(model.device, model.dtype)
    parsed = options_of(named(methods), None)
    where, _, missing = located(model, None if layer is None else [layer], list(parsed))
    parsed = {name: own for name, own in parsed.items() if name not in missing}
    first = explain_batch(model, x, lambda logits: class_target(model, logits.argmax(1)), where, parsed, seed)
    classes = first.target.classes
    assert classes is not None
    target = class_target(model, classes)
    found: dict[str, list[Tensor]] = {name: [] for name in parsed}
    for stage in range(stages):
        with shuffled_weights(model, x, share=(stage + 1) / stages, seed=seed):
            maps = explain_batch(model, x, lambda _: target, where, parsed, seed)
        for key, one in first.found.items():
            found[key[0]].append(likeness(list(one.values), list(maps.found[key].values)))
    return {name: torch.stack(values, 1) for name, values in found.items()}
