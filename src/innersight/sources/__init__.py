"""Where models come from: `ORIGIN:NAME`, one file in `origins/` for each origin, or a bare torch module."""

from innersight.registry import Entry
from innersight.sources.loading import load
from innersight.sources.origins import Opener, registry

__all__ = ["entries", "load"]


def entries() -> tuple[Entry[Opener], ...]:
    """Return everything known of each origin of networks.

    Returns
    -------
    tuple of Entry
        Sorted by name; see `innersight.sources.origins` for the facts that each states.

    Examples
    --------
    >>> from innersight import sources
    >>> [entry.name for entry in sources.entries() if entry.example.startswith("timm:")]
    ['timm']

    """
    return registry.entries()
