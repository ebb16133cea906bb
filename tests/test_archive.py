"""Tar files as they arrive: cut, damaged, packed, put together, written to. What can be read stays; one sentence."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from networks import image, tiny

import innersight as ins
from innersight.image import ImageError
from innersight.inputs import again, archive, entries
from innersight.model import Model
from innersight.scan import load_scan, write_sprites

COUNT = 12


@pytest.fixture
def model() -> Model:
    return tiny("in-place")


def packed(path: Path, first: int = 0, count: int = COUNT) -> Path:
    with tarfile.open(path, "w") as tar:
        for i in range(first, first + count):
            data = io.BytesIO()
            image(i).pil.save(data, "PNG")
            info = tarfile.TarInfo(f"ash/{i:02}.png")
            info.size = data.tell()
            data.seek(0)
            tar.addfile(info, data)
    return path


def offsets(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return tar.getmembers()


def cut_inside(path: Path) -> None:
    middle = offsets(path)[7]
    path.write_bytes(path.read_bytes()[: middle.offset_data + 100])


def cut_in_a_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: offsets(path)[7].offset + 200])


def cut_between(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: offsets(path)[7].offset])


def damaged_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = offsets(path)[7].offset
    data[at : at + 512] = b"\xaa" * 512
    path.write_bytes(data)


def states_too_much(path: Path) -> None:
    data, at = bytearray(path.read_bytes()), offsets(path)[7].offset
    info = tarfile.TarInfo("ash/07.png")
    info.size = 7 << 40
    data[at : at + 512] = info.tobuf(tarfile.GNU_FORMAT)[:512]
    path.write_bytes(data)


def zipped(pack: Callable[[bytes], bytes], keep: float = 1.0) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = pack(path.read_bytes())
        path.write_bytes(data[: int(len(data) * keep)])

    return write


DAMAGED: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "inside": (cut_inside, 7, "cannot be read as a tar file any further"),
    "header": (cut_in_a_header, 7, "damaged or cut off at byte"),
    "between": (cut_between, 7, "has no end: it was cut off between two files"),
    # The rest is found again behind it.
    "bad header": (damaged_header, COUNT - 1, "damaged or cut off at byte"),
    "size": (states_too_much, 7, ""),
    "gzip": (zipped(gzip.compress, 0.7), 8, "cannot be read as a tar file any further"),
    "bz2": (zipped(bz2.compress, 0.7), 0, "cannot be read as a tar file any further"),
    "xz": (zipped(lzma.compress, 0.7), 0, "cannot be read as a tar file any further"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_can_be_read_stays(damage: str, model: Model, tmp_path: Path) -> None:
    change, least, sentence = DAMAGED[damage]
    path = packed(tmp_path / "a.tar")
    change(path)
    if not least:
        with pytest.raises(ImageError, match=sentence):
            list(entries(path))[-1].load(model.input)
        return
    result = ins.scan(model, path, ["relu2"], out=tmp_path / "study")
    assert least <= result.images <= COUNT
    assert sentence in " ".join(result.skipped)
    assert len(result.skipped) == 1 + (damage == "size")
    assert all(str(path) in one for one in result.skipped)
    kept = load_scan(model, tmp_path / "study")
    assert kept is not None
    for unit in range(8):
        examples = kept.examples(f"relu2:{unit}")
        assert len(kept.crops(f"relu2:{unit}", examples)) == len(examples)
    assert write_sprites(result, tmp_path / "study")
    # And it goes on, and ends, as it did.
    assert ins.scan(model, path, ["relu2"], out=tmp_path / "study").skipped == result.skipped


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "A.TGZ", "a.tar.xz"])
def test_packed_whole(pack: Callable[[bytes], bytes], name: str, model: Model, tmp_path: Path) -> None:
    path = packed(tmp_path / name)
    plain = ins.predict(model, path)
    zipped(pack)(path)
    found = ins.predict(model, path)
    assert found.skipped == ()
    assert found.logits.equal(plain.logits)
    assert again(found.names[3]).load(model.input).pil.tobytes() == image(3).pil.tobytes()


def test_tar_files_put_together_are_one(model: Model, tmp_path: Path) -> None:
    one, two = packed(tmp_path / "a.tar", 0, 5), packed(tmp_path / "b.tar", 5, 7)
    (tmp_path / "both.tar").write_bytes(one.read_bytes() + two.read_bytes())
    found = ins.predict(model, tmp_path / "both.tar")
    assert len(found.names) == COUNT
    assert found.skipped == ()
    # The end of the first is not that of the second.
    cut_at = offsets(two)[3].offset
    (tmp_path / "both.tar").write_bytes(one.read_bytes() + two.read_bytes()[:cut_at])
    found = ins.predict(model, tmp_path / "both.tar")
    assert len(found.names) == 8
    assert "has no end" in found.skipped[0]


def test_what_is_no_tar_file(model: Model, tmp_path: Path) -> None:
    for name, data in {"a.tar": b"", "b.tar": b"nothing of the kind" * 1000, "c.tar.gz": gzip.compress(b"no")}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=rf"{name}: cannot be read as a tar file"):
            ins.predict(model, tmp_path / name)


def test_a_tar_file_that_is_replaced_meanwhile(model: Model, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar")
    source = entries(path)
    first = next(source)
    path.unlink()
    packed(path, 20)
    rest = [entry.name for entry in source]
    assert len(rest) == COUNT
    assert rest[-1] == str(path)
    assert first.load(model.input).pil.tobytes() == image(0).pil.tobytes()
    source = entries(path)
    next(source)
    path.unlink()
    packed(path)
    with pytest.raises(ImageError, match="changed while it was read"):
        list(source)[-1].load(model.input)


def test_headers_that_state_too_much_allocate_nothing(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LARGEST", 1000)
    found = list(entries(packed(tmp_path / "a.tar", 0, 2)))
    with pytest.raises(ImageError, match="its header declares more than 1,000 bytes"):
        found[0].load(model.input)
    assert found[0].digest() == ""
