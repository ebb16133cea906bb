"""The command line: parse and delegate. torch is imported only when work starts."""

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innersight import __version__
from innersight.commands import (
    deliver,
    desktop,
    drawing,
    kept_beside,
    list_skipped,
    method_options,
    progress,
    study_and_files,
)
from innersight.errors import InnersightError, printable
from innersight.render.formats import FIGURES, check

if TYPE_CHECKING:
    from innersight.model import Model

app = typer.Typer(
    name="innersight",
    help="See what an image classifier sees. Try `innersight demo` first.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="toon, run:DIR, torchvision:NAME, timm:NAME, hf:NAME_OR_DIR, keras:FILE, onnx:FILE, pt2:FILE, "
        "lightning:FILE?class=MODULE:CLASS or python:MODULE:FUNCTION; then ?checkpoint=FILE&size=96&mean=0.5 ...",
    ),
]
Files = Annotated[list[Path], typer.Argument(metavar="PICTURES...", help="picture files or folders")]
Weights = Annotated[str | None, typer.Option(help="'hub' or a weight file; nothing is ever unpickled")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, mps ...; the GPU where there is one")]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Layers = Annotated[list[str] | None, typer.Option("--layer", "-l", help="layer name; may be repeated")]
Target = Annotated[str | None, typer.Option(help="class label or number; the predicted class when not given")]


def _written(paths: list[Path] | None) -> list[Path] | None:
    """Refuse a file that could not be written before any work is done."""
    check(paths or [])
    return paths


def _out(default: str, kinds: str) -> Any:
    return typer.Option(
        "--out", "-o", callback=_written, help=f"file to write, {kinds}; may be repeated [default: {default}]"
    )


Out = Annotated[list[Path] | None, _out("COMMAND.png", ".png .svg .pdf figure, .json data, .safetensors raw values")]


def main() -> None:
    """Run the command line; bad input ends with one sentence and status 2, a full disk and its like with status 1."""
    # Names of files may hold what the terminal's encoding cannot write.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except InnersightError as error:
        typer.echo(f"innersight: {printable(error)}", err=True)
        sys.exit(2)
    except OSError as error:
        typer.echo(f"innersight: {printable(error)}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("innersight: stopped; finished work is kept", err=True)
        sys.exit(130)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of the study")] = Path("demo"),
    view: Annotated[bool, typer.Option(help="open the report in a browser when there is a desktop")] = True,
) -> None:
    """Study the embedded network on drawn characters and open the report."""
    from innersight.demo import demo as run

    with progress("demo") as watch:
        report = run(out, watch=watch)
    typer.echo(f"report: {printable(report.resolve())}")
    if view and desktop():
        typer.launch(str(report.resolve()))


@app.command()
def train(
    folder: Annotated[Path, typer.Argument(help="pictures as FOLDER/CLASS/*.jpg")],
    out: Annotated[Path, typer.Option("--out", "-o", help="run folder to write")],
    net: Annotated[str, typer.Option(help="small:WIDTH, timm:NAME, torchvision:NAME or run:DIR")] = "small",
    weights: Weights = None,
    val: Annotated[Path | None, typer.Option(help="validation folder; else a share is held out")] = None,
    holdout: Annotated[float, typer.Option(help="stratified share held out")] = 0.1,
    epochs: Annotated[int | None, typer.Option(help="passes over the pictures; by the size of the folder")] = None,
    size: Annotated[int | None, typer.Option(help="input side in pixels; 80, or the network's own")] = None,
    batch: Annotated[int, typer.Option(help="pictures per step")] = 64,
    lr: Annotated[float | None, typer.Option(help="peak learning rate")] = None,
    patience: Annotated[int, typer.Option(help="epochs without progress before it ends; 0 never")] = 10,
    seed: Annotated[int, typer.Option(help="of split, weights, order and augmentation")] = 0,
    devices: Annotated[str, typer.Option(help="passed to Lightning")] = "auto",
    strategy: Annotated[str, typer.Option(help="passed to Lightning")] = "auto",
    nodes: Annotated[int, typer.Option(help="passed to Lightning")] = 1,
    balance: Annotated[bool, typer.Option(help="weigh rare classes more")] = True,
    shuffle_labels: Annotated[
        bool, typer.Option("--shuffle-labels", help="learn by heart what cannot be seen: for `trust --against`")
    ] = False,
    telemetry_every: Annotated[int, typer.Option(help="steps between records of every layer")] = 25,
    half: Annotated[bool, typer.Option(help="store the weights as float16")] = False,
    resume: Annotated[bool, typer.Option(help="go on with a run that Ctrl-C ended")] = False,
    overwrite: Annotated[bool, typer.Option(help="begin anew in a finished run folder")] = False,
) -> None:
    """Train a classifier on a folder of pictures and record how it learns."""
    options = {key: value for key, value in locals().items() if key not in ("folder", "out")}
    from innersight.train import train as run

    result = run(folder, out, **options, say=lambda text: typer.echo(text, err=True))
    typer.echo(result.summary())


@app.command()
def predict(
    model: ModelName,
    pictures: Files,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Say what the network sees; for class-per-folder trees also accuracy and confusions."""
    from innersight.predict import predict as run

    result = run(_load(model, weights, device), list(pictures))
    if not json_:
        from innersight import terminal

        typer.echo(terminal.prediction(result))
    deliver(result, json_, out, None)


@app.command()
def layers(
    model: ModelName,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    all_: Annotated[bool, typer.Option("--all", help="also activations, norms and pools")] = False,
    measure: Annotated[bool, typer.Option(help="receptive field, stride and share of compute")] = True,
) -> None:
    """List the layers of a network: name, kind, units, grid, what a place sees, parameters, share of compute."""
    from dataclasses import asdict

    from innersight.layers import layers as run
    from innersight.layers import story, unreadable

    opened = _load(model, weights, device)
    found = run(opened, all=all_, measure=measure)
    if json_:
        typer.echo(json.dumps([asdict(layer) for layer in found], indent=1))
        return
    from innersight import terminal

    typer.echo(terminal.layers(opened, found, story(opened), unreadable(opened)))


@app.command()
def maps(
    model: ModelName,
    pictures: Files,
    layer: Layers = None,
    shared: Annotated[bool, typer.Option(help="one colour scale for all units of a layer")] = False,
    overlay: Annotated[bool, typer.Option(help="lay the maps over the picture")] = False,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Show what every unit of chosen layers responds to in a picture."""
    from innersight.maps import maps as run

    result = run(_load(model, weights, device), list(pictures), layer)
    deliver(result, json_, out, "maps.png", shared=shared, overlay=overlay)


@app.command()
def compare(
    model: ModelName,
    pictures: Files,
    layer: Annotated[str, typer.Option("--layer", "-l", help="layer name")],
    top: Annotated[int, typer.Option(help="units to list")] = 10,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Rank the units that see the same thing in two or more pictures."""
    from innersight.compare import compare as run

    result = run(_load(model, weights, device), list(pictures), layer)
    if not json_:
        for row in result.rank(top):
            typer.echo(f"{printable(row['address']):<24} {row['score']:.3f}  {row['reason']}")
    deliver(result, json_, out, "compare.png", count=top)


@app.command()
def find(
    model: ModelName,
    like: Annotated[
        list[str],
        typer.Option(metavar="PICTURE@x0,y0,x1,y1", help="tight box round the thing, 0 to 1; may be repeated"),
    ],
    pictures: Annotated[
        list[Path] | None, typer.Argument(metavar="[PICTURES]...", help="files or folders that do not show the thing")
    ] = None,
    not_: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="PICTURE[@x0,y0,x1,y1]", help="what the thing is not; may be repeated"),
    ] = None,
    layer: Layers = None,
    top: Annotated[int, typer.Option(help="units to list")] = 8,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Find the filter that answers to a region of a picture, such as the hair."""
    from innersight.find import find as run

    result = run(_load(model, weights, device), like, but_not=not_ or (), layers=layer, pictures=pictures or ())
    if not json_:
        typer.echo(f"{len(result.order)} units of {printable(', '.join(result.maps))}")
        for row in result.rank(top):
            typer.echo(f"{printable(row['address']):<24} {row['score']:.3f}  {row['reason']}")
    deliver(result, json_, out, "find.png", count=top)


@app.command()
def ablate(
    model: ModelName,
    pictures: Files,
    layer: Annotated[str, typer.Option("--layer", "-l", help="layer name")],
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="label or number; may be repeated [default: those predicted]")
    ] = None,
    to: Annotated[str, typer.Option(help="what takes the place of a unit's map: zero, or mean")] = "zero",
    top: Annotated[int, typer.Option(help="units to list for each class")] = 10,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Switch off every unit of a layer in turn, to see which ones a class depends on."""
    from innersight.ablation import ablate as run

    result = run(_load(model, weights, device), list(pictures), layer, to=to, classes=class_)
    if not json_:
        from innersight import terminal

        typer.echo(terminal.ablation(result, top))
    deliver(result, json_, out, "ablate.png", count=top)


_DRAWING = (
    "steps", "size", "parameterize", "statistics", "seed", "seeds", "negatives", "variants", "of", "begin", "until",
    "precision", "compile",
)  # fmt: skip


@app.command()
def patterns(
    model: ModelName,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT...",
            help="layer:0-15, layer:7@3,4, layer, class:NAME, dream(layer) and its like, or a sum: 'layer:1 - layer:2'",
        ),
    ],
    steps: Annotated[int, typer.Option(help="updates of each picture, at most")] = 256,
    size: Annotated[
        str | None, typer.Option(help="side in pixels, or HEIGHTxWIDTH; the network's own when not given")
    ] = None,
    parameterize: Annotated[str, typer.Option(help="fourier, maco or pixels")] = "fourier",
    statistics: Annotated[
        str, typer.Option(help="colours and spectrum of photographs, or of the pictures")
    ] = "photographs",
    seed: Annotated[int, typer.Option(help="of the random pixels")] = 0,
    seeds: Annotated[int, typer.Option(help="pictures drawn of each; the strongest is shown")] = 2,
    negatives: Annotated[bool, typer.Option("--negatives", help="also what switches each off")] = False,
    variants: Annotated[int, typer.Option(help="pictures of each that are to differ")] = 1,
    picture: Annotated[list[Path] | None, typer.Option(help="for natural maxima and examples; file or folder")] = None,
    of: Annotated[Path | None, typer.Option(help="the picture that caricature and inversion look at")] = None,
    begin: Annotated[Path | None, typer.Option(help="start from this picture")] = None,
    until: Annotated[str, typer.Option(help="converged: end when it stops rising; steps: make all")] = "converged",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile; for hundreds of units")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="say how long it takes, and end")] = False,
    preview: Annotated[Path | None, typer.Option(help="picture file rewritten while they are drawn")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="folder of finished pictures, to go on from [default: by --out]")
    ] = None,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Find the picture that drives each unit or class most, from random pixels. Run again to go on after Ctrl-C."""
    asked = {key: value for key, value in locals().items() if key in _DRAWING} | {"pictures": picture or None}
    check([preview] if preview else [], FIGURES)
    asked["size"] = None if size is None else _sides(size)
    from innersight.patterns import estimate as plan
    from innersight.patterns import patterns as run

    opened = _load(model, weights, device)
    if estimate:
        planned = plan(opened, what, **asked)
        typer.echo(json.dumps(vars(planned), indent=1) if json_ else str(planned))
        return
    with kept_beside(out, "patterns.png", keep) as folder:
        with drawing("patterns", preview) as watch:
            result = run(opened, what, **asked, keep=folder, progress=watch)
        deliver(result, json_, out, "patterns.png")


def _sides(text: str) -> int | tuple[int, int]:
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise InnersightError(f"size={text!r}: give a side in pixels such as 96, or HEIGHTxWIDTH such as 64x96")
    sides = [int(part) for part in parts]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _methods(chosen: list[str] | None, default: list[str] | str) -> list[str] | str:
    """Return the methods named, or the word for many of them."""
    many = [name for name in chosen or () if name in ("all", "quick")]
    return many[0] if many else chosen or default


@app.command(context_settings={"ignore_unknown_options": True})
def explain(
    model: ModelName,
    pictures: Files,
    target: Target = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="see `innersight methods`; all for every one that fits, or quick"),
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option("--layer", "-l", help="where class activation maps are read; may be repeated")
    ] = None,
    versus: Annotated[
        str | None, typer.Option(help="why not this class? a label, a number or runner-up: its score is taken off")
    ] = None,
    of: Annotated[str, typer.Option(help="logit or probability")] = "logit",
    like: Annotated[Path | None, typer.Option(help="what makes the pictures like this one, instead of a class")] = None,
    seed: Annotated[int, typer.Option(help="of the methods that draw at random")] = 0,
    shared: Annotated[bool, typer.Option("--shared", help="one scale for all pictures of a method")] = False,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Show which part of a picture decided the class.

    A method's own options are written --METHOD.OPTION=VALUE, such as --gradcam.relu=true; see `innersight methods`.
    """
    from innersight.heatmaps import explain as run

    # Unknown options arrive among the pictures: a method's own options are known only once it is looked up.
    files, options = method_options([str(path) for path in pictures])
    names = _methods(method, ["gradcam", "saliency"])
    result = run(
        _load(model, weights, device), files, target, names, layers=layer, versus=versus,
        of=of, like=like, options=options, seed=seed, shared=shared,
    )  # fmt: skip
    if not json_:
        typer.echo(f"read at {', '.join(result.layers)}: {result.why}")
        for line in result.left_out:
            typer.echo(f"left out: {line}")
        for name, doubt in dict.fromkeys((entry.picture.name, entry.doubt) for entry in result.entries if entry.doubt):
            typer.echo(printable(f"{name}: {doubt}"))
    deliver(result, json_, out, "explain.png")


@app.command(context_settings={"ignore_unknown_options": True})
def trust(
    model: ModelName,
    pictures: Files,
    target: Target = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="see `innersight methods`; quick (the default), or all"),
    ] = None,
    layer: Annotated[str | None, typer.Option("--layer", "-l", help="where class activation maps are read")] = None,
    most: Annotated[int, typer.Option(help="pictures drawn at random where there are more; 0 for all")] = 32,
    regions: Annotated[
        Path | None, typer.Option(metavar="PATH", help="CSV file of boxes (file,x0,y0,x1,y1) or folder of masks")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="the same network trained on shuffled labels")
    ] = None,
    steps: Annotated[int, typer.Option(help="portions in which pixels are removed")] = 10,
    baseline: Annotated[str, typer.Option(help="what takes their place: blur, inpaint, mean or noise")] = "blur",
    seed: Annotated[int, typer.Option(help="of all that is random")] = 0,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Out = None,
) -> None:
    """Say which heatmap methods may be believed on this network, before you read any heatmap.

    Against random, centre and edge maps, shuffled weights, mosaics of the pictures, and boxes where there are any.
    """
    from innersight import terminal
    from innersight.trust import trust as run

    files, options = method_options([str(path) for path in pictures])
    opened = _load(model, weights, device)
    other = None if against is None else _load(against, None, device)
    with progress("trust") as watch:
        result = run(
            opened, files, _methods(method, "quick"), target=target, steps=steps, baseline=baseline, seed=seed,
            layer=layer, options=options, regions=regions, against=other, most=most or None, watch=watch,
        )  # fmt: skip
    if not json_:
        typer.echo(terminal.trust(result))
    deliver(result, json_, out, "trust.png")


@app.command()
def scan(
    model: ModelName,
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURES...", help="folders, .tar files or picture files")],
    layer: Layers = None,
    all_: Annotated[bool, typer.Option("--all", help="every convolution, linear layer and block")] = False,
    top: Annotated[int, typer.Option(help="pictures shown for each unit")] = 9,
    batch: Annotated[int, typer.Option(help="pictures in one forward pass")] = 32,
    workers: Annotated[int | None, typer.Option(help="threads that decode [default: one per core, up to 4]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="begin anew in a study that has a scan")] = False,
    weights: Weights = None,
    device: Device = None,
    json_: Json = False,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help="study folder to keep the scan in and go on from, or a file, .png .json ..."),
    ] = None,
) -> None:
    """Find what excites each unit in a whole folder of pictures, and which classes it tells apart.

    With --out STUDY it is kept there after every 512 pictures: run the same command again to go on after a kill.
    """
    from innersight.layers import layers as listed
    from innersight.scan import scan as run

    folders, files = study_and_files(out)
    opened = _load(model, weights, device)
    names = [found.name for found in listed(opened)] if all_ else layer
    with progress("scan") as watch:
        result = run(
            opened, list(pictures), names, top=top, batch=batch, workers=workers, out=folders, overwrite=overwrite,
            watch=watch,
        )  # fmt: skip
    if not json_:
        from innersight import terminal

        typer.echo(terminal.scan(result))
    for note in result.notes:
        typer.echo(f"note: {printable(note)}", err=True)
    deliver(result, json_, files or None, "scan.png" if folders is None else str(folders / "scan.png"))


@app.command()
def study(
    model: ModelName,
    pictures: Files,
    out: Annotated[Path, typer.Option("--out", "-o", help="study folder; made, or gone on with")] = Path("study"),
    layer: Layers = None,
    units: Annotated[int, typer.Option(help="patterns for each layer; 0 for none")] = 24,
    steps: Annotated[int, typer.Option(help="updates of each pattern, at most")] = 160,
    seeds: Annotated[int, typer.Option(help="pictures drawn of each pattern; the strongest is shown")] = 2,
    size: Annotated[int | None, typer.Option(help="side of the patterns in pixels")] = None,
    target: Target = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="see `innersight methods`; quick (the default), or all"),
    ] = None,
    seed: Annotated[int, typer.Option(help="of the patterns")] = 0,
    weights: Weights = None,
    device: Device = None,
    report_: Annotated[Path | None, typer.Option("--report", help="report file [default: OUT/report.html]")] = None,
) -> None:
    """Do everything for a model and pictures, and write the report. Run again to go on after an interruption."""
    from innersight.study import Plan
    from innersight.study import study as run

    methods_ = tuple(method) if method else Plan.methods
    plan = Plan(tuple(layer or ()), units, steps, size, methods_, target, seed, seeds)
    opened = _load(model, weights, device)
    with progress("study") as watch:
        result = run(opened, list(pictures), out, plan=plan, watch=watch)
    typer.echo(f"computed {result.computed} items, reused {result.reused}")
    typer.echo(f"report: {printable(result.report(report_ or out / 'report.html').resolve())}")
    list_skipped(result.skipped)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="study folder")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="file [default: STUDY/report.html]")] = None,
) -> None:
    """Write a study as one HTML file that opens offline; needs neither the model nor the pictures."""
    from innersight.study import Study

    path = Study.open(folder).report(out or folder / "report.html")
    typer.echo(f"report: {printable(path.resolve())}")


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="study folder")],
    port: Annotated[int, typer.Option(help="port on 127.0.0.1")] = 8765,
) -> None:
    """Serve a study on this machine only and open it in the browser."""
    from innersight.study import Study

    Study.open(folder).view(port=port)


@app.command()
def methods() -> None:
    """List the heatmap methods with their source, when to use them, and their options."""
    from innersight import terminal

    typer.echo(terminal.methods())


@app.command()
def toons(
    folder: Annotated[Path, typer.Argument(help="folder to write, as FOLDER/CLASS/*.png")],
    per_class: Annotated[int, typer.Option(help="pictures of each character")] = 400,
    seed: Annotated[int, typer.Option(help="of the first picture")] = 0,
    size: Annotated[int, typer.Option(help="side in pixels")] = 96,
) -> None:
    """Draw the embedded characters into a class-per-folder tree, to train on."""
    from innersight.toons import write

    typer.echo(f"{write(folder, per_class=per_class, seed=seed, size=size)} pictures in {printable(folder)}")


@app.command()
def doctor() -> None:
    """Say what is installed, which devices there are, and what an extra would add."""
    from innersight import terminal

    typer.echo(terminal.doctor())


def _load(name: str, weights: str | None, device: str | None) -> "Model":
    from innersight.sources import load

    model = load(name, weights=weights, device=device)
    for note in model.notes:
        typer.echo(f"note: {printable(note)}", err=True)
    return model


if __name__ == "__main__":
    main()
