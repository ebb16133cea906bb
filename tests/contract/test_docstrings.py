"""Every public name says what it is, takes and returns, and shows how it is used; the examples run with the tests."""

import dataclasses
import enum
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import pytest
from docstring_parser import Docstring

import innersight
from innersight.registry import parse

SENTENCE_ENDS = re.compile(r"[.?!](?= +[A-Z`])")
ROOT = innersight.__name__


def _packages() -> Iterator[Any]:
    """Yield innersight and every package in it that lists its public names."""
    yield innersight
    for found in pkgutil.iter_modules(innersight.__path__):
        package = importlib.import_module(f"{ROOT}.{found.name}") if found.ispkg else None
        if hasattr(package, "__all__"):
            yield package


def _public() -> dict[str, Any]:
    """Return the public functions and classes, each under the first name it has."""
    found: dict[str, Any] = {}
    for package in _packages():
        for name in package.__all__:
            value = getattr(package, name)
            # Each once, though a class with fields may be remade by what checks its types.
            own = inspect.isfunction(value) or inspect.isclass(value)
            if own and value.__module__.startswith(ROOT) and value not in found.values():
                found[f"{package.__name__}.{name}"] = value
    return found


PUBLIC = _public()
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class, those it inherits from another class of ours included."""
    seen = set()
    for base in cls.__mro__:
        for name, value in vars(base).items() if base.__module__.startswith(ROOT) else ():
            if name in seen or (name.startswith("_") and name != "__call__"):
                continue
            seen.add(name)
            plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if inspect.isfunction(plain) or isinstance(plain, property | cached_property):
                yield name, plain


METHODS = {f"{name}.{own}": (cls, own, value) for name, cls in CLASSES.items() for own, value in _members(cls)}


def _doc(value: Any) -> Docstring:
    return parse(inspect.cleandoc(value.__doc__ or ""))


def _named(value: Any) -> list[str]:
    """Return the parameters of a function, or what it takes to make an object of a class."""
    if inspect.isclass(value):
        if dataclasses.is_dataclass(value):
            return [one.name for one in dataclasses.fields(value) if one.init and not one.name.startswith("_")]
        if "__init__" not in vars(value):
            return []
        value = value.__init__
    return [name for name in inspect.signature(value).parameters if name not in ("self", "cls")]


def undocumented(value: Any, doc: Docstring) -> list[str]:
    """Return the parameters, or fields, of which a docstring says nothing."""
    told = {name.strip("* "): one.description for one in doc.params for name in one.arg_name.split(",")}
    return [name for name in _named(value) if not (told.get(name) or "").strip()]


def overridden(cls: type, name: str) -> list[Any]:
    """Return what a method of a class overrides, the nearest first."""
    return [vars(base)[name] for base in cls.__mro__ if name in vars(base)][1:]


def is_sentence(text: str | None) -> bool:
    """Say whether a summary is one sentence on one line."""
    return bool(text) and text.endswith(".") and "\n" not in text and not SENTENCE_ENDS.search(text)


def _returns(function: Callable[..., Any]) -> bool:
    """Say whether a function returns something; one that is used after `with` does not, it yields nothing."""
    returned = inspect.signature(function).return_annotation
    return str(returned) not in ("None", "Iterator[None]", "collections.abc.Iterator[None]")


def _annotations(value: Any) -> Iterator[tuple[str, str]]:
    """Yield who gives or holds something, and what: of a function what it returns, of a class what its fields are."""
    if inspect.isclass(value):
        own = value.__qualname__
        fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        yield from ((own, str(one.type)) for one in fields)
        plain = (getattr(one, "fget", getattr(one, "func", one)) for _, one in _members(value))
        yield from ((own, str(inspect.signature(one).return_annotation)) for one in plain)
    else:
        yield value.__qualname__, str(inspect.signature(value).return_annotation)


GIVEN = [pair for value in PUBLIC.values() for pair in _annotations(value)]


def needs_example(value: Any) -> bool:
    """Say whether a reader has to be shown how to use a name.

    Not an exception, and not a class of which nobody makes an object because something else public returns or holds
    one: the examples of that show it. Nor a function that takes nothing and returns nothing.
    """
    if not inspect.isclass(value):
        return bool(_named(value)) or _returns(value)
    word = re.compile(rf"\b{value.__name__}\b")
    handed = any(word.search(text) for owner, text in GIVEN if owner != value.__qualname__)
    return not (issubclass(value, BaseException | enum.Enum) or inspect.isabstract(value) or handed)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_begins_with_one_sentence(name: str) -> None:
    assert is_sentence(_doc(PUBLIC[name]).short_description), PUBLIC[name].__doc__


@pytest.mark.parametrize("name", PUBLIC)
def test_parameters_and_fields_are_documented(name: str) -> None:
    assert undocumented(PUBLIC[name], _doc(PUBLIC[name])) == []


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in CLASSES])
def test_what_a_function_returns_is_documented(name: str) -> None:
    returns = _doc(PUBLIC[name]).returns
    assert not _returns(PUBLIC[name]) or (returns is not None and returns.description)


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if needs_example(value)])
def test_an_example_shows_the_use(name: str) -> None:
    text = inspect.cleandoc(PUBLIC[name].__doc__ or "")
    assert re.search(r"^Examples\n-{8}\n(.*\n)*?>>> ", text, re.MULTILINE)


@pytest.mark.parametrize("name", METHODS)
def test_methods_and_properties_are_documented(name: str) -> None:
    cls, own, method = METHODS[name]
    doc = _doc(method)
    assert (doc.short_description or "").endswith((".", ":")), method.__doc__
    if inspect.isfunction(method):
        # The parameters may be documented where they were first stated, here or in a library.
        above = overridden(cls, own)
        told = [doc, *map(_doc, above)]
        theirs = any(not one.__module__.startswith(ROOT) for one in above if inspect.isfunction(one))
        assert theirs or any(undocumented(method, one) == [] for one in told)


def test_what_is_missing_is_found() -> None:
    def lacking(one: int, two: int) -> int:
        """Add.

        Parameters
        ----------
        one
            The first.

        """
        return one + two

    class Plain:
        """Nothing hands it out."""

        def __init__(self, size: int) -> None:
            self.size = size

    doc = _doc(lacking)
    assert undocumented(lacking, doc) == ["two"]
    assert undocumented(Plain, _doc(Plain)) == ["size"]
    assert _returns(lacking)
    assert doc.returns is None
    assert needs_example(lacking)
    assert needs_example(Plain)
    assert not needs_example(KeyError)
    assert is_sentence("Add, e.g. two.")
    assert not is_sentence("Add. Raises an error.")
    assert not is_sentence("Add")


def test_all_packages_are_looked_at() -> None:
    assert {"innersight.predict", "innersight.tap.Layout", "innersight.heatmaps.Request"} <= set(PUBLIC)
    assert "innersight.scan.Scan.save" in METHODS
