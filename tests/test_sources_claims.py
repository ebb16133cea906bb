"""Model files that claim more than they hold, or point elsewhere: refused from their headers, nothing is allocated."""

import json
import resource
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import transformers
from damage import repacked
from torch import nn

from innersight.errors import InnersightError
from innersight.sources import load
from innersight.sources.origins.keras import library

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Nothing here may take as much as a file claims."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000


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
        ('"as_ints":[1,1]', '"as_ints":[65536,65536]', "a tensor of 4,294,967,296 values"),
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
