"""Predictions are the network's own, and accuracy counts what it should."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from safetensors.torch import load_file

from innersight.errors import InnersightError
from innersight.image import Image, ImageError, stack
from innersight.model import Model
from innersight.predict import predict
from innersight.statistics import wilson
from innersight.terminal import prediction


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder per class, one folder of another name, and a broken file."""
    for i, folder in enumerate(["ash", "ash", "birch", "cedar", "cedar", "cedar", "elsewhere"]):
        (tmp_path / "tree" / folder).mkdir(parents=True, exist_ok=True)
        PILImage.fromarray(np.asarray(image(i).pil)).save(tmp_path / "tree" / folder / f"{i}.png")
    (tmp_path / "tree" / "birch" / "broken.png").write_bytes(b"no")
    return tmp_path / "tree"


def test_logits_are_those_of_the_network(any_tiny: Model, two_images: list[Image]) -> None:
    said = predict(any_tiny, two_images)
    with torch.no_grad():
        truth = any_tiny.net(stack(two_images, any_tiny.input))
    assert torch.allclose(said.logits, truth, atol=1e-6)
    assert torch.allclose(said.probabilities.sum(1), torch.ones(2))
    assert said.ground_truth == (-1, -1)
    assert said.summary() is None


def test_dropout_and_norms_do_not_act(small_model: Model, two_images: list[Image]) -> None:
    small_model.net.train()
    assert torch.equal(predict(small_model, two_images).logits, predict(small_model, two_images).logits)


def test_more_images_than_one_batch(small_model: Model) -> None:
    many = [image(i) for i in range(35)]
    said = predict(small_model, many)
    assert said.names == tuple(one.name for one in many)
    assert torch.allclose(said.logits[34], predict(small_model, many[34]).logits[0], atol=1e-6)


def test_other_number_types_give_float32(two_images: list[Image]) -> None:
    half = tiny("in-place", dtype=torch.bfloat16)
    said = predict(half, two_images)
    assert said.logits.dtype == torch.float32
    assert torch.allclose(said.logits, predict(tiny("in-place"), two_images).logits, atol=0.05)


def test_top_is_sorted_and_named(small_model: Model, two_images: list[Image]) -> None:
    said = predict(small_model, two_images)
    rows = said.top(1, 9)
    assert len(rows) == 4
    assert [row["probability"] for row in rows] == sorted((row["probability"] for row in rows), reverse=True)
    for row in rows:
        assert row["label"] == small_model.labels[row["class"]]
        assert row["logit"] == float(said.logits[1, row["class"]])


def test_a_class_per_folder_tree_gives_accuracy_and_confusions(small_model: Model, tree: Path) -> None:
    said = predict(small_model, tree)
    assert said.ground_truth == (0, 0, 1, 2, 2, 2, -1)
    assert [text.rsplit("/", 1)[-1].split(":")[0] for text in said.skipped] == ["broken.png"]
    table = [[0] * 4 for _ in range(4)]
    for true, row in zip(said.ground_truth[:6], said.logits[:6].tolist(), strict=True):
        table[true][row.index(max(row))] += 1
    assert said.confusion().tolist() == table
    summary = said.summary()
    assert summary is not None
    right = sum(table[i][i] for i in range(4))
    assert (summary["images"], summary["accuracy"]) == (6, right / 6)
    assert summary["interval"] == list(wilson(right, 6))
    assert sum(row["images"] for row in summary["confusions"]) == 6 - right
    for i, label in enumerate(small_model.labels):
        predicted = sum(row[i] for row in table)
        if sum(table[i]) or predicted:
            assert summary["classes"][label] == {
                "images": sum(table[i]),
                "recall": table[i][i] / sum(table[i]) if sum(table[i]) else None,
                "precision": table[i][i] / predicted if predicted else None,
            }
        else:
            assert label not in summary["classes"]


def test_the_same_images_one_by_one(small_model: Model, tree: Path) -> None:
    files = sorted(tree.rglob("[0-9].png"))
    together = predict(small_model, files)
    assert together.ground_truth == predict(small_model, [tree / "ash", *files[2:]]).ground_truth
    for i, file in enumerate(files):
        assert torch.allclose(predict(small_model, str(file)).logits[0], together.logits[i], atol=1e-6)


def test_nothing_to_predict(small_model: Model, tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="no images given"):
        predict(small_model, [])
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"a\.png: not an image"):
        predict(small_model, [tmp_path / "a.png", tmp_path / "none.png"])


@pytest.mark.parametrize("where", ["ash", "."])
def test_saving(where: str, small_model: Model, tree: Path, tmp_path: Path) -> None:
    said = predict(small_model, tree / where if where == "ash" else [image(0)])
    with PILImage.open(said.save(tmp_path / "out" / "a.png")) as drawn:
        assert drawn.width > 100
    document = json.loads(said.save(tmp_path / "a.json").read_text())
    assert document["images"][0]["prediction"][0]["label"] in small_model.labels
    assert document["images"][0]["ground_truth"] == ("ash" if where == "ash" else None)
    assert (document["summary"] is None) == (where != "ash")
    assert torch.equal(load_file(said.save(tmp_path / "a.safetensors"))["logits"], said.logits)
    assert said._repr_html_().startswith("<table><tr><th>image</th>")
    assert "<img " in said._repr_html_()
    with pytest.raises(InnersightError, match=r"a\.txt: save a figure as \.png"):
        said.save(tmp_path / "a.txt")


def test_the_prediction_of_each_image_is_printed(small_model: Model, tree: Path) -> None:
    said = predict(small_model, tree)
    text = prediction(said)
    for i, name in enumerate(said.names):
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name}: ")]
        assert f"{name}: {said.top(i, 1)[0]['label']} " in line
        assert ("WRONG: the ground truth is " in line) == (
            said.ground_truth[i] not in (-1, int(said.logits[i].argmax()))
        )
    assert "accuracy " in text
    html = said._repr_html_()
    assert all(f"<td>{name}</td>" in html for name in said.names)
    (row, *_), (number, *_) = said.to_json()["images"], said.mistakes()
    assert row["prediction"][0]["label"] == said.row(0)["label"]
    assert said.row(number)["correct"] is False
    assert html.count("(wrong)") == len(said.mistakes())


def test_of_many_images_the_most_confident_mistakes(small_model: Model, tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / "ash").mkdir(exist_ok=True)
        image(i).pil.save(tmp_path / "ash" / f"{i:02}.png")
    said = predict(small_model, [tmp_path, tmp_path / "ash" / "03.png"])
    wrong = said.mistakes()
    sure = [float(said.probabilities[i].max()) for i in wrong]
    assert sure == sorted(sure, reverse=True)
    assert all(int(said.logits[i].argmax()) != 0 for i in wrong)
    assert len(wrong) == 31 - int((said.logits.argmax(1) == 0).sum())
    assert sum(count for _, count in said.counts()) == 31
    text = prediction(said)
    assert text.startswith("31 images, predicted as: ")
    assert said.names[wrong[0]] in text
    assert len(text.splitlines()) < 40
    assert "most confident mistakes among 31 images" in said._repr_html_()
    # Two files of one name have their folder's too.
    assert said.names[3] == said.names[30] == "ash/03.png"


def test_scores_that_are_no_probabilities(tree: Path) -> None:
    base = tiny("in-place")
    said = predict(replace(base, head=replace(base.head, link="none", unit="votes")), tree)
    assert "<th>votes</th>" in said._repr_html_()
    assert prediction(said)
    assert said.row(0)["probability"] is None
