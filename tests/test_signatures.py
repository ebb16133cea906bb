"""Signatures are read from source as Python sees them once it is imported."""

import inspect
from pathlib import Path

import pytest

import innersight as ins
from innersight.cli import signatures
from innersight.cli.signatures import REQUIRED, signature
from innersight.registry import identifier
from innersight.result import figures

ENGINE = '''
"""A room.

def run(wrong): pass
"""
from typing import TYPE_CHECKING
from innersight.numbers import LOW as LEAST
if TYPE_CHECKING:
    from innersight.choices import (
        Choices,
        Partial,
    )
HIGH: int = 2 * [3][0] if False else 7
NAMES = ("a", "b")

@public()
def run(model: Model, names: "Sequence[str] | None" = NAMES, *, low: float = LEAST,
        report: "Callable[[str], None]" = print, views: Views = Views(),
        options: "Choices | None" = None, partial: Partial | None = None) -> None:
    """Run it.

    In two sentences.

    Parameters
    ----------
    model, names
        What is
        shared.

        Further.
    low
        The least.

    Raises
    ------
    ValueError
        Never.

    """
'''
CHOICES = '''
@dataclass(frozen=True)
class Choices:
    """Chosen.

    Attributes
    ----------
    depth : int
        How deep.

    """

    depth: int = -3
    words: tuple[str, ...] = field(default_factory=tuple)
    size: "int | None" = field(default=None)

    def method(self) -> None: ...

@dataclass
class Partial:
    needed: int
    free: int = 1
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "__init__.py").write_text("from innersight.room.engine import other, run\n")
    (tmp_path / "room" / "engine.py").write_text(ENGINE)
    (tmp_path / "numbers.py").write_text("LOW = 0.5\n")
    (tmp_path / "choices.py").write_text(CHOICES)
    monkeypatch.setattr(signatures, "ROOT", tmp_path)
    signatures._statements.cache_clear()
    yield
    signatures._statements.cache_clear()


@pytest.mark.usefixtures("package")
def test_constants_imports_options_and_docstrings_are_followed() -> None:
    found = signature("innersight.room", "run")
    assert (found.module, found.summary, found.details) == ("innersight.room.engine", "Run it.", "In two sentences.")
    one = found.parameters
    assert list(one) == ["model", "names", "low", "report", "views", "options", "partial"]
    assert [one[key].default for key in ("names", "low", "report", "views")] == [("a", "b"), 0.5, None, None]
    assert one["model"].default is REQUIRED
    assert one["names"].kinds == ("Sequence[str]", "None")
    assert [one[key].help for key in ("model", "names", "low", "views")] == [*["What is shared."] * 2, "The least.", ""]
    assert one["partial"].options is None  # it cannot be made from defaults
    assert [key for key in one if one[key].hidden] == ["report"]
    options = one["options"].options
    assert options is not None
    fields = options.parameters
    assert {key: fields[key].default for key in fields} == {"depth": -3, "words": None, "size": None}
    assert fields["depth"].help == "How deep."


@pytest.mark.usefixtures("package")
def test_a_name_that_is_not_there() -> None:
    with pytest.raises(LookupError, match=r"innersight\.room\.engine has no other"):
        signature("innersight.room", "other")


@pytest.mark.parametrize("name", list(figures))
def test_options_of_figures_are_those_of_the_registry(name: str) -> None:
    read = signatures.figure(identifier(name)).parameters
    for option in figures.entry(name).options:
        assert read[option.name].default == option.default
        assert option.help.startswith(read[option.name].help)
        assert bool(option.help) == bool(read[option.name].help)


def test_a_figure_that_is_not_there() -> None:
    with pytest.raises(LookupError, match="has no function nothing"):
        signatures.figure("nothing")


@pytest.mark.parametrize("name", [name for name in ins.__all__ if name[0].islower()])
def test_names_and_defaults_are_those_of_the_imported_function(name: str) -> None:
    read = signatures.public(name).parameters
    real = inspect.signature(getattr(ins, name)).parameters
    assert list(read) == [key for key, one in real.items() if one.kind is not one.VAR_KEYWORD]
    for key, one in read.items():
        default = real[key].default
        if default is inspect.Parameter.empty:
            assert one.default is REQUIRED
        elif one.default is None:
            assert default is None or not isinstance(default, bool | int | float | str)
        else:
            assert one.default == default
            assert type(one.default) is type(default)
