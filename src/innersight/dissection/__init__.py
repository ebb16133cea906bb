"""Dissection: which part of an image, or which word, each unit of a network stands for."""

from innersight.dissection.clip import clip_encoder
from innersight.dissection.concepts import Concepts, label, read_words
from innersight.dissection.engine import dissect
from innersight.dissection.result import Dissected, Dissection

__all__ = ["Concepts", "Dissected", "Dissection", "clip_encoder", "dissect", "label", "read_words"]
