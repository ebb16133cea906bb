"""What heatmaps cost on a network: which methods a study computes unasked, and how many of them it can afford."""

from collections.abc import Sequence

from innersight.heatmaps.request import QUICK_PASSES, forward_passes, methods
from innersight.model import Model
from innersight.receptive_field import operations

DIFFERENT = ("gradcam", "occlusion", "integrated-gradients", "saliency")
"""Methods that look at different things: a layer, hidden regions, a path of inputs, the slope at the image."""
IF_LIGHT = ("rise",)
LIGHT = 6e10
"""Multiplications and additions of one map: a few seconds on two CPU cores."""


def default_methods(model: Model) -> tuple[str, ...]:
    """Return the heatmap methods of a study: some that differ in what they read, and RISE where it takes no time.

    Parameters
    ----------
    model
        The network.

    Returns
    -------
    tuple of str
        Names of methods. RISE is among them where a map takes at most 6e10 multiplications and additions.

    Examples
    --------
    >>> import innersight as ins
    >>> default_methods(ins.load("small:8", input=ins.InputSpec(32, 32)))
    ('gradcam', 'occlusion', 'integrated-gradients', 'saliency', 'rise')

    """
    return (*DIFFERENT, *light(model, IF_LIGHT))


def light(model: Model, names: Sequence[str], most: float = LIGHT) -> list[str]:
    """Return those of the methods that take few passes, or at most so many multiplications and additions for a map."""
    each = operations(model)
    return [name for name in names if methods.entry(name).passes <= QUICK_PASSES or forward_passes(name) * each <= most]
