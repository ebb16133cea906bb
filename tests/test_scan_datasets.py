"""Data sets as people have them: streams, Hugging Face and webdataset give the scan that the files give."""

from __future__ import annotations

import importlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import tiny
from PIL import Image as PILImage
from torch.utils.data import DataLoader, IterableDataset

from innersight import image
from innersight.errors import InnersightError
from innersight.image import ImageError
from innersight.model import Model
from innersight.scan import Batching, Scan, load_scan, scan

COUNT = 24
NAMES = ("ash", "birch", "cedar")
LAYERS = ("relu1", "relu2")


@pytest.fixture
def model() -> Model:
    return tiny("in-place")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        name = NAMES[i * len(NAMES) // COUNT]
        (folder / name).mkdir(exist_ok=True)
        pixels = np.clip(rng.integers(0, 256, 3) + rng.normal(0, 50, (30, 26, 3)), 0, 255).astype(np.uint8)
        PILImage.fromarray(pixels).save(folder / name / f"{i:02}.png")
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def numbers(result: Scan) -> dict[str, Any]:
    return {f"{name}/{key}": value for name, tally in result.layers.items() for key, value in tally.raw.items()}


def same(one: Scan, other: Scan) -> bool:
    first, second = numbers(one), numbers(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def check(model: Model, folder: Path, source: Any) -> None:
    """The scan of a source is that of the folder, with its labels and the crops of its examples."""
    whole, result = (
        scan(model, folder, LAYERS, batching=Batching(batch=5)),
        scan(model, source, LAYERS, batching=Batching(batch=5)),
    )
    assert same(whole, result)
    assert set(result.notes) <= set(whole.notes)
    assert not result.skipped
    one, other = (found.crops("relu2:1", found.examples("relu2:1")) for found in (whole, result))
    assert one
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one, other, strict=True))


class Streamed(IterableDataset):  # type: ignore[type-arg]
    """Entries one after the other, as dicts; in another order on every pass where `shuffle` says so."""

    def __init__(self, folder: Path, *, shuffle: bool = False) -> None:
        self.files, self.shuffle, self.passes = files(folder), shuffle, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.passes += 1
        step = self.passes if self.shuffle else 0
        for file in self.files[step:] + self.files[:step]:
            yield {"image": PILImage.open(file).convert("RGB"), "label": file.parent.name}


def test_a_stream(model: Model, folder: Path) -> None:
    check(model, folder, Streamed(folder))


def test_a_stream_goes_on_where_it_was_stopped(model: Model, folder: Path, tmp_path: Path) -> None:
    def stop(done: int, _total: int, _name: str) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(model, Streamed(folder), LAYERS, batching=Batching(shard=4), out=tmp_path / "s", progress=stop)
    rest = scan(model, Streamed(folder), LAYERS, batching=Batching(shard=4), out=tmp_path / "s")
    assert same(rest, scan(model, Streamed(folder), LAYERS, batching=Batching(shard=4)))
    with pytest.raises(InnersightError, match="changed since it was scanned"):
        scan(model, Streamed(folder, shuffle=True), LAYERS, batching=Batching(shard=4), out=tmp_path / "s")


def test_a_shuffled_stream_has_no_crops(model: Model, folder: Path) -> None:
    result = scan(model, Streamed(folder, shuffle=True), LAYERS)
    with pytest.raises(ImageError, match="it is not the image that was scanned: give the data set without shuffling"):
        result.crops("relu2:1", result.examples("relu2:1"))


def test_bytes_of_files_are_decoded_by_the_threads(model: Model, folder: Path) -> None:
    class Encoded(Streamed):
        def __iter__(self) -> Iterator[Any]:
            for i, file in enumerate(self.files):
                data = file.read_bytes()
                image = ({"bytes": data, "path": file.name}, {"bytes": None, "path": str(file)}, data, file)[i % 4]
                yield image, file.parent.name.encode()

    check(model, folder, Encoded(folder))


def test_bytes_that_are_no_image_are_skipped(model: Model, folder: Path) -> None:
    class Spoilt(Streamed):
        def __iter__(self) -> Iterator[Any]:
            yield {"png": b"nothing"}
            yield {"png": self.files[0].read_bytes()}

    result = scan(model, Spoilt(folder), LAYERS)
    assert result.images == 1
    assert len(result.skipped) == 1
    assert result.skipped[0].startswith("#0: ")


def test_what_holds_data_sets_is_told(model: Model, folder: Path) -> None:
    with pytest.raises(InnersightError, match=r"has a collate_fn of its own.*give images=loader\.dataset"):
        scan(model, DataLoader(Streamed(folder), collate_fn=list), LAYERS)
    with pytest.raises(InnersightError, match="has the parts 'train', 'test': give one of them"):
        scan(model, {"train": Streamed(folder), "test": Streamed(folder)}, LAYERS)


def rows_of(folder: Path) -> Any:
    """A Hugging Face data set of these images."""
    datasets = pytest.importorskip("datasets")
    labels = datasets.ClassLabel(names=["cedar", "birch", "ash"])  # other numbers than the model has
    rows = {"image": list(map(str, files(folder))), "label": [file.parent.name for file in files(folder)]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image(), "label": labels}))


HUGGING: dict[str, Callable[[Any], Any]] = {
    "plain": lambda rows: rows,
    "numpy": lambda rows: rows.with_format("numpy"),
    "torch": lambda rows: rows.with_format("torch"),
    "stream": lambda rows: rows.to_iterable_dataset(),
    "renamed": lambda rows: rows.rename_columns({"image": "img", "label": "fine_label"}),
    "pictures": lambda rows: rows.rename_columns({"image": "picture"}),
}


@pytest.mark.parametrize("form", HUGGING)
def test_hugging_face_data_sets(form: str, model: Model, folder: Path) -> None:
    check(model, folder, HUGGING[form](rows_of(folder)))


def test_hugging_face_data_sets_that_do_not_decode(model: Model, folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    check(model, folder, rows_of(folder).cast_column("image", datasets.Image(decode=False)))


def test_splits_of_hugging_face_are_told(model: Model, folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    with pytest.raises(InnersightError, match="has the parts 'train': give one of them"):
        scan(model, datasets.DatasetDict(train=rows_of(folder)), LAYERS)


NAMED = "from test_scan_datasets import Streamed, rows_of\nfrom pathlib import Path\nFOLDER = Path({folder!r})\n"
NAMED += "def made():\n    return rows_of(FOLDER)\nstream = Streamed(FOLDER)\nbroken = 1 + 1\n"
NAMED += "def fails():\n    raise KeyError('no')\n"


def test_data_sets_by_name(model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    whole = scan(model, folder, LAYERS)
    rows = rows_of(folder)
    rows.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict(train=rows, test=rows.select(range(6))).save_to_disk(tmp_path / "several")
    rows.rename_columns({"image": "photo", "label": "tree"}).save_to_disk(tmp_path / "renamed")
    (tmp_path / "files").mkdir()
    rows.to_parquet(tmp_path / "files" / "data.parquet")
    monkeypatch.chdir(tmp_path)
    Path("named_sets.py").write_text(NAMED.format(folder=str(folder)))
    for text in (
        "hf:saved", "hf:several?split=train", "hf:renamed?image=photo&label=tree", "hf:files", "python:named_sets:made",
        "python:named_sets:stream",
    ):  # fmt: skip
        assert same(whole, scan(model, [text], LAYERS)), text
    for text in ("hf:several?split=train", "python:named_sets:made"):
        made = scan(model, [text], LAYERS, out=tmp_path / "study", overwrite=True)
        kept, examples = load_scan(model, tmp_path / "study"), made.examples("relu2:1")
        assert kept is not None
        first, again = made.crops("relu2:1", examples), kept.crops("relu2:1", examples)
        assert first
        assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(first, again, strict=True))
    made = scan(model, "python:named_sets:stream", LAYERS, out=tmp_path / "study", overwrite=True)
    kept = load_scan(model, tmp_path / "study")
    assert kept is not None
    with pytest.raises(
        ImageError, match="an entry of a stream, which cannot be read again: make crops right after the scan"
    ):
        kept.crops("relu2:1", made.examples("relu2:1"))
    for text, message in (
        ("hf:several", "has the splits train, test: write hf:several"),
        ("hf:several?split=tset", "no split 'tset'; did you mean test"),
        ("hf:saved?split=train", "has no splits"),
        ("hf:saved?image=photo", "has no column 'photo'"),
        ("hf:saved?colum=photo", "no option 'colum' for a data set"),
        ("hf:./absent", "hf:./absent cannot be opened: "),
        ("python:named_sets:broken", "is of type int: give a data set"),
        ("python:named_sets:fails", "raised KeyError"),
        ("python:named_sets:mades", "did you mean made"),
    ):
        with pytest.raises(InnersightError, match=re.escape(message)):
            scan(model, text, LAYERS)
    with pytest.raises(InnersightError, match="hf:saved is a data set: give it alone"):
        scan(model, ["hf:saved", "a"], LAYERS)


def test_entries_without_a_readable_image_are_skipped(model: Model, folder: Path, tmp_path: Path) -> None:
    good = [np.asarray(PILImage.open(file)) for file in files(folder)[:3]]
    broken = PILImage.open(io.BytesIO(files(folder)[0].read_bytes()[:900]))
    rows = [*good, None, broken, (), 7, {"bytes": None, "path": None}, torch.zeros(9, dtype=torch.uint8)]
    result = scan(model, [{"image": row} for row in rows], LAYERS, out=tmp_path / "s")
    assert result.images == 3
    assert [sentence.split(":")[0] for sentence in result.skipped] == [f"image {i}" for i in range(3, 9)]
    assert "cannot be read as an image" in result.skipped[1]
    assert not list((tmp_path / "s").rglob(".innersight-*"))


def test_labels_that_changed_are_told(model: Model, folder: Path, tmp_path: Path) -> None:
    def labelled(label: str) -> list[Any]:
        return [(np.asarray(PILImage.open(file)), label) for file in files(folder)]

    scan(model, labelled("ash"), LAYERS, out=tmp_path / "s")
    with pytest.raises(InnersightError, match=r"image 0 was labelled ash when it was scanned into .* and is birch now"):
        scan(model, labelled("birch"), LAYERS, out=tmp_path / "s")


def test_bytes_are_decoded_once(model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, seen = importlib.import_module("innersight.inputs.datasets"), []
    monkeypatch.setattr(dataset, "decode_image", lambda data, name: seen.append(name) or image.decode_image(data, name))
    scan(model, [{"image": {"bytes": file.read_bytes(), "path": None}} for file in files(folder)], LAYERS, out=tmp_path)
    assert len(seen) == COUNT


def test_a_folder_of_tar_files(model: Model, folder: Path, tar: Path) -> None:
    assert same(scan(model, tar.parent, LAYERS), scan(model, folder, LAYERS))


def test_what_a_nameless_data_set_left_in_a_study_has_no_crops(model: Model, folder: Path, tmp_path: Path) -> None:
    source = Streamed(folder)
    made = scan(model, source, LAYERS, out=tmp_path / "s")
    kept = load_scan(model, tmp_path / "s")
    assert kept is not None
    example = made.examples("relu2:1")
    assert kept.examples("relu2:1") == example
    assert len(made.crops("relu2:1", example)) == len(example)
    with pytest.raises(ImageError, match="an entry of a data set, which is not available: make crops right after"):
        kept.crops("relu2:1", example)


@pytest.fixture
def tar(folder: Path, tmp_path: Path) -> Path:
    """A tar file written by webdataset itself."""
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i, file in enumerate(files(folder)):
            number = NAMES.index(file.parent.name)
            writer.write({"__key__": f"{i:05}", "png": file.read_bytes(), "cls": number, "json": {"i": i}})
    return tmp_path / "a.tar"


def test_tar_files_of_webdataset(model: Model, folder: Path, tar: Path) -> None:
    check(model, folder, tar)


WEB: dict[str, Callable[[Any], Any]] = {
    "encoded": lambda samples: samples,
    "decoded": lambda samples: samples.decode("pil"),
    "tuples": lambda samples: samples.decode("pil").to_tuple("png", "cls"),
    "arrays": lambda samples: samples.decode("rgb8").to_tuple("png", "cls"),
}


# webdataset leaves the file open that it reads from.
@pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("form", WEB)
def test_streams_of_webdataset(form: str, model: Model, folder: Path, tar: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    check(model, folder, WEB[form](webdataset.WebDataset(str(tar), shardshuffle=False)))


class Holed:
    """A data set of files of which one entry cannot be had."""

    def __init__(self, folder: Path) -> None:
        self.files = files(folder)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[PILImage.Image, str]:
        if number == 7:
            raise OSError("broken file")
        return PILImage.open(self.files[number]).convert("RGB"), self.files[number].parent.name


def test_an_entry_that_cannot_be_had_is_skipped_and_listed(model: Model, folder: Path, tmp_path: Path) -> None:
    result = scan(model, Holed(folder), LAYERS, batching=Batching(batch=5, shard=5), out=tmp_path / "s")
    assert result.skipped == ("#7: the data set returned no entry (OSError: broken file)",)
    assert result.images == COUNT - 1
    # It is the same one when the scan goes on.
    assert same(result, scan(model, Holed(folder), LAYERS, batching=Batching(batch=5, shard=5), out=tmp_path / "s"))


def test_a_tar_file_that_is_cut_off_gives_what_came_before(model: Model, tar: Path) -> None:
    with tarfile.open(tar) as whole:
        middle = [member for member in whole if member.name.endswith(".png")][COUNT // 2]
    tar.write_bytes(tar.read_bytes()[: middle.offset_data + 600])
    result = scan(model, tar, LAYERS)
    assert 0 < result.images < COUNT
    assert len(result.skipped) == 1
    assert "cannot be read as a tar file" in result.skipped[0]
    # What can be read is read again too.
    assert len(result.crops("relu2:1", result.examples("relu2:1"))) == len(result.examples("relu2:1"))
