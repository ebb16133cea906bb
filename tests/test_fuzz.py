"""Random and damaged input: one kind of error, never a traceback. The same examples every time, bounded in number."""

import io
import os
import struct
import sys
import tempfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import image
from PIL import Image as PILImage

from innersight.address import Address, ClassAddress, parse
from innersight.cli import app, main
from innersight.errors import InnersightError
from innersight.image import ImageError, load_image
from innersight.sources import query

KINDS = ["png", "jpeg", "gif", "webp", "tiff", "bmp", "ppm", "npy", "multi-band tiff"]
COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)
# What runs for long, draws many images, or opens a port or a browser.
LONG = {"demo", "train", "toons", "view", "study", "trust"}


@cache
def content(kind: str) -> bytes:
    buffer = io.BytesIO()
    small = image(1, width=20, height=16).pil
    if kind == "npy":
        np.save(buffer, np.asarray(small, np.float32) / 255)
    elif kind == "multi-band tiff":
        import tifffile

        six = np.concatenate([np.asarray(small)] * 2, 2)
        tifffile.imwrite(buffer, six, planarconfig="contig", photometric="minisblack")
    else:
        exif = PILImage.Exif()
        exif[0x0112] = 6
        small.save(buffer, format=kind, **({"exif": exif} if kind in ("jpeg", "png", "webp", "tiff") else {}))
    return buffer.getvalue()


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid file with bytes changed, cut off, put in, or doubled; often in the head, where sizes stand."""
    kind = draw(st.sampled_from(KINDS))
    data = bytearray(content(kind))
    for _ in range(draw(st.integers(1, 4))):
        head = draw(st.booleans())
        place = draw(st.integers(0, min(len(data), 64) if head else len(data)))
        change = draw(st.sampled_from(["set", "huge", "cut", "insert", "double"]))
        if change == "set":
            data[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif change == "huge":
            data[place : place + 4] = draw(st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"]))
        elif change == "cut":
            del data[place:]
        elif change == "insert":
            data[place:place] = draw(st.binary(max_size=32))
        else:
            data[place:place] = data[place : place + 200]
    return kind, bytes(data)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=1200)
@given(damaged())
def test_damaged_images_are_read_or_said_to_be_broken(case: tuple[str, bytes]) -> None:
    kind, data = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{'tif' if 'tiff' in kind else kind}"
        path.write_bytes(data)
        try:
            one = load_image(path)
        except ImageError as error:
            one, said = None, str(error)
        if one is None:
            assert str(path) in said
            assert said.isprintable()
        else:
            assert one.pil.mode in ("RGB", "L")
            assert one.width * one.height > 0


@settings(max_examples=300)
@given(st.binary(max_size=300), st.sampled_from([".png", ".tif", ".npy", ".avif", ".txt"]))
def test_noise_is_no_image(data: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(data)
        with pytest.raises(ImageError):
            load_image(path)


def _claims() -> dict[str, bytes]:
    """Small files whose head claims 60,000 by 60,000 pixels."""
    side, low = (60_000).to_bytes(4, "big"), (60_000).to_bytes(4, "little")
    chunk = b"IHDR" + side + side + b"\x08\x02\0\0\0"
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "|u1", "fortran_order": False, "shape": (60_000, 60_000, 3)})
    entries = [(256, 60_000), (257, 60_000), (258, 8), (259, 1), (262, 2), (273, 8), (277, 3), (278, 60_000), (279, 9)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return {
        "png": b"\x89PNG\r\n\x1a\n\0\0\0\r" + chunk + zlib.crc32(chunk).to_bytes(4, "big") + b"\0" * 99,
        "bmp": b"BM" + b"\0" * 8 + (54).to_bytes(4, "little") + (40).to_bytes(4, "little") + low + low
        + b"\x01\0\x18\0" + b"\0" * 99,
        "ppm": b"P6\n60000 60000\n255\n" + b"\0" * 99,
        "gif": b"GIF89a\x60\xea\x60\xea\0\0\0," + b"\0" * 4 + b"\x60\xea\x60\xea\0\x08" + b"\0" * 99,
        "npy": array.getvalue() + b"\0" * 99,
        "tif": b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + b"\0" * 99,
    }  # fmt: skip


@pytest.mark.parametrize("kind", _claims())
def test_absurd_sizes_are_refused_before_memory_is_taken(kind: str, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    (tmp_path / f"a.{kind}").write_bytes(_claims()[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=rf"a\.{kind}: "):
        load_image(tmp_path / f"a.{kind}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@settings(max_examples=500)
@given(st.one_of(st.text(max_size=40), st.from_regex(r"[a-z0-9.#]{0,6}:?[0-9,@-]{0,9}", fullmatch=True)))
def test_any_text_is_an_address_or_said_to_be_none(text: str) -> None:
    try:
        found = parse(text)
    except InnersightError:
        return
    assert found
    for one in found:
        if isinstance(one, ClassAddress) or one.unit is not None or ":" not in one.layer:
            assert parse(str(one)) == (one,)


@given(
    st.from_regex(r"[A-Za-z_][\w.]{0,20}(#[2-9])?", fullmatch=True).filter(lambda name: name != "class"),
    st.integers(0, 10**6),
    st.none() | st.tuples(st.integers(0, 999), st.integers(0, 999)),
)
def test_addresses_round_trip(layer: str, unit: int, place: tuple[int, int] | None) -> None:
    address = Address(layer, unit, place)
    assert parse(str(address)) == (address,)


@settings(max_examples=500)
@given(
    st.one_of(
        st.text(max_size=40),
        st.lists(
            st.tuples(
                st.sampled_from(["size", "mean", "std", "crop", "fit", "classes", "labels", "display", "x", ""]),
                st.one_of(st.text(max_size=8), st.from_regex(r"[-0-9x,.einfa]{0,8}", fullmatch=True)),
            ),
            max_size=3,
        ).map(lambda pairs: "timm:a?" + "&".join(f"{key}={value}" for key, value in pairs)),
    )
)
def test_options_of_a_model_are_read_or_said_to_be_wrong(text: str) -> None:
    try:
        _, _, options = query.split(text)
        asked = query.read(options)
        query.with_stated(query.InputSpec(8, 8), asked.stated)
    except InnersightError as error:
        said = str(error)
    else:
        said = "fine"
    assert said


KNOWN = [
    *("toon", "toon:x", "small:4", "small:4?size=16", "run:in", "hf:in", "onnx:in/a.png", "keras:in/a.png"),
    *("pt2:in/a.png", "python:os:getcwd", "lightning:in/a.png", "in", "in/a.png", "in/bad.png", "in/none.png", "empty"),
    *("stem", "stem:0", "stem:0-3", "stem:999", "class:ambra", "class:", "ambra", "nothing", "gradcam", "0", "1", "-1"),
    *(
        "--json",
        "--layer",
        "-l",
        "--target",
        "--out",
        "out.png",
        "out.json",
        "out.xyz",
        "--steps",
        "--limit",
        "--method",
    ),
    *("--size", "16", "--gradcam.relu=true", "--gradcam.x=1", "--no-measure", "--weights", "--device", "cpu", "--seed"),
    *("\N{RIGHT-TO-LEFT OVERRIDE}x", "line\nbreak", "\udcff"),
]
# No slash: what a command writes stays in the folder of the test.
WORDS = st.one_of(
    st.sampled_from(KNOWN), st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), max_size=6)
).filter(lambda word: not word.startswith(".."))
BOUNDED = {
    "study": ["--units", "0", "--layer", "stem", "--out", "study"],
    "train": ["--epochs", "1", "--size", "16", "--out", "run"],
    "toons": ["--per-class", "1", "--size", "16"],
    "trust": ["--steps", "1", "-m", "gradcam"],
    "report": [],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "in").mkdir()
    for name in ("a", "b"):
        image(1).pil.save(folder / "in" / f"{name}.png")
    (folder / "in" / "bad.png").write_bytes(b"nothing")
    (folder / "empty").mkdir()
    return folder


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200)
@given(command=st.sampled_from([c for c in COMMANDS if c not in LONG]), words=st.lists(WORDS, max_size=5))
def test_the_command_line_ends_with_a_sentence(command: str, words: list[str], place: Path) -> None:
    check(command, words, place)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60)
@given(command=st.sampled_from(sorted(BOUNDED)), words=st.lists(WORDS, max_size=4))
def test_so_do_the_longer_commands(command: str, words: list[str], place: Path) -> None:
    check(command, [*words, *BOUNDED[command]], place)


def check(command: str, words: list[str], place: Path) -> None:
    before = Path.cwd()
    argv, streams = sys.argv, (sys.stdout, sys.stderr)
    try:
        os.chdir(place)
        sys.argv = ["innersight", command, *words]
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
        main()
        status: object = 0
    except SystemExit as ended:
        status = ended.code or 0
    finally:
        said = sys.stderr.getvalue() if isinstance(sys.stderr, io.StringIO) else ""
        sys.argv, (sys.stdout, sys.stderr) = argv, streams
        os.chdir(before)
    assert status in (0, 1, 2), (command, words, said)
    assert status == 0 or said, (command, words)
    assert "Traceback" not in said
