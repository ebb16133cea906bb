"""Where a study can go besides its own pages: one file for each tool, a function registered here."""

from collections.abc import Callable
from pathlib import Path

from innersight.registry import Registry
from innersight.study.content import Content

Export = Callable[[Content, Path], tuple[str, ...]]
"""Returns one sentence for each kind of thing that was left out."""
exports: Registry[Export] = Registry("export", "innersight.study.exports")
