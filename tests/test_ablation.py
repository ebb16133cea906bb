import json

import pytest
import torch
from networks import image, tiny
from safetensors.torch import load_file

import innersight as ins
from innersight import terminal
from innersight.ablation import DEFINITION, Ablation
from innersight.errors import InnersightError
from innersight.image import ImageError


def made(change: torch.Tensor, logits: torch.Tensor) -> Ablation:
    model = tiny("in-place")
    return Ablation(model, "relu2", tuple(f"{i}.png" for i in range(len(logits))), change, logits, "zero")


def test_the_unit_a_class_depends_on_ranks_first_with_interval_and_p() -> None:
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(20, 8, 4, generator=generator) * 0.1
    change[:, 5, 1] -= 2
    change[:, 3, 1] += 2
    logits = torch.zeros(20, 4)
    logits[:, 1] = 1
    logits[16:, 2] = 2
    found = made(change, logits)
    assert found.shown_classes() == ("birch", "cedar")
    assert found.rows("birch") == list(range(16))
    assert found.rows("ash") == list(range(20))
    rows = found.rank("birch", None)
    assert [rows[0]["unit"], rows[-1]["unit"]] == [5, 3]
    assert rows[0]["address"] == "relu2:5"
    assert rows[0]["mean"] == pytest.approx(float(change[:16, 5, 1].mean()), abs=1e-6)
    low, high = rows[0]["interval"]
    assert low < rows[0]["mean"] < high < -1.5
    assert rows[0]["p"] < 0.05
    assert rows[3]["p"] > 0.05
    # A class that is not shown is tested when it is asked for.
    assert found.rank("ash", 1)[0]["p"] <= 1
    assert found.rank("birch", None) == rows
    assert "16 images predicted as birch" in found.note("birch")
    assert "too few to test 8 units:" in found.note("cedar")
    assert "no image is predicted as ash" in found.note("ash")


def test_one_image_has_no_interval() -> None:
    found = ins.ablate(tiny("in-place"), image(1), "relu1")
    (label,) = found.shown_classes()
    assert {row["interval"] for row in found.rank(label)} == {None}
    assert "change" in terminal.ablation(found)
    assert found.figure().axes


def test_many_images_make_batches_and_classes_may_be_named() -> None:
    model, images = tiny("dense"), [image(i) for i in range(19)]
    found = ins.ablate(model, images, "step2", classes=["dogwood", 0, "dogwood"])
    assert found.change.shape == (19, 4, 4)
    assert found.shown_classes() == ("dogwood", "ash")
    alone = ins.ablate(model, images[17], "step2")
    assert torch.allclose(found.change[17], alone.change[0], atol=1e-5)


def test_scores_that_are_not_finite_are_told() -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.head.bias[0] = torch.nan
    with pytest.raises(
        InnersightError, match=r"relu2: the class scores of 2 of 2 images, with or without a unit, are not finite"
    ):
        ins.ablate(model, [image(1), image(2)], "relu2")


def test_errors() -> None:
    model = tiny("in-place")
    with pytest.raises(InnersightError, match="did you mean birch"):
        ins.ablate(model, image(1), "relu1", classes=["birsh"])
    with pytest.raises(InnersightError, match="did you mean conv"):
        ins.ablate(model, image(1), "conv3")
    with pytest.raises(InnersightError, match="choose zero or mean"):
        ins.ablate(model, image(1), "relu1", to="noise")
    with pytest.raises(ImageError, match="no images"):
        ins.ablate(model, [], "relu1")


def test_saving(tmp_path) -> None:
    found = ins.ablate(tiny("in-place"), [image(i) for i in range(3)], "relu1")
    document = json.loads(found.save(tmp_path / "a.json").read_text())
    assert document["definition"] == DEFINITION
    assert list(document["classes"]) == list(found.shown_classes())
    label = found.shown_classes()[0]
    assert document["classes"][label]["rank"] == found.rank(label, None)
    assert found.save(tmp_path / "a.png").stat().st_size > 1000
    assert torch.equal(load_file(found.save(tmp_path / "a.safetensors"))["change"], found.change)
    assert found._repr_html_().startswith("<img")
