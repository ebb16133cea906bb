"""What can be asked of a study beyond its plan: one module for each kind, whose fields are those of the API.

What is asked is noted in the study once the first of it is finished, so a later run of the study keeps it, and makes it
again where the network or the images have changed. Nothing here imports torch before something is computed: the
server reads asks and leaves the computing to another process.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Union

from pydantic import Field, TypeAdapter, ValidationError

from innersight.errors import InnersightError
from innersight.study.ask import Ask


@cache
def kinds() -> dict[str, type[Ask]]:
    """Return what can be asked, by kind: the class in module `NAME` of this package is called `Name`."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: getattr(importlib.import_module(f"{__name__}.{name}"), name.capitalize()) for name in names}


@cache
def union() -> Any:
    """Return the type of any ask, told apart by `kind`."""
    return Annotated[Union[tuple(kinds().values())], Field(discriminator="kind")]  # noqa: UP007 - made at run time


def parse(data: Mapping[str, Any]) -> Ask:
    """Return the ask that plain data describes. Raises InnersightError naming the field that does not fit.

    >>> parse({"kind": "activations", "layer": "stage1"})
    Activations(kind='activations', layer='stage1')
    """
    try:
        found: Ask = TypeAdapter(union()).validate_python(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "kind"
        raise InnersightError(f"{where}: {first['msg']}; kinds are {', '.join(kinds())}") from error
    return found
