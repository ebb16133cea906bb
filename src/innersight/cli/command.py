"""A command is a public function and how its arguments are typed: options, defaults and help are the function's own."""

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

import innersight
from innersight.cli.base import app, load
from innersight.cli.output import deliver, method_options
from innersight.cli.progress import progress
from innersight.cli.signatures import REQUIRED, Parameter, Signature, figure, public, singular
from innersight.errors import InnersightError, printable
from innersight.options import made
from innersight.registry import word
from innersight.render.formats import check

START, UNITS, PREDICTIONS = "Start here", "Units", "Predictions"
DATA_SETS, PAGES, TOOLS = "Data sets", "Studies and pages", "Tools"
PANELS = (START, UNITS, PREDICTIONS, DATA_SETS, PAGES, TOOLS)
"""The groups of `innersight --help`, in this order."""
MANY, UNLIMITED = "May be repeated.", "0 for no limit."
UNITS_NAMED = frozenset({"layer", "layers", "address", "what"})
SHORT = {"layer": "-l", "method": "-m", "out": "-o"}
_LIST = re.compile(r"(?:Sequence|list|tuple)\[(?:(int|float)|.*?)(?:, \.\.\.)?\]$")
_TAG = re.compile(r"(\\*)(\[[a-z#/@][^[]*?])")


@dataclass(frozen=True)
class Typed:
    """How a parameter is written where its annotation does not say: a metavar, and what makes its value of the text."""

    metavar: str
    read: Callable[[str], Any] | None = None
    help: str = ""


MODEL = Typed(
    "MODEL",
    help="toon, run:DIR, small:WIDTH, torchvision:NAME, timm:NAME, hf:NAME_OR_DIR, keras:FILE, onnx:FILE, pt2:FILE, "
    "lightning:FILE?class=MODULE:CLASS, python:MODULE:FUNCTION, or the file or folder of a whole network. "
    "Options may follow: ?checkpoint=FILE&size=96&mean=0.5",
)
IMAGES = Typed(
    "IMAGES",
    help="Image files, folders and .tar files, or one data set: hf:NAME_OR_DIR?split=train or python:MODULE:NAME.",
)


@dataclass
class Call:
    """A command as it was typed.

    arguments : those of the public function, by name; networks are loaded when `model` or `run` needs them. drawing :
    the options of its figure. json : print the result as JSON. out : files to write. limit : how much is listed.
    study : whose concepts may be named.
    """

    name: str
    signature: Signature
    arguments: dict[str, Any]
    drawing: dict[str, Any] = field(default_factory=dict)
    json: bool = False
    out: list[Path] | None = None
    weights: str | None = None
    device: str | None = None
    study: Path | None = None
    limit: int | None = None
    _loaded: bool = False

    @property
    def model(self) -> Any:
        """The network, loaded."""
        self._load()
        return self.arguments["model"]

    def run(self, function: Callable[..., Any] | None = None, **more: Any) -> Any:
        """Call the public function, or another one with those of its arguments that it has, behind a progress bar."""
        self._load()
        arguments = self.arguments
        if function is None:
            function = getattr(importlib.import_module(innersight._HOME[self.name]), self.name)
        else:
            arguments = _taken(arguments, inspect.signature(function).parameters)
        if "progress" not in self.signature.parameters or "progress" in more:
            return function(**arguments, **more)
        with progress(self.name) as show:
            return function(**arguments, progress=show, **more)

    def deliver(self, result: Any, table: str = "", *, default: str | None = "", **drawing: Any) -> None:
        """Print the table or JSON of a result, write its files (or the default one), and list its notes.

        table : a function of `innersight.terminal`. default : `COMMAND.png` when empty, no file when None.
        """
        if table and not self.json:
            limit = {} if self.limit is None else {"limit": self.limit}
            typer.echo(getattr(importlib.import_module("innersight.terminal"), table)(result, **limit))
        name = f"{self.name}.png" if default == "" else default
        deliver(result, self.json, self.out, name, **self.drawing, **drawing)

    def check_study(self, folder: Path, name: str = "model") -> None:
        """Raise InnersightError, before the work, where a folder cannot become or is not the study of a network."""
        self._load()
        if folder.exists():
            from innersight.storage.store import Store

            Store.of_network(folder, self.arguments[name].digest(concepts=False))

    def report(self, model: Any, named: Iterable[Sequence[str]], folder: Path) -> None:
        """Write the report of the study that the command left something in; where that cannot be, say why.

        named : lists of image names, of which the study shows some where it is made for this.
        """
        from innersight.study.around import report_around

        try:
            with progress("report") as show:
                report = report_around(model, self.arguments["images"], named, folder, show)
        except InnersightError as error:
            typer.echo(f"note: no report was written: {printable(error)}", err=True)
        else:
            typer.echo(f"report: {printable(report.resolve())}", err=self.json)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        loaded = {
            name: load(self.arguments[name], self.weights if name == "model" else None, self.device)
            for name, one in self.signature.parameters.items()
            if "Model" in one.kinds and self.arguments.get(name) is not None
        }
        self.arguments |= loaded
        if self.study is not None:
            from innersight.call import with_concepts
            from innersight.concepts import read_concepts

            changed = with_concepts(tuple(loaded.values()), [read_concepts(self.study)])
            self.arguments |= zip(loaded, changed, strict=True)


def command(
    panel: str,
    arguments: Sequence[str] = ("model", "images"),
    *,
    without: Sequence[str] = (),
    typed: Mapping[str, Typed] | None = None,
    draws: str | None = None,
    writes: bool = True,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that makes a command of a function of a `Call`; the public function has the same name.

    panel : its group in the help. arguments : parameters that are typed without a name, in this order. without :
    parameters that a terminal cannot give, or that the decorated function declares itself: its keyword arguments are
    further options. typed : how parameters are written, where their annotation does not say. draws : the function of
    `innersight.plots` whose options are the command's too. writes : it takes --json and --out.
    """

    def decorate(handler: Callable[..., None]) -> Callable[..., None]:
        name = handler.__name__
        signature = public(name)
        drawn = figure(draws).parameters if draws else {}
        drawing = {key: one for key, one in drawn.items() if one.default is not REQUIRED and key not in without}
        reads = {"model": MODEL, "images": IMAGES, **(typed or {})}
        declared = dict(_declared(signature, arguments, without, reads))
        declared |= {key: _option(one, reads.get(key)) for key, one in drawing.items()}
        own = dict(_own(handler))
        if set(own) & set(declared):
            raise TypeError(f"{name} declares {set(own) & set(declared)} twice")
        rest = {**_network(signature), **_concepts(signature, panel, without), **(_OUTPUT if writes else {})}

        def run(**given: Any) -> None:
            asked = {key: value for key, value in given.items() if key not in own}
            call = Call(name, signature, _arguments(signature, asked, reads), **_taken(given, (*rest, "limit")))
            call.drawing = _taken(given, drawing)
            handler(call, **_taken(given, own))

        run.__signature__ = inspect.Signature([*declared.values(), *own.values(), *rest.values()])  # type: ignore[attr-defined]
        run.__annotations__ = {}
        run.__name__, run.__doc__ = name, None
        notes = inspect.getdoc(handler) or ""
        app.command(
            name,
            help="\n\n".join(filter(None, map(_escaped, (signature.summary, signature.details, notes)))),
            short_help=_escaped(signature.summary),
            rich_help_panel=panel,
            context_settings={"ignore_unknown_options": True} if _method_options(signature) else None,
        )(run)
        return handler

    return decorate


def _declared(
    signature: Signature, arguments: Sequence[str], without: Sequence[str], reads: Mapping[str, Typed]
) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield the arguments and options of a public function."""
    shown = signature.parameters
    for key in arguments:
        yield key, _argument(shown[key], reads.get(key))
    for key, one in shown.items():
        if key in (*arguments, *without) or one.hidden or _is_method_options(one):
            continue
        for option in one.options.parameters.values() if one.options and key not in reads else [one]:
            if option.name not in without and not option.hidden:
                yield option.name, _option(option, reads.get(option.name))


def _is_method_options(one: Parameter) -> bool:
    return one.name == "options" and one.options is None


def _method_options(signature: Signature) -> bool:
    """Say whether the function takes options of methods, written --METHOD.OPTION=VALUE."""
    return "options" in signature.parameters and _is_method_options(signature.parameters["options"])


def _items(one: Parameter) -> type | None:
    """Return the type of what a parameter takes several of; None where it takes one value."""
    if one.name == "images":
        return str
    found = (_LIST.match(kind) for kind in one.kinds if "int, int" not in kind)
    items = next(({"int": int, "float": float}.get(match[1], str) for match in found if match), None)
    return None if "str" in one.kinds and items is not str else items


def _kind(one: Parameter, reads: Typed | None) -> Any:
    """Return the type by which an option is declared."""
    kinds = set(one.kinds) - {"None"}
    if isinstance(one.default, bool):
        return bool
    if items := _items(one):
        return list[items]  # type: ignore[valid-type]
    if reads is not None or "Model" in kinds:
        return str
    if kinds <= {"int", "float"}:
        return float if "float" in kinds else int
    return Path if "Path" in kinds else str


def _argument(one: Parameter, reads: Typed | None) -> inspect.Parameter:
    kind: Any = _kind(one, reads)
    needed = one.default is REQUIRED
    info = typer.Argument(
        metavar=reads.metavar if reads else one.name.upper(), help=(reads.help if reads else "") or help_of(one)
    )
    default = inspect.Parameter.empty if needed else None
    return _parameter(one.name, kind if needed else kind | None, info, default)


def _option(one: Parameter, reads: Typed | None) -> inspect.Parameter:
    many, flag = _items(one) is not None, isinstance(one.default, bool)
    text = word(singular(one.name) if many else one.name)
    names = [f"--{text}/--no-{text}" if one.default is True else f"--{text}", *filter(None, [SHORT.get(text)])]
    kind, default = _kind(one, reads), one.default
    shown: Any = True
    if many and default is not REQUIRED:
        shown = default if isinstance(default, str) else ", ".join(map(str, default or ())) or False
    if (many or reads) and default is not REQUIRED:
        default = None
    if default is REQUIRED:
        default = inspect.Parameter.empty
    elif not flag:
        kind = kind | None
    info = typer.Option(
        *names,
        metavar=reads.metavar if reads else None,
        help=" ".join(filter(None, [help_of(one), MANY if many else "", UNLIMITED if _unlimited(one) else ""])),
        show_default=shown if default is not False else False,
    )
    return _parameter(one.name, kind, info, default)


def _unlimited(one: Parameter) -> bool:
    """Return whether a number is a limit that None lifts, which is written 0."""
    return "None" in one.kinds and isinstance(one.default, int) and not isinstance(one.default, bool)


def help_of(one: Parameter) -> str:
    """Return the documentation of a parameter as it stands in the help: nobody types None."""
    return _escaped(one.help.replace("when None", "when not given"))


def _parameter(name: str, kind: Any, info: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])


def _own(handler: Callable[..., None]) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield the further options that the decorated function declares."""
    hints = get_type_hints(handler, include_extras=True)
    for key, one in list(inspect.signature(handler).parameters.items())[1:]:
        if one.kind is one.KEYWORD_ONLY:
            yield key, one.replace(annotation=hints[key])


def _written(paths: list[Path] | None) -> list[Path] | None:
    """Refuse a file that could not be written before any work is done."""
    check(paths or [])
    return paths


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel="Output")]
StudyOut = Annotated[
    list[Path] | None,
    typer.Option(
        "--out",
        "-o",
        help="Study folder to keep it in and resume from, or a file (.png .json .safetensors). May be repeated.",
        rich_help_panel="Output",
    ),
]
_OUTPUT = {
    "json": inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json),
    "out": _parameter(
        "out",
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            callback=_written,
            rich_help_panel="Output",
            help="File to write: a figure (.png .svg .pdf), data (.json), raw values (.safetensors). May be repeated.",
        ),
        None,
    ),
}  # fmt: skip


def _network(signature: Signature) -> dict[str, inspect.Parameter]:
    """Return the options of `innersight.load` that a command with a network has."""
    models = [one for one in signature.parameters.values() if "Model" in one.kinds]
    names = ("weights", "device") if models and models[0].name == "model" else ("device",) if models else ()
    load = public("load").parameters
    return {
        key: _parameter(
            key, str | None, typer.Option(f"--{key}", help=help_of(load[key]), rich_help_panel="Network"), None
        )
        for key in names
    }


def _concepts(signature: Signature, panel: str, without: Sequence[str]) -> dict[str, inspect.Parameter]:
    """Return the option for the concepts of a study, of a command that takes names of layers or units."""
    if "study" in without or (panel != UNITS and not UNITS_NAMED & signature.parameters.keys()):
        return {}
    info = typer.Option(
        "--study",
        metavar="STUDY",
        help="Study whose concepts may be named: LAYER~NAME:7.",
        rich_help_panel="Network",
    )
    return {"study": _parameter("study", Path | None, info, None)}


def _arguments(signature: Signature, given: Mapping[str, Any], reads: Mapping[str, Typed]) -> dict[str, Any]:
    """Return the arguments of the public function by what was typed; those left away are left away."""
    found: dict[str, Any] = {}
    for key, one in signature.parameters.items():
        if one.options and key not in reads:
            fields = dict(_values(one.options, given, reads))
            kind = getattr(importlib.import_module(one.options.module), one.options.name)
            found[key] = made(kind, fields)
    found |= dict(_values(signature, given, reads))
    if _method_options(signature):
        # Unknown options arrive among the images: a method's own options are known only once it is looked up.
        found["images"], found["options"] = method_options(found["images"])
    return found


def _values(signature: Signature, given: Mapping[str, Any], reads: Mapping[str, Typed]) -> Iterator[tuple[str, Any]]:
    for key, one in signature.parameters.items():
        value: Any = given.get(key)
        if key not in given or value is None or (isinstance(value, list) and not value):
            continue
        if value == 0 and _unlimited(one):
            value = None
        read = reads[key].read if key in reads else None
        if read is not None:
            value = read(value)
        elif isinstance(value, list) and any(kind.startswith("tuple[") for kind in one.kinds):
            value = tuple(value)
        elif isinstance(value, list) and "str" in one.kinds and len(value) == 1:
            value = value[0]
        elif isinstance(value, str) and type(one.default) is int and value.isdecimal():
            value = int(value)
        yield key, value


def _taken(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {key: given[key] for key in names if key in given}


def _escaped(text: str) -> str:
    """Return text in which rich finds no markup."""
    return _TAG.sub(r"\1\1\\\2", text)
