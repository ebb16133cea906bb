"""TrainingLog: the curves and histograms of a log, and the registry of the formats that it may have."""

import hashlib
import json
import math
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from innersight.errors import brief
from innersight.registry import Registry
from innersight.train.fixed import ImagesRead
from innersight.train.logs.layers import LoggedHistogram, layer_records
from innersight.train.logs.names import KNOWN, plain_name
from innersight.train.records import finite, halve

MAX_SERIES = 200
MAX_POINTS = 1000


@dataclass
class Series:
    """Values of one quantity by step, as they were written."""

    step: "array[int]" = field(default_factory=lambda: array("q"))
    value: "array[float]" = field(default_factory=lambda: array("d"))
    again: int = 0

    def add(self, step: int, value: float) -> None:
        """Add a value; those of the same or later steps, from before a restart, give way to it."""
        while self.step and self.step[-1] >= step:
            self.step.pop()
            self.value.pop()
            self.again += 1
        self.step.append(step)
        self.value.append(value)


@dataclass
class TrainingLog:
    """What a log holds. axis : what its steps count, "step" or "epoch".

    scalars : by name, as the program named them. epochs : names of scalars by epoch in a log by step. histograms : by
    name. record, images : of our own telemetry.
    title, files : of the format, and the names of the files that were read. notes : sentences on what was left out.
    """

    axis: str = "step"
    scalars: dict[str, Series] = field(default_factory=dict)
    epochs: set[str] = field(default_factory=set)
    histograms: dict[str, list[LoggedHistogram]] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    images: ImagesRead | None = None
    title: str = ""
    files: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    def series(self, name: str) -> Series:
        """Return the values of a quantity, to be added to."""
        return self.scalars.setdefault(name, Series())

    def document(self, layers: Sequence[str]) -> dict[str, Any]:
        """Return the training record: curves under plain names, and what belongs to one of these layers.

        Returns {"scalars", "layers", "axis", "source": {"title", "logs", "notes"}}, see docs/data-contract.md.
        """
        notes = [*self.notes]
        rest = {name: found for name, found in self.scalars.items() if len(found.step)}
        records, taken, unknown = layer_records(self.histograms, rest, layers)
        curves = {name: found for name, found in rest.items() if name not in taken}
        named = plain_names(curves)
        kept = sorted(named, key=lambda name: (not _known(name), list(named).index(name)))[:MAX_SERIES]
        if left := [name for name in named if name not in kept]:
            notes.append(f"{len(left):,} of {len(named):,} curves are left out: {listed(left)}.")
        if unknown:
            notes.append(
                f"{len(unknown):,} histograms are not of weights or gradients of a layer of this network, left out: "
                f"{listed(unknown)}."
            )
        notes += _doubts({name: curves[named[name]] for name in kept}, self.axis)
        scalars = {}
        for name in kept:
            scalars[name] = _thinned(curves[named[name]])
            if named[name] in self.epochs and self.axis != "epoch":
                scalars[name]["axis"] = "epoch"
        own = {name: found for name, found in self.record.items() if name in layers}
        if missing := [name for name in self.record if name not in layers]:
            notes.append(f"{len(missing):,} layers of the record are not in this network: {listed(missing)}.")
        source = {"title": self.title, "logs": list(self.files), "notes": notes}
        return {"scalars": scalars, "layers": {**own, **records}, "axis": self.axis, "source": source}


Fits = Callable[[str, bytes], bool]
"""Whether a file, by its name and first 4,096 bytes, may be of a format."""
ReadLog = Callable[[Mapping[str, Path]], TrainingLog]

# A format reads files by the name that pages show. fits : see `Fits`. order : where a folder holds logs of several
# formats, the one of the lowest is read. several : a log may consist of several files.
log_formats: Registry[ReadLog] = Registry(
    "log format", "innersight.train.logs.formats", fits=None, order=100, several=False
)


def plain_names(names: Collection[str]) -> dict[str, str]:
    """Return the names of a log by what the training page calls them; where two would be one, both stay."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(plain_name(name, names), []).append(name)
    return {plain if len(own) == 1 else name: name for plain, own in found.items() for name in own}


def listed(names: Collection[str], most: int = 4) -> str:
    """Return some names and how many more there are."""
    shown = ", ".join(brief(name, 40) for name in list(names)[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def digest_of(document: Mapping[str, Any], images: ImagesRead | None) -> str:
    """Return a digest of a training record."""
    facts, tensors = images or ({}, {})
    digest = hashlib.sha256(json.dumps([document, facts], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()[:16]


def _known(name: str) -> bool:
    return name.rpartition("/")[2] in KNOWN


def _thinned(series: Series) -> dict[str, Any]:
    found: dict[str, list[Any]] = {"step": list(series.step), "value": list(series.value)}
    while len(found["step"]) > MAX_POINTS:
        halve(found)
    return {"step": found["step"], "value": finite(found["value"])}


def _doubts(shown: Mapping[str, Series], axis: str) -> list[str]:
    """Return sentences on values that no chart can show, on steps written twice, and on averages."""
    found = []
    for name, series in shown.items():
        odd = ~np.isfinite(np.frombuffer(series.value, dtype=np.float64))
        if odd.any():
            first = series.step[int(np.flatnonzero(odd)[0])]
            found.append(
                f"{brief(name, 40)} is not a finite number at {int(odd.sum()):,} of {len(odd):,} {axis}s, first at "
                f"{axis} {first}."
            )
    if again := {name: series.again for name, series in shown.items() if series.again}:
        found.append(f"Values written again after a restart replace the earlier ones: {listed(again)}.")
    if long := [name for name, series in shown.items() if len(series.step) > MAX_POINTS]:
        found.append(f"Curves of more than {MAX_POINTS:,} points are averages of neighbours: {listed(long)}.")
    return found


def number_of(text: str) -> float | None:
    """Return the number that a text writes; None where it writes none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if "_" not in text else None


def step_of(value: float) -> int | None:
    """Return a whole number that a step can be; None for others."""
    return int(value) if math.isfinite(value) and value == int(value) and 0 <= value < 2**53 else None
