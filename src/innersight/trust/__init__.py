"""Trust: how far heatmaps can be trusted, compared with baselines, chance, and images made to test them."""

from innersight.trust.column import Column, describe_column
from innersight.trust.engine import trust
from innersight.trust.ground_truth.parts import PartAgreement, part_agreement, part_effects, part_sums
from innersight.trust.protocol import Protocol
from innersight.trust.randomize import cascade, shuffled_weights
from innersight.trust.regions import read_regions
from innersight.trust.result import Trust
from innersight.trust.table import MeanEstimate, PairedTest, Row

__all__ = [
    "Column",
    "MeanEstimate",
    "PairedTest",
    "PartAgreement",
    "Protocol",
    "Row",
    "Trust",
    "cascade",
    "describe_column",
    "part_agreement",
    "part_effects",
    "part_sums",
    "read_regions",
    "shuffled_weights",
    "trust",
]
