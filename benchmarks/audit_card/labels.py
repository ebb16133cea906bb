"""Wrong labels, as many in training as in the audited folder: how far ahead are they in what is listed?"""

import json
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

import innersight as ins
from benchmarks.audit_card.cases import (
    FIRST_HONEST,
    HONEST,
    LEARNED,
    chosen_labels,
    made,
    paths_of,
    taken,
    trained,
    write_images,
)
from benchmarks.audit_card.outcome import Figure, Outcome, audited, lines, path_of
from benchmarks.audit_card.pool import CLASSES, PER_CLASS, TRAIN, Pixels
from benchmarks.audit_card.training import fed, keep

NETWORKS, EACH, WRONG, FIRST = 5, 160, 0.05, 50


def jobs(quick: bool) -> list[tuple[int]]:
    """Return the seed of every network."""
    return [(seed,) for seed in range(100, 100 + (1 if quick else NETWORKS))]


def judge(seed: int) -> Outcome:
    """Train and audit with wrong labels; compare the order of what is listed with the truth."""
    folder = made(f"labels-{seed}", partial(_make, seed), __file__)
    truth = json.loads((folder / "truth.json").read_text())
    wrong = set(truth["wrong"])
    found = audited(ins.load(f"run:{folder / 'run'}"), folder / "images", ["label"])
    said = [one for one in found.findings if one.check == "label"]
    listed = [path_of(path) for one in said for path in one.images]
    numbers = {"accuracy": truth["accuracy"], "wrong": len(wrong), "listed": len(listed)}
    numbers |= {"precision": float(np.mean([path in wrong for path in listed[:FIRST]])) if listed else 0.0}
    # Where nothing is said all are alike.
    ranks = {path_of(path): -i for one in said for i, path in enumerate(one.ranking)}
    every = truth["paths"]
    numbers["auroc"] = _auroc([ranks.get(path, -len(every)) for path in every], [path in wrong for path in every])
    numbers |= _cleanlab(folder, every, wrong)
    return Outcome(
        "labels", "wrong labels", seed, f"{len(wrong)} of {len(every)} labels", None, "", lines(said), numbers=numbers
    )


def _make(seed: int, folder: Path) -> None:
    labels = chosen_labels(seed)
    dice = np.random.default_rng((seed, 8))
    learned, _ = _mislabelled(taken(labels, 0, TRAIN, LEARNED, seed), dice)
    honest = taken(labels, FIRST_HONEST, PER_CLASS, HONEST, seed)
    net, accuracy = trained(learned, seed, honest)
    audited, moved = _mislabelled(taken(labels, TRAIN, FIRST_HONEST, EACH, seed), dice)
    keep(folder / "run", net, labels)
    write_images(folder / "images", labels, list(audited), seed)
    paths = paths_of(labels, [EACH] * CLASSES, seed)
    wrong = [paths[k][i] for k, i in moved]
    every = [path for own in paths for path in own]
    (folder / "truth.json").write_text(json.dumps({"accuracy": accuracy, "wrong": wrong, "paths": every}))


def _mislabelled(images: Pixels, dice: np.random.Generator) -> tuple[Pixels, list[tuple[int, int]]]:
    """Exchange images of different classes (classes, count, ...), so that counts stay; return which are wrong now."""
    classes, count = images.shape[:2]
    changed = images.copy()
    while True:
        chosen = dice.choice(classes * count, round(WRONG * classes * count), replace=False)
        # Sorted by class, first half and second half in turn: neighbours are of different classes, or nearly always.
        order = chosen[np.argsort(chosen // count, kind="stable")]
        half = (len(order) + 1) // 2
        chosen = np.stack([order[:half], np.resize(order[half:], half)], 1).ravel()[: len(order)]
        to = np.roll(chosen, 1)
        if (chosen // count != to // count).all():
            break
    changed[to // count, to % count] = images[chosen // count, chosen % count]
    return changed, [(int(i // count), int(i % count)) for i in to]


def _auroc(scores: Sequence[float], truth: Sequence[bool]) -> float:
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

    return float(roc_auc_score(truth, scores))


def _cleanlab(folder: Path, every: Sequence[str], wrong: set[str]) -> dict[str, float]:
    """Return the same figures of cleanlab, on the network's own probabilities; nothing where it is not installed."""
    if find_spec("cleanlab") is None:
        return {}
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from PIL import Image as PILImage

    model = ins.load(f"run:{folder / 'run'}")
    pixels = np.stack([np.asarray(PILImage.open(folder / "images" / path)) for path in every])
    with torch.no_grad():
        parts = [model.net(fed(part)).softmax(1) for part in torch.from_numpy(pixels).split(256)]
    probabilities = torch.cat(parts).numpy()
    given = np.array([model.labels.index(path.split("/")[0]) for path in every])
    quality = get_label_quality_scores(given, probabilities)
    # In this process: its own ones do not work in a worker's.
    issues = find_label_issues(given, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    first = [every[i] in wrong for i in issues[:FIRST]]
    auroc = _auroc([-float(q) for q in quality], [path in wrong for path in every])
    return {"cleanlab_auroc": auroc, "cleanlab_precision": float(np.mean(first))}


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return the lines of the card: means over the networks."""
    found = []
    for name, what, target in (
        ("auroc", "5% wrong labels: AUROC", "0.95"),
        ("precision", f"the same: precision among the first {FIRST}", "0.8"),
        ("cleanlab_auroc", "the same by cleanlab from the network's probabilities: AUROC", ""),
        ("cleanlab_precision", f"the same by cleanlab: precision among the first {FIRST}", ""),
    ):
        values = [one.numbers[name] for one in outcomes if name in one.numbers]
        if values:
            found.append(Figure(what, target, f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"))
    return found
