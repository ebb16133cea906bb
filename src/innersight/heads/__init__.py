"""Heads: how a network's output, whatever it is, becomes one score per class."""

from innersight.heads.head import PLAIN, Fitted, Head, Outputs, numbered, readable
from innersight.heads.kinds import multilabel, region, similarity
from innersight.heads.recognise import recognise

__all__ = [
    "PLAIN",
    "Fitted",
    "Head",
    "Outputs",
    "multilabel",
    "numbered",
    "readable",
    "recognise",
    "region",
    "similarity",
]
