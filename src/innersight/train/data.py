"""Images for training: the cache of decoded images, and batches of them."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from innersight.errors import InnersightError, printable
from innersight.image import ImageError
from innersight.input_spec import InputSpec
from innersight.inputs import ImageEntry, ahead, content_of
from innersight.storage.writing import replacing, write_text
from innersight.train.listing import Listing, chosen_entries

_CACHE_FORMAT = 3


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """Decoded images with their classes.

    pixels : (files of the listing, H, W, C) uint8, memory-mapped from the cache file.
    rows : (N,) int64, where in `pixels` the readable images are.
    targets : (N,) int64, class numbers.
    files : (N,) paths below the listing's root.
    skipped : one sentence for each file that cannot be read.
    contents : (N,) digests by which equal images are found, see `innersight.train.split`.
    """

    labels: tuple[str, ...]
    pixels: np.ndarray
    rows: np.ndarray
    targets: np.ndarray
    files: tuple[str, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()
    contents: tuple[tuple[str, str], ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of images of every class."""
        numbers = np.bincount(self.targets, minlength=len(self.labels))
        return {label: int(n) for label, n in zip(self.labels, numbers, strict=True)}


def decode(
    listing: Listing,
    spec: InputSpec,
    *,
    cache: str | Path | None = None,
    workers: int | None = None,
    report: Callable[[str], None] = print,
) -> TrainingImages:
    """Read every image once, as the network sees it (`Image.seen`), and keep them in one cache file.

    cache : folder of the cache files; `$INNERSIGHT_CACHE`, else `innersight` in `$XDG_CACHE_HOME` or `~/.cache`. The
        file's name is a hash of the file names, sizes, times of change, and of the size and fit of `spec`, so a changed
        folder is decoded again. It can be deleted at any time.
    workers : threads that decode; one for each core, at most 8, when not given.

    Raises InnersightError when nothing can be read, and for a network of other than 1 or 3 channels; WriteError when
    the cache cannot be written.
    """
    if spec.channels not in (1, 3):
        raise InnersightError(
            f"the network takes {spec.channels} channels, but training reads images in grey or colour only: "
            "give a network of 1 or 3 channels"
        )
    folder = Path(cache) if cache is not None else cache_folder()
    shape = (len(listing.files), spec.height, spec.width, spec.channels)
    stem = folder / _key(listing, spec)
    if not (stem.with_suffix(".json").is_file() and stem.with_suffix(".u8").is_file()):
        megabytes = np.prod(shape, dtype=np.int64) / 1e6
        report(f"decoding {shape[0]:,} images to {spec.width}x{spec.height} ({megabytes:.0f} MB) ...")
        _fill(listing, spec, stem, shape, workers or min(8, os.cpu_count() or 1))
    listed = json.loads(stem.with_suffix(".json").read_text())
    broken: dict[str, str] = listed["broken"]
    pixels = np.memmap(stem.with_suffix(".u8"), dtype=np.uint8, mode="r", shape=shape)
    rows = np.array([n for n, file in enumerate(listing.files) if file not in broken], dtype=np.int64)
    skipped = tuple(f"{printable(file)}: {reason}" for file, reason in broken.items())
    if not len(rows):
        raise InnersightError(f"{listing.name}: none of the {len(broken)} images can be read; the first: {skipped[0]}")
    targets = np.array(listing.classes, dtype=np.int64)[rows]
    return TrainingImages(
        listing.labels,
        pixels,
        rows,
        targets,
        tuple(listing.files[n] for n in rows),
        skipped,
        listing.notes,
        tuple((listed["contents"][n][0], listed["contents"][n][1]) for n in rows),
    )


def drop_empty(images: TrainingImages) -> TrainingImages:
    """Leave out, with a note, the classes of which no image is readable.

    Raises InnersightError when fewer than two classes remain.
    """
    kept = [n for n, count in enumerate(images.counts().values()) if count]
    lost = [label for n, label in enumerate(images.labels) if n not in kept]
    if len(kept) < 2:
        raise InnersightError(
            f"no image of {', '.join(lost)} can be read, so fewer than two classes remain; "
            f"the first: {images.skipped[0]}"
        )
    number = {old: new for new, old in enumerate(kept)}
    return replace(
        images,
        labels=tuple(images.labels[n] for n in kept),
        targets=np.array([number[int(t)] for t in images.targets], dtype=np.int64),
        notes=(*images.notes, *(f"class {label} has no readable images and is left out" for label in lost)),
    )


def shuffled(images: TrainingImages, seed: int) -> TrainingImages:
    """Return the images with their labels permuted, and a note about that."""
    note = "the labels are shuffled, and the accuracy is that on the training images"
    targets = np.random.default_rng(seed).permutation(images.targets)
    return replace(images, targets=targets, notes=(*images.notes, note))


def cache_folder() -> Path:
    """Return where decoded images are kept: `$INNERSIGHT_CACHE`, else `innersight` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("INNERSIGHT_CACHE") or Path(base) / "innersight")


def class_weights(targets: np.ndarray, classes: int, *, balance: bool = True) -> Tensor:
    """Return (classes,) float32 weights of the loss: `1 / sqrt(images of the class)`, of mean 1 over the images.

    The square root is the middle between counting images and counting classes (Mahajan et al. 2018,
    https://arxiv.org/abs/1805.00932). All ones without `balance`; 0 for a class without images.
    """
    counts = np.bincount(targets, minlength=classes).astype(np.float64)
    raw = np.where(counts > 0, 1 / np.sqrt(np.maximum(counts, 1)), 0) if balance else np.ones(classes)
    return torch.tensor(raw * len(targets) / max((raw * counts).sum(), 1e-12), dtype=torch.float32)


class Batches:
    """Batches of (pixels (B, H, W, C) uint8, targets (B,) int64) over some of the images; iterate as often as needed.

    A training pass has a new order for every epoch, a function of (seed, epoch) alone, so that a resumed run sees what
    the uninterrupted one would have. Each of `world` processes takes every world-th image; a validation pass is
    padded with target -1 so that all have the same number of batches. Training drops the ragged end where it can.
    """

    def __init__(
        self,
        images: TrainingImages,
        positions: np.ndarray,
        *,
        size: int,
        seed: int = 0,
        epoch: Callable[[], int] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._images, self._positions, self._size = images, positions, size
        self._seed, self._epoch, self._rank, self._world = seed, epoch, rank, world

    def __len__(self) -> int:
        own = len(self._positions) / self._world
        return max(1, int(own // self._size)) if self._epoch is not None else -(-int(np.ceil(own)) // self._size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order, own = self._positions, -(-len(self._positions) // self._world)
        real = np.ones(len(order), dtype=bool)
        if self._epoch is not None:
            order = np.random.default_rng((self._seed, self._epoch())).permutation(order)
        padding = own * self._world - len(order)
        order, real = np.resize(order, own * self._world), np.r_[real, np.zeros(padding, dtype=bool)]
        mine, real = order[self._rank :: self._world], real[self._rank :: self._world]
        for number in range(len(self)):
            part = slice(number * self._size, (number + 1) * self._size)
            targets = self._images.targets[mine[part]]
            if self._epoch is None:
                targets = np.where(real[part], targets, -1)
            yield (
                torch.from_numpy(np.asarray(self._images.pixels[self._images.rows[mine[part]]])),
                torch.from_numpy(targets),
            )


def _key(listing: Listing, spec: InputSpec) -> str:
    """Hash what decides the decoded pixels; mean and std do not."""
    seen = {k: v for k, v in asdict(spec).items() if k not in ("mean", "std", "guessed")}
    digest = hashlib.sha256(json.dumps([_CACHE_FORMAT, listing.name, seen], sort_keys=True).encode())
    for file, stamp in zip(listing.files, listing.stamps, strict=True):
        # Names need not be text.
        digest.update(os.fsencode(file) + f"\0{stamp}\n".encode())
    return digest.hexdigest()[:24]


def _reserve(path: Path, size: int) -> None:
    """Create a file of real blocks: a full disk is then an OSError here and not a bus error at a later write."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _fill(listing: Listing, spec: InputSpec, stem: Path, shape: tuple[int, ...], workers: int) -> None:
    """Write STEM.u8 and then STEM.json, each complete under its name."""
    broken: dict[str, str] = {}
    contents: list[tuple[str, str] | None] = [None] * shape[0]
    with replacing(stem.with_suffix(".u8")) as partial, ExitStack() as undo:
        _reserve(partial, int(np.prod(shape, dtype=np.int64)))
        pixels = np.memmap(partial, dtype=np.uint8, mode="r+", shape=shape)

        def read(entry: ImageEntry) -> tuple[np.ndarray, tuple[str, str]] | str:
            try:
                image = entry.load(spec)
                return np.asarray(image.seen(spec)).reshape(shape[1:]), content_of(entry.bytes(), image)
            except ImageError as error:
                return str(error).removeprefix(f"{printable(entry.name)}: ")

        order: list[int] = []

        def each() -> Iterator[ImageEntry]:
            for position, entry in chosen_entries(listing):
                order.append(position)
                yield entry

        for i, found in enumerate(undo.enter_context(closing(ahead(each(), read, workers, 1)))):
            if isinstance(found, str):
                broken[listing.files[order[i]]] = found
            else:
                pixels[order[i]], contents[order[i]] = found
        pixels.flush()
    write_text(stem.with_suffix(".json"), json.dumps({"broken": dict(sorted(broken.items())), "contents": contents}))
