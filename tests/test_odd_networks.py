"""Networks that are not what one expects: a sentence that names what was found and the way out, or an answer."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import image
from public import CASES, QUICK
from torch import Tensor, nn
from torch.nn import functional as F

import innersight as ins
from innersight import terminal
from innersight.errors import InnersightError
from innersight.heads import Head
from innersight.heatmaps.request import UnfitError, layer_of, methods
from innersight.input_spec import InputSpec
from innersight.layers import default_layers, has_grid, last_grid
from innersight.model import Model
from innersight.network import NetworkError
from innersight.study import Plan
from innersight.trust import Protocol

SPEC = InputSpec(24, 24)
WAY_OUT = r"state how to read the output with head=Head\(\.\.\.\), see docs/models\.md"


class Odd(nn.Module):
    """A convolution, pooling and one linear layer, called in a way of its own."""

    def __init__(self, way: Callable[["Odd", Tensor], Any], classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.fc = nn.Linear(6, classes)
        self.way = way

    def scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.conv(x).relu().mean((2, 3)))
        return scores

    def forward(self, x: Tensor) -> Any:
        return self.way(self, x)


class Pair(Odd):
    """Takes a second input."""

    def forward(self, x: Tensor, age: Tensor) -> Tensor:  # type: ignore[override]
        return self.scores(x) + age


class OnlyForwards(torch.autograd.Function):
    """Has no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise NotImplementedError("no gradient here")


def under(mode: Callable[[], Any]) -> Callable[[Odd, Tensor], Tensor]:
    def way(net: Odd, x: Tensor) -> Tensor:
        with mode():
            return net.scores(x)

    return way


def writing(net: Odd, x: Tensor) -> Tensor:
    x.mul_(2).sub_(0.25)
    return net.scores(x)


def alone(net: Odd, x: Tensor) -> Tensor:
    if len(x) != 1:
        raise ValueError("one at a time")
    return net.scores(x)


def late(net: Odd, x: Tensor) -> Tensor:
    scores: Tensor = net.scores(x) if len(x) < 4 else {}["late"]
    return scores


def detections(net: Odd, x: Tensor) -> list[dict[str, Tensor]]:
    kinds, scores = torch.tensor([1, 3]), net.scores(x).sigmoid()
    return [{"boxes": torch.rand(2, 4), "labels": kinds, "scores": row[kinds]} for row in scores]


class Volume(nn.Sequential):
    """Reads volumes."""

    def __init__(self) -> None:
        super().__init__(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2))


class Signal(nn.Sequential):
    """Reads signals."""

    def __init__(self) -> None:
        super().__init__(nn.Conv1d(5, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "nothing": (
        lambda: Odd(lambda net, x: None),
        "the network returned None: its forward must return the class scores",
    ),
    "KeyError": (lambda: Odd(lambda net, x: {}["lost"]), r"Odd refuses an input of \(3, \d+, \d+\): KeyError: 'lost'"),
    "AttributeError": (
        lambda: Odd(lambda net, x: net.lost(x)),
        r"refuses an input of .*: AttributeError: 'Odd'",
    ),
    "no class": (lambda: Odd(Odd.scores, 0), r"returned \(3, 0\): it has no class to explain"),
    "detector": (
        lambda: Odd(detections),
        rf"detects objects \(boxes/labels/scores\) and returns no class scores; {WAY_OUT}",
    ),
    "boxes": (
        lambda: Odd(lambda net, x: net.scores(x)[:, None].repeat(1, 9, 1)),
        rf"returned \(3, 9, 4\), a row of numbers for each of several boxes or tokens: .*{WAY_OUT}",
    ),
    "first of several": (
        lambda: Odd(lambda net, x: (net.conv(x).flatten(2), [net.conv(x)])),
        rf"returned \(3, 6, \d+\), a row of numbers .*{WAY_OUT}",
    ),
    "volume": (Volume, r"Volume: 3D convolutions: volumes are not supported; wrap it .*, see docs/models\.md"),
    "signal": (Signal, r"Signal: 1D convolutions: signals are not supported; wrap it"),
    "two inputs": (
        lambda: Pair(Odd.scores),
        r"takes 2 inputs \(x, age\), but only images are given: wrap it .*docs/models\.md",
    ),
    "complex": (
        lambda: Odd(lambda net, x: torch.complex(*[net.scores(x)] * 2)),
        f"complex64, complex .*{WAY_OUT}",
    ),
    "classes": (
        lambda: Odd(lambda net, x: net.scores(x).argmax(1)),
        f"int64, whole numbers.*{WAY_OUT}",
    ),
    "float": (lambda: Odd(lambda net, x: float(net.scores(x).sum())), f"returned float: no tensor .*{WAY_OUT}"),
    "a number": (lambda: Odd(lambda net, x: net.scores(x).sum()), f"one number for several images; {WAY_OUT}"),
    "one at a time": (lambda: Odd(alone), r"Odd takes one image at a time; batches of several .* see docs/models\.md"),
    "no weights yet": (lambda: Odd(Odd.scores).to("meta"), r"Odd \(conv\.weight\) has no values \(device meta\)"),
    "lazy": (
        lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)),
        r"\(1\.weight\) is not initialised: run",
    ),
}


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("size", [SPEC, None])
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_loaded_says_why_and_the_way_out(name: str, size: InputSpec | None) -> None:
    make, why = REFUSED[name]
    net = make().eval()
    with pytest.raises(InnersightError, match=re.compile(why, re.DOTALL)) as caught:
        ins.load(net, input=size)
    # Another size does not help, so no list of sizes that were tried stands before the reason.
    assert ("no input of size" in str(caught.value)) == (size is None and name in ("KeyError", "AttributeError"))


LOADED: dict[str, Callable[[], nn.Module]] = {
    "writes its input": lambda: Odd(writing),
    "no_grad inside": lambda: Odd(under(torch.no_grad)),
    "inference mode inside": lambda: Odd(under(torch.inference_mode)),
    "dict": lambda: Odd(lambda net, x: {"features": net.conv(x), "logits": net.scores(x)}),
    "list": lambda: Odd(lambda net, x: [net.scores(x)]),
    "NaN": lambda: Odd(lambda net, x: net.scores(x) * torch.nan),
    "always the same": lambda: Odd(lambda net, x: net.scores(x) * 0),
    "random": lambda: Odd(lambda net, x: net.scores(F.dropout(x, 0.5, training=True))),
    "detached": lambda: Odd(lambda net, x: net.fc(net.conv(x).relu().mean((2, 3)).detach())),
    "no backward": lambda: Odd(lambda net, x: OnlyForwards.apply(net.scores(x))),
    "through NumPy": lambda: Odd(lambda net, x: net.scores(torch.from_numpy(x.numpy()))),
    "fails on more": lambda: Odd(late),
    "no layer": lambda: Pixels(),
    "MLP": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 16), nn.ReLU(), nn.Linear(16, 4)),
}


class Pixels(nn.Module):
    """Has no layer at all."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def loaded(name: str) -> Model:
    torch.manual_seed(0)
    return ins.load(LOADED[name]().eval(), input=SPEC)


@pytest.mark.parametrize("case", sorted(set(CASES) - {"load"}))
@pytest.mark.parametrize("name", LOADED)
def test_every_function_answers_or_says_why(name: str, case: str, tmp_path: Path) -> None:
    try:
        found = CASES[case](loaded(name), [image(1), image(2)], tmp_path)
    except InnersightError:
        return
    for what in ("to_json", "tensors", "figure"):
        if hasattr(found, what):
            with suppress(NetworkError):
                getattr(found, what)()


def test_a_network_that_writes_into_its_input_is_read_like_one_that_does_not() -> None:
    torch.manual_seed(0)
    writes, copies = Odd(writing).eval(), Odd(lambda net, x: net.scores(x * 2 - 0.25)).eval()
    copies.load_state_dict(writes.state_dict())
    images = [image(1), image(2)]
    options = {name: QUICK.get(name, {}) for name in ("gradcam", "saliency", "input-x-gradient", "occlusion", "rise")}
    one, other = (
        ins.explain(ins.load(net, input=SPEC), images, 1, list(options), options=options) for net in (writes, copies)
    )
    assert len(one.entries) == 2 * len(options)
    for a, b in zip(one.entries, other.entries, strict=True):
        assert torch.allclose(a.values, b.values, atol=1e-6), a.method
    first, second = (ins.ablate(ins.load(net, input=SPEC), images, "conv").change for net in (writes, copies))
    assert torch.allclose(first, second, atol=1e-6)


def test_a_network_that_cuts_its_graph_says_so() -> None:
    model = loaded("no_grad inside")
    with pytest.raises(
        UnfitError, match="no gradient of the target reaches the pixels in Odd: its forward cuts the graph"
    ):
        ins.explain(model, image(1), 1, "saliency")
    with pytest.raises(InnersightError, match="no gradient passes back through Odd: its forward cuts the graph"):
        ins.patterns(model, "class:1", steps=1)
    # Behind the layer there is a graph, and masks need none.
    found = ins.explain(
        model, image(1), 1, ["gradcam", "saliency", "occlusion"], options={"occlusion": QUICK["occlusion"]}
    )
    assert [entry.method for entry in found.entries] == ["gradcam", "occlusion"]
    assert [text.split(":")[0] for text in found.left_out] == ["saliency"]
    plain = Odd(Odd.scores).eval()
    plain.load_state_dict(model.net.state_dict())
    truth = ins.explain(ins.load(plain, input=SPEC), image(1), 1, "gradcam").entries[0].values
    assert torch.allclose(found.entries[0].values, truth, atol=1e-6)


def test_a_network_without_maps_is_explained_by_its_pixels() -> None:
    model = loaded("MLP")
    assert not has_grid(model)
    assert default_layers(model) == ("2", "3")
    found = ins.explain(model, image(1), 1, "all", options=QUICK)
    assert found.layer is None
    assert found.why == (
        "no layer of Sequential has maps larger than 1x1: 0, 1, 2 and 1 more give single values for the whole image"
    )
    fit = {entry.method for entry in found.entries}
    pixels = {
        name
        for name in methods
        if layer_of(name, "") is None and methods.entry(name).reads in ("pixels", "passes", "masks")
    }
    assert fit == pixels
    for name in methods:
        if layer_of(name, "") is not None:
            assert any(text.startswith(f"{name} reads maps: no layer") for text in found.left_out), name
    x = torch.stack([image(1).tensor(model.input)]).requires_grad_(True)
    (slope,) = torch.autograd.grad(model.net(x)[0, 1], x)
    saliency = next(entry for entry in found.entries if entry.method == "saliency")
    assert torch.allclose(saliency.values, slope.abs().amax(1)[0], atol=1e-7)
    with pytest.raises(UnfitError, match=r"gradcam: no layer of Sequential has maps .*; methods that read pixels fit"):
        ins.explain(model, image(1), methods="gradcam")
    with pytest.raises(InnersightError, match="no layer of Sequential has maps larger than 1x1"):
        last_grid(model)


def test_a_network_without_maps_has_a_study_a_scan_and_a_verdict(tmp_path: Path) -> None:
    model, images = loaded("MLP"), [image(i) for i in range(3)]
    made = ins.study(model, images, tmp_path / "study", plan=Plan(units=1, steps=1))
    assert made.computed
    assert made.render().is_dir()
    scanned = ins.scan(model, [image(i) for i in range(3)])
    assert list(scanned.layers) == ["2", "3"]
    judged = ins.trust(model, images, protocol=Protocol(steps=2))
    assert "saliency" in judged.methods
    assert "None" not in judged.note
    listed = terminal.layers(model, ins.layers(model))
    assert "no layer of Sequential has maps larger than 1x1: 0, 1, 2 and 1 more give single values" in listed
    assert "gradcam" not in judged.methods
    assert any("gradcam reads maps" in text for text in judged.left_out)
    drawn = ins.patterns(model, ["class:1", "2:0"], steps=2)
    assert len(drawn.images) == 2


def test_the_ways_out_of_the_docs_are_ways_out() -> None:
    text = (Path(__file__).parent.parent / "docs" / "models.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"## Networks with another output\n.*?```python\n(.*?)```", text, re.DOTALL)

    def boxes(net: Odd, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        found = net.conv(x).flatten(2)
        return found, [found]

    volumes = nn.Sequential(nn.Conv3d(1, 4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2))
    refused = {
        "detector": Odd(detections),
        "yolo": Odd(boxes),
        "two_inputs": Pair(Odd.scores),
        "one_at_a_time": Odd(alone),
        "volumes": volumes,
    }
    for net in refused.values():
        with pytest.raises(InnersightError, match=r"see docs/models\.md#networks-with-another-output"):
            ins.load(net.eval(), input=InputSpec(64, 64))
    made: list[Model] = []
    space: dict[str, Any] = {**refused, "CLASSES": 4}
    for part in re.split(r"^(?=model = )", example, flags=re.MULTILINE):
        exec(part, space)
        made += [space["model"]] if "model" in space else []
    assert [len(model.labels) for model in made] == [4, 2, 4, 4, 2]
    for model in made[:3]:
        found = ins.explain(model, image(1), 1, ["saliency", "gradcam"])
        assert [entry.method for entry in found.entries] == ["saliency", "gradcam"]
        assert all(entry.verdict is None for entry in found.entries)
    assert ins.explain(made[3], image(1), 1).entries[0].values.any()
    assert made[4].input.channels == 8


def test_a_head_that_fails_later_is_said_to() -> None:
    model = loaded("list")
    broken = Model(model.net, SPEC, model.labels, "odd", "a test", head=Head(lambda output: output["scores"]))
    with pytest.raises(NetworkError, match="the head of odd cannot read the output: TypeError: list indices"):
        ins.predict(broken, image(1))
    with pytest.raises(NetworkError, match=r"Odd fails on an input of \(5, 3, 24, 24\): KeyError: 'late'"):
        loaded("fails on more").output(torch.zeros(5, 3, 24, 24))
