"""Labels of units in the folder of a study: its pages show them, and its search finds them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from innersight.dissection import result, words
from innersight.storage.key import Key
from innersight.storage.store import Store

PANEL = "labels"


def keep_labels(found: result.Dissection | words.WordLabels, study: str | Path) -> None:
    """Keep the labels of units in a study, in place of earlier ones of the same kind.

    Parameters
    ----------
    found
        As `dissect` or `label` return it.
    study
        Folder of the study, made where it is not there.

    Raises
    ------
    InnersightError
        Where the folder holds a study of another network, cannot be written, or another process is at work on it.

    Examples
    --------
    >>> import tempfile
    >>> import innersight as ins
    >>> from innersight.dissection import keep_labels
    >>> from innersight.toons import Drawn
    >>> found = ins.dissect(ins.load("toon"), Drawn(per_class=1), layers=["stage1"], quantile=0.02)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keep_labels(found, folder)

    """
    digest = found.model.digest(concepts=False)
    store = Store.of_network(study, digest)
    parts = isinstance(found, result.Dissection)
    about = {
        "by": "parts" if parts else "words",
        "definition": result.DEFINITION if parts else words.DEFINITION,
        "images": found.images,
    }
    with store.locked():
        for layer in found.layers:
            key = Key(PANEL, layer, str(about["by"]))
            store.put(str(key), {"model": digest}, {**about, "rows": list(_rows(found, layer))}, {}, 0.0)


def _rows(found: result.Dissection | words.WordLabels, layer: str) -> Iterator[dict[str, Any]]:
    """Yield the units that have a label, with their overlap or correlation."""
    parts = isinstance(found, result.Dissection)
    units = len(found.layers[layer].threshold) if isinstance(found, result.Dissection) else len(found.layers[layer])
    for unit in range(units):
        row = found.row(layer, unit)
        if row["label"] is not None:
            score = row["overlap" if parts else "correlation"]
            yield {"unit": unit, "label": row["label"], "score": score, "interval": row["interval"], "p": row["p"]}
