"""Images from folders, tar files and data sets give the same scan; labels go by name, and strangers are told."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import tiny
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import Dataset

from innersight.errors import InnersightError
from innersight.image import ImageError, decode_image, load_image
from innersight.inputs import ImageEntry, class_of, entries, stream
from innersight.model import Model
from innersight.scan import Batching, Scan, load_scan, scan, write_sprites
from innersight.scan.sprites import GAP, SIDE
from innersight.storage.store import Store

COUNT = 24
NAMES = ("ash", "birch", "cedar")
LAYERS = ("relu1", "relu2")


@pytest.fixture
def model() -> Model:
    return tiny("in-place")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that stand in the same order in the folder, in the tar file and in the data sets."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        name = NAMES[i * len(NAMES) // COUNT]
        (folder / name).mkdir(exist_ok=True)
        PILImage.fromarray(rng.integers(0, 256, (30, 26, 3)).astype(np.uint8)).save(folder / name / f"{i:02}.png")
    return folder


def numbers(result: Scan) -> dict[str, Any]:
    """Everything but the names of the images."""
    return {f"{name}/{key}": value for name, tally in result.layers.items() for key, value in tally.raw.items()}


def alike(one: Scan, other: Scan) -> bool:
    first, second = numbers(one), numbers(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def tar_of(folder: Path, path: Path, *, as_number: bool = False) -> Path:
    with tarfile.open(path, "w") as tar:
        for i, file in enumerate(files(folder)):
            label = str(NAMES.index(file.parent.name)) if as_number else file.parent.name
            for ending, data in (
                ("cls", label.encode()),
                ("json", json.dumps({"i": i}).encode()),
                ("png", file.read_bytes()),
            ):
                info = tarfile.TarInfo(f"part/{i:06}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


class Pairs(Dataset):  # type: ignore[type-arg]
    """As torchvision's ImageFolder: (image, number of the class), and the names of the classes in another order."""

    classes = ("cedar", "birch", "ash")

    def __init__(self, folder: Path) -> None:
        self.files = files(folder)
        self.threads: set[int] = set()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[PILImage.Image, int]:
        self.threads.add(threading.get_ident())
        return PILImage.open(self.files[i]).convert("RGB"), self.classes.index(self.files[i].parent.name)


class Inputs(Pairs):
    """What a loader for training would feed the network."""

    def __init__(self, folder: Path, model: Model) -> None:
        super().__init__(folder)
        self.model = model

    def __getitem__(self, i: int) -> tuple[Tensor, int]:  # type: ignore[override]
        return load_image(self.files[i]).tensor(self.model.input), super().__getitem__(i)[1]


class Rows:
    """As a Hugging Face data set: dicts, with the names of the labels in `features`."""

    class Names:
        names = ("cedar", "birch", "ash")

    features: dict[str, Any] = {"image": None, "label": Names()}  # noqa: RUF012

    def __init__(self, folder: Path) -> None:
        self.pairs = Pairs(folder)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> dict[str, Any]:
        image, label = self.pairs[i]
        return {"image": image, "label": label}


def test_every_source_gives_the_same_scan(model: Model, folder: Path, tmp_path: Path) -> None:
    whole = scan(model, folder, LAYERS, batching=Batching(batch=5))
    tar, by_number = tar_of(folder, tmp_path / "a.tar"), tar_of(folder, tmp_path / "b.tar", as_number=True)
    for source in (files(folder), tar, by_number, Pairs(folder), Rows(folder), Inputs(folder, model)):
        result = scan(model, source, LAYERS, batching=Batching(batch=5))
        assert alike(whole, result), source
        taken = ("float tensors are read as the network's own input, already normalised: 24",)
        assert set(result.notes) <= {*whole.notes, *taken}
    assert whole.notes == ("labels are folder names: 24 images, ash, birch, cedar",)
    assert whole.layers["relu2"].selectivity is not None
    counted = whole.layers["relu2"].raw["classes/count"][:, 0]
    assert counted.tolist() == [8, 8, 8, 0]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_number_of_workers_does_not_matter(workers: int, model: Model, folder: Path) -> None:
    assert alike(scan(model, folder, LAYERS), scan(model, folder, LAYERS, batching=Batching(workers=workers)))


def test_entries_of_a_data_set_are_asked_for_one_at_a_time(model: Model, folder: Path) -> None:
    pairs = Pairs(folder)
    scan(model, pairs, LAYERS, batching=Batching(workers=3))
    assert len(pairs.threads) == 1


def test_examples_are_drawn_from_every_source(model: Model, folder: Path, tmp_path: Path) -> None:
    expected = None
    for source in (folder, tar_of(folder, tmp_path / "a.tar"), Pairs(folder)):
        result = scan(model, source, LAYERS, examples=3)
        found = result.crops("relu2:1", result.examples("relu2:1"))
        assert len(found) == 3
        expected = expected or found
        for crop, own in zip(expected, found, strict=True):
            assert np.array_equal(crop.pixels, own.pixels)
            assert np.allclose(crop.mask, own.mask)
    inputs = scan(model, Inputs(folder, model), LAYERS, examples=3)
    assert inputs.crops("relu2:1", inputs.examples("relu2:1"))[0].pixels.shape[2] == 3


def test_scans_of_tar_files_and_data_sets_go_on(model: Model, folder: Path, tmp_path: Path) -> None:
    def stop(done: int, _total: int, _name: str) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    for i, source in enumerate((tar_of(folder, tmp_path / "a.tar"), Pairs(folder))):
        with pytest.raises(KeyboardInterrupt):
            scan(model, source, LAYERS, batching=Batching(shard=4, batch=4), out=tmp_path / f"s{i}", progress=stop)
        rest = scan(model, source, LAYERS, batching=Batching(shard=4, batch=4), out=tmp_path / f"s{i}")
        assert alike(rest, scan(model, source, LAYERS, batching=Batching(shard=4, batch=4)))


def test_a_data_set_that_changed_is_told(model: Model, folder: Path, tmp_path: Path) -> None:
    pairs = Pairs(folder)
    scan(model, pairs, LAYERS, out=tmp_path / "s")
    pairs.files = pairs.files[::-1]
    with pytest.raises(InnersightError, match="#0 changed since it was scanned"):
        scan(model, pairs, LAYERS, out=tmp_path / "s")


def test_labels_that_are_no_class_are_told(model: Model, folder: Path, tmp_path: Path) -> None:
    for name in ("ash", "brich", "oak"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(files(folder)[0].read_bytes())
    result = scan(model, tmp_path, LAYERS)
    note, rest = result.notes
    assert note.startswith("2 images lie in folders named brich, oak, which are not classes of the network")
    assert rest == "labels are folder names: 1 image, ash"
    assert "did you mean birch?" in note
    assert result.layers["relu1"].raw["classes/count"][:, 0].tolist() == [1, 0, 0, 0]
    # The folder that was named is no class; its images lie in none.
    assert not scan(model, tmp_path / "oak", LAYERS).notes
    assert scan(model, tmp_path / "ash", LAYERS).layers["relu1"].selectivity is not None


def test_numbers_beyond_the_classes_are_told(model: Model) -> None:
    images = [(PILImage.new("RGB", (30, 30), (i, 5 * i, 90)), torch.tensor(i)) for i in range(6)]

    class Few(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 6

        def __getitem__(self, i: int) -> tuple[PILImage.Image, Tensor]:
            return images[i]

    (note,) = scan(model, Few(), LAYERS).notes
    assert note.startswith("2 images are labelled 4, 5, which are not classes")


def test_labels_and_classes() -> None:
    labels, wanted = tiny("in-place").labels, [2, 2, 2, -1, -1, -1, -1]
    assert [class_of(label, labels) for label in ("cedar", 2, "2", 4, -1, "oak", None)] == wanted


def test_activations_that_are_not_finite_are_counted_and_named(model: Model, folder: Path) -> None:
    class Spoils(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return COUNT

        def __getitem__(self, i: int) -> Tensor:
            x = load_image(files(folder)[i]).tensor(model.input)
            if i in (4, 9):
                x[0, 3, 3] = 1e31
            return x

    # NaN in the input itself is refused: here the network makes it.
    model.net.register_forward_pre_hook(lambda _, given: (given[0].masked_fill(given[0] > 1e30, torch.nan),))
    result = scan(model, Spoils(), LAYERS)
    assert [row["not_finite"] for row in result.summary().values()] == [12, 16]
    assert result.notes[1].startswith("relu1: 12 maps of 6 units contain NaN or infinity, first on #4")
    assert all(example.number not in (4, 9) for u in range(8) for example in result.examples(f"relu2:{u}"))
    json.dumps(result.to_json(), allow_nan=False)


def test_near_duplicates_are_merged_and_counted(model: Model, folder: Path, tmp_path: Path) -> None:
    for i, file in enumerate(files(folder)[:6]):
        image = PILImage.open(file).resize((120, 120), PILImage.Resampling.BICUBIC)
        for quality in (95, 85, 80):
            image.save(tmp_path / f"{i}-{quality}.jpg", quality=quality)
    result, several = (
        scan(model, tmp_path, LAYERS, examples=6),
        scan(model, tmp_path, LAYERS, examples=6, max_duplicates=2),
    )
    twice = False
    for unit in range(8):
        examples = result.examples(f"relu2:{unit}")
        scenes = [example.path.name.split("-")[0] for example in examples]
        assert len(set(scenes)) == len(scenes)
        assert all(example.copies == 2 for example in examples)
        shown = [example.path.name[0] for example in several.examples(f"relu2:{unit}", limit=6)]
        assert max(map(shown.count, shown), default=0) <= 2
        twice = twice or len(set(shown)) < len(shown)
    assert twice


def test_broken_tar_files_are_told(model: Model, folder: Path, tmp_path: Path) -> None:
    tar = tar_of(folder, tmp_path / "a.tar")
    tar.write_bytes(tar.read_bytes()[:20000])
    (tmp_path / "none.tar").write_bytes(b"nothing of the kind" * 100)
    result = scan(model, [tar, tmp_path / "none.tar", tmp_path / "absent.tar"], LAYERS)
    assert 0 < result.images < COUNT
    assert [sentence.split(": ")[0] for sentence in result.skipped] == [
        str(tmp_path / name) for name in ("a.tar", "none.tar", "absent.tar")
    ]


def test_a_tar_file_cut_between_two_files_is_told(model: Model, folder: Path, tmp_path: Path) -> None:
    tar = tar_of(folder, tmp_path / "a.tar")
    with tarfile.open(tar) as opened:
        end = opened.getmembers()[6].offset
    tar.write_bytes(tar.read_bytes()[:end])
    result = scan(model, tar, LAYERS)
    assert 0 < result.images < COUNT
    assert [sentence.partition(": ")[2] for sentence in result.skipped] == [
        "has no end: it was cut off between two files, or is still being written"
    ]
    packed = tar_of(folder, tmp_path / "b.tar")
    packed.write_bytes(gzip.compress(packed.read_bytes()))
    assert scan(model, packed, LAYERS).skipped == ()


@pytest.mark.parametrize("kept", [False, True])
def test_no_crop_is_made_of_an_image_that_changed(model: Model, folder: Path, tmp_path: Path, kept: bool) -> None:
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    tar = tar_of(folder, tmp_path / "a.tar")
    rng = np.random.default_rng(9)
    for given in (own, tar):
        result = scan(model, given, LAYERS, out=tmp_path / f"study-{given.name}" if kept else None)
        example = result.examples("relu2:0")[0]
        assert len(result.crops("relu2:0", [example])) == 1
        if given == own:
            other = PILImage.fromarray(rng.integers(0, 256, (30, 26, 3)).astype(np.uint8))
            other.save(example.path)
        else:
            shuffled = tmp_path / "shuffled"
            shutil.copytree(folder, shuffled)
            for file in files(shuffled):
                other.save(file)
            tar_of(shuffled, tar)
        with pytest.raises(
            ImageError, match="changed since it was scanned" if kept else "it is not the image that was"
        ):
            result.crops("relu2:0", [example])


def test_a_small_change_is_seen_where_the_scan_was_kept(model: Model, folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    result = scan(model, own, LAYERS, out=tmp_path / "study")
    example = result.examples("relu2:0")[0]
    example.path.touch()
    assert len(result.crops("relu2:0", [example])) == 1
    pixels = np.array(PILImage.open(example.path))
    pixels[0, 0] ^= 1
    PILImage.fromarray(pixels).save(example.path)
    with pytest.raises(ImageError, match="changed since it was scanned: restore it, or scan again"):
        load_scan(model, tmp_path / "study").crops("relu2:0", [example])


def test_sprites_show_every_unit(model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        model.net.conv2.weight[3] = 0
        model.net.conv2.bias[3] = -1
    result = scan(model, folder, LAYERS, examples=4, out=tmp_path / "s")
    told: list[tuple[int, int, str]] = []
    sheets = write_sprites(result, tmp_path / "s", lambda *state: told.append(state))
    assert [sheet.name for sheet in sheets] == ["relu1-00000.webp", "relu2-00000.webp"]
    assert told[-1][0] == told[-1][1] == len({e.number for x in LAYERS for u in range(units(result, x))
                                              for e in result.examples(f"{x}:{u}")})  # fmt: skip
    sheet = np.asarray(PILImage.open(sheets[1])).astype(float)
    step = SIDE + GAP
    assert sheet.shape == (8 * step, 5 * step, 3)
    for unit in range(8):
        examples = result.examples(f"relu2:{unit}")
        for rank in range(4):
            tile = sheet[unit * step :, (rank + 1) * step :][:SIDE, :SIDE]
            if rank >= len(examples):
                assert tile.min() > 250
                continue
            crop = PILImage.fromarray(result.crops(f"relu2:{unit}", [examples[rank]])[0].masked())
            wanted = np.asarray(crop.resize((SIDE, SIDE), PILImage.Resampling.BILINEAR)).astype(float)
            assert np.abs(tile - wanted).mean() < 12  # what WebP loses of noise
    assert result.examples("relu2:3") == ()
    # They are made once, and those of another scan take their place.
    module = importlib.import_module("innersight.scan.sprites")
    monkeypatch.setattr(module, "_tiles", lambda *_: pytest.fail("made again"))
    assert write_sprites(load_scan(model, tmp_path / "s"), tmp_path / "s") == sheets
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "s" / "sprites").iterdir()) == [
        "made.json",
        *(s.name for s in sheets),
    ]
    other = scan(model, folder, LAYERS[:1], out=tmp_path / "s", overwrite=True)
    files(folder)[0].touch()
    assert [sheet.name for sheet in write_sprites(other, tmp_path / "s")] == ["relu1-00000.webp"]


def units(result: Scan, layer: str) -> int:
    return result.layers[layer].units


def test_old_sprites_stay_until_new_ones_are_there(model: Model, folder: Path, tmp_path: Path) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    shutil.copytree(folder, tmp_path / "own")
    before = write_sprites(scan(model, tmp_path / "own", LAYERS, out=tmp_path / "s"), tmp_path / "s")
    PILImage.effect_mandelbrot((30, 26), (-2, -1.5, 1, 1.5), 50).save(tmp_path / "own" / "zzz.png")
    result = scan(model, tmp_path / "own", LAYERS, out=tmp_path / "s")
    assert result.images == COUNT + 1
    with pytest.raises(KeyboardInterrupt):
        write_sprites(result, tmp_path / "s", stop)
    assert all(sheet.is_file() for sheet in before)
    old = [sheet.read_bytes() for sheet in before]
    after = write_sprites(result, tmp_path / "s")
    assert [sheet.read_bytes() for sheet in after] != old
    assert not list((tmp_path / "s").rglob(".innersight-*"))


def test_sprites_go_with_their_scan_and_are_made_by_one_process(model: Model, folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "new" / "study"
    assert write_sprites(scan(model, folder, LAYERS), study)
    result = scan(model, folder, LAYERS, examples=2, out=study, overwrite=True)
    assert write_sprites(result, study)
    anew = scan(model, folder, LAYERS[:1], out=study, overwrite=True)
    assert not (study / "sprites").exists()
    with Store.open(study).locked(), pytest.raises(InnersightError, match="another process is working on this study"):
        write_sprites(anew, study)
    (sheet,) = write_sprites(anew, study)
    with PILImage.open(sheet) as image:
        assert image.width == 10 * (SIDE + GAP)


def test_sprites_of_every_source(model: Model, folder: Path, tmp_path: Path) -> None:
    wanted = write_sprites(scan(model, folder, LAYERS), tmp_path)
    pixels = [sheet.read_bytes() for sheet in wanted]
    for i, source in enumerate((tar_of(folder, tmp_path / "a.tar"), Pairs(folder))):
        (tmp_path / str(i)).mkdir()
        assert [sheet.read_bytes() for sheet in write_sprites(scan(model, source, LAYERS), tmp_path / str(i))] == pixels


def test_folders_named_by_numbers_are_told(model: Model, folder: Path, tmp_path: Path) -> None:
    for name, number in zip(NAMES, ("2", "0", "40"), strict=True):
        shutil.copytree(folder / name, tmp_path / "own" / number)
    for _ in range(2):  # what was kept tells the same
        result = scan(model, tmp_path / "own", LAYERS, out=tmp_path / "study")
        strange, numbered = result.notes
        assert strange.startswith("8 images lie in folders named 40, which is not a class of")
        label = model.labels
        assert numbered == (f"folders are read as class numbers, counted from 0: 0 is {label[0]}, 2 is {label[2]}")
    assert load_scan(model, tmp_path / "study").notes == result.notes


def test_pixels_given_as_network_input_are_told(model: Model) -> None:
    own = Listed([torch.rand(3, 24, 24) for _ in range(3)])
    scaled = Listed([torch.randn(3, 24, 24) for _ in range(3)])
    (note,) = scan(model, own, LAYERS).notes
    assert "3; but all of them lie between 0 and 1" in note
    taken = ("float tensors are read as the network's own input, already normalised: 3",)
    # Whatever the first one happens to be.
    for given in (scaled, Listed([torch.zeros(3, 24, 24), *scaled.rows[:2]])):
        assert scan(model, given, LAYERS).notes == taken


def test_wrong_entries_are_told(model: Model) -> None:
    with pytest.raises(InnersightError, match="entry 0 of the data set has text: name its image 'image'"):
        scan(model, Listed([{"text": "a"}]), LAYERS)
    with pytest.raises(
        ImageError, match=r"#0: the float tensor has shape \(3, 8, 8\) but the network takes \(3, 24, 24\)"
    ):
        scan(model, Listed([torch.zeros(3, 8, 8)]), LAYERS)
    with pytest.raises(ImageError, match="no images given"):
        scan(model, Listed([]), LAYERS)


class Listed:
    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Any:
        return self.rows[i]


def test_no_more_is_read_ahead_than_is_needed(model: Model, folder: Path) -> None:
    handed = 0

    def source() -> Iterator[ImageEntry]:
        nonlocal handed
        for item in entries(files(folder) * 40):
            handed += 1
            yield item

    reading = stream(source(), model.input, 1, digests=False)
    next(reading)
    assert handed <= 8 * 6
    reading.close()


def test_encoded_images_are_those_of_files(folder: Path, tmp_path: Path) -> None:
    file = files(folder)[0]
    assert np.array_equal(np.asarray(decode_image(file.read_bytes(), "a.png").pil), load_image(file).pil)
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 7), np.float32))
    assert decode_image((tmp_path / "a.npy").read_bytes(), "a.npy").bands is not None
    for data, name, message in (
        (b"", "a.png", "is empty"),
        (b"nothing", "b.png", "not an image"),
        (b"nothing", "c.npy", "cannot be read as an array"),
        (file.read_bytes()[:900], "d.png", "cannot be read"),
    ):
        with pytest.raises(ImageError, match=rf"{name}: .*{message}"):
            decode_image(data, name)
