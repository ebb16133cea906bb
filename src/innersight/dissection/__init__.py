"""Dissection: which part of an image, or which word, each unit of a network responds to."""

from innersight.dissection.clip import clip_encoder
from innersight.dissection.engine import dissect
from innersight.dissection.keep import keep_labels
from innersight.dissection.result import Dissection, LayerDissection
from innersight.dissection.words import WordLabels, label, read_words

__all__ = [
    "Dissection",
    "LayerDissection",
    "WordLabels",
    "clip_encoder",
    "dissect",
    "keep_labels",
    "label",
    "read_words",
]
