"""`innersight.atlas`: the activation vectors of a layer on a map."""

from innersight.atlas.engine import AtlasEstimate, atlas, estimate
from innersight.atlas.options import AtlasOptions
from innersight.atlas.result import Atlas, AtlasLevel, AtlasTrace

__all__ = ["Atlas", "AtlasEstimate", "AtlasLevel", "AtlasOptions", "AtlasTrace", "atlas", "estimate"]
