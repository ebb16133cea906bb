"""Pickles of tensors and plain containers: which storages and tensors they declare, without making any of them.

A machine for the opcodes that `torch.load(weights_only=True)` knows. Numbers, texts, tuples and lists are kept, as the
sizes of tensors are made of them; anything else is a name.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedIOBase
from math import prod
from typing import Any

import torch

from innersight.errors import InnersightError, printable

MAX_PICKLE = 2**25  # bytes of one pickle, without the tensors

STORAGES = {
    "ComplexDouble": 16, "ComplexFloat": 8, "Double": 8, "Long": 8, "Float": 4, "Int": 4, "Half": 2, "BFloat16": 2,
    "Short": 2, "Char": 1, "Byte": 1, "Bool": 1, "Untyped": 1,
}  # fmt: skip
PLAIN = {
    "collections.OrderedDict", "collections.Counter", "builtins.set", "builtins.complex", "builtins.bytearray",
    "__builtin__.set", "__builtin__.complex", "__builtin__.bytearray",
    "torch.Size", "torch.device", "torch.serialization._get_layout", "_codecs.encode",
}  # fmt: skip
REBUILD = {f"torch._utils._rebuild_{kind}" for kind in ("tensor", "tensor_v2", "tensor_v3")}
PARAMETER = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
TYPED = "torch._tensor._rebuild_from_type_v2"


@dataclass(frozen=True)
class Name:
    """A module's object, by name."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A storage that the file has to hold."""

    key: str
    itemsize: int
    count: int


@dataclass(frozen=True)
class Made:
    """The result of a call, by the name of what was called."""

    by: str


@dataclass
class Declared:
    """What one pickle declares. storages : bytes by key. tensors : bytes of all tensors. value : its own value."""

    storages: dict[str, int] = field(default_factory=dict)
    tensors: int = 0
    value: Any = None


class ForeignError(InnersightError):
    """Raised for an object of a class that is no tensor or plain container. whole : whether it is the whole pickle."""

    def __init__(self, name: str, *, whole: bool) -> None:
        super().__init__(name)
        self.name, self.whole = name, whole


class _Short:
    """A file of which no more is asked than is left: the length of a text in a pickle may be any number."""

    def __init__(self, file: BufferedIOBase, limit: int) -> None:
        start = file.tell()
        self._left = min(file.seek(0, 2) - start, limit)
        self._file = file
        file.seek(start)

    def read(self, size: int) -> bytes:
        if size > self._left:
            raise EOFError(f"a pickle that ends too early, or is larger than {MAX_PICKLE:,} bytes")
        self._left -= size
        return self._file.read(size)

    def readline(self) -> bytes:
        line = self._file.readline(self._left)
        self._left -= len(line)
        return line

    def tell(self) -> int:
        return self._file.tell()


def declared(file: BufferedIOBase) -> Declared:
    """Return what the pickle at the place of `file` declares, and leave `file` behind it.

    Raises ForeignError for objects of other classes, InnersightError for tensors that their storage cannot hold, and
    any of `bounded.BROKEN` for a damaged pickle.
    """
    machine = _Machine()
    short: Any = _Short(file, MAX_PICKLE)
    for opcode, argument, _ in pickletools.genops(short):
        machine.step(opcode.name, argument)
    return machine.found


class _Machine:
    def __init__(self) -> None:
        self.found = Declared()
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.safe = {f"{c.__module__}.{c.__qualname__}" for c in _safe()}

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"):
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode]())
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif opcode == "MARK":
            self.below.append(stack)
            self.stack = []
        elif opcode in _TUPLES:
            stack[len(stack) - _TUPLES[opcode] :] = [self._last(_TUPLES[opcode])]
        elif opcode == "TUPLE":
            self._unmark(lambda items: self.stack.append(tuple(items)))
        elif opcode == "APPEND":
            self._extend([stack.pop()])
        elif opcode == "APPENDS":
            self._unmark(self._extend)
        elif opcode == "SETITEM":
            self._set([stack.pop(-2), stack.pop()])
        elif opcode == "SETITEMS":
            self._unmark(self._set)
        elif opcode == "GLOBAL":
            stack.append(self._name(".".join(argument.split(" ", 1))))
        elif opcode in ("REDUCE", "NEWOBJ"):
            arguments, called = stack.pop(), stack.pop()
            stack.append(self._call(called, arguments))
        elif opcode == "BUILD":
            state = stack.pop()
            if not (stack[-1] == Made("collections.OrderedDict") and isinstance(state, dict)) and not self._is_safe():
                raise InnersightError(f"it sets the state of {_shortened(stack[-1])}")
        elif opcode == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif opcode == "STOP":
            self.found.value = stack.pop()
        elif opcode != "PROTO":
            raise ForeignError(f"what {opcode} makes", whole=False)

    def _last(self, number: int) -> tuple[Any, ...]:
        if len(self.stack) < number:
            raise EOFError("a pickle that takes more than there is")
        return tuple(self.stack[len(self.stack) - number :])

    def _unmark(self, use: Callable[[list[Any]], None]) -> None:
        items, self.stack = self.stack, self.below.pop()
        use(items)

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise InnersightError(f"it appends to {_shortened(target)}")
        target += items

    def _set(self, items: list[Any]) -> None:
        for key in items[::2]:
            # Tuples of tuples of the same tuples take for ever to hash.
            if not isinstance(key, str | int | float | bytes | None) or len(items) % 2:
                raise InnersightError(f"it has the key {_shortened(key)} in a dictionary")

    def _is_safe(self) -> bool:
        return isinstance(self.stack[-1], Made) and self.stack[-1].by in self.safe

    def _name(self, name: str) -> Name:
        known = name in PLAIN or name in REBUILD or name in PARAMETER or name == TYPED or name in self.safe
        # A class of tensors is told as what a tensor is; it is not called.
        if not (known or name in ("torch.nn.parameter.Parameter", "torch.Tensor") or _itemsize(name)):
            # Before torch 1.6 a module stood in a persistent id of its own.
            first = self.stack in ([], ["module"]) and not any(self.below)
            raise ForeignError(name, whole=first)
        return Name(name)

    def _storage(self, persistent: Any) -> Storage:
        word, kind, key, _, count = persistent[:5]
        size = _itemsize(kind.name) if isinstance(kind, Name) else 0
        if word not in ("storage", b"storage") or not size or not isinstance(count, int) or count < 0:
            raise InnersightError(f"it names the storage {_shortened(persistent)}")
        found = Storage(str(key), size, count)
        self.found.storages[found.key] = max(size * count, self.found.storages.get(found.key, 0))
        return found

    def _call(self, called: Any, arguments: Any) -> Any:
        if not isinstance(called, Name) or not isinstance(arguments, tuple):
            raise InnersightError(f"it calls {_shortened(called)}")
        if called.name == TYPED:
            return self._call(arguments[0], arguments[2])
        if called.name in REBUILD:
            return self._tensor(arguments)
        if called.name in PARAMETER or called.name == "torch.nn.parameter.Parameter":
            if not arguments or arguments[0] != Made("tensor"):
                raise InnersightError(f"it makes a parameter of {_shortened(arguments)}")
            return Made("tensor")
        if called.name == "torch.Size":
            return arguments[0] if arguments else ()
        plain = all(_is_plain(one) for one in arguments)
        number = called.name.endswith("bytearray") and any(isinstance(one, int) for one in arguments)
        foreign = called.name == "_codecs.encode" and arguments[1:] not in (("latin1",), ("latin-1",))
        if called.name not in self.safe and (called.name not in PLAIN or not plain or number or foreign):
            raise InnersightError(f"it calls {called.name} with {_shortened(arguments)}")
        return Made(called.name)

    def _tensor(self, arguments: tuple[Any, ...]) -> Made:
        storage, offset, size, stride = arguments[:4]
        kind = next((one.name for one in arguments[4:] if isinstance(one, Name)), "")
        itemsize = _itemsize(kind) or storage.itemsize
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or not all(isinstance(one, int) and one >= 0 for one in numbers):
            raise InnersightError(f"it declares a tensor of size {_shortened(size)} and stride {_shortened(stride)}")
        count = prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1 if count else 0
        if last * itemsize > storage.itemsize * storage.count:
            raise InnersightError(
                f"it declares a tensor of size {_shortened(size)} in a storage of {storage.count} values"
            )
        self.found.tensors += count * itemsize
        return Made("tensor")


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWFALSE": lambda: False,
    "NEWTRUE": lambda: True,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _safe() -> list[Any]:
    """Return the classes that the user told torch to trust."""
    return [one[0] if isinstance(one, tuple) else one for one in torch.serialization.get_safe_globals()]


def _itemsize(name: str) -> int:
    """Return the bytes of one value of a storage class or dtype of torch; 0 for any other name."""
    last = name.rpartition(".")[2]
    if name in (f"torch.{last}", f"torch.storage.{last}") and last.endswith("Storage"):
        return STORAGES.get(last.removesuffix("Storage"), 0)
    kind = getattr(torch, last, None) if name == f"torch.{last}" else None
    return kind.itemsize if isinstance(kind, torch.dtype) else 0


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(one, str | int | float | bytes | None) for one in value)
    return isinstance(value, str | int | float | bytes | dict | Made | None)


def _shortened(value: Any) -> str:
    shown: Any = value if isinstance(value, str | int | float | bytes | None) else type(value).__name__
    if isinstance(value, tuple) and all(isinstance(one, int) for one in value):
        shown = value[:8]
    return printable(getattr(value, "by", None) or getattr(value, "name", None) or f"{shown!r:.60}")
