"""Everything that grows by one file, listed: the entries of each registry with title, source, use and options."""

import importlib
import textwrap
from typing import Any

from innersight.errors import InnersightError, nearest
from innersight.registry import Entry, Registry, word

KINDS = {
    "methods": ("innersight.heatmaps.request:methods", "Heatmap methods, for `explain` and `trust`"),
    "objectives": ("innersight.patterns.objectives:objectives", "What a pattern can maximize, for `patterns`"),
    "parameterizations": ("innersight.patterns.parameterize:parameterizations", "How a pattern is written as numbers"),
    "layouts": ("innersight.atlas.layouts:layouts", "How the vectors of an atlas are laid out"),
    "metrics": ("innersight.trust.metrics:metrics", "Numbers that judge heatmaps on your images"),
    "ground-truth": ("innersight.trust.ground_truth:ground_truth", "Tests of heatmaps on images made for it"),
    "factorizations": (
        "innersight.factorizations.kinds:factorizations",
        "How the vectors of a layer become concepts, for `concepts`",
    ),
    "imputers": ("innersight.trust.imputers:imputers", "What fills removed pixels"),
    "baselines": ("innersight.trust.baselines:baselines", "Maps that know nothing, to compare heatmaps with"),
    "checks": ("innersight.audit.checks:checks", "What an audit looks for in a classifier"),
    "sources": ("innersight.sources.origins:registry", "Where networks come from, for MODEL"),
    "statistics": ("innersight.scan.statistics:statistics", "What a scan keeps of every layer"),
    "recorders": ("innersight.train.fixed:recorders", "What training records of a few fixed images"),
    "log-formats": ("innersight.train.logs:log_formats", "Logs of trainings that `study --log` reads"),
    "exports": ("innersight.study.exports:exports", "Tools that a study can be exported to"),
}
"""Where each registry is, and what its entries are. The layers of a network are listed by `innersight layers`."""


def registry(kind: str) -> Registry[Any]:
    """Return the registry of a kind. Raises InnersightError for an unknown one."""
    if kind not in KINDS:
        raise InnersightError(f"nothing called {kind!r} can be listed; {nearest(kind, KINDS)}")
    module, _, name = KINDS[kind][0].partition(":")
    found: Registry[Any] = getattr(importlib.import_module(module), name)
    return found


def as_json(entry: Entry[Any]) -> dict[str, Any]:
    """Return an entry as plain data; facts that are none are left out."""
    options = [{"name": one.word, "default": one.default, "help": one.help} for one in entry.options]
    facts = {word(key): one for key, one in entry.facts.items() if isinstance(one, str | bool | int | float)}
    stated = {"title": entry.title, "summary": entry.summary, "source": entry.source, "use": entry.use}
    return {"name": entry.name, **stated, "unit": entry.unit, **facts, "options": options}


def kinds() -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of kinds."""
    rows = [[kind, str(len(registry(kind))), what] for kind, (_, what) in KINDS.items()]
    return ["kind", "entries", "what they are"], rows


def entries(kind: str) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of a kind; a column that is empty for all is left out."""
    head = ["name", "title", "example", "use", "source", "options"]
    rows = [
        [entry.name, entry.title, _example(entry), entry.use or entry.summary, entry.source, _options_line(kind, entry)]
        for entry in registry(kind).entries()
    ]
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    return [head[column] for column in kept], [[row[column] for column in kept] for row in rows]


def details(kind: str, name: str) -> str:
    """Return all that is known of one entry. Raises InnersightError for an unknown one."""
    entry = registry(kind).entry(name)
    stated = [("example", _example(entry)), ("use", entry.use), ("source", entry.source), ("unit", entry.unit)]
    lines = [f"{entry.name}: {entry.title}", *_wrapped(entry.summary, "")]
    lines += [line for key, text in stated if text for line in _wrapped(f"{key}: {text}", "")]
    for text, one in zip(_options(kind, entry), entry.options, strict=True):
        lines += [f"  {text}", *_wrapped(one.help, "      ")]
    return "\n".join(lines)


def _options(kind: str, entry: Entry[Any]) -> list[str]:
    """Return the options of an entry as the command line writes them, with their defaults."""
    before = {"methods": f"--{entry.name}.", "sources": "?"}.get(kind, "")
    return [f"{before}{one.word}={_text(one.default)}" for one in entry.options]


def _options_line(kind: str, entry: Entry[Any]) -> str:
    return " ".join(_options(kind, entry))


def _example(entry: Entry[Any]) -> str:
    return str(entry.facts.get("example", ""))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 96, initial_indent=indent, subsequent_indent=indent)
