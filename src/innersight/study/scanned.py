"""The scan in a study's folder, as the settings of a study name it."""

from typing import Any

from innersight.scan.engine import FORMAT
from innersight.scan.ledger import Ledger
from innersight.storage.store import Store


def scan_settings(store: Store) -> dict[str, Any] | None:
    """Return what identifies the scan in the study's folder; None where there is none."""
    ledger = Ledger(store)
    settings, before = ledger.settings(), ledger.progress()
    if settings is None or before is None or settings.get("format") != FORMAT:
        return None
    return {**settings, "done": before.done}
