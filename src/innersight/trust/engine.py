"""`trust`: which heatmap methods may be believed on this network, before anybody reads a heatmap."""

from collections.abc import Callable, Mapping, Sequence
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
from innersight.trust.judge import Judged, judge
from innersight.trust.metrics import metrics
from innersight.trust.request import CHUNK, checked
from innersight.trust.result import Trust
from innersight.trust.truths import Seen, truths

POOL = 128
"""So many images are kept for the truths to make theirs of."""

Watch = Callable[[int, int, str], None]


@public()
def trust(
    model: Model,
    images: Any,
    methods: Sequence[str] | str = QUICK,
    *,
    target: Classes = None,
    steps: int = 10,
    baseline: str = "blur",
    seed: int = 0,
    layer: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    regions: str | Path | None = None,
    against: Model | None = None,
    most: int | None = 32,
    watch: Watch | None = None,
) -> Trust:
    """Return how far heatmap methods can be believed on this network, beside maps that know nothing of it.

    Every method is held against a random map, the centre, the edges, and itself on the same network with shuffled
    weights, by how well the order it gives the pixels foretells what the class's probability loses (deletion and
    insertion, Petsiuk et al. 2018, arXiv:1806.07421); and, where there is a truth, against chance: see `trust.truths`.
    `trust.metrics` has what else is measured. The order of methods is compared over protocols.

    images : whatever holds images, see `innersight.inputs.entries`; what cannot be read is skipped and
    listed. methods : names; "quick"
    for all that take few passes, "all" for every one that can read this network (without the extra `captum`). target :
    a class for all, or a list of one for each, None for its predicted class, which is the default. steps : in how many
    portions the pixels go. baseline : what takes the place of removed pixels; see `trust.replacements`. seed : of all
    that is random. layer, options : as
    in `explain`. regions : a CSV file of boxes or a folder of masks, see `read_regions`. against : the same network
    trained on shuffled labels, for the label-randomization test (Adebayo et al. 2018). most : images drawn at random
    where there are more; None for all. watch : called with (done, total, what). The norms of the network with shuffled
    weights are measured on the first images, so what is measured of it depends on them a little.

    Raises InnersightError for unknown names and wrong boxes, and ImageError when no image could be read.
    """
    asked = checked(model, methods, steps, baseline, seed, layer, options, regions, against)
    if most is not None and most < 1:
        raise InnersightError(f"most={most}: give a number of images of 1 or more")
    data = repeatable(images)
    given = count(data)
    classes = each(model, target, given)
    numbers = list(range(given))
    if most is not None and given > most:
        numbers = sorted(np.random.default_rng(seed).choice(given, most, replace=False).tolist())
    if asked.regions is not None:
        files = (entry.path for entry in chosen(data, numbers))
        if not any(map(asked.regions.covers, filter(None, files))):
            raise InnersightError(
                f"{printable(str(regions))} names none of the {len(numbers)} images; `file` is the end of a "
                "image's path, such as cats/7.jpg"
            )
    skipped: list[str] = []
    names: list[str] = []
    judged: list[Judged] = []
    kept: list[tuple[Tensor, Tensor]] = []
    doubts = 0
    norms: Tensor | None = None
    reading = ImageReader(data, model.input, numbers=numbers, required=False)
    for several in batched(reading.numbered(), CHUNK):
        _tell(watch, len(names), len(numbers), "images")
        loaded = [image for _, image in several]
        asking = [classes[number] for number, _ in several]
        own = torch.tensor([-1 if class_ is None else int(class_) for class_ in asking])
        x = stack(loaded, model.input)
        norms = x if norms is None else norms
        found = asked.answers(x, own)
        if not asked.methods:
            raise unfit(asked.left_out)
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
            found = asked.answers(x, own[sure])
        judged += judge(asked, loaded, x, found, norms, len(names))
        if len(names) < POOL:
            kept.append((x, model.probabilities(found.logits)))
        doubts += int((model.probabilities(found.logits).amax(1) < SURE).sum())
        names += [image.name for image in loaded]
    skipped = [*reading.skipped, *skipped]
    if not names:
        raise ImageError(skipped[0] if skipped else "no images given")
    if regions is not None and not any("mass" in one.numbers for one in judged):
        raise InnersightError(
            f"{printable(str(regions))} has no region of the class asked about, in the part that the network sees, on "
            f"any of the {len(names)} images"
        )
    columns, chances = _columns(judged, len(asked.methods) + len(list(baselines)))
    facts: dict[str, float] = {"given": given, "doubtful images": doubts}
    seen = Seen(*(torch.cat(parts) for parts in zip(*kept, strict=True)))
    known = list(truths)
    for number, name in enumerate(known):
        _tell(watch, number, len(known), f"truths ({name})")
        made = truths[name](asked, seen)
        if made is not None:
            columns[name], chances[name] = made.values.double(), made.chance.double()
            facts |= made.facts
    ways = [one.protocols for one in judged if one.protocols]
    return Trust(
        model,
        tuple(names),
        tuple(one.target for one in judged),
        asked.methods,
        (*asked.methods, *baselines),
        torch.stack([one.curves.deletion for one in judged]),
        torch.stack([one.curves.insertion for one in judged]),
        columns,
        chances,
        torch.stack([one.empty for one in judged]),
        {way: torch.stack([one[way] for one in ways]).double() for way in ways[0]},
        torch.stack([one.agreement for one in judged]).nanmean(0),
        {
            "steps": steps,
            "baseline": baseline,
            "seed": seed,
            "layer": asked.layer,
            "target": list(classes) if is_several(target) else classes[0],
            "regions": None if regions is None else str(regions),
            "against": None if against is None else against.name,
            "options": {name: dict(extra) for name, extra in (options or {}).items()},
        },
        facts,
        (*asked.left_out.values(), *asked.unknown),
        tuple(skipped),
        reading.notes,
    )


def _tell(watch: Watch | None, done: int, total: int, what: str) -> None:
    if watch is not None:
        watch(done, total, what)


def _columns(judged: Sequence[Judged], maps: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return every number (images, maps), NaN where an image has none, and what chance reaches (images,)."""
    none = torch.full((maps,), torch.nan)
    names = [name for name in metrics if any(name in one.numbers for one in judged)]
    columns = {name: torch.stack([one.numbers.get(name, none) for one in judged]).double() for name in names}
    known = [name for name in judged[0].chances if name in columns]
    return columns, {name: torch.tensor([one.chances[name] for one in judged]).double() for name in known}
