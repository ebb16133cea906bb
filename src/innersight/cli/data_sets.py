"""Commands for whole data sets."""

import json as text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from innersight.cli.command import DATA_SETS, Call, Json, StudyOut, command
from innersight.cli.output import study_and_files
from innersight.cli.progress import progress
from innersight.errors import InnersightError, printable
from innersight.render.formats import check

if TYPE_CHECKING:
    from innersight.scan import Scan

AllLayers = Annotated[bool, typer.Option("--all", help="Scan every convolution, linear layer and block.")]
Sprites = Annotated[bool, typer.Option(help="Write sheets of every unit's examples into the study.")]
Estimate = Annotated[bool, typer.Option("--estimate", help="Print how long it will take, and stop.")]
Words = Annotated[Path | None, typer.Option(metavar="FILE", help="Label units by these words instead, one per line.")]
Clip = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the transformers CLIP model that knows them.")
]


@command(DATA_SETS, without=("out",), writes=False)
def scan(
    call: Call, *, all_layers: AllLayers = False, sprites: Sprites = True, json: Json = False, out: StudyOut = None
) -> None:
    """With --out STUDY the scan is stored there after every shard: run the same command again to resume.

    Sheets of every unit's examples are written to STUDY/sprites.
    """
    folder, files = study_and_files(out)
    call.json, call.out = json, files or None
    if all_layers:
        from innersight.layers import layers

        call.arguments["layers"] = [found.name for found in layers(call.model, measure=False)]
    result = call.run(out=folder)
    beside = folder or Path()
    call.deliver(result, "scan", default=str(beside / "scan.png"))
    if folder is not None and sprites:
        _write_sprites(result, folder)
    if files or json:
        return
    from innersight.render.figures import save_figure

    for asked, name, draw in (
        ("correlate", "correlation.png", result.correlation_figure),
        ("class_maps", "class-maps.png", result.class_figure),
    ):
        if call.arguments.get(asked):
            save_figure(draw(), beside / name)
            typer.echo(f"wrote {printable(beside / name)}")


@command(DATA_SETS, without=("out", "words", "study"), writes=False)
def concepts(call: Call, *, words: Words = None, clip: Clip = None, json: Json = False, out: StudyOut = None) -> None:
    """With --out STUDY the concepts are kept there: its pages show them, and commands with --study STUDY know them."""
    folder, files = study_and_files(out)
    call.json, call.out = json, files or None
    if clip is not None and words is not None:
        from innersight.dissection import clip_encoder, read_words

        call.arguments["words"] = read_words(words), clip_encoder(clip)
    elif (words is None) != (clip is None):
        raise InnersightError("--words FILE and --clip DIR belong together: CLIP compares words with images")
    result = call.run(out=folder)
    call.deliver(result, "concepts", default=str((folder or Path()) / "concepts.png"))
    if folder is not None:
        addresses = (f"{result.address}:{number}" for number in result.order)
        call.report(result.model, ([str(one.path) for one in result.scan.examples(a)] for a in addresses), folder)


def _write_sprites(result: "Scan", study: Path) -> None:
    """Write sheets of the examples; a scan of images that cannot be reopened has none, and notes it."""
    from innersight.image import ImageError
    from innersight.scan import write_sprites

    try:
        with progress("sprites") as show:
            sheets = write_sprites(result, study, show)
    except ImageError as error:
        typer.echo(f"note: no sprites written: {printable(error)}", file=sys.stderr)
    else:
        typer.echo(f"wrote {printable(study / 'sprites')}: {len(sheets)} sheets", file=sys.stderr)


@command(DATA_SETS, without=("out",), writes=False)
def dissect(call: Call, *, words: Words = None, clip: Clip = None, json: Json = False, out: StudyOut = None) -> None:
    """Label units by masks of parts (--masks), or by words and a CLIP model (--words and --clip).

    With --out STUDY the labels are kept there: its pages show them, and its search finds units by them.
    """
    folder, files = study_and_files(out)
    call.json, call.out = json, files or None
    masks = call.arguments.get("masks")
    if (masks is None) == (words is None and clip is None):
        raise InnersightError("dissect needs --masks FOLDER, or --words FILE and --clip DIR, and not both")
    if (words is None) != (clip is None):
        raise InnersightError("--words FILE and --clip DIR belong together: CLIP compares words with images")
    if folder is not None:
        call.check_study(folder)
    if words is None or clip is None:
        result = call.run()
    else:
        from innersight.dissection import clip_encoder, label, read_words

        result = call.run(label, words=read_words(words), encode=clip_encoder(clip))
    call.deliver(result, "dissection", default=str((folder or Path()) / "dissection.png"))
    if folder is not None:
        from innersight.dissection import keep_labels

        keep_labels(result, folder)


@command(DATA_SETS, without=("out", "study"), draws="atlas", writes=False)
def atlas(call: Call, *, estimate: Estimate = False, json: Json = False, out: StudyOut = None) -> None:
    """With --out STUDY the atlas is kept there: run the same command again to resume, and open STUDY/report.html.

    Write atlas.png unless --out names other files.
    """
    folder, files = study_and_files(out)
    check(files)
    call.json, call.out = json, files or None
    if estimate:
        from innersight.atlas import estimate as plan

        call.arguments.pop("ray", None)
        planned = call.run(plan, out=folder)
        typer.echo(text.dumps(vars(planned), indent=1) if json else str(planned))
        return
    result = call.run(out=folder)
    call.deliver(result, "atlas", default=str((folder or Path()) / "atlas.png"))
    if folder is not None:
        level = result.levels[0]
        call.report(result.model, ([result.crop_names[i]] for i in level.examples[:, 0].tolist()), folder)
