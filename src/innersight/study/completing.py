"""What a report of chosen units needs and the study has not computed: examples, cut out of the scanned images."""

from collections.abc import Sequence
from pathlib import Path

from innersight.address import Address, parse
from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.storage.store import Store
from innersight.storage.study_folder import written_by_innersight
from innersight.study.compute import compute
from innersight.study.panels.examples import ExamplesRequest
from innersight.study.scanned import scan_settings

MAX_UNITS = 256


def cut_examples(folder: Path, addresses: Sequence[str]) -> str | None:
    """Cut out the examples of units that lack them, into the study; return why they cannot be had, or None.

    addresses : of units; whole layers are left as they are, and so are layers that were not scanned.
    """
    store = Store.open(folder)
    scanned = scan_settings(store)
    if scanned is None:
        return None
    wanted: dict[str, list[int]] = {}
    for one in (address for text in addresses for address in parse(text)):
        if isinstance(one, Address) and one.unit is not None and one.layer in scanned["layers"]:
            wanted.setdefault(one.layer, []).append(one.unit)
    try:
        for layer, units in wanted.items():
            left = [unit for unit in dict.fromkeys(units) if unit not in _known(store, layer)]
            if left:
                request = ExamplesRequest(kind="examples", layer=layer, units=tuple(left[:MAX_UNITS]))
                for _ in compute(folder, request):
                    pass
    except InnersightError as error:
        return f"The examples of the chosen units could not be cut out: {error}"
    return None


def _known(store: Store, layer: str) -> set[int]:
    names = [name for name in store.names() if (key := Key.parse(name)).panel == "examples" and key.layer == layer]
    with written_by_innersight(f"{store.folder}, the examples of {layer}"):
        found = [item.document for name in names if (item := store.get(name)) is not None]
        return {unit for document in found if document["of"] is None for unit in document["units"]}
