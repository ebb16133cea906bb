"""Heads: how a network's output, whatever it is, becomes one score per class."""

from innersight.heads.head import LINKS, PLAIN, Fitted, Head, Link, Outputs, numbered, readable
from innersight.heads.kinds import multilabel, region, similarity
from innersight.heads.outputs import tensor_of
from innersight.heads.recognise import recognise

__all__ = [
    "LINKS",
    "PLAIN",
    "Fitted",
    "Head",
    "Link",
    "Outputs",
    "multilabel",
    "numbered",
    "readable",
    "recognise",
    "region",
    "similarity",
    "tensor_of",
]
