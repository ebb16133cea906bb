"""Objects of the user's own Python modules: `MODULE:NAME`, also from the current directory."""

import importlib
import inspect
import os
import sys
from typing import Any

from innersight.errors import InnersightError, nearest


def find_object(name: str, source: str, form: str) -> Any:
    """Return the object `MODULE:NAME`. Raises InnersightError naming the nearest objects of the module."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise InnersightError(f"{source}: {name!r} is incomplete: write {form}")
    module = import_user_module(module_name)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [
                key for key in vars(module) if not key.startswith("_") and not inspect.ismodule(getattr(module, key))
            ]
            raise InnersightError(f"{source}: {module_name} has no {attribute!r}; {nearest(attribute, public)}")
        found = getattr(found, part)
    return found


def import_user_module(name: str) -> Any:
    """Import the Python module `name`, also from the current directory, which is on the path for that time only.

    Raises InnersightError when there is none, or chained to whatever the module itself raises.
    """
    folder = os.getcwd()
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise InnersightError(
                f"there is no Python module {name!r} in {folder} or on the path: go to its folder, or set PYTHONPATH"
            ) from error
        raise InnersightError(f"the module {name!r} needs {missing!r}, which is not installed") from error
    except Exception as error:  # the code of the module may raise anything
        raise InnersightError(f"importing {name!r} raised {type(error).__name__}: {error}") from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
