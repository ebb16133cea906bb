from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from innersight import toons
from innersight.errors import InnersightError
from innersight.image import Picture, as_picture, stack
from innersight.model import InputSpec
from innersight.sources import load
from innersight.trust import cascade, random_network

SPEC = InputSpec(16, 16, fit="squash")


def toon_pictures(count: int) -> list[Picture]:
    return [as_picture(np.array(toons.draw(toons.CLASSES[i], 300 + i).pixels)) for i in range(count)]


def test_weights_are_shuffled_in_a_copy() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 2))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = load(net, input=SPEC)
    x = torch.randn(8, 3, 16, 16)
    other = random_network(model, x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    for name, weight in other.net.named_parameters():
        old = before[name]
        assert torch.equal(weight.flatten().sort().values, old.flatten().sort().values)
        if old.unique().numel() > 2:
            assert not torch.equal(weight, old)
    inner = other.net[0](x)
    assert torch.allclose(other.net[1].running_mean, inner.mean((0, 2, 3)), atol=1e-5)
    assert not other.net.training
    again = random_network(model, x)
    assert all(torch.equal(a, b) for a, b in zip(other.net.parameters(), again.net.parameters(), strict=True))


def test_from_the_output_back() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 3), nn.Linear(3, 2))
    model, x = load(net, input=SPEC), torch.randn(2, 3, 16, 16)
    last = random_network(model, x, share=0.3)
    assert torch.equal(last.net[0].weight, net[0].weight)
    assert torch.equal(last.net[2].weight, net[2].weight)
    assert not torch.equal(last.net[3].weight, net[3].weight)
    for share in (0, 1.5):
        with pytest.raises(InnersightError, match="share"):
            random_network(model, x, share=share)
    with pytest.raises(InnersightError, match="no weights"):
        random_network(load(nn.Sequential(nn.Flatten()), input=InputSpec(2, 2, fit="squash")), torch.zeros(1, 3, 2, 2))


def test_a_gradient_falls_and_edges_stay() -> None:
    model, pictures = load("toon"), toon_pictures(4)
    found = cascade(model, pictures, ["gradcam", "guided-backprop"], stages=3)
    assert {name: tuple(values.shape) for name, values in found.items()} == {
        "gradcam": (4, 3),
        "guided-backprop": (4, 3),
    }
    assert all((values[values.isfinite()].abs() <= 1).all() for values in found.values())
    # What Adebayo et al. found: guided backpropagation mostly draws the picture, whatever the network learned.
    assert found["guided-backprop"][:, -1].nanmean() > found["gradcam"][:, -1].nanmean() + 0.2


def test_the_shuffled_network_still_answers_with_numbers() -> None:
    model = load("toon")
    x = stack(toon_pictures(4), model.input)
    with torch.no_grad():
        logits = random_network(model, x).logits(x)
    assert logits.isfinite().all()
    assert logits.std() > 0
