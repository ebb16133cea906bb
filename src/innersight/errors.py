"""The one exception family of the project: every message names the value and the remedy."""

import difflib
from collections.abc import Iterable

DIGITS = 18  # Python reads no number of thousands of digits


class InnersightError(ValueError):
    """Raised for input that cannot be used. The command line prints it as one sentence and exits with status 2."""


class UnusableError(InnersightError):
    """Raised for a network that no other size of its input would make usable."""


class MissingExtraError(InnersightError):
    """Raised when an optional library is needed but not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; install it with: pip install 'innersight[{extra}]'")


class WriteError(InnersightError):
    """Raised when a file cannot be written. path : of the file. full : whether there is no room for it."""

    def __init__(self, path: object, reason: str, *, full: bool) -> None:
        remedy = "free some space and run the same command again" if full else "choose another path"
        super().__init__(f"{printable(path)} cannot be written ({reason}): {remedy}")
        self.path, self.full = path, full


def printable(text: object) -> str:
    r"""Return text with everything that is not printable escaped: newlines, control characters, broken names of files.

    >>> printable("a" + chr(10) + "b")
    'a\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def brief(text: object, length: int = 120) -> str:
    """Return text as `printable` does, cut where it is longer than a sentence can bear.

    >>> brief("a" * 9, 5)
    'aaaa…'
    """
    shown = printable(text)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def whole(text: str) -> int | None:
    """Return the number that digits say; None for other texts, and for more digits than any count has.

    >>> whole("12"), whole("-1"), whole("9" * 5000)
    (12, None, None)
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS else None


def nearest(value: str, choices: Iterable[str]) -> str:
    """Return a hint that names the closest choices, or all of them when they are few.

    >>> nearest("layer2.0.conv", ["layer2.0.conv1", "fc"])
    'did you mean layer2.0.conv1?'
    >>> nearest("x", ["hair", "eyes"])
    'choose from: hair, eyes'
    """
    choices = list(choices)
    close = difflib.get_close_matches(value, choices, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(choices) > 100:
        return f"none of the {len(choices):,} names is near it"
    shown = ", ".join(choices[:12])
    return f"choose from: {shown}" + (f" and {len(choices) - 12} more" if len(choices) > 12 else "")
