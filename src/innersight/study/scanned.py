"""The scan in a study's folder, as the settings of a study name it."""

from pathlib import Path
from typing import Any

import numpy as np

from innersight.errors import InnersightError
from innersight.scan.engine import FORMAT
from innersight.scan.ledger import Ledger
from innersight.scan.record import Record
from innersight.storage.permit import Permit
from innersight.storage.store import Store


def scan_settings(store: Store) -> dict[str, Any] | None:
    """Return what identifies the scan in the study's folder; None where there is none."""
    ledger = Ledger(store)
    settings, before = ledger.settings(), ledger.progress()
    if settings is None or before is None or settings.get("format") != FORMAT:
        return None
    return {**settings, "done": before.done}


def scanned_files(store: Store, permit: Permit, model: str, limit: int, seed: int) -> tuple[Path, ...]:
    """Return up to `limit` files of the scan, drawn at random; none where there is none of the network, or no files.

    model : digest of the network.
    """
    scanned = scan_settings(store)
    if scanned is None or scanned.get("model") != model:
        return ()
    # Some may be broken, members of an archive, gone, or named by somebody else.
    drawn = np.random.default_rng(seed).permutation(scanned["done"])[: 2 * limit].tolist()
    records = Ledger(store).records(drawn)
    found = [_file(permit, records[i]) for i in drawn if i in records and not records[i].broken]
    return tuple([file for file in found if file is not None and file.is_file()][:limit])


def _file(permit: Permit, record: Record) -> Path | None:
    try:
        name, where = permit.scanned(record.name)
    except InnersightError:
        # Not one to be read: the others are.
        return None
    return Path(where, name)
