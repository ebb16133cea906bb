"""Image classifiers of transformers, from folders: contract, labels, head, and what is not there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file

from innersight.errors import InnersightError
from innersight.sources import load

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:transformers", "ignore::FutureWarning:transformers")

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
NAMES = {0: "ada", 1: "bea", 2: "cyd"}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def vit(folder: Path, processor: Mapping[str, Any] | None = None, **config: Any) -> Any:
    torch.manual_seed(0)
    made = transformers.ViTConfig(**SMALL, **{"id2label": NAMES, **config})
    net = transformers.ViTForImageClassification(made).eval()
    net.save_pretrained(folder)
    if processor is not None:
        transformers.ViTImageProcessor(**{"size": {"height": 32, "width": 32}, **processor}).save_pretrained(folder)
    return net


def test_a_folder_brings_everything(tmp_path: Path) -> None:
    net = vit(tmp_path, {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3})
    model = load(f"hf:{tmp_path}", device="cpu")
    spec = model.input
    assert (spec.shape, spec.fit, spec.resample, spec.guessed) == ((3, 32, 32), "squash", "bicubic", ())
    assert (spec.mean, spec.std) == (pytest.approx((0.1, 0.2, 0.3)), pytest.approx((0.4, 0.5, 0.6)))
    assert (model.labels, model.notes) == (("ada", "bea", "cyd"), (f"weights from the folder {tmp_path}",))
    assert type(model.net).__name__ == "ViTForImageClassification"
    assert model.dtype == torch.float32
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(model.logits(x), net(x).logits)
    assert torch.allclose(model.probabilities(model.logits(x)).sum(1), torch.ones(2))
    assert model.module("vit.embeddings.patch_embeddings.projection")


def test_the_contract_feeds_what_the_processor_feeds(tmp_path: Path) -> None:
    vit(tmp_path, {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "rescale_factor": 1 / 127.5})
    spec = load(f"hf:{tmp_path}", device="cpu").input
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    pixels = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    expected = processor(pixels, return_tensors="pt")["pixel_values"]
    assert torch.allclose(spec.normalise(pixels / 255), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "fields"),
    [
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 32}, "crop_pct": 0.8}, {"fit": "crop", "crop": 0.8}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}, {"fit": "squash", "height": 384}),
        (
            "BitImageProcessor",
            {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}},
            {"fit": "crop", "crop": 0.8},
        ),
        ("ViTImageProcessor", {"size": {"height": 32, "width": 48}}, {"fit": "squash", "width": 48}),
        ("ViTImageProcessor", {"do_normalize": False}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}),
        ("ViTImageProcessor", {"do_rescale": False, "do_normalize": False}, {"std": (1 / 255,) * 3}),
        ("BitImageProcessor", {"size": {"shortest_edge": 36}, "do_center_crop": False}, {"fit": "crop", "height": 32}),
    ],
)
def test_processors_of_every_kind(name: str, options: Any, fields: Any, tmp_path: Path) -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic", id2label=NAMES, image_size=32
    )
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    getattr(transformers, name)(**options).save_pretrained(tmp_path)
    spec = load(f"hf:{tmp_path}", device="cpu").input
    for field, value in fields.items():
        assert getattr(spec, field) == pytest.approx(value) if field != "fit" else spec.fit == value


def test_a_folder_without_a_processor_is_guessed(tmp_path: Path) -> None:
    vit(tmp_path, id2label={0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2", 3: "LABEL_3"}, num_channels=1)
    model = load(f"hf:{tmp_path}", device="cpu")
    assert (model.input.shape, model.input.guessed) == ((1, 32, 32), ("mean", "std", "fit"))
    assert model.labels == ("0", "1", "2", "3")
    assert "no image processor comes with it" in model.notes[1]
    assert "normalisation is a guess" in model.notes[2]
    assert load(f"hf:{tmp_path}?mean=0.5&std=0.5", device="cpu").input.mean == (0.5,)


def test_several_labels_at_once(tmp_path: Path) -> None:
    vit(tmp_path, {}, problem_type="multi_label_classification")
    model = load(f"hf:{tmp_path}", device="cpu")
    scores = model.logits(torch.rand(2, 3, 32, 32))
    assert model.head.link == "sigmoid"
    assert torch.equal(model.probabilities(scores), scores.sigmoid())


def test_a_single_label_has_two_sides(tmp_path: Path) -> None:
    vit(tmp_path, {}, id2label={0: "cat"})
    model = load(f"hf:{tmp_path}", device="cpu")
    assert model.labels == ("no", "yes")
    assert model.logits(torch.rand(2, 3, 32, 32)).shape == (2, 2)


def test_half_precision_stays(tmp_path: Path) -> None:
    net = vit(tmp_path, {})
    net.to(torch.bfloat16).save_pretrained(tmp_path)
    model = load(f"hf:{tmp_path}", device="cpu")
    assert model.dtype == torch.bfloat16


def test_blue_green_red_is_turned_around(tmp_path: Path) -> None:
    net = vit(tmp_path)
    made = transformers.MobileViTImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    made.save_pretrained(tmp_path)
    model = load(f"hf:{tmp_path}", device="cpu")
    assert any("made for blue, green, red" in note for note in model.notes)
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(model.logits(x), net(x.flip(1)).logits, atol=1e-6)


def test_another_number_of_classes_and_missing_weights_are_said(tmp_path: Path) -> None:
    vit(tmp_path, {})
    model = load(f"hf:{tmp_path}", classes=5, device="cpu")
    assert len(model.labels) == 5
    assert "classifier.bias, classifier.weight are missing from it: they have random weights" in model.notes[0]


def test_weights_of_a_file(tmp_path: Path) -> None:
    state = {name: torch.full_like(t, 0.25) for name, t in vit(tmp_path, {}).state_dict().items()}
    save_file(state, tmp_path / "other.safetensors")
    model = load(f"hf:{tmp_path}?checkpoint={tmp_path / 'other.safetensors'}", device="cpu")
    assert model.notes == (f"weights from {tmp_path / 'other.safetensors'}",)
    assert all(bool((t == 0.25).all()) for t in model.net.state_dict().values())
    del state["classifier.weight"]
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(InnersightError, match=r"do not fit: classifier\.weight is missing"):
        load(f"hf:{tmp_path}", weights=str(tmp_path / "other.safetensors"))


def test_what_is_not_there_says_what_to_put_where(tmp_path: Path) -> None:
    for name, why in {
        "owner/name": r"put its folder models--owner--name into .*, or its files into a folder and write hf:FOLDER",
        "/no/where/at/all": "no such folder; write hf:OWNER/NAME",
        str(tmp_path): r"the folder has no config\.json",
    }.items():
        with pytest.raises(InnersightError, match=why):
            load(f"hf:{name}")
    vit(tmp_path, {})
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InnersightError, match="the folder needs"):
        load(f"hf:{tmp_path}")


def test_networks_of_another_task_are_refused(tmp_path: Path) -> None:
    config = transformers.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=20)
    config.save_pretrained(tmp_path)
    with pytest.raises(InnersightError, match="transformers has no image classifier for it"):
        load(f"hf:{tmp_path}")


def test_a_size_that_does_not_fit(tmp_path: Path) -> None:
    vit(tmp_path, {})
    with pytest.raises(InnersightError, match=r"ViTForImageClassification refuses an input of \(3, 64, 64\)"):
        load(f"hf:{tmp_path}?size=64")
