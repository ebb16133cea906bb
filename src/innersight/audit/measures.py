"""What is measured of every image that has nothing to do with what it shows."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

Images = Float[Tensor, "_ C H W"]
GREY = (0.299, 0.587, 0.114)
COLUMNS = (
    "brightness", "contrast", "red", "blue", "saturation", "sharpness", "noise", "rows", "columns", "across", "down",
    "lines", "blocks", "size", "aspect",
)  # fmt: skip
"""What is measured of every image; brightness, contrast, red, blue and saturation are of pixels in 0..1, rows and
columns the shares of height and width that plain edges take, across and down the centre of what has structure, lines
the logarithm of how much more images change downwards than across; blocks, size (the side of a square as large, in
pixels) and aspect (width by height) are of the whole file."""
FILE = ("blocks", "size", "aspect")
FLAT = 0.02  # range of values of a plain row or column


def grey(x: Images) -> Float[Tensor, "_ 1 H W"]:
    """Return the luminance of colour images, the mean of others' channels."""
    if x.shape[1] == 3:
        return (x * x.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    return x.mean(1, keepdim=True)


def measure(x: Images, files: Float[Tensor, "_ 3"]) -> Float[Tensor, "_ properties"]:
    """Return the values of `COLUMNS` for images in 0..1. files : the values of `FILE` of each."""
    luma = grey(x)
    mean = luma.mean((1, 2, 3))
    tint = [x[:, c].mean((1, 2)) - mean for c in (0, min(2, x.shape[1] - 1))]
    plain = [_plain(x, along) / x.shape[5 - along] for along in (3, 2)]
    columns = [mean, luma.std((1, 2, 3)), *tint, _saturation(x), sharpness(luma), noise_of(luma), *plain]
    down, across = (luma.diff(dim=axis).square().mean((1, 2, 3)).clamp_min(1e-9) for axis in (2, 3))
    lines = (down / across).log()
    return torch.cat([torch.stack([*columns, *_centre(luma), lines], 1), files.to(x.dtype)], 1)


def at_corners(x: Images) -> Float[Tensor, "_ properties"]:
    """Return the same of the corners of images, of each value the median of four: what no object makes alone."""
    height, width = (max(4, side // 4) for side in x.shape[2:])
    corners = (x[..., rows, columns] for rows in _ends(height) for columns in _ends(width))
    return torch.stack([measure(one, torch.ones(len(one), len(FILE))) for one in corners]).median(0).values


def _ends(length: int) -> tuple[slice, slice]:
    return slice(None, length), slice(-length, None)


def _saturation(x: Images) -> Float[Tensor, " _"]:
    return (x.amax(1) - x.amin(1)).mean((1, 2))


def sharpness(luma: Float[Tensor, "n 1 H W"]) -> Float[Tensor, " n"]:
    """Return how much of the image's gradients is lost by a slight blur, 0 to 1: little in images that are blurred."""
    own = _steps(luma)
    return 1 - _steps(blur(luma, 1.0)) / own.clamp_min(1e-12)


def _steps(luma: Float[Tensor, "n 1 H W"]) -> Float[Tensor, " n"]:
    return luma.diff(dim=2).square().mean((1, 2, 3)) + luma.diff(dim=3).square().mean((1, 2, 3))


def noise_of(luma: Float[Tensor, "n 1 H W"]) -> Float[Tensor, " n"]:
    """Return the standard deviation of noise, from the median of a high-pass filter (Immerkaer 1996) on the image."""
    kernel = luma.new_tensor([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])[None, None]
    if min(luma.shape[2:]) < 3:
        return luma.new_zeros(len(luma))
    return F.conv2d(luma, kernel).abs().flatten(1).median(1).values / (0.6745 * 6)


def _plain(x: Images, along: int) -> Float[Tensor, " _"]:
    """Return how many plain lines there are at both edges; along : the axis of a line."""
    flat = ((x.amax(along) - x.amin(along)).amax(1) < FLAT).float()
    return torch.where(flat.all(1), 0.0, flat.cumprod(1).sum(1) + flat.flip(1).cumprod(1).sum(1))


def _centre(luma: Float[Tensor, "n 1 H W"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return where the structure of images is, from 0 at the left and top to 1."""
    energy = F.pad(luma.diff(dim=2).square(), (0, 0, 0, 1)) + F.pad(luma.diff(dim=3).square(), (0, 1))
    total = energy.sum((1, 2, 3)).clamp_min(1e-12)
    found = []
    for axis in (3, 2):
        place = (torch.arange(luma.shape[axis]) + 0.5) / luma.shape[axis]
        found.append((energy.sum((1, 5 - axis)) * place).sum(1) / total)
    return found[0], found[1]


def blocks(x: Images) -> Float[Tensor, " _"]:
    """Return how much steeper images are across the edges of JPEG's blocks of 8 x 8 pixels than inside of them.

    Wang, Sheikh and Bovik 2002 (no-reference quality of JPEG images), as a quotient: about 1 for images that were never
    compressed, or scaled afterwards.
    """
    luma, found = grey(x)[:, 0], []
    for values in (luma, luma.transpose(1, 2)):
        steps = values.diff(dim=2).abs().mean(1)
        if steps.shape[1] >= 16:
            edge = torch.arange(steps.shape[1]) % 8 == 7
            found.append(steps[:, edge].mean(1) / steps[:, ~edge].mean(1).clamp_min(1e-9))
    return torch.stack(found).mean(0) if found else torch.ones(len(x))


def blur(x: Images, sigma: float) -> Images:
    """Return images under a Gaussian blur of some pixels."""
    reach = 2 * max(1, round(3 * sigma)) + 1
    size = [min(reach, side if side % 2 else side - 1) for side in x.shape[:1:-1]]
    blurred: Tensor = V.gaussian_blur(x, size, [sigma, sigma])
    return blurred
