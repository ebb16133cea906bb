"""What `trust` found: the table, the tests, the verdict on every method, and one sentence."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from torch import Tensor

from innersight.errors import InnersightError
from innersight.heatmaps.request import methods as heatmap_methods
from innersight.model import Model
from innersight.result import Result
from innersight.statistics import fewest, holm, sign_flip, sign_flips, spearman
from innersight.trust.baselines import baselines
from innersight.trust.column import describe_column
from innersight.trust.imputers import imputers
from innersight.trust.metrics import metrics, primary
from innersight.trust.protocol import ORDERED
from innersight.trust.table import PairedTest, Row, Standing, estimate
from innersight.trust.wording import join, many, overall, verdict

LEVEL = 0.05


@dataclass(frozen=True, eq=False, repr=False)
class Trust(Result):
    """How far heatmap methods can be trusted, compared with baseline maps on the same images.

    Attributes
    ----------
    model
        The network.
    images
        Their names.
    targets
        The class explained on each image.
    methods
        Names of the methods that can read this network.
    maps
        Names of all maps: methods first, then baselines.
    deletion, insertion
        (images, maps, steps + 1) float64, the class's probability while pixels are removed and inserted.
    columns
        What is in `innersight.trust.metrics`, (images, maps), and in `innersight.trust.ground_truth`, (made images,
        maps); NaN where an image or a baseline has none.
    chances
        For some columns what a map that knows nothing reaches, (images,).
    empty
        (images, maps) bool, see `Row`.
    protocols
        The score of every map under each way of measuring it, on the first images; the protocol of the table first. NaN
        of baselines under other protocols, where four or more methods are ordered.
    agreement
        (methods, methods) mean rank correlation of the maps of two methods.
    settings
        Everything that reproduces the numbers.
    facts
        How many images were given, are doubtful, and have a marked region.
    remarks
        Sentences of the ground truths about the images they made.
    left_out
        One sentence for each method that cannot read this network and each class of the boxes that it does not know.
    skipped
        One sentence for each file that could not be read.
    notes
        How the images were understood.

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
    remarks: tuple[str, ...]
    left_out: tuple[str, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> str:
        """The column by which methods are ranked."""
        return primary().name

    @property
    def scores(self) -> Tensor:
        """(images, maps) the column by which methods are ranked: by default insertion minus deletion."""
        return self.columns[self.score]

    @property
    def controls(self) -> dict[str, str]:
        """Columns that are the score of the same method under another condition, with that condition."""
        return {e.name: e.control for e in metrics.entries() if e.control is not None and e.name in self.columns}

    def table(self) -> tuple[Row, ...]:
        """Return every method and baseline, in the order of `maps`."""
        return tuple(
            Row(
                name,
                {key: one for key, values in self.columns.items() if (one := estimate(values, i)) is not None},
                int(self.empty[:, i].sum()),
                self.standing(name) if name in self.methods else None,
            )
            for i, name in enumerate(self.maps)
        )

    def ranked(self) -> tuple[Row, ...]:
        """Return the table by score, baselines last."""
        return tuple(sorted(self.table(), key=lambda row: (row.standing is None, -row.values[self.score].mean)))

    @property
    def shown(self) -> tuple[str, ...]:
        """Columns beside the score: those that are better high, better low, and neither."""
        order = ("high", "low", "")
        hidden = {self.score, *(entry.name for entry in metrics.entries() if entry.component)}
        rest = set(self.columns) - hidden
        return tuple(sorted(rest, key=lambda name: (order.index(describe_column(name).better), name)))

    @property
    def few(self) -> dict[str, int]:
        """On how many images a column was measured, of the columns shown that not all images have."""
        counts = {name: int(self.columns[name].isfinite().any(1).sum()) for name in self.shown if name in metrics}
        return {name: count for name, count in counts.items() if count < len(self.images)}

    @cached_property
    def comparisons(self) -> tuple[PairedTest, ...]:
        """Every method against every baseline, every control, and chance wherever it is known."""
        pairs = [pair for i in range(len(self.methods)) for pair in self._pairs(i)]
        differences = [values[values.isfinite()].numpy() for *_, values in pairs]
        adjusted = holm([sign_flip(values) for values in differences])
        return tuple(
            PairedTest(method, against, phrase, column, float(own.mean()) if len(own) else 0.0, p, len(own))
            for (method, against, phrase, column, _), own, p in zip(pairs, differences, adjusted, strict=True)
        )

    @cached_property
    def pairwise(self) -> tuple[PairedTest, ...]:
        """Every method against every later one, by score; corrected for themselves only."""
        pairs = list(combinations(range(len(self.methods)), 2))
        if not pairs:
            return ()
        first, second = (self.scores[:, list(side)].numpy() for side in zip(*pairs, strict=True))
        adjusted = holm(sign_flips(first - second))
        names = self.methods
        return tuple(
            PairedTest(names[i], names[k], title_of(names[k]), self.score, float(d), p, len(self.images))
            for (i, k), d, p in zip(pairs, (first - second).mean(0), adjusted, strict=True)
        )

    def ties(self, method: str) -> tuple[str, ...]:
        """Return the methods whose score does not differ significantly from that of one, best first.

        Parameters
        ----------
        method
            Name of the one.

        """
        ties = {
            name for row in self.pairwise if method in (row.method, row.against) and row.p > LEVEL
            for name in (row.method, row.against)
        }  # fmt: skip
        return tuple(row.name for row in self.ranked() if row.name in ties - {method})

    @property
    def first(self) -> str:
        """Which method has the highest score, and which do not differ significantly from it, in one sentence."""
        best = self.ranked()[0].name
        ties = join([title_of(name) for name in self.ties(best)])
        return f"{title_of(best)} has the highest score" + (f", not significantly above {ties}." if ties else ".")

    def _pairs(self, i: int) -> list[tuple[str, str, str, str, Tensor]]:
        """Return (method, against, phrase, column, differences) of all tests of a method."""
        method, score = self.methods[i], self.scores[:, i]
        pairs = [
            (method, name, baselines.entry(name).phrase or name, self.score, score - self.scores[:, k])
            for k, name in enumerate(self.maps)
            if name not in self.methods
        ]
        pairs += [
            (method, condition, f"its own maps with {condition}", self.score, score - self.columns[name][:, i])
            for name, condition in self.controls.items()
        ]
        for name, chance in self.chances.items():
            against = describe_column(name).against or "chance"
            pairs.append((method, against, against, name, self.columns[name][:, i] - chance))
        return pairs

    def standing(self, method: str) -> Standing:
        """Return whether a method can be trusted on this network.

        Parameters
        ----------
        method
            One of `methods`.

        Returns
        -------
        str
            "believed": it is better in every comparison. "doubtful": it is worse in one, or its maps surely have a mean
            rank correlation of 0.5 or more with those of shuffled weights or labels. "undecided": neither, or there are
            too few images for any verdict.

        Raises
        ------
        InnersightError
            For a method that was not tested.

        """
        rows = self._of(method)
        if len(self.images) < self.needed or self._empty(method) == len(self.images):
            return "undecided"
        significant = [row for row in rows if row.p <= LEVEL]
        if any(row.difference < 0 for row in significant) or self._similar(method):
            return "doubtful"
        return "believed" if len(significant) == len(rows) else "undecided"

    def verdict(self, method: str) -> str:
        """Return in plain words what the tests found about a method.

        Parameters
        ----------
        method
            Its name; raises for others as `standing` does.

        """
        return verdict(
            title_of(method), self._of(method), len(self.images), self._empty(method), self._similar(method),
            level=LEVEL, needed=self.needed,
        )  # fmt: skip

    def verdicts(self) -> tuple[str, ...]:
        """Return one plain sentence per method."""
        return tuple(self.verdict(method) for method in self.methods)

    @property
    def sentence(self) -> str:
        """Which methods can be trusted on this network, in one sentence."""
        standings = {title_of(method): self.standing(method) for method in self.methods}
        return overall(self.model.name, standings, len(self.images))

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
        return len(self.methods) if len(self.methods) >= ORDERED else len(self.maps)

    def _of(self, method: str) -> list[PairedTest]:
        rows = [row for row in self.comparisons if row.method == method]
        if not rows:
            raise InnersightError(f"{method!r} was not tested; choose from: {', '.join(self.methods)}")
        return rows

    def _empty(self, method: str) -> int:
        return int(self.empty[:, self.maps.index(method)].sum())

    def _similar(self, method: str) -> dict[str, float]:
        """Return the mean similarity to maps of networks that learned nothing, where it is surely high."""
        found = {}
        for entry in metrics.entries():
            if entry.doubtful_from is None or entry.name not in self.columns:
                continue
            own = estimate(self.columns[entry.name], self.methods.index(method))
            if own is not None and own.interval is not None and own.interval[0] >= entry.doubtful_from:
                found[" and ".join(entry.needs)] = own.mean
        return found

    @property
    def note(self) -> str:
        """How it was measured."""
        own, images = self.settings, many(len(self.images))
        full, nothing = float(self.insertion[:, 0, -1].mean()), float(self.insertion[:, 0, 0].mean())
        filled = imputers.entry(own["imputer"])
        given, steps = int(self.facts["given"]), many(own["steps"], "step")
        drawn = f" of {given:,}, drawn at random" if given > len(self.images) + len(self.skipped) else ""
        sentences = [
            f"{images}{drawn}, {steps}. Removed pixels are replaced by {own['imputer']} "
            f"({_lower(filled.summary).rstrip('.')}); with all of them replaced, the mean probability of the class "
            f"falls from {full:.2f} to {nothing:.2f}."
        ]
        if nothing > full / 2:
            sentences.append("Most of the class survives that, so the scores mean little: try the other imputers.")
        score = _lower(primary().summary.partition(",")[0].rstrip("."))
        sentences.append(
            f"Score: {score}, mean over images with its 95% bootstrap interval. Verdicts: paired sign-flip tests at "
            f"level {LEVEL}, Holm-corrected for {len(self.comparisons)} comparisons."
        )
        if own["layer"] is not None:
            sentences[-1] += f" Class activation maps are read at {own['layer']}."
        if self.pairwise:
            sentences.append(self.first)
        if self.facts["doubtful images"]:
            doubts = many(int(self.facts["doubtful images"]))
            sentences.append(f"Low confidence: no class has a probability of 0.5 on {doubts}.")
        if self.facts["marked images"]:
            marked = many(int(self.facts["marked images"]))
            sentences.append(f"Regions: {marked} with a marked region of the class.")
        secondary = [describe_column(name).title for name in self.few if metrics.entry(name).imputer]
        if secondary and own["secondary_images"] is not None:
            sentences.append(f"Measured on the first {many(own['secondary_images'])} alone: {join(secondary)}.")
        sentences += self.remarks
        agree = ", ".join(f"{name} {rho:.2f}" for name, rho in self.rank_agreement().items())
        measured = many(next(iter(self.protocols.values())).shape[0])
        kind = "maps" if self._ordered > len(self.methods) else "methods"
        sentences.append(f"Rank correlation of the order of the {kind} with other protocols, on {measured}: {agree}.")
        if self.skipped:
            sentences.append(f"{many(len(self.skipped), 'file')} could not be read.")
        return " ".join(sentences)

    def to_json(self) -> dict[str, Any]:
        """Return the sentence, the table, the tests, the verdicts and the scores of every image."""
        return {
            "model": self.model.name,
            "settings": self.settings,
            "facts": self.facts,
            "sentence": self.sentence,
            "note": self.note,
            "verdicts": {method: self.verdict(method) for method in self.methods},
            "columns": {name: vars(describe_column(name)) for name in self.columns},
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
            "comparisons": [vars(row) for row in self.comparisons],
            "pairwise": [vars(row) for row in self.pairwise],
            "agreement": {
                first: dict(zip(self.methods, map(_plain, row), strict=True))
                for first, row in zip(self.methods, self.agreement.tolist(), strict=True)
            },
            "protocols": {name: _plain(rho) for name, rho in self.rank_agreement().items()},
            "images": [
                {"name": name, "target": self.model.labels[target], "scores": dict(zip(self.maps, scores, strict=True))}
                for name, target, scores in zip(self.images, self.targets, self.scores.tolist(), strict=True)
            ],
            "left_out": list(self.left_out),
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


def title_of(method: str) -> str:
    """Return what a heatmap method is called in a sentence."""
    return heatmap_methods.entry(method).title


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
