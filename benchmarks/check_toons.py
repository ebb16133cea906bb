"""Can toons be told by their colours, or by small patches in any order? Measured on fresh drawings.

    python -m benchmarks.check_toons                  # 4,000 drawings to learn from, 1,000 others to be judged on
    python -m benchmarks.check_toons 50 20 shuffled   # 50 and 20 of each character, of shuffled colours only
    python -m benchmarks.check_toons network          # toon and toon:robust on fresh drawings, changed by attacks too

Colours: histograms of red, green and blue together, with 4, 6 or 8 steps each. Patches: every second 9x9 patch goes to
the nearest of 400 that k-means found, as it is or without its mean and contrast, in colour or grey; an image is how
often each occurs. Logistic regression and trees classify; the best of all counts. Attacks are 10 steps of projected
gradient ascent, see innersight/train/robust.py.
"""

import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

import innersight as ins
from innersight.statistics import wilson
from innersight.toons import CLASSES, Drawn
from innersight.train.robust import hardest

Pixels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float64]
PATCH, STRIDE, WORDS, LEARNED = 9, 2, 400, 100_000
FRESH = 1_000_000
"""Seed of the first drawing that judges."""


def drawings(per_class: int, seed: int, colours: str) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Return the pixels of drawings, (n, 96, 96, 3), and their characters as numbers (n)."""
    drawn = Drawn(per_class, seed=seed, colours=colours)
    pixels = np.stack([drawn[i]["image"] for i in range(len(drawn))])
    return pixels, np.repeat(np.arange(len(CLASSES)), per_class)


def colour_histograms(pixels: Pixels, steps: int) -> Features:
    """Return the root of the share of every colour, (n, steps ** 3)."""
    level = pixels.astype(np.int64) * steps // 256
    code = (level @ np.array((steps**2, steps, 1))).reshape(len(pixels), -1)
    return np.sqrt(np.stack([np.bincount(row, minlength=steps**3) for row in code]) / code.shape[1])


def patches(pixels: Pixels, *, grey: bool, plain: bool) -> Tensor:
    """Return the patches of one image, (n, values); without `plain` less their mean, at a contrast of one."""
    image = torch.from_numpy(pixels).float().movedim(-1, 0)[None] / 255
    found = F.unfold(image.mean(1, keepdim=True) if grey else image, PATCH, stride=STRIDE)[0].T
    if plain:
        return found
    found = found - found.mean(1, keepdim=True)
    return found / (found.square().mean(1, keepdim=True) + 1e-3).sqrt()


def patch_bags(train: Pixels, fresh: Pixels, *, grey: bool, plain: bool) -> tuple[Features, Features]:
    """Return how often each word occurs in every image of both sets; words are learned from the first."""
    dice = np.random.default_rng(0)
    learned = []
    for one in train[dice.permutation(len(train))[:1000]]:
        found = patches(one, grey=grey, plain=plain)
        learned.append(found[dice.permutation(len(found))[: LEARNED // 1000]])
    sample = torch.cat(learned).numpy()
    means = MiniBatchKMeans(WORDS, batch_size=4096, n_init=1, random_state=0).fit(sample)
    words = torch.from_numpy(means.cluster_centers_).float()
    nearest = (torch.cdist(patches(one, grey=grey, plain=plain), words).argmin(1).numpy() for one in (*train, *fresh))
    rows = np.stack([np.sqrt(np.bincount(row, minlength=WORDS) / len(row)) for row in nearest])
    return rows[: len(train)], rows[len(train) :]


def described(train: Pixels, fresh: Pixels) -> Iterator[tuple[str, str, Features, Features]]:
    """Yield what is described, how, and the features of both sets."""
    for steps in (4, 6, 8):
        yield "colours", f"{steps} steps", colour_histograms(train, steps), colour_histograms(fresh, steps)
    for grey in (False, True):
        for plain in (True, False):
            kind = f"{'grey' if grey else 'colour'}, {'as they are' if plain else 'normalized'}"
            yield "patches", kind, *patch_bags(train, fresh, grey=grey, plain=plain)


def accuracies(
    train: Features, labels: npt.NDArray[np.int64], fresh: Features, truth: npt.NDArray[np.int64]
) -> dict[str, int]:
    """Return how many fresh images each classifier names."""
    kinds = {
        f"logistic regression C={c:g}": make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
        for c in (0.01, 0.1)
    } | {"trees": ExtraTreesClassifier(300, random_state=0)}
    return {name: int((kind.fit(train, labels).predict(fresh) == truth).sum()) for name, kind in kinds.items()}


def check(colours: str, *, per_class: int = 400, judged: int = 100) -> dict[str, int]:
    """Print every accuracy; return how many fresh images the best of colours and of patches name."""
    (train, labels), (fresh, truth) = drawings(per_class, 0, colours), drawings(judged, FRESH, colours)
    best: dict[str, int] = {}
    for what, how, *features in described(train, fresh):
        for name, right in accuracies(features[0], labels, features[1], truth).items():
            print(f"  {what}, {how}, {name}: {right / len(truth):.3f}", flush=True)
            best[what] = max(best.get(what, 0), right)
    for what, right in best.items():
        low, high = wilson(right, len(truth))
        print(f"{colours} colours, best by {what}: {right / len(truth):.3f} ({low:.3f} to {high:.3f})", flush=True)
    return best


def network(name: str, *, judged: int = 100, attacked: int = 30) -> dict[tuple[str, float], int]:
    """Print and return how many fresh images a network names, by their colours and the size of changes."""
    model, found = ins.load(name), {}
    for colours in ("own", "shuffled"):
        for size, count in ((0.0, judged), (1.5, attacked), (3.0, attacked)):
            pixels, truth = drawings(count, FRESH, colours)
            images = (torch.from_numpy(pixels).float() / 255).movedim(-1, 1)
            targets = torch.tensor([model.class_index(label) for label in CLASSES])[truth]
            dice, right = torch.Generator().manual_seed(0), 0
            for image, target in zip(images.split(100), targets.split(100), strict=True):
                shown = hardest(model.net, model.input, image, target, size, dice, steps=10) if size else image
                with torch.no_grad():
                    right += int((model.logits(model.input.normalise(shown)).argmax(1) == target).sum())
            low, high = wilson(right, len(targets))
            found[colours, size] = right
            share = f"{right / len(targets):.3f} of {len(targets)} ({low:.3f} to {high:.3f})"
            print(f"{name}, {colours} colours, changes of L2 size {size:g}: {share}", flush=True)
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["network"]:
        for embedded in ("toon", "toon:robust"):
            network(embedded)
        sys.exit()
    counts = [int(word) for word in sys.argv[1:3]]
    for kind in sys.argv[3:] or ("own", "shuffled"):
        check(kind, **dict(zip(("per_class", "judged"), counts, strict=False)))
