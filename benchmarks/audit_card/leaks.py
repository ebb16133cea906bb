"""Copies of training images among those to audit: which are found, and what else is taken for one."""

import contextlib
import io
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps

from benchmarks.audit_card.cases import FIRST_HONEST, made, make_case, taken, write_images
from benchmarks.audit_card.outcome import Figure, Outcome, audited, lines, path_of
from benchmarks.audit_card.pool import CLASSES, TRAIN

FOLDERS, TRAINED, EACH, COPIES = 4, 100, 50, 25
"""Folders, images of each class in training and to audit, and copies of each kind in a folder."""
KEPT = 0.9
"""Share of both sides that a crop leaves."""


def _jpeg(image: PILImage.Image, dice: np.random.Generator) -> bytes:
    return _packed(image, "JPEG", quality=int(dice.integers(60, 91)))


def _mirrored(image: PILImage.Image, dice: np.random.Generator) -> bytes:
    return _packed(ImageOps.mirror(image))


def _cropped(image: PILImage.Image, dice: np.random.Generator) -> bytes:
    wide, tall = round(KEPT * image.width), round(KEPT * image.height)
    x, y = int(dice.integers(0, image.width - wide + 1)), int(dice.integers(0, image.height - tall + 1))
    return _packed(image.crop((x, y, x + wide, y + tall)))


def _packed(image: PILImage.Image, format: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


KINDS: dict[str, tuple[str, Callable[[PILImage.Image, np.random.Generator], bytes] | None]] = {
    "exact": ("0.99", None),
    "re-encoded": ("0.99", _jpeg),
    "mirrored": ("0.95", _mirrored),
    "cropped by 10%": ("0.8", _cropped),
}
"""Target, and what a copy is made by; None for the same bytes."""


def jobs(quick: bool) -> list[tuple[int]]:
    """Return the seed of every pair of folders."""
    return [(seed,) for seed in range(1 if quick else FOLDERS)]


def judge(seed: int) -> Outcome:
    """Audit a folder with copies of training images."""
    case = make_case("clean", seed)
    folder = made(f"leak-{seed}", partial(_make, case.labels, seed), __file__)
    found = audited(case.model, folder / "images", ["leak"], train=folder / "train")
    told = {path_of(path) for one in found.findings if one.check == "leak" and one.confirmed for path in one.images}
    copies = {path_of(str(file)): file.stem.split("-")[0] for file in (folder / "images").glob("*/*-*")}
    numbers = _recalls(told, copies)
    numbers["false"] = len(told - copies.keys())
    numbers |= {f"cleanvision {name}": value for name, value in _cleanvision(folder, copies).items()}
    return Outcome("leaks", "copies", seed, f"{len(copies)} copies", None, "", lines(found.findings), numbers=numbers)


def _make(labels: Sequence[str], seed: int, folder: Path) -> None:
    dice = np.random.default_rng((seed, 9))
    write_images(folder / "train", labels, list(taken(labels, 0, TRAIN, TRAINED, seed)), seed)
    write_images(folder / "images", labels, list(taken(labels, TRAIN, FIRST_HONEST, EACH, seed)), seed + 1)
    files = sorted((folder / "train").glob("*/*.png"))
    chosen = dice.choice(len(files), COPIES * len(KINDS), replace=False).reshape(len(KINDS), COPIES)
    for number, (name, (_, make)) in enumerate(KINDS.items()):
        for i in chosen[number]:
            content = files[i].read_bytes() if make is None else make(PILImage.open(files[i]), dice)
            suffix = "jpg" if name == "re-encoded" else "png"
            (folder / "images" / files[i].parent.name / f"{number}-{i:05d}.{suffix}").write_bytes(content)


def _recalls(told: set[str], copies: dict[str, str]) -> dict[str, float]:
    return {
        name: sum(path in told for path, kind in copies.items() if kind == str(number)) / COPIES
        for number, name in enumerate(KINDS)
    }


def _cleanvision(folder: Path, copies: dict[str, str]) -> dict[str, float]:
    """Return the recalls of CleanVision's exact and near duplicates; nothing where it is not installed."""
    if find_spec("cleanvision") is None:
        return {}
    from cleanvision import Imagelab

    with contextlib.redirect_stderr(io.StringIO()):  # its bars
        lab = Imagelab(data_path=str(folder), verbose=False)
        lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    told = set()
    for kind in ("exact_duplicates", "near_duplicates"):
        for alike in lab.info[kind]["sets"]:
            if any((folder / "train") in Path(path).parents for path in alike):
                told |= {path_of(path) for path in alike if (folder / "images") in Path(path).parents}
    return _recalls(told, copies) | {"false": len(told - copies.keys())}


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return the lines of the card."""
    found = []
    for who in ("", "cleanvision "):
        if f"{who}exact" not in outcomes[0].numbers:
            continue
        by = "by CleanVision: " if who else ""
        for name, (target, _) in KINDS.items():
            value = np.mean([one.numbers[who + name] for one in outcomes])
            what = f"{by}copies of training images found: {name}"
            found.append(Figure(what, "" if who else target, f"{value:.2f} of {len(outcomes) * COPIES}"))
        false = sum(one.numbers[f"{who}false"] for one in outcomes)
        found.append(
            Figure(f"{by}other images taken for copies", "", f"{false:.0f} of {len(outcomes) * EACH * CLASSES}")
        )
    return found
