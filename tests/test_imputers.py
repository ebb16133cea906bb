from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from innersight.errors import InnersightError
from innersight.heatmaps.blur import blurred
from innersight.trust.imputers import imputers
from innersight.trust.imputers.inpaint import imputed

NAMES = list(imputers)


def filled(name: str, x: Tensor, kept: Tensor, seed: int = 0) -> Tensor:
    return imputers[name](x, torch.Generator().manual_seed(seed))(kept)


def test_the_imputers_are_there() -> None:
    assert NAMES == ["blur", "inpaint", "mean", "noise"]
    with pytest.raises(InnersightError, match="blur"):
        imputers["blurr"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 12, 9), (1, 5, 5), (4, 1, 3)])
def test_what_stays_is_left_as_it_is(name: str, shape: tuple[int, int, int]) -> None:
    x = torch.rand(shape)
    kept = torch.rand(6, *shape[1:]) < 0.5
    kept[0], kept[1] = True, False
    out = filled(name, x, kept)
    assert out.shape == (6, *shape)
    assert out.isfinite().all()
    assert torch.allclose(torch.where(kept[:, None], out, 0), torch.where(kept[:, None], x, 0), atol=1e-6)
    assert torch.equal(out, filled(name, x, kept))
    assert "\n" not in (imputers[name].__doc__ or "").strip().splitlines()[0]


def test_blur_is_a_gaussian() -> None:
    x = torch.rand(3, 48, 32, dtype=torch.float64)
    for channel, truth in zip(blurred(x[None])[0], x, strict=True):
        slow = scipy.ndimage.gaussian_filter(truth.numpy(), 2.0, mode="mirror", truncate=3.0)
        assert np.allclose(channel.numpy(), slow, atol=1e-12)


def test_mean_and_noise_keep_the_colours() -> None:
    x = torch.rand(3, 64, 64) * torch.tensor([0.1, 1, 3]).view(3, 1, 1)
    none = torch.zeros(1, 64, 64, dtype=torch.bool)
    assert torch.allclose(filled("mean", x, none)[0], x.mean((1, 2))[:, None, None].expand_as(x))
    noise = filled("noise", x, none)[0]
    assert torch.allclose(noise.mean((1, 2)), x.mean((1, 2)), atol=0.05)
    assert torch.allclose(noise.std((1, 2)), x.std((1, 2)), rtol=0.1)
    assert not torch.equal(noise, filled("noise", x, none, seed=1)[0])


def exactly(x: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Solve the equations of the weighted mean of eight neighbours, written out one by one."""
    _, height, width = x.shape
    gone = list(zip(*np.where(~kept), strict=True))
    number = {place: k for k, place in enumerate(gone)}
    matrix, right = np.zeros((len(gone), len(gone))), np.zeros((len(gone), len(x)))
    for (i, j), k in number.items():
        for a in range(max(0, i - 1), min(height, i + 2)):
            for b in range(max(0, j - 1), min(width, j + 2)):
                weight = 0 if (a, b) == (i, j) else 1 / 6 if a == i or b == j else 1 / 12
                matrix[k, k] += weight
                if (a, b) in number:
                    matrix[k, number[a, b]] -= weight
                else:
                    right[k] += weight * x[:, a, b]
    out = x.copy()
    for values, place in zip(np.linalg.solve(matrix, right), gone, strict=True):
        out[(slice(None), *place)] = values
    return out


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("smooth", [False, True])
def test_inpainting_solves_the_equations(share: float, smooth: bool) -> None:
    rng = np.random.default_rng(1)
    x = scipy.ndimage.gaussian_filter(rng.random((3, 24, 20)), (0, 3, 3))
    order = rng.random((24, 20))
    order = scipy.ndimage.gaussian_filter(order, 3) if smooth else order
    kept = order > np.quantile(order, share)
    found = imputed(torch.from_numpy(x), torch.from_numpy(kept)[None])[0].numpy()
    assert np.abs(found - exactly(x, kept)).max() < 0.01 * np.ptp(x)


def test_inpainting_an_image_of_which_nothing_is_kept() -> None:
    x = torch.rand(3, 9, 7)
    found = imputed(x, torch.zeros(1, 9, 7, dtype=torch.bool))[0]
    assert torch.allclose(found, x.mean((1, 2), keepdim=True).expand_as(x), atol=1e-5)
