"""Inputs lie in memory with their channels last where the network can read that, and only there."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import image
from torch import Tensor, nn

import innersight as ins
from innersight.memory_format import memory_format
from innersight.model import Model
from innersight.train.answers import logits_of, training_format


class Viewing(nn.Module):
    """Flattens as tutorials do: by a view, which needs the channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(4)
        self.head = nn.Linear(6 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.conv(x))))
        return self.head(self.flat(x))

    def flat(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)


class Reshaping(Viewing):
    def flat(self, x: Tensor) -> Tensor:
        return x.reshape(x.size(0), -1)


def loaded(kind: type[nn.Module]) -> Model:
    torch.manual_seed(0)
    return ins.load(kind().eval(), input=ins.InputSpec(16, 16))


IMAGES = [image(i) for i in range(4)]
CALLS: dict[str, Callable[[Model], Tensor]] = {
    "predict": lambda model: ins.predict(model, IMAGES).logits,
    "activations": lambda model: ins.activations(model, IMAGES, layers=["relu"]).values["relu"],
    "patterns": lambda model: ins.patterns(model, ["relu:1", "class:1"], steps=4, seeds=1, images=IMAGES).images,
    "ablate": lambda model: ins.ablate(model, IMAGES, "relu").change,
    "connections": lambda model: ins.connections(model, "relu:1", IMAGES).links[0].value,
    "scan": lambda model: ins.scan(model, IMAGES, layers=["relu", "head"]).layers["head"].mean,
    "match": lambda model: ins.match(model, model, IMAGES, layers=["relu"]).layers["relu"].correlation,
    "saliency": lambda model: heatmap(model, "saliency"),
    "integrated-gradients": lambda model: heatmap(model, "integrated-gradients"),
    "smoothgrad": lambda model: heatmap(model, "smoothgrad"),
    "occlusion": lambda model: heatmap(model, "occlusion"),
    "ablationcam": lambda model: heatmap(model, "ablationcam"),
}


def heatmap(model: Model, method: str) -> Tensor:
    return ins.explain(model, IMAGES[:1], 1, [method]).entries[0].values


@pytest.mark.parametrize("name", CALLS)
def test_networks_that_take_a_view_give_what_others_give(name: str) -> None:
    found, truth = CALLS[name](loaded(Viewing)), CALLS[name](loaded(Reshaping))
    assert torch.allclose(found, truth, atol=1e-4, rtol=1e-3)
    assert truth.abs().max() > 0


@pytest.mark.parametrize(("kind", "wanted"), [(Viewing, torch.contiguous_format), (Reshaping, torch.channels_last)])
def test_it_is_tried_once_and_leaves_the_network_as_it_was(kind: Any, wanted: torch.memory_format) -> None:
    model = loaded(kind)
    model.net.train()
    before = {key: value.clone() for key, value in model.net.state_dict().items()}
    passes: list[None] = []
    model.net.register_forward_hook(lambda *_: passes.append(None), always_call=True)
    assert [memory_format(model) for _ in range(3)] == [wanted] * 3
    assert len(passes) == 1
    assert all(torch.equal(value, before[key]) for key, value in model.net.state_dict().items())
    assert model.net.training


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_network_that_takes_a_view_is_trained(channels: int) -> None:
    net = Viewing()
    net.conv = nn.Conv2d(channels, 6, 3, padding=1)
    x = torch.rand(8, channels, 16, 16)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert training_format(net, (channels, 16, 16)) == torch.contiguous_format
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    logits_of(net, x).sum().backward()  # type: ignore[no-untyped-call]
    assert net.conv.weight.grad is not None
    assert (
        training_format(nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten()), (channels, 8, 8)) == torch.channels_last
    )
