"""The engine against whole float64 runs with plain hooks and no shortcuts."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from networks import NETS, Twice, batch, tiny
from torch import Tensor, nn
from torch.nn import functional as F

from innersight import tap
from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.layers import layers, survey
from innersight.model import Model

Change = Callable[[Tensor], Tensor]


def big(name: str) -> Model:
    """A published architecture at random weights, float64, small input."""
    torch.manual_seed(0)
    size = {"inception_v3": 75, "convnext_tiny": 32, "vit_tiny": 64}.get(name, 48)
    if name == "vit_tiny":
        net: nn.Module = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10)
    elif name == "inception_v3":
        net = torchvision.models.inception_v3(num_classes=10, init_weights=False, aux_logits=True)
    else:
        net = getattr(torchvision.models, name)(num_classes=10)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.05)
    return Model(net.double().eval(), InputSpec(size, size), tuple("abcdefghij"), name, "a test")


BIG = {
    "resnet18": ["conv1", "layer1.1.conv1", "layer3.0.downsample.0", "layer4.1.relu", "fc"],
    "densenet121": ["features.denseblock2.denselayer3.conv1", "features.denseblock3"],
    "inception_v3": ["Mixed_5c.branch3x3dbl_2", "Mixed_7c.branch_pool"],
    "convnext_tiny": ["features.4"],
    "mobilenet_v3_small": ["features.0", "features.4.block.2.fc1", "classifier.0"],
    "vit_tiny": ["patch_embed.proj", "head"],
}


def whole_run(model: Model, x: Tensor, layer: str, change: Change | None = None) -> tuple[Tensor, Tensor]:
    """Full forward with one plain hook that copies, and may replace, what `layer` gives at the call that is meant."""
    seen: list[Tensor] = []
    name, _, call = layer.partition("#")
    calls = 0

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        nonlocal calls
        calls += 1
        if calls != int(call or 1):
            return None
        seen.append(output.clone())
        if change is None:
            return None
        shaped = output if output.ndim == 4 else output[:, :, None, None]
        return change(shaped.clone()).reshape(output.shape)

    handle = model.net.get_submodule(name).register_forward_hook(hook)
    try:
        logits = model.net(x)
    finally:
        handle.remove()
    return seen[0] if seen[0].ndim == 4 else seen[0][:, :, None, None], logits


def whole_gradient(model: Model, x: Tensor, layer: str, target: int) -> Tensor:
    """Gradient of a logit with respect to something added to the output of `layer`, graph over everything."""
    shape = whole_run(model, x, layer)[0].shape
    added = torch.zeros(shape, dtype=x.dtype, requires_grad=True)
    _, logits = whole_run(model, x.clone().requires_grad_(True), layer, lambda t: t + added)
    return torch.autograd.grad(logits[:, target].sum(), added)[0]


def names(model: Model) -> list[str]:
    return [layer.name for layer in survey(model)]


def off_diagonal(values: Tensor) -> float:
    return float((values - values.roll(1, 0)).abs().max())


@pytest.mark.parametrize("net", NETS)
def test_capture_is_what_each_module_gave(net: str) -> None:
    model = tiny(net, dtype=torch.float64)
    x = batch(model, 3)
    wanted = names(model)
    with tap.untouched(model), torch.no_grad():
        together = tap.capture(model, x, wanted, stop=False)
        assert torch.equal(together.logits(), model.net(x))
        for layer in wanted:
            truth, _ = whole_run(model, x, layer)
            assert torch.equal(together.activations[layer], truth), layer
            assert torch.equal(tap.capture(model, x, [layer]).activations[layer], truth), layer


def test_capture_keeps_the_order_of_the_forward_pass() -> None:
    model = tiny("in-place")
    with tap.untouched(model), torch.no_grad():
        found = tap.capture(model, batch(model), ["head", "relu1", "conv1"])
    assert list(found.activations) == ["conv1", "relu1", "head"]
    assert found.output is None
    with pytest.raises(InnersightError, match="stopped before the logits"):
        found.logits()


@pytest.mark.parametrize(("layer", "after"), [("conv1", "bn1"), ("pool1", "conv2"), ("relu2", "dropout")])
def test_capture_stops_at_the_layer(layer: str, after: str) -> None:
    model = tiny("in-place")
    calls: dict[str, int] = dict.fromkeys(names(model), 0)
    for name in calls:
        model.module(name).register_forward_pre_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    order = list(calls)
    with tap.untouched(model), torch.no_grad():
        tap.capture(model, batch(model), ["conv1", layer])
    assert order.index(after) == order.index(layer) + 1
    assert [calls[name] for name in order] == [1] * order.index(after) + [0] * (len(order) - order.index(after))


def test_each_call_of_a_module_is_a_layer() -> None:
    model = tiny("twice", dtype=torch.float64)
    x = batch(model)
    with tap.untouched(model), torch.no_grad():
        found = tap.capture(model, x, ["block", "block#2"]).activations
        first = model.net.block(model.net.relu(model.net.stem(x)))
        second = model.net.block(first)
    assert torch.equal(found["block"], first)
    assert torch.equal(found["block#2"], second)
    with pytest.raises(InnersightError, match="layer block#3 of tiny twice was not called"):
        tap.layout(model, "block#3")
    with pytest.raises(InnersightError, match="no layer 'blok#2'; did you mean block"):
        tap.layout(model, "blok#2")


def test_capture_lets_gradients_through_where_asked() -> None:
    model = tiny("dense", dtype=torch.float64)
    x = batch(model).requires_grad_(True)
    weight = torch.randn(8, dtype=torch.float64)
    with tap.untouched(model):
        found = tap.capture(model, x, ["step2.1"]).activations["step2.1"]
        (gradient,) = torch.autograd.grad((found.mean((2, 3)) @ weight).sum(), x)
        truth, _ = whole_run(model, x, "step2.1")
        (oracle,) = torch.autograd.grad((truth.mean((2, 3)) @ weight).sum(), x)
    assert torch.allclose(gradient, oracle)
    assert gradient.abs().max() > 0


def test_a_layer_that_is_never_called_is_named() -> None:
    model = tiny("in-place")
    model.net.add_module("spare", nn.Conv2d(3, 3, 1))
    with tap.untouched(model), torch.no_grad():
        for run in (
            lambda: tap.capture(model, batch(model), ["spare"]),
            lambda: tap.leaf(model, batch(model), ["spare"]),
            lambda: tap.replace(model, batch(model), "spare", lambda t: t),
            lambda: tap.resume(model, batch(model), "spare"),
        ):
            with pytest.raises(InnersightError, match=r"spare .*was not called"):
                run()


def test_windows_of_an_image_are_no_maps() -> None:
    assert "stem" not in names(tiny("windows"))
    with pytest.raises(tap.LayoutError, match=r"layer stem of tiny windows gives \(20, 6, 12, 12\) for 5 images"):
        tap.layout(tiny("windows"), "stem")


@pytest.mark.parametrize("net", NETS)
def test_leaf_gradient_is_the_gradient_of_a_whole_run(net: str) -> None:
    model = tiny(net, dtype=torch.float64)
    x = batch(model, 3)
    for layer in names(model):
        with tap.untouched(model):
            found = tap.leaf(model, x, [layer])
            activation = found.activations[layer]
            (gradient,) = torch.autograd.grad(found.logits()[:, 1].sum(), activation)
            truth, logits = whole_run(model, x, layer)
            oracle = whole_gradient(model, x, layer, 1)
        assert torch.equal(activation, truth), layer
        assert torch.allclose(found.logits(), logits), layer
        assert torch.allclose(gradient, oracle, atol=1e-12), layer
        assert oracle.abs().max() > 0, layer


def test_leaf_runs_nothing_below_the_layer_with_a_graph() -> None:
    model = tiny("in-place")
    graphs: dict[str, bool] = {}
    for name in names(model):
        model.module(name).register_forward_hook(
            lambda _m, _i, output, name=name: graphs.update({name: output.grad_fn is not None})
        )
    with tap.untouched(model):
        found = tap.leaf(model, batch(model), ["relu1", "conv2"])
    assert [name for name, graph in graphs.items() if not graph] == ["conv1", "bn1", "relu1"]
    assert found.activations["relu1"].is_leaf
    assert found.activations["conv2"].grad_fn is not None
    first, second = torch.autograd.grad(found.logits().sum(), list(found.activations.values()))
    assert first.abs().max() > 0
    assert second.abs().max() > 0


def test_leaf_of_a_block_and_of_a_layer_inside_it() -> None:
    model = tiny("dense", dtype=torch.float64)
    x = batch(model)
    with tap.untouched(model):
        found = tap.leaf(model, x, ["step1", "step1.1"])
        inner, outer = torch.autograd.grad(
            found.logits()[:, 0].sum(), [found.activations["step1.1"], found.activations["step1"]]
        )
    for layer, gradient in (("step1.1", inner), ("step1", outer)):
        assert torch.allclose(gradient, whole_gradient(model, x, layer, 0), atol=1e-12), layer


@pytest.mark.parametrize("grad", [True, False])
def test_leaf_gives_the_callers_grad_mode_back(grad: bool) -> None:
    model = tiny("in-place")
    with torch.set_grad_enabled(grad), tap.untouched(model):
        tap.leaf(model, batch(model), ["conv2"])
        assert torch.is_grad_enabled() is grad


@pytest.mark.parametrize("net", NETS)
def test_replace_is_a_whole_run_with_another_output(net: str) -> None:
    model = tiny(net, dtype=torch.float64)
    x = batch(model, 3)
    with tap.untouched(model), torch.no_grad():
        plain = model.net(x)
        for layer in names(model):
            # Not linear, so that a change in the wrong place or image shows.
            changed = tap.replace(model, x, layer, lambda t: t.roll(1, 0).sin() - 0.3)
            _, truth = whole_run(model, x, layer, lambda t: t.roll(1, 0).sin() - 0.3)
            assert torch.equal(changed, truth), layer
            assert off_diagonal(changed - plain) > 0, layer


def check_resume(model: Model, layer: str, *, images: int, per_image: int, exact: bool = False) -> str:
    """Compare every variant with a full run of its own; return the mode."""
    x = batch(model, images)
    with tap.untouched(model), torch.no_grad():
        suffix = tap.resume(model, x, layer)
        truth, logits = whole_run(model, x, layer)
        assert torch.equal(suffix.activation, truth)
        assert torch.equal(suffix.output, logits)
        index = torch.arange(images).repeat_interleave(per_image).flip(0)
        generator = torch.Generator().manual_seed(3)
        noise = torch.randn(len(index), *truth.shape[1:], generator=generator, dtype=torch.float64)
        variants = truth[index] + noise
        oracle = []
        for i, image in enumerate(index.tolist()):
            one = variants[i : i + 1].clone()
            oracle.append(whole_run(model, x[image : image + 1], layer, lambda _t, one=one: one)[1])
        before = variants.clone()
        for _ in range(2):  # the second call must find the memory unharmed
            resumed = suffix(variants, index)
            assert torch.allclose(resumed, torch.cat(oracle), rtol=1e-9, atol=1e-9), layer
            assert torch.equal(variants, before)
            assert torch.equal(suffix.activation, truth)
        if exact:
            assert off_diagonal(resumed) > 0
    return suffix.mode


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("net", NETS)
def test_resume_is_a_full_run_for_every_variant(net: str, images: int) -> None:
    model = tiny(net, dtype=torch.float64)
    for layer in names(model):
        check_resume(model, layer, images=images, per_image=3, exact=True)


@pytest.mark.parametrize("net", BIG)
def test_resume_on_published_networks(net: str) -> None:
    model = big(net)
    known = names(model)
    for layer in BIG[net]:
        assert layer in known, layer
        assert check_resume(model, layer, images=2, per_image=1) == "resumed", layer


def test_resume_computes_only_what_comes_after_the_layer() -> None:
    model = tiny("dense")
    with tap.untouched(model), torch.no_grad():
        suffix = tap.resume(model, batch(model), "step2")
        original = nn.Conv2d.forward
        worked: list[nn.Module] = []

        def counted(self: nn.Conv2d, x: Tensor) -> Tensor:
            worked.append(self)
            return original(self, x)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nn.Conv2d, "forward", counted)
            suffix(suffix.activation)
    assert suffix.mode == "resumed"
    assert worked == [model.module("step3.2")]


def test_resume_keeps_only_what_the_rest_reads() -> None:
    model = big("resnet18")
    with tap.untouched(model), torch.no_grad():
        last, inside = (tap.resume(model, batch(model), layer) for layer in ("layer4", "layer4.1.conv1"))
    assert last.mode == inside.mode == "resumed"

    def read(suffix: tap.Suffix) -> list[str]:
        named = {module: name for name, module in model.net.named_modules()}
        return [named[module] for (module, _), value in suffix._memory.items() if any(value.stride())]

    # A chain needs nothing of what was before; a block adds what went into it.
    assert read(last) == []
    assert read(inside) == ["layer4.0"]
    assert inside._fed.isnan().all()


@pytest.mark.parametrize("layer", ["stem", "step3", "head"])
def test_resume_does_not_need_full_runs_for_maps_or_features(layer: str) -> None:
    model = tiny("dense", dtype=torch.float64)
    assert check_resume(model, layer, images=2, per_image=2) == "resumed"


def test_resume_copies_for_a_network_that_writes_into_what_is_remembered() -> None:
    model = tiny("writes-back", dtype=torch.float64)
    assert check_resume(model, "conv", images=1, per_image=4, exact=True) == "copied"
    assert check_resume(model, "conv", images=2, per_image=2, exact=True) in ("resumed", "copied")


def test_resume_falls_back_to_full_runs_where_the_network_defeats_it() -> None:
    model = tiny("windows", dtype=torch.float64)
    assert check_resume(model, "late", images=1, per_image=3, exact=True) == "full"
    assert check_resume(model, "late", images=3, per_image=2, exact=True) == "full"


def test_a_full_run_leaves_the_callers_variants_alone() -> None:
    model = tiny("windows", dtype=torch.float64)
    model.net.late = nn.Sequential(model.net.late, nn.Identity(), nn.ReLU(inplace=True))
    assert check_resume(model, "late.1", images=2, per_image=2, exact=True) == "full"


def test_resume_with_a_module_shared_between_prefix_and_suffix() -> None:
    model = tiny("twice", dtype=torch.float64)
    for layer in ("stem", "block.0", "block", "last"):
        for images in (1, 2):
            check_resume(model, layer, images=images, per_image=3, exact=True)


class TokensFirst(nn.Module):
    """Its inner state has tokens, not images, in front: with as many tokens as images the shapes give no hint."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(12, 5)
        self.mix = nn.Conv2d(3, 5, 3, padding=1)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x.reshape(len(x), 3, -1, 12).mean(1).transpose(0, 1))
        late = self.mix(x).mean((2, 3))
        order = torch.arange(1, 1 + len(tokens), dtype=x.dtype)[:, None, None]
        return self.head((tokens * order).sum(0).tanh() + late)


@pytest.mark.parametrize("images", [1, 2, 3, 6])
def test_resume_is_not_fooled_by_tokens_in_front(images: int) -> None:
    torch.manual_seed(0)
    net = TokensFirst().double().eval()
    model = Model(net, InputSpec(6, 6), tuple("abcd"), "tokens", "a test")
    check_resume(model, "mix", images=images, per_image=2, exact=True)


def test_resume_needs_to_know_which_image_a_variant_belongs_to() -> None:
    model = tiny("in-place", dtype=torch.float64)
    x = batch(model, 3)
    with tap.untouched(model), torch.no_grad():
        suffix = tap.resume(model, x, "conv2")
        with pytest.raises(InnersightError, match="2 variants for 3 images"):
            suffix(suffix.activation[:2])
        assert torch.allclose(suffix(suffix.activation), suffix.output)


def test_a_patched_forward_of_the_user_survives_resume() -> None:
    model = tiny("in-place")
    own = model.net.conv1.forward
    model.net.conv1.forward = own
    with tap.untouched(model), torch.no_grad():
        suffix = tap.resume(model, batch(model), "conv2")
        suffix(suffix.activation)
    assert vars(model.net.conv1)["forward"] is own
    assert "forward" not in vars(model.net.conv2)


def test_untouched_freezes_and_restores() -> None:
    net = Twice()
    net.train()
    net.stem.eval()
    net.head.bias.requires_grad_(False)
    model = Model(net, InputSpec(24, 24), tuple("abcd"), "twice", "a test")
    state = torch.get_rng_state()
    try:
        with tap.untouched(model):
            assert not any(m.training for m in net.modules())
            assert not any(p.requires_grad for p in net.parameters())
            torch.rand(3)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert net.training
    assert not net.stem.training
    assert net.block.training
    assert [n for n, p in net.named_parameters() if not p.requires_grad] == ["head.bias"]
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_that_tap_reads_are_those_listed() -> None:
    model = tiny("dense")
    with tap.untouched(model), torch.no_grad():
        for layer in layers(model):
            values = tap.capture(model, batch(model), [layer.name]).activations[layer.name]
            assert values.shape == (2, layer.units, *layer.grid)


def _named(function: Any) -> str:
    """Return a name without an address in memory: processes that share the tests must agree on it."""
    return str(getattr(function, "__name__", function))


@pytest.mark.parametrize(
    "rectify",
    [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.ReLU6(inplace=True), F.relu, F.relu6, torch.relu, Tensor.relu,
     F.relu_, Tensor.relu_, lambda x: x.clamp(min=0), lambda x: torch.clamp(x, 0), lambda x: x.clamp_(0, 6),
     lambda x: x.clamp_min(0), nn.Threshold(0.0, 0.0), nn.Threshold(0.0, 0.0, inplace=True)],
    ids=_named,
)  # fmt: skip
@pytest.mark.parametrize("mode", [tap.redirected, tap.guided])
def test_every_form_of_a_relu_is_given_another_way_back(mode: Any, rectify: Any) -> None:
    x = torch.tensor([[-2.0, -1.0], [3.0, 2.0]], requires_grad=True)
    with mode():
        output = rectify(x.clone())
    assert torch.equal(output, x.detach().clamp(min=0))
    # Descent raises the output of the first row, which is silent; the second row's second place is to be lowered.
    (gradient,) = torch.autograd.grad(output, x, torch.tensor([[-1.0, -1.0], [1.0, -1.0]]))
    expected = [[-1.0, -1.0], [1.0, -1.0]] if mode is tap.redirected else [[0.0, 0.0], [1.0, 0.0]]
    assert gradient.tolist() == expected


@pytest.mark.parametrize("mode", [tap.redirected, tap.guided])
@pytest.mark.parametrize("rectify", [nn.ReLU(inplace=True), nn.ReLU6(inplace=True), F.relu_, Tensor.relu_], ids=_named)
def test_what_a_relu_writes_into_its_input_is_seen_beside_it(mode: Any, rectify: Any) -> None:
    x = torch.tensor([[-2.0, 1.0], [3.0, -2.0]], requires_grad=True)
    y = x * 1
    with mode() as inside:
        output = rectify(y)
        assert output is y
        if mode is tap.redirected:
            assert torch.equal(inside.unrectified(output), x)
    assert torch.equal(y + output, 2 * x.detach().clamp(min=0))
    assert torch.autograd.grad((y + output).sum(), x)[0].shape == x.shape


@pytest.mark.parametrize("mode", [tap.redirected, tap.guided])
def test_a_relu6_blocks_what_lies_above_its_bound(mode: Any) -> None:
    x = torch.tensor([[1.0, 5.0, 6.5, 11.0]], requires_grad=True)
    with mode():
        output = F.relu6(x)
    assert torch.autograd.grad(output.sum(), x)[0].tolist() == [[1.0, 1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    "other", [lambda x: x.clamp(-1, 1), lambda x: x.clamp(max=3), lambda x: x.clamp(min=torch.zeros(())),
              nn.Threshold(0.0, 7.0), nn.Threshold(0.5, 0.0), nn.Hardtanh()],
)  # fmt: skip
def test_what_is_no_relu_is_left_alone(other: Any) -> None:
    x = torch.linspace(-2, 4, 7, requires_grad=True)
    expected = torch.autograd.grad(other(x.clone()).sum(), x)[0]
    with tap.redirected():
        assert torch.equal(torch.autograd.grad(other(x.clone()).sum(), x)[0], expected)
