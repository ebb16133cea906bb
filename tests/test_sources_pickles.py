"""Files of weights that claim more than they hold, or hold code: refused before anything is made of them."""

import io
import json
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from damage import repacked
from safetensors.torch import save_file
from torch import nn

from innersight.errors import InnersightError
from innersight.sources import load
from innersight.sources.weights import read_checkpoint, read_weights

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Nothing here may take as much as a file claims."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000


# Pickles ------------------------------------------------------------------------------------------------------------


class Call:
    """A call that a pickle makes when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def hashed_for_ever() -> dict[Any, int]:
    key: Any = ()
    for _ in range(60):
        key = (key, key)
    return key


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: {"a": Call(bytearray, 30 * 2**30)}, r"it calls \S*bytearray with \(32212254720,\)"),
        (lambda: {"a": Call(torch.Tensor, 10**11)}, r"it calls torch\.Tensor"),
        (lambda: {"a": Call(torch.FloatStorage, 10**11)}, "it calls|refused"),
        (lambda: {"a": Call(exec, "1")}, "would run code when read .*exec"),
        (lambda: nn.Linear(2, 2), r"a whole torch\.nn\.modules\.linear\.Linear"),
        (lambda: {"a": torch.zeros(1).to_sparse()}, r"would run code when read \(torch\._utils\._rebuild_sparse"),
    ],
)
def test_calls_in_pickles(content: Callable[[], Any], said: str, new: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    torch.save(content(), file, _use_new_zipfile_serialization=new)
    with pytest.raises(InnersightError, match=said):
        read_weights(file)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # 4 values become 2**31 - 1, in the storage and the size.
        (b"K\x04", b"J\xff\xff\xff\x7f", r"claims 8,589,934,588 bytes of 16|tensor of size"),
        # In the size alone.
        (b"K\x04\x85", b"J\x00\x00\x00\x10\x85", r"a tensor of size \(268435456,\) in a storage of 4 values"),
        (b"X\x07\x00\x00\x00storage", b"X\x07\x00\x00\x00strange", "it names the storage"),
        (b"X\x07\x00\x00\x00storage", b"X\xff\xff\xff\xffstorage", "a pickle that ends too early"),
        (b"ctorch\nFloatStorage", b"cos\nsystem", r"would run code when read \(os\.system\)"),
        (b"R", b"", "not a readable|refused"),
        (b"}", b"(", "not a readable|refused"),
    ],
)
def test_pickles_that_are_changed(old: bytes, new: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    torch.save({"a": torch.zeros(4)}, file)
    repacked(file, lambda name, data: data.replace(old, new) if name.endswith("data.pkl") else data)
    with pytest.raises(InnersightError, match=said):
        read_weights(file)


def test_pickles_cut_at_every_byte(tmp_path: Path) -> None:
    stored = io.BytesIO()
    torch.save({"a": torch.zeros(4), "b": [1, (2.5, None)]}, stored, _use_new_zipfile_serialization=False)
    data = stored.getvalue()
    for end in range(len(data)):
        (tmp_path / "a.pt").write_bytes(data[:end])
        with pytest.raises(InnersightError):
            read_weights(tmp_path / "a.pt")


@pytest.mark.parametrize("depth", [50, 5_000])
def test_deep_pickles_and_keys_that_take_for_ever(depth: int, tmp_path: Path) -> None:
    # Tuples of the same tuple twice: 2**60 of them to hash.
    nested = b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * depth
    for content in (b"\x80\x02}" + nested[2:] + b"K\x01s.", nested + b"."):
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
            archive.writestr("a/data.pkl", content)
            archive.writestr("a/version", "3")
            archive.writestr("a/byteorder", "little")
        with pytest.raises(InnersightError):
            read_weights(tmp_path / "a.pt")


def test_classes_that_the_user_trusts_are_read(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}, "words": Trusted()}, tmp_path / "a.pt")
    with pytest.raises(InnersightError, match="Trusted"):
        read_weights(tmp_path / "a.pt")
    with torch.serialization.safe_globals([Trusted]):
        assert read_weights(tmp_path / "a.pt")["a"].tolist() == [1, 1]


class Trusted:
    """A class of which nothing is known."""


def test_all_that_training_keeps_is_read(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    content = {
        "state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "set": {1, 2}, "complex": 1 + 2j,
        "bytes": b"abc", "bytearray": bytearray(b"xy"), "size": torch.Size([1, 2]), "dtype": torch.float16,
        "device": torch.device("cpu"), "half": torch.ones(3, dtype=torch.bfloat16), "view": torch.ones(4, 4)[1:, ::2],
        "float8": torch.ones(3).to(torch.float8_e4m3fn), "uint16": torch.ones(3, dtype=torch.uint16), "big": 10**30,
        "parameter": nn.Parameter(torch.ones(2)), "empty": torch.zeros(0, 3), "scalar": torch.tensor(3), "none": None,
        "nested": [1, (2, 3, 4, 5), {"a": (1.5, True, False)}], "negative": -5, 3: "number", "text": "x" * 1000,
    }  # fmt: skip
    for new in (True, False):
        # Types that came after the older format.
        content = content if new else {k: v for k, v in content.items() if k not in ("float8", "uint16")}
        torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        read = read_checkpoint(tmp_path / "a.pt")
        assert read.keys() == content.keys()
        assert torch.equal(read["view"], content["view"])
        assert read["optimizer"]["state"][0]["exp_avg"].shape == (2, 3)


# Archives -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["keras", "pt2", "pt"])
def test_zip_bombs(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{kind}"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/archive_format" if kind == "pt2" else "a/data.pkl", "x")
        with archive.open("config.json" if kind == "keras" else "a/zeros", "w", force_zip64=True) as entry:
            for _ in range(64):
                entry.write(bytes(2**20))
    source = f"small:4?checkpoint={file}" if kind == "pt" else f"{kind}:{file}"
    with pytest.raises(InnersightError, match=r"refused, it claims to hold 64 MiB in a file of [\d,]+ bytes"):
        load(source)


def test_an_entry_that_is_there_twice(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    torch.save({"a": torch.zeros(4)}, file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("A/data.pkl", pickle.dumps(1))
    with pytest.raises(InnersightError, match=r"its entry a/data\.pkl occurs twice"):
        read_weights(file)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (struct.pack("<Q", 2**62) + b"{}", "not a readable safetensors"),
        (struct.pack("<Q", 2) + b"{]", "not a readable safetensors"),
        (b"{", "not a readable"),
        (b"", "not a readable"),
    ],
)
def test_safetensors_headers(header: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(header)
    with pytest.raises(InnersightError, match=said):
        read_weights(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]},
        {"dtype": "X9", "shape": [4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]},
    ],
)
def test_safetensors_that_lie(entry: dict[str, Any], tmp_path: Path) -> None:
    for more in ({}, {"b": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}):
        header = json.dumps({"a": entry, **more}).encode()
        (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
        with pytest.raises(InnersightError, match="not a readable safetensors file"):
            read_weights(tmp_path / "a.safetensors")


def test_the_content_tells_the_format_of_weights(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "a.pt")
    assert read_weights(tmp_path / "a.pt")["a"].tolist() == [1, 1]
