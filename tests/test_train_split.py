"""What judges was not learned from: by content, through copies, classes and chains of runs."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from train_fixture import QUICK, Said, assert_same_weights, draw

import innersight as ins
from innersight import terminal
from innersight.errors import InnersightError
from innersight.sources.run_card import read_card
from innersight.train import data, train
from innersight.train.split import History, divide, groups_of, history_of, judged

pytestmark = pytest.mark.usefixtures("own_cache")
ONE: dict[str, Any] = {**QUICK, "epochs": 1}
ON: dict[str, Any] = {key: value for key, value in ONE.items() if key not in ("net", "size")}


def known(targets: np.ndarray, contents: list[tuple[str, str]] | None = None) -> data.TrainingImages:
    count = len(targets)
    return data.TrainingImages(
        tuple("abcdef"[: int(targets.max()) + 1]), np.zeros((count, 1, 1, 3), np.uint8), np.arange(count), targets,
        tuple(f"{n}.png" for n in range(count)), (),
        contents=tuple(contents or [(f"b{n}", f"p{n}") for n in range(count)]),
    )  # fmt: skip


def rng(name: str) -> np.random.Generator:
    return np.random.default_rng(len(name))


def of_run(run: Path) -> tuple[set[str], set[str]]:
    """Digests that a run learned from, and held out."""
    found = json.loads((run / "split.json").read_text())["digests"]
    return set(found["training"]), set(found["held_out"])


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.floats(0.05, 0.9), st.integers(0, 5))
def test_the_split_has_the_same_share_of_every_class(counts: list[int], holdout: float, seed: int) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    if max(counts) < 2:
        if sum(counts):
            with pytest.raises(InnersightError, match="none can be held out"):
                divide(known(targets), None, holdout=holdout, seed=seed)
        return
    found = divide(known(targets), None, holdout=holdout, seed=seed)
    assert sorted([*found.training, *found.held_out]) == list(range(len(targets)))
    assert found.doubt is None
    for number, count in enumerate(counts):
        own = int((targets[found.held_out] == number).sum())
        assert own <= max(0, count - 1)
        assert own == min(max(1, round(count * holdout)), max(0, count - 1))
    again = divide(known(targets), None, holdout=holdout, seed=seed)
    assert np.array_equal(found.held_out, again.held_out)


# Few contents, so that there are copies, of bytes or of pixels, within a class and across classes.
contents = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 9)), min_size=6, max_size=40)


@given(contents, st.floats(0.1, 0.6), st.integers(0, 3), st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_no_content_is_on_both_sides_or_was_learned_before(
    rows: list[tuple[int, int, int]], holdout: float, seed: int, trained: set[int], held: set[int]
) -> None:
    targets = np.array([row[0] for row in rows])
    images = known(targets, [(f"b{a}", f"p{b}") for _, a, b in rows])
    history = History("first", frozenset(f"b{n}" for n in trained), frozenset(f"p{n}" for n in held))
    try:
        found = divide(images, history, holdout=holdout, seed=seed)
    except InnersightError:
        return
    sides = [{digest for n in side for digest in images.contents[n]} for side in (found.training, found.held_out)]
    assert not sides[0] & sides[1]
    groups = groups_of(images.contents)
    # Each content judges once, and only where one class has it.
    assert len(set(groups[found.held_out])) == len(found.held_out)
    for n in found.held_out:
        assert len(set(targets[groups == groups[n]])) == 1
    if found.doubt is None:
        assert not sides[1] & history.trained
    else:
        assert found.doubt.startswith(f"not held out: {len(found.held_out)} of {len(found.held_out)} were training")
    for n in range(len(rows)):
        if n not in found.training and n not in found.held_out:
            assert groups[n] in groups[found.held_out]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=30))
def test_groups_are_the_connected_ones(rows: list[tuple[int, int]]) -> None:
    groups = groups_of([(f"b{a}", f"p{b}") for a, b in rows])
    reach = np.array([[a == c or b == d for c, d in rows] for a, b in rows], dtype=bool).reshape(len(rows), len(rows))
    for _ in rows:
        reach = reach @ reach
    assert groups.tolist() == [int(np.flatnonzero(row)[0]) for row in reach]


def test_what_the_earlier_run_held_out_stays_and_new_images_are_dealt_out() -> None:
    targets = np.repeat([0, 1], 40)
    images = known(targets)
    first = [f"b{n}" for n in range(80) if n % 4]
    history = History("first", frozenset(first[:45]), frozenset({"p0", "p40", "p44", "b1"}) - frozenset(first[:45]))
    found = divide(images, history, holdout=0.25, seed=0)
    assert {0, 40, 44} <= set(found.held_out)
    new = [n for n in range(80) if f"b{n}" not in history.trained and n not in (0, 40, 44)]
    for number in (0, 1):
        own = [n for n in new if targets[n] == number]
        assert len(set(own) & set(found.held_out)) == round(len(own) * 0.25)
    assert any("45 of 80 images were training images of first, 3 were held out by it" in note for note in found.notes)


def test_a_class_that_has_images_held_out_gives_no_more_than_the_share_of_its_new_ones() -> None:
    images = known(np.repeat([0, 1], 6))
    history = History("first", frozenset({"b1", "b2", "b3"}), frozenset({"b0", "p6"}))
    found = divide(images, history, holdout=0.1, seed=0)
    assert set(found.held_out) == {0, 6}
    # Without: one of every class, but never the last one to learn from.
    assert len(divide(images, None, holdout=0.1, seed=0).held_out) == 2
    fresh = divide(known(np.array([0, 0, 0, 1])), History("first", frozenset({"b0", "b1"})), holdout=0.9, seed=0)
    assert set(fresh.held_out) == {2}


def test_classes_that_do_not_judge_or_are_not_learned_are_named() -> None:
    # All of class a was learned from before, all of class b held out, class c is new.
    images = known(np.repeat([0, 1, 2], 6))
    history = History("first", frozenset(f"b{n}" for n in range(6)), frozenset(f"b{n}" for n in range(6, 12)))
    found = divide(images, history, holdout=0.3, seed=0)
    assert set(images.targets[found.held_out]) == {1, 2}
    text = "\n".join(found.notes)
    assert "no image of a is held out (the weights it starts from learned of them): not covered by the accuracy" in text
    assert "no image of b is left to learn from: all are held out" in text
    alone = "\n".join(divide(known(np.array([0, 0, 0, 1])), None, holdout=0.3, seed=0).notes)
    assert alone == "no image of b is held out: not covered by the accuracy"
    many = "\n".join(divide(known(np.array([0, 0, 1, 2, 3, 4, 5])), None, holdout=0.3, seed=0).notes)
    assert "no image of b, c, d and 2 more classes is held out" in many
    assert not divide(known(np.repeat([0, 1], 6)), None, holdout=0.3, seed=0).notes


def test_why_nothing_can_be_held_out_is_told() -> None:
    both = [(f"b{n % 3}", f"p{n % 3}") for n in range(6)]
    why = r"two images of its own, .*3 images are copies.*6 images lie in more than one class, such as 3\.png and 0"
    with pytest.raises(InnersightError, match=why):
        divide(known(np.array([0, 0, 0, 1, 1, 1]), both), None, holdout=0.1, seed=0)
    with pytest.raises(InnersightError, match="no class has two images, so none can be held out; give"):
        divide(known(np.array([0, 1])), None, holdout=0.1, seed=0)


def test_a_history_is_of_all_runs_before(tmp_path: Path) -> None:
    digests = {"training": ["a", "b"], "held_out": ["c", "d"], "before": ["d", "e"], "held_before": ["b", "f"]}
    for complete in (True, False):
        (tmp_path / "split.json").write_text(json.dumps({"digests": {**digests, "complete": complete}}))
        found = history_of(tmp_path, None, "small:4")
        assert found == History(tmp_path.name, frozenset("abde"), frozenset("cf"), complete)


def test_a_run_on_a_part_of_the_earlier_folder_keeps_its_split(tmp_path: Path) -> None:
    for name, count in {"blue": 40, "green": 40, "red": 40}.items():
        draw(tmp_path / "all", name, count)
        # Other names, formats without loss, and some new images.
        (tmp_path / "part" / name).mkdir(parents=True)
        for n in range(0, 40, 2):
            source = tmp_path / "all" / name / f"{n:03}.png"
            if n % 4:
                shutil.copy(source, tmp_path / "part" / name / f"copy-{40 - n}.png")
            else:
                Image.open(source).save(tmp_path / "part" / name / f"again-{n}.bmp")
        noise = rng(name).integers(0, 256, (10, 20, 30, 3)).astype(np.uint8)
        for n, pixels in enumerate(noise):
            Image.fromarray(pixels).save(tmp_path / "part" / name / f"new-{n}.png")
    train(tmp_path / "all", tmp_path / "first", report=Said(), holdout=0.3, **ONE)
    learned, held = of_run(tmp_path / "first")
    said = Said()
    result = train(
        tmp_path / "part", tmp_path / "second", report=said, net=f"run:{tmp_path / 'first'}", holdout=0.3, seed=5, **ON
    )
    again, judges = of_run(tmp_path / "second")
    assert not judges & learned
    assert not judges & again
    assert judges & held
    assert result.card.metrics["not_held_out"] is None
    assert "held out images" in result.summary()
    assert "were training images of first" in said.text
    # A third run knows both, though its folder is the first one's again.
    third = train(tmp_path / "all", tmp_path / "third", report=Said(), net=f"run:{tmp_path / 'second'}", seed=9, **ON)
    assert third.card.metrics["not_held_out"] is None
    _, judges = of_run(tmp_path / "third")
    assert judges
    assert not judges & (learned | again)
    # The weights by their file are the same run's, those of an epoch too.
    for file in ("weights.safetensors", "checkpoints/best.safetensors"):
        found = history_of(None, str(tmp_path / "second" / file), "small:4")
        assert found is not None
        assert found.trained == learned | again


def test_an_accuracy_on_learned_images_says_so_everywhere(tree: Path, tmp_path: Path) -> None:
    train(tree, tmp_path / "first", report=Said(), **ONE)
    held = json.loads((tmp_path / "first" / "split.json").read_text())["held_out"]
    for file in held:
        (tree / file).unlink()
    said = Said()
    result = train(tree, tmp_path / "second", report=said, net=f"run:{tmp_path / 'first'}", **ON)
    doubt = "not held out: 4 of 4 were training images of first"
    assert result.card.metrics["not_held_out"] == doubt
    assert f"on 4 images, {doubt} (95% interval" in result.summary()
    assert f"to judge, {doubt}" in said.text
    card = (tmp_path / "second" / "README.md").read_text()
    assert f"on 4 images, {doubt}" in card
    assert "held out images" not in card + result.summary()
    assert read_card(tmp_path / "second").metrics["not_held_out"] == doubt


def test_predict_says_how_many_images_were_learned_from(tree: Path, tmp_path: Path) -> None:
    train(tree, tmp_path / "first", report=Said(), **ONE)
    held = json.loads((tmp_path / "first" / "split.json").read_text())["held_out"]
    model = ins.load(f"run:{tmp_path / 'first'}")
    for n, file in enumerate(held):
        (tmp_path / "held" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / file, tmp_path / "held" / Path(file).parent / f"other-{n}.png")
    clean = ins.predict(model, tmp_path / "held")
    assert clean.trained_on == 0
    assert not any("trained on" in note for note in clean.notes)
    learned = next(f for f in sorted(tree.rglob("*.png")) if f.relative_to(tree).as_posix() not in held)
    Image.open(learned).save(tmp_path / "held" / learned.parent.name / "again.bmp")
    found = ins.predict(model, tmp_path / "held")
    assert found.trained_on == 1
    assert f"{model.name} was trained on 1 of these {len(held) + 1} images" in found.notes
    summary = found.summary()
    assert summary is not None
    assert summary["trained_on"] == 1
    assert "the network was trained on 1 of these images" in terminal.prediction(found)
    assert "trained on" not in terminal.prediction(clean)
    every = ins.predict(model, tree)
    assert every.trained_on == 48 - len(held)


def test_a_validation_folder_is_compared_with_what_was_learned(tree: Path, tmp_path: Path) -> None:
    train(tree, tmp_path / "first", report=Said(), **ONE)
    held = set(json.loads((tmp_path / "first" / "split.json").read_text())["held_out"])
    trained = [f for f in sorted(tree.rglob("*.png")) if f.relative_to(tree).as_posix() not in held]
    (tmp_path / "val" / "red").mkdir(parents=True)
    for n, file in enumerate([f for f in trained if f.parent.name == "red"][:3]):
        shutil.copy(file, tmp_path / "val" / "red" / f"x{n}.png")
    for n, file in enumerate(held):
        if file.startswith("red"):
            shutil.copy(tree / file, tmp_path / "val" / "red" / f"y{n}.png")
    noise = rng("another").integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "val" / "red" / "z.png")
    for name in ("blue", "green", "red"):
        (tmp_path / "new" / name).mkdir(parents=True)
        for n, pixels in enumerate(rng(name).integers(0, 256, (4, 20, 30, 3)).astype(np.uint8)):
            Image.fromarray(pixels).save(tmp_path / "new" / name / f"{n}.png")
    options = {"report": Said(), "val": tmp_path / "val"}
    on = train(tmp_path / "new", tmp_path / "on", net=f"run:{tmp_path / 'first'}", **options, **ON)
    total = on.images
    assert on.card.metrics["not_held_out"] == f"not held out: 3 of {total} were training images of first"
    again = train(tree, tmp_path / "again", **options, **ONE)
    assert again.card.metrics["not_held_out"] == f"not held out: {total - 1} of {total} are training images too"
    clean = train(tmp_path / "new", tmp_path / "clean", **options, **ONE)
    assert clean.card.metrics["not_held_out"] is None


def test_both_doubts_of_a_validation_folder_are_told() -> None:
    images, judges = known(np.array([0, 1])), known(np.array([0, 1, 1]))
    found = judged(images, judges, History("first", frozenset({"p2"})))
    assert found.doubt == "not held out: 2 of 3 are training images too and 1 of 3 were training images of first"


def test_copies_and_images_of_two_classes(tree: Path, tmp_path: Path) -> None:
    for n in range(6):
        shutil.copy(tree / "red" / f"{n:03}.png", tree / "red" / f"copy-{n}.png")
        shutil.copy(tree / "red" / f"{n + 10:03}.png", tree / "blue" / f"both-{n}.png")
    said = Said()
    result = train(tree, tmp_path / "run", report=said, holdout=0.4, **ONE)
    learned, held = of_run(tmp_path / "run")
    assert not learned & held
    files = json.loads((tmp_path / "run" / "split.json").read_text())["held_out"]
    assert not [f for f in files if "both" in f or f in {f"red/{n:03}.png" for n in range(10, 16)}]
    assert len(held) == 2 * len(files)
    assert "12 images are copies of others, such as red/010.png of blue/both-0.png" in said.text
    assert "12 images lie in more than one class" in said.text
    assert any("more than one class" in note for note in result.card.metrics["notes"])


def test_weights_that_do_not_say_what_they_learned_from(tree: Path, tmp_path: Path) -> None:
    train(tree, tmp_path / "first", report=Said(), **ONE)
    shutil.copy(tmp_path / "first" / "weights.safetensors", tmp_path / "mine.safetensors")
    result = train(tree, tmp_path / "a", report=Said(), weights=str(tmp_path / "mine.safetensors"), **ONE)
    doubt = "perhaps not held out: mine.safetensors does not list its training images"
    assert result.card.metrics["not_held_out"] == doubt
    (tmp_path / "first" / "split.json").unlink()
    result = train(tree, tmp_path / "b", report=Said(), net=f"run:{tmp_path / 'first'}", **ON)
    assert "perhaps not held out: first does not list" in result.summary()
    # And a run that starts from that one cannot know either.
    result = train(tree, tmp_path / "c", report=Said(), net=f"run:{tmp_path / 'b'}", **ON)
    assert "not held out" in result.summary()
    assert history_of(None, None, "small:4") is None
    assert history_of(None, "hub", "timm:resnet18") is None
    assert history_of(None, None, "toon") == History("toon", complete=False)


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"digests": {}}', '{"digests": {"training": [1], "held_out": [], "before": [], "held_before": []}}'],
)
def test_a_damaged_list_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(InnersightError, match=r"split\.json: not the list of a run's images"):
        history_of(tmp_path, None, "small:4")


@pytest.mark.parametrize("robust", [0.0, 0.5])
def test_a_stopped_run_from_an_earlier_one_resumes_with_the_same_split(
    tree: Path, tmp_path: Path, robust: float
) -> None:
    train(tree, tmp_path / "first", report=Said(), **ONE)
    options = {**ON, "epochs": 3, "net": f"run:{tmp_path / 'first'}", "robust": robust, "seed": 4}
    train(tree, tmp_path / "run", report=Said(epoch_1=lambda: os.kill(os.getpid(), signal.SIGINT)), **options)
    before = (tmp_path / "run" / "split.json").read_bytes()
    assert train(tree, tmp_path / "run", report=Said(), resume=True, **options).epochs == 3
    assert (tmp_path / "run" / "split.json").read_bytes() == before
    train(tree, tmp_path / "whole", report=Said(), **options)
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    assert not of_run(tmp_path / "run")[1] & of_run(tmp_path / "first")[0]


def test_an_image_replaced_under_its_name_is_noticed_on_resuming(tree: Path, tmp_path: Path) -> None:
    train(tree, tmp_path / "run", report=Said(epoch_1=lambda: os.kill(os.getpid(), signal.SIGINT)), **QUICK)
    held = set(json.loads((tmp_path / "run" / "split.json").read_text())["held_out"])
    learned = next(f for f in sorted(tree.rglob("*.png")) if f.relative_to(tree).as_posix() not in held)
    Image.new("RGB", (9, 9)).save(learned)
    with pytest.raises(InnersightError, match="images changed since the run"):
        train(tree, tmp_path / "run", report=Said(), resume=True, **QUICK)


def test_overwriting_waits_until_the_new_run_can_begin(tree: Path, tmp_path: Path) -> None:
    train(tree, tmp_path / "run", report=Said(), **ONE)
    kept = (tmp_path / "run" / "weights.safetensors").read_bytes()
    for options, why in (
        ({"net": f"run:{tmp_path / 'run'}"}, "would remove"),
        ({"weights": str(tmp_path / "run" / "checkpoints" / "best.safetensors")}, "would remove"),
        ({"net": "small:x"}, "small:x"),
        ({"holdout": 2.0}, "holdout"),
    ):
        with pytest.raises(InnersightError, match=why):
            train(tree, tmp_path / "run", report=Said(), overwrite=True, **{**ONE, **options})
    with pytest.raises(InnersightError, match="no such folder"):
        train(tmp_path / "typo", tmp_path / "run", report=Said(), overwrite=True, **ONE)
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == kept
    assert read_card(tmp_path / "run").metrics["epochs"] == 1
