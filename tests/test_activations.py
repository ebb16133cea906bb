"""Maps are what the modules gave, raw."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from safetensors.torch import load_file

from innersight.activations import activations
from innersight.errors import InnersightError
from innersight.image import Image, ImageError, stack
from innersight.layers import default_layers, layers
from innersight.model import Model


def test_values_are_what_each_module_gave(any_tiny: Model, two_images: list[Image]) -> None:
    names = [layer.name for layer in layers(any_tiny, all=True)]
    found = activations(any_tiny, two_images, names)
    assert list(found.values) == names
    for name in names:
        seen: list[torch.Tensor] = []
        module, call = any_tiny.call(name)
        handle = module.register_forward_hook(lambda _m, _i, output, seen=seen: seen.append(output.clone()))
        with torch.no_grad():
            any_tiny.net(stack(two_images, any_tiny.input))
        handle.remove()
        own = seen[call - 1]
        truth = own if own.ndim == 4 else own[:, :, None, None]
        assert torch.allclose(found.values[name], truth, atol=1e-6), name
        assert found.values[name].dtype == torch.float32


def test_maps_keep_their_sign(small_model: Model) -> None:
    values = activations(small_model, image(0), ["conv1"]).values["conv1"]
    assert values.min() < 0 < values.max()


def test_without_layers_those_that_tell_the_story(any_tiny: Model) -> None:
    assert tuple(activations(any_tiny, image(0)).values) == default_layers(any_tiny)


def test_a_layer_named_twice_is_read_once(small_model: Model, two_images: list[Image]) -> None:
    found = activations(small_model, two_images, ["conv2", "conv1", "conv2"])
    assert list(found.values) == ["conv2", "conv1"]
    assert len(found.values["conv2"]) == 2


def test_more_images_than_one_batch(small_model: Model) -> None:
    many = [image(i) for i in range(18)]
    values = activations(small_model, many, ["conv2"]).values["conv2"]
    for i in (0, 15, 16, 17):
        assert torch.allclose(values[i], activations(small_model, many[i], ["conv2"]).values["conv2"][0], atol=1e-6)


def test_nothing_runs_after_the_deepest_layer(small_model: Model) -> None:
    activations(small_model, image(0), ["conv1"])  # the layouts of a network are measured once, to the end
    calls: list[int] = []
    small_model.net.head.register_forward_pre_hook(lambda *_: calls.append(1))
    activations(small_model, [image(i) for i in range(40)], ["conv1"])
    assert not calls


@pytest.mark.parametrize("name", ["in-place", "grey"])
def test_saving(name: str, two_images: list[Image], tmp_path: Path) -> None:
    found = activations(tiny(name), two_images, ["conv1", "relu2"])
    with PILImage.open(found.save(tmp_path / "new" / "a.png")) as drawn:
        assert np.asarray(drawn.convert("RGB")).std() > 10
    document = json.loads(found.save(tmp_path / "a.json").read_text())
    assert document["images"] == ["blobs 1", "blobs 2"]
    assert document["layers"]["relu2"]["units"] == 8
    assert document["layers"]["relu2"]["grid"] == list(found.values["relu2"].shape[2:])
    assert document["layers"]["relu2"]["max"] == found.values["relu2"].amax((2, 3)).tolist()
    tensors = load_file(found.save(tmp_path / "a.safetensors"))
    assert tensors.keys() == found.values.keys()
    assert all(torch.equal(tensors[key], found.values[key]) for key in tensors)
    with pytest.raises(InnersightError, match="save a figure as"):
        found.save(tmp_path / "a")


def test_figures(small_model: Model, two_images: list[Image]) -> None:
    found = activations(small_model, two_images, ["relu2"])
    for options in ({}, {"shared": True}, {"overlay": True}, {"limit": 3}):
        figure = found.figure(**options)
        titles = [part._suptitle.get_text() for part in figure.subfigs]
        assert len(titles) == 2
        assert ("one scale" in titles[0]) == ("shared" in options)
        assert ("first 3 of 8 units" in titles[0]) == ("limit" in options)


def test_errors(small_model: Model, tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match=r"no layer 'conv9'; did you mean conv"):
        activations(small_model, image(0), ["conv9"])
    with pytest.raises(InnersightError, match="no images given"):
        activations(small_model, [])
    with pytest.raises(ImageError, match="no such file"):
        activations(small_model, tmp_path / "none.png")
