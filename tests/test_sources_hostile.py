"""Files with code in them, in every format: refused before the code runs."""

import base64
import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.sources import load
from innersight.sources.origins.keras import library
from innersight.sources.run_card import RunCard, write_run
from innersight.sources.small_resnet import SmallResNet

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "owned")


@pytest.fixture
def proof(tmp_path: Path) -> Any:
    """The file that hostile code would write."""
    file = tmp_path / "proof"
    yield file
    assert not file.exists()


def test_the_bait_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Hostile(tmp_path / "proof")))
    assert (tmp_path / "proof").read_text() == "owned"


# Pickles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
@pytest.mark.parametrize("writer", ["torch", "torch old", "pickle"])
def test_weight_files(writer: str, suffix: str, proof: Path, tmp_path: Path) -> None:
    content = {"state_dict": {"a": torch.zeros(1)}, "other": Hostile(proof)}
    file = tmp_path / f"weights{suffix}"
    if writer == "pickle":
        file.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=writer == "torch")
    write_run(tmp_path / "run", SmallResNet(3, width=4), RunCard("small:4", ("a", "b", "c"), InputSpec(32, 32)))
    for source in ("small:4", f"run:{tmp_path / 'run'}", "timm:test_resnet", "torchvision:squeezenet1_1"):
        with pytest.raises(InnersightError, match=r"weights\.\w+: (refused|not a readable)"):
            load(source, weights=str(file))


def test_a_lightning_checkpoint(proof: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": {"width": Hostile(proof)}}, tmp_path / "a.ckpt")
    with pytest.raises(InnersightError, match=r"a\.ckpt: refused, the file holds Python objects"):
        load(f"lightning:{tmp_path / 'a.ckpt'}?class=torch.nn:Linear")


def test_a_folder_of_transformers(proof: Path, tmp_path: Path) -> None:
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    config.save_pretrained(tmp_path)
    torch.save({"vit.embeddings.cls_token": Hostile(proof)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        InnersightError, match=r"pytorch_model\.bin: refused, the file holds Python objects that would run code"
    ):
        load(f"hf:{tmp_path}")


def test_code_of_a_transformers_repository(proof: Path, tmp_path: Path) -> None:
    (tmp_path / "modeling.py").write_text(f"open({str(proof)!r}, 'w').write('owned')\n")
    entry = {"AutoConfig": "modeling.C", "AutoModelForImageClassification": "modeling.M"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "of-their-own", "auto_map": entry}))
    with pytest.raises(InnersightError, match="transformers has no image classifier for it"):
        load(f"hf:{tmp_path}")


# Keras --------------------------------------------------------------------------------------------------------------


def keras_file(folder: Path, suffix: str, change: Callable[[dict[str, Any]], None]) -> str:
    """Save a small network and change the configuration of its activation layer."""
    keras = library()
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2), keras.layers.ReLU()]
    file = folder / f"net{suffix}"
    keras.Sequential(layers).save(file)

    def changed(text: str | bytes) -> str:
        config = json.loads(text)
        change(config["config"]["layers"][-1])
        return json.dumps(config)

    if suffix == ".h5":
        import h5py

        with h5py.File(file, "r+") as stored:
            stored.attrs["model_config"] = changed(stored.attrs["model_config"])
        return f"keras:{file}"
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["config.json"] = changed(content["config.json"]).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return f"keras:{file}"


def hostile_keras(kind: str, suffix: str, proof: Path, folder: Path) -> str:
    """Save a network whose last layer would write `proof`."""
    library()
    from keras.src.utils import python_utils

    where = str(proof)
    # Made and dumped as Keras does; never called here.
    spell = eval(f"lambda x: (open({where!r}, 'w').write('owned'), x)[1]")
    code, defaults, closure = python_utils.func_dump(spell)
    function = {
        "class_name": "__lambda__",
        "config": {"code": code, "defaults": defaults, "closure": closure, "value": [code, defaults, closure]},
    }

    def change(layer: dict[str, Any]) -> None:
        if kind == "layer":
            layer.update(class_name="Lambda", module="keras.layers", registered_name=None)
            layer["config"] = {"name": "spell", "function": function if suffix == ".keras" else [code, None, None]}
            layer["config"] |= {"function_type": "lambda", "module": "__main__"} if suffix == ".h5" else {}
        elif kind == "activation":
            layer.update(class_name="Activation", config={"name": "spell", "activation": function})
        else:
            stored = io.BytesIO()
            torch.save(Hostile(proof), stored)
            text = base64.b64encode(stored.getvalue()).decode()
            layer.update(class_name="TorchModuleWrapper", module="keras.layers")
            layer["config"] = {"name": "spell", "module": {"class_name": "__bytes__", "config": {"value": text}}}

    return keras_file(folder, suffix, change)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", ["layer", "activation", "torch"])
def test_keras_files(kind: str, suffix: str, proof: Path, tmp_path: Path) -> None:
    source = hostile_keras(kind, suffix, proof, tmp_path)
    with pytest.raises(InnersightError, match=r"refused, it holds a (Lambda|lambda|TorchModuleWrapper) layer"):
        load(source)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", ["layer", "activation", "torch"])
def test_keras_itself_refuses_them_too(
    kind: str, suffix: str, proof: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innersight.sources.origins.keras.CODE", ())
    with pytest.raises(InnersightError, match="Keras cannot open it"):
        load(hostile_keras(kind, suffix, proof, tmp_path))


# Exported programs --------------------------------------------------------------------------------------------------


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("program") / "net.pt2"
    free = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(Tiny().eval(), (torch.rand(2, 3, 8, 8),), dynamic_shapes=free), file)
    return file.read_bytes()


def pickled(thing: Any) -> bytes:
    stored = io.BytesIO()
    torch.save(thing, stored)
    return stored.getvalue()


def payload(name: str, **changes: Any) -> Callable[[dict[str, bytes], Path], None]:
    """Make the first weight, or a new constant, a payload that is unpickled."""

    def change(entries: dict[str, bytes], proof: Path) -> None:
        kind = "weights" if name.startswith("weight") else "constants"
        config_name = next(entry for entry in entries if entry.endswith(f"{kind}_config.json"))
        config = json.loads(entries[config_name])
        weights = json.loads(entries[next(e for e in entries if e.endswith("weights_config.json"))])
        meta = dict(next(iter(weights["config"].values())))
        config["config"]["conv.weight" if kind == "weights" else "extra"] = {**meta, "path_name": name, **changes}
        entries[config_name] = json.dumps(config).encode()
        entries[f"{config_name.rpartition('/')[0]}/{name}"] = (
            pickle.dumps(Hostile(proof)) if name.startswith("opaque") else pickled(Hostile(proof))
        )

    return change


def entry(name: str, content: Callable[[Path], bytes]) -> Callable[[dict[str, bytes], Path], None]:
    def change(entries: dict[str, bytes], proof: Path) -> None:
        root = next(iter(entries)).partition("/")[0]
        entries[f"{root}/{name}"] = content(proof)

    return change


def text(old: str, new: str) -> Callable[[dict[str, bytes], Path], None]:
    def change(entries: dict[str, bytes], proof: Path) -> None:
        name = next(entry for entry in entries if entry.endswith("models/model.json"))
        described = entries[name].decode()
        assert old in described
        entries[name] = described.replace(old, new.replace("PROOF", str(proof))).encode()

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (entry("data/sample_inputs/model.pt", lambda proof: pickled(Hostile(proof))), "model.pt holds Python objects"),
        (entry("data/weights/model.pt", lambda proof: pickled(Hostile(proof))), "model.pt holds Python objects"),
        (entry("data/constants/model.pt", lambda proof: pickle.dumps(Hostile(proof))), "model.pt holds Python objects"),
        (payload("weight_0", use_pickle=True), "weight_0 holds Python objects"),
        (payload("tensor_0", use_pickle=True), "tensor_0 holds Python objects"),
        (payload("opaque_obj_0", use_pickle=True), "holds Python objects: export plain tensors"),
        (payload("custom_obj_0", use_pickle=True), "holds Python objects: export plain tensors"),
        (entry("data/aotinductor/model/a.so", lambda proof: b"\x7fELF"), "is a compiled library"),
        (text("torch.ops.aten.conv2d.default", "torch.os.system"), "the operator 'torch.os.system'"),
        (text("torch.ops.aten.conv2d.default", "torch.ops.aten.from_file.default"), "the operator"),
        (text("torch.ops.aten.conv2d.default", "_operator.__class__"), "the operator"),
        (text("Symbol('s77', positive", "open('PROOF', 'w', positive"), "the expression"),
        (text('"p_conv_weight"', '"p_conv_weight\\nimport os"'), "the name"),
        (
            text('\\"context\\": \\"null\\"', '\\"context\\": \\"{\\\\\\"__enum__\\\\\\": 1}\\"'),
            "the input or output type",
        ),
    ],
)
def test_exported_programs(change: Any, why: str, program: bytes, proof: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries, proof)
    file = tmp_path / "net.pt2"
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(InnersightError, match=f"refused, .*{why}"):
        load(f"pt2:{file}")


def test_an_exported_program_packed_anew_is_read(program: bytes, tmp_path: Path) -> None:
    # So that the refusals above are for what was changed.
    with zipfile.ZipFile(io.BytesIO(program)) as archive, zipfile.ZipFile(tmp_path / "net.pt2", "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name))
    assert len(load(f"pt2:{tmp_path / 'net.pt2'}", device="cpu").labels) == 2


def test_the_older_format_of_programs(proof: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt2", "w") as archive:
        archive.writestr("version", "8.8")
        archive.writestr("serialized_exported_program.json", "{}")
        for name in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{name}.pt", pickled(Hostile(proof)))
    with pytest.raises(
        InnersightError, match=r"not an archive|its format is none that can be read without running code"
    ):
        load(f"pt2:{tmp_path / 'net.pt2'}")


# ONNX ---------------------------------------------------------------------------------------------------------------


def test_onnx_data_is_never_unpickled(proof: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    data = pickle.dumps(Hostile(proof)).ljust(432, b"\0")
    (tmp_path / "w.bin").write_bytes(data)
    weight = helper.make_tensor("w", TensorProto.FLOAT, (4, 3, 3, 3), [0.0] * 108)
    weight.ClearField("float_data")
    weight.data_location = TensorProto.EXTERNAL
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("GlobalAveragePool", ["a"], ["b"])]
    nodes.append(helper.make_node("Flatten", ["b"], ["y"]))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ("n", 3, 8, 8)), ("y", ("n", 4)))]
    for location, why in (("w.bin", ""), ("../w.bin", "refused"), (str(tmp_path / "w.bin"), "refused")):
        del weight.external_data[:]
        weight.external_data.add(key="location", value=location)
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializer=[weight])
        folder = tmp_path if location == "w.bin" else tmp_path / "inner"
        folder.mkdir(exist_ok=True)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, folder / "net.onnx")
        # Its own bytes as floats: whether they can be compared or not, they are floats.
        expected = pytest.raises(InnersightError, match=why) if why else contextlib.suppress(InnersightError)
        with expected:
            load(f"onnx:{folder / 'net.onnx'}", device="cpu")
