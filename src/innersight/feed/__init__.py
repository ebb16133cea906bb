"""Pictures to go through, however many: folders, tar files, data sets; read ahead by threads, kept nowhere."""

from innersight.feed.items import Item, again, entries, items
from innersight.feed.reading import Loaded, ahead, batches, network_input, readable, seen, stream, threads

__all__ = [
    "Item",
    "Loaded",
    "again",
    "ahead",
    "batches",
    "entries",
    "items",
    "network_input",
    "readable",
    "seen",
    "stream",
    "threads",
]
