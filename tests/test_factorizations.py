"""Factorizations of activation vectors, each by what it promises."""

import torch
from torch import Tensor

from innersight.factorizations import explained, factorizations, fit


def parts(count: int = 300, concepts: int = 4, units: int = 12) -> tuple[Tensor, Tensor]:
    """Vectors that are sums of few of some directions of 0 or more, and those directions."""
    random = torch.Generator().manual_seed(3)
    directions = torch.rand(concepts, units, generator=random) ** 4
    codes = torch.rand(count, concepts, generator=random) * (torch.rand(count, concepts, generator=random) < 0.4)
    return codes @ directions, directions


def test_every_factorization_explains_most_of_sums_of_few_directions() -> None:
    vectors, _ = parts()
    for name in factorizations:
        found = fit(vectors, name, 4)
        assert torch.allclose(found.directions.norm(dim=1), torch.ones(4), atol=1e-6)
        assert explained(found, vectors).total > 0.5, name
