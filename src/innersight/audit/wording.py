"""Findings in words: how large an effect is beside its control."""

from collections.abc import Iterator

from innersight.audit.finding import Checked, Effect, Finding
from innersight.audit.result import Audit

SHARE = "share"


def amount(value: float, unit: str) -> str:
    """Return a value of an effect; a share in percent.

    >>> amount(0.714, "share of images"), amount(1.2345, "logits")
    ('71%', '1.23')
    """
    return f"{value:.0%}" if unit.startswith(SHARE) else f"{value:.3g}"


def described(effect: Effect) -> str:
    """Return an effect beside its control.

    >>> described(Effect(0.71, (0.62, 0.79), 0.04, 0.0004, "share of other images"))
    '71% (95%: 62% to 79%), control 4%, p < 0.001 (share of other images)'
    """
    text = amount(effect.value, effect.unit)
    if effect.interval is not None:
        low, high = (amount(one, effect.unit) for one in effect.interval)
        text += f" (95%: {low} to {high})"
    if effect.control is not None:
        text += f", control {amount(effect.control, effect.unit)}"
    if effect.p is not None:
        text += f", {probability(effect.p)}"
    return f"{text} ({effect.unit})" if effect.unit else text


def probability(p: float) -> str:
    """Return a p-value as it is usually written.

    >>> probability(0.0002), probability(0.25)
    ('p < 0.001', 'p = 0.25')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def kind(finding: Finding) -> str:
    """Return what a finding is about: its check, the reason of a shortcut, its class.

    >>> kind(Finding("shortcut", "marge", "..", True, reason="same pixels"))
    'shortcut (same pixels), class marge'
    """
    reason = f" ({finding.reason})" if finding.reason else ""
    return f"{finding.check}{reason}" + (f", class {finding.label}" if finding.label is not None else "")


def standing(finding: Finding) -> str:
    """Return whether a finding was confirmed, and whether it is a fault.

    >>> standing(Finding("reliance", "marge", "..", True)), standing(Finding("label", None, "..", False))
    ('confirmed, no fault', 'not confirmed')
    """
    if not finding.confirmed:
        return "not confirmed"
    return "confirmed" if finding.fault else "confirmed, no fault"


def verdict(found: Audit) -> str:
    """Return how much was found, in a sentence."""
    faults, more = len(found.confirmed), len(found.findings) - len(found.confirmed)
    head = f"{faults} fault{'s' * (faults != 1)} confirmed" if faults else "No fault was confirmed"
    rest = f", {more} further finding{'s' * (more != 1)}" if more else ""
    ran = sum(one.done for one in found.checked)
    return f"{head}{rest}; {ran} of {len(found.checked)} checks ran on {found.images:,} images"


def sentences(found: Audit) -> Iterator[str]:
    """Yield the lines of a report: the findings, then what was checked and what that could have missed."""
    yield from (verdict(found), "")
    for one in found.findings:
        yield from (*_finding(one), "")
    yield "What was checked, and what this could have missed:"
    for check in found.checked:
        yield from _check(check)


def _finding(one: Finding) -> Iterator[str]:
    yield f"{standing(one).upper() if one.fault else standing(one)}: {kind(one)}"
    yield f"  {one.sentence}"
    if one.effect is not None:
        yield f"  {described(one.effect)}"
    if one.images:
        shown = one.images[:NAMED]
        more = max(one.images_total, len(one.images)) - len(shown)
        yield f"  images: {', '.join(shown)}{f' and {more:,} more' if more else ''}"
    if one.next:
        yield f"  next: {one.next}"


def _check(check: Checked) -> Iterator[str]:
    yield f"- {check.title}{'' if check.done else ', NOT CHECKED'}: {check.sentence}"
    if check.done and check.limits:
        yield f"  could have missed: {check.limits}"


NAMED = 3
