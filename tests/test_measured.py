"""What is measured of a network is measured once, and again when the network is another."""

from collections.abc import Callable

import pytest
import torch
from networks import image
from torch import nn

import innersight as ins
from innersight.measured import network_state
from innersight.model import Model


class Net(nn.Sequential):
    """Counts its forward passes."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        self.passes = 0
        for i in range(depth):
            self.add_module(f"conv{i}", nn.Conv2d(3 if i == 0 else 4, 4, 3, padding=1))
            self.add_module(f"relu{i}", nn.ReLU())
        self.add_module("pool", nn.AdaptiveAvgPool2d(1))
        self.add_module("flat", nn.Flatten())
        self.add_module("head", nn.Linear(4, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        out: torch.Tensor = super().forward(x)
        return out


def loaded(depth: int = 3) -> Model:
    return ins.load(Net(depth), input=ins.InputSpec(16, 16))


def passes(model: Model, call: Callable[[], object]) -> int:
    before = model.net.passes
    call()
    return int(model.net.passes - before)


def explain(model: Model) -> Callable[[], object]:
    return lambda: ins.explain(model, [image()], methods=["gradcam"])


def test_the_second_call_makes_one_pass() -> None:
    model = loaded()
    assert passes(model, explain(model)) > 1
    assert [passes(model, explain(model)) for _ in range(3)] == [1, 1, 1]


def test_layers_are_listed_without_a_pass_the_second_time() -> None:
    model = loaded()
    ins.layers(model, measure=False)
    assert passes(model, lambda: ins.layers(model, measure=False)) == 0


def test_modules_are_not_walked_once_for_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []
    own = nn.Module.named_modules
    monkeypatch.setattr(nn.Module, "named_modules", lambda self, *a, **k: walks.append(self) or own(self, *a, **k))

    def count(depth: int) -> int:
        model = loaded(depth)
        explain(model)()
        walks.clear()
        explain(model)()
        return sum(one is model.net for one in walks)

    assert count(30) == count(3)


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "weights loaded": lambda net: net.load_state_dict({k: v + 1 for k, v in net.state_dict().items()}),
    "weights assigned": lambda net: net.load_state_dict(
        {k: v.clone() for k, v in net.state_dict().items()}, assign=True
    ),
    "drawn anew": lambda net: nn.init.normal_(net.conv1.bias),
    "written through data": lambda net: [p.data.mul_(2) for p in net.parameters()],
    "data replaced": lambda net: setattr(net.head.weight, "data", torch.zeros(5, 4)),
    "module replaced": lambda net: setattr(net, "relu1", nn.Sigmoid()),
    "module added": lambda net: net.add_module("last", nn.Identity()),
    "module removed": lambda net: delattr(net, "relu1"),
    "weights removed": lambda net: setattr(net.conv2, "bias", None),
    "another type": lambda net: net.double(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_is_measured_again(change: str) -> None:
    model = loaded()
    ins.layers(model, measure=False)
    CHANGES[change](model.net)
    assert passes(model, lambda: ins.layers(model, measure=False)) > 0


def test_a_step_of_an_optimizer_is_a_change() -> None:
    model = loaded()
    ins.layers(model, measure=False)
    optimizer = torch.optim.SGD(model.net.parameters(), 0.1)
    model.net(torch.rand(1, 3, 16, 16)).sum().backward()
    optimizer.step()
    assert passes(model, lambda: ins.layers(model, measure=False)) > 0


def test_what_a_call_reads_is_of_the_network_as_it_is() -> None:
    model = loaded()
    assert [layer.units for layer in ins.layers(model, measure=False)][-2:] == [4, 5]
    model.net.conv2, model.net.head = nn.Conv2d(4, 7, 3), nn.Linear(7, 6)
    assert [layer.units for layer in ins.layers(model, measure=False)][-2:] == [7, 6]


def test_nothing_counts_as_a_change_that_is_none() -> None:
    model = loaded()
    before = network_state(model.net)
    model.net.train()
    explain(model)()
    for parameter in model.net.parameters():
        parameter.requires_grad_(False)
    assert network_state(model.net) == before


def test_weights_that_are_no_numbers_are_no_change_either() -> None:
    model = loaded()
    nn.init.constant_(model.net.conv0.weight, float("nan"))
    assert network_state(model.net) == network_state(model.net)


def test_weights_made_in_inference_mode_have_a_state() -> None:
    with torch.inference_mode():
        net = Net()
    before = network_state(net)
    with torch.inference_mode():
        net.conv0.weight.mul_(2)
    assert network_state(net) != before


BUFFERS: dict[str, Callable[[], torch.Tensor]] = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "rows": lambda: torch.eye(3).to_sparse_csr(),
    "quantized": lambda: torch.quantize_per_tensor(torch.rand(4), 0.1, 0, torch.qint8),
    "complex": lambda: torch.ones(4, dtype=torch.complex64),
    "boolean": lambda: torch.tensor([True, False]),
    "half": lambda: torch.rand(4).bfloat16(),
    "empty": lambda: torch.empty(0, 4),
    "scalar": lambda: torch.tensor(2.0),
    "meta": lambda: torch.empty(4, device="meta"),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning", "ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("kind", BUFFERS)
def test_tensors_of_any_kind_have_a_state(kind: str) -> None:
    net = Net()
    without = network_state(net)
    net.conv0.register_buffer("other", BUFFERS[kind]())
    assert network_state(net) == network_state(net) != without
