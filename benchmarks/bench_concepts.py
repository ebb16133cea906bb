"""Concepts: are they the parts of characters, are they stable, do they explain the score, and what do they cost?"""

import time
from functools import cache, partial

import numpy as np
import skimage.data
import torch
from jaxtyping import Float, UInt8
from sklearn.decomposition import NMF
from torch import Tensor

import innersight as ins
from benchmarks import concept_parts
from benchmarks.concept_parts import Read
from benchmarks.networks import efficientnet
from benchmarks.timing import Row
from innersight import tap
from innersight.concepts.contribution import rebuilt_share
from innersight.factorizations import Factorization, fit, solve_nonnegative, stability
from innersight.inputs import ImageReader, network_input
from innersight.model import Model
from innersight.statistics import bootstrap
from innersight.toons import Drawn
from innersight.vectors import VectorSample, sample

PARTS_COUNT, COUNT, VECTORS = 32, 16, 20_000
TOONS = Drawn(100, seed=concept_parts.FIT_SEED)
"""What concepts are fitted to; the judged drawings are others."""
LATE = ("blocks.6", "bn2")
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cat", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field",
    "immunohistochemistry", "moon", "retina", "rocket",
)  # fmt: skip
CROPS = 500


def measure() -> list[Row]:
    toon, net = ins.load("toon"), efficientnet()
    photographs = crops()
    rows = [_parts(toon, layer, centred=centred) for layer in ("stage3", "stage4") for centred in (False, True)]
    rows += [_stable(toon, TOONS, layer) for layer in ("stage3", "stage4")]
    rows += [_stable(net, photographs, "blocks.6")]
    rows += [_complete(toon, TOONS, Drawn(20, seed=concept_parts.JUDGED_SEED), "stage4", "0.9")]
    rows += [_complete(net, photographs, crops(seed=1, number=100), layer, "0.8") for layer in LATE]
    return [*rows, *(_time(net, photographs, layer) for layer in LATE)]


def crops(seed: int = 0, number: int = CROPS) -> UInt8[np.ndarray, "n 224 224 3"]:
    """Return random crops of scikit-image's photographs, a third to all of their shorter side, at 224 px."""
    random = np.random.default_rng(seed)
    found = []
    for i in range(number):
        whole = _photograph(PHOTOGRAPHS[i % len(PHOTOGRAPHS)])
        side = int(min(whole.shape[:2]) * random.uniform(1 / 3, 1))
        y, x = (random.integers(extent - side + 1) for extent in whole.shape[:2])
        at = torch.from_numpy(np.ascontiguousarray(whole[y : y + side, x : x + side])).permute(2, 0, 1)[None].float()
        small = torch.nn.functional.interpolate(at, (224, 224), mode="bilinear", antialias=True)[0]
        found.append(small.permute(1, 2, 0).round().to(torch.uint8).numpy())
    return np.stack(found)


@cache
def _photograph(name: str) -> UInt8[np.ndarray, "h w 3"]:
    whole = getattr(skimage.data, name)()
    return np.stack([whole] * 3, 2) if whole.ndim == 2 else whole[..., :3]


def _parts(model: Model, layer: str, *, centred: bool) -> Row:
    fitting, judged = (
        concept_parts.drawings(model, layer, seed, centred=centred)
        for seed in (concept_parts.FIT_SEED, concept_parts.JUDGED_SEED)
    )
    of = concept_parts.parts(judged.shows)
    drawn = sample(model, TOONS, layer, count=VECTORS)
    units = drawn.vectors.shape[1]
    readers: dict[str, Read] = {
        "innersight": fit(drawn.vectors, "nmf", PARTS_COUNT).encode,
        "innersight, seminmf": fit(drawn.vectors, "seminmf", PARTS_COUNT).encode,
        "innersight, kmeans": fit(drawn.vectors, "kmeans", PARTS_COUNT).encode,
        "innersight, pca": fit(drawn.vectors, "pca", PARTS_COUNT).encode,
        "innersight, sae": fit(drawn.vectors, "sae", PARTS_COUNT).encode,
        "plain NMF of 20 drawings a class": _plain(fitting.vectors),
        f"all {units} units": lambda vectors: vectors,
        f"{PARTS_COUNT} units": lambda vectors: vectors[:, concept_parts.some(units, PARTS_COUNT, 0)],
        f"{PARTS_COUNT} random directions": partial(torch.matmul, other=_directions(units)),
    }
    found = {name: concept_parts.overlaps(read, fitting, judged, of)[0] for name, read in readers.items()}
    said = (
        "; ".join(
            f"{name} less {label} {_interval(found[name] - found[other])}"
            for name in ("innersight", "innersight, seminmf")
            for other, label in ((f"all {units} units", "units"), ("plain NMF of 20 drawings a class", "plain"))
        )
        .replace("innersight, ", "")
        .replace("innersight", "nmf")
    )
    where = "cells around the middles of receptive fields" if centred else "cells of the image"
    what = (
        f"IoU of the best of {PARTS_COUNT} concepts with each of {len(of)} parts of characters, toon, {layer}, {where}"
    )
    return _row(f"{what}; {said}", found, "0.35, clear of units" if layer == "stage4" else "")


def _plain(vectors: Float[Tensor, "n units"]) -> Read:
    """Return how much of each concept is in vectors, by what one writes in a notebook."""
    directions = torch.from_numpy(
        NMF(PARTS_COUNT, init="nndsvda", max_iter=400, tol=1e-3).fit(vectors.numpy()).components_
    )
    return lambda some: solve_nonnegative(some, directions / directions.norm(dim=1, keepdim=True))


def _directions(units: int) -> Float[Tensor, "units count"]:
    return torch.randn(units, PARTS_COUNT, generator=torch.Generator().manual_seed(0))


def _row(what: str, found: dict[str, Float[np.ndarray, " n"]], target: str, unit: str = "") -> Row:
    """Return means and, as what stands behind +-, half of their 95% intervals."""
    means = {name: float(np.mean(values)) for name, values in found.items()}
    spread = {}
    for name, values in found.items():
        low, high = bootstrap(values) or (0.0, 0.0)
        spread[name] = (high - low) / 2 / max(abs(means[name]), 1e-9)
    return Row(what, means, spread, target, unit)


def _interval(values: Float[np.ndarray, " n"]) -> str:
    low, high = bootstrap(values) or (0.0, 0.0)
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def _stable(model: Model, images: object, layer: str) -> Row:
    drawn = sample(model, images, layer, count=VECTORS)
    values: dict[str, Float[np.ndarray, " concepts"]] = {}
    for name, by in {"innersight": "nmf", "seminmf": "seminmf", "kmeans": "kmeans"}.items():
        found = stability(drawn.vectors, fit(drawn.vectors, by, COUNT), groups=drawn.image)
        values |= {name: found.seeds.double().numpy(), f"{by}, halves of the images": found.halves.double().numpy()}
    what = f"Matched cosine of {COUNT} concepts (nmf), {model.name}, {layer}, 5 seeds"
    return _row(what, values, "0.9, halves 0.9")


def _complete(model: Model, images: object, judged: object, layer: str, target: str) -> Row:
    drawn = sample(model, images, layer, count=VECTORS)
    kinds = {"innersight": "nmf", "seminmf": "seminmf", "kmeans": "kmeans", "pca": "pca", "sae": "sae"}
    found = {name: explained_share(model, judged, fit(drawn.vectors, by, COUNT), layer) for name, by in kinds.items()}
    what = f"Share of the predicted logit, above that of a layer of zeros, that {COUNT} concepts explain"
    return _row(f"{what}, {model.name}, {layer}", found, target)


def explained_share(model: Model, images: object, concepts: Factorization, layer: str) -> Float[np.ndarray, " n"]:
    """Return for each image (logit(rebuilt) - logit(zeros)) / (logit - logit(zeros)), of the predicted class."""
    found = []
    with tap.untouched(model), torch.no_grad():
        for loaded in ImageReader(images, model.input, model.labels).batches(32):
            x = network_input(loaded, model)
            found.append(rebuilt_share(model, x, concepts, layer, model.logits(x).argmax(1)))
    return torch.cat(found).double().numpy()


def _time(model: Model, images: np.ndarray, layer: str) -> Row:
    """Time everything once: a pass, sampling, the fit, and the whole call, each after the other."""
    seconds: dict[str, float] = {}
    _forward(model, images[:32])

    def took(name: str, start: float) -> None:
        seconds[name] = time.perf_counter() - start

    start = time.perf_counter()
    _forward(model, images)
    took("bare pass", start)
    start = time.perf_counter()
    drawn: VectorSample = sample(model, images, layer, count=VECTORS)
    took("of this the sample", start)
    start = time.perf_counter()
    fit(drawn.vectors, "nmf", COUNT)
    took("of this one factorization", start)
    start = time.perf_counter()
    ins.concepts(model, images, layer, count=COUNT)
    took("innersight", start)
    start = time.perf_counter()
    _notebook(model, images, layer)
    took("notebook: hook, all vectors, sklearn's NMF, one pass for each concept removed", start)
    ordered = {"innersight": seconds.pop("innersight"), **seconds}
    what = f"{COUNT} concepts of {CROPS} crops of photographs, {model.name}, {layer}, once"
    return Row(what, ordered, dict.fromkeys(ordered, 0.0), "three bare passes, and a factorization under 60 s")


def _forward(model: Model, images: np.ndarray) -> None:
    with tap.untouched(model), torch.inference_mode():
        for loaded in ImageReader(images, model.input, model.labels).batches(32):
            model.net(network_input(loaded, model).to(memory_format=torch.channels_last))


def _notebook(model: Model, images: np.ndarray, layer: str) -> list[Tensor]:
    """Return how the logits of 64 images change with each concept removed, by what one writes in a notebook."""
    kept: list[Tensor] = []
    module = dict(model.net.named_modules())[layer]
    handle = module.register_forward_hook(lambda _m, _i, output: kept.append(output.detach()))
    _forward(model, images)
    handle.remove()
    maps = torch.cat(kept)
    vectors = maps.permute(0, 2, 3, 1).flatten(0, 2).clamp(min=0)
    solver = NMF(COUNT, init="nndsvda", max_iter=200)
    codes = torch.from_numpy(solver.fit_transform(vectors.numpy()))
    directions = torch.from_numpy(solver.components_)
    changes = []
    locations = maps.shape[2] * maps.shape[3]
    for concept in range(COUNT):
        part = (codes[: 64 * locations, concept, None] * directions[concept]).reshape(64, *maps.shape[2:], -1)
        handle = module.register_forward_hook(
            lambda _m, _i, output, part=part: output - part.permute(0, 3, 1, 2)[: len(output)]
        )
        with tap.untouched(model), torch.inference_mode():
            loaded = next(iter(ImageReader(images, model.input, model.labels).batches(64)))
            changes.append(model.net(network_input(loaded, model)))
        handle.remove()
    return changes
