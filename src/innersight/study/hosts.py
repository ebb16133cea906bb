"""Hosts: what shows a study. They are registered in `innersight.web.hosts`, which no module below `web` imports."""

from collections.abc import Callable
from typing import Any

from innersight.registry import Registry

hosts: Registry[Callable[..., Any]] = Registry("host", "innersight.web.hosts")
"""`view`, `report` and `notebook`: each takes the folder of a study and the folder whose `web` shows it."""
