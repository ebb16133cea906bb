"""Options behind a model's name."""

from pathlib import Path

import pytest

from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.sources import load, query


def test_options_are_parsed_by_kind() -> None:
    asked = query.read(
        {
            "classes": "7",
            "checkpoint": "a=b.pth",
            "size": "64x96",
            "channels": "4",
            "mean": "0.5",
            "std": "0.1,0.2,0.3,0.4",
            "fit": "squash",
            "crop": "0.9",
            "resample": "bicubic",
            "display": "3,2,1",
            "class": "pkg.mod:Net",
        },
        own=("class_",),
    )
    assert (asked.classes, asked.checkpoint, asked.own) == (7, "a=b.pth", {"class_": "pkg.mod:Net"})
    spec = query.with_stated(InputSpec(224, 224, guessed=("height", "width", "mean", "std")), asked.stated)
    assert spec == InputSpec(
        64, 96, 4, (0.5,) * 4, (0.1, 0.2, 0.3, 0.4), "squash", 0.9, "bicubic", (3, 2, 1), guessed=()
    )


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("hf:a/b", ("hf", "a/b", {})),
        ("onnx:what?.onnx", ("onnx", "what?.onnx", {})),
        ("onnx:a.onnx?size=96", ("onnx", "a.onnx", {"size": "96"})),
        ("onnx:what?.onnx?size=96", ("onnx", "what?.onnx", {"size": "96"})),
        ("toon?labels=C:\\names.txt", ("toon", "", {"labels": "C:\\names.txt"})),
        ("timm:a?weights=w.pth", ("timm", "a", {"checkpoint": "w.pth"})),
        ("resnet18?size=96", ("resnet18", "", {"size": "96"})),
        ("run:C:\\runs?a=1&b", ("run", "C:\\runs?a=1&b", {})),
        ("lightning:a.ckpt?class=m:C&mean=1,2", ("lightning", "a.ckpt", {"class": "m:C", "mean": "1,2"})),
        ("toon", ("toon", "", {})),
    ],
)
def test_names_and_options_part(source: str, parts: tuple[str, str, dict[str, str]]) -> None:
    assert query.split(source) == parts


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sise=96", r"no option 'sise' for a model; did you mean size"),
        ("checkpiont=a", r"did you mean checkpoint\?"),
        ("size=big", "size='big': give 96, or HEIGHTxWIDTH"),
        ("classes=many", "classes='many': give a whole number"),
        ("mean=a,b", "mean='a,b': give one number, or one for each channel"),
        ("fit=stretch", "fit='stretch': give crop or squash"),
        ("resample=cubic", "resample='cubic': give nearest, box"),
        ("display=r", "display='r': give the three bands"),
        ("display=0,1,9", r"display=\(0, 1, 9\): give three band numbers"),
        ("crop=2", "crop=2.0: give a fraction"),
        ("mean=0.1,0.2", "need one value for each of 3 channels"),
        ("labels=nowhere.txt", "labels='nowhere.txt': cannot be read"),
        ("class=a:b", r"no option 'class'"),
        ("size=96&size=64", "size is stated twice"),
        ("checkpoint=a&weights=b", "checkpoint is stated twice"),
        ("classes=99999999999", "classes=99999999999: give a number from 1 to 1,000,000"),
        ("classes=0", "classes=0: give a number from 1 to 1,000,000"),
        ("channels=5000", "channels='5000': give a whole number from 1 to 4,096"),
        ("channels=4&size=99999", "has more than 67,108,864 values"),
        ("labels=/dev/zero", "labels='/dev/zero': cannot be read"),
    ],
)
def test_options_that_cannot_be_read(text: str, why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        load(f"small:4?{text}")


def test_an_origins_own_option_is_named_too() -> None:
    with pytest.raises(InnersightError, match=r"no option 'clas' for a model; did you mean class"):
        load("lightning:a.ckpt?clas=m:C")


def test_a_source_text_can_say_everything(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ada\n\nbea\ncyd \n")
    model = load(f"small:4?classes=3&labels={tmp_path / 'names.txt'}&size=64&channels=2&std=0.5&crop=0.8")
    assert model.labels == ("ada", "bea", "cyd")
    assert (model.input.shape, model.input.std, model.input.crop) == ((2, 64, 64), (0.5, 0.5), 0.8)
    assert model.net.stem[0].in_channels == 2
