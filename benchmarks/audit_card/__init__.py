"""The recall card of `innersight.audit`: networks with planted faults, audited blind.

`make_case(kind, seed, strength)` makes one of them; `python -m benchmarks.audit_card` makes and audits them all.
"""

from benchmarks.audit_card.cases import STRENGTHS, Case, make_case
from benchmarks.audit_card.planters import PLANTERS

__all__ = ["PLANTERS", "STRENGTHS", "Case", "make_case"]
