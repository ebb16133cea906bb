"""Patterns with what stands beside them, those on their way, and how well they explain units."""

import textwrap
from typing import TYPE_CHECKING, Any

import torch

from innersight.patterns.growth import PatternGrowth
from innersight.patterns.interpretability import Interpretability
from innersight.patterns.result import PatternProgress, Patterns
from innersight.patterns.score import Score
from innersight.render.colour import as_colour
from innersight.render.figures import image_grid, new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 28  # characters of a line of text above an image


@figures.register("Patterns")
def patterns(found: Patterns, *, columns: int = 8, transparent: bool = False) -> "Figure":
    """Draw the patterns with address, response and flags.

    With variants, negatives or examples these stand together: pattern, variants, negative, examples.

    Parameters
    ----------
    columns
        Images in a row at most.
    transparent
        Fade what did not change the response to white.

    """
    pixels = found.images
    if transparent:
        shown = found.importance.sqrt()[:, None]
        pixels = pixels * shown + (1 - shown)
    start = "a given image" if "init" in found.settings else "random pixels"
    title = f"{found.model.name}: patterns from {start}"
    captions = _captions(found)
    if found.negatives is None and not found.examples.numel() and found.variants == 1:
        return image_grid(_colour(found, pixels), captions, title=title, columns=columns)
    images, labels = [], []
    for i, caption in enumerate(captions):
        row = [pixels[i : i + 1]]
        labels.append(caption)
        if found.variants > 1:
            first = found.best[i] * found.variants
            row.append(found.every[i, first + 1 : first + found.variants])
            labels += [f"variant {number}" for number in range(2, found.variants + 1)]
        if found.negatives is not None:
            row.append(found.negatives.images[i : i + 1])
            labels.append(f"inhibits: {_caption(found.negatives.scores[i])}")
        if found.examples.numel():
            row.append(found.examples[i])
            own = found.natural[i]
            labels += [f"{one.value:.3g} in {_short(one.image)}" for one in own]
            labels += [""] * (found.examples.shape[1] - len(own))
        images.append(torch.cat(row))
    together = len(images[0])
    return image_grid(_colour(found, torch.cat(images)), labels, title=title, columns=columns, together=together)


@figures.register("Patterns on their way")
def pattern_progress(found: PatternProgress, *, columns: int = 8) -> "Figure":
    """Draw the images on their way, each under the text of its objective.

    Parameters
    ----------
    columns
        Images in a row at most.

    """
    rows = found.images()
    title = f"{found.model.name}: {found.done} of {found.total} finished"
    if not rows:
        return image_grid(torch.empty(0, 1, 1, 3).byte().numpy(), [], title=title, columns=columns)
    labels = [what for what, own in rows for _ in own]
    return image_grid(_colour(found, torch.cat([own for _, own in rows])), labels, title=title, columns=columns)


@figures.register("Growth of patterns")
def pattern_growth(found: PatternGrowth, *, stage: int | None = None, columns: int = 8) -> "Figure":
    """Draw a row for each pattern, from the first stage to the last.

    Parameters
    ----------
    stage
        Position of a stage, counted from 0: all patterns at this stage alone.
    columns
        Patterns in a row at most, of a single stage.

    """
    if stage is not None:
        labels = ["\n".join(textwrap.wrap(target, WIDTH)) for target in found.targets]
        title = f"{found.model.name}: {found.unit} {found.stages[stage]}"
        return image_grid(_colour(found, found.images[:, stage].float()), labels, title=title, columns=columns)
    labels = [f"{target}\n{found.unit} {number}" for target in found.targets for number in found.stages]
    title = f"{found.model.name}: how patterns arose"
    images = _colour(found, found.images.flatten(0, 1).float())
    return image_grid(images, labels, title=title, columns=len(found.stages))


@figures.register("Interpretability of units")
def interpretability(found: Interpretability) -> "Figure":
    """Draw the score of every unit with its interval, the highest first, against chance."""
    order = found.rank()
    figure = new_figure(max(4.0, 1.6 + 0.16 * len(order)), 3.2)
    axis = figure.subplots()
    score, low, high = (getattr(found, name)[order].numpy() for name in ("score", "low", "high"))
    places = range(len(order))
    axis.vlines(places, low, high, color="#9db4cc", linewidth=3)
    axis.plot(places, score, "o", color="#1f4e79", markersize=4)
    axis.axhline(0.5, color="#888", linewidth=0.8, linestyle="--")
    axis.text(1.0, 0.5, " chance", transform=axis.get_yaxis_transform(), va="center", fontsize=7, color="#666")
    axis.set(ylim=(-0.03, 1.03), xlim=(-0.8, max(1, len(order)) - 0.2), ylabel="share of tasks answered correctly")
    axis.set_xticks(list(places), [str(found.units[i]) for i in order], fontsize=6, rotation=90)
    axis.set_xlabel(f"unit of {found.layer}", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    left = len(found.unscored)
    unscored = f", {left} unit{'s' * (left > 1)} without a task" if left else ""
    title = f"Do the {found.by} predict what activates a unit?  {found.images} images{unscored}"
    axis.set_title(title, fontsize=9, loc="left")
    return figure


def _colour(found: Patterns | PatternProgress | PatternGrowth, images: torch.Tensor) -> Any:
    return as_colour(images, found.model.input.shown)


def _captions(found: Patterns) -> list[str]:
    judged = found.verdicts or (None,) * len(found.targets)
    rows = zip(found.targets, found.scores, judged, strict=True)
    return [
        "\n".join([*textwrap.wrap(str(target), WIDTH), _caption(score), *([f"judge: {verdict}"] if verdict else [])])
        for target, score, verdict in rows
    ]


def _caption(score: Score) -> str:
    """Return a response with its flags."""
    times = f", {score.ratio:.1f}x natural" if score.ratio is not None else ""
    flags = f"\n{', '.join(score.flags)}" if score.flags else ""
    return f"{score.activation:.3g}{times}{flags}"


def _short(name: str, length: int = 18) -> str:
    return name if len(name) <= length else "…" + name[1 - length :]
