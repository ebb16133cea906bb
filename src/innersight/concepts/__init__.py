"""Concepts: directions in a layer's unit space, found by factorizing what the layer gives for many images."""

from innersight.concepts.contribution import Contributions, contribute
from innersight.concepts.engine import concepts
from innersight.concepts.images import ConceptImages, image_concepts
from innersight.concepts.keep import KeptConcepts, read_concepts
from innersight.concepts.result import Concepts

__all__ = [
    "ConceptImages",
    "Concepts",
    "Contributions",
    "KeptConcepts",
    "concepts",
    "contribute",
    "image_concepts",
    "read_concepts",
]
