"""One mechanism for everything that grows by one file: a package whose modules register functions."""

import importlib
import importlib.util
import inspect
import keyword
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import docstring_parser

from innersight.errors import InnersightError, nearest

F = TypeVar("F", bound=Callable[..., Any])

# Docstrings are in numpydoc form.
parse = partial(docstring_parser.parse, style=docstring_parser.DocstringStyle.NUMPYDOC)
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


@dataclass(frozen=True)
class Option:
    """A keyword-only parameter of an entry's function, an option on the command line.

    name : as Python writes it. default : its value where it is not given, which also states its type. help : what its
    docstring says of it under "Parameters".
    """

    name: str
    default: Any
    help: str

    @property
    def word(self) -> str:
        """The name as the command line writes it."""
        return word(self.name)


@dataclass(frozen=True)
class Entry(Generic[F]):
    """Everything known of one entry of a registry: lists, tables, pages and contract tests are made from it.

    name : as typed. function : what was registered. title : for people, in headings and tables. summary : the first
    line of the docstring. source : the paper or page that defines it; empty for what needs none. use : when to use it.
    unit : of its values, where they have one. facts : what its registry states further, by name. options : in the order
    declared.
    """

    name: str
    function: F
    title: str
    summary: str
    source: str
    use: str
    unit: str
    facts: Mapping[str, Any]
    options: tuple[Option, ...]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["facts"][name]
        except KeyError:
            raise AttributeError(f"an entry has no {name!r}") from None


class Registry(Generic[F]):
    """The functions registered by the modules of one package, by name.

    kind : what an entry is called in messages ("heatmap method"). package : dotted name; all its modules are imported
    at the first look-up of a name that `load` did not bring, not before. facts : what an entry may state beside title,
    source, use and unit, with the value of one that does not. An entry's keyword-only parameters are its options, on
    the command line too.
    """

    def __init__(self, kind: str, package: str, **facts: Any) -> None:
        self.kind = kind
        self._package = package
        self._facts = facts
        self._entries: dict[str, Entry[F]] = {}
        self._loaded = False

    def register(
        self, title: str, *, source: str = "", use: str = "", unit: str = "", **facts: Any
    ) -> Callable[[F], F]:
        """Return a decorator that adds a function under the `word` of its name, with its metadata; see `Entry`."""

        def add(function: F) -> F:
            self._add(function, title, source, use, unit, facts)
            return function

        return add

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __getitem__(self, name: str) -> F:
        return self.entry(name).function

    def entry(self, name: str) -> Entry[F]:
        """Return all that is known of an entry. Raises InnersightError with the nearest names for an unknown one."""
        if name not in self._entries:
            self._load()
        if name not in self._entries:
            raise InnersightError(f"no {self.kind} {name!r}; {nearest(name, self)}")
        return self._entries[name]

    def load(self, module: str) -> None:
        """Import one module of the package, if there is one of that name: what it registers is found without the rest.

        module : its name inside the package.
        """
        if importlib.util.find_spec(f"{self._package}.{module}") is not None:
            importlib.import_module(f"{self._package}.{module}")

    def entries(self) -> tuple[Entry[F], ...]:
        """Return all entries, sorted by name."""
        return tuple(self.entry(name) for name in self)

    def options(self, name: str) -> dict[str, Any]:
        """Return the options of an entry with their defaults, in the order declared."""
        return {option.name: option.default for option in self.entry(name).options}

    def check_options(self, name: str, options: Mapping[str, Any]) -> None:
        """Raise InnersightError for an option that an entry does not have."""
        converted(f"{self.kind} {name}", dict.fromkeys(options, ""), dict.fromkeys(self.options(name), ""))

    def parse(self, name: str, texts: Mapping[str, str]) -> dict[str, Any]:
        """Turn option texts into values of the types of the defaults. Raises InnersightError naming the option."""
        return converted(f"{self.kind} {name}", texts, self.options(name))

    def _add(self, function: F, title: str, source: str, use: str, unit: str, facts: Mapping[str, Any]) -> None:
        if not function.__doc__:
            raise TypeError(f"{self.kind} {function.__name__} has no docstring")
        unknown = set(facts) - set(self._facts)
        if unknown:
            raise TypeError(
                f"{self.kind} {function.__name__}: it states {', '.join(unknown)}, which no {self.kind} has"
            )
        options = _options(function)
        for name in (function.__name__, *(option.name for option in options)):
            if identifier(word(name)) != name:
                raise TypeError(f"{self.kind} {function.__name__}: name it {identifier(word(name))}, not {name}")
        name, summary = word(function.__name__), (inspect.getdoc(function) or "").split("\n")[0]
        known = Entry(name, function, title, summary, source, use, unit, {**self._facts, **facts}, options)
        self._entries[name] = known

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._loaded = True


def _options(function: Callable[..., Any]) -> tuple[Option, ...]:
    """Return the keyword-only parameters of a function, with what the docstring says of each."""
    said = {one.arg_name: " ".join((one.description or "").split()) for one in parse(function.__doc__ or "").params}
    return tuple(
        Option(parameter.name, parameter.default, said.get(parameter.name, ""))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    )


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
