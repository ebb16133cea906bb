"""Sanity checks: does a heatmap change when what the network learned is taken away (Adebayo et al. 2018)."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from innersight.errors import InnersightError
from innersight.files import read_pictures
from innersight.heatmaps.engine import answer, options_of
from innersight.heatmaps.target import class_target
from innersight.image import Picture, stack
from innersight.layers import last_grid
from innersight.model import Model
from innersight.trust.likeness import likeness, on_grid


def random_network(model: Model, x: Tensor, *, share: float = 1.0, seed: int = 0) -> Model:
    """Return a copy of a network in which the values of every weight tensor are shuffled.

    Shuffled and not drawn anew: every tensor keeps its own scale, and networks whose layers cannot initialise
    themselves can be tested too. Batch norms measure their statistics anew on `x` (B, C, H, W), else the shuffled
    layers saturate. share : of the modules with weights, from the output back; the parameter-randomization test of
    Adebayo et al. 2018 (arXiv:1810.03292) goes through several.
    """
    if not 0 < share <= 1:
        raise InnersightError(f"share={share}: of the modules with weights, above 0 and at most 1")
    net = copy.deepcopy(model.net)
    stream = torch.Generator().manual_seed(seed)
    owners = [module for module in net.modules() if any(True for _ in module.parameters(recurse=False))]
    if not owners:
        raise InnersightError(f"{model.name} has no weights that could be shuffled")
    with torch.no_grad():
        for module in owners[-max(1, round(share * len(owners))) :]:
            for weight in module.parameters(recurse=False):
                order = torch.randperm(weight.numel(), generator=stream).to(weight.device)
                weight.copy_(weight.flatten()[order].view(weight.shape))
    shuffled = replace(model, net=net, name=f"{model.name}, shuffled")
    _measure_norms(shuffled, x)
    return shuffled


def _measure_norms(model: Model, x: Tensor) -> None:
    """Let batch norms take the mean and variance of a batch."""
    norms = [module for module in model.net.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms or len(x) * x[0, 0].numel() < 2:
        return
    model.net.eval()
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        model.net(x)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
        norm.eval()


def cascade(
    model: Model,
    pictures: "Sequence[str | Path | Picture] | str | Path | Picture",
    methods: Sequence[str] = ("gradcam", "saliency"),
    *,
    stages: int = 5,
    layer: str | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Return per method how alike its maps stay while the network is shuffled from its output back to its input.

    The values are (pictures, stages) rank correlations of the maps with those of the network as it is, -1 to 1, of the
    class that it predicts; stage k has `(k + 1) / stages` of the modules with weights shuffled. NaN where a map is
    constant. A method that shows what the network learned falls to about 0.
    """
    loaded, _ = read_pictures(pictures, model.input)
    x = stack(loaded, model.input).to(model.device, model.dtype)
    parsed, where = options_of(list(dict.fromkeys(methods)), None), layer or last_grid(model)[0]
    first = answer(model, x, lambda logits: class_target(model, logits.argmax(1)), [where], parsed, seed)
    classes = first.target.classes
    assert classes is not None
    found: dict[str, list[Tensor]] = {name: [] for name in parsed}
    for stage in range(stages):
        other = random_network(model, x, share=(stage + 1) / stages, seed=seed)
        maps = answer(other, x, lambda logits, net=other: class_target(net, classes), [where], parsed, seed)  # type: ignore[misc]
        for key, one in first.found.items():
            found[key[0]].append(likeness(on_grid(one.values), on_grid(maps.found[key].values)))
    return {name: torch.stack(values, 1) for name, values in found.items()}
