"""The settings of every layer's statistics, and whether what they keep fits into memory."""

from collections.abc import Sequence
from itertools import pairwise

from innersight import tap
from innersight.errors import InnersightError, nearest
from innersight.layer import Layer
from innersight.model import Model
from innersight.scan.statistics import LayerSettings
from innersight.scan.statistics.class_maps import pooled_grid

LARGEST = 1 << 30  # bytes of what is kept on request
Pairs = bool | Sequence[tuple[str, str]]


def layer_settings(
    model: Model,
    layers: Sequence[Layer],
    examples: int,
    max_duplicates: int = 1,
    correlate: Pairs = False,
    class_maps: bool = False,
) -> dict[str, LayerSettings]:
    """Return the settings of each layer's statistics, which keep half as many images again as `examples`.

    Raises InnersightError for pairs of layers that are not scanned, and where correlations or class maps would take
    more than 1 GiB.
    """
    partners = pairs(model, layers, correlate)
    units = {layer.name: layer.units for layer in layers}
    _fits("correlate", 8 * sum(units[name] * units[other] for name, others in partners.items() for other in others))
    if class_maps:
        grids = {layer.name: pooled_grid(layer.grid) for layer in layers}
        cells = sum(units[name] * h * w for name, (h, w) in grids.items())
        _fits("class_maps", 8 * len(model.labels) * cells)
    return {
        name: LayerSettings(
            count,
            examples + (examples + 1) // 2,
            max_duplicates,
            len(model.labels),
            model.device,
            name,
            partners[name],
            class_maps,
        )
        for name, count in units.items()
    }


def pairs(model: Model, layers: Sequence[Layer], correlate: Pairs) -> dict[str, tuple[str, ...]]:
    """Return for each layer the layers, reached no later, that its units are correlated with.

    correlate : True for every layer with itself and with the one reached before it, or the pairs of layers.
    """
    order = {name: i for i, name in enumerate(tap.layouts(model))}
    names = sorted((layer.name for layer in layers), key=order.__getitem__)
    if correlate is True:
        wanted = [(name, name) for name in names] + list(pairwise(names))
    else:
        wanted = [(first, second) for first, second in correlate or ()]
    for name in {name for pair in wanted for name in pair}:
        if name not in names:
            raise InnersightError(f"layer {name!r} cannot be correlated, as it is not scanned; {nearest(name, names)}")
    sorted_ = {tuple(sorted(pair, key=order.__getitem__)) for pair in wanted}
    return {name: tuple(other for other in names if (other, name) in sorted_) for name in names}


def _fits(what: str, size: int) -> None:
    if size > LARGEST:
        raise InnersightError(
            f"{what} would take {size / (1 << 30):.1f} GiB for these layers, and the limit is {LARGEST >> 30} GiB: "
            "name fewer layers"
        )
