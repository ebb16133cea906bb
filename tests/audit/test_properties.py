"""Properties of whole images: measured where they are, given and taken away as they come about."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from planted import HONEST, LABELS, blobs, network
from torch import Tensor

import innersight as ins
from innersight.audit.dependence import _direction
from innersight.audit.measures import COLUMNS, FILE, grey, measure, sharpness
from innersight.audit.properties import Property, kinds
from innersight.audit.subject import Subject


def usual(**changes: float) -> dict[str, float]:
    """Return the medians of images of 40 x 40 pixels."""
    return {**dict.fromkeys(COLUMNS, 0.5), "size": 40.0, "aspect": 1.0, **changes}


def built(name: str, images: Tensor, **changes: float) -> list[Property]:
    [kind] = [kind for kind in kinds if name in kind.columns and len(kind.columns) == 1]
    return list(kind.build(usual(**changes), usual(), images, images))


@pytest.fixture
def noisy() -> Tensor:
    return torch.rand(6, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def test_small_files_lack_detail(noisy: Tensor) -> None:
    [size] = built("size", noisy, size=16.0)
    assert "16 px, enlarged to 40" in size.words
    lent = size.give(noisy, 1.0)
    # What was 16 pixels wide has nothing finer than that.
    small = torch.nn.functional.interpolate(noisy, (16, 16), mode="bilinear", antialias=True)
    wanted = torch.nn.functional.interpolate(small, (40, 40), mode="bilinear")
    torch.testing.assert_close(lent, wanted)
    luma = [x.mean(1, keepdim=True) for x in (noisy, lent, size.give(noisy, -1.0))]
    plain, soft, sharp = (float(sharpness(x).median()) for x in luma)
    assert soft < plain - 0.2
    assert sharp >= plain - 0.02
    torch.testing.assert_close(size.controls[0](noisy, -1.0), lent)


@pytest.mark.parametrize("size", [40.0, 39.0, 400.0])
def test_files_that_are_not_enlarged_lack_nothing(size: float, noisy: Tensor) -> None:
    assert built("size", noisy, size=size) == []


@pytest.mark.parametrize(("aspect", "shape"), [(2.0, (40, 20)), (0.5, (20, 40))])
def test_wide_files_that_are_squashed_show_narrow_things(aspect: float, shape: tuple[int, int]) -> None:
    """A square in the middle becomes as tall or as wide as squashing makes it."""
    images = torch.zeros(2, 3, 80, 80)
    images[..., 30:50, 30:50] = 1
    [stretched] = built("aspect", images, aspect=aspect)
    lent = stretched.give(images, 1.0)[0, 0] > 0.5
    rows, columns = lent.any(1).sum(), lent.any(0).sum()
    assert abs(int(rows) - shape[0]) <= 2
    assert abs(int(columns) - shape[1]) <= 2
    back = stretched.give(images, -1.0)[0, 0] > 0.5
    assert (int(back.any(1).sum()) > 22) == (aspect < 1)


def test_an_aspect_that_is_usual_is_none(noisy: Tensor) -> None:
    assert built("aspect", noisy, aspect=1.04) == []


def test_sizes_are_those_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = blobs(per_class=24)
    for i, (pixels, label) in enumerate(images[j] for j in range(len(images))):
        file = tmp_path / LABELS[label] / f"{i:03}.png"
        file.parent.mkdir(exist_ok=True)
        image = PILImage.fromarray(pixels)
        (image.resize((60, 20)) if label == 1 else image).save(file)
    module, seen = importlib.import_module("innersight.audit.checks.slice"), list[Subject]()
    right = module._right
    monkeypatch.setattr(module, "_right", lambda subject: (seen.append(subject), right(subject))[1])
    ins.audit(network(HONEST), tmp_path, checks=["slice"])
    table = seen[0].table
    own = table.properties[table.classes == 1][:, [COLUMNS.index("size"), COLUMNS.index("aspect")]]
    torch.testing.assert_close(own, torch.tensor([[1200.0**0.5, 3.0]]).expand(len(own), 2))


def test_values_are_in_the_order_of_the_columns(noisy: Tensor) -> None:
    files = torch.tensor([[1.5, 40.0, 1.0]]).expand(6, 3)
    found = measure(noisy, files)
    assert found.shape == (6, len(COLUMNS))
    assert COLUMNS[-3:] == FILE
    torch.testing.assert_close(found[:, -3:], files)
    torch.testing.assert_close(found[:, COLUMNS.index("brightness")], grey(noisy).mean((1, 2, 3)))


def test_what_is_constant_on_either_side_sets_them_apart_best() -> None:
    """Files of one size here, of another there; and bars of one height beside a column that only leans that way."""
    truth = np.repeat([True, False], [20, 40])
    sizes = np.where(truth, 32.0, 64.0)[:, None]
    assert (sizes @ _direction(sizes, truth))[truth].min() > (sizes @ _direction(sizes, truth))[~truth].max()
    rng = np.random.default_rng(0)
    both = np.stack([np.where(truth, 0.2, 0.0), rng.normal(size=60) + truth], 1)
    along = both @ _direction(both, truth)
    assert along[truth].min() > along[~truth].max()
    # Of columns that vary it is Fisher's direction.
    values = rng.normal(size=(4000, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]]) + np.outer(np.arange(4000) % 2, [1.0, 0.0])
    odd = np.arange(4000) % 2 == 1
    found = _direction(values, odd)
    wanted = np.linalg.solve(np.cov(values[odd].T) + np.cov(values[~odd].T), values[odd].mean(0) - values[~odd].mean(0))
    np.testing.assert_allclose(found / np.linalg.norm(found), wanted / np.linalg.norm(wanted), atol=2e-3)


def test_channels_that_differ_alike_are_no_colour_cast(noisy: Tensor) -> None:
    [kind] = [kind for kind in kinds if len(kind.columns) == 5]
    brighter = noisy * 0.6 + 0.3
    assert list(kind.build(usual(), usual(), noisy, brighter)) == []
    assert list(kind.build(usual(), usual(), noisy, brighter * torch.tensor([1.1, 1.0, 0.9])[:, None, None]))
