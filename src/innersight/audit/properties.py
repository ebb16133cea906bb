"""Properties of whole images that have nothing to do with what they show: measured, and given to other images."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

Images = Float[Tensor, "n C H W"]
GREY = (0.299, 0.587, 0.114)


def grey(x: Images) -> Float[Tensor, "n 1 H W"]:
    """Return the luminance of colour images, the mean of others' channels."""
    if x.shape[1] == 3:
        return (x * x.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    return x.mean(1, keepdim=True)


def measure(x: Images, blocks: Sequence[float]) -> Float[Tensor, "n properties"]:
    """Return the values of `COLUMNS` for images. blocks : of the whole image files, see `reading`."""
    luma = grey(x)
    mean = luma.mean((1, 2, 3))
    tint = [x[:, c].mean((1, 2)) - mean for c in (0, min(2, x.shape[1] - 1))]
    columns = [mean, luma.std((1, 2, 3)), *tint, _saturation(x), _sharpness(luma), noise_of(luma), *_border(x)]
    return torch.stack([*columns, torch.tensor(blocks, dtype=x.dtype)], 1)


COLUMNS = ("brightness", "contrast", "red", "blue", "saturation", "sharpness", "noise", "top", "left", "blocks")


def _saturation(x: Images) -> Float[Tensor, " n"]:
    return (x.amax(1) - x.amin(1)).mean((1, 2))


def _sharpness(luma: Float[Tensor, "n 1 H W"]) -> Float[Tensor, " n"]:
    """Return how much of the image's gradients is lost by a slight blur, 0 to 1: little in images that are blurred."""
    own = _steps(luma)
    soft = _steps(V.gaussian_blur(luma, [5, 5], [1.0, 1.0]))
    return 1 - soft / own.clamp_min(1e-12)


def _steps(luma: Float[Tensor, "n 1 H W"]) -> Float[Tensor, " n"]:
    return luma.diff(dim=2).square().mean((1, 2, 3)) + luma.diff(dim=3).square().mean((1, 2, 3))


def noise_of(luma: Float[Tensor, "n 1 H W"]) -> Float[Tensor, " n"]:
    """Return the standard deviation of noise, from the median of a high-pass filter (Immerkaer 1996) on the image."""
    kernel = luma.new_tensor([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])[None, None]
    if min(luma.shape[2:]) < 3:
        return luma.new_zeros(len(luma))
    return F.conv2d(luma, kernel).abs().flatten(1).median(1).values / (0.6745 * 6)


def _border(x: Images) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the share of height and of width that plain rows and columns at the edges take."""
    return _plain(x, 3) / x.shape[2], _plain(x, 2) / x.shape[3]


def _plain(x: Images, along: int) -> Float[Tensor, " n"]:
    flat = (x.std(along).amax(1) < FLAT).float()
    return flat.cumprod(1).sum(1) + flat.flip(1).cumprod(1).sum(1)


FLAT = 0.02
