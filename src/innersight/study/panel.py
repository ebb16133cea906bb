"""Panels: everything that a study shows of one kind, in one file each. Nothing here loads torch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field, TypeAdapter, ValidationError

from innersight.errors import InnersightError
from innersight.registry import Entry, Registry
from innersight.storage.key import Key

if TYPE_CHECKING:
    from torch import Tensor

    from innersight.storage.store import Item
    from innersight.study.context import StudyContext
    from innersight.study.request import StudyRequest

Outcome = tuple[dict[str, Any], "dict[str, Tensor]"]
"""What an item holds: a document of plain data, and tensors by name."""


@dataclass(frozen=True, eq=False)
class StudyTask:
    """One item to be computed: its key, the settings that its result depends on, and what computes it.

    words : what is computed, for people; that of the key where empty. passes : about how many passes of one image
    through the network it takes, a backward pass being two; for the time left. optional : a study continues where it
    cannot be computed. needs : the item that it is computed from; left out where that one could not be computed.
    """

    key: Key
    settings: dict[str, Any]
    compute: Callable[[], Outcome]
    passes: float = 1.0
    words: str = ""
    optional: bool = False
    needs: Key | None = None


@dataclass(frozen=True, eq=False)
class Selection:
    """The part of a study that a report shows.

    Parameters
    ----------
    images
        Ids of the images.
    units
        Of a layer: the units chosen, in order; None for all. Of other documents: empty where units or layers are
        chosen, else None.
    addresses
        By layer the units chosen, None for all of it; None where neither units nor layers are chosen.
    cut
        Takes a sheet and the numbers of some tiles; returns a sheet of these alone.

    """

    images: frozenset[str]
    units: list[int] | None
    addresses: Mapping[str, list[int] | None] | None
    cut: Callable[[dict[str, Any], Sequence[int]], dict[str, Any]]

    def indices(self, known: Sequence[int]) -> list[int]:
        """Return the indices of the chosen units in a list of units."""
        return [i for i, unit in enumerate(known) if self.units is None or unit in self.units]


Panel = Callable[["StudyContext"], Iterator[StudyTask]]
"""What a study computes for the panel by default."""


def one(item: "Item") -> int:
    """Return 1: an item that makes one of what the costs count."""
    return 1


def one_over_all(item: "Item") -> int:
    """Return 1 for an item over the images that the study was made of; one of a single image is no measure of it."""
    return 0 if Key.parse(item.key).image else 1


def units_of(item: "Item") -> int:
    """Return how many units an item is of."""
    return len(item.document["units"])


def unless_units(document: dict[str, Any], chosen: Selection) -> dict[str, Any] | None:
    """Return no changes; None, which leaves the document out, where units or layers are chosen."""
    return {} if chosen.units is None else None


# order : when its tasks are computed. requests : what can be asked for beyond the defaults. per : what the costs count
# ("layer", "unit", "class", "map"; empty where nothing is measured), and counted : how many of these an Item made; the
# seconds of one that made none do not count either.
# missing : why there is nothing to show where it has no item; how : one or two sentences on the computation; each may
# be a function of the StudyReader. layer : fields of the documents `layer/NAME`, from (reader, folder of files, row of
# the layer). layers : rows of layers that the panel adds behind one, from (reader, row of that layer). document : the
# document of the panel's own name, from (reader, files). study : fields of the document `study`, from (reader, files).
# select : a document, of the panel or of a layer, for a Selection: what changes in it; None where the panel's own
# document is left out. A panel with a document states it. export : adds to a Content, from (reader, content).
panels: Registry[Panel] = Registry(
    "panel",
    "innersight.study.panels",
    order=100,
    requests=(),
    per="",
    counted=one,
    missing="",
    how="",
    layer=None,
    layers=None,
    document=None,
    study=None,
    select=None,
    export=None,
)


def ordered() -> list[Entry[Panel]]:
    """Return all panels in the order in which they are computed."""
    return sorted(panels.entries(), key=lambda entry: (entry.order, entry.name))


def document_of(key: Key) -> str | None:
    """Return the key of the document that shows an item; None where only the document `study` does, or nothing.

    >>> [document_of(Key(*parts)) for parts in (("activations", "a.b"), ("heatmaps", "", "", "d1"), ("model",))]
    ['layer/a.b', 'heatmaps', None]
    """
    entry = panels.entry(key.panel) if key.panel in panels else None
    if entry is not None and entry.layer is not None and key.layer:
        return f"layer/{key.layer}"
    return key.panel if entry is not None and entry.document is not None else None


@cache
def requests() -> "dict[str, type[StudyRequest]]":
    """Return what can be asked for, by the kind that its field `kind` names."""
    found = [request for entry in panels.entries() for request in entry.requests]
    return {request.of_kind(): request for request in sorted(found, key=lambda request: str(request.of_kind()))}


@cache
def any_request() -> Any:
    """Return the type of any request, distinguished by `kind`."""
    return Annotated[Union[tuple(requests().values())], Field(discriminator="kind")]  # noqa: UP007 - made at run time


def parse_request(data: Mapping[str, Any]) -> "StudyRequest":
    """Return the request that plain data describes. Raises InnersightError naming the field that does not fit.

    >>> parse_request({"kind": "activations", "layer": "stage1"})
    ActivationsRequest(kind='activations', layer='stage1')
    """
    try:
        found: StudyRequest = TypeAdapter(any_request()).validate_python(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "kind"
        raise InnersightError(f"{where}: {first['msg']}; kinds are {', '.join(requests())}") from error
    return found
