"""Warnings about the input contract, measured on real images: pixels in the wrong range, images cropped by a guess."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from innersight import measured, tap
from innersight.image import Image, stack
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.network import NetworkError

IMAGES = 8
BYTE = 1 / 255
OWN = "the stated ones, for pixels in 0..1"
# How far the size of what reaches a batch norm may be from what it is used to, as the logarithm of its square: images
# of EfficientNet-Lite0 and of the embedded network stay within 3.5, pixels in the wrong unit of 0..1 and 0..255 give 9.
FOREIGN, USUAL = 5.5, 3.5
# Between an image and one that is black or white the logits of trained networks differ by 20 to 180, by up to 5 where a
# network for 0..255 is fed 0..1. Those of one image differ by up to 100, in the reverse case by 360 to 9,000.
DEAF, LOUD, HEARD = 5.0, 250.0, (8.0, 150.0)
LOWEST = math.log(torch.finfo(torch.float32).tiny)
FLAT = 0.04  # standard deviation of the pixels, 0..1, of images from which nothing can be told


def unit_warnings(model: Model, x: Float[Tensor, "B C H W"]) -> tuple[str, ...]:
    """Return a warning where the network seems to be fed pixels in another range than it was trained on.

    x : network input of real images; the first call for a model measures, on its first 8 images, and later ones return
    the same. A network with a trained batch norm is judged by the values that reach the first of them, any other
    trained one by how much its logits differ between an image and its mean colour. It is only called wrong where the
    other range would fit.
    """
    return _unit_warnings(model, lambda: x)


def _unit_warnings(model: Model, x: Callable[[], Float[Tensor, "B C H W"]]) -> tuple[str, ...]:
    def measure() -> tuple[str, ...]:
        found = _unit(model, x()[:IMAGES].to(model.device, model.dtype))
        return () if found is None else (found,)

    return measured.once(model, "unit of pixels", measure)


class InputLook:
    """What of a model's input contract seems wrong, seen while images go by; nothing of them is held.

    sizes : how many images there were of each (height, width). unit : see `unit_warnings`; None before the first image.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.unit: tuple[str, ...] | None = None

    def add(self, x: Float[Tensor, "B C H W"], sizes: Iterable[tuple[int, int] | None]) -> None:
        """Take in a batch: network input, and the (height, width) of the images where they are known."""
        self.sizes.update(size for size in sizes if size is not None)
        if self.unit is None:
            self.unit = unit_warnings(self._model, x)

    def tensors(self) -> dict[str, Tensor]:
        """Return what was seen, to be kept."""
        rows = [[*size, count] for size, count in sorted(self.sizes.items())]
        found = {"sizes": torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)}
        if self.unit is not None:
            found["unit"] = torch.tensor(list("\n".join(self.unit).encode()), dtype=torch.uint8)
        return found

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Add what `tensors` returned, of later images; what is not there was not seen."""
        for height, width, count in tensors["sizes"].tolist() if "sizes" in tensors else ():
            self.sizes[height, width] += count
        if self.unit is None and "unit" in tensors:
            text = bytes(tensors["unit"].tolist()).decode()
            self.unit = tuple(text.split("\n")) if text else ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each thing that seems wrong."""
        return (*(self.unit or ()), *fit_warnings(self._model.input, self.sizes))


def fit_warnings(spec: InputSpec, sizes: Mapping[tuple[int, int], int]) -> tuple[str, ...]:
    """Return a warning where images are cropped or squashed by a guess; nothing where `fit` was stated.

    sizes : how many images there are of each (height, width).
    """
    if "fit" not in spec.guessed:
        return ()
    shapes = {size: size[1] / size[0] * spec.height / spec.width for size in sizes}
    other = {size: max(one, 1 / one) for size, one in shapes.items() if max(one, 1 / one) > 1.02}
    if not other:
        return ()
    count, most = sum(sizes[size] for size in other), max(other.values())
    many = f"{count:,} of {sum(sizes.values()):,} images {'is' if count == 1 else 'are'}"
    if spec.fit == "crop":
        return (
            f"{many} cropped to as little as {100 / most:.0f}% of the image, by a guess: set fit=squash to use "
            "the whole image, or fit=crop to confirm the crop",
        )
    return (
        f"{many} squashed by up to {most:.2g} times, by a guess: set fit=crop to keep the aspect ratio and use "
        "the centre, or fit=squash to confirm",
    )


def image_warnings(model: Model, images: Sequence[Image]) -> tuple[str, ...]:
    """Return both kinds of warnings for images that are held."""
    own = _unit_warnings(model, lambda: stack(images[:IMAGES], model.input))
    sizes = Counter((image.height, image.width) for image in images)
    return (*own, *fit_warnings(model.input, sizes))


@dataclass(frozen=True)
class _Unit:
    """Another way to feed a network. text : what it is, and what to type. unlikely : how much others go before it."""

    spec: InputSpec
    text: str
    unlikely: float


def _unit(model: Model, x: Float[Tensor, "B C H W"]) -> str | None:
    pixels = model.input.denormalise(x)
    contrast = pixels.float().std((2, 3)).mean(1)
    usable = contrast >= FLAT
    if not bool(x.isfinite().all()) or not bool(usable.any()):
        return None
    pixels = pixels[usable]
    with tap.untouched(model), torch.no_grad():
        found = tap.arriving(model, x[usable])
        if found is not None:
            return _by_norm(model, pixels, found)
        return _by_logits(model, pixels) if model.has_probabilities and _trained(model) else None


def _units(spec: InputSpec) -> Iterator[_Unit]:
    """Yield the ways to feed a network that frameworks use, apart from `spec`."""
    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ways: list[tuple[str, tuple[float, ...], tuple[float, ...]]] = [
        ("pixels in 0..255", (0.0,), (BYTE,)),
        ("pixels in 0..1", (0.0,), (1.0,)),
        ("pixels in -1..1", (0.5,), (0.5,)),
    ]
    if spec.channels == 3:
        ways += [("ImageNet's mean and deviation", *imagenet), ("ImageNet's mean, in 0..255", imagenet[0], (BYTE,))]
    if max(*map(abs, spec.mean), *spec.std) > 1.5:
        mean, std = (tuple(v / 255 for v in row) for row in (spec.mean, spec.std))
        ways.insert(0, (OWN, mean, std))
    for number, (name, mean, std) in enumerate(ways):
        other = replace(spec, mean=mean, std=std)
        if not all(math.isclose(a, b, rel_tol=0.02) for a, b in zip(other.std, spec.std, strict=True)):
            yield _Unit(
                other, f"MODEL?mean={_typed(mean)}&std={_typed(std)} ({name})", -100.0 if name == OWN else 0.5 * number
            )


def _typed(row: Sequence[float]) -> str:
    texts = [f"{value:.3g}" for value in row]
    return texts[0] if len(set(texts)) == 1 else ",".join(texts)


def _by_norm(model: Model, pixels: Tensor, own: tap.Arriving) -> str | None:
    """Judge by the values that reach the first batch norm."""
    size, spread = _foreign(own)
    if max(size, -spread) < FOREIGN:
        return None
    fitting: list[tuple[float, _Unit]] = []
    for unit in _units(model.input):
        with suppress(NetworkError):  # it may check what it is fed
            retried = tap.arriving(model, unit.spec.normalise(pixels))
            if retried is not None and max(*map(abs, _foreign(retried))) < USUAL:
                fitting.append((sum(map(abs, _foreign(retried))) + unit.unlikely, unit))
    if not fitting:
        return None
    times = math.exp(abs(size if size >= FOREIGN else spread) / 2)
    which = "larger" if size >= FOREIGN else "smaller"
    best = min(fitting, key=lambda pair: pair[0])[1]
    return (
        f"{own.layer}, the first batch norm, receives values about {times:.0f} times {which} than in training: the "
        f"pixels seem to be in the wrong range. Try {best.text}"
    )


def _foreign(found: tap.Arriving) -> tuple[float, float]:
    """Return the logarithm of how large what arrives is, around the mean it should have, and of how much it varies."""
    mean, var = found.used_to
    tiny = torch.finfo(var.dtype).tiny
    size = (found.var + (found.mean - mean).square() + tiny) / (var + tiny)
    return float(size.log().median()), float(((found.var + tiny) / (var + tiny)).log().median())


def _by_logits(model: Model, pixels: Tensor) -> str | None:
    """Judge by how far the logits of images are from those of their mean colours."""
    own = _scores(model, model.input, pixels)
    own_std = min(model.input.std)
    loud = own_std < 20 * BYTE and (own.range > LOUD or own.saturated)
    if not loud and own.apart >= DEAF:
        return None
    fitting: list[tuple[float, _Unit]] = []
    for unit in _units(model.input):
        times = min(unit.spec.std) / own_std
        if (times if loud else 1 / times) < 20:
            continue
        with suppress(NetworkError):
            retried = _scores(model, unit.spec, pixels)
            if HEARD[0] < retried.apart < HEARD[1] and not (loud and retried.saturated):
                fitting.append((abs(math.log(retried.apart / 50)) + unit.unlikely, unit))
    if not fitting:
        return None
    best = min(fitting, key=lambda pair: pair[0])[1]
    if loud:
        what = (
            "all probabilities are 0 or 1" if own.saturated else f"the logits of one image differ by {own.range:,.0f}"
        )
        return f"{what}: the pixels seem to be in the wrong range. Try {best.text}"
    return (
        f"the network hardly distinguishes an image from a black or white one (their logits differ by at most "
        f"{own.apart:.2g}): the pixels seem to be in the wrong range. Try {best.text}"
    )


@dataclass(frozen=True)
class _Scores:
    """What a network makes of images, and of black and white.

    apart : by how much the logits of an image differ from those of black and of white, at most. range : by how much
    those of one image do. saturated : whether all probabilities are 0 or 1, or every image has some that are exactly 0.
    """

    apart: float
    range: float
    saturated: bool


def _scores(model: Model, spec: InputSpec, pixels: Tensor) -> _Scores:
    ends = torch.cat([torch.zeros_like(pixels[:1]), torch.ones_like(pixels[:1])])
    scores = model.logits(spec.normalise(torch.cat([pixels, ends]))).float().nan_to_num()
    own = scores[:-2]
    probabilities = model.probabilities(own)
    certain = torch.maximum(probabilities, 1 - probabilities) > 1 - 1e-6
    # A head that takes the logarithm of probabilities gives this for those that are 0.
    none = (own - LOWEST).abs() < 1e-3
    return _Scores(
        float((own[:, None] - scores[-2:]).abs().max()),
        float((own.amax(1) - own.amin(1)).max()),
        bool(certain.all() or none.any(1).all()),
    )


def _trained(model: Model) -> bool:
    """Say whether some bias is none of those that layers begin with: all the same, tiny, or drawn within the bound."""
    for module in model.net.modules():
        parameters = dict(module.named_parameters(recurse=False))
        for name in ("bias", "beta"):
            bias = parameters.get(name)
            if bias is None or bias.numel() < 2 or not bias.is_floating_point():
                continue
            values = bias.detach().float()
            if float(values.abs().max()) < 1e-4 or bool((values == values[0]).all()):
                continue
            weight = parameters.get("weight")
            if weight is None or weight.ndim < 2:  # of norms, and of Keras, whose biases begin at zero
                return True
            bound = 1.001 / math.sqrt(weight[0].numel())  # of torch's own layers
            if float(values.abs().max()) > bound or float(weight.detach().float().abs().max()) > bound:
                return True
    return False
