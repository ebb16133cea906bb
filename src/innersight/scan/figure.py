"""The contact sheet of a scan: for each unit what it sees of the images that excite it most."""

from typing import TYPE_CHECKING, Any

from innersight.address import Address
from innersight.render import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from innersight.scan.result import Scan

GREY = "#555"


def draw(scan: "Scan", layer: str, units: list[int], *, lowest: bool) -> "Figure":
    """Draw one row per unit, with what there is to know of it at the left."""
    found = [scan.examples(Address(layer, unit), lowest=lowest) for unit in units]
    columns = max([1, *map(len, found)])
    figure = figures.new_figure(max(4.4, 1.05 * columns + 1.6), 1.22 * len(units) + 0.78)
    figure.suptitle(_title(scan, layer, lowest), x=0.01, ha="left", fontsize=8.5)
    axes = figure.subplots(len(units), columns, squeeze=False)
    for line, unit, examples in zip(axes, units, found, strict=True):
        for axis in line:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(
            _told(scan, layer, unit), fontsize=6.5, rotation=0, ha="right", va="center", labelpad=6, linespacing=1.4
        )
        crops = scan.crops(Address(layer, unit), examples, lowest=lowest)
        for axis, crop, example in zip(line, crops, examples, strict=False):
            axis.imshow(crop.masked(), interpolation="nearest" if max(crop.pixels.shape) < 64 else "antialiased")
            copies = f"  +{example.copies} alike" if example.copies else ""
            axis.set_title(f"{example.value:.3g}{copies}", fontsize=6.5, pad=2.5, loc="left")
            axis.set_xlabel(_short(example.path.name), fontsize=5, labelpad=1.5, color=GREY, loc="left")
    return figure


def _title(scan: "Scan", layer: str, lowest: bool) -> str:
    row = scan.summary()[layer]
    left = f", {len(scan.skipped)} file{'s' * (len(scan.skipped) != 1)} skipped" if scan.skipped else ""
    what = "lowest places" if lowest else "highest peaks"
    return (
        f"{layer} ({row['grid'][0]}x{row['grid'][1]}), {what} over {scan.images:,} images{left}\n"
        f"what each unit sees, dark where it answers less than half\n{row['units']} units, {row['dead']} never "
        f"positive, {row['always_on']} positive at every place"
    )


def _told(scan: "Scan", layer: str, unit: int) -> str:
    tally = scan.layers[layer]
    share = int(tally.positive[unit]) / max(1, int(tally.raw["presence/finite"][unit]))
    lines = [f"unit {unit}", f"on in {share:.0%} of images", f"at {float(tally.on[unit]):.0%} of places"]
    classes: Any = tally.selectivity
    if classes is not None and int(classes["best"][unit]) >= 0 and float(classes["index"][unit]) > 0:
        lines.append(f"most for {_short(scan.model.labels[int(classes['best'][unit])], 16)}")
        low, high = float(classes["low"][unit]), float(classes["high"][unit])
        spread = f" ({low:.2f} to {high:.2f})" if low == low else ""
        lines.append(f"selective {float(classes['index'][unit]):.2f}{spread}")
    return "\n".join(lines)


def _short(name: str, length: int = 20) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
