"""What computing more would take, from the seconds that the study itself took."""

from collections.abc import Iterable
from typing import Any

from innersight.storage.store import Item

_PER = {
    "activations": "layer",
    "patterns": "unit",
    "negatives": "unit",
    "classes": "class",
    "heatmaps": "map",
    "connections": "unit",
    "ablation": "layer",
}


def costs(items: Iterable[Item]) -> dict[str, dict[str, Any]]:
    """Return `{"activations": {"seconds": 0.4, "per": "layer"} ..}`; of kinds that were never computed nothing.

    Seconds are measured, each kind's total over what it made; opening the network is not counted.
    """
    seconds = dict.fromkeys(_PER, 0.0)
    made = dict.fromkeys(_PER, 0)
    for item in items:
        kind = item.key.partition("/")[0]
        if kind in _PER:
            seconds[kind] += item.seconds
            made[kind] += 1 if _PER[kind] == "layer" else len(_counted(item.document))
    return {kind: {"seconds": seconds[kind] / made[kind], "per": _PER[kind]} for kind in _PER if made[kind]}


def _counted(document: dict[str, Any]) -> list[Any]:
    found: list[Any] = next((document[key] for key in ("entries", "score", "units") if key in document), [])
    return found
