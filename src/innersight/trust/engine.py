"""`trust`: which heatmap methods may be believed on this network, against maps that know nothing of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from innersight import tap
from innersight.errors import InnersightError
from innersight.files import batches, expand, reader
from innersight.heatmaps.engine import answer, options_of
from innersight.heatmaps.request import layer_of
from innersight.heatmaps.target import Target, class_target
from innersight.image import Picture, PictureError, stack
from innersight.layers import check_layers, last_grid
from innersight.model import Model
from innersight.render import figures
from innersight.statistics import bootstrap, fewest, holm, sign_flip
from innersight.trust.baselines import baselines
from innersight.trust.faithfulness import curves, emptier, ranking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHUNK = 16
LEVEL = 0.05


@dataclass(frozen=True)
class Score:
    """How faithful one kind of map is: insertion minus deletion area, -1 to 1, mean over the pictures.

    interval : 95% bootstrap interval of the mean, None for a single picture. empty : pictures on which the map ranks
    nothing (constant, or not numbers), so that its pixels were ranked at random.
    """

    name: str
    mean: float
    interval: tuple[float, float] | None
    empty: int


@dataclass(frozen=True)
class Versus:
    """A method against a baseline map on the same pictures.

    difference : mean of the method's score minus the baseline's. p : two-sided sign-flip test, after Holm's correction
    for all comparisons of the result.
    """

    method: str
    baseline: str
    difference: float
    p: float


@dataclass(frozen=True, eq=False)
class Trust:
    """Faithfulness of heatmap methods and of baseline maps on the same pictures.

    pictures : their names. targets : class number per picture. maps : names, methods first, then baselines.
    deletion, insertion : (pictures, maps, steps + 1) float32, the target's probability. scores : (pictures, maps).
    empty : (pictures, maps) bool, see `Score`. settings : everything that reproduces them. skipped : one sentence for
    each file that could not be read.
    """

    model: Model
    pictures: tuple[str, ...]
    targets: tuple[int, ...]
    methods: tuple[str, ...]
    maps: tuple[str, ...]
    deletion: Tensor
    insertion: Tensor
    scores: Tensor
    empty: Tensor
    settings: dict[str, Any]
    skipped: tuple[str, ...]

    def table(self) -> tuple[Score, ...]:
        """Return the score of every method and baseline, in the order of `maps`."""
        return tuple(
            Score(name, float(column.mean()), bootstrap(column.numpy()), int(self.empty[:, i].sum()))
            for i, (name, column) in enumerate(zip(self.maps, self.scores.double().T, strict=True))
        )

    def versus(self) -> tuple[Versus, ...]:
        """Return every method against every baseline."""
        column = dict(zip(self.maps, self.scores.double().T, strict=True))
        pairs = [(method, name) for method in self.methods for name in self.maps[len(self.methods) :]]
        differences = [(column[method] - column[name]).numpy() for method, name in pairs]
        adjusted = holm([sign_flip(difference) for difference in differences])
        return tuple(
            Versus(method, name, float(difference.mean()), p)
            for (method, name), difference, p in zip(pairs, differences, adjusted, strict=True)
        )

    def verdict(self, method: str) -> str:
        """Say in plain words what the comparisons allow to say about a method."""
        rows = [row for row in self.versus() if row.method == method]
        if not rows:
            raise InnersightError(f"{method!r} was not tested; choose from: {', '.join(self.methods)}")
        count, empty = len(self.pictures), int(self.empty[:, self.maps.index(method)].sum())
        if empty == count:
            return f"{method}: no verdict, it was empty on all {_many(count)}."
        tail = f" {empty} of its {count} maps were empty and count as a random order." if empty else ""
        needed = fewest(len(self.methods) * len(rows), level=LEVEL)
        if count < needed:
            return f"{method}: no verdict from {_many(count)}; this table takes {needed} or more.{tail}"
        better = _join([row.baseline for row in rows if row.p <= LEVEL and row.difference > 0], "and")
        worse = _join([row.baseline for row in rows if row.p <= LEVEL and row.difference < 0], "and")
        unclear = _join([row.baseline for row in rows if row.p > LEVEL], "or")
        said = [f"better than {better}"] * bool(better) + [f"worse than {worse}"] * bool(worse)
        said += [f"not distinguishable from {unclear}"] * bool(unclear)
        return f"{method} is {', but '.join([', '.join(said[:-1])] * (len(said) > 1) + said[-1:])}.{tail}"

    def verdicts(self) -> tuple[str, ...]:
        """Return one plain sentence per method."""
        return tuple(self.verdict(method) for method in self.methods)

    @property
    def note(self) -> str:
        """How it was measured."""
        full, nothing = float(self.insertion[:, 0, -1].mean()), float(self.insertion[:, 0, 0].mean())
        into = {"blur": "a blurred copy", "mean": "the picture's mean colour"}[self.settings["baseline"]]
        survives = " Most of the class survives that, so the scores say little: try the other baseline."
        weak = survives if nothing > full / 2 else ""
        tests = len(self.methods) * (len(self.maps) - len(self.methods))
        left = f" {_many(len(self.skipped), 'file')} could not be read." if self.skipped else ""
        return (
            f"{_many(len(self.pictures))}, {self.settings['steps']} steps, removed pixels replaced by {into}: that "
            f"takes the class's mean probability from {full:.2f} to {nothing:.2f}.{weak} Score: area under "
            f"insertion minus area under deletion of that probability, mean over pictures with its 95% bootstrap "
            f"interval. Verdicts: paired sign-flip tests at level {LEVEL}, Holm-corrected for {tests} comparisons. "
            f"Class activation maps are read at {self.settings['layer']}. Not tested: the same methods on random "
            f"weights.{left}"
        )

    def figure(self) -> "Figure":
        """Draw the scores with their intervals, the mean curves, and the verdicts."""
        return _draw(self)

    def to_json(self) -> dict[str, Any]:
        """Return the table, the comparisons, the verdicts and the per-picture scores."""
        return {
            "model": self.model.name,
            "settings": self.settings,
            "note": self.note,
            "verdicts": {method: self.verdict(method) for method in self.methods},
            "table": [
                {**vars(row), "kind": "method" if row.name in self.methods else "baseline"} for row in self.table()
            ],
            "versus": [vars(row) for row in self.versus()],
            "pictures": [
                {"name": name, "target": self.model.labels[target], "scores": dict(zip(self.maps, scores, strict=True))}
                for name, target, scores in zip(self.pictures, self.targets, self.scores.tolist(), strict=True)
            ],
            "skipped": list(self.skipped),
        }  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        """Return curves, scores and empty maps; columns in the order of `maps`."""
        return {"deletion": self.deletion, "insertion": self.insertion, "scores": self.scores, "empty": self.empty}

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())


def trust(
    model: Model,
    pictures: "Iterable[str | Path | Picture] | str | Path | Picture",
    methods: Sequence[str] = ("gradcam", "saliency"),
    *,
    target: int | str | None = None,
    steps: int = 16,
    baseline: str = "blur",
    seed: int = 0,
    layer: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Trust:
    """Return how faithful heatmap methods are, beside random, centre and edges, which know nothing of the network.

    Pixels are deleted and inserted in the order of each map (Petsiuk et al. 2018, arXiv:1806.07421) while the softmax
    probability of a class is read; a method that finds what the class rests on makes it fall early and rise early. The
    score is the area under insertion minus that under deletion, -1 to 1.

    pictures : files, folders or Pictures; files that cannot be read are skipped and listed. target : a class for all;
    by default each picture's predicted class. steps : in how many equal portions the pixels go. baseline : what takes
    the place of removed pixels, "blur" or "mean". seed : of the random map and of the order of equal values. layer,
    options : as in `explain`. The methods are not tested on a copy of the network with random weights. Raises
    InnersightError for unknown names and PictureError when no picture could be read.
    """
    if not model.has_probabilities:
        raise InnersightError(
            f"trust watches a probability, and the scores of {model.name} ({model.head.unit}) stand for none"
        )
    empty_of = emptier(baseline)
    names = tuple(dict.fromkeys(methods))
    clash = set(names) & set(baselines)
    if clash:
        raise InnersightError(f"{', '.join(sorted(clash))}: always in the table; name heatmap methods only")
    where = layer or last_grid(model)[0]
    check_layers(model, [where])
    parsed = options_of(names, options)
    fixed = None if target is None else model.class_index(target)

    def aim(logits: Tensor) -> Target:
        return class_target(model, logits.argmax(1) if fixed is None else torch.full((len(logits),), fixed))

    skipped: list[str] = []
    seen: list[str] = []
    targets: list[int] = []
    rows: list[tuple[Tensor, Tensor, Tensor, list[bool]]] = []
    for loaded in batches(expand(pictures), reader(model.input), CHUNK, skipped):
        x = stack(loaded, model.input)
        answered = answer(model, x.to(model.device, model.dtype), aim, [where], parsed)
        classes = answered.target.classes
        assert classes is not None
        for i, (picture, empty) in enumerate(zip(loaded, empty_of(x), strict=True)):
            rng = np.random.default_rng((seed, len(seen)))
            pixels = model.input.denormalise(x[i : i + 1])[0].clamp(0, 1)
            values = [answered.found[name, layer_of(name, where)].values[i] for name in names]
            values += [baselines[name](pixels, rng) for name in baselines]
            ranked = [ranking(value, (model.input.height, model.input.width), rng) for value in values]
            with tap.untouched(model):
                found = curves(
                    model, x[i], empty, int(classes[i]), torch.stack([ranks for ranks, _ in ranked]), steps=steps
                )
            rows.append((found.deletion, found.insertion, found.scores, [not says for _, says in ranked]))
            seen.append(picture.name)
            targets.append(int(classes[i]))
    if not rows:
        raise PictureError(skipped[0] if skipped else "no pictures given")
    return Trust(
        model,
        tuple(seen),
        tuple(targets),
        names,
        (*names, *baselines),
        torch.stack([row[0] for row in rows]),
        torch.stack([row[1] for row in rows]),
        torch.stack([row[2] for row in rows]),
        torch.tensor([row[3] for row in rows]),
        {
            "steps": steps,
            "baseline": baseline,
            "seed": seed,
            "layer": where,
            "target": target,
            "options": {name: dict(extra) for name, extra in (options or {}).items()},
        },
        tuple(skipped),
    )


def _many(count: int, what: str = "picture") -> str:
    return f"{count} {what}" + "s" * (count != 1)


def _join(words: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _draw(result: Trust) -> "Figure":
    colours = [f"C{i}" if name in result.methods else "0.6" for i, name in enumerate(result.maps)]
    styles = [
        "-" if name in result.methods else style for name, style in zip(result.maps, _styles(result), strict=True)
    ]
    text = "\n".join([*result.verdicts(), "", *_wrap(result.note)])
    figure = figures.new_figure(10.5, 3.6 + 0.15 * text.count("\n"))
    figure.suptitle(f"{result.model.name}: how faithful are its heatmaps?", x=0.01, ha="left", fontsize=10)
    dots, deleting, inserting = figure.subplots(1, 3, width_ratios=[1.25, 1, 1])
    table = result.table()
    for y, (row, colour) in enumerate(zip(table, colours, strict=True)):
        if row.interval:
            dots.plot(row.interval, [y, y], color=colour, lw=2)
        dots.plot(row.mean, y, "o", color=colour)
    dots.scatter(
        result.scores.T.flatten(), np.repeat(np.arange(len(table)), len(result.scores)), s=3, color="0.8", zorder=0
    )
    dots.axvline(0, color="0.7", lw=0.8)
    dots.set(yticks=range(len(table)), xlabel="insertion minus deletion (each grey point a picture)")
    dots.set_yticklabels([f"{row.name}\n{_spread(row)}" for row in table], fontsize=8)
    dots.invert_yaxis()
    for axis, values, word in ((deleting, result.deletion, "deleted"), (inserting, result.insertion, "inserted")):
        share = np.linspace(0, 1, values.shape[2])
        for name, curve, colour, style in zip(result.maps, values.mean(0), colours, styles, strict=True):
            axis.plot(share, curve, style, color=colour, lw=1.6, label=name)
        axis.set(xlabel=f"share of pixels {word}", ylim=(0, None), title="mean probability of the class")
        axis.title.set_fontsize(8)
    inserting.legend(fontsize=7, frameon=False)
    for axis in (dots, deleting, inserting):
        axis.xaxis.label.set_fontsize(8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5)
    return figure


def _spread(row: Score) -> str:
    return f"{row.mean:z.2f}" + (f" ({row.interval[0]:z.2f} to {row.interval[1]:z.2f})" if row.interval else "")


def _styles(result: Trust) -> list[str]:
    cycle = (":", "--", "-.")
    return [cycle[(i - len(result.methods)) % 3] for i in range(len(result.maps))]


def _wrap(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 150)
