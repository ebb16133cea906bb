"""Connections: which units drive a unit, and which units it drives, by weight and by attribution."""

from innersight.connections.engine import connections
from innersight.connections.link import CLASSES, DEFINITION, Link
from innersight.connections.result import Connections

__all__ = ["CLASSES", "DEFINITION", "Connections", "Link", "connections"]
