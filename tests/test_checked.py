"""While the tests run, calls are checked: types by beartype, shapes by jaxtyping."""

import pytest
import torch
from jaxtyping import TypeCheckError
from networks import tiny

from innersight.connections.engine import _peaks
from innersight.layers import default_layers


def test_types_are_checked() -> None:
    with pytest.raises(TypeError, match="model"):
        default_layers(3)  # type: ignore[arg-type]


def test_shapes_are_checked() -> None:
    with pytest.raises(TypeCheckError, match="_peaks"):
        _peaks(tiny("in-place"), torch.zeros(3), "relu2")
