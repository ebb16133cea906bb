"""Shapes named in annotations are checked while the tests run; every test starts from the same seeds."""

# ruff: noqa: E402

import gc
import inspect
import os
import random
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import jaxtyping
import numpy as np
import pytest

# beartype draws which element of a sequence it looks at: not from the generator whose state the tests watch.
_getrandbits, random.getrandbits = random.getrandbits, random.Random(0).getrandbits
import beartype  # noqa: F401

random.getrandbits = _getrandbits

# What is remembered of the tests' studies is kept from what the user's own are recognised by.
_STATE = tempfile.TemporaryDirectory(prefix="innersight-state-")
os.environ["INNERSIGHT_STATE"] = _STATE.name

# What jaxtyping puts around a function takes longer than most functions. It is needed where a shape is named, and where
# a type is named in quotes; elsewhere beartype alone checks the same.
_SHAPE = re.compile(r"\b(Bool|Float|Int|Integer|UInt8)\[|'")
_jaxtyped = jaxtyping.jaxtyped


def _checked(*, typechecker: Any) -> Callable[[Any], Any]:
    def decorate(checked: Any) -> Any:
        types = checked.__annotations__.values() if inspect.isfunction(checked) else ["in a class"]
        names = (one.__name__ if isinstance(one, type) else str(one) for one in types)
        plain = not any(isinstance(one, str) for one in types) and not any(map(_SHAPE.search, names))
        return typechecker(checked) if plain else _jaxtyped(typechecker=typechecker)(checked)

    return decorate


jaxtyping.jaxtyped = _checked

# int counts as float, as type checkers read it. What is wrong is a TypeError, as it would be without the check.
_CONF = "beartype.BeartypeConf(is_pep484_tower=True, violation_type=TypeError)"
jaxtyping.install_import_hook("innersight", f"beartype.beartype(conf={_CONF})")

import torch
from networks import NETS, image, tiny
from train_fixture import QUICK, Said, draw_tree

from innersight.image import Image
from innersight.model import Model

# The same examples every time, and no clock.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("steady")

# One thread: the networks are tiny, and threads that wait for each other on a busy machine cost 30 times as much.
torch.set_num_threads(1)


_imported = 0


@pytest.fixture(autouse=True, scope="module")
def _spared() -> None:
    """Take what libraries brought from the garbage collector: looking at it over and over takes a tenth of the time."""
    global _imported
    if len(sys.modules) > _imported:
        _imported = len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def _seeds() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture(params=list(NETS))
def any_tiny(request: pytest.FixtureRequest) -> Model:
    """Each tiny network in turn."""
    return tiny(request.param)


@pytest.fixture
def small_model() -> Model:
    """The plainest of the tiny networks."""
    return tiny("in-place")


@pytest.fixture
def two_images() -> list[Image]:
    """Two different images that are wider than high."""
    return [image(1), image(2)]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what training puts into the user's cache within the test."""
    monkeypatch.setenv("INNERSIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Images of three colours, in folders named like them."""
    return draw_tree(tmp_path / "images")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of QUICK on the images of `tree`, shared: nobody writes into it."""
    from innersight.train import train

    root = tmp_path_factory.mktemp("trained")
    train(draw_tree(root / "images"), root / "run", report=Said(), cache=root / "cache", **QUICK)
    return root / "run"
