"""The card as a page: figures, how the plants bite, misses in words and in pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from benchmarks.audit_card.outcome import Figure, Outcome
from benchmarks.audit_card.planters import PLANTERS

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
SHEET = PAGE.parent / "images" / "audit-misses.png"
BEGIN, END = "<!-- recall card: written by python -m benchmarks.audit_card -->", "<!-- end of the recall card -->"
SCALE = 2


def page(figures: Mapping[str, Sequence[Figure]], outcomes: Sequence[Outcome], minutes: float) -> str:
    """Return the card in Markdown."""
    lines = ["| figure | target | found |", "| --- | --- | --- |"]
    for rows in figures.values():
        lines += [f"| {row.what} | {row.target} | {row.found} |" for row in rows]
    lines += ["", f"{len(outcomes)} audits, {minutes:.0f} minutes.", *_bites(outcomes), *_misses(outcomes)]
    return "\n".join(lines) + "\n"


def _bites(outcomes: Sequence[Outcome]) -> list[str]:
    planted = [one for one in outcomes if one.part == "shortcuts" and one.hit is not None]
    if not planted:
        return []
    names = ("accuracy", "recall", "recall_planted", "turned")
    lines = [
        "",
        "What the plants do, medians over the networks of a kind, on honest held-out images:",
        "",
        "| plant | accuracy | recall of its class | with the plant | others that it turns into the class |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for kind in PLANTERS:
        own = [one.numbers for one in planted if one.kind == kind]
        if own:
            values = " | ".join(f"{np.median([numbers[name] for numbers in own]):.2f}" for name in names)
            lines.append(f"| {kind} | {values} |")
    clean = [o.numbers["accuracy"] for o in outcomes if o.part == "shortcuts" and o.hit is None]
    if clean:
        lines.append(f"| none | {np.median(clean):.2f} | | | |")
    return lines


def _misses(outcomes: Sequence[Outcome]) -> list[str]:
    missed = [one for one in outcomes if one.hit is False]
    lines = ["", f"Missed ({len(missed)}), and what was said of the class:", ""] if missed else []
    for one in missed:
        # An accuracy stands for itself only where the plant lowers it.
        names = FIGURES if one.part != "preprocessing" else ("accuracy",)
        figures = ", ".join(
            f"{name.replace('_', ' ')} {one.numbers[name]:.2f}" for name in names if name in one.numbers
        )
        lines.append(f"- {one.part}, network {one.seed}: {one.truth}{f' ({figures})' if figures else ''}")
        lines += [f"  - {sentence}" for sentence in one.near or ("nothing",)]
    wrong = [one for one in outcomes if one.wrong]
    lines += ["", f"Wrong ({sum(len(one.wrong) for one in wrong)}):", ""] if wrong else []
    for one in wrong:
        lines.append(f"- {one.part}, network {one.seed} ({one.truth or 'nothing planted'})")
        lines += [f"  - {sentence}" for sentence in one.wrong]
    return lines


FIGURES = ("recall", "recall_planted", "turned", "accuracy_slice")


def sheet(outcomes: Sequence[Outcome], file: Path) -> bool:
    """Draw images of the faults that were missed, a row for each; return whether there are any."""
    rows = []
    for one in outcomes:
        if one.hit is False and one.images:
            tiles = [np.asarray(PILImage.open(path).convert("RGB").resize((64, 64))) for path in one.images[:4]]
            rows.append(np.concatenate(tiles + [np.full_like(tiles[0], 255)] * (4 - len(tiles)), 1))
    if rows:
        rows += [np.full_like(rows[0], 255)] * (-len(rows) % 3)
        columns = [np.concatenate(rows[i::3]) for i in range(3)] if len(rows) >= 3 else [np.concatenate(rows)]
        image = PILImage.fromarray(np.concatenate(columns, 1))
        image.resize((image.width * SCALE, image.height * SCALE), PILImage.Resampling.NEAREST).save(file)
    return bool(rows)


def publish(text: str, outcomes: Sequence[Outcome]) -> None:
    """Write the card into docs/audit.md, between its markers, and the sheet of misses beside it."""
    if sheet(outcomes, SHEET):
        text += f"\n![Images of the faults that were missed](images/{SHEET.name})\n"
    page = PAGE.read_text() if PAGE.exists() else f"# Audit\n\n## Recall card\n{BEGIN}\n{END}\n"
    if BEGIN not in page or END not in page:
        raise SystemExit(f"{PAGE} has no place for the card: put these lines where it should stand\n{BEGIN}\n{END}")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{text}{END}{after}")
