"""Where models come from: origins, runs, bare modules, and weight files that may be hostile."""

import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import InPlace, batch, tiny
from safetensors.torch import save_file
from torch import nn

from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.sources import entries, load
from innersight.sources.run_card import RunCard, read_card, write_run
from innersight.sources.small_resnet import SmallResNet
from innersight.sources.weights import fit_weights, read_weights


def test_origins() -> None:
    assert [entry.name for entry in entries()] == [
        "hf", "keras", "lightning", "onnx", "pt2", "python", "run", "small", "timm", "toon", "torchvision",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("torchvison:resnet18", r"names no known origin; did you mean torchvision"),
        ("resnet18", "names no origin .*write torchvision:resnet18 or timm:resnet18"),
        ("", "names no known origin"),
        ("weights:x", "names no known origin"),
        ("bare:x", "names no known origin"),
        ("torchvision:resnet19", r"no classifier 'resnet19'; did you mean .*resnet18"),
        ("timm:resnet19", r"no network 'resnet19'; did you mean .*resnet1"),
        ("small:wide", "the width must be a number from 1 to 1024"),
        ("small:0", "the width must be a number from 1 to 1024"),
        ("toon:marge", "no such embedded network: write `toon` or `toon:robust`"),
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
    assert model.notes == ("random weights: the network is untrained",)
    assert model.source == "torchvision:squeezenet1_1"
    # What was stated beside the text opens the network again.
    assert load("small:4?size=16", classes=3).source == "small:4?size=16&classes=3"
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


def test_a_timm_network_of_another_size_and_number_of_channels() -> None:
    model = load("timm:test_vit?size=64x96&channels=1")
    assert model.input.shape == (1, 64, 96)
    assert model.input.mean == (0.5,)
    with torch.no_grad():
        assert model.net(torch.zeros(1, 1, 64, 96)).shape == (1, 1000)
    assert load("timm:test_resnet?channels=5&mean=0.4").input.mean == (0.4,) * 5
    with pytest.raises(InnersightError, match=r"refuses an input of \(3, 65, 65\): .* divisible by patch size"):
        load("timm:test_vit?size=65")


def test_timm_names_the_classes_of_imagenet_22k() -> None:
    model = load("timm:test_resnet", classes=21841)
    assert model.class_index("benthos") == 1


def test_torchvision_takes_three_channels_and_builds_a_vit_for_the_size() -> None:
    with pytest.raises(InnersightError, match=r"takes 3 channels, not 4: timm:NAME\?channels=4 builds"):
        load("torchvision:squeezenet1_1?channels=4")
    assert load("torchvision:vit_b_32?size=32").input.shape == (3, 32, 32)
    with pytest.raises(
        InnersightError, match=r"VisionTransformer refuses an input of \(3, 32, 64\): AssertionError: Wrong image width"
    ):
        load("torchvision:vit_b_32?size=32x64")


def test_the_hub_out_of_reach_says_what_to_put_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **options: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(InnersightError, match=r"put squeezenet1_1-\w+\.pth into .*checkpoints, or pass weights=FILE"):
        load("torchvision:squeezenet1_1", weights="hub")
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    with pytest.raises(
        InnersightError, match=r"put models--timm--test_resnet\.r160_in1k into .*, or pass weights=FILE"
    ):
        load("timm:test_resnet", weights="hub")


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
    with pytest.raises(InnersightError, match="3 labels given, but small-4 has 4 outputs"):
        load("small:4", classes=4, labels=["a", "b", "c"])
    with pytest.raises(InnersightError, match="5 labels given, but InPlace has 4 outputs"):
        load(InPlace(), labels=list("abcde"))


def test_a_stated_input_replaces_the_origins_own() -> None:
    spec = InputSpec(40, 60, mean=0, std=1, fit="crop")
    assert load("small:4", input=spec).input == spec
    # Of what is left away the origin knows better.
    assert load("small:4", input=InputSpec(40, 60)).input == InputSpec(40, 60, mean=0.5, std=0.25, fit="squash")


# A bare module ------------------------------------------------------------------------------------------------------


def test_a_bare_module_is_kept_and_its_input_inferred() -> None:
    net = InPlace()
    model = load(net, labels=list("abcd"))
    assert model.net is net
    assert net.training
    assert model.input.shape == (3, 224, 224)
    assert model.input.guessed == ("height", "width", "mean", "std", "fit")
    assert model.input.fit == "squash"
    assert [note.partition(" is a guess")[0] for note in model.notes] == [
        "input size 224x224",
        "normalisation",
        "how images of another aspect ratio are fitted",
    ]
    assert "(mean 0, std 1, for pixels in 0..1)" in model.notes[1]
    assert "mean=0&std=0.00392 for a network that takes 0..255" in model.notes[1]
    assert "(the whole image is squashed to the input size): set it with fit=crop or fit=squash" in model.notes[2]
    assert (model.name, model.labels) == ("InPlace", tuple("abcd"))


def test_a_grey_network_of_fixed_size_is_recognised() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 26 * 26, 10))
    model = load(net)
    assert model.input.shape == (1, 28, 28)
    assert len(model.labels) == 10


def test_a_stated_input_is_believed() -> None:
    spec = InputSpec(20, 34, mean=0, std=1, fit="crop")
    model = load(InPlace(), input=spec)
    assert (model.input, model.notes) == (spec, ())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_types(dtype: torch.dtype) -> None:
    assert len(load(InPlace().to(dtype)).labels) == 4


def test_a_network_that_takes_no_size() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(InnersightError, match=r"no input of size 224, .* fits; pass input="):
        load(net)


@pytest.mark.parametrize("extra", [{"classes": 3}, {"weights": "a.pt"}, {"device": "cpu"}])
def test_a_bare_module_is_not_rebuilt(extra: dict[str, Any]) -> None:
    with pytest.raises(InnersightError, match=r"a given nn\.Module is used as it is"):
        load(InPlace(), **extra)


# Weight files -------------------------------------------------------------------------------------------------------


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
        ("a.pt", b"", "not a readable checkpoint|refused"),
        ("a.pt", b"PK\x03\x04 no zip", "not a readable checkpoint"),
        ("a.pt", b"just text", "not a readable checkpoint|refused"),
        ("a.safetensors", b"", "not a readable safetensors file"),
        ("a.safetensors", b"\xff" * 40, "not a readable safetensors file"),
    ],
)
def test_broken_weight_files(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InnersightError, match=why):
        read_weights(tmp_path / name)


def test_files_without_weights(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="no such file of weights"):
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
    assert not list((tmp_path / "run").glob(".innersight-*"))
    with pytest.raises(InnersightError, match="has 3 classes; train again"):
        load(f"run:{tmp_path / 'run'}", classes=4)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 99}, "format 99 is not known"),
        ({"labels": None}, "not a readable run card"),
        ({"input": {"height": 4}}, "not a readable run card"),
        ({"net": "small:5"}, "the weights do not fit"),
    ],
)
def test_a_run_card_that_is_wrong(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    write_run(tmp_path, SmallResNet(3, width=4), CARD)
    card = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(InnersightError, match=why):
        load(f"run:{tmp_path}")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}'])
def test_a_run_card_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InnersightError, match="not a readable run card"):
        read_card(tmp_path)


def test_weights_that_are_not_finite_are_said(tmp_path: Path) -> None:
    net = SmallResNet(3, width=4)
    net.head.weight.data[0, 0] = torch.nan
    net.stage1.conv1.weight.data.fill_(torch.inf)
    save_file(net.state_dict(), tmp_path / "a.safetensors")
    model = load("small:4", classes=3, weights=str(tmp_path / "a.safetensors"))
    named = "stage1.conv1.weight, head.weight"
    assert (
        model.notes[-1] == f"NaN or infinite values in the weights {named}: results that depend on them are meaningless"
    )


# Devices ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu"), (True, False, "cuda")],
)
def test_a_network_built_here_goes_to_the_best_device(
    cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[Any] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    monkeypatch.setattr(SmallResNet, "to", lambda net, device: moved.append(device) or net)
    load("small:4")
    load("small:4", device="cpu")
    assert moved == [expected, "cpu"]
    load(SmallResNet(3, width=4))
    assert len(moved) == 2


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
