"""Every command is a public function with the same defaults; every name is written in one way."""

import importlib
import inspect
import keyword
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import image
from typer.testing import CliRunner

import innersight as ins
from innersight.ablation import Ablation
from innersight.cli import app
from innersight.compare import Comparison
from innersight.connections.result import Connections
from innersight.errors import InnersightError
from innersight.find.result import Finding
from innersight.heatmaps.request import methods
from innersight.patterns import PatternOptions
from innersight.patterns.objectives import objectives
from innersight.patterns.parameterize import parameterizations
from innersight.registry import Registry, identifier, word
from innersight.result import figures
from innersight.sources import query
from innersight.study import Plan
from innersight.study.exports import exports
from innersight.train import TrainOptions
from innersight.trust.baselines import baselines
from innersight.trust.metrics import metrics
from innersight.trust.replacements import replacements
from innersight.trust.truths import truths

REGISTRIES = [methods, objectives, parameterizations, exports, metrics, truths, baselines, replacements]
COMMANDS = {c.name or c.callback.__name__: c.callback for c in app.registered_commands}  # type: ignore[union-attr]
# What a terminal needs and Python does not: these look at results and studies, draw the examples, or list things.
TOOLS = {"demo", "doctor", "export", "methods", "report", "toons", "view"}
# How a command hears of the work, where its results go, and what `dissect` asks for.
OWN = {"watch", "progress", "report", "bar", "out", "keep", "masks"}
NET = "small:4?size=24"


def test_every_command_is_a_public_function_or_a_tool() -> None:
    assert set(COMMANDS) >= TOOLS
    public = {name for name in ins.__all__ if inspect.isfunction(getattr(ins, name))}
    assert set(COMMANDS) - TOOLS == public - {"load", "load_image"}


class Called(Exception):  # noqa: N818
    pass


def recorded(name: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the arguments that a command gives to its function, with those left out, by the function's names."""
    home, calls = importlib.import_module(ins._HOME[name]), []
    signature = inspect.signature(getattr(ins, name))

    def record(*args: Any, **options: Any) -> None:
        calls.append(signature.bind(*args, **options).arguments)
        raise Called

    monkeypatch.setattr(home, name, record)
    result = CliRunner().invoke(app, [name, *words])
    assert isinstance(result.exception, Called), result.output
    return calls[0]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - TOOLS))
def test_a_command_has_the_defaults_of_its_function(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, options = tmp_path / "a.png", tmp_path / "out"
    image(1).pil.save(file)
    words = {
        "ablate": [NET, str(file), "--layer", "stage1"],
        "compare": [NET, str(file), "--layer", "stage1"],
        "connections": [NET, "stage1:0"],
        "dissect": [NET, str(file), "--masks", str(tmp_path)],
        "find": [NET, "--like", f"{file}@0,0,1,1"],
        "interpretability": [NET, "stage1", str(file)],
        "layers": [NET],
        "match": [NET, NET, str(file)],
        "patterns": [NET, "stage1:0"],
        "train": [str(tmp_path), "--out", str(options)],
    }.get(name, [NET, str(file)])
    given = recorded(name, words, monkeypatch)
    compared = 0
    for key, parameter in inspect.signature(getattr(ins, name)).parameters.items():
        if parameter.default is parameter.empty or key in OWN or key not in given:
            continue
        assert plain(given[key]) == plain(parameter.default), key
        compared += 1
    # Those that a command leaves out are the function's own.
    shared = set(inspect.signature(COMMANDS[name]).parameters) & set(inspect.signature(getattr(ins, name)).parameters)
    assert compared >= len(shared) - len(OWN) - 5


@pytest.mark.parametrize("result", [Ablation, Comparison, Connections, Finding])
def test_a_command_draws_as_many_units_as_the_figure_of_its_result(result: Any) -> None:
    name = {Ablation: "ablate", Comparison: "compare", Connections: "connections", Finding: "find"}[result]
    listed = inspect.signature(COMMANDS[name]).parameters["limit"].default
    own = inspect.signature(result.figure).parameters
    # A figure that is registered under the name of the result, or still the result's own.
    options = {**figures.options(result.__name__.lower())} if "count" not in own else {"count": own["count"].default}
    assert options.get("count", options.get("limit")) == listed


def plain(value: Any) -> Any:
    """Return a default so that the ways to say nothing are the same: None, an empty list, the plan as it is."""
    if (
        value is None
        or value in (Plan(), PatternOptions(), TrainOptions())
        or (isinstance(value, list | tuple | dict | str) and not value)
    ):
        return None
    return tuple(value) if isinstance(value, list) else value


names = st.text(string.ascii_lowercase, min_size=1, max_size=8)
identifiers = st.lists(names, min_size=1, max_size=3).map("_".join)


@given(identifiers)
def test_names_go_there_and_back(name: str) -> None:
    name = f"{name}_" if keyword.iskeyword(name) else name
    assert name.isidentifier()
    assert identifier(word(name)) == name
    assert identifier(name) == name
    assert "_" not in word(name)
    assert word(identifier(word(name))) == word(name)


@pytest.mark.parametrize("name", keyword.kwlist)
def test_keywords_are_written_without_their_underscore(name: str) -> None:
    assert word(f"{name}_") == name
    assert identifier(name) == f"{name}_"


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_every_entry_and_option_goes_there_and_back(registry: Registry[Any]) -> None:
    for name in registry:
        assert word(registry[name].__name__) == name
        options = registry.options(name)
        for option, default in options.items():
            if isinstance(default, str | bool | int | float):
                for text in (word(option), option):
                    assert registry.parse(name, {text: str(default)}) == {option: default}


def test_a_registry_of_names_that_are_keywords() -> None:
    registry: Registry[Any] = Registry("thing", "innersight.toons")

    @registry.register("Thing")
    def lambda_(*, class_: int = 1, wide_open: float = 0.5) -> None:
        """Do nothing."""

    assert list(registry) == ["lambda"]
    for text in ("class", "class_"):
        assert registry.parse("lambda", {text: "2", "wide-open": "1.5"}) == {"class_": 2, "wide_open": 1.5}
    with pytest.raises(InnersightError, match="did you mean wide-open"):
        registry.parse("lambda", {"wide-opn": "1"})
    for bad in ("_hidden", "trailing_"):
        with pytest.raises(TypeError, match=f"name it {bad.strip('_')}, not {bad}"):
            registry.register("Thing")(named(bad))


def named(name: str) -> Any:
    def function() -> None:
        """Do nothing."""

    function.__name__ = name
    return function


def test_options_of_a_source_that_are_keywords() -> None:
    for text in ("class", "class_"):
        assert query.read({text: "a:B"}, own=("class_",)).own == {"class_": "a:B"}
