"""Properties of whole images that have nothing to do with what they show, given to images and taken away."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PILImage
from torch import Tensor
from torch.nn import functional as F

from innersight.audit.measures import GREY, Images, blocks, blur, grey, sharpness

Change = Callable[[Images, float], Images]
"""From images and 1 or -1 to images that have the property, or that lack it."""
LITTLE = 0.03  # changes by less of the range, or of a quotient, are none
SIGMAS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.2, 4.0)
QUALITIES = (5, 8, 12, 18, 25, 35, 50, 70)


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
    images that differ most, by which its strength is set: not all may have it. destroys : it destroys detail. squashed
    : only where files are squashed to the network's input it is seen. corners : area under the ROC curve from which
    those of images have it, where it is everywhere.
    """

    columns: tuple[str, ...]
    everywhere: bool
    build: Callable[[Values, Values, Images, Images], Iterator[Property]]
    most: float = 0.85
    destroys: bool = False
    squashed: bool = False
    corners: float = 0.58


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
    shift = wanted - usual
    # Of all channels alike it is brightness or contrast.
    if float(shift.max() - shift.min()) < LITTLE and float(ratio.max() - ratio.min()) < 2 * LITTLE:
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
    sigma = _nearest(SIGMAS, lambda s: _median(sharpness(grey(blur(soft, s)))), _median(sharpness(grey(sharp))))

    def soften(x: Images) -> Images:
        return blur(x, sigma)

    def sharpen(x: Images) -> Images:
        return (2 * x - blur(x, sigma)).clamp(0, 1)

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
        return noise(x, 1) if sign > 0 else blur(x, 0.8)

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
        return compressed(x, round(quality)) if sign > 0 else blur(x, 0.8)

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


def _enlarged(own: Values, others: Values, images: Images, _: Images) -> Iterator[Property]:
    """Lend the lack of detail of files that are smaller than the network's input."""
    height, width = images.shape[2:]
    side = (height * width) ** 0.5
    share, usual = (min(1.0, values["size"] / side) for values in (own, others))
    if share > (1 - 2 * LITTLE) * usual:
        return

    def shrink(x: Images) -> Images:
        small = [max(1, round(share / usual * length)) for length in (height, width)]
        return F.interpolate(F.interpolate(x, small, mode="bilinear", antialias=True), x.shape[2:], mode="bilinear")

    def give(x: Images, sign: float) -> Images:
        return shrink(x) if sign > 0 else (2 * x - shrink(x)).clamp(0, 1)

    words = f"small files (of {own['size']:.0f} px, enlarged to {side:.0f})"
    yield Property("size", words, give, (lambda x, sign: give(x, -sign),))


def _stretched(own: Values, others: Values, images: Images, _: Images) -> Iterator[Property]:
    """Lend what squashing does to files that are wider or taller: as much of the middle, drawn out."""
    ratio = own["aspect"] / max(others["aspect"], 1e-3)
    if abs(ratio - 1) < 2 * LITTLE:
        return

    def give(x: Images, sign: float) -> Images:
        by = ratio**sign
        rows, columns = (max(1, round(n * min(1.0, s))) for n, s in zip(x.shape[2:], (1 / by, by), strict=True))
        top, left = (x.shape[2] - rows) // 2, (x.shape[3] - columns) // 2
        return F.interpolate(x[..., top : top + rows, left : left + columns], x.shape[2:], mode="bilinear")

    words = f"{'wide' if ratio > 1 else 'tall'} files (width by height {own['aspect']:.2f}), squashed"
    yield Property("aspect", words, give, (lambda x, sign: give(x, -sign),))


def _median(values: Tensor) -> float:
    return float(values.median())


def _nearest(choices: Sequence[float], measured: Callable[[float], float], wanted: float) -> float:
    return min(choices, key=lambda choice: abs(measured(choice) - wanted))


kinds = (
    Kind(("brightness",), True, _brightness),
    Kind(("contrast",), True, _contrast),
    Kind(("red", "blue"), True, _cast),
    Kind(("red", "blue", "brightness", "contrast", "saturation"), True, _tinted, most=1.0, corners=0.66),
    Kind(("saturation",), True, _saturated),
    Kind(("sharpness",), False, _sharp, destroys=True),
    Kind(("noise",), True, _noisy, destroys=True),
    Kind(("rows", "columns"), False, _bordered),
    Kind(("blocks",), False, _compressed, destroys=True),
    Kind(("across", "down"), False, _placed),
    Kind(("size",), False, _enlarged, destroys=True),
    Kind(("aspect",), False, _stretched, squashed=True),
)
