"""`concepts`: one pass to sample a layer, one for examples, and a few images on which concepts are measured."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight import tap
from innersight.ablation import Ablation
from innersight.ablation.engine import changes, check_finite
from innersight.activations import BATCH
from innersight.call import public
from innersight.concepts.contribution import Contributions, contribute, rebuilt_share
from innersight.concepts.keep import ConceptKeep
from innersight.concepts.result import Concepts
from innersight.dissection import Dissection, WordLabels, dissect, label
from innersight.dissection.masked import MasksGiven, brings_masks
from innersight.dissection.words import Encode
from innersight.errors import InnersightError, printable, whole
from innersight.factorizations import Choice, Factorization, choose_count, explained, factorizations, fit, stability
from innersight.inputs import ImageReader, network_input, repeatable
from innersight.layers import check_layers, default_layers, has_grid, last_rectified
from innersight.model import Model
from innersight.scan import scan
from innersight.tap import ConceptLayer
from innersight.vectors import VectorSample, sample

VECTORS = 20_000
EXAMPLES = 9
MEASURED = 64
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
ProgressCallback = Callable[[int, int, str], None]


@public()
def concepts(
    model: Model,
    images: Any,
    layer: str | None = None,
    *,
    by: str = "nmf",
    count: int | str = 16,
    name: str | None = None,
    masks: MasksGiven = None,
    words: tuple[Sequence[str], Encode] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> Concepts:
    """Find the concepts of a layer: directions in the space of its units, which many images share.

    Afterwards `LAYER~NAME:7` is an address like that of a unit: give the result to any function as `concepts=`.

    Parameters
    ----------
    model
        The network, see `innersight.load`.
    images
        Anything that holds images, see `innersight.inputs.entries`.
    layer
        Name of the layer; when None the last one with locations whose activations are not negative, or, in a network
        without such, the last one that reaches the class.
    by
        How the layer is factorized, see `innersight list factorizations`.
    count
        How many concepts; "auto" chooses among 4 to 64 by held-out reconstruction and stability, see
        `innersight.factorizations.choose_count`.
    name
        Of the set, in addresses: letters, digits, - and _. The name of the factorization when None.
    masks
        Masks of parts, by which concepts are labelled; see `innersight.dissect`. Those of a data set whose entries
        have `masks` are used when neither these nor `words` are given.
    words
        Words, and an encoder that knows them, by which concepts are labelled; see `innersight.dissection.label`.
    seed
        Of the sample and the factorization.
    out
        Folder of a study, in which the concepts are kept, so that its pages show them and commands with `--study` know
        their addresses.
    overwrite
        Replace a set of the same name in `out`.
    progress
        Called with the number of images done, the total (0 while unknown), and what is being done.

    Returns
    -------
    Concepts
        The directions, and for each concept examples, what it contributes to classes, how stable it is and its label.

    Raises
    ------
    InnersightError
        For an unknown layer or factorization, fewer images or vectors than concepts, a layer that gives nothing, a name
        that cannot stand in an address, both `masks` and `words`, and a set of that name in `out`.
    ImageError
        When no image could be read.

    Notes
    -----
    One pass draws 20,000 activation vectors at random, which are factorized; one finds the images and locations where
    each concept is strongest. On up to 64 images, spread over the classes they are predicted as, each concept is
    removed (ablation), and its contribution to the predicted class is integrated, see `contribute`. Labels take one or
    two passes more. The groups of Olah et al. 2018 (The Building Blocks of Interpretability,
    doi:10.23915/distill.00010) are those of `nmf`.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import Drawn
    >>> model, images = ins.load("toon"), Drawn(per_class=2)
    >>> found = ins.concepts(model, images, layer="stage4", count=8)
    >>> found.address, len(found.factorization.directions)
    ('stage4~nmf', 8)
    >>> ins.activations(model, images, "stage4~nmf", concepts=found).values["stage4~nmf"].shape
    torch.Size([20, 8, 12, 12])

    """
    where = layer or (last_rectified(model) if has_grid(model) else default_layers(model)[-1])
    (described,) = check_layers(model, [where])
    if described.role == "concept":
        raise InnersightError(f"{where} is a set of concepts: name the layer they were found in, or another one")
    named, number = _named(by, name), _count(count)
    if masks is not None and words is not None:
        raise InnersightError("concepts are labelled by masks= or by words=, not by both")
    report = progress or (lambda done, total, text: None)
    data = repeatable(images)
    keep = None if out is None else ConceptKeep.open(out, model, where, named, overwrite=overwrite)
    drawn = sample(model, data, where, count=VECTORS, seed=seed, progress=lambda n, t, _: report(n, t, "sampling"))
    report(0, 0, "factorizing")
    fitted, table = _fitted(drawn, by, number, seed)
    # Before the other passes: where halves of the images have too few vectors, nothing more is to be done.
    report(0, 0, "testing stability")
    stable = stability(drawn.vectors, fitted, groups=drawn.image)
    layered = model.with_concepts(_One(ConceptLayer.of(named, where, fitted)))
    address = f"{where}~{named}"
    seen = scan(layered, data, [address], examples=EXAMPLES, progress=lambda n, t, _: report(n, t, "finding examples"))
    removed, contributed, covered = _measured(
        layered, data, drawn, fitted, address, lambda n, t: report(n, t, "measuring effects")
    )
    labelled: Dissection | WordLabels | None = None
    if masks is not None or (words is None and described.grid != (1, 1) and brings_masks(data)):
        labelled = dissect(layered, data, masks, [address], progress=lambda n, t, _: report(n, t, "labelling"))
    elif words is not None:
        labelled = label(layered, data, *words, [address], progress=lambda n, t, _: report(n, t, "labelling"))
    found = Concepts(
        model, model.digest(concepts=False), where, named, fitted,
        scan=seen,
        ablation=removed,
        contributions=contributed,
        covered=covered,
        stability=stable,
        variance=explained(fitted, drawn.vectors),
        counts=table,
        labels=labelled,
        vectors=len(drawn),
        skipped=drawn.skipped,
        notes=(*drawn.notes, *fitted.notes, *removed.notes),
        warnings=drawn.warnings,
    )  # fmt: skip
    if keep is not None:
        keep.put(found)
    return found


@dataclass(frozen=True, eq=False)
class _One:
    """One set of concepts."""

    layer: ConceptLayer

    def inserted(self) -> tuple[ConceptLayer]:
        return (self.layer,)


def _named(by: str, name: str | None) -> str:
    factorizations.entry(by)
    if name is not None and not _NAME.fullmatch(name):
        raise InnersightError(
            f"name={printable(name)!r} cannot stand in an address: give a letter, then up to 39 letters, digits, - or _"
        )
    return name or by


def _count(count: int | str) -> int | None:
    """Return how many concepts; None for "auto"."""
    number = whole(count) if isinstance(count, str) else count
    if count != "auto" and (number is None or number < 1):
        raise InnersightError(f"count={printable(str(count))}: give a number from 1 on, or auto")
    return number


def _fitted(drawn: VectorSample, by: str, count: int | None, seed: int) -> tuple[Factorization, tuple[Choice, ...]]:
    if drawn.images < 2:
        raise InnersightError("one image was read: concepts are what several images share, so give more")
    table: tuple[Choice, ...] = ()
    if count is None:
        count, table = choose_count(drawn.vectors, by, groups=drawn.image, seed=seed)
    return fit(drawn.vectors, by, count, seed=seed), table


def _spread(predicted: Int[Tensor, " images"], limit: int) -> list[int]:
    """Return rows of images, up to a limit, in turn of each class; rising.

    >>> _spread(torch.tensor([0, 0, 0, 5, 5, 2]), 4)
    [0, 1, 3, 5]
    """
    turn = [int((predicted[:row] == predicted[row]).sum()) for row in range(len(predicted))]
    order = sorted(range(len(predicted)), key=lambda row: (turn[row], row))
    return sorted(order[:limit])


def _measured(
    model: Model,
    data: Any,
    drawn: VectorSample,
    fitted: Factorization,
    address: str,
    report: Callable[[int, int], None],
) -> tuple[Ablation, Contributions, Float[Tensor, " images"]]:
    """Return the effects of concepts on some images, and how much of each score their reconstruction keeps."""
    finite = drawn.logits.isfinite().all(1).nonzero()[:, 0]
    if not len(finite):
        raise InnersightError(f"the class scores of {model.name} are not finite for any image")
    rows = finite[_spread(drawn.predicted[finite], MEASURED)].tolist()
    reading = ImageReader(data, model.input, model.labels, numbers=[drawn.numbers[row] for row in rows])
    names: list[str] = []
    change, logits, closed, parts, covered = [], [], [], [], []
    with tap.untouched(model):
        for loaded in reading.batches(BATCH):
            names += [printable(one.entry.name) for one in loaded]
            x = network_input(loaded, model)
            suffix = tap.resume(model, x, address)
            own, affine = changes(suffix)
            change.append(own)
            closed.append(affine)
            logits.append(suffix.output.float().cpu())
            parts.append(contribute(suffix, suffix.output.argmax(1)))
            covered.append(rebuilt_share(model, x, fitted, drawn.layer, parts[-1].classes))
            report(len(names), len(rows))
    effects, scores = torch.cat(change), torch.cat(logits)
    check_finite(address, effects, scores)
    left_out = len(drawn.predicted) - len(finite)
    notes = (f"no effects were measured on {left_out} images whose class scores are not finite",) if left_out else ()
    removed = Ablation(model, address, tuple(names), effects, scores, "zero", all(closed), (), reading.skipped, notes)
    return removed, Contributions.joined(parts), torch.cat(covered)
