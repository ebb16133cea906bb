"""Signatures and docstrings of public functions, read from their source: nothing is imported, so help needs no torch.

What is read here is compared with the imported functions by `tests/contract/test_commands.py`.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import innersight
from innersight.registry import parse

ROOT = Path(innersight.__file__).parent
REQUIRED: Any = ...
"""The default of a parameter that has none."""
_DOCSTRING = re.compile(r'^r?"""[\s\S]*?"""', re.MULTILINE)
_STATEMENT = re.compile(r"^(?=[A-Za-z_@])", re.MULTILINE)
_DEFINED = re.compile(r"(?:def|class)\s+(\w+)|(\w+)\s*(?::[^=\n]+)?=[^=]")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function, or a field of its options.

    kinds : the alternatives of its annotation, as text. default : its value, REQUIRED where it has none. help : the
    first paragraph of its entry under "Parameters". options : where it takes a dataclass of options, those.
    """

    name: str
    kinds: tuple[str, ...]
    default: Any
    help: str
    options: "Signature | None" = None

    @property
    def hidden(self) -> bool:
        """Whether only Python can give it: a function that is called back, or a tensor."""
        kinds = set(self.kinds) - {"None"}
        given = bool(kinds) and all(kind == "Tensor" or kind.startswith("Callable[") for kind in kinds)
        return given or self.name in ("progress", "bar")


@dataclass(frozen=True)
class Signature:
    """A function or a dataclass as its source states it; summary and details are those of its docstring."""

    module: str
    name: str
    summary: str
    details: str
    parameters: dict[str, Parameter]


@cache
def public(name: str) -> Signature:
    """Return the signature of `innersight.NAME`."""
    return signature(innersight._HOME[name], name)


@cache
def figure(name: str) -> Signature:
    """Return the signature of the function of `innersight.plots` that draws a result."""
    for file in sorted((ROOT / "plots").glob("*.py")):
        module = f"innersight.plots.{file.stem}"
        if name in _statements(module):
            return signature(module, name)
    raise LookupError(f"innersight.plots has no function {name}")


def signature(module: str, name: str) -> Signature:
    """Return the signature of a function or dataclass that `module` defines or imports."""
    module, node = _definition(module, name)
    assert isinstance(node, ast.FunctionDef | ast.ClassDef), f"{module}.{name} is neither a function nor a class"
    doc = parse(ast.get_docstring(node) or "")
    helps = {one.strip(): _first(entry.description or "") for entry in doc.params for one in entry.arg_name.split(",")}
    is_class = isinstance(node, ast.ClassDef)
    declared = _fields(node) if isinstance(node, ast.ClassDef) else _arguments(node)
    parameters = {}
    for key, annotation, default in declared:
        kinds = tuple(_alternatives(annotation))
        value = REQUIRED if default is None else _value(module, default)
        parameters[key] = Parameter(
            key, kinds, value, helps.get(key, ""), None if is_class else _options(module, kinds)
        )
    return Signature(module, name, doc.short_description or "", doc.long_description or "", parameters)


def _arguments(node: ast.FunctionDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Yield name, annotation and default of the parameters that a caller gives by name."""
    args = node.args
    plain = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    for one, default in zip([*plain, *args.kwonlyargs], [*defaults, *args.kw_defaults], strict=True):
        yield one.arg, one.annotation, default


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Yield name, annotation and default of the fields of a dataclass."""
    for field in node.body:
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        default = field.value
        if isinstance(default, ast.Call) and ast.unparse(default.func).endswith("field"):
            stated = {word.arg: word.value for word in default.keywords}
            default = stated.get("default", stated.get("default_factory"))
        yield field.target.id, field.annotation, default


def _alternatives(annotation: ast.expr | None) -> Iterator[str]:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp):
        yield from _alternatives(annotation.left)
        yield from _alternatives(annotation.right)
    elif annotation is not None:
        yield ast.unparse(annotation)


def _options(module: str, kinds: tuple[str, ...]) -> "Signature | None":
    """Return the dataclass of options that an annotation names: one whose fields all have defaults."""
    names = [kind for kind in kinds if kind != "None"]
    if len(names) != 1 or not names[0].isidentifier() or hasattr(builtins, names[0]):
        return None
    try:
        home, node = _definition(module, names[0])
    except LookupError:  # a name of another library
        return None
    if not isinstance(node, ast.ClassDef):
        return None
    fields = list(_fields(node))
    return signature(home, node.name) if fields and all(default for _, _, default in fields) else None


def _value(module: str, node: ast.expr) -> Any:
    """Return the value of a default: written out, or of a constant; None for what a call or a function gives."""
    if isinstance(node, ast.Call) or (isinstance(node, ast.Name) and hasattr(builtins, node.id)):
        return None
    if isinstance(node, ast.Name):
        home, statement = _definition(module, node.id)
        return _value(home, statement.value) if isinstance(statement, ast.Assign | ast.AnnAssign) else None  # type: ignore[arg-type]
    return ast.literal_eval(node)


def _definition(module: str, name: str) -> tuple[str, ast.stmt]:
    """Return the statement that defines a name, with the module it is in; imports are followed."""
    statements = _statements(module)
    if name in statements:
        return module, ast.parse(statements[name]).body[0]
    for statement in statements[""].split("\0"):
        if not re.search(rf"\b{name}\b", statement):
            continue
        for node in ast.walk(ast.parse(statement)):
            if not isinstance(node, ast.ImportFrom) or not str(node.module).startswith("innersight"):
                continue
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _definition(str(node.module), alias.name)
    raise LookupError(f"{module} has no {name}")


@cache
def _statements(module: str) -> dict[str, str]:
    """Return the source of what a module defines by name, and under "" its imports.

    A file is cut at the lines that begin at the margin: parsing all of it takes ten times as long.
    """
    path = ROOT.joinpath(*module.split(".")[1:])
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    found: dict[str, str] = {}
    imports = []
    for statement in _STATEMENT.split(_DOCSTRING.sub("", text)):
        if statement.startswith(("from ", "if TYPE_CHECKING")):
            imports.append(statement)
        elif match := _DEFINED.match(statement):
            found.setdefault(match[1] or match[2], statement)
    return {**found, "": "\0".join(imports)}


def _first(text: str) -> str:
    """Return the first paragraph as one line."""
    return " ".join(text.split("\n\n")[0].split())


def singular(name: str) -> str:
    """Return the word of an option that is given once for each of several.

    >>> [singular(name) for name in ("layers", "classes", "like")]
    ['layer', 'class', 'like']
    """
    return name.removesuffix("es") if name.endswith("sses") else name.removesuffix("s")
