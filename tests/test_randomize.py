from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from innersight import toons
from innersight.errors import InnersightError
from innersight.image import Image, as_image, stack
from innersight.input_spec import InputSpec
from innersight.sources import load
from innersight.trust import cascade, shuffled_weights

SPEC = InputSpec(16, 16, fit="squash")


def toon_images(count: int) -> list[Image]:
    return [as_image(np.array(toons.draw(toons.CLASSES[i], 300 + i).pixels)) for i in range(count)]


def test_weights_are_shuffled_and_put_back() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 2))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = load(net.train(), input=SPEC)
    x = torch.randn(8, 3, 16, 16)

    def inside() -> dict[str, torch.Tensor]:
        with shuffled_weights(model, x):
            for name, weight in net.named_parameters():
                old = before[name]
                assert torch.equal(weight.flatten().sort().values, old.flatten().sort().values)
                if old.unique().numel() > 2:
                    assert not torch.equal(weight, old)
            inner = net[0](torch.cat([x, x.flip(3)]))
            assert torch.allclose(net[1].running_mean, inner.mean((0, 2, 3)), atol=1e-5)
            return {name: value.clone() for name, value in net.state_dict().items()}

    first, again = inside(), inside()
    assert all(torch.equal(first[name], again[name]) for name in first)
    with pytest.raises(KeyboardInterrupt), shuffled_weights(model, x):
        raise KeyboardInterrupt
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training
    assert net[1].momentum == 0.1


def test_from_the_last_back() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 3), nn.Linear(3, 2))
    model, x = load(net, input=SPEC), torch.randn(2, 3, 16, 16)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with shuffled_weights(model, x, share=0.3):
        changed = [name for name, value in net.state_dict().items() if not torch.equal(value, before[name])]
    assert "3.weight" in changed
    assert set(changed) <= {"3.weight", "3.bias"}
    for share in (0, 1.5):
        with pytest.raises(InnersightError, match="share"), shuffled_weights(model, x, share=share):
            pass
    empty = load(nn.Sequential(nn.Flatten()), input=InputSpec(2, 2, fit="squash"))
    with pytest.raises(InnersightError, match="no weights"), shuffled_weights(empty, torch.zeros(1, 3, 2, 2)):
        pass


def test_norms_behind_the_pooling_have_an_image_and_its_mirror_image() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model, x = load(net.eval(), input=SPEC), torch.randn(1, 3, 16, 16)
    with shuffled_weights(model, x), torch.no_grad():
        assert model.logits(x).isfinite().all()


def test_a_gradient_falls_and_edges_stay() -> None:
    model, images = load("toon"), toon_images(4)
    found = cascade(model, images, ["gradcam", "guided-backprop"], stages=3)
    assert {name: tuple(values.shape) for name, values in found.items()} == {
        "gradcam": (4, 3),
        "guided-backprop": (4, 3),
    }
    assert all((values[values.isfinite()].abs() <= 1).all() for values in found.values())
    # What Adebayo et al. found: guided backpropagation mostly draws the image, whatever the network learned.
    assert found["guided-backprop"][:, -1].nanmean() > found["gradcam"][:, -1].nanmean() + 0.2


def test_the_shuffled_network_still_answers_with_numbers() -> None:
    model = load("toon")
    x = stack(toon_images(4), model.input)
    with torch.no_grad():
        known = model.logits(x)
        with shuffled_weights(model, x):
            logits = model.logits(x)
        assert torch.equal(model.logits(x), known)
    assert logits.isfinite().all()
    assert logits.std() > 0
    assert not torch.allclose(logits, known, atol=0.1)


def test_matrices_saved_as_buffers_are_weights_and_masks_are_not() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    net.register_buffer("matrix", torch.randn(4, 5))
    net.register_buffer("order", torch.arange(12).view(3, 4))
    net.register_buffer("mask", torch.randn(4, 5), persistent=False)
    model = load(net, input=InputSpec(1, 1, fit="squash"))
    before = {name: value.clone() for name, value in net.named_buffers()}
    with shuffled_weights(model, torch.zeros(1, 3, 1, 1)):
        assert [name for name, value in net.named_buffers() if not torch.equal(value, before[name])] == ["matrix"]
        assert torch.equal(net.matrix.flatten().sort().values, before["matrix"].flatten().sort().values)
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
