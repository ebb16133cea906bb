"""Where models come from: `ORIGIN:NAME`, one file in `origins/` for each origin, or a bare torch module."""

from innersight.registry import Entry
from innersight.sources.loading import best_device, load, usable
from innersight.sources.origins import LoadRequest, Opener, registry

__all__ = ["LoadRequest", "best_device", "entries", "load", "usable"]


def entries() -> tuple[Entry[Opener], ...]:
    """Return everything known of each origin, sorted by name; see `innersight.sources.origins` for its facts."""
    return registry.entries()
