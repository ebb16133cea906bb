"""Activation maps."""

from typing import TYPE_CHECKING

from innersight.activations import ActivationMaps, seen_array
from innersight.render.colour import scale_of
from innersight.render.figures import contact_sheet
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figures.register("Activation maps of whole layers")
def activation_maps(found: ActivationMaps, *, shared: bool = False, overlay: bool = False, limit: int = 96) -> "Figure":
    """Draw a contact sheet: for each layer and image its first units, in the layer's own grid.

    Parameters
    ----------
    shared
        One scale for all units of a layer instead of one for each unit.
    overlay
        Draw the maps over the image.
    limit
        How many units of each layer.

    """
    groups, labels, under = [], [], []
    for layer, values in found.values.items():
        for image, maps in zip(found.images, values, strict=True):
            cut = maps[:limit]
            rest = f", first {limit} of {len(maps)} units" if len(maps) > limit else f", {len(maps)} units"
            grid = f"{maps.shape[1]}x{maps.shape[2]}"
            groups.append((f"{layer} on {image.name} ({grid}{rest})", cut, scale_of(values) if shared else None))
            labels.append([str(unit) for unit in range(len(cut))])
            under.append(seen_array(image, found.model) if overlay else None)
    return contact_sheet(groups, labels=labels, under=under)
