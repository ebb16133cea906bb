"""Every command is a public function with the same defaults; every name is written in one way."""

import importlib
import inspect
import json
import keyword
import re
import string
import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import image
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

import innersight as ins
from innersight.atlas import AtlasOptions
from innersight.atlas.layouts import layouts
from innersight.audit.checks import checks
from innersight.cli import app
from innersight.cli.command import MANY, MODEL, PANELS, UNLIMITED
from innersight.cli.listing import KINDS, registry
from innersight.errors import InnersightError
from innersight.heatmaps.request import methods
from innersight.model import Model
from innersight.patterns import PatternOptions
from innersight.patterns.objectives import objectives
from innersight.patterns.parameterize import parameterizations
from innersight.registry import Registry, identifier, parse, word
from innersight.result import figures
from innersight.scan import Batching
from innersight.scan.statistics import statistics
from innersight.sources import query
from innersight.study import Plan
from innersight.study.exports import exports
from innersight.train import TrainOptions
from innersight.trust import Protocol
from innersight.trust.baselines import baselines
from innersight.trust.ground_truth import ground_truth
from innersight.trust.imputers import imputers
from innersight.trust.metrics import metrics

REGISTRIES = [
    methods, objectives, parameterizations, exports, metrics, ground_truth, baselines, imputers, statistics, checks,
    layouts,
]  # fmt: skip
COMMANDS = {c.name or c.callback.__name__: c.callback for c in app.registered_commands}  # type: ignore[union-attr]
# What a terminal needs and Python does not: these look at results and studies, draw the examples, or list things.
TOOLS = {"annotate", "demo", "doctor", "export", "list", "report", "toons", "view"}
# How a command hears of the work, where its results go, and what `dissect` asks for.
OWN = {"progress", "report", "bar", "out", "keep", "masks"}
NET = "small:4?size=24"


def test_every_command_is_a_public_function_or_a_tool() -> None:
    assert set(COMMANDS) >= TOOLS
    public = {name for name in ins.__all__ if inspect.isfunction(getattr(ins, name))}
    assert set(COMMANDS) - TOOLS == public - {"load", "load_image"}


BUILT = dict(get_command(app).commands)  # type: ignore[attr-defined]
# Options of a command that its function does not have: how a result is written, listed and drawn, and the like.
FURTHER = {
    "json", "out", "weights", "device", "limit", "shared", "overlay", "estimate", "preview", "transparent", "film",
    "epochs", "all_layers", "sprites", "words", "clip", "report", "fail_on", "study",
    "level", "show", "target", "versus", "density",
}  # fmt: skip
# Where a study's folder goes to may be a file too, which Python writes otherwise.
STUDIES = {("scan", "out"), ("audit", "out"), ("atlas", "out"), ("concepts", "out"), ("concepts", "words")}
# Parameters that no text can give: functions, tensors, and the options of methods, which have names of their own.
PYTHON = {"progress", "report", "bar", "options", "distance", "negatives"}


def parameters(function: Any, nested: bool = True) -> Iterator[tuple[str, Any, str]]:
    """Yield name, default and documentation of the parameters of an imported function, and of its options' fields."""
    documented = {one.arg_name: one.description or "" for one in parse(inspect.getdoc(function) or "").params}
    shared = {name: text for names, text in documented.items() for name in re.split(r", *", names)}
    for key, one in inspect.signature(function).parameters.items():
        kinds = typing.get_args(one.annotation) or (one.annotation,)
        options = [kind for kind in kinds if nested and is_dataclass(kind) and kind is not Model]
        if options and len([kind for kind in kinds if kind is not type(None)]) == 1:
            yield from parameters(options[0], False)
        elif one.kind is not one.VAR_KEYWORD:
            yield key, one.default, " ".join(shared.get(key, "").split("\n\n")[0].split())


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - TOOLS))
def test_options_defaults_and_help_are_those_of_the_function(name: str) -> None:
    shown = {one.name: one for one in BUILT[name].params}
    for key, default, text in parameters(getattr(ins, name)):
        if key in PYTHON and key not in shown:
            continue
        one = shown.pop(key)
        if default is inspect.Parameter.empty:
            assert one.required, key
        elif one.default is None:
            # What is left out is the function's own; its default is in the help.
            several = ", ".join(map(str, default)) if isinstance(default, tuple) else default
            assert one.show_default in (several, True, False) or not several, key
        else:
            assert plain(one.default) == plain(default), key
        if key not in ("model", "images", "before", "after") and (name, key) not in STUDIES:
            assert plain_help(one.help) == text, key
            assert text, key
    assert set(shown) <= FURTHER
    loading = {key: text for key, _, text in parameters(ins.load)}
    for key, one in shown.items():
        if key in loading:
            assert plain_help(one.help) == loading[key]
            continue
        assert one.help[0].isupper(), one.name
        assert one.help.endswith("."), one.name


def plain_help(text: str) -> str:
    """Return a help text without what the command line adds to a docstring, in its words."""
    plain = Text.from_markup(text).plain.replace("when not given", "when None")
    return plain.removesuffix(UNLIMITED).strip().removesuffix(MANY).strip()


def test_a_limit_that_none_lifts_is_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(1).pil.save(tmp_path / "a.png")
    limits = [one.name for one in BUILT["trust"].params if str(one.help).endswith(UNLIMITED)]
    assert set(limits) == {"max_images", "secondary_images"}
    words = [NET, str(tmp_path / "a.png"), "--max-images", "0", "--secondary-images", "0"]
    given = recorded("trust", words, monkeypatch)
    assert given["max_images"] is given["protocol"].secondary_images is None
    given = recorded("trust", [*words[:2], "--max-images", "3", "--secondary-images", "4"], monkeypatch)
    assert (given["max_images"], given["protocol"].secondary_images) == (3, 4)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - TOOLS))
def test_the_help_of_a_command_is_the_docstring_of_its_function(name: str) -> None:
    summary = (parse(inspect.getdoc(getattr(ins, name)) or "").short_description or "").strip()
    assert summary
    assert Text.from_markup(BUILT[name].short_help).plain == summary
    assert Text.from_markup(BUILT[name].help).plain.startswith(summary)


def test_commands_are_grouped() -> None:
    panels = [command.rich_help_panel for command in BUILT.values()]
    assert list(dict.fromkeys(panels)) == list(PANELS)
    said = CliRunner().invoke(app, ["--help"]).output
    assert all(f" {panel} " in said for panel in PANELS)


def test_every_registry_is_listed() -> None:
    files = Path(ins.__file__).parent.rglob("*.py")
    kinds = {found for file in files for found in re.findall(r"= Registry\(\s*\"([^\"]+)\"", file.read_text())}
    assert {registry(kind).kind for kind in KINDS} == kinds - UNLISTED
    said = CliRunner().invoke(app, ["list"]).output
    assert all(f"{kind} " in said for kind in KINDS)


# Figures are named by their results; panels and hosts are parts of the pages, which nobody chooses by name.
UNLISTED = {"figure", "panel", "host"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_listed_with_what_its_entries_state(kind: str) -> None:
    said = CliRunner().invoke(app, ["list", kind]).output
    rows = json.loads(CliRunner().invoke(app, ["list", kind, "--json"]).output)
    assert [row["name"] for row in rows] == list(registry(kind))
    lines = said.splitlines()
    assert len(lines) == len(rows) + 1
    for line, row, entry in zip(lines[1:], rows, registry(kind).entries(), strict=True):
        assert line.split()[0] == entry.name
        assert entry.title in line
        assert (entry.use or entry.summary) in line
        assert entry.source in line
        assert [option["name"] for option in row["options"]] == [
            word(key) for key in registry(kind).options(entry.name)
        ]
        details = CliRunner().invoke(app, ["list", kind, entry.name]).output
        assert details.startswith(f"{entry.name}: {entry.title}")
        assert all(f"{option.word}=" in details for option in entry.options)


ROOT = Path(__file__).parents[2]


def test_the_readme_lists_every_command_and_counts_the_methods() -> None:
    text = (ROOT / "README.md").read_text()
    assert re.findall(r"^\| `innersight (\w+)", text, re.MULTILINE) == list(BUILT)
    counted = [int(count) for count in re.findall(r"heatmaps by (\d+) methods", text)]
    assert counted == [len(methods)]


WRITTEN = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.stem)
def test_commands_on_a_page_exist_with_their_options(page: Path) -> None:
    for words in re.findall(
        r"(?:^|`)innersight ([a-z].*?)(?:`|#|\n)", page.read_text().replace("\\\n", " "), re.MULTILINE
    ):
        name, *rest = words.split()
        assert name in BUILT, words
        known = {text for one in BUILT[name].params for text in (*one.opts, *one.secondary_opts)} | {"--help"}
        assert {word.split("=")[0] for word in rest if re.match(r"--?[a-z][a-z-]*(=|$)", word)} <= known, words


def test_the_help_of_model_names_every_source() -> None:
    assert set(re.findall(r"\b[a-z0-9]+(?=:[A-Z])|^toon", MODEL.help)) == set(registry("sources"))


def test_what_cannot_be_listed_has_a_sentence() -> None:
    for words, says in ((["method"], "did you mean methods"), (["methods", "gradcan"], "did you mean gradcam")):
        failed = CliRunner().invoke(app, ["list", *words])
        assert isinstance(failed.exception, InnersightError)
        assert says in str(failed.exception)


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
        "atlas": [NET, str(file), "--layer", "stage1"],
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
    for key, parameter in inspect.signature(getattr(ins, name)).parameters.items():
        if parameter.default is parameter.empty or key in OWN or key not in given:
            continue
        assert plain(given[key]) == plain(parameter.default), key
    # Those that a command leaves out are the function's own.
    known = inspect.signature(getattr(ins, name)).parameters
    shared = set(inspect.signature(COMMANDS[name]).parameters) & set(known)
    assert {key for key in shared - OWN if isinstance(known[key].default, bool | int | float)} <= set(given)


@pytest.mark.parametrize(
    ("command", "drawn"),
    [("ablate", "ablation"), ("compare", "comparison"), ("connections", "connections"), ("find", "unit-ranking")],
)
def test_a_command_draws_as_many_units_as_the_figure_of_its_result(command: str, drawn: str) -> None:
    listed = inspect.signature(COMMANDS[command]).parameters["limit"].default
    assert figures.options(drawn)["limit"] == listed


def plain(value: Any) -> Any:
    """Return a default so that the ways to say nothing are the same: None, an empty list, the plan as it is."""
    if (
        value is None
        or value in (Plan(), PatternOptions(), TrainOptions(), Protocol(), Batching(), AtlasOptions())
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
