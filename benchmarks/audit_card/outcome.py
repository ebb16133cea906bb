"""What an audit said of one network, held against what was planted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import innersight as ins


@dataclass(frozen=True)
class Outcome:
    """One audit, judged.

    part, kind, seed : which network. truth : what was planted, in words; "" where nothing was. hit : whether it was
    found, None where there was nothing to find, or where figures say how much of it. how : by what it was recognised.
    said : the sentences that hit. wrong : sentences of confirmed findings that name no planted fault. near : other
    sentences about the class, for a miss. numbers : figures of this network. images : some files that have the plant.
    """

    part: str
    kind: str
    seed: int
    truth: str = ""
    hit: bool | None = None
    how: str = ""
    said: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """One line of the card. target : of the issue, "" for a figure that has none."""

    what: str
    target: str
    found: str


def audited(model: Any, images: Path, checks: Sequence[str] | None = None, **options: Any) -> Any:
    """Return what `innersight.audit` finds at its default budget; nothing but these arguments reaches it."""
    return ins.audit(model, images, checks=checks, **options)  # type: ignore


def path_of(name: str) -> str:
    """Return an image as `CLASS/FILE`, however a finding writes it."""
    return "/".join(Path(name).parts[-2:])


def lines(findings: Sequence[Any]) -> tuple[str, ...]:
    """Return findings in words."""
    return tuple(f"{one.check}{' (' + one.reason + ')' if one.reason else ''}: {one.sentence}" for one in findings)


def share(hits: int, total: int) -> str:
    """Return a count as it stands in the card."""
    return f"{hits} of {total}"
