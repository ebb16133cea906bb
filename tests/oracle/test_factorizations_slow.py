"""Codes and shares of factorizations, computed one vector at a time from the definitions, in float64."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch import Tensor

from innersight.factorizations import Factorization, explained, factorizations, fit


def vectors(count: int = 60, units: int = 7) -> Tensor:
    return torch.randn(count, units, generator=torch.Generator().manual_seed(4), dtype=torch.float64) + 0.3


def slow_nmf(found: Factorization, vector: np.ndarray) -> np.ndarray:
    return np.asarray(nnls(found.directions.double().numpy().T, np.maximum(vector, 0))[0])


def slow_seminmf(found: Factorization, vector: np.ndarray) -> np.ndarray:
    return np.asarray(nnls(found.directions.double().numpy().T, vector)[0])


def slow_kmeans(found: Factorization, vector: np.ndarray) -> np.ndarray:
    directions = found.directions.double().numpy()
    cosines = [float(vector @ one) / np.linalg.norm(vector) for one in directions]
    nearest = int(np.argmax(cosines))
    codes = np.zeros(len(directions))
    codes[nearest] = max(0.0, float(vector @ directions[nearest]))
    return codes


def slow_pca(found: Factorization, vector: np.ndarray) -> np.ndarray:
    return np.array([(vector - found.offset.double().numpy()) @ one for one in found.directions.double().numpy()])


def slow_sae(found: Factorization, vector: np.ndarray) -> np.ndarray:
    encoder, bias = (found.tensors[name].double().numpy() for name in ("encoder", "bias"))
    responses = encoder @ (vector - found.offset.double().numpy()) + bias
    kept = sorted(range(len(responses)), key=lambda i: -responses[i])[: int(found.tensors["active"])]
    return np.array([max(0.0, value) if i in kept else 0.0 for i, value in enumerate(responses)])


SLOW = {"nmf": slow_nmf, "kmeans": slow_kmeans, "pca": slow_pca, "sae": slow_sae, "seminmf": slow_seminmf}


@pytest.mark.parametrize("name", list(factorizations))
def test_codes_are_those_of_the_definition(name: str) -> None:
    given = vectors()
    found = fit(given, name, 5)
    expected = torch.from_numpy(np.stack([SLOW[name](found, one) for one in given.numpy()]))
    assert torch.allclose(found.encode(given), expected, atol=1e-9)
    decoded = expected @ found.directions.double() + found.offset.double()
    assert torch.allclose(found.decode(expected), decoded, atol=1e-12)


@pytest.mark.parametrize("name", list(factorizations))
def test_shares_are_shapley_values_over_all_orders_of_the_concepts(name: str) -> None:
    given = vectors()
    found = fit(given, name, 3)
    codes, directions, mean = found.encode(given), found.directions.double(), given.mean(0)
    variance = (given - mean).square().sum()

    def worth(chosen: tuple[int, ...]) -> float:
        decoded = mean + sum(((codes[:, i] - codes[:, i].mean())[:, None] * directions[i] for i in chosen), 0 * given)
        return float(1 - (given - decoded).square().sum() / variance)

    shares = [0.0] * 3
    for order in itertools.permutations(range(3)):
        for place, one in enumerate(order):
            shares[one] += (worth(order[: place + 1]) - worth(order[:place])) / math.factorial(3)
    result = explained(found, given)
    assert torch.allclose(result.each, torch.tensor(shares), atol=1e-6)
    missing = (given - found.decode(codes)).square().sum()
    assert result.total == pytest.approx(float(1 - missing / variance), abs=1e-6)


def test_components_are_the_singular_vectors() -> None:
    given = vectors()
    found = fit(given, "pca", 4)
    _, sizes, expected = np.linalg.svd((given - given.mean(0)).numpy(), full_matrices=False)
    cosines = (found.directions.double().numpy() * expected[:4]).sum(1)
    assert np.allclose(np.abs(cosines), 1, atol=1e-6)
    assert bool((found.directions.sum(1) > 0).all())
    shares = explained(found, given).each
    assert np.allclose(shares.numpy(), (sizes**2 / (sizes**2).sum())[:4], atol=1e-6)
