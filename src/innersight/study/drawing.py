"""What the panels of patterns share: the settings of the drawing, the order of the units, and their sheets."""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from innersight.errors import InnersightError
from innersight.patterns import Patterns, patterns
from innersight.patterns.natural import FEWEST
from innersight.patterns.objectives import Target
from innersight.render.colour import as_colour
from innersight.render.sheets import colour_sheet
from innersight.storage.store import Item
from innersight.storage.study_folder import written_by_innersight
from innersight.study.context import StudyContext
from innersight.study.panel import Outcome
from innersight.study.plan import Plan
from innersight.study.reader import StudyReader
from innersight.study.scanned import scanned_files

CHUNK = 16
NATURAL = 0.5
MATCHED = 256  # images of the scan, at most, among which are those that natural patterns look like


def settings_of(context: StudyContext, layer: str = "") -> dict[str, Any]:
    """Return the settings that a pattern depends on, of a unit of this layer where it is one."""
    return {**context.about(layer), **pattern_options(context.plan, context.plan.steps)}


def passes_of(context: StudyContext, count: int, steps: int, layer: str | None = None) -> float:
    """Return about how many passes of one image through the network it takes to draw patterns.

    count : of them. layer : theirs; None for classes.
    """
    own, full = context.plan.size, context.model.input.height * context.model.input.width
    size = 1.0 if own is None else own * own / full
    # Windows of an early layer cost half; a backward pass takes as long as two.
    early = 0.5 if layer == context.plan.layers[0] else 1.0
    return 3 * count * context.plan.seeds * steps * size * early


def draw(context: StudyContext, what: Sequence[str | Target], steps: int, layer: str = "") -> Patterns:
    """Draw patterns with the settings of the study's plan. layer : theirs, where they are of units."""
    return patterns(
        context.model_of(layer),
        what,
        **pattern_options(context.plan, steps),
        images=context.images,
        progress=lambda state: context.progress(state.share),
    )


def pattern_options(plan: Plan, steps: int) -> dict[str, Any]:
    """Return the options that the plan draws patterns with, in so many steps at most."""
    return {"steps": steps, "size": plan.size, "seed": plan.seed, "seeds": plan.seeds, "growth": True}


def kept(found: Patterns) -> Outcome:
    """Return the scores, settings and images of patterns, and how they arose, as an item holds them."""
    settings = {key: value for key, value in found.settings.items() if key not in ("views", "statistics")}
    document: dict[str, Any] = {"score": [score.to_json() for score in found.scores], "settings": settings}
    tensors = {"images": found.images}
    if found.growth is not None:
        # Every second stage is kept, those after a power of two updates: what is between them looks like them.
        stages = found.growth.stages
        last = len(stages) - 1
        shown = [i for i, stage in enumerate(stages) if i == last or stage & (stage - 1) == 0]
        document["stages"] = [stages[i] for i in shown]
        tensors["growth"] = (found.growth.images[:, shown].float() * 255).round().byte()
    return document, tensors


def natural(context: StudyContext, what: Sequence[str | Target], steps: int) -> Outcome:
    """Return patterns that look like the images scanned into the study that excite them; nothing without a scan."""
    files = scanned_files(context.store, context.permit, context.base["model"], MATCHED, context.plan.seed)
    if len(files) < FEWEST:
        return {}, {}
    options = {**pattern_options(context.plan, steps), "seeds": 1, "growth": False, "natural": NATURAL}
    found = patterns(context.model, what, **options, images=list(files))
    return {"natural": [score.to_json() for score in found.scores]}, {"natural": found.images}


def ranked(context: StudyContext, layer: str) -> list[int]:
    """Return a layer's units in the order in which they are drawn: compare's ranking, else the highest peak first."""
    compared, stored = context.item("compare", layer), context.item("activations", layer)
    with written_by_innersight(f"{context.store.folder}, the ranking of {layer}"):
        if compared:
            return [int(row["unit"]) for row in compared.document["rank"]]
        if stored is None:
            raise InnersightError(f"{context.store.folder}: the maps of {layer} are missing; run the study again")
        return stored.tensors()["activations"].amax((0, 2, 3)).argsort(descending=True, stable=True).tolist()


def joined(reader: StudyReader, files: Path, parts: Sequence[Item]) -> dict[str, Any] | None:
    """Return the patterns of several items as one sheet with its scores; None where there are none."""
    if not parts:
        return None
    images = torch.cat([part.tensors()["images"] for part in parts])
    rows: dict[str, Any] = {
        key: [entry for part in parts for entry in part.document[key]]
        for key in ("units", "classes", "labels", "score")
        if key in parts[0].document
    }
    # One that was requested may have become part of the plan since.
    names = rows.get("units") or rows["classes"]
    first = [i for i, name in enumerate(names) if name not in names[:i]]
    return {
        "sheet": colour_sheet(files, as_colour(images[first], reader.shown)),
        "others": _others(parts, files, reader.shown, first),
        "growth": _growth(parts, files, reader.shown, first),
        "natural": _natural(parts, files, reader.shown, first),
        "settings": parts[0].document["settings"],
        **{key: [entries[i] for i in first] for key, entries in rows.items()},
    }


def _others(parts: Sequence[Item], files: Path, shown: Sequence[int], first: Sequence[int]) -> dict[str, Any] | None:
    """Return the patterns of the seeds that are not shown: `each` for every unit, in the order of the units."""
    found = [tensors["others"] for part in parts if "others" in (tensors := part.tensors())]
    if not found:
        return None
    images = torch.cat(found)[first]
    return {"sheet": colour_sheet(files, as_colour(images.flatten(0, 1), shown)), "each": images.shape[1]}


def _growth(parts: Sequence[Item], files: Path, shown: Sequence[int], first: Sequence[int]) -> dict[str, Any] | None:
    """Return the patterns at the stages of the part that took longest: `stages` of every unit, in their order."""
    each = [[int(stage) for stage in part.document.get("stages", ())] for part in parts]
    if not all(each):
        return None
    stages = max(each, key=lambda own: own[-1])
    rows = []
    for part, own in zip(parts, each, strict=True):
        growth = part.tensors()["growth"]
        if growth.shape[1] != len(own):
            raise ValueError(f"{growth.shape[1]} images of {len(own)} stages")
        rows.append(growth[:, [bisect_right(own, stage) - 1 for stage in stages]])
    images = torch.cat(rows)[first].flatten(0, 1).float() / 255
    return {"sheet": colour_sheet(files, as_colour(images, shown)), "stages": stages}


def _natural(parts: Sequence[Item], files: Path, shown: Sequence[int], first: Sequence[int]) -> dict[str, Any] | None:
    """Return the natural patterns of several items with their scores; None where one of them has none."""
    scores = [part.document.get("natural") for part in parts]
    if not all(scores):
        return None
    images = torch.cat([part.tensors()["natural"] for part in parts])[first]
    known = [score for own in scores for score in own or ()]
    return {"sheet": colour_sheet(files, as_colour(images, shown)), "score": [known[i] for i in first]}
