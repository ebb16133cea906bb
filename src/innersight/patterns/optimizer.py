"""The optimizer: many images share a batch; one that is finished leaves it, and the next takes its place."""

import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from innersight import tap
from innersight.memory_format import memory_format
from innersight.model import Model
from innersight.network import no_memory
from innersight.patterns.batching import ROWS, ROWS_ON_GPU, batch_of
from innersight.patterns.jobs import FinishedPattern, PatternJob, Recipe
from innersight.patterns.responses import ObjectiveBatch, References, references_of, threads, whole
from innersight.patterns.schedule import BETAS, CHECK, LONGER, WAKING, falling, rate, settled
from innersight.patterns.views import Window, draw, view
from innersight.quotients import quotient
from innersight.remote import spread

STAGES = {round(2 ** (half / 2)) for half in range(64)}  # updates after which a growing image is kept


@dataclass(eq=False)
class _Slot:
    """A row of the batch: one image on its way.

    span : updates between looks at how far it is. falls : over how many its steps fall at the end, and `begun` after
    how many they began to; `converged` says whether it had settled then. middles : (updates, 2) of its windows, where
    they roam, as fractions of the half sides. longer : whether silent units are woken longer than usual. moved : the
    gradient of its pixels at the last step. trace : the objective under the view of each step. size : of the first
    gradient that is not zero, as a power of two. grown : the age and the free numbers at the stages that are kept.
    """

    name: str
    free: nn.Parameter
    draws: Tensor
    importance: Tensor
    span: int = CHECK
    falls: int = 1
    begun: int | None = None
    converged: bool = False
    middles: Tensor | None = None
    age: int = 0
    longer: bool = False
    trace: list[Tensor] = field(default_factory=list)
    moved: Tensor | None = None
    size: Tensor | None = None
    grown: list[tuple[int, Tensor]] = field(default_factory=list)

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
    reading: ObjectiveBatch
    waking: Tensor | None
    windows: Tensor | None
    size: tuple[int, int] | None


class PatternOptimizer:
    """The batch, its optimizer, and the queue of jobs."""

    def __init__(
        self, model: Model, jobs: Sequence[PatternJob], recipe: Recipe, references: References, rows: int, share: int
    ) -> None:
        self._model, self._recipe, self._references = model, recipe, references
        self._form = recipe.form()
        self._queue = list(jobs)
        self._rows, self.share = rows, share
        self._running: list[tuple[PatternJob, list[_Slot]]] = []
        self._compiled = tap.Compiled(model, str(recipe.options.compile)) if recipe.options.compile else None
        self._optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], betas=BETAS, fused=_fused(model))
        # A group for each image: their ages differ, and so do their rates.
        self._optimizer.param_groups.clear()

    def run(self, report: "Callable[[PatternOptimizer], None] | None" = None) -> Generator[FinishedPattern, None, None]:
        """Draw all jobs; yield each when it is finished. report : called at every look at the batch."""
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
            if report:
                report(self)
            for job, slots in list(self._running):
                self._judge(job, slots)
                if slots[0].begun is not None and slots[0].age >= slots[0].begun + slots[0].falls:
                    self._running.remove((job, slots))
                    yield self._finish(job, slots)

    def _judge(self, job: PatternJob, slots: list[_Slot]) -> None:
        """Let the steps of images fall that have settled, or whose updates come to an end."""
        first = slots[0]
        if first.begun is not None:
            return
        converged = all(_settled(slot) for slot in slots)
        # Only at its own looks: it must not matter when those of others are.
        early = converged and first.age % first.span == 0 and self._recipe.options.until == "converged"
        if early or first.age >= job.updates(self._recipe) - first.falls:
            for slot in slots:
                slot.begun, slot.converged = slot.age, converged

    def images(self) -> list[tuple[PatternJob, Tensor]]:
        """Return the images on their way, (rows, C, H, W) in 0..1 each."""
        with torch.no_grad():
            return [(job, self._decoded(slots).float().cpu()) for job, slots in self._running]

    @property
    def steps_left(self) -> int:
        """Updates of images still to be made, at most."""
        running = 0
        for job, slots in self._running:
            begun = slots[0].begun
            last = job.updates(self._recipe) if begun is None else begun + slots[0].falls
            running += (last - slots[0].age) * len(slots)
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

    def _slot(self, job: PatternJob, name: str, stream: torch.Generator) -> _Slot:
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
        pace = job.pace(self._recipe)
        slot = _Slot(
            name, nn.Parameter(free.to(device)), draws.to(device), importance, CHECK * pace, falling(count, pace),
            middles=middles,
        )  # fmt: skip
        self._optimizer.add_param_group({"params": [slot.free]})
        return slot

    def advance(self, most: int) -> int:
        """Make the steps up to the next look, `most` at most; return how many."""
        parts = list(self._parts())
        ends = [(slots[0].age, self._end(job, slots[0])) for job, slots in self._running]
        count = min(min(most, CHECK - age % CHECK, end - age) for age, end in ends)
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
            for group, slot in zip(self._optimizer.param_groups, self._slots(), strict=True):
                since = 0 if slot.begun is None else slot.age - 1 - slot.begun
                group["lr"] = self._form.lr * rate(since, slot.falls)
            self._optimizer.step()
            if self._recipe.options.growth:
                for _, (first, *_) in self._running:
                    if first.age in STAGES:
                        first.grown.append((first.age, first.free.detach().clone()))
        return count

    def _end(self, job: PatternJob, slot: _Slot) -> int:
        """Return after which update an image is to be looked at again, the next check aside."""
        return job.updates(self._recipe) - slot.falls if slot.begun is None else slot.begun + slot.falls

    def _slots(self) -> list[_Slot]:
        return [slot for _, slots in self._running for slot in slots]

    def _parts(self) -> Iterator[_Part]:
        """Split the batch where memory asks for it; jobs stay whole."""
        parts: list[list[tuple[PatternJob, list[_Slot]]]] = [[]]
        for entry in self._running:
            if parts[-1] and sum(job.rows for job, _ in parts[-1]) + entry[0].rows > self.share:
                parts.append([])
            parts[-1].append(entry)
        device = self._model.device
        for part in parts:
            slots = [slot for _, own in part for slot in own]
            # A program is for one number of rows.
            spare = whole(max(len(slots), self.share if self._compiled else 0)) - len(slots)
            wanted = [job.optimized for job, own in part for _ in own]
            together = [number for number, (_, own) in enumerate(part) for _ in own]
            # Every thread gets whole images: with rows to spare an image is the same bits in any company.
            wanted += wanted[-1:] * spare
            together += [len(part) + number for number in range(spare)]
            reading = ObjectiveBatch(
                self._model, wanted, together=together, references=self._references, compiled=self._compiled
            )
            for slot in slots:
                # The batch is also looked at when another image comes to its end, or memory to its own.
                slot.longer |= slot.age % CHECK == 0 and slot.age >= slot.woken + slot.span and _silent(slot)
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
            seen = seen.contiguous(memory_format=memory_format(self._model))
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

    def _finish(self, job: PatternJob, slots: list[_Slot]) -> FinishedPattern:
        with torch.no_grad():
            pixels = self._decoded(slots)
            if self._recipe.init is None:
                free = torch.stack([self._form.start(stream) for stream in job.streams()])
            else:
                free = torch.stack([self._form.encode(self._recipe.init)] * job.rows)
            begun = self._form.decode(free.to(pixels.device))
            stages, growth = self._grown(slots[0], begun[0], pixels[0])
            still = all(slot.moved is not None and not bool(slot.moved.any()) for slot in slots)
            importance = torch.stack([slot.importance for slot in slots])
            importance = quotient(importance, importance.amax((1, 2), keepdim=True))
        for slot in slots:
            self._optimizer.state.pop(slot.free, None)
        gone = {id(slot.free) for slot in slots}
        groups = self._optimizer.param_groups
        groups[:] = [group for group in groups if id(group["params"][0]) not in gone]
        return FinishedPattern(
            job, begun.float().cpu(), pixels.float().cpu(), importance.cpu(), slots[0].age, slots[0].converged, still,
            stages, growth,
        )  # fmt: skip

    def _grown(self, slot: _Slot, begun: Tensor, pixels: Tensor) -> tuple[tuple[int, ...], Tensor]:
        """Return the updates after which an image was kept, and (stages, C, H, W) float16; nothing if not asked for."""
        if not self._recipe.options.growth:
            return (), torch.empty(0)
        between = [(age, free) for age, free in slot.grown if age < slot.age]
        seen = [self._form.decode(free[None])[0] for _, free in between]
        stages = (0, *(age for age, _ in between), slot.age)
        return stages, torch.stack([begun, *seen, pixels]).half().cpu()


def _settled(slot: _Slot) -> bool:
    """Whether an image that had its time has come near to where it would rise in the end."""
    if slot.age < slot.woken + 3 * slot.span:
        return False
    if not slot.longer and _silent(slot):
        return False
    return settled(slot.trace, slot.span)


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


@dataclass(frozen=True, eq=False)
class PatternWorker:
    """What a worker on another machine does with jobs."""

    recipe: Recipe

    def __call__(self, model: Model, jobs: Sequence[PatternJob]) -> list[FinishedPattern]:
        """Draw jobs; return them in order."""
        with tap.untouched(model), tap.fold_batchnorm():
            references = references_of(model, [job.optimized for job in jobs], self.recipe.shape[1:])
            rows, share = batch_of(model, jobs, self.recipe, references)
            found = {one.job: one for one in PatternOptimizer(model, jobs, self.recipe, references, rows, share).run()}
        return [found[job] for job in jobs]


def draw_remote(
    model: Model, queue: Sequence[PatternJob], recipe: Recipe, cluster: str
) -> Generator[FinishedPattern, None, None]:
    """Draw jobs on a Ray cluster; yield them in their order. Raises what `innersight.remote.spread` does."""
    pieces = list(_batches(queue, ROWS_ON_GPU if model.device.type == "cuda" else ROWS))
    with closing(spread(cluster, model, PatternWorker(recipe), pieces, _named)) as answers:
        for piece, drawn in zip(pieces, answers, strict=True):
            # What comes back was pickled: it is a copy of the job.
            yield from (replace(one, job=job) for job, one in zip(piece, drawn, strict=True))


def _batches(queue: Sequence[PatternJob], rows: int) -> Generator[list[PatternJob], None, None]:
    """Cut the queue into runs of jobs with up to `rows` images, one job at least."""
    piece: list[PatternJob] = []
    for job in queue:
        if piece and sum(one.rows for one in piece) + job.rows > rows:
            yield piece
            piece = []
        piece.append(job)
    if piece:
        yield piece


def _named(jobs: Sequence[PatternJob]) -> str:
    return f"the patterns from {jobs[0].objective} to {jobs[-1].objective}"
