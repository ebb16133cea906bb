"""Options are converted when made, changed by keywords, and stored as plain data."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import docstring_parser
import numpy as np
import pytest
import torch
from networks import tiny

import innersight as ins
from innersight.errors import InnersightError
from innersight.options import changed, made
from innersight.patterns import PatternOptions, Statistics, Views
from innersight.train import TrainOptions
from innersight.train.options import DEFAULTS, FIXED


@pytest.mark.parametrize("kind", [PatternOptions, TrainOptions, Views, Statistics])
def test_every_option_is_documented(kind: Any) -> None:
    documented = {one.arg_name: one for one in docstring_parser.parse(kind.__doc__).params}
    assert list(documented) == [field.name for field in fields(kind)]
    assert all(one.description and one.type_name for one in documented.values())


def test_numbers_of_any_library_are_taken() -> None:
    given = {"steps": np.int64(3), "size": np.array([32, 64]), "lr": torch.tensor(0.5), "seed": torch.tensor(7)}
    found = made(PatternOptions, given)
    assert (found.steps, found.size, found.lr, found.seed) == (3, (32, 64), 0.5, 7)
    assert [type(value) for value in (found.steps, found.lr)] == [int, float]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"steps": 0}, "at least one step"), ({"steps": 2.5}, "steps is 2.5: give a whole number"),
        ({"steps": True}, "steps is True"), ({"seeds": 0}, "seeds=0"), ({"variants": 0}, "variants=0"),
        ({"size": 7}, "at least 8 pixels"), ({"size": (8, 7)}, "at least 8"),
        ({"size": (8, 8, 8)}, "size has 3 values: give 2"),
        ({"size": "8x8x8"}, "HEIGHTxWIDTH"), ({"contrast": -1}, "contrast=-1"),
        ({"lr": 0}, "lr=0: give a positive"), ({"lr": 100}, "lr=100"),
        ({"until": "done"}, "until='done': choose from converged, steps"), ({"precision": "half"}, "float32, bfloat16"),
        ({"statistics": "moon"}, "choose photographs or images"), ({"views": "shift"}, "has no value"),
        ({"views": "turn=3"}, "views has no option 'turn'"), ({"views": 3}, "views is 3: give Views"),
        ({"seed": -1}, "seed=-1"), ({"seed": 2**63}, "below 2 to the 63rd"), ({"negatives": 1}, "negatives is 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_at_once(values: dict[str, Any], why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        made(PatternOptions, values)


def test_the_least_that_can_be_drawn() -> None:
    assert PatternOptions(steps=1, size=8, seeds=1, variants=1, lr=99.9, seed=2**63 - 1).size == 8


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"epochs": 0}, "epochs=0"), ({"size": 0}, "size=0"), ({"batch": 0}, "batch=0"), ({"nodes": 0}, "nodes=0"),
        ({"workers": 0}, "workers=0"), ({"telemetry_every": 0}, "telemetry_every=0"), ({"patience": -1}, "patience=-1"),
        ({"lr": 0.0}, "lr=0"), ({"lr": float("inf")}, "lr=inf"), ({"robust": -0.1}, "robust=-0.1"),
        ({"robust": float("nan")}, "robust=nan"), ({"seed": -1}, "seed=-1"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_at_once(values: dict[str, Any], why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        made(TrainOptions, values)


def test_options_go_to_plain_data_and_back() -> None:
    own = Statistics((0.5,) * 3, ((0.2, 0.0, 0.0), (0.0, 0.2, 0.0), (0.0, 0.0, 0.2)), (1.0, 1.1, 1.2))
    for options in (PatternOptions(), PatternOptions(size=(32, 64), views=Views(pad="zeros"), statistics=own, lr=0.5)):
        assert PatternOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


def test_keywords_change_options() -> None:
    found = changed("patterns", PatternOptions, PatternOptions(steps=9, seed=4), {"steps": np.int32(3)})
    assert (found.steps, found.seed) == (3, 4)
    with pytest.raises(InnersightError, match="patterns has no option 'stpes'; did you mean steps"):
        ins.patterns(tiny("in-place"), "conv1:0", stpes=3)
    with pytest.raises(InnersightError, match="patterns has no option 'image'; did you mean images"):
        ins.patterns(tiny("in-place"), "conv1:0", image="a.png")
    with pytest.raises(InnersightError, match="train has no option 'epoch'; did you mean epochs"):
        ins.train("folder", "out", epoch=3)
    with pytest.raises(InnersightError, match="options is a TrainOptions: give a PatternOptions"):
        changed("patterns", PatternOptions, TrainOptions(), {})


def test_the_settings_of_patterns_make_them_again() -> None:
    model = tiny("in-place")
    found = ins.patterns(model, "conv1:0-1", options=PatternOptions(steps=3, size=17), seeds=1, seed=5)
    assert found.settings["seeds"] == 1
    assert found.settings["size"] == [17, 17]
    again = ins.patterns(model, "conv1:0-1", options=PatternOptions.from_json(found.settings))
    assert torch.equal(found.images, again.images)


def test_the_recipe_of_a_run_leaves_the_machine_out() -> None:
    assert set(DEFAULTS) == {"val"} | {one.name for one in fields(TrainOptions)} - {
        "workers", "devices", "strategy", "nodes", "cache",
    }  # fmt: skip
    assert set(DEFAULTS) - set(FIXED) == {"patience", "telemetry_every", "heatmaps", "keep_epochs", "half"}
    assert TrainOptions(weights=Path("a.safetensors")).recipe()["weights"] == "a.safetensors"
    json.dumps(TrainOptions(devices=2, cache=Path("c")).recipe())
