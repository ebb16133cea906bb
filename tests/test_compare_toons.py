"""`compare` against the truth: the part masks of toons."""

import pytest
from benchmarks.check_compare import check

import innersight as ins


@pytest.mark.parametrize("layer", ["stage2", "stage3"])
def test_top_unit_lands_on_the_same_part_in_both_images(layer):
    top, every, parts = check(ins.load("toon"), layer, first_seed=80_000, count=1)
    assert top >= 0.9
    assert every < top - 0.1
    assert len(parts) > 2
    assert parts["background"] == 0
