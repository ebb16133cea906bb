"""The examples of a scan: for each unit what it responds to in the images that activate it most."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from innersight.address import Address
from innersight.errors import brief
from innersight.render.figures import new_figure
from innersight.result import figures
from innersight.scan import Scan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY = "#555"
UNITS = 8


@figures.register("Examples of units")
def scan(
    found: Scan, *, layer: str | None = None, units: Sequence[int] | None = None, lowest: bool = False
) -> "Figure":
    """Draw one row per unit: the crops of its examples, highest peak first, dark where the unit responds less.

    Parameters
    ----------
    layer
        The deepest layer when None.
    units
        The first eight units that are not dead when None.
    lowest
        Draw the images with the lowest values instead.

    """
    layer, tally = found.tally(layer, units or ())
    alive = torch.where(~tally.dead)[0].tolist() or list(range(tally.units))
    shown = list(units) if units is not None else alive[:UNITS]
    examples = [found.examples(Address(layer, unit), lowest=lowest) for unit in shown]
    columns = max([1, *map(len, examples)])
    figure = new_figure(max(4.4, 1.05 * columns + 1.6), 1.22 * len(shown) + 0.78)
    figure.suptitle(_title(found, layer, lowest), x=0.01, ha="left", fontsize=8.5)
    axes = figure.subplots(len(shown), columns, squeeze=False)
    for line, unit, chosen in zip(axes, shown, examples, strict=True):
        for axis in line:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(
            _about(found, layer, unit), fontsize=6.5, rotation=0, ha="right", va="center", labelpad=6, linespacing=1.4
        )
        crops = found.crops(Address(layer, unit), chosen, lowest=lowest)
        for axis, crop, example in zip(line, crops, chosen, strict=False):
            axis.imshow(crop.masked(), interpolation="nearest" if max(crop.pixels.shape) < 64 else "antialiased")
            copies = f"  +{example.copies} near-duplicates" if example.copies else ""
            axis.set_title(f"{example.value:.3g}{copies}", fontsize=6.5, pad=2.5, loc="left")
            axis.set_xlabel(brief(example.path.name, 20), fontsize=5, labelpad=1.5, color=GREY, loc="left")
    return figure


def _title(found: Scan, layer: str, lowest: bool) -> str:
    row = found.summary()[layer]
    left = f", {len(found.skipped)} file{'s' * (len(found.skipped) != 1)} skipped" if found.skipped else ""
    what = "lowest values" if lowest else "highest peaks"
    return (
        f"{layer} ({row['grid'][0]}x{row['grid'][1]}), {what} over {found.images:,} images{left}\n"
        f"crops around the peak, dark where the unit is below half of it\n{row['units']} units, {row['dead']} never "
        f"positive, {row['always_active']} positive at every location of every image"
    )


def _about(found: Scan, layer: str, unit: int) -> str:
    tally = found.layers[layer]
    share = int(tally.positive[unit]) / max(1, int(tally.raw["presence/finite"][unit]))
    lines = [f"unit {unit}", f"active on {share:.0%} of images", f"at {float(tally.active[unit]):.0%} of locations"]
    classes: Any = tally.selectivity
    if classes is not None and int(classes["best"][unit]) >= 0 and float(classes["index"][unit]) > 0:
        lines.append(f"most on {brief(found.model.labels[int(classes['best'][unit])], 16)}")
        low, high = float(classes["low"][unit]), float(classes["high"][unit])
        spread = f" ({low:.2f} to {high:.2f})" if low == low else ""
        lines.append(f"selectivity {float(classes['index'][unit]):.2f}{spread}")
    return "\n".join(lines)
