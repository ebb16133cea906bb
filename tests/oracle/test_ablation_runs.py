"""`ablate` against full runs of the network with one unit changed."""

import pytest
import torch
from networks import NETS, image, tiny
from torch import Tensor

import innersight as ins
from innersight import tap
from innersight.image import stack
from innersight.layers import default_layers
from innersight.model import Model


def slow_change(model: Model, x: Tensor, layer: str, to: str) -> Tensor:
    with tap.untouched(model), torch.no_grad():
        maps = tap.capture(model, x, [layer]).activations[layer]
        changes = []
        for unit in range(maps.shape[1]):
            value = 0.0 if to == "zero" else float(maps[:, unit].double().mean())

            def changed(output: Tensor, unit: int = unit, value: float = value) -> Tensor:
                output = output.clone()
                output[:, unit] = value
                return output

            changes.append(tap.replace(model, x, layer, changed) - model.logits(x))
    return torch.stack(changes, 1).float()


@pytest.mark.parametrize("to", ["zero", "mean"])
@pytest.mark.parametrize("net", NETS)
def test_every_change_is_that_of_a_full_run(net: str, to: str) -> None:
    model = tiny(net)
    images = [image(i) for i in range(3)]
    x = stack(images, model.input)
    for layer in dict.fromkeys([*default_layers(model), "head"]):
        found = ins.ablate(model, images, layer, to=to)
        assert found.change.shape == (3, found.change.shape[1], 4)
        assert torch.allclose(found.change, slow_change(model, x, layer, to), atol=1e-4), layer
        assert torch.allclose(found.logits, model.net(x), atol=1e-5), layer


def test_the_closed_form_is_used_where_it_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = tiny("in-place", dtype=torch.float64), [image(i) for i in range(3)]
    closed = ins.ablate(model, images, "relu2")
    assert closed.closed_form
    assert not ins.ablate(model, images, "pool1").closed_form
    monkeypatch.setattr("innersight.ablation.engine._closed", lambda suffix, other: None)
    runs = ins.ablate(model, images, "relu2")
    assert not runs.closed_form
    assert torch.allclose(closed.change, runs.change, atol=1e-9)
