"""`python:MODULE:FUNCTION`: a network that a function of your own returns."""

import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from innersight.errors import InnersightError, nearest
from innersight.heads import Head
from innersight.model import Model
from innersight.sources.bare import as_built, with_head, wrap
from innersight.sources.query import with_stated
from innersight.sources.weights import fit_weights, read_weights


def open_model(
    name: str,
    *,
    classes: int | None,
    weights: str | None,
    stated: Mapping[str, Any],
    head: Head | None = None,
) -> Model:
    """Call the function `MODULE:FUNCTION` without arguments and look at the network it returns; see `innersight.load`.

    The function returns an `nn.Module` or an innersight Model. The current directory is searched for the module.
    Raises InnersightError for a name that is not there, another result, and whatever the module or function raises.
    """
    function = find(name, f"python:{name}", "python:MODULE:FUNCTION")
    if not callable(function):
        raise InnersightError(f"python:{name} is {_kind(function)}: name a function that returns a network")
    try:
        made = function()
    except Exception as error:  # The user's own code may raise anything; it is told, not swallowed.
        raise InnersightError(f"python:{name} raised {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module | Model):
        raise InnersightError(f"python:{name} returned {_kind(made)}: return a torch.nn.Module or an innersight Model")
    net = made.net if isinstance(made, Model) else made
    notes: tuple[str, ...] = ()
    if weights is not None:
        notes = (fit_weights(net, read_weights(weights), origin=weights),)
    if isinstance(made, Model):
        model = replace(made, input=with_stated(made.input, stated))
        model = with_head(model, head or made.head) if head or stated else model
    else:
        model = wrap(net, stated, head=head)
    return as_built(model, classes=classes, notes=notes)


def find(name: str, source: str, form: str) -> Any:
    """Return the object `MODULE:NAME`. Raises InnersightError naming the nearest objects of the module."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise InnersightError(f"{source}: {name!r} is not complete: write {form}")
    module = import_from_here(module_name)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [
                key for key in vars(module) if not key.startswith("_") and not inspect.ismodule(getattr(module, key))
            ]
            raise InnersightError(f"{source}: {module_name} has no {attribute!r}; {nearest(attribute, public)}")
        found = getattr(found, part)
    return found


def import_from_here(name: str) -> Any:
    """Import the Python module `name`, also from the current directory, which is on the path for that time only.

    Raises InnersightError when there is none, or chained to whatever the module itself raises.
    """
    here = os.getcwd()
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise InnersightError(
                f"there is no Python module {name!r} in {here} or on the path: go to its folder, or set PYTHONPATH"
            ) from error
        raise InnersightError(f"the module {name!r} needs {missing!r}, which is not installed") from error
    except Exception as error:  # As above.
        raise InnersightError(f"importing {name!r} raised {type(error).__name__}: {error}") from error
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _kind(thing: Any) -> str:
    return f"{thing!r:.60} of type {type(thing).__name__}"
