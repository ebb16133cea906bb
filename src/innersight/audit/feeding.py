"""Other ways to feed a network than its input contract states, and what the network makes of them."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from innersight import tap
from innersight.audit.checks import NotCheckedError
from innersight.audit.subject import Subject
from innersight.input_spec import InputSpec
from innersight.inputs import ImageEntry, ImageReader, batched
from innersight.model import Model
from innersight.network import NetworkError

BATCH = 16
BYTE = 1 / 255
# Of frameworks and libraries: red, green and blue.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CAFFE = (123.68 / 255, 116.779 / 255, 103.939 / 255)
SIZES = (32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 240, 256, 288, 299, 320, 384, 448, 480, 512)
CROPS = (1.0, 0.95, 0.875)
CAP = 10.0  # of the distance of one unit


@dataclass(frozen=True)
class Way:
    """A way to feed a network.

    spec : mean and std in the order of the channels that it is fed. reversed : feed blue, green, red. text : what it
    is. kind : "own", "normalisation", "geometry" or "size".
    """

    spec: InputSpec
    reversed: bool
    text: str
    kind: str

    @property
    def geometry(self) -> tuple[int, int, str, float]:
        """What decides which pixels are read."""
        return self.spec.height, self.spec.width, self.spec.fit, self.spec.crop if self.spec.fit == "crop" else 1.0

    def cost(self, own: InputSpec) -> float:
        """Return how many passes of `own`'s size one costs."""
        return self.spec.height * self.spec.width / (own.height * own.width)

    def options(self, own: InputSpec) -> str:
        """Return what to type behind MODEL: the options in which it differs; "" where none does."""
        spec = self.spec
        mean, std = ((row[::-1] if self.reversed else row) for row in (spec.mean, spec.std))
        found = []
        if not _same((mean, std), (own.mean, own.std)):
            found += [f"mean={_typed(mean)}", f"std={_typed(std)}"]
        if (spec.height, spec.width) != (own.height, own.width):
            square = spec.height == spec.width
            found.append(f"size={spec.height}" if square else f"size={spec.height}x{spec.width}")
        if spec.fit != own.fit:
            found.append(f"fit={spec.fit}")
        if spec.fit == "crop" and spec.crop != own.crop:
            found.append(f"crop={spec.crop:g}")
        return f"?{'&'.join(found)}" if found else ""


def _typed(row: Sequence[float]) -> str:
    texts = [f"{value:.4g}" for value in row]
    return texts[0] if len(set(texts)) == 1 else ",".join(texts)


def _same(first: tuple[Sequence[float], Sequence[float]], second: tuple[Sequence[float], Sequence[float]]) -> bool:
    return all(
        math.isclose(a, b, rel_tol=0.02, abs_tol=0.005 * min(second[1]))
        for one, two in zip(first, second, strict=True)
        for a, b in zip(one, two, strict=True)
    )


def own_way(spec: InputSpec) -> Way:
    """Return the way that the input contract states."""
    return Way(spec, False, "as its input contract states", "own")


def normalisations(spec: InputSpec) -> list[Way]:
    """Return the usual ranges, means and orders of channels, apart from `spec`'s own."""
    one, zero = (1.0,) * spec.channels, (0.0,) * spec.channels
    half, quarter, byte = (0.5,) * spec.channels, (0.25,) * spec.channels, (BYTE,) * spec.channels
    known = [
        ("pixels in 0..1", zero, one),
        ("pixels in 0..255", zero, byte),
        ("pixels in -1..1", half, half),
        ("a mean of 0.5 and a deviation of 0.25", half, quarter),  # of networks that `innersight train` made
    ]
    if spec.channels == 3:
        known += [
            ("ImageNet's mean and deviation", *IMAGENET),
            ("CLIP's mean and deviation", *CLIP),
            ("pixels in 0..255 less ImageNet's mean", CAFFE, byte),
        ]
    if max(*map(abs, spec.mean), *spec.std) > 1.5:
        known.insert(0, ("its own mean and deviation, read as those of pixels in 0..255", *_scaled(spec)))
    found = [
        Way(replace(spec, mean=mean, std=std), False, text, "normalisation")
        for text, mean, std in known
        if not _same((mean, std), (spec.mean, spec.std))
    ]
    if spec.channels == 3:
        own = Way(spec, False, "", "normalisation")
        for way in [own, *found]:
            mean, std = way.spec.mean[::-1], way.spec.std[::-1]
            text = f"{way.text}, " if way.text else ""
            other = replace(way.spec, mean=mean, std=std)
            found.append(Way(other, True, f"{text}blue, green and red in place of red, green and blue", way.kind))
    return found


def _scaled(spec: InputSpec) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(v / 255 for v in spec.mean), tuple(v / 255 for v in spec.std)


def geometries(spec: InputSpec, shapes: Sequence[tuple[int, int]]) -> list[Way]:
    """Return other ways to fit images of some (height, width) into the network's input."""
    # Of images with the shape of the input the largest crop is the whole.
    stretched = any(abs(math.log(width / height * spec.height / spec.width)) > 0.02 for height, width in shapes)
    found = []
    if spec.fit == "crop" and (stretched or spec.crop < 1):
        found.append(Way(replace(spec, fit="squash"), False, "the whole image, squashed", "geometry"))
    for crop in CROPS:
        same = spec.fit == "crop" and math.isclose(spec.crop, crop, abs_tol=0.01)
        if not same and (stretched or spec.fit == "crop" or crop < 1):
            share = "the largest window" if crop == 1 else f"{crop:.0%} of the largest window"
            found.append(Way(replace(spec, fit="crop", crop=crop), False, f"{share} in the middle", "geometry"))
    return found


def sizes(spec: InputSpec, factors: Sequence[float] = (0.5, 0.7, 1.4, 2.0)) -> list[Way]:
    """Return usual sizes near some multiples of `spec`'s."""
    found = []
    for factor in factors:
        if spec.height == spec.width:
            side = min(SIZES, key=lambda usual: abs(math.log(usual / (spec.height * factor))))
            height = width = (
                side if abs(math.log(side / (spec.height * factor))) < 0.25 else round(spec.height * factor)
            )
        else:
            height, width = round(spec.height * factor), round(spec.width * factor)
        way = Way(replace(spec, height=height, width=width), False, f"images of {height} x {width} pixels", "size")
        if min(height, width) >= 16 and (height, width) != (spec.height, spec.width) and way not in found:
            found.append(way)
    return found


def between(spec: InputSpec, best: InputSpec) -> list[Way]:
    """Return the usual sizes next to a size that was tried, away from `spec`'s own."""
    near = [size for size in SIZES if 0.6 < size / best.height < 1.6 and size not in (best.height, spec.height)]
    near = [size for size in near if (size > spec.height) == (best.height > spec.height)]
    if spec.height != spec.width:
        return []
    return [Way(replace(spec, height=s, width=s), False, f"images of {s} x {s} pixels", "size") for s in near]


def scores(
    subject: Subject, ways: Sequence[Way], rows: Sequence[int], what: str
) -> list[Float[Tensor, "n classes"] | None]:
    """Return the network's scores for some images fed in each way; None for a way that it does not take.

    Images are read again in each geometry. An image of another size counts as many passes as it has more pixels.
    """
    found: list[list[Tensor] | None] = [[] for _ in ways]
    for group in _pixels(subject, ways, rows):
        with tap.untouched(subject.model), torch.no_grad():
            for number, way in enumerate(ways):
                own = found[number]
                if own is None:
                    continue
                x = fed(subject.model, way, group[way.geometry])
                subject.count(math.ceil(len(x) * way.cost(subject.model.input)), what)
                try:
                    own.append(subject.model.logits(x).float().cpu())
                except NetworkError:  # it takes no other size, or checks what it is fed
                    found[number] = None
    return [None if own is None else torch.cat(own).nan_to_num() for own in found]


def _pixels(
    subject: Subject, ways: Sequence[Way], rows: Sequence[int]
) -> Iterator[dict[tuple[int, int, str, float], Float[Tensor, "n C H W"]]]:
    specs = {way.geometry: way.spec for way in ways}
    numbers = [subject.table.numbers[i] for i in rows]
    reading = ImageReader(subject.images, subject.model.input, subject.model.labels, numbers=numbers)
    read = partial(_read, specs=list(specs.values()))
    for group in batched(reading.each(read, group_size=1), BATCH):
        yield {key: torch.stack([one[k] for one in group]) for k, key in enumerate(specs)}


def _read(entry: ImageEntry, specs: Sequence[InputSpec]) -> list[Tensor]:
    found = entry.load(specs[0])
    if found.network is not None:
        raise NotCheckedError("the images are network input that somebody else prepared")
    values = [np.asarray(found.values(spec)) for spec in specs]
    return [
        torch.from_numpy(v.astype(np.float32) / (255 if v.dtype == np.uint8 else 1)).permute(2, 0, 1) for v in values
    ]


def fed(model: Model, way: Way, pixels: Float[Tensor, "n C H W"]) -> Float[Tensor, "n C H W"]:
    """Return network input. pixels : in 0..1, as they are read."""
    own = pixels.flip(1) if way.reversed else pixels
    return way.spec.normalise(own).to(model.device, model.dtype).contiguous()


@dataclass(frozen=True)
class Arrival:
    """What reaches the first batch norm that was trained. distance : from what it is used to, 0 for the same."""

    layer: str
    distance: float


def arrivals(subject: Subject, ways: Sequence[Way], rows: Sequence[int]) -> list[Arrival | None]:
    """Return how far what reaches the first batch norm is from its running statistics, for ways of equal geometry.

    The divergence of Kullback and Leibler of two normal distributions, the mean over the units; None for a network
    without a trained batch norm. A pass that ends there counts as a tenth of one.
    """
    pixels = subject.pixels[list(rows)].float() / 255
    found: list[Arrival | None] = []
    with tap.untouched(subject.model), torch.no_grad():
        for way in ways:
            arrived = None
            with suppress(NetworkError):
                arrived = tap.arriving(subject.model, fed(subject.model, way, pixels))
            found.append(None if arrived is None else Arrival(arrived.layer, _distance(arrived)))
            subject.count(math.ceil(len(rows) / 10), "comparing with the batch norms")
    return found


def _distance(found: tap.Arriving) -> float:
    mean, var = found.used_to
    tiny = torch.finfo(var.dtype).tiny
    ratio = (found.var + tiny) / (var + tiny)
    shift = (found.mean - mean).square() / (var + tiny)
    each = 0.5 * (ratio + shift - 1 - ratio.log())
    return float(each.nan_to_num(CAP, CAP, CAP).clamp(0, CAP).mean())


def first_layer(model: Model) -> str | None:
    """Return the name of the first convolution of torch, the one that reads the image."""
    found = (name for name, module in model.net.named_modules() if isinstance(module, nn.Conv2d))
    return next(found, None)
