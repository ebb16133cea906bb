"""The optimizer: many images share a batch; one that is finished leaves it, and the next takes its place."""

import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from innersight import tap
from innersight.brief import brief
from innersight.model import Model
from innersight.network import no_memory
from innersight.patterns.objectives import Objective
from innersight.patterns.options import PatternOptions, Statistics
from innersight.patterns.parameterize import Parameterization, parameterizations
from innersight.patterns.reading import Reading, References
from innersight.patterns.transforms import Window, draw, view
from innersight.quotients import quotient

WAKING = 16  # steps in which silent units are woken, see tap.redirected
LONGER = 128  # and so many more for those that are silent still
CHECK = 16  # steps between looks at how far the images are: the only times the host waits for the device
RISING = 0.01  # an image is finished when CHECK steps add less than this share of its rise


@dataclass(frozen=True)
class Recipe:
    """How images are drawn, the same for all images of a run; see `innersight.patterns`.

    shape : (C, H, W). options : with all that depends on the network settled: the size, the statistics as numbers, the
    learning rate, and the backend of torch.compile as text, empty for none. init : (C, H, W) in 0..1, the image that
    all start from; random ones when None.
    """

    shape: tuple[int, int, int]
    options: PatternOptions
    init: Tensor | None = None

    __repr__ = brief

    def form(self) -> Parameterization:
        """Return the parameterization for this shape."""
        statistics = self.options.statistics
        assert isinstance(statistics, Statistics)
        form = parameterizations[self.options.parameterize](self.shape, statistics)
        return form if self.options.lr is None else replace(form, lr=self.options.lr)


@dataclass(frozen=True, eq=False)
class Job:
    """Images that are drawn together: one, or the variants of one objective that are to differ.

    objective : as the user wrote it, which with the seed names the random streams. driven : what is optimized.
    window : the part of the image that is fed to the network; None for all of it. Through one that roams as many
    updates are made as it takes to see as much as in whole images.
    """

    objective: Objective
    driven: Objective
    seed: int
    rows: int = 1
    window: Window | None = None

    def pace(self, recipe: Recipe) -> int:
        """Return how many updates stand for one on the whole image."""
        if self.window is None or not self.window.roams:
            return 1
        return round(recipe.shape[1] * recipe.shape[2] / (self.window.height * self.window.width))

    @property
    def fed(self) -> tuple[int, int, bool] | None:
        """What jobs that share a batch have in common: the kind of their windows."""
        return None if self.window is None else self.window.kind

    def updates(self, recipe: Recipe) -> int:
        """Return how many updates it takes at most."""
        return recipe.options.steps * self.pace(recipe)

    def streams(self) -> list[torch.Generator]:
        """Return the random streams of its images: they depend on seed and objective only."""
        return [torch.Generator().manual_seed(zlib.crc32(name.encode())) for name in self.names()]

    def names(self) -> list[str]:
        """Return what names the random streams of its images."""
        return [f"{self.seed} {self.objective}" + (f" {row}" if row else "") for row in range(self.rows)]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A finished job.

    begun, pixels : (rows, C, H, W) in 0..1, the random images and what became of them. importance : (rows, H, W) in
    0..1, how much each place mattered on the way. steps : taken. converged : whether it had stopped rising.
    still : whether no gradient reached the images any more.
    """

    job: Job
    begun: Tensor
    pixels: Tensor
    importance: Tensor
    steps: int
    converged: bool
    still: bool

    __repr__ = brief


@dataclass(eq=False)
class _Slot:
    """A row of the batch: one image on its way.

    span : updates between looks at how far it is. middles : (updates, 2) of its windows, where they roam, as fractions
    of the half sides. longer : whether silent units are woken longer than usual. moved : the gradient of its pixels at
    the last step. trace : the objective under the view of each step. size : of the first gradient that is not zero, as
    a power of two.
    """

    name: str
    free: nn.Parameter
    draws: Tensor
    importance: Tensor
    span: int = CHECK
    middles: Tensor | None = None
    age: int = 0
    longer: bool = False
    trace: list[Tensor] = field(default_factory=list)
    moved: Tensor | None = None
    size: Tensor | None = None

    def even(self, gradient: Tensor) -> Tensor:
        """Return a gradient of the free numbers as a multiple of `size`, exactly.

        Adam adds an epsilon of 1e-8 to the root of squared gradients, and those of a unit may be of any size.
        """
        highest = gradient.abs().amax()
        first = torch.ldexp((highest > 0).to(gradient), torch.frexp(highest).exponent)
        self.size = first if self.size is None else torch.where(self.size > 0, self.size, first)
        return quotient(gradient, self.size)

    @property
    def woken(self) -> int:
        """Age up to which silent units are woken."""
        return (WAKING + CHECK + LONGER if self.longer else WAKING) * self.span // CHECK


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows that go through the network at once. waking : numbers of those in which silent units are woken."""

    slots: list[_Slot]
    reading: Reading
    waking: Tensor | None
    windows: Tensor | None
    size: tuple[int, int] | None


class Slots:
    """The batch, its optimizer, and the queue of jobs."""

    def __init__(
        self, model: Model, jobs: Sequence[Job], recipe: Recipe, references: References, rows: int, share: int
    ) -> None:
        self._model, self._recipe, self._references = model, recipe, references
        self._form = recipe.form()
        self._queue = list(jobs)
        self._rows, self.share = rows, share
        self._running: list[tuple[Job, list[_Slot]]] = []
        self._compiled = tap.Compiled(model, str(recipe.options.compile)) if recipe.options.compile else None
        self._optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=self._form.lr, fused=_fused(model))
        self._optimizer.param_groups[0]["params"] = []

    def run(self, tell: "Callable[[Slots], None] | None" = None) -> Generator[Drawn, None, None]:
        """Draw all jobs; yield each when it is finished. tell : called at every look at the batch."""
        while self._queue or self._running:
            self.fill()
            try:
                self.advance(CHECK)
            except RuntimeError as error:
                if not no_memory(error) or self.share <= threads():
                    raise
                # The step is made again from its beginning, in smaller parts.
                self.share = whole(self.share // 2)
                continue
            if tell:
                tell(self)
            for job, slots in list(self._running):
                converged = all(_settled(slot) for slot in slots)
                if (converged and self._recipe.options.until == "converged") or slots[0].age >= job.updates(
                    self._recipe
                ):
                    self._running.remove((job, slots))
                    yield self._finish(job, slots, converged)

    def images(self) -> list[tuple[Job, Tensor]]:
        """Return the images on their way, (rows, C, H, W) in 0..1 each."""
        with torch.no_grad():
            return [(job, self._decoded(slots).float().cpu()) for job, slots in self._running]

    @property
    def steps_left(self) -> int:
        """Updates of images still to be made, at most."""
        running = sum((job.updates(self._recipe) - slots[0].age) * len(slots) for job, slots in self._running)
        return running + sum(job.updates(self._recipe) * job.rows for job in self._queue)

    def fill(self) -> None:
        """Give free rows to the next jobs, as long as they are fed windows of the same size."""
        while self._queue:
            job, used = self._queue[0], sum(job.rows for job, _ in self._running)
            if used and (used + job.rows > self._rows or job.fed != self._running[0][0].fed):
                return
            self._queue.pop(0)
            each = zip(job.names(), job.streams(), strict=True)
            self._running.append((job, [self._slot(job, name, stream) for name, stream in each]))

    def _slot(self, job: Job, name: str, stream: torch.Generator) -> _Slot:
        device = self._model.device
        init = self._recipe.init
        free = self._form.start(stream) if init is None else self._form.encode(init)
        count = job.updates(self._recipe)
        draws = draw(self._recipe.options.views, stream, count)
        middles = None
        if job.window is not None and job.window.roams:
            height, width, *_ = _fractions(job.window, self._recipe.shape)
            room = torch.tensor([1 - height / 2, 1 - width / 2])
            middles = ((torch.rand((count, 2), generator=stream) * 2 - 1) * room).to(device)
        importance = torch.zeros(self._recipe.shape[1:], device=device)
        span = CHECK * job.pace(self._recipe)
        slot = _Slot(name, nn.Parameter(free.to(device)), draws.to(device), importance, span, middles)
        self._optimizer.param_groups[0]["params"].append(slot.free)
        return slot

    def advance(self, most: int) -> None:
        """Make the steps up to the next look, `most` at most."""
        parts = list(self._parts())
        ages = [(slots[0].age, job.updates(self._recipe)) for job, slots in self._running]
        count = min(min(most, CHECK - age % CHECK, updates - age) for age, updates in ages)
        for _ in range(count):
            # All parts before anything is changed: a step without memory leaves no trace.
            found = [self._gradients(part) for part in parts]
            for part, (values, of_pixels, gradients) in zip(parts, found, strict=True):
                mattered = of_pixels.abs().mean(1).float()
                for row, slot in enumerate(part.slots):
                    slot.trace.append(values[row])
                    slot.free.grad, slot.moved = slot.even(gradients[row]), of_pixels[row]
                    slot.importance += mattered[row]
                    slot.age += 1
            self._optimizer.step()

    def _parts(self) -> Iterator[_Part]:
        """Split the batch where memory asks for it; jobs stay whole."""
        parts: list[list[tuple[Job, list[_Slot]]]] = [[]]
        for entry in self._running:
            if parts[-1] and sum(job.rows for job, _ in parts[-1]) + entry[0].rows > self.share:
                parts.append([])
            parts[-1].append(entry)
        device = self._model.device
        for part in parts:
            slots = [slot for _, own in part for slot in own]
            # A program is for one number of rows.
            spare = whole(max(len(slots), self.share if self._compiled else 0)) - len(slots)
            wanted = [job.driven for job, own in part for _ in own]
            together = [number for number, (_, own) in enumerate(part) for _ in own]
            # Every thread gets whole images: with rows to spare an image is the same bits in any company.
            wanted += wanted[-1:] * spare
            together += [len(part) + number for number in range(spare)]
            reading = Reading(
                self._model, wanted, together=together, references=self._references, compiled=self._compiled
            )
            for slot in slots:
                slot.longer |= slot.age >= slot.woken + slot.span and _silent(slot)
            young = [row for row, slot in enumerate(slots) if slot.age < slot.woken]
            waking = torch.tensor(young, device=device) if young else None
            windows = None
            if part[0][0].window is not None:
                rows = [_fractions(job.window, self._recipe.shape) for job, own in part for _ in own]
                windows = torch.tensor(rows + rows[-1:] * spare, device=device)
            yield _Part(slots, reading, waking, windows, _size(part[0][0].window))

    def _gradients(self, part: _Part) -> tuple[Tensor, Tensor, Tensor]:
        """Return the objective of each image, and the gradients of its negative: of pixels, of free numbers."""
        recipe, count = self._recipe, len(part.slots)
        rows = part.slots + part.slots[-1:] * (part.reading.count - count)
        with torch.enable_grad():
            free = torch.stack([slot.free.detach() for slot in rows]).requires_grad_(True)
            pixels = self._form.decode(free)
            draws = torch.stack([slot.draws[slot.age] for slot in rows])
            windows = part.windows
            if windows is not None and all(slot.middles is not None for slot in rows):
                middles = [slot.middles[slot.age] for slot in rows if slot.middles is not None]
                windows = torch.cat([windows[:, :2], torch.stack(middles)], 1)
            seen = view(pixels, draws, windows, part.size, pad=recipe.options.views.pad)
            if recipe.options.views.noise:
                seen = seen + recipe.options.views.noise * torch.stack([_noise(slot, seen) for slot in rows]).to(seen)
            seen = seen.contiguous(memory_format=torch.channels_last)
            half = (
                torch.autocast(seen.device.type, torch.bfloat16)
                if recipe.options.precision == "bfloat16"
                else nullcontext()
            )
            with half:
                values = part.reading(seen, part.waking)
            of_pixels, of_free = tap.gradients(
                self._model, -values[:count].sum(), [pixels, free], allow_unused=True, materialize_grads=True
            )
        # A gradient that is no number moves nothing.
        return values.detach(), of_pixels, of_free.nan_to_num(0, 0, 0)

    def _decoded(self, slots: list[_Slot]) -> Tensor:
        return self._form.decode(torch.stack([slot.free.detach() for slot in slots]))

    def _finish(self, job: Job, slots: list[_Slot], converged: bool) -> Drawn:
        with torch.no_grad():
            pixels = self._decoded(slots)
            if self._recipe.init is None:
                free = torch.stack([self._form.start(stream) for stream in job.streams()])
            else:
                free = torch.stack([self._form.encode(self._recipe.init)] * job.rows)
            begun = self._form.decode(free.to(pixels.device))
            still = all(slot.moved is not None and not bool(slot.moved.any()) for slot in slots)
            importance = torch.stack([slot.importance for slot in slots])
            importance = quotient(importance, importance.amax((1, 2), keepdim=True))
        parameters = self._optimizer.param_groups[0]["params"]
        for slot in slots:
            self._optimizer.state.pop(slot.free, None)
        gone = {id(slot.free) for slot in slots}
        self._optimizer.param_groups[0]["params"] = [p for p in parameters if id(p) not in gone]
        return Drawn(job, begun.float().cpu(), pixels.float().cpu(), importance.cpu(), slots[0].age, converged, still)


def threads() -> int:
    """Return how many rows the parts of a batch are multiples of: one image for every thread, two at least."""
    count = torch.get_num_threads()
    return count if count % 2 == 0 else 2 * count


def whole(rows: int) -> int:
    """Return `rows` rounded up to whole turns of the threads."""
    return max(1, -(-rows // threads())) * threads()


def _settled(slot: _Slot) -> bool:
    """Whether the steps of its last span added little to what the image has risen since it began."""
    if slot.age < slot.woken + 3 * slot.span or slot.age % slot.span:
        return False
    if not slot.longer and _silent(slot):
        return False
    values = torch.stack(slot.trace[-2 * slot.span :]).view(2, slot.span).mean(1).tolist()
    first = float(torch.stack(slot.trace[:4]).mean())
    before, now = float(values[0]), float(values[1])
    return now - before < RISING * abs(now - first)


def _silent(slot: _Slot) -> bool:
    """Whether an image's objective was exactly 0 in all steps of its last span, as a ReLU's is that is never on."""
    return not bool(torch.stack(slot.trace[-slot.span :]).any())


def _noise(slot: _Slot, like: Tensor) -> Tensor:
    """Return the noise of a slot's present step, the same however often it is asked for."""
    generator = torch.Generator(like.device).manual_seed(zlib.crc32(f"{slot.name} noise {slot.age}".encode()))
    return torch.randn(like.shape[1:], generator=generator, device=like.device)


def _fused(model: Model) -> bool:
    return model.device.type in ("cpu", "cuda")


def _size(window: Window | None) -> tuple[int, int] | None:
    return (window.height, window.width) if window else None


def _fractions(window: Window | None, shape: tuple[int, int, int]) -> list[float]:
    assert window is not None
    _, height, width = shape
    middle_y, middle_x = window.top + window.height / 2, window.left + window.width / 2
    return [window.height / height, window.width / width, 2 * middle_y / height - 1, 2 * middle_x / width - 1]
