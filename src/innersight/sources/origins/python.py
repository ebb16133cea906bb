"""`python:MODULE:FUNCTION`: a network that a function of your own returns."""

from dataclasses import replace
from typing import Any

from torch import nn

from innersight.errors import InnersightError
from innersight.model import Model
from innersight.sources.bare import as_built, with_head, wrap
from innersight.sources.importing import find_object
from innersight.sources.origins import LoadRequest, registry
from innersight.sources.query import with_stated
from innersight.sources.weights import fit_weights, read_weights


@registry.register(
    "Function of your own",
    use="For a network that code of your own builds. The function is called without arguments.",
    example="python:mynet:build",
    reads_output=True,
)
def python(name: str, request: LoadRequest) -> Model:
    """Call the function `MODULE:FUNCTION` without arguments and look at the network it returns.

    The function returns an `nn.Module` or an innersight Model. The current directory is searched for the module.
    Raises InnersightError for a name that is not there, another result, and whatever the module or function raises.
    """
    weights, stated, head = request.weights, request.stated, request.head
    function = find_object(name, f"python:{name}", "python:MODULE:FUNCTION")
    if not callable(function):
        raise InnersightError(f"python:{name} is {_kind(function)}: give a function that returns a network")
    try:
        made = function()
    except Exception as error:  # The user's own code may raise anything; its error is passed on in one sentence.
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
    return as_built(model, classes=request.classes, notes=notes)


def _kind(thing: Any) -> str:
    return f"{thing!r:.60} of type {type(thing).__name__}"
