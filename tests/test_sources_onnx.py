"""ONNX files: rebuilt under readable names, compared with onnxruntime, for any number of images."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from innersight.errors import InnersightError
from innersight.sources import load

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning"
)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x)) + x


class Net(nn.Module):
    def __init__(self, *last: nn.Module, outputs: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.blocks = nn.Sequential(Block(), Block())
        self.top = nn.Linear(4, outputs)
        self.last = nn.Sequential(*last)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(self.blocks(self.stem(x)), scale_factor=2)
        return self.last(self.top(x.mean((2, 3)).view(x.shape[0], -1)))


class Flat(nn.Module):
    """Its number of images goes into an addition that only holds for that many."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.token, self.top = nn.Conv2d(3, 4, 3), nn.Parameter(torch.zeros(1, 4, 1)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv(x).flatten(2)
        return self.top(torch.cat([self.token.expand(x.shape[0], 4, 1), tokens], 2).mean(2))


def exported(net: nn.Module, file: Path, *, dynamo: bool = True, batch: bool = True, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.rand(2 if batch else 1, 3, 12, 14)
    if dynamo and batch:
        options["dynamic_shapes"] = ({0: torch.export.Dim.DYNAMIC},)
    elif batch:
        options |= {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
    torch.onnx.export(net.eval(), (x,), file, dynamo=dynamo, verbose=False, **options)
    return net


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, nn.Module]:
    file = tmp_path_factory.mktemp("plain") / "net.onnx"
    net = exported(Net(), file)
    return f"onnx:{file}", net


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize(("dynamo", "opset"), [(True, 18), (True, 23), (False, 14), (False, 20)])
def test_scores_and_names_are_those_of_the_exported_network(
    dynamo: bool, opset: int, batch: bool, tmp_path: Path
) -> None:
    net = exported(Net(), tmp_path / "net.onnx", dynamo=dynamo, batch=batch, opset_version=opset)
    model = load(f"onnx:{tmp_path / 'net.onnx'}", device="cpu")
    assert (model.input.shape, model.name, len(model.labels)) == ((3, 12, 14), "net", 5)
    assert "the scores agree with onnxruntime" in model.notes[0]
    for number in (1, 2, 5):
        x = torch.rand(number, 3, 12, 14)
        assert torch.allclose(model.logits(x), net(x), atol=1e-4)
    names = {name for name, _ in model.net.named_modules()}
    assert {"stem.0", "blocks.0.conv", "blocks.1.conv", "top"} <= names
    assert isinstance(model.module("blocks.1.conv"), nn.Conv2d)
    if opset >= 20:
        assert isinstance(model.module("blocks.1.act"), nn.GELU)


def test_hooks_and_gradients_work(plain: Any) -> None:
    model = load(plain[0], device="cpu")
    seen: list[Tensor] = []
    model.module("blocks.0.act").register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = torch.rand(2, 3, 12, 14, requires_grad=True)
    grads = torch.autograd.grad(model.logits(x)[:, 0].sum(), [x, seen[0]])
    assert all(bool(g.abs().sum() > 0) for g in grads)


def test_a_network_for_one_image_that_cannot_take_more(tmp_path: Path) -> None:
    exported(Flat(), tmp_path / "net.onnx", dynamo=False, batch=False)
    with pytest.raises(InnersightError, match=r"takes one image at a time and cannot be made to take more: export it"):
        load(f"onnx:{tmp_path / 'net.onnx'}")
    exported(Flat(), tmp_path / "net.onnx", dynamo=False)
    assert len(load(f"onnx:{tmp_path / 'net.onnx'}", device="cpu").labels) == 2


@pytest.mark.parametrize(
    ("last", "outputs", "link", "labels"),
    [
        (nn.Softmax(1), 3, "softmax", ("0", "1", "2")),
        (nn.Sigmoid(), 3, "sigmoid", ("0", "1", "2")),
        (nn.Sigmoid(), 1, "sigmoid", ("no", "yes")),
    ],
)
def test_the_end_is_taken_off(last: nn.Module, outputs: int, link: str, labels: Any, tmp_path: Path) -> None:
    net = exported(Net(last, outputs=outputs), tmp_path / "net.onnx", dynamo=False)
    model = load(f"onnx:{tmp_path / 'net.onnx'}", device="cpu")
    assert (model.head.link, model.head.unit, model.labels) == (link, "logits", labels)
    assert f"the {link} at the end is removed: the scores are logits" in model.notes
    x = torch.rand(2, 3, 12, 14)
    chances = model.probabilities(model.logits(x))
    assert torch.allclose(chances[:, 1:] if outputs == 1 else chances, net(x), atol=1e-4)


def graph(nodes: list[Any], *, shape: Any = ("n", 3, 8, 8), kind: int = TensorProto.FLOAT, stored: Any = ()) -> Any:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", "c"))],
        initializer=list(stored),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def conv(inputs: int = 3) -> tuple[list[Any], list[Any]]:
    weight = helper.make_tensor("first.weight", TensorProto.FLOAT, (4, inputs, 3, 3), torch.randn(36 * inputs).tolist())
    nodes = [
        helper.make_node("Conv", ["x", "first.weight"], ["a"]),
        helper.make_node("GlobalMaxPool", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["y"]),
    ]
    return nodes, [weight]


def saved(model: Any, folder: Path) -> str:
    onnx.save(model, folder / "net.onnx")
    return f"onnx:{folder / 'net.onnx'}"


def test_images_with_the_channels_last(tmp_path: Path) -> None:
    nodes, stored = conv()
    nodes[0].input[0] = "t"
    nodes.insert(0, helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]))
    model = load(saved(graph(nodes, shape=("n", 8, 10, 3), stored=stored), tmp_path), device="cpu")
    assert model.input.shape == (3, 8, 10)
    x = torch.rand(2, 3, 8, 10)
    weight = torch.tensor(stored[0].float_data).view(4, 3, 3, 3)
    assert torch.allclose(model.logits(x), nn.functional.conv2d(x, weight).amax((2, 3)), atol=1e-5)
    assert {"first", "globalmaxpool", "flatten"} <= {name for name, _ in model.net.named_modules()}


def test_a_size_that_is_free_is_guessed(tmp_path: Path) -> None:
    nodes, stored = conv()
    source = saved(graph(nodes, shape=("n", 3, "h", "w"), stored=stored), tmp_path)
    assert load(source, device="cpu").input.guessed == ("height", "width", "mean", "std", "fit")
    assert load(f"{source}?size=16&mean=0&std=1&fit=crop", device="cpu").input.guessed == ()


def test_networks_that_are_refused(tmp_path: Path) -> None:
    nodes, stored = conv()
    quantized = [helper.make_node("QuantizeLinear", ["x", "scale"], ["y"])]
    scale = helper.make_tensor("scale", TensorProto.FLOAT, (), [0.1])
    unknown = [helper.make_node("Det", ["x"], ["y"])]
    odd = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("GlobalMaxPool", ["c"], ["y"]),
    ]
    for model, why in {
        "quantized": (graph(quantized, stored=[scale]), r"is quantized \(QuantizeLinear\): no gradient passes it"),
        "unknown": (graph(unknown), "onnx2torch has no torch module for the operator Det: load the network it was"),
        "bytes": (graph(odd, kind=TensorProto.UINT8), "its input is of type uint8, which no gradient reaches"),
        "fixed": (graph(nodes, shape=(4, 3, 8, 8), stored=stored), "takes exactly 4 images at a time"),
        "flat": (
            graph(nodes, shape=("n", 3, 64), stored=stored),
            "its inputs are x .*; one batch of images with four",
        ),
    }.values():
        with pytest.raises(InnersightError, match=why):
            load(saved(model, tmp_path))


def test_scores_that_differ_from_onnxruntime_are_refused(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.modules.activation.GELU.forward", lambda self, x: x)
    with pytest.raises(InnersightError, match=r"scores 1 random images differently than onnxruntime, by up to \d"):
        load(plain[0])


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match=r"no such file of ONNX"):
        load("onnx:nowhere.onnx")
    for content in (b"", b"nothing of the kind" * 9):
        (tmp_path / "a.onnx").write_bytes(content)
        with pytest.raises(InnersightError, match="not a readable ONNX file"):
            load(f"onnx:{tmp_path / 'a.onnx'}")


def test_what_the_file_fixes_cannot_be_asked_for(plain: Any) -> None:
    with pytest.raises(InnersightError, match="net has 5 classes, not 7"):
        load(plain[0], classes=7)


@pytest.mark.parametrize("location", ["../secret.bin", "{root}/secret.bin", "link.bin"])
def test_weights_outside_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(36 * 3 * 4))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    nodes, stored = conv()
    stored[0].ClearField("float_data")
    stored[0].data_location = TensorProto.EXTERNAL
    stored[0].external_data.add(key="location", value=location.format(root=tmp_path))
    with pytest.raises(InnersightError, match=r"refused, its weights first\.weight are in '.*', no file in its folder"):
        load(saved(graph(nodes, stored=stored), folder))


def test_weights_beside_the_file_are_read(plain: Any, tmp_path: Path) -> None:
    model, net = onnx.load(plain[0].removeprefix("onnx:")), plain[1]
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    x = torch.rand(2, 3, 12, 14)
    assert torch.allclose(load(f"onnx:{tmp_path / 'net.onnx'}", device="cpu").logits(x), net(x), atol=1e-4)
