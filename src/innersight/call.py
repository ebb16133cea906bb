"""How public functions are called: one layer or several, numbers of any library, in any mode of torch."""

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from types import NoneType
from typing import Any, ParamSpec, TypeVar

from torch import nn

from innersight import ambient, measured
from innersight.address import Address, ClassAddress
from innersight.errors import InnersightError
from innersight.layer import Layer
from innersight.model import ConceptSets, Model
from innersight.scalars import integer, is_integer, is_listed, number, seed_of, shown

P = ParamSpec("P")
R = TypeVar("R")
SYNONYMS = (("layer", "layers"), ("target", "targets"))
"""Pairs of words of which a function declares one and takes both."""
LAYERS = frozenset({"layer", "layers", "before", "after"})


def public(**instead: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function be called as people call it; use as a decorator: `@public()`.

    `layer=` and `layers=` both do, whichever it declares, and so do `target=` and `targets=`. One name stands for a
    list of one name, one number for a list of one number, and a list of one layer for the layer. A layer is given by
    its name, as a `Layer`, or as the module itself. Parameters declared as int or float take numbers of NumPy and
    torch. Where a network is given, `concepts=` takes sets of concepts whose addresses may be named, see
    `Model.with_concepts`. All runs in `ambient.plain`, so that inference mode, autocast and other defaults of torch
    change no value. What was measured of a network that has changed since is measured again.

    instead : for words that have another parameter, its name: `layers="what"`. Raises InnersightError for both words of
    a pair, several layers where one is read, and values of another type.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        kinds = {name: _kind(parameter.annotation) for name, parameter in signature.parameters.items()}
        words = _words(kinds, instead)
        takes_concepts = "concepts" not in kinds

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            sets = _concept_sets(kwargs.pop("concepts")) if takes_concepts and "concepts" in kwargs else ()
            models = [one for one in (*args, *kwargs.values()) if isinstance(one, Model)]
            model = models[0] if models else None
            given = _renamed(function.__name__, words, kwargs, model)
            try:
                asked = signature.bind(*args, **given).arguments
            except TypeError:
                # Python's own sentence, which names the function.
                return function(*args, **given)
            if sets:
                if model is None:
                    raise InnersightError(f"{function.__name__} is given no network, so it cannot take concepts=")
                named = {name: one for name, one in asked.items() if isinstance(one, Model)}
                asked |= zip(named, with_concepts(tuple(named.values()), sets), strict=True)
            for name in asked.keys() & kinds.keys():
                asked[name] = _converted(name, asked[name], kinds[name], model)
            bound = inspect.BoundArguments(signature, asked)
            with ambient.plain(), measured.current(models):
                return function(*bound.args, **bound.kwargs)

        return called

    return decorate


def _concept_sets(given: Any) -> tuple[ConceptSets, ...]:
    """Return the sets of concepts that were given. Raises InnersightError for anything else."""
    several = () if given is None else given if isinstance(given, list | tuple) else (given,)
    for one in several:
        if isinstance(one, type | Model) or not isinstance(one, ConceptSets):
            raise InnersightError(
                f"concepts is {shown(one)}: give what `innersight.concepts` returned, or what "
                "`innersight.concepts.read_concepts(STUDY)` does"
            )
    return tuple(several)


def with_concepts(models: Sequence[Model], sets: Sequence[ConceptSets]) -> list[Model]:
    """Return networks with sets of concepts, each of which was found in one of them as it is now.

    Raises InnersightError for a set that was found in another network, and as `Model.with_concepts` does.
    """
    with measured.current(models):
        plain = [one.plain or one for one in models]
        digests = {measured.once(one, "digest", one.digest) for one in plain}
    for one in (one for item in sets for one in item.inserted()):
        if one.found_in and digests and one.found_in not in digests:
            raise InnersightError(
                f"{one.name} was found in another network, or in another state of this one, than {plain[0].name}: find "
                "concepts of this one, or use them in it all the same: model.with_concepts(found)"
            )
    return [one.with_concepts(*sets) for one in models]


@dataclass(frozen=True)
class _Kind:
    """What a parameter takes, as far as it is numbers and names: one, several, or a fixed number of them."""

    one: frozenset[type] = frozenset()
    several: frozenset[type] = frozenset()
    fixed: frozenset[type] = frozenset()
    more: bool = False


def _kind(annotation: Any) -> _Kind:
    """Return what an annotation says; of what is no number or name, that there is more."""
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return _Kind(more=True)
    found: dict[str, set[type]] = {"one": set(), "several": set(), "fixed": set()}
    more = False
    for option in _options(annotation):
        origin = typing.get_origin(option)
        listed = origin in (Sequence, tuple)
        inner = [one for arg in typing.get_args(option) for one in _options(arg) if one is not ...] if listed else []
        if option in (int, float, str):
            found["one"].add(option)
        elif inner and all(one in (int, float, str) for one in inner):
            found["several" if origin is Sequence else "fixed"] |= set(inner)
        elif option is not NoneType:
            more = True
    return _Kind(**{key: frozenset(types) for key, types in found.items()}, more=more)


def _options(annotation: Any) -> tuple[Any, ...]:
    args = typing.get_args(annotation)
    return args if args and typing.get_origin(annotation) not in (Sequence, tuple) else (annotation,)


def _words(parameters: Mapping[str, _Kind], instead: Mapping[str, str]) -> dict[str, str]:
    """Return for each word that is no parameter the parameter it means."""
    found = dict(instead)
    for pair in SYNONYMS:
        own = next((instead.get(word, word) for word in pair if word in parameters or word in instead), None)
        found |= {word: own for word in pair if own is not None and word not in parameters}
    return found


def _renamed(function: str, words: Mapping[str, str], kwargs: Mapping[str, Any], model: Model | None) -> dict[str, Any]:
    """Return keyword arguments under the names of the function's parameters."""
    given: dict[str, Any] = {}
    for word, value in kwargs.items():
        name = words.get(word, word)
        if name in given or (name != word and name in kwargs):
            raise InnersightError(f"{function}: {word}= and {name}= mean the same; give only one")
        if word in LAYERS and name not in LAYERS and value is not None:
            several = _names(word, value, model)
            value = several[0] if len(several) == 1 else several
        given[name] = value
    return given


def _converted(name: str, value: Any, kind: _Kind, model: Model | None) -> Any:
    """Return an argument as its parameter is declared."""
    if value is None:
        return value
    if name in LAYERS and not kind.more and str in kind.one | kind.several:
        names = _names(name, value, model)
        if kind.several:
            return names
        if len(names) > 1:
            raise InnersightError(f"{name}={', '.join(names)}: give one layer; call the function once for each")
        return names[0]
    listed = is_listed(value)
    if kind.several and not kind.more and (listed or not kind.one):
        return tuple(_number(name, one, kind.several) for one in (value if listed else [value]))
    if kind.fixed and listed:
        return tuple(_number(name, one, kind.fixed) for one in value)
    return _number(name, value, kind.one) if kind.one and not kind.more else value


def _number(name: str, value: Any, kinds: frozenset[type]) -> Any:
    """Return a value where it may be text, or else as the number that is wanted."""
    if str in kinds:
        text = isinstance(value, str) or not is_integer(value)
        return str(value) if isinstance(value, ClassAddress) else value if text else integer(value, name)
    if float in kinds:
        return number(value, name)
    return seed_of(value) if name == "seed" else integer(value, name)


def _names(word: str, value: Any, model: Model | None) -> tuple[str, ...]:
    """Return the names of the layers that were given. Raises InnersightError for what names none."""
    single = isinstance(value, str | bytes | Layer | Address | nn.Module) or not isinstance(value, Iterable)
    names = tuple(_name(word, one, model) for one in ([value] if single else value))
    if not names:
        raise InnersightError(f"{word} is empty: omit it for the default layers, or name a layer")
    return names


def _name(word: str, value: object, model: Model | None) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Layer):
        return value.name
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, nn.Module) and model is not None:
        for name, module in model.net.named_modules():
            if module is value and name:
                return str(name)
        raise InnersightError(f"{word}: the {type(value).__name__} given is not a layer of {model.name}")
    raise InnersightError(f"{word} is {shown(value)}: give the name of a layer, as `innersight.layers` lists them")
