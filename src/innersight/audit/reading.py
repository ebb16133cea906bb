"""One pass over the images: what the network says of each, and what each is like, apart from its content."""

import hashlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image as PILImage
from torch import Tensor

from innersight import tap
from innersight.audit.copies import groups
from innersight.audit.keep import Keep, Values
from innersight.audit.measures import at_corners, blocks, measure
from innersight.errors import InnersightError, printable
from innersight.heads import readable
from innersight.image import Image
from innersight.input_spec import InputSpec
from innersight.inputs import (
    Given,
    ImageEntry,
    ImageReader,
    Loaded,
    batched,
    class_of,
    content_of,
    network_input,
)
from innersight.layers import default_layers, has_grid, last_grid
from innersight.model import Model
from innersight.scan.perceptual_hash import perceptual_hash
from innersight.storage.study_folder import written_by_innersight

BATCH = 32
PIECE = 128  # images, the scores of which are kept together


@dataclass(frozen=True, eq=False)
class Table:
    """What was read of the images, a row for each.

    names : files, or names. numbers : places among all that were given. classes : numbers of the classes they are
    labelled with, -1 where unknown. logits : of the network. features : (images, units), the mean over locations of the
    layer that class heatmaps are read from, else the logits. middle : the same of a layer in the middle of the
    network, which has no part in the decision yet. properties : (images, properties), see `properties`. corners : the
    same of the corners, see `at_corners`. hashes : perceptual ones of the image, of its mirror image. digests : of the
    pixels of the whole image. kinds : of file, such as "JPEG". sizes : (height, width) of the whole image.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    classes: Int[Tensor, " n"]
    logits: Float[Tensor, "n classes"]
    features: Float[Tensor, "n units"]
    middle: Float[Tensor, "n middle_units"]
    properties: Float[Tensor, "n properties"]
    corners: Float[Tensor, "n properties"]
    hashes: Int[Tensor, "n 2"]
    digests: tuple[str, ...]
    kinds: tuple[str, ...]
    sizes: Int[Tensor, "n 2"]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class _One:
    loaded: Loaded
    pixels: np.ndarray
    digest: str
    kind: str
    blocks: float


class Pixels:
    """What the network sees of each image as 8-bit pixels, (n, C, H, W), kept in a file while the audit runs."""

    def __init__(self, file: IO[bytes], spec: InputSpec, count: int) -> None:
        shape = (max(1, count), spec.channels, spec.height, spec.width)
        self._values = np.memmap(file, np.uint8, "w+", shape=shape)
        self._count = 0

    def add(self, pixels: np.ndarray) -> None:
        """Keep (n, C, H, W) more."""
        self._values[self._count : self._count + len(pixels)] = pixels
        self._count += len(pixels)

    def __getitem__(self, index: Any) -> Tensor:
        """Return (n, C, H, W) uint8 of the rows of an index."""
        return torch.from_numpy(np.ascontiguousarray(self._values[np.asarray(index)]))


class ReadPixels:
    """The same, read again from the images when they are asked for: on another machine. numbers : of the rows."""

    def __init__(self, images: Given, spec: InputSpec, numbers: Sequence[int]) -> None:
        self._images, self._spec, self._numbers = images, spec, numbers

    def __getitem__(self, index: Any) -> Tensor:
        """Return (n, C, H, W) uint8 of the rows of an index."""
        rows = np.asarray(index).tolist()
        wanted = {self._numbers[row] for row in rows}
        found: dict[int, Tensor] = {}
        for one in ImageReader(self._images, self._spec, numbers=sorted(wanted)):
            assert one.values is not None
            found[one.entry.number] = torch.from_numpy(as_bytes(one.values, self._spec)).permute(2, 0, 1)
        return torch.stack([found[self._numbers[row]] for row in rows])


@contextmanager
def pixel_store(spec: InputSpec, count: int) -> Iterator[Pixels]:
    """Keep pixels in a file without a name, which is gone as soon as this process is."""
    with tempfile.TemporaryFile() as file:
        yield Pixels(file, spec, count)


def read_table(
    model: Model, images: Any, numbers: list[int] | None, pixels: Pixels, progress: Any, keep: Keep
) -> Table:
    """Read the images, run the network on each once, and keep their pixels.

    Raises ImageError where none can be read, InnersightError where the scores of all are NaN or infinite.
    """
    reading = ImageReader(images, model.input, model.labels, numbers=numbers)
    layers = read_layers(model)
    parts: list[dict[str, Tensor]] = []
    ones: list[tuple[str, int, int, str, str, tuple[int, int]]] = []
    bad = 0
    for number, group in enumerate(batched(reading.each(partial(_read, spec=model.input)), PIECE)):
        logits, features, middle = _scores(model, group, layers, number, keep)
        fine = readable(logits) & features.isfinite().all(1) & middle.isfinite().all(1)
        bad += int((~fine).sum())
        rows = fine.nonzero()[:, 0].tolist()
        progress(len(group))
        if not rows:
            continue
        own = [group[i] for i in rows]
        shown = np.stack([one.pixels for one in own]).transpose(0, 3, 1, 2)
        pixels.add(shown)
        values = torch.from_numpy(np.ascontiguousarray(shown)).float() / 255
        parts.append(
            {
                "logits": logits[rows],
                "features": features[rows],
                "middle": middle[rows],
                "properties": measure(values, torch.tensor([_file(one) for one in own])),
                "corners": at_corners(values),
                "hashes": torch.stack([perceptual_hash(values), perceptual_hash(values.flip(3))], 1),
            }
        )
        ones += [_facts(one, model) for one in own]
    if not ones:
        raise InnersightError(f"the scores of {model.name} for all images are NaN or infinite: nothing can be audited")
    names, places, classes, digests, kinds, sizes = zip(*ones, strict=True)
    notes = reading.notes
    if bad:
        notes += (f"{bad:,} images were left out: the network's scores for them are NaN or infinite",)
    return Table(
        names, places, torch.tensor(classes), **{key: torch.cat([part[key] for part in parts]) for key in parts[0]},
        digests=digests, kinds=kinds, sizes=torch.tensor(sizes), skipped=reading.skipped, notes=notes,
    )  # fmt: skip


def read_layers(model: Model) -> tuple[str, ...]:
    """Return the layer that class heatmaps are read from, and one in the middle where there are layers before it."""
    if not has_grid(model):
        return ()
    last, steps = last_grid(model)[0], default_layers(model)
    before = steps[: steps.index(last)] if last in steps else ()
    return (last, before[len(before) // 2]) if before else (last,)


Scores = tuple[Float[Tensor, "n classes"], Float[Tensor, "n units"], Float[Tensor, "n middle_units"]]


def _scores(model: Model, group: Sequence[_One], layers: tuple[str, ...], number: int, keep: Keep) -> Scores:
    """Return logits and features of some images, from an interrupted audit where it had got so far."""

    def compute() -> Values:
        parts = [
            _run(model, network_input([one.loaded for one in part], model), layers)
            for part in batched(iter(group), BATCH)
        ]
        return {}, dict(zip(names, (torch.cat(each) for each in zip(*parts, strict=True)), strict=True))

    names = ("logits", "features", "middle")
    seen = hashlib.sha256()
    for one in group:
        seen.update(one.digest.encode() + one.pixels.tobytes())
    found = keep.piece(f"reading/{number}", {"seen": seen.hexdigest(), "layers": list(layers)}, compute)[1]
    with written_by_innersight("what the study keeps of the network's scores"):
        logits, features, middle = (found[name].float() for name in names)
        if any(len(one) != len(group) or one.ndim != 2 for one in (logits, features, middle)):
            raise ValueError(f"{[tuple(found[name].shape) for name in names]} for {len(group)} images")
        return logits, features, middle


def _file(one: _One) -> tuple[float, float, float]:
    """Return the values of `innersight.audit.measures.FILE`."""
    height, width = one.loaded.size or one.pixels.shape[:2]
    return one.blocks, (height * width) ** 0.5, width / max(height, 1)


def _facts(one: _One, model: Model) -> tuple[str, int, int, str, str, tuple[int, int]]:
    entry = one.loaded.entry
    name = str(entry.path) if entry.path is not None else one.loaded.name
    label = class_of(entry.label, model.labels)
    return printable(name), entry.number, label, one.digest, one.kind, one.loaded.size or (0, 0)


def _read(entry: ImageEntry, spec: InputSpec) -> _One:
    found = entry.load(spec).checked(spec)
    values = found.values(spec)
    loaded = Loaded(entry, values, None, name=found.name, size=(found.height, found.width))
    content = entry.bytes()
    return _One(loaded, as_bytes(values, spec), content_of(content, found)[1], _kind(content), _blocks(found))


def as_bytes(values: np.ndarray | Tensor, spec: InputSpec) -> np.ndarray:
    """Return what the network sees as (H, W, C) uint8."""
    if isinstance(values, Tensor):
        pixels = spec.denormalise(values[None].float())[0].permute(1, 2, 0)
        return (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return values if values.dtype == np.uint8 else (values.clip(0, 1) * 255).round().astype(np.uint8)


def _kind(content: bytes) -> str:
    try:
        with PILImage.open(io.BytesIO(content)) as image:
            return image.format or ""
    except (OSError, ValueError, SyntaxError, PILImage.DecompressionBombError):
        return ""


def _blocks(image: Image) -> float:
    """Return the steps at the edges of JPEG's blocks, see `blocks`, of the whole image, before it is scaled."""
    values = torch.from_numpy(np.array(image.pil.convert("L"), np.float32))
    return float(blocks(values[None, None] / 255)[0])


def _run(model: Model, x: Tensor, layers: tuple[str, ...]) -> Scores:
    with tap.untouched(model), torch.no_grad():
        captured = tap.capture(model, x, list(dict.fromkeys(layers)), stop=False)
        logits = captured.logits().float().cpu()
        means = [captured.activations[name].float().mean((2, 3)).cpu() for name in layers]
    return logits, means[0] if means else logits, means[1] if len(means) > 1 else logits[:, :0]


def halves(table: Table, seed: int) -> Bool[Tensor, " n"]:
    """Return which images suggest; the others confirm.

    By content, so that copies are on one side; near-duplicates follow the first of them.
    """
    leader = groups(table.hashes[:, 0], table.digests)
    order = np.random.default_rng(seed).permutation(len(table))
    side = torch.zeros(len(table), dtype=torch.bool)
    # In each class every second group suggests, so that both halves have their share of it.
    by_class: dict[int, dict[int, list[int]]] = {}
    for i in order.tolist():
        label = int(table.classes[i]) if table.classes[i] >= 0 else int(table.logits[i].argmax())
        by_class.setdefault(label, {}).setdefault(int(leader[i]), []).append(i)
    taken: dict[int, bool] = {}
    for own in by_class.values():
        first = 0
        total = sum(map(len, own.values()))
        for group, members in own.items():
            suggests = taken.setdefault(group, first * 2 < total)
            side[members] = suggests
            first += len(members) * suggests
    return side
