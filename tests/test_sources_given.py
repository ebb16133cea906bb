"""What people give as a model: accepted where it can be, else one exact line to type; options behind every name."""

import copy
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
import transformers
from networks import InPlace
from safetensors.torch import save_file
from torch import nn

from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.sources import entries, load
from innersight.sources.architectures import fitting
from innersight.sources.origins.keras import library
from innersight.sources.run_card import RunCard, write_run
from innersight.sources.small_resnet import SmallResNet

pytestmark = pytest.mark.filterwarnings("ignore")
FREE = ({0: torch.export.Dim.DYNAMIC},)


def tiny() -> nn.Module:
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    return nn.Sequential(*layers).eval()


class Wrapper:
    def __init__(self) -> None:
        self.net = tiny()


RESNET = torchvision.models.resnet18(num_classes=7).state_dict()
OBJECTS: dict[str, tuple[Callable[[], Any], str]] = {
    "None": (lambda: None, "no model given: None; give a torch.nn.Module, or a text such as 'timm:resnet18'"),
    "list": (lambda: [tiny()], r"a list of 1 given as the model: load\(\) takes one at a time"),
    "tuple": (lambda: (tiny(), tiny()), "a tuple of 2 given as the model"),
    "class": (lambda: SmallResNet, r"SmallResNet is a class: make a network of it, as in load\(SmallResNet\(\)\)"),
    "function": (lambda: torchvision.models.resnet18, r"resnet18 is a function: .*load\('torchvision:resnet18'"),
    "state dict": (lambda: RESNET, r"they fit torchvision:resnet18\?classes=7 and timm:resnet18\?classes=7"),
    "checkpoint": (lambda: {"state_dict": RESNET, "epoch": 3}, "with 'state_dict': .*torchvision:resnet18"),
    "unknown": (lambda: {"a.b": torch.zeros(2)}, r"a state_dict, with the names a\.b: build .*load_state_dict"),
    "network within": (lambda: {"model": tiny()}, r"a dictionary with a network: give it, load\(YOURS\['model'\]\)"),
    "dictionary": (lambda: {"a": 1}, "a dictionary with 'a' given as the model"),
    "empty": (dict, "a dictionary with nothing given as the model"),
    "array": (lambda: np.zeros((4, 4, 3)), "ndarray given as the model: the model comes first, then the images"),
    "tensor": (lambda: torch.zeros(3, 4, 4), "Tensor given as the model: the model comes first"),
    "bytes": (lambda: b"abc", "type bytes given as the model: give the name of its file"),
    "open file": (lambda: io.BytesIO(b"abc"), "type BytesIO given as the model: give the name of its file"),
    "number": (lambda: 3, "type int given as the model: give a torch.nn.Module, a live Keras model"),
    "wrapper": (Wrapper, r"type Wrapper given as the model: give the network in it, its \.net"),
    "TorchScript": (lambda: torch.jit.script(tiny()), "is TorchScript, whose layers cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OBJECTS)
def test_what_is_no_network_is_said_to_be_none(kind: str) -> None:
    make, said = OBJECTS[kind]
    with pytest.raises(InnersightError, match=said) as caught:
        load(make())
    assert len(str(caught.value)) < 600


def same(model: Any, net: nn.Module, x: torch.Tensor) -> bool:
    with torch.no_grad():
        return torch.allclose(model.logits(x), net(x), atol=1e-5)


def test_wrapped_and_exported_networks() -> None:
    net, x = tiny(), torch.rand(2, 3, 16, 16)
    assert load(nn.DataParallel(net)).net is net
    assert load(torch.compile(net)).net is net
    program = torch.export.export(net, (x,), dynamic_shapes=FREE)
    model = load(program, labels=["a", "b", "c"])
    assert same(model, net, x)
    assert (model.input.shape, model.labels) == ((3, 16, 16), ("a", "b", "c"))


def test_a_pipeline_of_transformers_keeps_its_network_and_contract(tmp_path: Path) -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], id2label={0: "ant", 1: "bee", 2: "cow"}
    )
    net = transformers.AutoModelForImageClassification.from_config(config)
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.5, image_mean=[0.1] * 3)
    pipeline = transformers.pipeline("image-classification", model=net, image_processor=processor)
    before = copy.deepcopy(net.state_dict())
    model = load(pipeline)
    assert model.net is pipeline.model
    assert (model.labels, model.input.shape, model.input.crop) == (("ant", "bee", "cow"), (3, 32, 32), 0.5)
    assert model.input.mean == pytest.approx([0.1] * 3)
    assert all(torch.equal(value, before[name]) for name, value in model.net.state_dict().items())


# Live Keras ---------------------------------------------------------------------------------------------------------


def keras_net() -> Any:
    keras = library()
    layers = [keras.layers.Conv2D(4, 3), keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((12, 10, 3)), *layers, keras.layers.Dense(3, activation="softmax")])


def test_a_live_keras_model_is_copied_and_scores_alike() -> None:
    network = keras_net()
    names = [name for name, _ in network.named_modules()]
    x = torch.rand(2, 3, 12, 10)
    before = network(x.permute(0, 2, 3, 1)).detach().clone()
    model = load(network, labels=["a", "b", "c"])
    assert (model.input.shape, model.input.fit, model.labels) == ((3, 12, 10), "squash", ("a", "b", "c"))
    assert torch.allclose(model.probabilities(model.logits(x)), before, atol=1e-5)
    # As it was: its end, its modules, and the values that it gives.
    assert network.layers[-1].activation.__name__ == "softmax"
    assert [name for name, _ in network.named_modules()] == names
    assert torch.equal(network(x.permute(0, 2, 3, 1)), before)
    with torch.no_grad():
        next(model.net.parameters()).zero_()
    assert torch.equal(network(x.permute(0, 2, 3, 1)), before)


def test_live_keras_that_is_no_network() -> None:
    keras = library()
    with pytest.raises(InnersightError, match=r"is a layer of Keras: give a network, keras\.Sequential"):
        load(keras.layers.Dense(3))
    with pytest.raises(InnersightError, match="is not built: call it once on a batch of images"):
        load(keras.Sequential([keras.layers.Conv2D(4, 3)]))
    with pytest.raises(InnersightError, match=r"a given nn\.Module is used as it is"):
        load(keras_net(), classes=4)


def test_a_live_keras_model_with_a_class_of_its_own() -> None:
    keras = library()

    class Doubled(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    layers = [keras.layers.Conv2D(4, 3), Doubled(), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    network = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    x = torch.rand(2, 3, 8, 8)
    assert torch.allclose(load(network).logits(x), network(x.permute(0, 2, 3, 1)), atol=1e-5)


def test_keras_on_another_backend_is_told_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    network = keras_net()
    monkeypatch.setattr(library().backend, "backend", lambda: "tensorflow")
    with pytest.raises(InnersightError, match=r"on tensorflow cannot be read .*model\.save\('net\.keras'\)"):
        load(network)


# Files and folders --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file or folder of each kind."""
    folder = tmp_path_factory.mktemp("place")
    small, net, x = SmallResNet(3, width=4).eval(), tiny(), (torch.rand(2, 3, 16, 16),)
    write_run(folder / "run", small, RunCard("small:4", ("a", "b", "c"), InputSpec(32, 32)))
    keras_net().save(folder / "net.keras")
    keras_net().save(folder / "net.h5")
    torch.onnx.export(net, x, folder / "net.onnx", dynamic_shapes=FREE, verbose=False)
    torch.export.save(torch.export.export(net, x, dynamic_shapes=FREE), folder / "net.pt2")
    (folder / "exported.pt").write_bytes((folder / "net.pt2").read_bytes())
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=3)
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(folder / "hf")
    torch.save(small.state_dict(), folder / "bare.pth")
    save_file(small.state_dict(), folder / "bare.safetensors")
    torch.save({"state_dict": RESNET}, folder / "resnet.pt")
    torch.save({"a.b": torch.zeros(2)}, folder / "own.pt")
    torch.save({"vit.embeddings.cls_token": torch.zeros(2)}, folder / "vit.bin")
    torch.save(InPlace(), folder / "whole.pt")
    torch.jit.save(torch.jit.script(net), folder / "script.pt")
    torch.save({"state_dict": {}}, folder / "light.ckpt")
    (folder / "model.tflite").write_bytes(b"x")
    (folder / "text.txt").write_text("x")
    for name, inside in (("study", "index.sqlite"), ("tensorflow", "saved_model.pb"), ("images", "a.png")):
        (folder / name).mkdir()
        (folder / name / inside).write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("run", "run:"), ("run/run.json", "run:"), ("hf", "hf:"), ("net.keras", "keras:"), ("net.h5", "keras:"),
        ("net.onnx", "onnx:"), ("net.pt2", "pt2:"), ("exported.pt", "pt2:"),
    ],
)  # fmt: skip
def test_a_file_or_folder_of_a_whole_network_is_opened(
    name: str, source: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(place / name)
    assert model.source == f"{source}{place / name}".removesuffix("/run.json")
    assert len(model.labels) == 3
    monkeypatch.chdir(place)
    assert load(name).source == f"{source}{name}".removesuffix("/run.json")
    assert load(f"./{name}?mean=0.25").input.mean == (0.25,) * 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "bare.pth",
            r"they fit small:4\?classes=3; write innersight layers 'small:4\?classes=3' --weights .*bare\.pth",
        ),
        ("bare.safetensors", r"they fit small:4\?classes=3; write innersight layers"),
        ("resnet.pt", r"layers 'torchvision:resnet18\?classes=7' --weights .*resnet\.pt or innersight layers 'timm:"),
        ("own.pt", r"with the names a\.b: name the network they belong to, .*timm:NAME --weights .*own\.pt"),
        ("vit.bin", r"as transformers gives them: .*config\.json, and write hf:FOLDER"),
        ("whole.pt", r"a whole networks\.InPlace: where you trust it, net = torch\.load\(FILE, weights_only=False\)"),
        ("script.pt", "a TorchScript program, whose layers cannot be read"),
        ("light.ckpt", r"a checkpoint, which needs its class: lightning:.*light\.ckpt\?class=MODULE:CLASS"),
        (
            "model.tflite",
            r"a file of TensorFlow Lite, which is not supported: convert it to ONNX and give onnx:FILE\.onnx",
        ),
        ("text.txt", "not a file of a network"),
        ("study", "a study; look at it with: innersight view"),
        ("tensorflow", r"a SavedModel of TensorFlow: call model\.save\('net\.keras'\)"),
        ("images", r"a folder without run\.json .*or config\.json"),
        ("nothing.pt", "no such file or folder"),
    ],
)
def test_other_files_and_folders_are_told_what_to_type(name: str, said: str, place: Path) -> None:
    for given in (place / name, str(place / name)):
        with pytest.raises(InnersightError, match=said):
            load(given)


def test_the_line_that_is_named_works(place: Path) -> None:
    with pytest.raises(InnersightError) as caught:
        load(place / "bare.pth")
    found = re.search(r"layers '(\S+)' --weights (\S+)", str(caught.value))
    assert found
    assert len(load(found[1], weights=found[2]).labels) == 3
    assert load(found[1], weights=place / "bare.pth").source.endswith(f"?classes=3&checkpoint={place / 'bare.pth'}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resnet18", "names no origin .*write torchvision:resnet18 or timm:resnet18$"),
        ("resnet18?classes=5", r"write torchvision:resnet18\?classes=5 or timm:resnet18\?classes=5$"),
        ("test_resnet", "write timm:test_resnet$"),
        ("resnet81", "did you mean torchvision:resnet18"),
        ("owner/name", "for a network on the hub write hf:owner/name$"),
        ("tim:resnet18", "did you mean timm"),
        ("model.pt", "no such file or folder"),
        ("./run", "no such file or folder"),
        ("", "names no known origin"),
        ("\0", "names no known origin"),
    ],
)
def test_a_name_without_an_origin(text: str, said: str) -> None:
    with pytest.raises(InnersightError, match=said):
        load(text)


def test_architectures_are_known_by_names_and_shapes() -> None:
    with torch.device("meta"):
        wrapped = {f"module.{name}": t for name, t in torchvision.models.mobilenet_v3_small().state_dict().items()}
    assert fitting(wrapped) == ["torchvision:mobilenet_v3_small"]
    assert fitting(tiny().state_dict()) == []
    own = SmallResNet(5, width=6, channels=4).state_dict()
    assert fitting(own) == ["small:6?classes=5"]
    # Another layer within is another network.
    assert fitting({**own, "stage1.conv1.weight": torch.zeros(6, 6, 5, 5)}) == []
    assert fitting({**own, "more": torch.zeros(1)}) == []


# Options behind a name ----------------------------------------------------------------------------------------------

OPTIONS = {
    "labels": "labels={}/names.txt", "size": "size=24", "mean": "mean=0.125", "std": "std=0.3", "fit": "fit=squash",
    "cut": "fit=crop", "crop": "crop=0.625", "resample": "resample=nearest", "display": "display=2,1,0",
    "channels": "channels=5", "classes": "classes=6", "weights": "weights={}/other.pth",
    "checkpoint": "checkpoint={}/other.pth", "unknown": "colour=red",
}  # fmt: skip
SOURCES = {
    "toon": "toon", "run": "run:{}/run", "small": "small:4", "timm": "timm:test_resnet",
    "torchvision": "torchvision:squeezenet1_1", "hf": "hf:{}/hf", "keras": "keras:{}/net.keras",
    "onnx": "onnx:{}/net.onnx", "pt2": "pt2:{}/net.pt2", "lightning": "lightning:{}/a.ckpt?class=own_nets:Net",
    "python": "python:own_nets:build",
}  # fmt: skip


@pytest.fixture(scope="module")
def stated(place: Path) -> Path:
    (place / "own_nets.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n        super().__init__("
        "nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))\n\n\n"
        "def build():\n    return Net()\n"
    )
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    torch.save({"state_dict": net.state_dict()}, place / "a.ckpt")
    (place / "names.txt").write_text("red\ngreen\nblue\n")
    (place / "other.pth").write_bytes(b"")
    torch.save({"other": torch.zeros(2)}, place / "other.pth")
    return place


def test_every_origin_is_in_the_table() -> None:
    assert sorted(SOURCES) == [entry.name for entry in entries()]


@pytest.mark.parametrize("origin", SOURCES)
def test_every_option_is_honoured_or_refused(origin: str, stated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stated)
    monkeypatch.syspath_prepend(str(stated))
    source = SOURCES[origin].format(stated)
    plain = load(source, device="cpu")
    for key, option in OPTIONS.items():
        text = f"{source}{'&' if '?' in source else '?'}{option.format(stated)}"
        try:
            model = load(text, device="cpu")
        except InnersightError as error:
            said = str(error)
        else:
            said = ""
        if said:
            assert said.isprintable(), text
            # What is stated of images holds for any network.
            assert key not in ("mean", "std", "fit", "cut", "crop", "resample", "display"), said
            assert key != "labels" or len(plain.labels) != 3, said
            continue
        spec = model.input
        seen = {
            "labels": model.labels == ("red", "green", "blue"),
            "size": (spec.height, spec.width) == (24, 24),
            "mean": spec.mean == (0.125,) * 3,
            "std": spec.std == (0.3,) * 3,
            "fit": spec.fit == "squash",
            "cut": spec.fit == "crop",
            "crop": (spec.fit, spec.crop) == ("crop", 0.625),
            "resample": spec.resample == "nearest",
            "display": spec.display == (2, 1, 0),
            "channels": spec.channels == 5 and model.logits(torch.zeros(1, 5, *spec.shape[1:])).shape[0] == 1,
            "classes": len(model.labels) == 6 and model.logits(torch.zeros(1, *spec.shape)).shape == (1, 6),
        }  # fmt: skip
        assert seen.get(key), f"{text}: ignored"


def test_what_is_stated_twice_in_two_ways_is_refused(place: Path) -> None:
    for source, more in (
        ("small:4?classes=5", {"classes": 6}),
        ("small:4?checkpoint=a.pth", {"weights": "b.pth"}),
        ("small:4?size=32", {"input": InputSpec(64, 64)}),
        ("small:4?mean=0.25", {"input": InputSpec(64, 64, mean=0.5)}),
    ):
        with pytest.raises(InnersightError, match="are both given, one of them in the model's name"):
            load(source, **more)
    assert load("small:4?classes=5&mean=0.25", classes=5, input=InputSpec(64, 64, mean=0.25)).input.height == 64
