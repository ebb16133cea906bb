"""Findings: each with its effect beside the control and the images that show it; then what was checked."""

import textwrap
from typing import TYPE_CHECKING, Any

from innersight.audit import Audit, Effect, Finding, Proof
from innersight.audit.wording import amount, kind, probability, standing, verdict
from innersight.render.figures import new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

WIDTH, MARGIN = 11.5, 0.16  # inches
TEXT, BARS = 3.9, 2.5  # inches of a card that the text and the bars take
TILE = 0.98  # inches, with the gap
SHOWN = 5  # images of a finding
WRAP = 52  # characters of the text beside images
LINE = 0.175  # inches
HEAD = 0.55
INK, SOFT, CONTROL = "#1c1a1f", "#635e69", "#a8a1af"
ACCENT, KNOWN = "#a1286a", "#2a6fa8"  # confirmed faults; what is confirmed and no fault


@figures.register("Findings of an audit")
def audit(found: Audit, *, limit: int = 12) -> "Figure":
    """Draw the findings as cards, the confirmed ones first, and below what was checked and could have been missed.

    Parameters
    ----------
    limit
        At most this many findings.

    """
    shown = found.findings[:limit]
    below = _below(found, len(found.findings) - len(shown))
    heights = [_height(one) for one in shown] + [LINE * len(below) + 0.35]
    figure = new_figure(WIDTH, sum(heights) + HEAD)
    parts = figure.subfigures(len(heights) + 1, 1, squeeze=False, height_ratios=[HEAD, *heights]).ravel()
    title = f"{found.model.name}: {verdict(found)}"
    parts[0].text(MARGIN / WIDTH, 0.42, title, fontsize=13, color=INK, ha="left", va="center")
    for part, one, height in zip(parts[1:-1], shown, heights[:-1], strict=True):
        _card(part, one, height, ACCENT if one.fault else KNOWN if one.confirmed else SOFT)
    _texts(parts[-1], below, heights[-1])
    return figure


def _height(one: Finding) -> float:
    effect = 1.25 if one.effect is not None else 0.0
    proof = TILE + 0.45 if one.proof is not None else 0.0
    return max(LINE * len(_lines(one)) + 0.5, effect, proof)


def _lines(one: Finding) -> list[str]:
    """Return the text of a card: a line of what it is, the sentence, what to do."""
    following = textwrap.wrap(f"→ {one.next}", WRAP + 6) if one.next else []
    return [*textwrap.wrap(f"{standing(one)}: {kind(one)}", WRAP + 4), *textwrap.wrap(one.sentence, WRAP), *following]


def _card(part: "SubFigure", one: Finding, height: float, ink: str) -> None:
    from matplotlib.lines import Line2D

    part.add_artist(Line2D([MARGIN / WIDTH, 1 - MARGIN / WIDTH], [1, 1], color="#e4e0e6", lw=0.8))
    head = textwrap.wrap(f"{standing(one)}: {kind(one)}", WRAP + 4)
    body = textwrap.wrap(one.sentence, WRAP)
    y = 1 - 0.16 / height
    for lines, size, colour, weight in (
        (head, 7.5, ink, "bold"),
        (body, 9.5, INK, "normal"),
        (textwrap.wrap(f"→ {one.next}", WRAP + 6) if one.next else [], 7.5, SOFT, "normal"),
    ):
        for line in lines:
            part.text(MARGIN / WIDTH, y, line, fontsize=size, color=colour, weight=weight, va="top", ha="left")
            y -= LINE / height
        y -= 0.04 / height
    if one.effect is not None:
        # In inches from the left and the top of the card.
        axis = part.add_axes((TEXT / WIDTH + 0.045, 1 - 0.92 / height, (BARS - 1.15) / WIDTH, 0.55 / height))
        _effect(axis, one.effect, ink)
    if one.proof is not None:
        _montage(part, one.proof, height)


def _effect(axis: "Axes", effect: Effect, ink: str) -> None:
    """Draw the effect, with its interval, above the control, from a common zero."""
    rows = [("effect", effect.value, ink)]
    rows += [("control", effect.control, CONTROL)] if effect.control is not None else []
    for y, (name, value, colour) in enumerate(rows):
        axis.barh(-y, value, height=0.62, color=colour, lw=0)
        axis.text(
            -0.04, -y, name, transform=axis.get_yaxis_transform(), ha="right", va="center", fontsize=7, color=SOFT
        )
        axis.text(1.03, -y, amount(value, effect.unit), transform=axis.get_yaxis_transform(), ha="left", va="center",
                  fontsize=8, color=INK)  # fmt: skip
    ends = effect.interval or ()
    if effect.interval is not None:
        axis.plot(effect.interval, [0, 0], color=INK, lw=1.2, solid_capstyle="butt")
        for end in effect.interval:
            axis.plot([end, end], [-0.16, 0.16], color=INK, lw=1.2)
    reach = [0.0, *(value for _, value, _ in rows), *ends]
    low, high = min(reach), max(1.0, *reach) if effect.unit.startswith("share") and min(reach) >= 0 else max(reach)
    axis.set_xlim(low, high if high > low else low + 1)
    axis.set_ylim(-1.5, 0.5)
    axis.axvline(0, color=SOFT, lw=0.8)
    axis.axis("off")
    stated = [f"95%: {amount(ends[0], effect.unit)} to {amount(ends[1], effect.unit)}"] if ends else []
    stated += [probability(effect.p)] if effect.p is not None else []
    notes = [", ".join(stated), *textwrap.wrap(effect.unit, 34)] if stated else textwrap.wrap(effect.unit, 34)
    if effect.control is None:
        axis.set_ylim(-0.5, 0.5)
    axis.text(-0.26, -0.12, "\n".join(notes), transform=axis.transAxes, fontsize=6.5, color=SOFT, va="top", ha="left")


def _montage(part: "SubFigure", proof: Proof, height: float) -> None:
    from matplotlib.patches import Rectangle

    left = TEXT + BARS
    for i, pixels in enumerate(proof.pixels[:SHOWN].numpy()):
        rows, columns = pixels.shape[:2]
        side = TILE - 0.08
        axis: Any = part.add_axes(
            ((left + i * TILE) / WIDTH, 1 - (0.16 + side) / height, side / WIDTH, side / height)
        )  # fmt: skip
        axis.imshow(pixels, extent=(0, 1, 1, 0), aspect="auto" if rows == columns else rows / columns)
        axis.axis("off")
        region = proof.regions[i]
        if region is not None:
            x0, y0, x1, y1 = region
            for ink, thick in (("black", 2.4), ("#ffd43b", 1.2)):
                axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=ink, linewidth=thick))
        caption = "\n".join(textwrap.wrap(proof.captions[i], 19)[:2])
        below = 1 - (0.2 + side) / height
        part.text((left + i * TILE) / WIDTH, below, caption, fontsize=6, color=SOFT, va="top", ha="left")


def _below(found: Audit, more: int) -> list[tuple[str, bool]]:
    """Return the lines on what was checked; whether each is a heading."""
    lines = [(f"{more} more findings: --json, or `.findings`", False)] if more > 0 else []
    lines.append(("What was checked, and what this could have missed", True))
    for check in found.checked:
        text = f"{check.title}{'' if check.done else ', NOT CHECKED'}: {check.sentence.rstrip('.')}."
        text += f" Could have missed: {check.limits}" if check.done and check.limits else ""
        lines += [(line, False) for line in textwrap.wrap(text, 165)]
    return lines


def _texts(part: "SubFigure", lines: list[tuple[str, bool]], height: float) -> None:
    for i, (line, heading) in enumerate(lines):
        y = 1 - (0.18 + i * LINE) / height
        part.text(
            MARGIN / WIDTH, y, line, fontsize=9 if heading else 7.5, color=INK if heading else SOFT, va="top", ha="left"
        )  # fmt: skip
