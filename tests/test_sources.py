"""Where models come from: origins, runs, bare modules, and weight files that may be hostile."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import InPlace, batch, tiny
from safetensors.torch import save_file
from torch import Tensor, nn

from innersight.errors import InnersightError
from innersight.model import InputSpec
from innersight.sources import load, origins
from innersight.sources.run import RunCard, read_card, write_run
from innersight.sources.small import SmallResNet
from innersight.sources.weights import fit_weights, read_weights


def test_origins() -> None:
    assert {"run", "small", "timm", "toon", "torchvision"} <= set(origins())


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("torchvison:resnet18", r"names no known origin; did you mean torchvision"),
        ("resnet18", "names no known origin; .*written ORIGIN:NAME"),
        ("", "names no known origin"),
        ("weights:x", "names no known origin"),
        ("bare:x", "names no known origin"),
        ("torchvision:resnet19", r"no classifier 'resnet19'; did you mean .*resnet18"),
        ("timm:resnet19", r"no network 'resnet19'; did you mean .*resnet1"),
        ("small:wide", "the width is a number from 1 to 1024"),
        ("small:0", "the width is a number from 1 to 1024"),
        ("toon:marge", "there is only one"),
        ("run:/nowhere/at/all", "not a finished run"),
    ],
)
def test_unknown_names_get_the_nearest(source: str, why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        load(source)


def test_a_torchvision_network_brings_its_contract() -> None:
    model = load("torchvision:squeezenet1_1")
    spec = model.input
    assert (spec.shape, spec.fit, spec.resample) == ((3, 224, 224), "crop", "bilinear")
    assert spec.crop == pytest.approx(224 / 256)
    assert spec.mean == pytest.approx((0.485, 0.456, 0.406))
    assert model.class_index("tabby") == 281
    assert model.notes == ("random weights: nothing was learned yet",)
    assert model.source == "torchvision:squeezenet1_1"
    assert not model.net.training


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "densenet121"])
def test_another_number_of_classes(name: str) -> None:
    model = load(f"torchvision:{name}", classes=7, labels=list("abcdefg"))
    assert model.labels == tuple("abcdefg")
    with torch.no_grad():
        assert model.net(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_a_timm_network_brings_its_contract() -> None:
    model = load("timm:test_resnet", classes=6)
    assert model.input.shape == (3, 160, 160)
    stated = model.net.pretrained_cfg
    assert model.input.resample == stated["interpolation"]
    assert model.input.crop == stated["crop_pct"]
    assert model.input.std == stated["std"]
    assert model.labels == tuple("012345")
    with torch.no_grad():
        assert model.net(torch.zeros(1, *model.input.shape)).shape == (1, 6)


def test_our_own_network() -> None:
    model = load("small:4", classes=5)
    assert model.net.head.weight.shape == (5, 16)
    assert len(load("small").labels) == 10
    with torch.no_grad():
        assert model.net(batch(model)).shape == (2, 5)


def test_loading_a_model_again_is_the_same_model() -> None:
    model = tiny("in-place")
    assert load(model) is model


def test_labels_must_be_as_many_as_outputs() -> None:
    with pytest.raises(InnersightError, match="3 labels given but small-4 has 4 outputs"):
        load("small:4", classes=4, labels=["a", "b", "c"])
    with pytest.raises(InnersightError, match="5 labels given but InPlace has 4 outputs"):
        load(InPlace(), labels=list("abcde"))


def test_a_stated_input_replaces_the_origins_own() -> None:
    spec = InputSpec(40, 60)
    assert load("small:4", input=spec).input == spec


# A bare module ------------------------------------------------------------------------------------------------------


def test_a_bare_module_is_kept_and_its_input_inferred() -> None:
    net = InPlace()
    model = load(net, labels=list("abcd"))
    assert model.net is net
    assert net.training
    assert model.input.shape == (3, 224, 224)
    assert model.input.guessed == ("height", "width", "mean", "std")
    assert "guesses" in model.notes[0]
    assert (model.name, model.labels) == ("InPlace", tuple("abcd"))


def test_a_grey_network_of_fixed_size_is_recognised() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 26 * 26, 10))
    model = load(net)
    assert model.input.shape == (1, 28, 28)
    assert len(model.labels) == 10


def test_a_stated_input_is_believed() -> None:
    spec = InputSpec(20, 34)
    model = load(InPlace(), input=spec)
    assert (model.input, model.notes) == (spec, ())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_types(dtype: torch.dtype) -> None:
    assert len(load(InPlace().to(dtype)).labels) == 4


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(7, 2)),
            "no input of size 224, .* fits; pass input=",
        ),
        (nn.Conv2d(3, 2, 3), r"returned \(1, 2, 222, 222\); one row of logits"),
    ],
)
def test_networks_that_cannot_be_inferred(net: nn.Module, why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        load(net)


def test_a_module_that_returns_something_else() -> None:
    class Pair(InPlace):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x), x

    with pytest.raises(InnersightError, match="Pair returned tuple; one row of logits"):
        load(Pair(), input=InputSpec(24, 24))


@pytest.mark.parametrize("extra", [{"classes": 3}, {"weights": "a.pt"}, {"device": "cpu"}])
def test_a_bare_module_is_not_rebuilt(extra: dict[str, Any]) -> None:
    with pytest.raises(InnersightError, match=r"a given nn\.Module stays as it is"):
        load(InPlace(), **extra)


# Weight files -------------------------------------------------------------------------------------------------------


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "owned")


@pytest.mark.parametrize("writer", ["torch", "torch old", "pickle"])
def test_a_pickle_with_code_is_refused_before_it_runs(writer: str, tmp_path: Path) -> None:
    content = {"state_dict": {"a": torch.zeros(1)}, "other": Hostile(tmp_path / "proof")}
    file = tmp_path / "weights.pt"
    if writer == "pickle":
        file.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=writer == "torch")
    with pytest.raises(InnersightError, match=r"weights\.pt: (refused|not a readable)"):
        load("small:4", weights=str(file))
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("wrap", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_are_read_by_name(suffix: str, wrap: str | None, tmp_path: Path) -> None:
    state = SmallResNet(10, width=4).state_dict()
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({wrap: state, "epoch": 3} if wrap else state, file)
    else:
        save_file(state, file)
    model = load("small:4", weights=str(file))
    assert model.notes == (f"weights from {file}",)
    for name, tensor in model.net.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_weights_with_other_names_are_matched_by_position(tmp_path: Path) -> None:
    state = SmallResNet(10, width=4).state_dict()
    renamed = {f"backbone.{i}.{name}": t for i, (name, t) in enumerate(state.items()) if "num_batches" not in name}
    torch.save(renamed, tmp_path / "a.pt")
    model = load("small:4", weights=str(tmp_path / "a.pt"))
    assert "matched by position because their names differ" in model.notes[0]
    for name, tensor in model.net.state_dict().items():
        assert torch.equal(tensor, state[name]) or "num_batches" in name


def test_weights_that_do_not_fit_list_the_first_differences(tmp_path: Path) -> None:
    net = SmallResNet(10, width=4)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    state = {name: t.clone() for name, t in SmallResNet(10, width=4).state_dict().items()}
    state["head.weight"] = torch.zeros(3, 16)
    del state["stem.0.weight"]
    state["tail"] = torch.zeros(1)
    with pytest.raises(InnersightError) as caught:
        fit_weights(net, state, origin="a.pt")
    assert str(caught.value) == (
        "a.pt: the weights do not fit: stem.0.weight is missing; tail is not in the network; "
        "head.weight has shape (3, 16) instead of (10, 16)"
    )
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    with pytest.raises(InnersightError, match=r"; .*; .*; .* and \d+ more$"):
        fit_weights(net, {"x": torch.zeros(1)}, origin="a.pt")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.pt", b"", "not a readable weight file|refused"),
        ("a.pt", b"PK\x03\x04 no zip", "not a readable weight file"),
        ("a.pt", b"just text", "not a readable weight file|refused"),
        ("a.safetensors", b"", "not a readable safetensors file"),
        ("a.safetensors", b"\xff" * 40, "not a readable safetensors file"),
    ],
)
def test_broken_weight_files(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InnersightError, match=why):
        read_weights(tmp_path / name)


def test_files_without_weights(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="no such weight file"):
        read_weights(tmp_path / "none.pt")
    for content in ({}, [torch.zeros(1)], {"epoch": 3}, torch.zeros(2)):
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(InnersightError, match="holds no state dict"):
            read_weights(tmp_path / "a.pt")


# Runs ---------------------------------------------------------------------------------------------------------------

CARD = RunCard("small:4", ("ada", "bea", "cyd"), InputSpec(32, 48, fit="squash"), recipe={"seed": 1})


@pytest.mark.parametrize("half", [False, True])
def test_a_run_survives_being_written(half: bool, tmp_path: Path) -> None:
    torch.manual_seed(5)
    net = SmallResNet(3, width=4).eval()
    write_run(tmp_path / "run", net, CARD, half=half)
    assert read_card(tmp_path / "run") == CARD
    model = load(f"run:{tmp_path / 'run'}")
    assert (model.labels, model.input, model.run) == (CARD.labels, CARD.input, tmp_path / "run")
    assert model.dtype == torch.float32
    x = batch(model)
    with torch.no_grad():
        assert torch.allclose(model.net(x), net(x), rtol=0.02 if half else 0, atol=0.02 if half else 0)
    assert not list((tmp_path / "run").glob("*.partial"))
    with pytest.raises(InnersightError, match="has 3 classes; train again"):
        load(f"run:{tmp_path / 'run'}", classes=4)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 99}, "format 99 is not known"),
        ({"labels": None}, "not a run card"),
        ({"input": {"height": 4}}, "not a run card"),
        ({"net": "small:5"}, "the weights do not fit"),
    ],
)
def test_a_run_card_that_is_wrong(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    write_run(tmp_path, SmallResNet(3, width=4), CARD)
    card = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(InnersightError, match=why):
        load(f"run:{tmp_path}")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}'])
def test_a_run_card_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InnersightError, match="not a run card"):
        read_card(tmp_path)


@pytest.mark.parametrize("source", ["torchvision:mobilenet_v3_small", "timm:test_resnet"])
def test_weights_with_the_published_head_or_with_the_new_one(source, tmp_path):
    published = load(source).net.state_dict()
    save_file(published, tmp_path / "published.safetensors")
    net = load(source, classes=3, weights=str(tmp_path / "published.safetensors")).net
    save_file(net.state_dict(), tmp_path / "run.safetensors")
    again = load(source, classes=3, weights=str(tmp_path / "run.safetensors")).net
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    first = next(iter(published))
    assert torch.equal(published[first], again.state_dict()[first])
