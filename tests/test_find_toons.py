"""`find` against the truth: the part masks of toons that it has not seen."""

import numpy as np
from benchmarks.check_find import PARTS, check

import innersight as ins
from innersight.toons import CLASSES


def test_the_top_unit_overlaps_the_part_more_than_most_others_do():
    queries = [(name, PARTS[i % len(PARTS)]) for i, name in enumerate(CLASSES)]
    # Images that the score was not chosen on.
    found = list(check(ins.load("toon"), queries, first_seed=300_000, shown=5))
    beats = [outcome.beats for outcome in found]
    assert sum(share >= 0.95 for share in beats) >= 9, found
    assert np.median(beats) > 0.98
