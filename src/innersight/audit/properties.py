"""Properties of whole images that have nothing to do with what they show: measured, given to images and taken away."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PILImage
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

Images = Float[Tensor, "_ C H W"]
Change = Callable[[Images, float], Images]
"""From images and 1 or -1 to images that have the property, or that lack it."""
GREY = (0.299, 0.587, 0.114)
COLUMNS = (
    "brightness", "contrast", "red", "blue", "saturation", "sharpness", "noise", "rows", "columns", "across", "down",
    "lines", "blocks",
)  # fmt: skip
"""What is measured of every image; brightness, contrast, red, blue and saturation are of pixels in 0..1, rows and
columns the shares of height and width that plain edges take, across and down the centre of what has structure, lines
the logarithm of how much more images change downwards than across."""
LITTLE = 0.03  # changes by less of the range, or of a quotient, are none
FLAT = 0.02  # range of values of a plain row or column
SIGMAS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.2, 4.0)
QUALITIES = (5, 8, 12, 18, 25, 35, 50, 70)


def grey(x: Images) -> Float[Tensor, "_ 1 H W"]:
    """Return the luminance of colour images, the mean of others' channels."""
    if x.shape[1] == 3:
        return (x * x.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    return x.mean(1, keepdim=True)


def measure(x: Images, blocks: Sequence[float]) -> Float[Tensor, "_ properties"]:
    """Return the values of `COLUMNS` for images in 0..1. blocks : of the whole files, see `reading`."""
    luma = grey(x)
    mean = luma.mean((1, 2, 3))
    tint = [x[:, c].mean((1, 2)) - mean for c in (0, min(2, x.shape[1] - 1))]
    plain = [_plain(x, along) / x.shape[5 - along] for along in (3, 2)]
    columns = [mean, luma.std((1, 2, 3)), *tint, _saturation(x), sharpness(luma), noise_of(luma), *plain]
    down, across = (luma.diff(dim=axis).square().mean((1, 2, 3)).clamp_min(1e-9) for axis in (2, 3))
    lines = (down / across).log()
    return torch.stack([*columns, *_centre(luma), lines, torch.tensor(blocks, dtype=x.dtype)], 1)


def at_corners(x: Images) -> Float[Tensor, "_ properties"]:
    """Return the same of the corners of images, of each value the median of four: what no object makes alone."""
    height, width = (max(4, side // 4) for side in x.shape[2:])
    corners = (x[..., rows, columns] for rows in _ends(height) for columns in _ends(width))
    return torch.stack([measure(one, [1.0] * len(one)) for one in corners]).median(0).values


def _ends(length: int) -> tuple[slice, slice]:
    return slice(None, length), slice(-length, None)


def _saturation(x: Images) -> Float[Tensor, " _"]:
    return (x.amax(1) - x.amin(1)).mean((1, 2))


def sharpness(luma: Float[Tensor, "n 1 H W"]) -> Float[Tensor, " n"]:
    """Return how much of the image's gradients is lost by a slight blur, 0 to 1: little in images that are blurred."""
    own = _steps(luma)
    return 1 - _steps(_blur(luma, 1.0)) / own.clamp_min(1e-12)


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


def _blur(x: Images, sigma: float) -> Images:
    reach = 2 * max(1, round(3 * sigma)) + 1
    size = [min(reach, side if side % 2 else side - 1) for side in x.shape[:1:-1]]
    blurred: Tensor = V.gaussian_blur(x, size, [sigma, sigma])
    return blurred


@dataclass(frozen=True)
class Property:
    """A property that sets the images of a class apart.

    words : what it is. give : lends it, or takes it away. controls : other changes of the same size.
    """

    name: str
    words: str
    give: Change
    controls: tuple[Change, ...]


Values = Mapping[str, float]


@dataclass(frozen=True)
class Kind:
    """A kind of property.

    columns : those of `COLUMNS` that measure it. everywhere : it is in every part of an image that has it. build : from
    the medians of `COLUMNS` over images of the class that have it and over others, and from some of the others and of
    those of the class, to the property; none where these images cannot have it. most : share of the class, those
    images that differ most, by which its strength is set: not all may have it. destroys : it destroys detail.
    """

    columns: tuple[str, ...]
    everywhere: bool
    build: Callable[[Values, Values, Images, Images], Iterator[Property]]
    most: float = 0.85
    destroys: bool = False


def _brightness(own: Values, others: Values, *_: Images) -> Iterator[Property]:
    by = own["brightness"] - others["brightness"]
    if abs(by) < LITTLE:
        return

    def give(x: Images, sign: float) -> Images:
        return (x + sign * by).clamp(0, 1)

    words = f"{'brighter' if by > 0 else 'darker'} images (by {abs(by):.2f} of the range)"
    yield Property("brightness", words, give, (lambda x, sign: give(x, -sign),))


def _contrast(own: Values, others: Values, *_: Images) -> Iterator[Property]:
    ratio = max(own["contrast"], 1e-3) / max(others["contrast"], 1e-3)
    if abs(ratio - 1) < 2 * LITTLE:
        return

    def give(x: Images, sign: float) -> Images:
        middle = x.mean((1, 2, 3), keepdim=True)
        return torch.clamp((x - middle) * ratio**sign + middle, 0, 1)

    words = f"{'higher' if ratio > 1 else 'lower'} contrast (times {ratio:.2f})"
    yield Property("contrast", words, give, (lambda x, sign: give(x, -sign),))


def _cast(own: Values, others: Values, images: Images, _: Images) -> Iterator[Property]:
    """Lend a gain of each channel, as another light does."""
    if images.shape[1] != 3:
        return
    gains = torch.tensor([c / o for c, o in zip(_means(own), _means(others), strict=True)])
    # How bright images are is a property of its own.
    gains = gains / float((gains * torch.tensor(GREY)).sum())
    if float((gains - 1).abs().max()) < LITTLE:
        return

    def by(chosen: Tensor) -> Change:
        return lambda x, sign: (x * (chosen**sign)[:, None, None]).clamp(0, 1)

    changes = [f"{name} {(gain - 1) * 100:+.0f}%" for name, gain in zip(("red", "green", "blue"), gains, strict=True)]
    controls = by(gains.roll(1)), by(gains.roll(2)), by(1 / gains)
    yield Property("colour cast", f"a colour cast ({', '.join(changes)})", by(gains), controls)


def _means(values: Values) -> tuple[float, float, float]:
    """Return the mean of each channel."""
    mean = values["brightness"]
    red, blue = mean + values["red"], mean + values["blue"]
    green = (mean - GREY[0] * red - GREY[2] * blue) / GREY[1]
    return max(red, 1e-2), max(green, 1e-2), max(blue, 1e-2)


def _tinted(own: Values, others: Values, images: Images, class_images: Images) -> Iterator[Property]:
    """Lend the mean and standard deviation of each channel, as Reinhard et al. 2001 transfer colours."""
    if images.shape[1] != 3:
        return
    (usual, spread), (wanted, wide) = map(_channels, (images, class_images))
    ratio = wide / spread
    if float((wanted - usual).abs().max()) < LITTLE and float((ratio - 1).abs().max()) < 2 * LITTLE:
        return

    def by(order: Sequence[int]) -> Change:
        """Return the change with the channels' shifts and ratios in another order."""
        shift, scale = (wanted - usual)[list(order), None, None], ratio[list(order), None, None]
        middle = usual[:, None, None]

        def give(x: Images, sign: float) -> Images:
            changed = (x - middle) * scale + middle + shift if sign > 0 else (x - middle - shift) / scale + middle
            return changed.clamp(0, 1)

        return give

    changes = [f"{name} {step:+.2f}" for name, step in zip(("red", "green", "blue"), wanted - usual, strict=True)]
    controls = by((1, 2, 0)), by((2, 0, 1))
    yield Property("tint", f"a colour cast ({', '.join(changes)} of the range)", by((0, 1, 2)), controls)


def _channels(x: Images) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Return the medians over images of each channel's mean and standard deviation."""
    return x.mean((2, 3)).median(0).values, x.std((2, 3)).median(0).values.clamp_min(1e-3)


def _saturated(own: Values, others: Values, images: Images, _: Images) -> Iterator[Property]:
    if images.shape[1] != 3:
        return
    ratio = max(own["saturation"], 1e-3) / max(others["saturation"], 1e-3)
    if abs(ratio - 1) < 2 * LITTLE:
        return

    def give(x: Images, sign: float) -> Images:
        plain = grey(x)
        return torch.clamp(plain + (x - plain) * ratio**sign, 0, 1)

    words = f"{'more' if ratio > 1 else 'less'} saturated colours (times {ratio:.2f})"
    yield Property("saturation", words, give, (lambda x, sign: give(x, -sign),))


def _sharp(own: Values, others: Values, images: Images, class_images: Images) -> Iterator[Property]:
    blurred = own["sharpness"] < others["sharpness"]
    soft, sharp = (images, class_images) if blurred else (class_images, images)
    sigma = _nearest(SIGMAS, lambda s: _median(sharpness(grey(_blur(soft, s)))), _median(sharpness(grey(sharp))))

    def soften(x: Images) -> Images:
        return _blur(x, sigma)

    def sharpen(x: Images) -> Images:
        return (2 * x - _blur(x, sigma)).clamp(0, 1)

    def give(x: Images, sign: float) -> Images:
        return soften(x) if (sign > 0) == blurred else sharpen(x)

    words = f"{'blurred' if blurred else 'sharper'} images (by {sigma:.1f} px)"
    name = "blur" if blurred else "sharpness"
    yield Property(name, words, give, (lambda x, sign: give(x, -sign),))


def _noisy(own: Values, others: Values, images: Images, class_images: Images) -> Iterator[Property]:
    if own["noise"] <= others["noise"]:
        return
    deviation = (own["noise"] ** 2 - others["noise"] ** 2) ** 0.5

    def noise(x: Images, coarse: int) -> Images:
        stream = torch.Generator().manual_seed(0)
        drawn = torch.randn(len(x), x.shape[1], -(-x.shape[2] // coarse), -(-x.shape[3] // coarse), generator=stream)
        full = F.interpolate(drawn, scale_factor=coarse)[..., : x.shape[2], : x.shape[3]]
        return torch.clamp(x + deviation * full, 0, 1)

    def give(x: Images, sign: float) -> Images:
        return noise(x, 1) if sign > 0 else _blur(x, 0.8)

    def coarse(x: Images, sign: float) -> Images:
        return noise(x, 4) if sign > 0 else noise(x, 1)

    words = f"noise (standard deviation {deviation:.3f} of the range)"
    yield Property("noise", words, give, (coarse,))


def _bordered(own: Values, others: Values, images: Images, class_images: Images) -> Iterator[Property]:
    height, width = class_images.shape[2:]
    wide = [max(0.0, own[name] - others[name]) / 2 for name in ("rows", "columns")]
    top, left = round(wide[0] * height), round(wide[1] * width)
    if top + left == 0 or 2 * top >= height or 2 * left >= width:
        return
    inside = torch.zeros(height, width)
    inside[top : height - top, left : width - left] = 1
    edge = class_images[..., inside == 0].median(2).values.median(0).values

    def frame(x: Images, across: int, down: int, colour: Tensor) -> Images:
        changed = colour[:, None, None].expand_as(x).clone()
        rows, columns = slice(down, x.shape[2] - down), slice(across, x.shape[3] - across)
        changed[..., rows, columns] = x[..., rows, columns]
        return changed

    def zoom(x: Images, across: int, down: int) -> Images:
        part = x[..., down : x.shape[2] - down, across : x.shape[3] - across]
        return F.interpolate(part, x.shape[2:], mode="bilinear", align_corners=False)

    def give(x: Images, sign: float) -> Images:
        return frame(x, left, top, edge) if sign > 0 else zoom(x, left, top)

    def other(x: Images, sign: float) -> Images:
        if sign > 0:
            return frame(x, left, top, x.mean((0, 2, 3)))
        return zoom(x, top, left) if top != left else frame(x, left, top, x.mean((0, 2, 3)))

    each = zip(wide, ("height", "width"), strict=True)
    shares = [f"{share:.0%} of the {name}" for share, name in each if share]
    yield Property("border", f"a border (on each side {' and '.join(shares)})", give, (other,))


def _compressed(own: Values, others: Values, images: Images, class_images: Images) -> Iterator[Property]:
    if own["blocks"] <= others["blocks"] * 1.05 or images.shape[1] not in (1, 3):
        return
    quality = _nearest(QUALITIES, lambda q: _median(blocks(compressed(images, round(q)))), own["blocks"])

    def give(x: Images, sign: float) -> Images:
        return compressed(x, round(quality)) if sign > 0 else _blur(x, 0.8)

    def control(x: Images, sign: float) -> Images:
        size = (compressed(x, round(quality)) - x).std()
        stream = torch.Generator().manual_seed(0)
        return (x + size * torch.randn(x.shape, generator=stream)).clamp(0, 1)

    yield Property("JPEG", f"JPEG compression (as of quality {quality:.0f})", give, (control,))


def compressed(x: Images, quality: int) -> Images:
    """Return images stored as JPEG and read again."""
    found = []
    for one in (x * 255).round().byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        PILImage.fromarray(one.squeeze()).save(file, "JPEG", quality=quality)
        found.append(torch.from_numpy(np.array(PILImage.open(file)).reshape(one.shape)))
    return torch.stack(found).permute(0, 3, 1, 2).float() / 255


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


def _placed(own: Values, others: Values, images: Images, _: Images) -> Iterator[Property]:
    height, width = images.shape[2:]
    across, down = (round((own[n] - others[n]) * size) for n, size in (("across", width), ("down", height)))
    if across == down == 0:
        return

    def moved(x: Images, right: int, below: int) -> Images:
        pad = [max(right, 0), max(-right, 0), max(below, 0), max(-below, 0)]
        wide = F.pad(x, pad, mode="replicate")
        return wide[..., max(-below, 0) :, max(-right, 0) :][..., : x.shape[2], : x.shape[3]]

    def give(x: Images, sign: float) -> Images:
        return moved(x, int(sign * across), int(sign * down))

    words = f"the position in the image (moved by {across:+d} px across and {down:+d} px down)"
    yield Property("position", words, give, (lambda x, sign: give(x, -sign),))


def _median(values: Tensor) -> float:
    return float(values.median())


def _nearest(choices: Sequence[float], measured: Callable[[float], float], wanted: float) -> float:
    return min(choices, key=lambda choice: abs(measured(choice) - wanted))


kinds = (
    Kind(("brightness",), True, _brightness),
    Kind(("contrast",), True, _contrast),
    Kind(("red", "blue"), True, _cast),
    Kind(("red", "blue", "brightness", "contrast", "saturation"), True, _tinted, most=1.0),
    Kind(("saturation",), True, _saturated),
    Kind(("sharpness",), False, _sharp, destroys=True),
    Kind(("noise",), True, _noisy, destroys=True),
    Kind(("rows", "columns"), False, _bordered),
    Kind(("blocks",), False, _compressed, destroys=True),
    Kind(("across", "down"), False, _placed),
)
