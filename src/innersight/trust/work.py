"""How much of the work of `trust` is done: images that went through the network, whatever they were for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from innersight.heatmaps.request import GRADIENT, forward_passes
from innersight.trust.conditions import LABELS, conditions
from innersight.trust.faithfulness import masks_of
from innersight.trust.metrics import asked, metrics
from innersight.trust.protocol import ORDERED, others
from innersight.trust.request import TrustRequest

Progress = Callable[[int, int, str], None]


class PassCount:
    """Counts forward passes of single images, done and expected, and reports them.

    A forward and a backward pass count as `GRADIENT`.
    """

    def __init__(self, progress: Progress | None) -> None:
        self.total = 0
        self._progress, self._done, self._end, self._what = progress, 0, 0, ""

    @contextmanager
    def part(self, passes: int, what: str) -> Iterator[None]:
        """Inside, a part of the work is done that is expected to take so many passes; afterwards it counts as done."""
        self._end, self._what = self._done + passes, what
        self._report()
        yield
        self._done = self._end
        self._report()

    def expect(self, passes: int) -> None:
        """Expect so many passes from now on."""
        self.total = self._done + passes

    def add(self, passes: int, what: str | None = None) -> None:
        """Count passes of the present part."""
        self._done, self._what = min(self._done + passes, self._end), what or self._what
        self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._done, max(self.total, self._end), self._what)


def explaining(methods: Sequence[str]) -> int:
    """Return how many passes the maps of one image take, under one condition."""
    return GRADIENT + sum(map(forward_passes, methods))


def changed(request: TrustRequest) -> int:
    """Return how many passes the maps of one image take under all conditions that are not its own."""
    needed = {need for entry in metrics.entries() for need in entry.needs} & set(conditions)
    unmet = {LABELS} if request.shuffled_labels is None else set()
    return explaining(request.methods) * len(needed - unmet)


def removing(request: TrustRequest, maps: int, secondary: bool) -> int:
    """Return how many images with parts removed the metrics and protocols look at, for one image.

    secondary : see `Protocol.is_secondary`.
    """
    steps, methods = request.protocol.steps, len(request.methods)
    needed: list[int] = [entry.masks(methods, maps, steps) for entry in asked(secondary) if entry.masks]
    compared = methods if methods >= ORDERED else maps
    ways = others(request.protocol) if secondary else ()
    return sum(needed) + masks_of(maps, steps) + sum(masks_of(compared, way.steps) for way in ways)
