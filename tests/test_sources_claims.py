"""Model files that claim more than they hold, or point elsewhere: refused from their headers, nothing is allocated."""

import io
import json
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

from innersight.errors import InnersightError
from innersight.sources import load
from innersight.sources.keras import library
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


def repacked(file: Path, change: Callable[[str, bytes], bytes | None], **options: Any) -> None:
    """Write a zip file again with changed entries; those for which None is returned are left out."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in entries.items():
            new = change(name, data)
            if new is not None:
                archive.writestr(name, new)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # 4 values become 2**31 - 1, in the storage and the size.
        (b"K\x04", b"J\xff\xff\xff\x7f", r"claims 8,589,934,588 bytes of 16|tensor of size"),
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
    with pytest.raises(InnersightError, match=r"its entry a/data\.pkl is there twice"):
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


# Keras --------------------------------------------------------------------------------------------------------------


def keras_file(folder: Path, suffix: str, change: Callable[[dict[str, Any]], None]) -> str:
    """Save a small network with a changed configuration."""
    keras = library()
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.UpSampling2D(1)]
    file = folder / f"net{suffix}"
    keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]).save(file)

    def changed(text: str | bytes) -> str:
        config = json.loads(text)
        change(config["config"])
        return json.dumps(config)

    if suffix == ".h5":
        with h5py.File(file, "r+") as stored:
            stored.attrs["model_config"] = changed(stored.attrs["model_config"])
    else:
        repacked(file, lambda name, data: changed(data).encode() if name == "config.json" else data)
    return f"keras:{file}"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("layer", "value", "said"),
    [
        (-1, {"units": 2**31}, "Keras cannot open it|claims to hold"),
        (-1, {"units": 2**61}, "Keras cannot open it|claims to hold"),
        (-4, {"filters": 2**33}, "Keras cannot open it|claims to hold"),
        (-3, {"size": [2**15, 2**15]}, "gives [0-9,]+ values for one image; at most 268,435,456"),
        (-1, {"units": "many"}, "Keras cannot open it"),
        (-1, {"activation": {"module": "os", "class_name": "system", "config": {}}}, "Keras cannot open it"),
    ],
)
def test_keras_configurations(layer: int, value: dict[str, Any], said: str, suffix: str, tmp_path: Path) -> None:
    source = keras_file(tmp_path, suffix, lambda config: config["layers"][layer]["config"].update(value))
    with pytest.raises(InnersightError, match=said):
        load(source, device="cpu")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_modules_that_a_configuration_names_are_not_imported(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evilmod.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w')\nclass Dense: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    change = {"module": "evilmod", "class_name": "Dense", "registered_name": "evilmod>Dense"}
    source = keras_file(tmp_path, suffix, lambda config: config["layers"][-1].update(change))
    with pytest.raises(InnersightError, match="Keras cannot open it"):
        load(source, device="cpu")
    assert not (tmp_path / "proof").exists()


def outside(stored: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["a"] = np.zeros(4)
    stored["linked"] = h5py.ExternalLink(str(folder / "other.h5"), "a")


def soft(stored: h5py.File, folder: Path) -> None:
    stored["linked"] = h5py.SoftLink("/model_weights")


def raw(stored: h5py.File, folder: Path) -> None:
    stored.create_dataset("raw", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(stored: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "a", (4,))
    stored.create_virtual_dataset("virtual", layout)


def huge(stored: h5py.File, folder: Path) -> None:
    stored.create_dataset("huge", (2**40,), "f4", chunks=(2**20,))


def cyclic(stored: h5py.File, folder: Path) -> None:
    stored["model_weights"]["again"] = stored["/"]
    stored.create_dataset("huge", (2**40,), "f4", chunks=(2**20,))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (outside, "refused, linked is a link to something else"),
        (soft, "refused, linked is a link to something else"),
        (raw, "refused, the values of /raw are in another file"),
        (virtual, "refused, the values of /virtual are in another file"),
        (huge, "refused, it claims to hold 4,194,304 MiB"),
        (cyclic, "refused, it claims to hold 4,194,304 MiB"),
    ],
)
def test_hdf5_files_that_point_elsewhere_or_lie(change: Any, said: str, suffix: str, tmp_path: Path) -> None:
    source = keras_file(tmp_path, suffix, lambda config: None)
    file = tmp_path / f"net{suffix}"
    weights = file
    if suffix == ".keras":
        weights = tmp_path / "model.weights.h5"
        with zipfile.ZipFile(file) as archive:
            weights.write_bytes(archive.read("model.weights.h5"))
    with h5py.File(weights, "r+") as stored:
        stored.require_group("model_weights")
        change(stored, tmp_path)
    if suffix == ".keras":
        repacked(file, lambda name, data: weights.read_bytes() if name == "model.weights.h5" else data)
    with pytest.raises(InnersightError, match=said):
        load(source, device="cpu")


# ONNX ---------------------------------------------------------------------------------------------------------------


def onnx_file(folder: Path, change: Callable[[Any, Any], None]) -> str:
    """Write a convolution whose weights are in a file of their own, changed; `change` gets the tensor and the nodes."""
    import onnx
    from onnx import TensorProto, helper

    (folder / "w.bin").write_bytes(np.linspace(-1, 1, 108, dtype=np.float32).tobytes())
    weight = helper.make_tensor("w", TensorProto.FLOAT, (4, 3, 3, 3), bytes(432), raw=True)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w.bin")
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("GlobalAveragePool", ["a"], ["b"])]
    nodes.append(helper.make_node("Flatten", ["b"], ["y"]))
    change(weight, nodes)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ("n", 3, 8, 8)), ("y", ("n", 4)))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializer=[weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "net.onnx")
    return f"onnx:{folder / 'net.onnx'}"


def told(**entries: str) -> Callable[[Any, Any], None]:
    def change(weight: Any, nodes: Any) -> None:
        known = {entry.key: entry.value for entry in weight.external_data}
        del weight.external_data[:]
        for key, value in {**known, **entries}.items():
            weight.external_data.add(key=key, value=value)

    return change


def shaped(*shape: int) -> Callable[[Any, Any], None]:
    def change(weight: Any, nodes: Any) -> None:
        del weight.dims[:]
        weight.dims.extend(shape)

    return change


def inside(weight: Any, nodes: Any) -> None:
    told()(weight, nodes)
    del weight.external_data[:]
    weight.data_location = 0
    weight.raw_data = bytes(431)


def expanded(weight: Any, nodes: Any) -> None:
    from onnx import TensorProto, helper

    shape = helper.make_tensor("s", TensorProto.INT64, [4], [1, 4, 2**20, 2**20])
    nodes.insert(2, helper.make_node("Constant", [], ["shape"], value=shape))
    nodes.insert(3, helper.make_node("Expand", ["b", "shape"], ["wide"]))
    nodes[4].input[0] = "wide"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (told(), ""),
        (told(offset="0", length="432"), ""),
        (told(offset="many"), "are at offset many, length 0: two whole numbers"),
        (told(offset="-8"), "are at offset -8"),
        (told(length="9" * 30), "two whole numbers"),
        (told(offset="400", length="432"), r"are at bytes 400 to 832 of w\.bin, which has 432"),
        (told(length=str(30 * 2**30)), r"are at bytes 0 to 32,212,254,720 of w\.bin, which has 432"),
        (told(length="400"), r"of shape \(4, 3, 3, 3\) are larger than their data"),
        (told(location="../w.bin"), "no file in its folder"),
        (told(location="/etc/passwd"), "no file in its folder"),
        (told(location="link.bin"), "no file in its folder"),
        (told(location="pipe"), "a pipe, socket or device"),
        (told(location=""), "no file in its folder"),
        (told(location="gone.bin"), "no file in its folder"),
        (shaped(2**31, 3, 3, 3), "are larger than their data"),
        (shaped(-4, 3, 3, 3), "have the shape"),
        (inside, "are larger than their data"),
        (expanded, "has 4,398,046,511,104 values for one image; at most 268,435,456"),
    ],
)
def test_onnx_weights_and_maps(change: Any, said: str, tmp_path: Path) -> None:
    import os

    (tmp_path / "secret").write_bytes(bytes(432))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe")
    source = onnx_file(folder, change)
    if not said:
        assert len(load(source, device="cpu").labels) == 4
        return
    with pytest.raises(InnersightError, match=said):
        load(source, device="cpu")


# Exported programs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"sizes":[{"as_int":4}', '"sizes":[{"as_int":4000000000000}', "claim|a tensor of"),
        ('"path_name":"weight_0"', '"path_name":"weight_9"', "not a readable list of weights"),
        ('"expr_str":"Symbol(', '"expr_str":"Pow(9, Pow(9, Pow(9, 99)))+Symbol(', "the expression"),
        ("torch.ops.aten.conv2d.default", "torch.ops.higher_order.while_loop", "the operator"),
        ("{", "[" * 20_000, "not a readable"),
    ],
)
def test_exported_programs_that_lie(old: str, new: str, said: str, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    file = tmp_path / "net.pt2"
    program = torch.export.export(net, (torch.rand(2, 3, 8, 8),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(program, file)
    found = []

    def change(name: str, data: bytes) -> bytes:
        if not name.endswith(".json"):
            return data
        text = json.dumps(json.loads(data), separators=(",", ":"))
        found.append(old in text)
        return text.replace(old, new).encode()

    repacked(file, change)
    assert any(found)
    with pytest.raises(InnersightError, match=said):
        load(f"pt2:{file}", device="cpu")


# Folders of transformers --------------------------------------------------------------------------------------------


def transformers_folder(folder: Path, **changes: Any) -> str:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=3)
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return f"hf:{folder}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_labels": 10**10}, "its num_labels is 10,000,000,000; at most 1,000,000"),
        ({"hidden_sizes": [8, 2**30]}, "claims to hold"),
        ({"hidden_sizes": [8, 2**50]}, "its hidden_sizes is 1,125,899,906,842,624"),
        ({"depths": [1, 10**9]}, "its depths is 1,000,000,000; at most 1,000"),
        ({"depths": [1] * 10**5}, "its depths is 100,000; at most 1,000"),
        ({"model_type": "of-their-own", "auto_map": {"AutoConfig": "evil.C"}}, "no image classifier for it"),
        ({"hidden_sizes": "many"}, "no image classifier for it"),
    ],
)
def test_configurations_of_transformers(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match=said):
        load(transformers_folder(tmp_path, **changes), device="cpu")


def test_files_of_transformers_folders(tmp_path: Path) -> None:
    import os

    source = transformers_folder(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": "../other.safetensors"}}))
    with pytest.raises(InnersightError, match="it names weights outside its folder"):
        load(source)
    index.unlink()
    os.mkfifo(tmp_path / "preprocessor_config.json")
    with pytest.raises(InnersightError, match="a pipe, socket or device"):
        load(source)
