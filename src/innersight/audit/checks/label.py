"""Images that are probably labelled wrongly."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from innersight.ambient import kept_random
from innersight.audit.checks import NotCheckedError, Report, checks
from innersight.audit.checks.leak import compared
from innersight.audit.copies import groups
from innersight.audit.finding import Effect, Finding, Proof
from innersight.audit.subject import Subject
from innersight.train.split import learned_by

FOLDS = 5
DIRECTIONS = 64  # principal ones of the features that the classifier of the cross-validation sees
FEWEST = 10  # images of a class, copies apart, from which the cross-validation learns it
STRENGTH = 1.0  # of the classifier's fit against its regularisation
# How much more probable than the label, as a logarithm, another class is that is less so than for its own images.
CLEAR = np.log(10)
LEAST = 1e-4  # a probability counts as no less
MANY = 0.25  # of the labels; where more are contradicted, the classifier is at fault
SHOWN = 24
LIMITS = (
    "What is listed is a suspicion: docs/audit.md states how many of the first 50 are wrong on toons with 5% wrong "
    "labels. Labels that are wrong in the same way for many images, such as two classes exchanged, look right."
)


@checks.register(
    "Wrong labels", order=40, limits=LIMITS, labelled=True, source="https://arxiv.org/abs/1911.00068"
)  # fmt: skip
def label(subject: Subject) -> Report:
    """List images whose label is improbable, by probabilities of networks that were not trained on them.

    Confident learning (Northcutt et al. 2021): an image is listed where another class is at least as probable as it is
    for the images of that class, and more than its own; or ten times as probable as its own. Probabilities are the
    network's own, unless it was trained on the image, and those of a logistic regression on its features that learned
    from the other images.
    """
    trained = _trained(subject)
    probabilities, how = out_of_sample(subject, trained)
    rows, others = suspects(subject, probabilities)
    known = int((subject.table.classes >= 0).sum())
    looked = f"{known:,} labels, by {how}"
    limits = ""
    if not trained.any() and subject.train is None and subject.model.run is None:
        limits = (
            "Whether the network was trained on these images is not known: if it was, wrong labels that it has learned "
            "by heart are missed; give the training images with --train."
        )
    if len(rows) > MANY * known:
        limits = f"The probabilities contradict {len(rows) / known:.0%} of the labels: too poor to doubt any."
        return Report([], looked, limits)
    if not rows:
        return Report([], looked, limits)
    names = subject.model.labels
    classes = subject.table.classes.tolist()
    captions = [f"labelled {names[classes[i]]}, seen as {names[k]}" for i, k in zip(rows, others, strict=True)]
    pairs = Counter(captions).most_common(3)
    listed = ", ".join(f"{count} {text}" for text, count in pairs) + " and others" * (len(set(captions)) > 3)
    finding = Finding(
        "label",
        None,
        f"{len(rows):,} of {known:,} labels are probably wrong: {listed}",
        False,
        Effect(len(rows) / known, unit="share of the labels"),
        images=subject.named(rows),
        images_total=len(rows),
        next="Look at the images, the most suspicious first, and correct the labels",
        proof=Proof(subject.shown(subject.pixels[rows[:SHOWN]]), (None,) * len(rows[:SHOWN]), tuple(captions[:SHOWN])),
        ranking=subject.named(_ranked(subject, probabilities, rows)),
    )
    return Report([finding], looked, limits)


def _trained(subject: Subject) -> Bool[np.ndarray, " n"]:
    """Return which images the network is known to have been trained on."""
    learned = learned_by(subject.model.run)
    found = np.array([digest in learned for digest in subject.table.digests])
    if subject.train is not None:
        found[[int(row[0]) for row in compared(subject)[0]["leaks"]]] = True
    return found


def out_of_sample(subject: Subject, trained: Bool[np.ndarray, " n"]) -> tuple[Float[np.ndarray, "n classes"], str]:
    """Return probabilities of every class from what was not trained on the image, and how they were made, in words.

    Raises NotCheckedError where there are none.
    """
    own = (
        subject.model.probabilities(subject.table.logits).double().numpy() if subject.model.has_probabilities else None
    )
    crossed = subject.once("label cross-validation", lambda: _crossed(subject))
    if crossed is None:
        if own is None or trained.all():
            raise NotCheckedError(f"needs two classes with {FEWEST} images or more")
        return own, "the network's own probabilities"
    validated = "cross-validation of a logistic regression on its features"
    if own is None or trained.all():
        return crossed, validated
    both = np.sqrt(np.maximum(own, LEAST) * np.maximum(crossed, LEAST))
    if subject.model.head.link == "softmax":
        both /= both.sum(1, keepdims=True)
    both[trained] = crossed[trained]
    rest = " for images that it was not trained on" if trained.any() else ""
    return both, f"the network's own probabilities{rest} and {validated}"


def _crossed(subject: Subject) -> Float[np.ndarray, "n classes"] | None:
    """Return probabilities by cross-validation; copies and near-duplicates are in one fold. None for too few images."""
    with kept_random():
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedGroupKFold

    classes = subject.table.classes.numpy()
    together = np.array(groups(subject.table.hashes[:, 0], subject.table.digests))
    distinct = {number: len(set(together[classes == number])) for number in np.unique(classes[classes >= 0]).tolist()}
    large = [number for number, count in distinct.items() if count >= FEWEST]
    learns = np.isin(classes, large)
    if len(large) < 2:
        return None
    subject.progress(0, "cross-validating the labels")
    values = _directions(subject.table.features)
    if not values.shape[1]:
        # All images are alike to the network: nothing can be learned from them.
        return None
    found = np.zeros((len(classes), len(subject.model.labels)))
    rows = np.flatnonzero(learns)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=subject.seed)
    # Images of classes too small to be learned, and unlabelled ones, are judged by the last fold.
    for fitting, judged in folds.split(values[rows], classes[rows], together[rows]):
        fitted = LogisticRegression(C=STRENGTH, max_iter=300).fit(values[rows[fitting]], classes[rows[fitting]])
        for part in (rows[judged], np.flatnonzero(~learns)):
            if len(part):
                found[np.ix_(part, fitted.classes_)] = fitted.predict_proba(values[part])
    return found


def _directions(features: Float[Tensor, "n units"]) -> Float[np.ndarray, "n d"]:
    """Return the principal components of the standardised features, each scaled like the first."""
    values = features.double()
    values = (values - values.mean(0)) / values.std(0).clamp_min(1e-9)
    left, size, _ = torch.linalg.svd(values, full_matrices=False)
    kept = min(DIRECTIONS, int((size > 1e-6 * size[0]).sum()))
    scaled: Float[np.ndarray, "n d"] = (left[:, :kept] * size[:kept] / size[0] * len(values) ** 0.5).numpy()
    return scaled


def doubts(subject: Subject, probabilities: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, " n"]:
    """Return how much more probable another class is than the label, as a logarithm; -inf without a label."""
    rows, classes = np.arange(len(probabilities)), subject.table.classes.numpy()
    logs = np.log(np.maximum(probabilities, LEAST))
    own = logs[rows, np.maximum(classes, 0)].copy()
    logs[rows, np.maximum(classes, 0)] = -np.inf
    best = logs.max(1) if logs.shape[1] > 1 else np.zeros(len(logs))
    return np.where(classes >= 0, best - own, -np.inf)


def _ranked(subject: Subject, probabilities: Float[np.ndarray, "n classes"], listed: Sequence[int]) -> list[int]:
    """Return all images with a label: those that are listed, then the others by how much they are doubted."""
    doubt = doubts(subject, probabilities)
    rest = set(np.flatnonzero((subject.table.classes >= 0).numpy()).tolist()) - set(listed)
    return [*listed, *sorted(rest, key=lambda i: (-doubt[i], i))]


def suspects(subject: Subject, probabilities: Float[np.ndarray, "n classes"]) -> tuple[list[int], list[int]]:
    """Return images whose label is probably wrong, the most suspicious first, and the class that each is seen as."""
    classes = subject.table.classes.numpy()
    doubt = doubts(subject, probabilities)
    bounds = _bounds(probabilities, classes)
    exceeding = np.where(probabilities >= bounds, probabilities, -1.0)
    seen: Int[np.ndarray, " n"] = exceeding.argmax(1)
    listed = (exceeding.max(1) > 0) & (seen != classes) & (doubt > 0)
    clear = ~listed & (doubt > CLEAR)
    seen[clear] = probabilities[clear].argmax(1)
    listed = (classes >= 0) & (listed | clear)
    if subject.model.head.link == "sigmoid":
        # Several classes may be right: the label is doubted only where its own score is against it.
        listed &= probabilities[np.arange(len(classes)), np.maximum(classes, 0)] < 0.5
    order: Sequence[int] = sorted(np.flatnonzero(listed).tolist(), key=lambda i: (-doubt[i], i))
    return list(order), seen[list(order)].tolist()


def _bounds(probabilities: Float[np.ndarray, "n classes"], classes: Int[np.ndarray, " n"]) -> Float[np.ndarray, " c"]:
    """Return how probable each class is on average for its images; for classes without any, the mean of the others."""
    found = np.full(probabilities.shape[1], np.nan)
    for number in np.unique(classes[classes >= 0]).tolist():
        found[number] = probabilities[classes == number, number].mean()
    return np.where(np.isnan(found), np.nanmean(found), found)
