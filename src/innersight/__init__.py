"""Innersight: see what your network sees. `import innersight as ins` loads nothing until a name is used."""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innersight.ablation import ablate as ablate
    from innersight.activations import activations as activations
    from innersight.atlas import atlas as atlas
    from innersight.audit import audit as audit
    from innersight.compare import compare as compare
    from innersight.concepts import concepts as concepts
    from innersight.connections import connections as connections
    from innersight.dissection import dissect as dissect
    from innersight.find import find as find
    from innersight.heatmaps import explain as explain
    from innersight.image import Image as Image
    from innersight.image import load_image as load_image
    from innersight.input_spec import InputSpec as InputSpec
    from innersight.layer import Layer as Layer
    from innersight.layers import layers as layers
    from innersight.matching import match as match
    from innersight.model import Model as Model
    from innersight.patterns import PatternOptions as PatternOptions
    from innersight.patterns import patterns as patterns
    from innersight.patterns.interpretability import interpretability as interpretability
    from innersight.predict import predict as predict
    from innersight.scan import scan as scan
    from innersight.sources import load as load
    from innersight.study import study as study
    from innersight.train import TrainOptions as TrainOptions
    from innersight.train import train as train
    from innersight.trust import trust as trust

_HOME = {
    "InputSpec": "innersight.input_spec",
    "Layer": "innersight.layer",
    "Model": "innersight.model",
    "Image": "innersight.image",
    "PatternOptions": "innersight.patterns",
    "TrainOptions": "innersight.train",
    "ablate": "innersight.ablation",
    "atlas": "innersight.atlas",
    "audit": "innersight.audit",
    "compare": "innersight.compare",
    "concepts": "innersight.concepts",
    "connections": "innersight.connections",
    "dissect": "innersight.dissection",
    "explain": "innersight.heatmaps",
    "find": "innersight.find",
    "interpretability": "innersight.patterns",
    "layers": "innersight.layers",
    "load": "innersight.sources",
    "load_image": "innersight.image",
    "activations": "innersight.activations",
    "match": "innersight.matching",
    "patterns": "innersight.patterns",
    "predict": "innersight.predict",
    "scan": "innersight.scan",
    "study": "innersight.study",
    "train": "innersight.train",
    "trust": "innersight.trust",
}
__all__ = sorted([*_HOME, "__version__"])
__version__ = "0.2.0"


class _Package(ModuleType):
    """Keeps `innersight.activations` the function: importing the submodule of that name must not replace it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'innersight' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    setattr(sys.modules[__name__], name, value)
    return value


def __dir__() -> list[str]:
    return list(__all__)
