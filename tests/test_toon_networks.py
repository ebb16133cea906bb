"""The embedded networks: what they name, what they withstand, and that their cards state what makes them."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch

import innersight as ins
from innersight.sources.origins.toon import NETWORKS
from innersight.toons import CLASSES, Drawn
from innersight.train.robust import hardest

RUNS = {"toon": "run", "toon:robust": "robust"}
SEED = 2_000_000


def shown(model: ins.Model, colours: str, per_class: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return fresh drawings (n, 3, 96, 96), 0..1, and their classes (n)."""
    drawn = Drawn(per_class, seed=SEED, colours=colours)
    entries = [drawn[i] for i in range(len(drawn))]
    pixels = torch.stack([torch.from_numpy(one["image"].copy()).movedim(-1, 0) for one in entries])
    return pixels.float() / 255, torch.tensor([model.class_index(one["label"]) for one in entries])


def right(model: ins.Model, pixels: torch.Tensor, classes: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model.logits(model.input.normalise(pixels)).argmax(1) == classes).float().mean())


@pytest.mark.parametrize(("name", "colours"), [("toon", "own"), ("toon:robust", "own"), ("toon:robust", "shuffled")])
def test_fresh_drawings_are_named(name: str, colours: str) -> None:
    model = ins.load(name)
    assert set(model.labels) == set(CLASSES)
    assert right(model, *shown(model, colours, 5)) >= 0.97


def test_the_plain_network_knows_characters_by_their_colours() -> None:
    model = ins.load("toon")
    assert right(model, *shown(model, "shuffled", 4)) <= 0.5


def test_the_robust_network_withstands_changes_that_the_other_does_not() -> None:
    accuracy = {}
    for name in RUNS:
        model = ins.load(name)
        pixels, classes = shown(model, "own", 3)
        dice = torch.Generator().manual_seed(0)
        accuracy[name] = right(model, hardest(model.net, model.input, pixels, classes, 3.0, dice, steps=5), classes)
    assert accuracy["toon:robust"] >= 0.6
    assert accuracy["toon"] <= accuracy["toon:robust"] - 0.15


def test_cards_name_the_commands_that_make_them() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    assert set(RUNS.values()) == set(NETWORKS.values())
    for folder in RUNS.values():
        run = files("innersight") / "toons" / folder
        recipe = json.loads((run / "run.json").read_text())["recipe"]
        assert recipe["command"] in (run / "README.md").read_text()
        given = {"robust": 0.0, "images": recipe["arguments"].get("folder"), **recipe["arguments"]}
        made = next(line for line in makefile.splitlines() if f"--out {given['out']} " in line)
        assert f"train {given['images']} " in made
        assert f"--net {given['net']} " in made
        assert f"--epochs {given['epochs']} " in made
        assert (f"--robust {given['robust']:g} " in made) == bool(given["robust"])


def test_weights_of_both_take_little_room() -> None:
    weights = [files("innersight") / "toons" / folder / "weights.safetensors" for folder in RUNS.values()]
    assert sum(len(one.read_bytes()) for one in weights) <= 3_000_000
