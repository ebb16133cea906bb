"""New files in a package of a registry, for one test."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from innersight.registry import Registry


def plant(monkeypatch: pytest.MonkeyPatch, folder: Path, registry: Registry[Any], name: str, source: str) -> None:
    """Write NAME.py as a file of the registry's package, as if it had always been there."""
    list(registry)
    package = importlib.import_module(registry._package)
    own = folder / registry.kind.replace(" ", "_")
    own.mkdir(exist_ok=True)
    (own / f"{name}.py").write_text(source)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(own)])
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(registry, "_loaded", False)
    list(registry)
    # Not by monkeypatch, which would put them back: the next test may plant another file of this name.
    del sys.modules[f"{registry._package}.{name}"]
    delattr(package, name)
