"""`ORIGIN:NAME?key=value&key=value`: what can be stated about a model in one word."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from innersight.errors import InnersightError, nearest, printable
from innersight.input_spec import FITS, MAX_CHANNELS, RESAMPLES, InputSpec
from innersight.registry import identifier, word
from innersight.storage.bounded import read_text

MAX_CLASSES = 1_000_000
OPTIONS = re.compile(r"\?[A-Za-z_][\w-]*=[^&]*(&[A-Za-z_][\w-]*=[^&]*)*\Z", re.DOTALL)


@dataclass(frozen=True)
class SourceOptions:
    """The options of one source text. stated : fields of InputSpec. own : options that the origin declares itself."""

    classes: int | None = None
    checkpoint: str | None = None
    labels: tuple[str, ...] | None = None
    stated: dict[str, Any] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)


def split(source: str) -> tuple[str, str, dict[str, str]]:
    """Return origin, name and options of a source text; a `?` without `KEY=` behind it belongs to the name.

    Raises InnersightError for an option that is stated twice.

    >>> split("timm:resnet18?checkpoint=a.pth&size=96")
    ('timm', 'resnet18', {'checkpoint': 'a.pth', 'size': '96'})
    """
    head, tail = without_options(source)
    origin, _, name = head.partition(":")
    pairs = [part.split("=", 1) for part in tail[1:].split("&")] if tail else []
    # `weights` is what the command line and `load` call it.
    keys = ["checkpoint" if key == "weights" else key for key, _ in pairs]
    options = dict(zip(keys, (value for _, value in pairs), strict=True))
    if len(options) < len(pairs):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InnersightError(f"{printable(source)}: {twice} is stated twice")
    return origin, name, options


def without_options(source: str) -> tuple[str, str]:
    """Return a source text up to its options, and its options with the `?` before them; "" where it has none.

    >>> without_options("a?.onnx?size=96")
    ('a?.onnx', '?size=96')
    """
    found = OPTIONS.search(source)
    return (source[: found.start()], found.group()) if found else (source, "")


def joined(source: str, **stated: object) -> str:
    """Return a source text with options put in place of its own; those that are None are left.

    >>> joined("timm:resnet18?checkpoint=a.pth&size=96", checkpoint="hub", classes=None)
    'timm:resnet18?checkpoint=hub&size=96'
    """
    new = {key: str(value) for key, value in stated.items() if value is not None}
    if not new:
        return source
    options = {**split(source)[2], **new}
    return f"{without_options(source)[0]}?{'&'.join(f'{key}={text}' for key, text in options.items())}"


def read(options: Mapping[str, str], *, own: tuple[str, ...] = ()) -> SourceOptions:
    """Return what the options state. Raises InnersightError naming an unknown option or a value of another kind.

    own : options that the origin declares itself (`class_` is written `class`).
    """
    asked = SourceOptions()
    for key, text in options.items():
        if identifier(key) in own:
            asked.own[identifier(key)] = text
            continue
        if key not in _KEYS:
            raise InnersightError(f"no option {key!r} for a model; {nearest(key, [*_KEYS, *map(word, own)])}")
        try:
            value = _KEYS[key](text)
        except InnersightError:
            raise
        except ValueError as error:
            raise InnersightError(f"{key}={text!r}: {_HELP[key]}") from error
        if key == "size":
            asked.stated["height"], asked.stated["width"] = value
        elif key in ("classes", "checkpoint", "labels"):
            asked = replace(asked, **{key: value})
        else:
            asked.stated[key] = value
    return asked


def with_stated(spec: InputSpec, stated: Mapping[str, Any]) -> InputSpec:
    """Return `spec` with the stated fields in place of its own; one mean or std stands for every channel.

    A stated crop below 1 stands for `fit="crop"` too. Where other channels are stated, a mean and std that are not are
    guessed.
    """
    if not stated:
        return spec
    values = dict(stated)
    if stated.get("crop", 1.0) < 1:
        values.setdefault("fit", "crop")
    guessed = [name for name in spec.guessed if name not in values]
    channels = stated.get("channels", spec.channels)
    for key, neutral in (("mean", 0.0), ("std", 1.0)):
        own = getattr(spec, key)
        if key not in stated and len(own) != channels:
            values[key] = (own[0] if len(set(own)) == 1 else neutral,)
            guessed += [key] if key not in guessed else []
    return replace(spec, **{**values, "guessed": tuple(guessed)})


def _size(text: str) -> tuple[int, int]:
    height, times, width = text.partition("x")
    return _whole(height), _whole(width if times else height)


def _channels(text: str) -> int:
    number = _whole(text)
    if not 1 <= number <= MAX_CHANNELS:
        raise ValueError(text)
    return number


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _bands(text: str) -> tuple[int, ...]:
    return tuple(_whole(part) for part in text.split(","))


def _choice(*words: str) -> Callable[[str], str]:
    def choose(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return choose


def _labels(text: str) -> tuple[str, ...]:
    try:
        lines = read_text(text, what="file of labels").splitlines()
    except InnersightError as error:
        raise InnersightError(f"labels={text!r}: cannot be read ({error})") from error
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise InnersightError(f"labels={text!r}: no names in this file; write one a line")
    return found


def check_classes(classes: int) -> int:
    """Return a number of classes as an int. Raises InnersightError unless it is a whole number that can be built."""
    if isinstance(classes, bool) or not hasattr(classes, "__index__"):
        raise InnersightError(f"classes={classes!r}: {_HELP['classes']}")
    if not 1 <= operator.index(classes) <= MAX_CLASSES:
        raise InnersightError(f"classes={classes}: give a number from 1 to {MAX_CLASSES:,}")
    return operator.index(classes)


def _whole(text: str) -> int:
    # int() also takes spaces, underscores and digits of other scripts.
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise ValueError(text)
    return int(text)


_KEYS: dict[str, Callable[[str], Any]] = {
    "checkpoint": str,
    "classes": lambda text: check_classes(_whole(text)),
    "labels": _labels,
    "size": _size,
    "channels": _channels,
    "mean": _numbers,
    "std": _numbers,
    "fit": _choice(*FITS),
    "crop": float,
    "resample": _choice(*RESAMPLES),
    "display": _bands,
}
_HELP = {
    "classes": "give a whole number",
    "size": "give 96, or HEIGHTxWIDTH such as 64x96",
    "channels": f"give a whole number from 1 to {MAX_CHANNELS:,}",
    "mean": "give one number, or one for each channel with commas between",
    "std": "give one number, or one for each channel with commas between",
    "fit": "give crop or squash",
    "crop": "give a fraction such as 0.875",
    "resample": "give nearest, box, bilinear, hamming, bicubic or lanczos",
    "display": "give the three bands to show as red, green and blue, such as 3,2,1",
}
