"""What `trust` found: the table, the comparisons, the verdict on every method, and one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.model import Model
from innersight.render import figures
from innersight.statistics import bootstrap, fewest, holm, sign_flip, sign_flips, spearman
from innersight.trust.column import about, first_line
from innersight.trust.metrics.randomized import LABELS, WEIGHTS
from innersight.trust.replacements import replacements

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.05
SAME = 0.5
FEW = 4

Standing = Literal["believed", "doubtful", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its 95% bootstrap interval, None for a single one; count : of images."""

    mean: float
    interval: tuple[float, float] | None
    count: int


@dataclass(frozen=True)
class Row:
    """A line of the table: a method or a baseline.

    values : by column. empty : images on which the map ranks nothing (constant, or not numbers), so that its pixels
    were ranked at random. standing : of a method, None of a baseline.
    """

    name: str
    values: dict[str, Estimate]
    empty: int
    standing: Standing | None


@dataclass(frozen=True)
class Versus:
    """A method against what knows nothing of the network, or against chance, on the same images.

    column : what was compared. difference : mean of the method's less the other's. p : two-sided sign-flip test, after
    Holm's correction for all comparisons of its kind. count : of images it rests on.
    """

    method: str
    against: str
    column: str
    difference: float
    p: float
    count: int


@dataclass(frozen=True, eq=False)
class Trust:
    """How far heatmap methods can be believed, beside baseline maps on the same images.

    images : their names. targets : class number per image. maps : names, methods first, then baselines.
    deletion, insertion : (images, maps, steps + 1) float64, the target's probability. columns : what is in
    `trust.metrics` and `trust.truths`, (images, maps), NaN where an image or a baseline has none; of truths, the
    images they made. chances : of some columns, (images,) what a map that knows nothing reaches. empty :
    (images, maps) bool, see `Row`. protocols : the score of every map under each way of measuring it, on the first
    images, the way of the table first. agreement : (methods, methods) mean rank correlation of the maps of two
    methods. settings : everything that reproduces them. facts : further numbers: images given, and what truths add.
    left_out : one sentence for each method that cannot read this network and each class of the boxes that it does not
    know, and skipped : for each file that could not be read. notes : how the images were understood.
    """

    model: Model
    images: tuple[str, ...]
    targets: tuple[int, ...]
    methods: tuple[str, ...]
    maps: tuple[str, ...]
    deletion: Tensor
    insertion: Tensor
    columns: dict[str, Tensor]
    chances: dict[str, Tensor]
    empty: Tensor
    protocols: dict[str, Tensor]
    agreement: Tensor
    settings: dict[str, Any]
    facts: dict[str, float]
    left_out: tuple[str, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()

    __repr__ = brief

    @property
    def scores(self) -> Tensor:
        """(images, maps) area under insertion minus area under deletion."""
        return self.columns["faithfulness"]

    def table(self) -> tuple[Row, ...]:
        """Return every method and baseline, in the order of `maps`."""
        return tuple(
            Row(
                name,
                {key: one for key, values in self.columns.items() if (one := _estimate(values, i)) is not None},
                int(self.empty[:, i].sum()),
                self.standing(name) if name in self.methods else None,
            )
            for i, name in enumerate(self.maps)
        )

    def ranked(self) -> tuple[Row, ...]:
        """Return the table by score, baselines last."""
        return tuple(sorted(self.table(), key=lambda row: (row.standing is None, -row.values["faithfulness"].mean)))

    @property
    def shown(self) -> tuple[str, ...]:
        """Columns beside the score: those that are better high, better low, and neither."""
        order = ("high", "low", "")
        rest = set(self.columns) - {"faithfulness", "insertion", "deletion"}
        return tuple(sorted(rest, key=lambda name: (order.index(about(name).better), name)))

    @cached_property
    def comparisons(self) -> tuple[Versus, ...]:
        """Every method against every baseline, itself on shuffled weights, and chance where there is a truth."""
        pairs = [pair for i, name in enumerate(self.methods) for pair in self._pairs(i, name)]
        differences = [values[values.isfinite()].numpy() for *_, values in pairs]
        adjusted = holm([sign_flip(values) for values in differences])
        return tuple(
            Versus(method, against, column, float(values.mean()) if len(values) else 0.0, p, len(values))
            for (method, against, column, _), values, p in zip(pairs, differences, adjusted, strict=True)
        )

    @cached_property
    def duels(self) -> tuple[Versus, ...]:
        """Every method against every later one, by score; corrected for themselves only."""
        pairs = list(combinations(range(len(self.methods)), 2))
        if not pairs:
            return ()
        first, second = (self.scores[:, list(side)].numpy() for side in zip(*pairs, strict=True))
        adjusted = holm(sign_flips(first - second))
        return tuple(
            Versus(self.methods[i], self.methods[k], "faithfulness", float(d), p, len(self.images))
            for (i, k), d, p in zip(pairs, (first - second).mean(0), adjusted, strict=True)
        )

    def alike(self, method: str) -> tuple[str, ...]:
        """Return the methods whose score is not distinguishable from that of one, best first."""
        ties = {
            name for row in self.duels if method in (row.method, row.against) and row.p > LEVEL
            for name in (row.method, row.against)
        }  # fmt: skip
        return tuple(row.name for row in self.ranked() if row.name in ties - {method})

    @property
    def first(self) -> str:
        """Which method has the highest score, and which are not distinguishable from it, in one sentence."""
        best = self.ranked()[0].name
        ties = join(self.alike(best), "and")
        return f"By score {best} comes first" + (f", not distinguishable from {ties}." if ties else ", alone.")

    def _pairs(self, i: int, method: str) -> list[tuple[str, str, str, Tensor]]:
        score = self.scores[:, i]
        pairs = [
            (method, self.maps[k], "faithfulness", score - self.scores[:, k])
            for k in range(len(self.methods), len(self.maps))
        ]
        pairs.append((method, WEIGHTS, "faithfulness", score - self.columns["twins"][:, i]))
        for name, chance in self.chances.items():
            pairs.append((method, about(name).against or "chance", name, self.columns[name][:, i] - chance))
        return pairs

    def standing(self, method: str) -> Standing:
        """Return whether a method may be believed on this network.

        "believed" : it is better in every comparison. "doubtful" : it is worse in one, or its maps surely have a mean
        rank correlation of 0.5 or more with those of shuffled weights or labels. "undecided" : neither, or there are
        too few images for any verdict.
        """
        rows = self._of(method)
        if len(self.images) < self.needed or self._empty(method) == len(self.images):
            return "undecided"
        sure = [row for row in rows if row.p <= LEVEL]
        if any(row.difference < 0 for row in sure) or self._same(method):
            return "doubtful"
        return "believed" if len(sure) == len(rows) else "undecided"

    def verdict(self, method: str) -> str:
        """Say in plain words what the comparisons allow to say about a method."""
        rows = self._of(method)
        count, empty = len(self.images), self._empty(method)
        if empty == count:
            return f"{method}: no verdict, it was empty on all images."
        tail = f" {empty} of its {count} maps were empty and count as a random order." if empty else ""
        if count < self.needed:
            return f"{method}: no verdict from {many(count)}; this table takes {self.needed} or more.{tail}"
        few = [f"{many(row.count)} for {row.against}" for row in rows if row.count < self.needed]
        tail = (f" Too few: {join(few, 'and')}." if few else "") + tail
        for name, value in self._same(method).items():
            tail = f" Its maps stay much the same on {name} (rank correlation {value:.2f}).{tail}"
        better = join([row.against for row in rows if row.p <= LEVEL and row.difference > 0], "and")
        worse = join([row.against for row in rows if row.p <= LEVEL and row.difference < 0], "and")
        unclear = join([row.against for row in rows if row.p > LEVEL and row.count >= self.needed], "or")
        said = [f"better than {better}"] * bool(better) + [f"worse than {worse}"] * bool(worse)
        said += [f"not distinguishable from {unclear}"] * bool(unclear)
        return f"{method} is {', but '.join([', '.join(said[:-1])] * (len(said) > 1) + said[-1:])}.{tail}"

    def verdicts(self) -> tuple[str, ...]:
        """Return one plain sentence per method."""
        return tuple(self.verdict(method) for method in self.methods)

    @property
    def sentence(self) -> str:
        """Which methods may be believed on this network, in one sentence."""
        by = {kind: [m for m in self.methods if self.standing(m) == kind] for kind in ("believed", "doubtful")}
        rest = [m for m in self.methods if m not in by["believed"] + by["doubtful"]]
        good, bad = join(by["believed"], "and"), join(by["doubtful"], "and")
        said = [f"{good} may be believed" if good else "no method has yet shown that it may be believed"]
        said += [f"{bad} should not"] * bool(bad and good) + [f"{bad} should not be"] * bool(bad and not good)
        seen = "the image does" if len(self.images) == 1 else f"the {len(self.images)} images do"
        said += [f"{seen} not decide on {join(rest, 'and')}"] * bool(rest)
        return f"On {self.model.name}, {'; '.join(said)}."

    @property
    def needed(self) -> int:
        """How few images can give any verdict at all, with this many comparisons."""
        return fewest(len(self.comparisons), level=LEVEL)

    def rank_agreement(self) -> dict[str, float]:
        """Return how the order of the methods under other protocols agrees with the table's, by rank correlation.

        The order of all maps, where there are fewer than four methods.
        """
        (_, main), *others = (
            (name, values.mean(0)[: self._ordered].tolist()) for name, values in self.protocols.items()
        )
        return {name: spearman(main, other) for name, other in others}

    @property
    def _ordered(self) -> int:
        return len(self.methods) if len(self.methods) >= FEW else len(self.maps)

    def _of(self, method: str) -> list[Versus]:
        rows = [row for row in self.comparisons if row.method == method]
        if not rows:
            raise InnersightError(f"{method!r} was not tested; choose from: {', '.join(self.methods)}")
        return rows

    def _empty(self, method: str) -> int:
        return int(self.empty[:, self.maps.index(method)].sum())

    def _same(self, method: str) -> dict[str, float]:
        """Return the mean rank correlation with maps that show nothing learned, where it is surely high."""
        found = {}
        for name, column in ((WEIGHTS, "like-shuffled"), (LABELS, "like-mislabelled")):
            own = _estimate(self.columns[column], self.methods.index(method)) if column in self.columns else None
            if own is not None and own.interval is not None and own.interval[0] >= SAME:
                found[name] = own.mean
        return found

    @property
    def note(self) -> str:
        """How it was measured."""
        own, seen = self.settings, many(len(self.images))
        full, nothing = float(self.insertion[:, 0, -1].mean()), float(self.insertion[:, 0, 0].mean())
        into = first_line(replacements[own["baseline"]]).partition(": ")[2]
        given = int(self.facts["given"])
        drawn = f" of {given}, drawn at random" if given > len(self.images) + len(self.skipped) else ""
        said = [
            f"{seen}{drawn}, {many(own['steps'], 'step')}. Removed pixels are filled in ({own['baseline']}: {into}); "
            f"without any of its own the class's mean probability goes from {full:.2f} to {nothing:.2f}."
        ]
        if nothing > full / 2:
            said.append("Most of the class survives that, so the scores say little: try the other baselines.")
        said.append(
            "Score: area under insertion minus area under deletion of that probability, mean over images with its "
            f"95% bootstrap interval. Verdicts: paired sign-flip tests at level {LEVEL}, Holm-corrected for "
            f"{len(self.comparisons)} comparisons."
        )
        if own["layer"] is not None:
            said[-1] += f" Class activation maps are read at {own['layer']}."
        if self.duels:
            said.append(self.first)
        if self.facts["doubtful images"]:
            doubts = many(int(self.facts["doubtful images"]))
            said.append(f"Low confidence: no class has a probability of a half for {doubts}.")
        if "mass" in self.columns:
            boxed = int(self.columns["mass"][:, 0].isfinite().sum())
            said.append(f"Boxes: {many(boxed)} with one of the class asked about.")
        if "mosaic probability" in self.facts:
            sure = self.facts["mosaic probability"]
            said.append(f"Mosaics: the network gives the class a mean probability of {sure:.2f} there.")
        agree = ", ".join(f"{name} {rho:.2f}" for name, rho in self.rank_agreement().items())
        measured = many(next(iter(self.protocols.values())).shape[0])
        kind = "maps" if self._ordered > len(self.methods) else "methods"
        said.append(f"The order of the {kind} measured otherwise, by rank correlation over {measured}: {agree}.")
        if self.skipped:
            said.append(f"{many(len(self.skipped), 'file')} could not be read.")
        return " ".join(said)

    def figure(self) -> "Figure":
        """Draw the scores with their intervals beside all other columns, who agrees with whom, and the verdicts."""
        from innersight.trust.draw import draw

        return draw(self)

    def to_json(self) -> dict[str, Any]:
        """Return the sentence, the table, the comparisons, the verdicts and the per-image scores."""
        return {
            "model": self.model.name,
            "settings": self.settings,
            "facts": self.facts,
            "sentence": self.sentence,
            "note": self.note,
            "verdicts": {method: self.verdict(method) for method in self.methods},
            "columns": {name: vars(about(name)) for name in self.columns},
            "table": [
                {
                    "name": row.name,
                    "kind": "baseline" if row.standing is None else "method",
                    "standing": row.standing,
                    "empty": row.empty,
                    "values": {key: vars(one) for key, one in row.values.items()},
                }
                for row in self.table()
            ],
            "versus": [vars(row) for row in self.comparisons],
            "duels": [vars(row) for row in self.duels],
            "agreement": {
                first: dict(zip(self.methods, map(_plain, row), strict=True))
                for first, row in zip(self.methods, self.agreement.tolist(), strict=True)
            },
            "protocols": {name: _plain(rho) for name, rho in self.rank_agreement().items()},
            "images": [
                {"name": name, "target": self.model.labels[target], "scores": dict(zip(self.maps, scores, strict=True))}
                for name, target, scores in zip(self.images, self.targets, self.scores.tolist(), strict=True)
            ],
            "left out": list(self.left_out),
            "skipped": list(self.skipped),
            "notes": list(self.notes),
        }  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        """Return curves, columns and empty maps; columns in the order of `maps`."""
        found = {
            "deletion": self.deletion,
            "insertion": self.insertion,
            "empty": self.empty,
            "agreement": self.agreement,
        }
        return found | {f"column/{name}": values for name, values in self.columns.items()}

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())


def _estimate(values: Tensor, i: int) -> Estimate | None:
    if i >= values.shape[1]:
        return None
    own = values[:, i][values[:, i].isfinite()].double().numpy()
    return Estimate(float(np.mean(own)), bootstrap(own), len(own)) if len(own) else None


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def many(count: int, what: str = "image") -> str:
    """Return a number with its noun."""
    return f"{count} {what}" + "s" * (count != 1)


def join(words: Sequence[str], last: str) -> str:
    """Return words as a list in a sentence."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
