import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from safetensors.torch import load_file
from train_fixture import QUICK, Said, assert_same_weights, draw

import innersight.toons
from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.sources import load
from innersight.sources.run_card import read_card
from innersight.sources.weights import read_weights
from innersight.statistics import wilson
from innersight.train import TrainingRun, data, epochs, recording, train
from innersight.train.augment import Augmentation, augment
from innersight.train.listing import scan

pytestmark = pytest.mark.usefixtures("own_cache")
SPEC = InputSpec(16, 16, fit="squash")


def test_a_run_holds_everything(tree: Path, tmp_path: Path) -> None:
    said = Said()
    before = torch.get_rng_state()
    result = train(tree, tmp_path / "run", report=said, **QUICK)
    assert torch.equal(before, torch.get_rng_state())
    assert isinstance(result, TrainingRun)
    assert result.images == 4  # a tenth of 12, 12 and 24
    files = [result.save(tmp_path / f"result{ending}") for ending in (".png", ".json", ".safetensors")]
    assert load_file(files[2])["confusion"].sum(1).tolist() == [1, 1, 2]
    assert json.loads(files[1].read_text())["metrics"]["accuracy"] == pytest.approx(result.accuracy)
    assert str(result) in (result.summary(), repr(result))
    axis = result.figure().axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["blue", "green", "red"]
    assert sum(int(text.get_text()) for text in axis.texts) == 4
    model = load(f"run:{tmp_path / 'run'}")
    assert model.labels == ("blue", "green", "red")
    assert model.input.height == 32
    card = read_card(tmp_path / "run")
    assert card.metrics["accuracy"] == pytest.approx(result.accuracy)
    assert np.trace(card.metrics["confusion"]) == card.metrics["correct"]
    assert card.metrics["counts"]["train"] == {"blue": 11, "green": 11, "red": 22}
    assert card.metrics["per_class"]["red"]["images"] == 2
    assert card.recipe["command"].startswith("innersight train ")
    held = json.loads((tmp_path / "run" / "split.json").read_text())["held_out"]
    assert len(held) == 4
    assert all((tree / file).is_file() for file in held)
    told = json.loads((tmp_path / "run" / "telemetry.json").read_text())
    assert told["scalars"]["val/accuracy"]["step"] == [5, 10, 15]
    assert len(told["scalars"]["train/loss"]["value"]) == 15
    assert told["layers"]["stem.0"]["step"] == [2, 4, 6, 8, 10, 12, 14]
    assert all(0 <= share < 1 for share in told["layers"]["stem.0"]["dead"])
    assert int(model.net.state_dict()["stem.1.num_batches_tracked"]) >= 5  # trained in training mode
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert not list(tmp_path.rglob(".innersight-*"))
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "README.md", "run.json", "weights.safetensors", "telemetry.json", "images.safetensors",
        "split.json", "tensorboard", "checkpoints",
    }  # fmt: skip
    assert "uneven" in said.text


def test_every_epoch_can_be_kept_and_opened(tree: Path, tmp_path: Path) -> None:
    train(tree, tmp_path / "run", report=Said(), keep_epochs=True, **{**QUICK, "epochs": 2})
    source = f"run:{tmp_path / 'run'}"
    opened = [load(f"{source}?epoch={epoch}") for epoch in range(3)]
    assert opened[2].name == "run (small-4, epoch 2)"
    weights = [model.net.state_dict() for model in opened]
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in weights[2].items():
        assert torch.equal(tensor.cpu(), last[f"net.{name}"])
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    with pytest.raises(InnersightError, match="has no epoch '3'; it has 0 to 2"):
        load(f"{source}?epoch=3")
    with pytest.raises(InnersightError, match="not both"):
        load(f"{source}?epoch=1", weights="a.safetensors")


def test_a_run_without_kept_epochs_says_how_to_have_them(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="has no weights of single epochs; train with keep_epochs=True"):
        load(f"run:{Path(innersight.toons.__file__).parent / 'run'}?epoch=1")


def test_the_accuracy_is_that_of_the_stored_weights(tree: Path, tmp_path: Path) -> None:
    result = train(tree, tmp_path / "run", report=Said(), half=True, holdout=0.5, **QUICK)
    model = load(f"run:{tmp_path / 'run'}")
    stored = read_weights(tmp_path / "run" / "weights.safetensors")
    assert stored["stem.0.weight"].dtype == torch.float16
    held = json.loads((tmp_path / "run" / "split.json").read_text())["held_out"]
    from innersight.image import load_image

    right = 0
    with torch.no_grad():
        for file in held:
            logits = model.net(load_image(tree / file).tensor(model.input).unsqueeze(0))
            right += model.labels[int(logits.argmax())] == file.split("/")[0]
    assert right / len(held) == pytest.approx(result.accuracy)


def test_the_same_seed_gives_the_same_weights(tree: Path, tmp_path: Path, trained: Path) -> None:
    torch.manual_seed(99)
    second = train(tree, tmp_path / "b", report=Said(), **QUICK)
    assert second.accuracy == pytest.approx(read_card(trained).metrics["accuracy"], abs=1e-6)
    assert_same_weights(trained, tmp_path / "b")


def test_a_killed_run_goes_on_and_ends_like_an_uninterrupted_one(tree: Path, tmp_path: Path, trained: Path) -> None:
    program = (
        "import os, signal, torch\nfrom innersight.train import train\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        "def report(m):\n    if m.startswith('epoch 2/'): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"train({str(tree)!r}, {str(tmp_path / 'run')!r}, report=report, **{QUICK!r})"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "run.json").exists()
    said = Said()
    with pytest.raises(InnersightError, match=r"unfinished run with lr=None, not 0\.1"):
        train(tree, tmp_path / "run", report=said, lr=0.1, **QUICK)
    result = train(tree, tmp_path / "run", report=said, **QUICK)
    assert "resuming the run" in said[0]
    assert "after epoch 2" in said[0]
    assert result.epochs == 3
    assert_same_weights(tmp_path / "run", trained)
    scalars = [json.loads((run / "telemetry.json").read_text())["scalars"] for run in (tmp_path / "run", trained)]
    assert scalars[0]["train/loss"] == scalars[1]["train/loss"]


def test_a_finished_run_is_not_touched_unless_told(tree: Path, tmp_path: Path) -> None:
    train(tree, tmp_path / "run", report=Said(), **QUICK)
    for resume in (False, True):
        with pytest.raises(InnersightError, match="finished run"):
            train(tree, tmp_path / "run", report=Said(), resume=resume, **QUICK)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train(tree, tmp_path / "run", report=Said(), overwrite=True, **{**QUICK, "epochs": 1})
    assert read_card(tmp_path / "run").metrics["epochs"] == 1
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_changed_images_are_noticed(tree: Path, tmp_path: Path) -> None:
    stop = Said(epoch_1=lambda: os.kill(os.getpid(), signal.SIGINT))
    train(tree, tmp_path / "run", report=stop, **QUICK)
    (tree / "red" / "000.png").unlink()
    with pytest.raises(InnersightError, match="images changed"):
        train(tree, tmp_path / "run", report=Said(), resume=True, **QUICK)


def test_ctrl_c_leaves_a_usable_run_that_can_go_on(tree: Path, tmp_path: Path, trained: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    said = Said(epoch_1=lambda: os.kill(os.getpid(), signal.SIGINT))
    result = train(tree, tmp_path / "run", report=said, **QUICK)
    assert signal.getsignal(signal.SIGINT) is before
    assert result.stopped == "stopped after epoch 1"
    assert read_card(tmp_path / "run").metrics["stopped"] == "stopped after epoch 1"
    load(f"run:{tmp_path / 'run'}")
    with pytest.raises(InnersightError, match="stopped after epoch 1"):
        train(tree, tmp_path / "run", report=Said(), **QUICK)
    assert train(tree, tmp_path / "run", report=Said(), resume=True, **QUICK).epochs == 3
    assert_same_weights(tmp_path / "run", trained)


def test_ctrl_c_in_the_first_epoch_interrupts(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from innersight.train import loop

    original = loop.Learner.training_step

    def interrupted(self: object, *args: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args)

    monkeypatch.setattr(loop.Learner, "training_step", interrupted)
    said = Said()
    with pytest.raises(KeyboardInterrupt):
        train(tree, tmp_path / "run", report=said, **QUICK)
    assert "before the first epoch" in said.text


@pytest.mark.parametrize("where", ["best", "last", "telemetry"])
def test_a_full_disk_keeps_the_last_checkpoint(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    run, full = tmp_path / "run", OSError(errno.ENOSPC, "No space left on device", "somewhere")

    def fail(*args: object, **options: object) -> None:
        raise full

    def fill() -> None:
        if where == "last":
            monkeypatch.setattr(pl.Trainer, "save_checkpoint", fail)
        else:
            module, name = (epochs, "write_tensors") if where == "best" else (recording, "write_text")
            monkeypatch.setattr(module, name, fail)

    with monkeypatch.context() as undo, pytest.raises(InnersightError, match=r"disk is full.*last\.ckpt") as caught:  # noqa: PT012
        monkeypatch = undo
        train(tree, run, report=Said(epoch_1=fill), **{**QUICK, "epochs": 8})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob(".innersight-*"))
    said = Said()
    assert train(tree, run, report=said, **{**QUICK, "epochs": 8}).epochs == 8
    assert "resuming" in said[0]


def test_a_loss_that_is_not_finite_stops(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match=r"loss became .* smaller lr than 1e\+20"):
        train(tree, tmp_path / "run", report=Said(), lr=1e20, **QUICK)


def test_checkpoints_are_read_without_unpickling(tree: Path, tmp_path: Path) -> None:
    said = Said(epoch_1=lambda: os.kill(os.getpid(), signal.SIGINT))
    train(tree, tmp_path / "run", report=said, **QUICK)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert "innersight" in torch.load(last, weights_only=True)
    torch.save({"innersight": Augmentation()}, last)
    with pytest.raises(InnersightError, match=r"holds Python objects that would run code when read .*start anew"):
        train(tree, tmp_path / "run", report=Said(), resume=True, **QUICK)


def test_early_stop(tree: Path, tmp_path: Path) -> None:
    result = train(tree, tmp_path / "run", report=Said(), patience=1, **{**QUICK, "epochs": 30, "lr": 1e-9})
    assert result.epochs < 30
    assert result.stopped is None


def test_shuffled_labels_are_learned_by_heart(tree: Path, tmp_path: Path) -> None:
    said = Said()
    result = train(tree, tmp_path / "run", report=said, shuffle_labels=True, **QUICK)
    card = read_card(tmp_path / "run")
    assert card.metrics["counts"]["train"] == card.metrics["counts"]["val"] == {"blue": 12, "green": 12, "red": 24}
    assert "the labels are shuffled" in said.text
    assert "the labels are shuffled" in card.metrics["notes"][0]
    assert f"on {result.images} images, not held out: they are the training images (" in result.summary()
    assert " --shuffle-labels" in card.recipe["command"]
    listing = data.decode(scan(tree), card.input, report=said)
    first, again = (data.shuffled(listing, 3).targets for _ in range(2))
    assert np.array_equal(first, again)
    assert sorted(first) == sorted(listing.targets)
    assert not np.array_equal(first, listing.targets)
    with pytest.raises(InnersightError, match="shuffle_labels holds no images out: leave out val"):
        train(tree, tmp_path / "other", report=said, shuffle_labels=True, val=tree, **QUICK)


def test_a_validation_folder(tree: Path, tmp_path: Path) -> None:
    draw(tmp_path / "val", "red", 3)
    draw(tmp_path / "val", "blue", 2)
    (tmp_path / "val" / "stranger").mkdir()
    PILImage.new("RGB", (20, 20)).save(tmp_path / "val" / "stranger" / "a.png")
    said = Said()
    result = train(tree, tmp_path / "run", report=said, val=tmp_path / "val", **QUICK)
    assert result.images == 5
    assert result.card.metrics["counts"]["val"] == {"blue": 2, "green": 0, "red": 3}
    assert result.card.metrics["per_class"]["green"]["recall"] is None
    assert "1 image lies in a folder named stranger, which is not a class" in said.text
    assert "class green has no images in val" in said.text


def test_fine_tuning_from_an_earlier_run(tree: Path, tmp_path: Path, trained: Path) -> None:
    options = {k: v for k, v in QUICK.items() if k not in ("net", "size")}
    second = train(tree, tmp_path / "second", report=Said(), net=f"run:{trained}", **options)
    assert second.card.net == "small:4"
    assert second.card.input.height == 32
    load(f"run:{tmp_path / 'second'}")


def test_a_timm_network(tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    result = train(tree, tmp_path / "run", report=Said(), **{**QUICK, "net": "timm:test_resnet", "epochs": 1})
    assert load(f"run:{result.folder}").input.height == 32


def test_a_size_the_network_refuses(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="does not take images of 8x8"):
        train(tree, tmp_path / "run", report=Said(), **{**QUICK, "net": "torchvision:squeezenet1_1", "size": 8})


def test_one_class_is_an_error(tmp_path: Path) -> None:
    draw(tmp_path / "one", "red", 3)
    with pytest.raises(InnersightError, match="only one class, red"):
        train(tmp_path / "one", tmp_path / "run", report=Said(), **QUICK)
    with pytest.raises(InnersightError, match="no such folder"):
        train(tmp_path / "none", tmp_path / "run", report=Said(), **QUICK)
    with pytest.raises(InnersightError, match="no sub-folders"):
        train(tmp_path / "one" / "red", tmp_path / "run", report=Said(), **QUICK)


def test_a_split_folder_is_explained(tmp_path: Path) -> None:
    draw(tmp_path / "both" / "train", "red", 2)
    draw(tmp_path / "both" / "val", "red", 2)
    with pytest.raises(InnersightError, match=r"not classes: train on .*train with .*val"):
        scan(tmp_path / "both")


def test_an_empty_class_is_reported(tree: Path, tmp_path: Path) -> None:
    (tree / "yellow").mkdir()
    (tree / ".hidden").mkdir()
    said = Said()
    result = train(tree, tmp_path / "run", report=said, **{**QUICK, "epochs": 1})
    assert "class yellow has no images and is left out" in said
    assert result.card.labels == ("blue", "green", "red")
    assert result.card.metrics["notes"] == ["class yellow has no images and is left out"]


def test_broken_files_are_skipped_and_listed(tree: Path, tmp_path: Path) -> None:
    (tree / "red" / "003.png").write_bytes(b"not an image")
    good = (tree / "red" / "004.png").read_bytes()
    (tree / "red" / "004.png").write_bytes(good[: len(good) // 2])
    (tree / "blue" / "005.png").write_bytes(b"")
    said = Said()
    result = train(tree, tmp_path / "run", report=said, **{**QUICK, "epochs": 1})
    assert [line.split(":")[0] for line in result.card.metrics["skipped"]] == [
        "blue/005.png", "red/003.png", "red/004.png",
    ]  # fmt: skip
    assert "3 of 48 files cannot be read" in said.text
    assert sum(result.card.metrics["counts"]["train"].values()) + result.images == 45


def test_a_class_of_broken_files_is_left_out(tree: Path) -> None:
    for file in (tree / "blue").iterdir():
        file.write_bytes(b"")
    images = data.drop_empty(data.decode(scan(tree), SPEC, report=Said()))
    assert images.labels == ("green", "red")
    assert images.counts() == {"green": 12, "red": 24}
    assert "blue" in images.notes[0]
    for file in (tree / "green").iterdir():
        file.write_bytes(b"")
    with pytest.raises(InnersightError, match="fewer than two"):
        data.drop_empty(data.decode(scan(tree), SPEC, report=Said()))


def test_the_cache_is_filled_once_and_again_when_a_file_changes(tree: Path) -> None:
    said = Said()
    first = data.decode(scan(tree), SPEC, report=said)
    assert len(said) == 1
    second = data.decode(scan(tree), SPEC, report=said)
    assert len(said) == 1
    assert np.array_equal(first.pixels, second.pixels)
    PILImage.new("RGB", (20, 20), "white").save(tree / "blue" / "000.png")
    third = data.decode(scan(tree), SPEC, report=said)
    assert len(said) == 2
    assert (third.pixels[0] == 255).all()
    data.decode(scan(tree), InputSpec(16, 16), report=said)
    assert len(said) == 3


def test_decoding_onto_a_full_disk_leaves_nothing(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(InnersightError, match="disk is full"):
        train(tree, tmp_path / "run", report=Said(), **QUICK)
    assert not list((tmp_path / "cache").iterdir())


def test_class_weights_follow_their_definition() -> None:
    targets = np.repeat([0, 1, 2], [100, 25, 4])
    weights = data.class_weights(targets, 4)
    assert weights[1] / weights[0] == pytest.approx(2)
    assert weights[2] / weights[0] == pytest.approx(5)
    assert weights[3] == 0
    assert float(weights[targets].mean()) == pytest.approx(1)
    assert data.class_weights(targets, 3, balance=False).tolist() == [1, 1, 1]


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 4))
def test_processes_share_the_held_out_images_without_doubles(count: int, size: int, world: int) -> None:
    pixels = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    rows = np.arange(count)
    images = data.TrainingImages(("a",), pixels, rows, rows.astype(np.int64), ("",) * count, ())
    parts = [data.Batches(images, rows, size=size, rank=rank, world=world) for rank in range(world)]
    assert len({len(list(part)) for part in parts}) == 1
    assert all(len(list(part)) == len(part) for part in parts)
    seen = [int(t) for part in parts for _, targets in part for t in targets if t >= 0]
    assert sorted(seen) == list(range(count))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    rows = np.arange(20)
    images = data.TrainingImages(("a",), np.zeros((20, 1, 1, 1), np.uint8), rows, rows, ("",) * 20, ())
    orders = [
        [
            int(t)
            for _, targets in data.Batches(images, rows, size=5, seed=seed, epoch=lambda e=epoch: e)
            for t in targets
        ]
        for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3]
    assert sorted(orders[2]) == list(range(20))


def test_augmentation_without_any_strength_changes_nothing() -> None:
    pixels = torch.rand(3, 3, 12, 20)
    still = Augmentation(0, 0, 0, 0, 0, 0, 0, 0)
    assert torch.allclose(augment(pixels, torch.Generator(), still), pixels, atol=1e-5)


def test_a_certain_flip_mirrors() -> None:
    pixels = torch.rand(3, 3, 12, 20)
    mirrored = augment(pixels, torch.Generator(), Augmentation(1, 0, 0, 0, 0, 0, 0, 0))
    assert torch.allclose(mirrored, pixels.flip(3), atol=1e-5)


def test_augmentation_differs_by_image_and_stays_in_range() -> None:
    pixels = torch.rand(1, 3, 16, 16).expand(8, -1, -1, -1)
    changed = augment(pixels, torch.Generator().manual_seed(1))
    assert changed.shape == pixels.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert all(not torch.equal(changed[0], other) for other in changed[1:])
    assert torch.equal(changed, augment(pixels, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("epochs", 0), ("batch", 0), ("lr", -1.0), ("lr", float("nan")), ("holdout", 1.5), ("patience", -1)],
)
def test_impossible_arguments_are_named(tree: Path, tmp_path: Path, argument: str, value: float) -> None:
    with pytest.raises(InnersightError, match=argument):
        train(tree, tmp_path / "run", report=Said(), **{**QUICK, argument: value})


def test_wilson_stays_within_0_and_1() -> None:
    assert wilson(10, 10)[1] == pytest.approx(1)
    assert wilson(0, 10)[0] == pytest.approx(0)
