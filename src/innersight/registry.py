"""One mechanism for everything that grows by one file: a package whose modules register functions."""

import importlib
import inspect
import keyword
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from innersight.errors import InnersightError, nearest

F = TypeVar("F", bound=Callable[..., Any])

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def word(identifier: str) -> str:
    """Return how a Python name is written on the command line, in addresses and as a name of a registry.

    The only function that does, with `identifier` as its inverse.

    >>> [word(name) for name in ("class_maps", "lambda_", "rise")]
    ['class-maps', 'lambda', 'rise']
    """
    return identifier.strip("_").replace("_", "-")


def identifier(word: str) -> str:
    """Return the Python name that `word` writes: a keyword of Python has `_` behind it. Underscores are taken too.

    >>> [identifier(name) for name in ("class-maps", "lambda", "lambda_", "n_masks")]
    ['class_maps', 'lambda_', 'lambda_', 'n_masks']
    """
    plain = word.replace("-", "_").strip("_")
    return f"{plain}_" if keyword.iskeyword(plain) else plain


class Registry(Generic[F]):
    """The functions registered by the modules of one package, by name.

    kind : what an entry is called in messages ("heatmap method").
    package : dotted name; all its modules are imported at the first look-up, not before.
    An entry's keyword-only parameters are its options, on the command line too.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, F] = {}
        self._loaded = False

    def register(self, function: F) -> F:
        """Add a function under the `word` of its name; use as a decorator."""
        if not function.__doc__:
            raise TypeError(f"{self.kind} {function.__name__} has no docstring")
        options = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        for name in (function.__name__, *options):
            if identifier(word(name)) != name:
                raise TypeError(f"{self.kind} {function.__name__}: name it {identifier(word(name))}, not {name}")
        self._entries[word(function.__name__)] = function
        return function

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def __getitem__(self, name: str) -> F:
        self._load()
        if name not in self._entries:
            raise InnersightError(f"no {self.kind} {name!r}; {nearest(name, self)}")
        return self._entries[name]

    def options(self, name: str) -> dict[str, Any]:
        """Return the options of an entry with their defaults, in the order declared."""
        parameters = inspect.signature(self[name]).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def parse(self, name: str, texts: Mapping[str, str]) -> dict[str, Any]:
        """Turn option texts into values of the types of the defaults. Raises InnersightError naming the option."""
        return converted(f"{self.kind} {name}", texts, self.options(name))

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._loaded = True


def converted(whose: str, texts: Mapping[str, str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Turn option texts into values of the types of the defaults. Raises InnersightError naming the option."""
    values: dict[str, Any] = {}
    for key, text in texts.items():
        option = identifier(key)
        if option not in defaults:
            hint = nearest(word(option), map(word, defaults)) if defaults else "it takes no options"
            raise InnersightError(f"{whose} has no option {key!r}; {hint}")
        try:
            values[option] = _convert(text, defaults[option])
        except (ValueError, KeyError) as error:
            wanted = type(defaults[option]).__name__
            raise InnersightError(f"{whose}: {key}={text!r} is not of type {wanted}") from error
    return values


def _convert(text: str, default: object) -> object:
    if isinstance(default, bool):
        return _TRUTH[text.lower()]
    if isinstance(default, int | float):
        return type(default)(text)
    return text
