"""`trust`: which heatmap methods can be trusted on this network, before anybody reads a heatmap."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from innersight.call import public
from innersight.errors import InnersightError, printable
from innersight.heads import readable
from innersight.heatmaps.engine import QUICK, SURE, unfit
from innersight.heatmaps.target import Classes, each, is_several
from innersight.image import ImageError, stack
from innersight.inputs import ImageReader, batched, chosen, count, repeatable
from innersight.model import Model
from innersight.trust.baselines import baselines
from innersight.trust.ground_truth import Sample, ground_truth
from innersight.trust.judge import Judged, judge
from innersight.trust.metrics import metrics
from innersight.trust.protocol import Protocol
from innersight.trust.request import CHUNK, TrustRequest, checked
from innersight.trust.result import Trust
from innersight.trust.wording import many
from innersight.trust.work import PassCount, Progress, changed, explaining, removing

POOL = 128
"""So many images are kept for the ground truths to make theirs of."""


@public()
def trust(
    model: Model,
    images: Any,
    methods: Sequence[str] | str = QUICK,
    *,
    target: Classes = None,
    protocol: Protocol | None = None,
    seed: int = 0,
    layer: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    regions: str | Path | None = None,
    shuffled_labels: Model | None = None,
    max_images: int | None = 32,
    progress: Progress | None = None,
) -> Trust:
    """Test which heatmap methods can be trusted on this network.

    Parameters
    ----------
    model
        The network.
    images
        Whatever holds images, see `innersight.inputs.entries`; what cannot be read is skipped and listed.
    methods
        Heatmap methods by name; "quick" for all that take at most 12 passes through the network for each image, "all"
        for every one that can read this network (without the extra `captum`).

        SmoothGrad, VarGrad, integrated gradients and occlusion are not quick: name them.
    target
        The class to explain; by default each image's predicted class.

        Or a list with one for each image, None for the predicted one.
    protocol
        How pixels are removed; by default 5 steps, filled in by a blurred copy. See `innersight.trust.Protocol`.
    seed
        Of everything that is random.
    layer
        Where class activation maps are read; by default the last layer with a grid.
    options
        Keyword arguments by method, as in `innersight.explain`.
    regions
        Where the class is seen: a CSV file of boxes (file,x0,y0,x1,y1) or a folder of masks.

        See `innersight.trust.read_regions`.
    shuffled_labels
        The same network trained on shuffled labels, for the data randomization test (Adebayo et al. 2018).
    max_images
        Draw so many images at random where there are more.

        None for all.
    progress
        Called with the number done, the total, and what is being done: forward passes of single images, over all
        images, methods and tests; the total is an estimate, at most what the methods take with their default options.

    Returns
    -------
    Trust
        The table, the tests, a verdict on every method, and a sentence for all.

    Raises
    ------
    InnersightError
        For unknown names, wrong boxes, and where no method can read this network.
    ImageError
        Where no image could be read.

    Notes
    -----
    Every method is compared with a random map, a centre-biased map, an edge map, and itself on the same network with
    shuffled weights, by insertion minus deletion: how the class's probability changes while pixels are removed and
    inserted in the order of the map (Petsiuk et al. 2018, arXiv:1806.07421); and with chance wherever a ground truth is
    known, see `innersight.trust.ground_truth`. `innersight.trust.metrics` has what else is measured. Batch norms of the
    network with shuffled weights measure their statistics on the first images, so these scores depend on them a little.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import Drawn
    >>> from innersight.trust import Protocol
    >>> found = ins.trust(ins.load("toon"), Drawn(per_class=1), ["gradcam"], max_images=2, protocol=Protocol(steps=2))
    >>> found.verdict("gradcam")
    'Grad-CAM: too few images to test significance: 8 needed, 2 given.'

    """
    protocol = protocol or Protocol()
    work = PassCount(progress)
    request = checked(model, methods, protocol, seed, layer, options, regions, shuffled_labels, work.add)
    if max_images is not None and max_images < 1:
        raise InnersightError(f"max_images={max_images}: give 1 or more")
    data = repeatable(images)
    given = count(data)
    classes = each(model, target, given)
    numbers = list(range(given))
    if max_images is not None and given > max_images:
        numbers = sorted(np.random.default_rng(seed).choice(given, max_images, replace=False).tolist())
    if request.regions is not None:
        files = (entry.path for entry in chosen(data, numbers))
        if not any(map(request.regions.covers, filter(None, files))):
            raise InnersightError(
                f"{printable(str(regions))} names none of the {len(numbers)} images; `file` is the end of "
                "an image's path, such as cats/7.jpg"
            )
    skipped: list[str] = []
    names: list[str] = []
    judged: list[Judged] = []
    kept: list[tuple[Tensor, Tensor]] = []
    doubts = 0
    norms: Tensor | None = None
    reading = ImageReader(data, model.input, numbers=numbers, required=False)
    for several in batched(reading.numbered(), CHUNK):
        loaded = [image for _, image in several]
        chosen_classes = [classes[number] for number, _ in several]
        own = torch.tensor([-1 if class_ is None else int(class_) for class_ in chosen_classes])
        x = stack(loaded, model.input)
        norms = x if norms is None else norms
        left = range(len(names) + len(skipped), len(numbers))
        work.expect(_passes(request, left, len(numbers)))
        with work.part(len(x) * explaining(request.methods), f"maps of {many(len(x), 'image')}"):
            found = request.explain(x, own)
        # Which methods can read the network is known by now.
        work.expect(_passes(request, left, len(numbers)) - len(x) * explaining(request.methods))
        if not request.methods:
            raise unfit(request.left_out)
        sure = readable(found.logits) & found.scores.isfinite()
        if not bool(sure.all()):
            skipped += [
                f"{image.name}: the network's own outputs are not numbers for this image"
                for image, good in zip(loaded, sure.tolist(), strict=True)
                if not good
            ]
            loaded, x = [p for p, good in zip(loaded, sure.tolist(), strict=True) if good], x[sure]
            if not loaded:
                continue
            found = request.explain(x, own[sure])
        judged += judge(request, loaded, x, found, norms, len(names), work)
        if len(names) < POOL:
            kept.append((x, model.probabilities(found.logits)))
        doubts += int((model.probabilities(found.logits).amax(1) < SURE).sum())
        names += [image.name for image in loaded]
    skipped = [*reading.skipped, *skipped]
    if not names:
        raise ImageError(skipped[0] if skipped else "no images given")
    if regions is not None and not any(one.marked for one in judged):
        raise InnersightError(
            f"{printable(str(regions))} has no region of the class in the part that the network sees, on any of the "
            f"{len(names)} images"
        )
    columns, chances = _columns(judged, len(request.methods) + len(list(baselines)))
    facts: dict[str, float] = {
        "given": given,
        "doubtful images": doubts,
        "marked images": sum(one.marked for one in judged),
    }
    remarks: list[str] = []
    sample = Sample(*(torch.cat(parts) for parts in zip(*kept, strict=True)))
    work.expect(sum(_made(request, name, len(names)) for name in ground_truth))
    for name in ground_truth:
        with work.part(_made(request, name, len(names)), f"ground truth ({name})"):
            made = ground_truth[name](request, sample)
        if made is not None:
            columns[name], chances[name] = made.values.double(), made.chance.double()
            remarks += [made.note] * bool(made.note)
    ways = [one.protocols for one in judged if one.protocols]
    return Trust(
        model,
        tuple(names),
        tuple(one.target for one in judged),
        request.methods,
        (*request.methods, *baselines),
        torch.stack([one.curves.deletion for one in judged]),
        torch.stack([one.curves.insertion for one in judged]),
        columns,
        chances,
        torch.stack([one.empty for one in judged]),
        {way: torch.stack([one[way] for one in ways]).double() for way in ways[0]},
        torch.stack([one.agreement for one in judged]).nanmean(0),
        {
            "steps": protocol.steps,
            "imputer": protocol.imputer,
            "secondary_images": protocol.secondary_images,
            "seed": seed,
            "layer": request.layer,
            "target": list(classes) if is_several(target) else classes[0],
            "regions": None if regions is None else str(regions),
            "shuffled_labels": None if shuffled_labels is None else shuffled_labels.name,
            "options": {name: dict(extra) for name, extra in (options or {}).items()},
        },
        facts,
        tuple(remarks),
        (*request.left_out.values(), *request.unknown),
        tuple(skipped),
        reading.notes,
    )


def _passes(request: TrustRequest, left: Sequence[int], images: int) -> int:
    """Return how many passes are expected for the numbers of the images left, and for the ground truths of all."""
    maps = len(request.methods) + len(list(baselines))
    own = len(left) * (explaining(request.methods) + changed(request))
    removed = sum(removing(request, maps, request.protocol.is_secondary(i)) for i in left)
    return own + removed + sum(_made(request, name, images) for name in ground_truth)


def _made(request: TrustRequest, name: str, images: int) -> int:
    """Return how many passes a ground truth takes at most."""
    made = ground_truth.entry(name).made
    return 0 if made is None else made(request, images) * explaining(request.methods)


def _columns(judged: Sequence[Judged], maps: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return every number (images, maps), NaN where an image has none, and what chance reaches (images,)."""
    none = torch.full((maps,), torch.nan)
    names = [name for name in metrics if any(name in one.numbers for one in judged)]
    columns = {name: torch.stack([one.numbers.get(name, none) for one in judged]).double() for name in names}
    known = [name for name in names if metrics.entry(name).chance]
    chances = {name: torch.tensor([one.chances.get(name, torch.nan) for one in judged]).double() for name in known}
    return columns, chances
