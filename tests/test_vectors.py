"""A sample of activation vectors is what the layer gave at the stated images and locations, drawn evenly."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import image, tiny

import innersight as ins
from innersight import inputs, vectors
from innersight.errors import InnersightError
from innersight.image import ImageError, stack
from innersight.model import Model
from innersight.toons import write


def many(count: int) -> list[ins.Image]:
    return [image(i) for i in range(count)]


@pytest.mark.parametrize("per_image", [None, 2])
def test_vectors_are_those_of_the_stated_image_and_location(small_model: Model, per_image: int | None) -> None:
    images = many(70)
    found = vectors.sample(small_model, images, "conv2", count=90, per_image=per_image)
    truth = ins.activations(small_model, images, "conv2").values["conv2"]
    own = torch.tensor(found.numbers)[found.image]
    y, x = found.location.unbind(1)
    assert found.vectors.shape == (90, 8)
    assert torch.allclose(found.vectors, truth[own, :, y, x], atol=1e-6)
    assert found.vectors.min() < 0
    assert found.grid == tuple(truth.shape[2:])
    assert len({(int(a), int(b), int(c)) for a, b, c in zip(own, y, x, strict=True)}) == 90
    with torch.no_grad():
        logits = small_model.net.eval()(stack(images, small_model.input))[list(found.numbers)]
    assert torch.allclose(found.logits, logits, atol=1e-5)
    assert torch.equal(found.predicted, logits.argmax(1))


def test_no_image_gives_more_than_was_asked_for(small_model: Model) -> None:
    found = vectors.sample(small_model, many(5), "conv2", per_image=3)
    assert Counter(found.image.tolist()) == dict.fromkeys(range(5), 3)


def test_all_are_taken_where_there_are_fewer(small_model: Model) -> None:
    found = vectors.sample(small_model, many(2), "conv2", count=10_000)
    h, w = found.grid
    places = [[i, y, x] for i in range(2) for y in range(h) for x in range(w)]
    assert torch.cat([found.image[:, None], found.location], 1).tolist() == places


def test_the_draw_depends_on_neither_the_batch_nor_later_images(
    small_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def places(batch: int, images: int, count: int) -> list[tuple[int, ...]]:
        monkeypatch.setattr(vectors, "BATCH", batch)
        found = vectors.sample(small_model, many(images), "conv2", count=count)
        own = torch.tensor(found.numbers)[found.image]
        return [tuple(row) for row in torch.cat([own[:, None], found.location], 1).tolist()]

    assert places(32, 40, 60) == places(7, 40, 60) == sorted(places(1, 40, 60))
    # What is drawn of more images is, as far as it lies in the first ones, what was drawn of these.
    assert {row for row in places(8, 40, 60) if row[0] < 20} <= set(places(8, 20, 60))


def test_another_seed_draws_others(small_model: Model) -> None:
    first, second = (vectors.sample(small_model, many(4), "conv2", count=20, seed=seed) for seed in (0, 1))
    assert not torch.equal(first.location, second.location)


def test_every_image_and_location_is_drawn_as_often(small_model: Model) -> None:
    images, drawn = many(40), Counter()
    for seed in range(30):
        found = vectors.sample(small_model, images, "conv2", count=400, seed=seed)
        drawn.update(torch.tensor(found.numbers)[found.image].tolist())
    # 300 of each image are expected, with a standard deviation below 17.
    assert np.ptp([drawn[i] for i in range(40)]) < 120
    assert min(drawn[i] for i in range(40)) > 230


def test_a_layer_without_locations_has_a_vector_for_each_image(small_model: Model) -> None:
    found = vectors.sample(small_model, many(6), "head")
    assert found.grid == (1, 1)
    assert torch.equal(found.vectors, found.logits)
    assert found.location.tolist() == [[0, 0]] * 6


def test_memory_is_for_the_sample_alone(small_model: Model) -> None:
    found = vectors.sample(small_model, many(100), "conv2", count=10)
    assert found.images == 100
    assert len(found.names) == len(found.logits) == len(found.labels) <= 10
    assert found.image.unique().tolist() == list(range(len(found.names)))


def test_labels_names_and_what_was_skipped(tmp_path: Path) -> None:
    model = ins.load("toon")
    write(tmp_path / "toons", per_class=1)
    (tmp_path / "toons" / "ambra" / "broken.png").write_bytes(b"no image")
    found = vectors.sample(model, tmp_path / "toons", "stage4", count=2_000)
    assert [model.labels[label] for label in found.labels] == sorted(model.labels)
    assert [Path(name).parent.name for name in found.names] == sorted(model.labels)
    assert len(found.skipped) == 1
    assert "broken.png" in found.skipped[0]
    assert [entry.name for entry in map(inputs.again, found.names)] == list(found.names)
    assert all(found.stamps)


def test_images_whose_activations_are_no_numbers_are_left_out() -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.conv1.weight.mul_(100)
    images = torch.rand(3, *model.input.shape)
    images[1] = 1e38
    found = vectors.sample(model, images, "conv2")
    assert found.numbers == (0, 2)
    assert found.images == 2
    assert found.vectors.isfinite().all()
    assert "NaN" in found.skipped[0]
    with pytest.raises(InnersightError, match="NaN or infinite for all images"):
        vectors.sample(model, images[1:2], "conv2")


def test_what_cannot_be_sampled(small_model: Model) -> None:
    with pytest.raises(InnersightError, match="count=0"):
        vectors.sample(small_model, many(1), "conv2", count=0)
    with pytest.raises(InnersightError, match="per_image=0"):
        vectors.sample(small_model, many(1), "conv2", per_image=0)
    with pytest.raises(InnersightError, match="conv9"):
        vectors.sample(small_model, many(1), "conv9")
    with pytest.raises(ImageError):
        vectors.sample(small_model, "gone.png", "conv2")


def test_progress_counts_images(small_model: Model) -> None:
    seen: list[int] = []
    vectors.sample(small_model, many(40), "conv2", progress=lambda done, total, name: seen.append(done))
    assert seen == [32, 40]
