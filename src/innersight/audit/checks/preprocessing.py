"""Whether the network is fed as it was trained: range, mean and order of channels, crop, size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from innersight.audit import feeding
from innersight.audit.checks import NotCheckedError, Report, checks
from innersight.audit.feeding import Arrival, Way
from innersight.audit.finding import Effect, Finding
from innersight.audit.keep import Values
from innersight.audit.subject import Subject
from innersight.statistics import sign_flip, wilson

SUGGESTING, CONFIRMING = 100, 300  # images read again at most
PASSES = 3  # over all images, at most
TRIED, BEST = 24, 4  # images for the first look at every way; ways that are looked at on more
FEWEST = 16  # images
STATISTICS = 32  # images whose values at a batch norm are compared
# A gain of accuracy that is stated, its p, and that of the gain of the logarithm of the label's probability. Networks
# gain a little where images are larger than in training (Touvron et al. 2019, arXiv:1906.06423), which is no mistake.
GAIN, LEVEL, SURE = 0.03, 0.05, 0.001
# Distances at the first batch norm. Fed as in training: at most 0.1 on toons and photographs; wrongly: 0.5 to 10.
FAR, CLOSER = 0.4, 0.3
LIMITS = (
    "One mistake at a time is looked for, among ranges, means and sizes in common use; one that costs less than 3 "
    "points of accuracy may be missed. Where images differ from those of training, as by their brightness, another "
    "way to feed them may be named although nothing is wrong."
)
WHAT = "feeding the network in other ways"


@checks.register("Preprocessing", order=50, limits=LIMITS)
def preprocessing(subject: Subject) -> Report:
    """Feed the network in other ways, and compare accuracy and what reaches its first batch norm.

    What one half of the images suggests is tested on the other.
    """
    own = feeding.own_way(subject.model.input)
    rows = _rows(subject)
    [before] = feeding.arrivals(subject, [own], rows[0][:STATISTICS])
    labelled = bool((subject.table.classes[rows[0]] >= 0).any()) and subject.model.head.link != "none"
    if not labelled and before is None:
        raise NotCheckedError("needs labels, or a network with batch norms that were trained")
    trial = _Trial(subject, own, *rows, labelled=labelled)
    best = trial.suggested(before)
    found = [] if best is None else trial.confirmed(best)
    by = "accuracy and " * labelled + "the statistics of its first batch norm" * (before is not None)
    looked = f"{trial.tried} other ways to feed it, judged by {by.removesuffix(' and ')}"
    limits = "" if labelled else "Without labels crop and size are not judged."
    return Report(found, looked, limits)


def _rows(subject: Subject) -> tuple[list[int], list[int]]:
    """Return images that suggest and images that confirm: of those with labels, where there are any."""
    rng = subject.rng(50)
    usable = subject.table.classes >= 0 if subject.labelled else torch.ones(len(subject.table), dtype=torch.bool)
    halves = []
    for side, most in ((subject.suggests, SUGGESTING), (~subject.suggests, CONFIRMING)):
        index = (side & usable).nonzero()[:, 0].tolist()
        halves.append([index[k] for k in rng.permutation(len(index)).tolist()][:most])
    if sum(map(len, halves)) < FEWEST or not all(halves):
        raise NotCheckedError(f"needs {FEWEST} images or more")
    return halves[0], halves[1]


@dataclass(eq=False)
class _Trial:
    """Ways to feed a network on trial. suggests, confirms : rows of the images for either."""

    subject: Subject
    own: Way
    suggests: list[int]
    confirms: list[int]
    labelled: bool
    tried: int = 0

    def __post_init__(self) -> None:
        self._end = self.subject.passes + PASSES * len(self.subject.table)

    def suggested(self, before: Arrival | None) -> Way | None:
        """Return the way that is best on the images that suggest; None where none is better than its own."""
        ways = feeding.normalisations(self.own.spec)
        distance = self._distances(ways, before)
        if not self.labelled:
            self.tried = len(ways)
            best = min(ways, key=lambda way: distance[way])
            return best if before is not None and _fits(before.distance, distance[best]) else None
        shapes = [(int(h), int(w)) for h, w in self.subject.table.sizes[self.suggests].tolist() if h and w]
        known = self._likelihood(self.subject.table.logits[self.suggests], self.suggests)
        if float(known.exp().mean()) < CERTAIN:
            ways += feeding.geometries(self.own.spec, shapes) + feeding.sizes(self.own.spec)
        self.tried = len(ways)
        first = sorted(self.suggests[: min(TRIED, self._affordable(ways, 0.4))])
        gains = self._gains(ways, first, "suggesting")
        order = sorted(gains, key=lambda way: -float(gains[way].mean()))
        finalists = [way for way in order[:BEST] if float(gains[way].mean()) > 0]
        fitting = min(distance, key=lambda way: distance[way], default=None)
        if fitting is not None and before is not None and _fits(before.distance, distance[fitting]):
            finalists = [fitting, *(way for way in finalists if way != fitting)][:BEST]
        sized = next((way for way in finalists if way.kind == "size"), None)
        if sized is not None:
            more = feeding.between(self.own.spec, sized.spec)
            self.tried += len(more)
            finalists += more
        if not finalists:
            return None
        gains = self._gains(finalists, sorted(self.suggests[: self._affordable(finalists, 0.5)]), "comparing")
        return self._best(gains, distance)

    def confirmed(self, best: Way) -> list[Finding]:
        """Return what the images that did not suggest a way say of it."""
        rows = sorted(self.confirms[: self._affordable([best], 0.95)])
        before, after = self._arrived(best, rows)
        fits = before is not None and after is not None and _fits(before.distance, after.distance)
        effect, p, better = None, None, True
        if self.labelled:
            [logits] = self._scores([best], rows, "confirming")
            if logits is None:
                return []
            old, new = (self._right(x, rows) for x in (self.subject.table.logits[rows], logits))
            gain = self._likelihood(logits, rows) - self._likelihood(self.subject.table.logits[rows], rows)
            p = mcnemar(old, new)
            sure = float(gain.mean()) > 0 and sign_flip(gain.tolist(), seed=self.subject.seed) < SURE
            one, other = float(new.float().mean()), float(old.float().mean())
            effect = Effect(one, wilson(int(new.sum()), len(rows)), other, p, "accuracy")
            better = one >= other
            if one - other >= GAIN and p < LEVEL and sure:
                return [
                    self._finding(best, effect, before, after, f"the accuracy is {one:.2f}, as it is fed {other:.2f}")
                ]
        if not (fits and better):
            return []
        assert before is not None
        assert after is not None
        if effect is None:
            unit = f"distance of what reaches {after.layer} from its running statistics"
            effect = Effect(after.distance, None, before.distance, None, unit)
        what = f"what reaches {after.layer}, its first batch norm, has the statistics of training"
        return [self._finding(best, effect, before, after, what)]

    def _finding(self, way: Way, effect: Effect, before: Arrival | None, after: Arrival | None, what: str) -> Finding:
        told = ""
        if before is not None and after is not None and _fits(before.distance, after.distance):
            told = f"; its first batch norm, {after.layer}, is {before.distance:.2g} from its running statistics, with "
            told += f"these {after.distance:.2g}"
        sentence = f"The network is probably not fed as it was trained: with {way.text} {what}{told}"
        return Finding("preprocessing", None, sentence, True, effect, next=self._do(way))

    def _do(self, way: Way) -> str:
        options = way.options(self.own.spec)
        if not way.reversed:
            return f"Load it as MODEL{options}"
        layer = feeding.first_layer(self.subject.model)
        weight = "the weights of its first layer" if layer is None else f"net.{layer}.weight"
        flip = "" if layer is None else f": {weight}.data = {weight}.data.flip(1)"
        load = f" and load it as MODEL{options}" if options else ""
        return f"No option exchanges red and blue: reverse the input channels of {weight} once{flip}{load}"

    def _distances(self, ways: Sequence[Way], before: Arrival | None) -> dict[Way, float]:
        if before is None:
            return {}
        found = feeding.arrivals(self.subject, ways, self.suggests[:STATISTICS])
        return {way: one.distance for way, one in zip(ways, found, strict=True) if one is not None}

    def _arrived(self, best: Way, rows: list[int]) -> tuple[Arrival | None, Arrival | None]:
        if best.kind != "normalisation":
            return None, None
        before, after = feeding.arrivals(self.subject, [self.own, best], rows[:STATISTICS])
        return before, after

    def _scores(self, ways: Sequence[Way], rows: list[int], stage: str) -> list[Float[Tensor, "n classes"] | None]:
        """Return the network's scores for each way, None for one that it does not take; kept in the study."""

        def compute() -> Values:
            found = feeding.scores(self.subject, ways, rows, WHAT)
            return {}, {"none": torch.zeros(0), **{str(i): one for i, one in enumerate(found) if one is not None}}

        settings = {"ways": [repr(way) for way in ways], "rows": rows}
        _, tensors = self.subject.keep.piece(f"preprocessing {stage}", settings, compute)
        return [tensors.get(str(number)) for number in range(len(ways))]

    def _gains(self, ways: Sequence[Way], rows: list[int], stage: str) -> dict[Way, Float[Tensor, " n"]]:
        """Return by how much the logarithm of the probability of the label rises, for ways that the network takes."""
        own = self._likelihood(self.subject.table.logits[rows], rows)
        found = self._scores(ways, rows, stage)
        return {
            way: self._likelihood(logits, rows) - own
            for way, logits in zip(ways, found, strict=True)
            if logits is not None
        }

    def _best(self, gains: dict[Way, Float[Tensor, " n"]], distance: dict[Way, float]) -> Way | None:
        """Return the way with the largest gain; of those that are as good, the one that fits the batch norm best."""
        if not gains:
            return None
        top = max(gains, key=lambda way: float(gains[way].mean()))
        if float(gains[top].mean()) <= 0:
            return None

        def as_good(way: Way) -> bool:
            less = gains[top] - gains[way]
            error = float(less.std(correction=0)) / math.sqrt(len(less))
            return float(less.mean()) <= max(0.02, error)

        equal = [way for way in gains if as_good(way) and way.kind == top.kind]
        if top.kind != "normalisation":
            # Of sizes the one that changes least.
            return min(equal, key=lambda way: abs(math.log(way.cost(self.own.spec)))) if top.kind == "size" else top
        order = feeding.normalisations(self.own.spec)
        return min(equal, key=lambda way: (round(distance.get(way, 0.0), 1), order.index(way)))

    def _likelihood(self, logits: Float[Tensor, "n classes"], rows: list[int]) -> Float[Tensor, " n"]:
        own = self.subject.model.probabilities(logits)[torch.arange(len(rows)), self.subject.table.classes[rows]]
        return own.clamp_min(LEAST).log()

    def _right(self, logits: Float[Tensor, "n classes"], rows: list[int]) -> Bool[Tensor, " n"]:
        # Of independent scores too the highest: where all rise, each image has its own class among others.
        return logits.argmax(1) == self.subject.table.classes[rows]

    def _affordable(self, ways: Sequence[Way], share: float) -> int:
        """Return how many images can be fed in each way for a share of the passes that are left."""
        cost = sum(way.cost(self.own.spec) for way in ways)
        return max(2, int(share * (self._end - self.subject.passes) / cost))


LEAST = 1e-3  # probability below which a label counts as missed
CERTAIN = 0.97  # mean probability of the label above which nothing is to be gained by another crop or size


def _fits(before: float, after: float) -> bool:
    return before > FAR and after < CLOSER * before


def mcnemar(before: Bool[Tensor, " n"], after: Bool[Tensor, " n"]) -> float:
    """Return the two-sided p of "as many became right as wrong" (McNemar 1947), exactly."""
    from scipy import stats

    better, worse = int((~before & after).sum()), int((before & ~after).sum())
    return float(stats.binomtest(better, better + worse, 0.5).pvalue) if better + worse else 1.0
