from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import tiny
from PIL import Image as PILImage
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

import innersight as ins
from innersight import terminal
from innersight.cli import app
from innersight.dissection import WordLabels, clip_encoder, label, read_words
from innersight.dissection.words import SHUFFLES, _correlated
from innersight.errors import InnersightError
from innersight.image import ImageError

WORDS = ("red", "green", "blue", "loud")


class Mixes(nn.Module):
    """Units that follow red, green, blue, noise, and nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 5, 1)
        with torch.no_grad():
            self.mix.weight.zero_()
            self.mix.bias.zero_()
            for i in range(3):
                self.mix.weight[i, i] = 1
            self.mix.weight[3] = 0.01
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(x).mean((2, 3)))


class Tinted:
    def __len__(self) -> int:
        return 40

    def __getitem__(self, number: int) -> PILImage.Image:
        rng = np.random.default_rng(number)
        tint = rng.integers(40, 215, 3)
        return PILImage.fromarray((tint + rng.integers(-40, 41, (16, 16, 3))).astype(np.uint8))


def encode(given: Sequence[PILImage.Image] | Sequence[str]) -> Tensor:
    """Know the colours of images and words: embeddings whose product is how much of a colour there is."""
    if isinstance(given[0], str):
        return torch.eye(5)[[WORDS.index(word) for word in given]] * 3  # type: ignore[arg-type]
    means = torch.from_numpy(np.stack([np.asarray(one).mean((0, 1)) / 255 for one in given])).float()  # type: ignore[union-attr]
    rest = (4 - (means**2).sum(1, keepdim=True)).clamp(min=0).sqrt()
    return torch.cat([means, torch.zeros(len(means), 1), rest], 1)


@pytest.fixture(scope="module")
def planted() -> WordLabels:
    return label(ins.load(Mixes(), input=ins.InputSpec(16, 16)), Tinted(), WORDS, encode, ["mix"], batch=7)


def test_units_are_labelled_by_the_colour_they_follow(planted: WordLabels) -> None:
    for unit, word in enumerate(WORDS[:3]):
        row = planted.row("mix", unit)
        assert row["label"] == word
        assert row["correlation"] > 0.95
        assert row["interval"][0] < row["correlation"] <= row["interval"][1] + 1e-6
        assert row["p"] == pytest.approx(1 / (1 + SHUFFLES))
    still = planted.row("mix", 4)
    assert still["label"] is None
    assert still["correlation"] is None
    # The word that is near to no image goes with no unit.
    assert planted.layers["mix"][:, 3].isnan().all()
    assert planted.summary()["mix"]["parts"].keys() >= {"red", "green", "blue"}
    assert "red 1" in terminal.dissection(planted) or "red 2" in terminal.dissection(planted)


def test_correlations_and_p_values_are_those_of_loops() -> None:
    rng = np.random.default_rng(2)
    responses, near = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    responses[:, 1] += 2 * near[:, 0]
    found, p = _correlated(torch.from_numpy(responses).float(), torch.from_numpy(near).float(), 7)
    slow = np.array([[np.corrcoef(responses[:, k], near[:, j])[0, 1] for j in range(2)] for k in range(3)])
    assert np.allclose(found.numpy(), slow, atol=1e-5)
    again = np.random.default_rng(7)
    highest = []
    for _ in range(SHUFFLES):
        order = again.permutation(12)
        highest.append(max(np.corrcoef(responses[:, k], near[order][:, j])[0, 1] for k in range(3) for j in range(2)))
    expected = (1 + (np.array(highest)[:, None, None] >= slow - 1e-6).sum(0)) / (1 + SHUFFLES)
    assert np.allclose(p.numpy(), expected, atol=2e-3)
    assert p[1, 0] < 0.05


def test_false_labels_are_as_rare_as_stated() -> None:
    rng = np.random.default_rng(3)
    false = 0
    for seed in range(40):
        _, p = _correlated(torch.from_numpy(rng.normal(size=(20, 6))), torch.from_numpy(rng.normal(size=(20, 4))), seed)
        false += bool((p < 0.05).any())
    assert false <= 6  # 2 expected; more in one of 200 such tests


def test_saving(planted: WordLabels, tmp_path: Path) -> None:
    document = json.loads(planted.save(tmp_path / "c.json").read_text())
    assert document["layers"]["mix"][0]["label"] == "red"
    assert document["words"] == list(WORDS)
    assert torch.equal(
        load_file(planted.save(tmp_path / "c.safetensors"))["p.mix"].nan_to_num(9), planted.p["mix"].nan_to_num(9)
    )
    assert planted.save(tmp_path / "c.png").stat().st_size > 5000
    assert planted._repr_html_().startswith("<img")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"words": []}, r"give at least one word"),
        ({"words": ["red", " "]}, "and no empty ones"),
        ({"words": ["red", "red"]}, "'red' is among the words 2 times"),
        ({"layers": ["mix2"]}, "did you mean mix"),
        ({"encode": lambda given: [1]}, "encode gave a list for 4 texts; it must be a Tensor of"),
        (
            {"encode": lambda given: torch.ones(3, 2)},
            r"a Tensor of \(3, 2\) for 4 texts; it must be a Tensor of \(4, d\)",
        ),
        ({"encode": lambda given: torch.zeros(len(given), 2)}, "only zeros"),
        (
            {"encode": lambda given: torch.ones(len(given), 2 if isinstance(given[0], str) else 3)},
            "images 3 numbers and",
        ),
        ({"images": [Path("nowhere.png")]}, "no such file"),
    ],
)
def test_errors(wrong: dict[str, Any], said: str) -> None:
    asked = {"images": Tinted(), "words": WORDS, "encode": encode, "layers": ["mix"], **wrong}
    with pytest.raises(InnersightError, match=said):
        label(ins.load(Mixes(), input=ins.InputSpec(16, 16)), **asked)


def test_one_word_is_one_word() -> None:
    model = ins.load(Mixes(), input=ins.InputSpec(16, 16))
    assert label(model, Tinted(), "red", encode, "mix").words == ("red",)


def test_too_few_images_and_broken_ones(tmp_path: Path) -> None:
    for i in range(9):
        Tinted()[i].save(tmp_path / f"{i}.png")
    (tmp_path / "broken.png").write_bytes(b"?")
    model = ins.load(Mixes(), input=ins.InputSpec(16, 16))
    found = label(model, tmp_path, WORDS, encode, ["mix"])
    assert found.images == 9
    assert len(found.skipped) == 1
    with pytest.raises(InnersightError, match="5 images are too few"):
        label(model, [tmp_path / f"{i}.png" for i in range(5)], WORDS, encode, ["mix"])
    with pytest.raises(ImageError, match=r"broken\.png"):
        label(model, tmp_path / "broken.png", WORDS, encode, ["mix"])


def test_words_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("red hair\n\n  blue\nred hair\n")
    assert read_words(file) == ("red hair", "blue")
    file.write_text("\n \n")
    with pytest.raises(InnersightError, match="no words in this file; write one a line"):
        read_words(file)
    with pytest.raises(InnersightError, match="no such file of words"):
        read_words(tmp_path / "none.txt")


def tiny_clip(folder: Path) -> Path:
    """Save a CLIP model of random weights, with a tokenizer of letters."""
    transformers = pytest.importorskip("transformers")
    letters = {chr(97 + i): i for i in range(26)} | {f"{chr(97 + i)}</w>": 26 + i for i in range(26)}
    vocabulary = letters | {"<|startoftext|>": 52, "<|endoftext|>": 53}
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=32)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 54, "max_position_embeddings": 32, "bos_token_id": 52, "eos_token_id": 53},
        vision_config={**sizes, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    transformers.CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def test_a_clip_model_of_transformers(tmp_path: Path) -> None:
    folder = tiny_clip(tmp_path / "clip")
    encoder = clip_encoder(folder)
    images = [Tinted()[i] for i in range(3)]
    together, alone = encoder(images), torch.cat([encoder([one]) for one in images])
    assert together.shape == (3, 8)
    assert torch.allclose(together, alone, atol=1e-5)
    texts = encoder(["red", "a longer text of words"])
    assert texts.shape == (2, 8)
    assert torch.allclose(texts[:1], encoder(["red"]), atol=1e-5)
    found = label(tiny("in-place"), Tinted(), ["red", "blue"], encoder, ["relu2"])
    assert found.layers["relu2"].shape == (8, 2)
    home = tmp_path / "images"
    home.mkdir()
    for i in range(8):
        Tinted()[i].save(home / f"{i}.png")
    (tmp_path / "words.txt").write_text("red\nblue\n")
    asked = ["dissect", "toon", str(home), "-l", "stage4", "--words", str(tmp_path / "words.txt")]
    done = CliRunner().invoke(app, [*asked, "--clip", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["words"] == ["red", "blue"]


def test_folders_that_are_no_clip_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InnersightError, match=r"no folder with a config\.json; save a CLIP model there"):
        clip_encoder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "none"}')
    with pytest.raises(InnersightError, match="cannot be opened as a CLIP model"):
        clip_encoder(tmp_path)
    with pytest.raises(InnersightError, match="does not say where the word goes"):
        clip_encoder(tmp_path, prompt="an image")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(InnersightError, match=r"transformers is not installed; .*innersight\[hf\]"):
        clip_encoder(tmp_path)
