"""`pt2:FILE`: networks that `torch.export.save` wrote, unflattened into the modules they were exported from."""

import ast
import io
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from io import BufferedIOBase
from typing import Any

import torch
from torch import nn

from innersight.errors import InnersightError, printable
from innersight.heads import Head
from innersight.model import Model
from innersight.sources.bare import as_built, wrap
from innersight.sources.claims.archives import archive, is_archive, read_entry
from innersight.sources.claims.checkpoints import check_checkpoint
from innersight.sources.origins import LoadRequest, registry
from innersight.storage.bounded import BROKEN, MAX_MODEL, check, opened, parse_json, reading

AGAIN = "export it again with torch.export.export(net.eval(), (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))"

# What torch.export.load would run, so that it is looked at before: pickles (it falls back to weights_only=False),
# compiled libraries, expressions (sympy evaluates them) and operators (looked up as attributes of torch).
PICKLES = re.compile(r"^data/(sample_inputs|weights|constants)/.*\.pt$")
LIBRARIES = re.compile(r"^data/(aotinductor|executorch|mtia)/")
OPERATOR = re.compile(
    r"^(torch\.ops\.(aten|prims?|torchvision|higher_order(?!\.while_loop))(\.(?!__|from_file)\w+){1,2}"
    r"|torch\.sym_[a-z]+|math\.[a-z0-9]+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_))$"
)
NAME = re.compile(r"^[^\"'\\\n\r`(){}]*$")
FREE_TEXT = ("stack_trace", "in_spec", "out_spec", "expr_str", "guards_code", "as_string", "custom", "from_node")
CALLS = re.compile(
    "^(Symbol|Integer|Float|Rational|Identity|Add|Mul|Pow|Mod|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Equality|Unequality"
    "|LessThan|StrictLessThan|GreaterThan|StrictGreaterThan|floor|ceiling|FloorDiv|CleanDiv|CeilDiv|PythonMod|Where"
    "|ModularIndexing|CeilToInt|FloorToInt|TruncToInt|RoundToInt|TruncToFloat|ToFloat|RoundDecimal|LShift|RShift"
    "|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv)$"
)
POWERS = re.compile("^(Pow|PowByNatural|FloatPow|LShift)$")
MAX_MAP = 2**28  # values of one tensor for one image
ENDLESS = 2**62  # how the end of a slice is written where there is none
LONGEST = 10_000  # characters of an expression
ARITHMETIC = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
    ast.keyword, ast.Load,
)  # fmt: skip


@registry.register(
    "torch.export program",
    source="https://docs.pytorch.org/docs/stable/export.html",
    use="For a program that torch.export.save wrote: it opens without the class of the network.",
    example="pt2:net.pt2",
    reads_output=True,
)
def pt2(name: str, request: LoadRequest) -> Model:
    """Open the exported program in the file `name`.

    Its modules bear the names and types they had before the export, and call each other as they did: hooks fire.
    Raises InnersightError for a file that would run code when it is read, a program for a fixed number of images, and
    one exported in training mode.
    """
    path = check(name, what="file of torch.export (.pt2)")
    with opened(path, what="program", limit=MAX_MODEL) as file:
        _refuse_code(printable(path), file)
        file.seek(0)
        try:
            # It reads a copy, so that the file cannot change after it was checked.
            program = torch.export.load(io.BytesIO(file.read()))
        except BROKEN as error:
            raise InnersightError(
                f"{printable(path)}: torch {torch.__version__} cannot read it "
                f"({printable(' '.join(str(error).split())[:200])}): save it again with this version"
            ) from error
    model = of_program(program, printable(path), path.stem, stated=request.stated, head=request.head)
    return as_built(model, classes=request.classes, weights=request.weights)


def of_program(program: Any, where: str, title: str, *, stated: Mapping[str, Any], head: Head | None) -> Model:
    """Return a Model around an exported program; where : what it is called in messages. Raises InnersightError."""
    known = _input(program, where)
    trained = next(_training(program), None)
    if trained:
        raise InnersightError(f"{where} was exported in training mode ({trained}): {AGAIN}")
    net = _with_types(torch.export.unflatten(program).eval())
    if "height" in known:
        _run_one(net, known, where)
    return wrap(net, {**known, **stated}, name=title, head=head)


def _refuse_code(where: str, file: BufferedIOBase) -> None:
    """Raise InnersightError when an archive would run code when it is read, or declares more than it holds."""
    try:
        from torch.export.pt2_archive import PT2ArchiveReader  # noqa: F401
    except ImportError as error:
        raise InnersightError(f"pt2 files need torch 2.8 or newer; this is {torch.__version__}") from error
    if not is_archive(file):
        raise InnersightError(f"{where}: not an archive that torch.export.save wrote")
    with archive(file, where, what="archive that torch.export.save wrote") as entries:
        # Below the name of the archive, as torch itself looks for them.
        whole = {name.partition("/")[2]: name for name in entries.namelist()}
        if "archive_format" not in whole and "version" not in entries.namelist():
            raise InnersightError(f"{where}: not an archive that torch.export.save wrote")
        if "version" in entries.namelist() or "archive_format" not in whole or len(whole) < len(entries.namelist()):
            raise InnersightError(
                f"{where}: refused, its format is none that can be read without running code: save it again with "
                f"torch.export.save of torch {torch.__version__}"
            )
        libraries = next((name for name in whole if LIBRARIES.match(name)), None)
        if libraries:
            raise InnersightError(f"{where}: refused, {printable(libraries)} is a compiled library: save it uncompiled")
        pickles = {name for name in whole if PICKLES.match(name)}
        for name in filter(lambda name: name.endswith(".json"), whole):
            document = parse_json(read_entry(entries, whole[name], where), where=f"{where}: {name}")
            folder, _, last = name.rpartition("/")
            if last.endswith("_config.json"):
                pickles |= _payloads(document, entries, whole, folder, where)
                continue
            with reading(where, "program"):
                problem = next(_suspicious(document), None)
            if problem:
                raise InnersightError(
                    f"{where}: refused, {name} holds what no exported network does: {printable(problem[:100])}"
                )
        for name in sorted(pickles):
            stored = read_entry(entries, whole[name], where, limit=MAX_MODEL)
            try:
                if stored:
                    check_checkpoint(io.BytesIO(stored), f"{where}: {name}")
            except InnersightError as error:
                raise InnersightError(
                    f"{where}: refused, {name} holds Python objects that would run code when read: export the network "
                    f"again with plain tensors as example inputs ({error})"
                ) from error


def _payloads(document: Any, entries: zipfile.ZipFile, whole: Mapping[str, str], folder: str, where: str) -> set[str]:
    """Return the names of the payloads that are pickles. Raises InnersightError for objects, and for missing bytes."""
    found = set()
    with reading(where, "list of weights"):
        for name, payload in (document.get("config") or {}).items():
            entry = str(payload["path_name"])
            if entry.startswith(("custom_obj_", "opaque_obj_")):
                raise InnersightError(f"{where}: refused, {folder} holds Python objects: export plain tensors")
            held = entries.getinfo(whole[f"{folder}/{entry}"]).file_size
            sides = [side["as_int"] for side in (payload.get("tensor_meta") or {}).get("sizes", [])]
            if payload["use_pickle"]:
                found.add(f"{folder}/{entry}")
            elif math.prod(sides) > held:
                raise InnersightError(
                    f"{where}: refused, its weights {printable(name)} claim {math.prod(sides):,} values and have "
                    f"{held:,} bytes"
                )
    return found


def _suspicious(value: Any, key: str = "") -> Iterator[str]:
    """Yield what in the description of a program could run code, or take memory without end.

    That is foreign operators, expressions, names and types, and tensors of more than `MAX_MAP` values.
    """
    if isinstance(value, dict):
        if isinstance(sizes := value.get("sizes"), list):
            yield from _too_large([side.get("as_int") for side in sizes if isinstance(side, dict)])
        if isinstance(numbers := value.get("as_ints"), list):
            yield from _too_large(numbers)
        if isinstance(number := value.get("as_int"), int) and MAX_MAP < abs(number) < ENDLESS:
            yield f"the number {number:,}"
        if {"target", "inputs", "outputs"} <= value.keys() and not OPERATOR.match(str(value["target"])):
            yield f"the operator {value['target']!r}"
        for inner, content in value.items():
            if not NAME.match(inner):
                yield f"the name {inner!r}"
            yield from _suspicious(content, inner)
    elif isinstance(value, list):
        for content in value:
            yield from _suspicious(content, key)
    elif isinstance(value, str):
        if key == "expr_str" and not _is_arithmetic(value):
            yield f"the expression {value!r}"
        elif key == "as_operator" and not OPERATOR.match(value):
            yield f"the operator {value!r}"
        elif key in ("in_spec", "out_spec") and ("default_factory" in value or "__enum__" in value):
            yield f"the input or output type {value!r}"
        elif key not in FREE_TEXT and not NAME.match(value):
            yield f"the name {value!r}"


def _too_large(sides: list[Any]) -> Iterator[str]:
    count = math.prod(abs(side) for side in sides if isinstance(side, int) and side)
    if count > MAX_MAP:
        yield f"a tensor of {count:,} values"


def _is_arithmetic(text: str) -> bool:
    """Whether an expression is made of numbers, symbols and known functions of them only."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval"))) if len(text) < LONGEST else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    # A power of a power has more digits than there is memory.
    powers = [node for node in nodes if isinstance(node, ast.Pow | ast.LShift) or _is_power(node)]
    return bool(nodes) and len(powers) < 2 and all(_is_known(node) for node in nodes)


def _is_power(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and bool(POWERS.match(node.func.id))


def _is_known(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and bool(CALLS.match(node.func.id))
    if isinstance(node, ast.Name):
        return bool(CALLS.match(node.id) or re.fullmatch(r"[a-z]{1,3}\d+|oo|nan", node.id))
    if isinstance(node, ast.Constant):
        small = isinstance(node.value, int | float) and abs(node.value) < 2**64
        return small or (isinstance(node.value, str) and bool(re.fullmatch(r"\w+", node.value)))
    return isinstance(node, ARITHMETIC)


def _input(program: Any, where: str) -> dict[str, int]:
    """Return what the program states of its input; sides of any length are left out."""
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    tensors = [node.meta.get("val") for node in inputs]
    if len(tensors) != 1 or not isinstance(tensors[0], torch.Tensor) or tensors[0].ndim != 4:
        shapes = ", ".join(str(tuple(t.shape)) if isinstance(t, torch.Tensor) else type(t).__name__ for t in tensors)
        raise InnersightError(f"{where}: its inputs are {shapes}; one batch of images (B, C, H, W) is needed")
    if not tensors[0].is_floating_point():
        raise InnersightError(
            f"{where}: its input is of type {tensors[0].dtype}, which no gradient reaches: export the network without "
            "the step that turns bytes into floats"
        )
    batch, channels, height, width = tensors[0].shape
    if isinstance(batch, int):
        raise InnersightError(f"{where} takes exactly {batch} image(s) at a time: {AGAIN}")
    known = {"channels": channels, "height": height, "width": width}
    fixed = {key: value for key, value in known.items() if isinstance(value, int)}
    return fixed if {"height", "width"} <= fixed.keys() else {key: v for key, v in fixed.items() if key == "channels"}


def _training(program: Any) -> Iterator[str]:
    """Yield the operators that ran in training mode when the program was exported."""
    for node in program.graph.nodes:
        name = str(node.target)
        if name in ("aten.dropout.default", "aten.dropout_.default", "aten.feature_dropout.default"):
            active = node.args[2]
        elif name == "aten.batch_norm.default":
            active = node.args[5]
        else:
            active = name in ("aten.native_dropout.default", "aten._native_batch_norm_legit.default") or (
                name == "aten._native_batch_norm_legit_functional.default"
            )
        if active:
            yield f"{name} in {node.name}"


def _run_one(net: nn.Module, known: Mapping[str, int], where: str) -> None:
    dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)
    try:
        with torch.no_grad():
            net(torch.zeros(1, known["channels"], known["height"], known["width"], dtype=dtype))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InnersightError(f"{where} does not take a single image ({str(error)[:150]}): {AGAIN}") from error


def _with_types(net: nn.Module) -> nn.Module:
    """Give each module a class that bears the name it had before the export, so that a convolution is known for one.

    The class is the unflattened module's own otherwise. A module that was called in several ways counts its calls; the
    count starts anew with each forward pass, also after one that was stopped on the way.
    """
    counting = [module for module in net.modules() if hasattr(module, "_num_calls")]

    def forward(self: Any, *inputs: Any, **named: Any) -> Any:
        for module in counting:
            module._num_calls = 0  # type: ignore[assignment]
        return super(type(self), self).forward(*inputs, **named)

    for module in net.modules():
        home, _, name = str(getattr(module, "_ty", None) or "").rpartition(".")
        if name.isidentifier():
            methods = {"forward": forward} if module is net and counting else {}
            module.__class__ = type(name, (type(module),), {"__module__": home, **methods})
    return net
