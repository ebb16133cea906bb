"""One file for each origin of networks: a function that opens what stands behind `ORIGIN:` in a model's text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from innersight.heads import Head
from innersight.model import Model
from innersight.registry import Registry

Opener = Callable[..., Model]


@dataclass(frozen=True)
class LoadRequest:
    """What the caller of `innersight.load` states beside the name; every origin gets it.

    classes : number of outputs to build. weights : "hub", a file, or None for the origin's own. stated : the fields of
    the input contract that the caller stated; `load` puts them into the result, so that only an origin that builds or
    guesses by them needs to look. head : how to read the output, for origins that state `reads_output`.
    """

    classes: int | None = None
    weights: str | None = None
    stated: Mapping[str, Any] = field(default_factory=dict)
    head: Head | None = None


registry: "Registry[Opener]" = Registry("origin", __name__, example="", extra="", reads_output=False)
"""An origin is a function of a name and a `LoadRequest`, registered under the word before the colon; keyword-only
parameters are its own options, texts written after `?`. example : what is typed, for lists and docs. extra : the extra
of this package that it needs, if any. reads_output : whether it runs the network, and reads its output by the head that
was asked for."""
