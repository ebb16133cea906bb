"""The engine: the only room that knows hooks.

Every function leaves the network as it was, also after an exception or Ctrl-C. Call them inside `untouched(model)`,
which freezes the parameters and switches to eval mode meanwhile. Activations are always (B, units, h, w): see `Layout`.
"""

from innersight.network import DEFEATED, NetworkError
from innersight.tap.affine import affine, is_affine, trials
from innersight.tap.attention import attention, ending, heads
from innersight.tap.batchnorm import fold_batchnorm
from innersight.tap.compiled import Compiled
from innersight.tap.concepts import ConceptLayer, ConceptUnits
from innersight.tap.gradient import CUT, gradients
from innersight.tap.layout import Layout, LayoutError
from innersight.tap.linear import linearised, wired
from innersight.tap.norms import Arriving, arriving
from innersight.tap.passes import Captured, capture, changing, layout, leaf, read, replace
from innersight.tap.probe import Unreadable, layouts
from innersight.tap.redirect import guided, redirected
from innersight.tap.suffix import Suffix, resume
from innersight.tap.wiring import IMAGE, Wire, wires
from innersight.untouched import untouched

__all__ = [
    "CUT",
    "DEFEATED",
    "IMAGE",
    "Arriving",
    "Captured",
    "Compiled",
    "ConceptLayer",
    "ConceptUnits",
    "Layout",
    "LayoutError",
    "NetworkError",
    "Suffix",
    "Unreadable",
    "Wire",
    "affine",
    "arriving",
    "attention",
    "capture",
    "changing",
    "ending",
    "fold_batchnorm",
    "gradients",
    "guided",
    "heads",
    "is_affine",
    "layout",
    "layouts",
    "leaf",
    "linearised",
    "read",
    "redirected",
    "replace",
    "resume",
    "trials",
    "untouched",
    "wired",
    "wires",
]
