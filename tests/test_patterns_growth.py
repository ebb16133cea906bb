"""How patterns arose: the stages that are kept, films, and the same patterns after every epoch."""

import shutil
from pathlib import Path

import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from train_fixture import QUICK, Said, draw_tree
from typer.testing import CliRunner

import innersight.toons
from innersight.cli import app
from innersight.errors import InnersightError
from innersight.patterns import PatternGrowth, optimizer, over_epochs, patterns
from innersight.patterns.growth import grown as grown_patterns
from innersight.patterns.jobs import FinishedPattern, PatternJob
from innersight.patterns.objectives import resolve
from innersight.render import film as film_module
from innersight.render.film import HELD
from innersight.sources import load
from innersight.storage.store import Store
from innersight.study import Plan, study
from innersight.train import train

FIXED = {"seeds": 1, "until": "steps"}


def grown(what: object = "conv2:1,4", **options: object) -> PatternGrowth:
    found = patterns(tiny("in-place"), what, **{**FIXED, "steps": 20, "growth": True, **options}).growth
    assert found is not None
    return found


def test_a_stage_is_the_pattern_after_so_many_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    # Steps that fall at the end would begin to earlier in a shorter run.
    monkeypatch.setattr(optimizer, "rate", lambda *_: 1.0)
    found = grown()
    assert found.stages == (0, 1, 2, 3, 4, 6, 8, 11, 16, 20)
    assert tuple(found.images.shape[:2]) == (2, 10)
    for steps in (1, 6, 16, 20):
        alone = patterns(tiny("in-place"), "conv2:1,4", **FIXED, steps=steps)
        assert torch.equal(found.images[:, found.stages.index(steps)], alone.images.half()), steps
    assert not torch.equal(found.images[:, 0], found.images[:, 1])


def test_keeping_stages_changes_no_pattern() -> None:
    options = {"steps": 20, "seeds": 2}
    plain = patterns(tiny("in-place"), "conv2", **options)
    found = patterns(tiny("in-place"), "conv2", **options, growth=True)
    assert plain.growth is None
    assert torch.equal(plain.every, found.every)
    # Of two seeds the stages are those of the one that is shown.
    assert found.growth is not None
    assert torch.equal(found.growth.images[:, -1], found.images.half())


def test_what_was_finished_early_stands_there_finished() -> None:
    model = tiny("in-place")

    def finished(text: str, *stages: int) -> FinishedPattern:
        (objective,) = resolve(model, text)
        images = torch.stack([torch.full((3, 2, 2), stage / 32) for stage in stages]).half()
        last = images[-1:].float()
        return FinishedPattern(
            PatternJob(objective, objective, 0), last, last, last[:, 0], stages[-1], True, False, stages, images
        )

    found = grown_patterns(model, [finished("conv2:1", 0, 1, 2, 3), finished("conv2:2", 0, 1, 2, 3, 4, 6, 8, 9)], {})
    assert found.stages == (0, 1, 2, 3, 4, 6, 8, 9)
    assert (found.images[0, :, 0, 0, 0] * 32).tolist() == [0, 1, 2, 3, 3, 3, 3, 3]
    assert (found.images[1, :, 0, 0, 0] * 32).tolist() == [0, 1, 2, 3, 4, 6, 8, 9]


def test_early_layers_count_updates_through_windows() -> None:
    found = patterns(load("small:4"), "stem:0", seeds=1, until="steps", steps=3, size=160, growth=True)
    assert found.growth is not None
    assert found.growth.stages == (0, 1, 2, 3, 4, 6, 8, 11, 12)


def test_resumed_stages_are_those_of_one_run(tmp_path: Path) -> None:
    model, options = tiny("in-place"), {"steps": 9, "seeds": 1, "keep": tmp_path}
    plain = patterns(model, "conv2:1", **options)
    # Kept without its stages, it is drawn once more, and then no more.
    first = patterns(model, "conv2:1", **options, growth=True)
    seen: list[int] = []
    second = patterns(model, "conv2:1", **options, growth=True, progress=lambda state: seen.append(state.done))
    assert seen == []
    assert first.growth is not None
    assert second.growth is not None
    assert torch.equal(first.images, plain.images)
    assert second.growth.stages == first.growth.stages == (0, 1, 2, 3, 4, 6, 8, 9)
    assert torch.equal(second.growth.images, first.growth.images)


def test_inhibiting_patterns_grow_too() -> None:
    found = patterns(tiny("in-place"), "conv2:1", steps=5, seeds=1, negatives=True, growth=True)
    assert found.negatives is not None
    assert found.negatives.growth is not None
    assert found.negatives.growth.targets == ("-conv2:1",)


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_a_film_has_a_frame_for_every_stage(tmp_path: Path, ending: str) -> None:
    found = grown(steps=4)
    with PILImage.open(found.film(tmp_path / f"growth{ending}", seconds=0.2)) as film:
        assert film.n_frames == len(found.stages) == 5
        times, frames = [], []
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            times.append(film.info["duration"])
            frames.append(film.convert("RGB").tobytes())
    assert times == [200] * 4 + [200 * HELD]
    assert len(set(frames)) == 5


def test_a_film_for_players(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = grown(steps=2)
    if shutil.which("ffmpeg"):
        file = found.film(tmp_path / "growth.mp4")
        assert file.read_bytes()[4:8] == b"ftyp"
    monkeypatch.setattr(film_module.shutil, "which", lambda _: None)
    with pytest.raises(InnersightError, match=r"\.mp4 needs the program ffmpeg; install it, or write \.webp or \.gif"):
        found.film(tmp_path / "growth.mp4")


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("a.png", {}, "save a film as .webp, .gif or .mp4"),
        ("a.gif", {"seconds": float("nan")}, "seconds=nan: give a time from 0.02 to 60"),
        ("a.gif", {"seconds": 0}, "seconds=0: give a time from 0.02 to 60"),
        ("a.gif", {"columns": 0}, "columns"),
    ],
)
def test_films_that_cannot_be(tmp_path: Path, name: str, how: dict[str, float], words: str) -> None:
    with pytest.raises(InnersightError, match=words):
        grown(steps=1).film(tmp_path / name, **how)
    assert not list(tmp_path.iterdir())


def test_the_figure_has_a_row_for_each_pattern(tmp_path: Path) -> None:
    found = grown(steps=2)
    titles = [axis.get_title() for axis in found.figure().axes]
    assert titles == [f"conv2:{unit}\nupdate {stage}" for unit in (1, 4) for stage in (0, 1, 2)]
    assert found.to_json()["stages"] == [0, 1, 2]
    assert found.save(tmp_path / "a.png").stat().st_size > 1000


def test_the_patterns_after_every_epoch(tmp_path: Path) -> None:
    tree = draw_tree(tmp_path / "images")
    train(tree, tmp_path / "run", report=Said(), keep_epochs=True, **{**QUICK, "epochs": 2})
    source = f"run:{tmp_path / 'run'}"
    found = over_epochs(load(source), "stage1:0-1", steps=3, size=32)
    assert (found.unit, found.stages, found.targets) == ("epoch", (0, 1, 2), ("stage1:0", "stage1:1"))
    then = patterns(load(f"{source}?epoch=1"), "stage1:0-1", steps=3, size=32, seeds=1)
    assert torch.equal(found.images[:, 1], then.images.half())
    some = over_epochs(load(source), "stage1:0-1", epochs=[2, 0, 2], steps=3, size=32)
    assert some.stages == (0, 2)
    assert torch.equal(some.images, found.images[:, [0, 2]])
    with pytest.raises(InnersightError, match="has no epoch '7'; it has 0 to 2"):
        over_epochs(load(source), "stage1:0", epochs=[7], steps=1)


def test_the_command_writes_films(tmp_path: Path) -> None:
    tree = draw_tree(tmp_path / "images")
    train(tree, tmp_path / "run", report=Said(), keep_epochs=True, **{**QUICK, "epochs": 2})
    options = ["stage1:0", "--steps", "2", "--size", "32", "--out", str(tmp_path / "a.json"), "--film"]
    natural = ["--epochs", "--natural", "0.5", "--image", str(tree), "--judge", "small:4"]
    for more, frames in (([], 3), (["--epochs", "--seeds", "1"], 3), (natural, 3)):
        film = str(tmp_path / f"film{len(more)}.gif")
        done = CliRunner().invoke(app, ["patterns", f"run:{tmp_path / 'run'}", *options, film, *more])
        assert done.exit_code == 0, done.output
        assert f"wrote {film}" in done.output
        with PILImage.open(film) as found:
            assert found.n_frames == frames
    told = CliRunner().invoke(app, ["patterns", "small:4", "stage1:0", "--judge", "small:4", "--estimate"])
    assert told.exit_code == 0, told.output
    assert "1 objectives, 2 images" in told.output


def test_epochs_need_a_run_that_kept_them() -> None:
    with pytest.raises(InnersightError, match="small-4 was not opened from a training run: give run:DIR"):
        over_epochs(load("small:4"), "stage1:0")
    with pytest.raises(InnersightError, match="train with keep_epochs=True"):
        over_epochs(load(f"run:{Path(innersight.toons.__file__).parent / 'run'}"), "stage1:0", steps=1)
    with pytest.raises(InnersightError, match="epochs is empty"):
        over_epochs(load(f"run:{Path(innersight.toons.__file__).parent / 'run'}"), "stage1:0", epochs=[])


def test_a_study_keeps_the_stages_of_its_patterns(tmp_path: Path) -> None:
    plan = Plan(layers=("relu2",), units=2, steps=5, seeds=1, methods=("gradcam",), trust=0, concepts=0)
    made = study(tiny("in-place"), [image(1), image(2)], tmp_path / "s", plan=plan)
    item = Store.open(tmp_path / "s").get("patterns/relu2/0")
    assert item is not None
    assert item.document["stages"] == [0, 1, 2, 4, 5]
    tensors = item.tensors()
    assert tensors["growth"].dtype == torch.uint8
    assert torch.equal(tensors["growth"][:, -1], (tensors["images"].half().float() * 255).round().byte())
    made.render()
    from innersight.storage.study_folder import StudyFolder, parsed, read
    from innersight.web.shell import documents

    paths = documents(StudyFolder(tmp_path / "s"))
    layer, classes = (parsed(read(paths[key]), paths[key]) for key in ("layer/relu2", "classes"))
    assert layer["patterns"]["growth"]["stages"] == [0, 1, 2, 4, 5]
    assert layer["patterns"]["growth"]["sheet"]["count"] == 2 * 5
    # Classes take twice as many updates.
    assert classes["patterns"]["growth"]["stages"] == [0, 1, 2, 4, 8, 10]
