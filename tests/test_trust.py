from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from planting import plant
from torch import Tensor, nn
from trust_fixture import SIDE, SPEC, Corner, add, asked_curves, corner_images, corner_model

from innersight import toons
from innersight.errors import InnersightError
from innersight.heads import Head, multilabel
from innersight.heatmaps import explain
from innersight.image import ImageError, as_image
from innersight.model import Model
from innersight.sources import load
from innersight.sources.origins.keras import library
from innersight.statistics import holm, sign_flip, spearman
from innersight.terminal import trust as terminal_trust
from innersight.trust import Protocol, describe_column, shuffled_weights, trust
from innersight.trust.baselines import baselines
from innersight.trust.faithfulness import ranking
from innersight.trust.ground_truth import ground_truth
from innersight.trust.imputers import imputers
from innersight.trust.metrics import metrics
from innersight.trust.result import title_of


@pytest.fixture
def corner() -> Model:
    return corner_model()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return corner_images(tmp_path / "images")


@pytest.fixture
def guess(monkeypatch: pytest.MonkeyPatch) -> str:
    """A heatmap method that knows nothing."""
    rng = torch.Generator().manual_seed(7)
    add(monkeypatch, "guess", lambda asked: torch.rand(asked.x[:, 0].shape, generator=rng))
    return "guess"


def test_a_perfect_map_beats_every_baseline(corner: Model, folder: Path) -> None:
    result = trust(corner, folder, ["saliency"], target=0, protocol=Protocol("mean"))
    assert result.verdict("saliency") == (
        "Gradient saliency beats a centre-biased map, an edge map, a random map and its own maps with shuffled weights."
    )
    saliency, *others = (row.values["faithfulness"] for row in result.table())
    assert saliency.interval is not None
    assert saliency.interval[0] > max(row.interval[1] for row in others if row.interval)
    assert len(result.images) == 20
    assert "20 images, 5 steps" in result.note
    assert "mean colour" in result.note


def test_a_guess_is_not_distinguishable_from_random(corner: Model, folder: Path, guess: str) -> None:
    result = trust(corner, [folder], [guess], target=0, protocol=Protocol("mean"))
    assert "a random map" in result.verdict(guess).partition("not")[2]
    (row,) = (row for row in result.comparisons if row.against == "random")
    assert row.p > 0.05


def test_a_guess_is_seldom_called_better_or_worse_than_random(corner: Model) -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        pairs = []
        for _ in range(8):
            x, empty = torch.rand(2, 3, SIDE, SIDE)
            ranks = torch.stack([ranking(torch.rand(SIDE, SIDE), (SIDE, SIDE), rng)[0] for _ in range(2)])
            first, second = asked_curves(corner, x, empty, 0, ranks, 3).scores
            pairs.append(float(first - second))
        found += sign_flip(pairs) <= 0.05
    assert found <= 6


def test_too_few_images_give_no_verdict(corner: Model, folder: Path) -> None:
    images = sorted(folder.iterdir())[:3]
    result = trust(corner, images, ["saliency"], target=0)
    assert result.verdicts() == ("Gradient saliency: too few images to test significance: 8 needed, 3 given.",)


def test_one_image(corner: Model, folder: Path) -> None:
    result = trust(corner, folder / "00.png", ["saliency"], protocol=Protocol(steps=2))
    assert all(one.interval is None for row in result.table() for one in row.values.values())
    assert "1 image," in result.note
    result.figure()


def test_empty_maps_are_counted_and_said(corner: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "mute", lambda asked: torch.zeros(len(asked.x), 4, 4))
    add(monkeypatch, "shy", lambda asked: asked.x[:, 0] * (torch.arange(len(asked.x)) > 2).view(-1, 1, 1))
    result = trust(corner, sorted(folder.iterdir())[:12], ["mute", "shy"], protocol=Protocol(steps=4))
    assert result.verdict("mute") == "Mute: no verdict, all of its maps are empty."
    assert result.verdict("shy").endswith(" 3 of its 12 maps are empty; their pixels were ranked at random.")
    assert [row.empty for row in result.table()] == [12, 3, 0, 0, 0]


def test_broken_files_are_skipped_and_listed(corner: Model, folder: Path) -> None:
    (folder / "05.png").write_bytes(b"no image")
    result = trust(corner, folder, ["saliency"], protocol=Protocol(steps=2))
    assert len(result.images) == 19
    assert "05.png" in result.skipped[0]
    assert "1 file could not be read" in result.note
    with pytest.raises(ImageError, match="05"):
        trust(corner, folder / "05.png")


def test_wrong_names(corner: Model, folder: Path) -> None:
    with pytest.raises(InnersightError, match="blur"):
        trust(corner, folder, protocol=Protocol("blurr"))
    with pytest.raises(InnersightError, match="always in the table"):
        trust(corner, folder, ["random"])
    with pytest.raises(InnersightError, match="gradcam"):
        trust(corner, folder, ["gradcan"])
    with pytest.raises(InnersightError, match="no heatmap method"):
        trust(corner, folder, [])
    with pytest.raises(InnersightError, match="was not tested"):
        trust(corner, folder / "00.png", ["saliency"], protocol=Protocol(steps=1)).verdict("gradcam")


def test_same_seed_same_result_and_nothing_is_left(corner: Model, folder: Path) -> None:
    corner.net.train()
    before = {name: value.clone() for name, value in corner.net.state_dict().items()}
    rng = torch.get_rng_state()
    first, again = (
        trust(corner, folder, ["gradcam"], protocol=Protocol(steps=4), seed=3, max_images=4).scores for _ in range(2)
    )
    assert torch.equal(first, again)
    assert torch.equal(rng, torch.get_rng_state())
    assert corner.net.training
    assert all(p.requires_grad and p.grad is None for p in corner.net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in corner.net.state_dict().items())
    assert not any(module._forward_hooks for module in corner.net.modules())


def test_scores_do_not_depend_on_the_other_images(corner: Model, folder: Path) -> None:
    images = sorted(folder.iterdir())
    some, all_ = (trust(corner, p, ["gradcam"], protocol=Protocol(steps=4)).scores for p in (images[:2], images))
    assert torch.allclose(some, all_[:2], atol=1e-6)


def test_saved_result(corner: Model, folder: Path, tmp_path: Path) -> None:
    result = trust(corner, sorted(folder.iterdir())[:9], ["gradcam", "saliency"], protocol=Protocol(steps=3))
    document = json.loads(result.save(tmp_path / "trust.json").read_text())
    assert [row["name"] for row in document["table"]] == ["gradcam", "saliency", "centre", "edges", "random"]
    assert [row["kind"] for row in document["table"]] == ["method"] * 2 + ["baseline"] * 3
    assert len(document["comparisons"]) == 8
    assert set(document["columns"]) == set(document["table"][0]["values"])
    assert len(document["images"]) == 9
    assert set(document["verdicts"]) == {"gradcam", "saliency"}
    assert result.save(tmp_path / "trust.png").stat().st_size > 1000
    assert result.save(tmp_path / "trust.safetensors").exists()
    assert result.deletion.shape == (9, 5, 4)
    assert result._repr_html_().startswith("<img")


def test_a_baseline_that_removes_little_is_said(corner: Model, folder: Path) -> None:
    mean, blur = (
        trust(corner, folder, ["saliency"], target=0, protocol=Protocol(b, steps=1), max_images=4)
        for b in ("mean", "blur")
    )
    survives = {float(r.insertion[:, 0, 0].mean()) > float(r.insertion[:, 0, -1].mean()) / 2: r for r in (mean, blur)}
    assert survives.keys() == {True, False}
    assert "mean little" in survives[True].note
    assert "mean little" not in survives[False].note


def test_few_images_are_drawn_from_many_and_progress_is_reported(corner: Model, folder: Path) -> None:
    reported: list[tuple[int, int, str]] = []
    result = trust(
        corner,
        folder,
        ["saliency"],
        protocol=Protocol(steps=2),
        max_images=5,
        progress=lambda *what: reported.append(what),
    )
    assert len(result.images) == 5
    assert "5 images of 20, drawn at random" in result.note
    done, totals, _ = zip(*reported, strict=True)
    assert list(done) == sorted(done)
    assert done[0] == 0
    assert done[-1] == totals[-1]
    # The total is known from the start, and every image and every metric moves the count.
    assert len(set(totals[1:])) <= 2
    assert max(b - a for a, b in pairwise(done)) < 0.2 * totals[-1]
    assert {f"parts removed from image {i}" for i in range(1, 6)} <= {what for *_, what in reported}
    again = trust(corner, folder, ["saliency"], protocol=Protocol(steps=2), max_images=5)
    assert again.images == result.images
    assert trust(corner, folder, ["saliency"], protocol=Protocol(steps=2), max_images=5, seed=1).images != result.images
    assert len(trust(corner, folder, ["saliency"], protocol=Protocol(steps=2), max_images=None).images) == 20


@pytest.mark.parametrize("methods", [["saliency"], ["gradcam", "hirescam", "saliency"]])
def test_the_time_left_is_known_after_a_tenth(corner: Model, folder: Path, methods: list[str]) -> None:
    """Where time goes by passes: the share reported is that of the images that went through the network."""
    passed, seen = [0], []

    def count(_module: nn.Module, given: tuple[Tensor, ...], _output: Tensor) -> None:
        passed[0] += len(given[0])

    def report(done: int, total: int, _what: str) -> None:
        seen.append((done / total, passed[0]))

    with corner.net.register_forward_hook(count):
        trust(corner, folder, methods, max_images=20, progress=report)
    for share, made in (next(one for one in seen if one[0] >= least) for least in (0.1, 0.3, 0.6)):
        left, expected = passed[0] - made, made * (1 - share) / share
        assert 0.7 * left < expected < 1.3 * left, (share, made, passed)


def test_quick_methods_leave_out_what_cannot_read_the_network(corner: Model, folder: Path) -> None:
    result = trust(corner, folder / "00.png", protocol=Protocol(steps=2))
    assert {"gradcam", "saliency", "ablationcam"} <= set(result.methods)
    assert not {"rise", "scorecam", "lime", "legrad", "occlusion", "smoothgrad"} & set(result.methods)
    assert any(line.startswith("legrad: ") for line in result.left_out)
    with pytest.raises(InnersightError, match="no self-attention"):
        trust(corner, folder / "00.png", ["legrad"])


def test_a_map_of_edges_is_doubtful(corner: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same whatever the network learned, and worse than chance is no matter."""
    add(monkeypatch, "outline", lambda asked: asked.x.mean(1).diff(dim=2, append=asked.x.mean(1)[:, :, :1]).abs())
    result = trust(corner, folder, ["outline", "saliency"], target=0, protocol=Protocol("mean"))
    assert float(result.columns["weight-randomization"][:, 0].mean()) == pytest.approx(1)
    assert torch.allclose(result.columns["shuffled-score"][:, 0], result.scores[:, 0], atol=0.02)
    assert result.standing("outline") == "doubtful"
    assert "hardly change with shuffled weights" in result.verdict("outline")
    assert result.sentence.endswith("; Outline should not be trusted.")


def test_every_column_is_documented_and_every_number_is_there(corner: Model, folder: Path) -> None:
    result = trust(corner, sorted(folder.iterdir())[:3], ["saliency", "gradcam"], target=0, protocol=Protocol(steps=4))
    assert set(result.columns) == set(metrics) - {"mass", "pointing", "label-randomization"}
    for name, values in result.columns.items():
        assert describe_column(name).description
        assert describe_column(name).better in ("high", "low", "")
        assert values.shape == (3, 5)
        assert values[:, 0].isfinite().all(), name
    assert all(describe_column(name).against for name in ground_truth)
    assert list(result.protocols) == [
        "blur, 4 steps", "ROAD", "logit",
        "inpaint, 4 steps", "mean, 4 steps", "noise, 4 steps",
    ]  # fmt: skip
    assert set(result.rank_agreement()) == set(list(result.protocols)[1:])
    assert all(-1 <= rho <= 1 for rho in result.rank_agreement().values())
    assert torch.allclose(result.agreement, result.agreement.T)
    assert result.agreement.diagonal().tolist() == pytest.approx([1, 1])
    with pytest.raises(InnersightError, match="no column"):
        describe_column("nothing")


def test_boxes_join_the_table(corner: Model, folder: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,x0,y0,x1,y1\n" + "".join(f"{i:02}.png,0,0,0.25,0.25\n" for i in range(12)))
    result = trust(corner, folder, ["saliency"], target=0, protocol=Protocol("mean"), regions=boxes)
    mass = result.columns["mass"]
    assert mass[:12, 0].tolist() == pytest.approx([1.0] * 12, abs=1e-5)
    assert mass[12:].isnan().all()
    assert result.chances["mass"][:12].tolist() == pytest.approx([1 / 16] * 12)
    assert "its own maps with shuffled weights and chance in the marked regions." in result.verdict("saliency")
    assert "Regions: 12 images" in result.note
    assert result.standing("saliency") == "believed"
    boxes.write_text("file,x0,y0,x1,y1\nelsewhere.png,0,0,0.25,0.25\n")
    with pytest.raises(InnersightError, match="names none of the 20 images"):
        trust(corner, folder, ["saliency"], regions=boxes, protocol=Protocol(steps=2))


def test_a_network_of_shuffled_labels_joins_the_table(corner: Model, folder: Path) -> None:
    other = Corner()
    nn.init.constant_(other.grey.weight, -0.2)
    against = replace(load(other, input=SPEC), name="mislabelled")
    result = trust(
        corner,
        folder,
        ["input-x-gradient"],
        target=0,
        protocol=Protocol(steps=2),
        shuffled_labels=against,
        max_images=3,
    )
    assert result.columns["label-randomization"][:, 0].tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    assert result.settings["shuffled_labels"] == "mislabelled"
    with pytest.raises(InnersightError, match="shuffled"):
        trust(corner, folder, shuffled_labels=replace(against, labels=("a", "b")))


def test_few_images_condemn_nothing(corner: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "outline", lambda asked: asked.x.mean(1).diff(dim=2, append=asked.x.mean(1)[:, :, :1]).abs())
    result = trust(corner, sorted(folder.iterdir())[:2], ["outline"], protocol=Protocol(steps=2))
    assert result.standing("outline") == "undecided"
    assert result.verdict("outline").startswith("Outline: too few images to test significance: ")
    assert result.sentence.endswith("2 images do not settle whether Outline can be.")


def test_labels_learned_by_heart_count(corner: Model, folder: Path) -> None:
    result = trust(corner, folder, ["saliency"], target=0, protocol=Protocol("mean", steps=4), shuffled_labels=corner)
    assert result.standing("saliency") == "doubtful"
    assert "hardly change with shuffled labels (rank correlation 1.00)" in result.verdict("saliency")


def test_maps_that_hardly_change_are_doubtful_from_a_correlation_of_a_half(corner: Model, folder: Path) -> None:
    result = trust(corner, sorted(folder.iterdir())[:10], ["saliency"], target=0, protocol=Protocol("mean", steps=2))
    about = torch.linspace(-0.02, 0.02, 10).double()[:, None].repeat(1, len(result.maps))
    for name in ("weight-randomization", "label-randomization"):
        # At 0.5 the interval reaches below it.
        for level, doubtful in ((0.45, False), (0.5, False), (0.55, True), (0.9, True)):
            found = replace(result, columns=result.columns | {name: level + about})
            assert (found.standing("saliency") == "doubtful") == doubtful, (name, level)


def test_only_the_terms_of_the_score_have_no_column(corner: Model, folder: Path) -> None:
    result = trust(corner, folder / "00.png", ["saliency"], target=0, protocol=Protocol("mean", steps=2))
    assert set(result.columns) - set(result.shown) == {result.score, "insertion", "deletion"}
    assert {"road", "complexity", "sensitivity"} <= set(result.shown)


def test_too_few_boxes_are_said_to_be_too_few(corner: Model, folder: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,x0,y0,x1,y1\n00.png,0,0,0.25,0.25\n01.png,0,0,0.25,0.25\n")
    verdict = trust(corner, folder, ["saliency"], target=0, protocol=Protocol("mean"), regions=boxes).verdict(
        "saliency"
    )
    assert "Too few images to test it against chance in the marked regions: " in verdict
    assert "but not" not in verdict


def test_outputs_that_are_no_numbers_are_skipped_and_said(folder: Path) -> None:
    class Sometimes(Corner):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            return torch.where(x[:, 0, 8, 8, None] > self.above, torch.nan, y)

    net = Sometimes()
    net.above = 9.0
    model = load(net, input=SPEC)
    net.above = 0.4  # of some
    result = trust(model, folder, ["saliency"], protocol=Protocol(steps=2))
    assert 0 < len(result.images) < 20
    assert len(result.images) + len(result.skipped) == 20
    assert all("outputs are not numbers" in line for line in result.skipped)
    net.above = -9.0
    with pytest.raises(ImageError, match="outputs are not numbers"):
        trust(model, folder, ["saliency"], protocol=Protocol(steps=2))


def test_impossible_numbers(corner: Model, folder: Path) -> None:
    with pytest.raises(InnersightError, match="max_images=-3"):
        trust(corner, folder, max_images=-3)
    with pytest.raises(InnersightError, match="seed=-1"):
        trust(corner, folder, seed=-1)


def test_fewer_steps_are_among_the_protocols_where_there_are_fewer(corner: Model, folder: Path) -> None:
    result = trust(corner, folder / "00.png", ["saliency"], protocol=Protocol(steps=6))
    assert {"blur, 5 steps", "mean, 5 steps"} <= set(result.rank_agreement())
    result = trust(corner, folder / "00.png", ["saliency"], protocol=Protocol(steps=5))
    assert set(result.rank_agreement()) == {"ROAD", "logit", "inpaint, 5 steps", "mean, 5 steps", "noise, 5 steps"}


def test_mosaics_need_two_sure_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.zeros_(net[0].weight)
    for i in range(3):
        net[0].weight.data[i, i] = 9
    model = load(net, input=SPEC)
    for i in range(12):
        PILImage.fromarray(np.eye(3, dtype=np.uint8)[i % 3] * np.full((SIDE, SIDE, 1), 200 + i, np.uint8)).save(
            tmp_path / f"{i:02}.png"
        )
    result = trust(model, tmp_path, ["gradcam"], protocol=Protocol(steps=2))
    assert result.columns["mosaic"].shape == (12, 4)
    assert result.columns["mosaic"][:, 0].tolist() == pytest.approx([1.0] * 12, abs=0.12)
    assert result.chances["mosaic"].tolist() == [0.5] * 12
    assert "Mosaics: the network gives the class a mean probability of" in result.note
    one = trust(model, tmp_path / "00.png", ["gradcam"], protocol=Protocol(steps=2))
    assert "mosaic" not in one.columns


def test_the_toon_network_is_held_against_its_parts() -> None:
    model = load("toon")
    drawn = [as_image(np.array(toons.draw(name, 400).pixels), name=name) for name in toons.CLASSES[:2]]
    result = trust(model, drawn, ["gradcam", "saliency"], protocol=Protocol(steps=2))
    assert result.columns["parts"].shape == (24, 5)
    assert result.columns["parts"].abs().amax() <= 1
    assert result.chances["parts"].shape == (24,)
    assert any(row.against == "part size on the toons" for row in result.comparisons)


def test_the_terminal_has_table_reasons_and_sentence(corner: Model, folder: Path) -> None:
    result = trust(corner, folder, ["saliency", "gradcam"], target=0, protocol=Protocol("mean"), max_images=8)
    text = terminal_trust(result)
    first, *rows = text.split("\n\n")[0].splitlines()
    assert first.split()[:3] == ["method", "score", "95%"]
    assert [row.split()[0] for row in rows[2:]] == ["random", "edges", "centre"]
    assert text.splitlines()[-1] == result.sentence
    assert all(verdict in text for verdict in result.verdicts())


def test_methods_are_held_against_each_other(corner: Model, folder: Path, guess: str) -> None:
    result = trust(corner, folder, [guess, "saliency", "integrated-gradients"], target=0, protocol=Protocol("mean"))
    assert len(result.pairwise) == 3
    by = {(row.method, row.against): row for row in result.pairwise}
    pairs = [(guess, "saliency"), (guess, "integrated-gradients"), ("saliency", "integrated-gradients")]
    assert list(by) == pairs
    slow = holm([sign_flip((result.scores[:, i] - result.scores[:, k]).numpy()) for i, k in ((0, 1), (0, 2), (1, 2))])
    assert [by[pair].p for pair in pairs] == pytest.approx(slow)
    assert by[guess, "saliency"].p < 0.05
    assert by["saliency", "integrated-gradients"].p > 0.05
    assert by[guess, "saliency"].difference == pytest.approx(float((result.scores[:, 0] - result.scores[:, 1]).mean()))
    first, second = (row.name for row in result.ranked()[:2])
    assert result.ties(first) == (second,)
    assert result.ties(guess) == ()
    assert f"{title_of(first)} has the highest score, not significantly above {title_of(second)}." in result.note
    assert len(result.to_json()["pairwise"]) == 3
    alone = trust(corner, folder, ["saliency", guess], target=0, protocol=Protocol("mean"))
    assert alone.first == "Gradient saliency has the highest score."
    assert trust(corner, folder, ["saliency"], protocol=Protocol(steps=2), max_images=2).pairwise == ()


def test_classes_of_boxes_that_the_network_does_not_know_are_named(corner: Model, folder: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    known = corner.labels[0]
    boxes.write_text(f"file,class,x0,y0,x1,y1\n00.png,{known},0,0,0.25,0.25\n01.png,bortt,0,0,0.25,0.25\n")
    result = trust(corner, folder, ["saliency"], target=0, protocol=Protocol(steps=2), max_images=None, regions=boxes)
    assert len(result.left_out) == 1
    assert result.left_out[0].startswith("boxes of 'bortt': the network has no such class")
    with pytest.raises(InnersightError, match="no region of the class in the part"):
        trust(corner, folder, ["saliency"], target=1, protocol=Protocol(steps=2), regions=boxes)


def test_boxes_of_other_images_are_refused_before_any_is_judged(corner: Model, folder: Path, tmp_path: Path) -> None:
    reported: list[tuple[int, int, str]] = []
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,x0,y0,x1,y1\nelsewhere.png,0,0,0.25,0.25\n")
    masks = tmp_path / "masks"
    masks.mkdir()
    PILImage.new("L", (SIDE, SIDE), 255).save(masks / "elsewhere.png")
    for source in (boxes, masks):
        with pytest.raises(InnersightError, match="names none of the 20 images"):
            trust(corner, folder, ["saliency"], regions=source, progress=lambda *what: reported.append(what))
    assert reported == []


def test_one_softmax_class_is_refused(folder: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    one = replace(load(net, input=SPEC), head=Head(lambda output: output), labels=("cat",))
    with pytest.raises(InnersightError, match="probability is always 1"):
        trust(one, folder)
    assert trust(
        replace(one, head=multilabel()), folder, ["saliency"], protocol=Protocol(steps=2), max_images=2
    ).methods == ("saliency",)


def test_a_class_ruled_out_by_minus_infinity_is_a_number(folder: Path) -> None:
    class Masked(Corner):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([super().forward(x), torch.full((len(x), 1), self.out)], 1)

    net = Masked()
    net.out = 0.0
    model = load(net, input=SPEC)
    net.out = -torch.inf
    assert trust(model, folder, ["saliency"], protocol=Protocol(steps=2), max_images=3).skipped == ()
    (found,) = explain(model, folder / "00.png", methods="saliency").entries
    assert found.verdict is None
    net.out = torch.inf
    (found,) = explain(model, folder / "00.png", methods="saliency").entries
    assert "not numbers" in (found.verdict or "")


@pytest.mark.filterwarnings("ignore")
def test_networks_of_other_libraries_are_shuffled_too(folder: Path, tmp_path: Path) -> None:
    keras = library()
    sources = []
    layers = [
        keras.Input((SIDE, SIDE, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax"),
    ]  # fmt: skip
    keras.utils.set_random_seed(1)
    keras.Sequential(layers).save(tmp_path / "net.keras")
    sources.append(f"keras:{tmp_path / 'net.keras'}")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(2), nn.Linear(16, 8), nn.Flatten(), nn.Linear(32, 3)
    )
    torch.onnx.export(net.eval(), (torch.rand(1, 3, SIDE, SIDE),), tmp_path / "net.onnx", dynamo=True, verbose=False)
    sources.append(f"onnx:{tmp_path / 'net.onnx'}")
    for source in sources:
        model = load(source, device="cpu")
        x = torch.rand(2, *model.input.shape)
        before = model.logits(x)
        with shuffled_weights(model, x):
            assert not torch.allclose(model.logits(x), before, atol=1e-3)
            inside = {name: value.clone() for name, value in model.net.state_dict().items()}
        assert torch.equal(model.logits(x), before)
        changed = [
            name for name, value in model.net.state_dict().items()
            if value.is_floating_point() and value.ndim > 1 and not torch.equal(value, inside[name])
        ]  # fmt: skip
        assert len(changed) >= 2, source
        found = trust(model, folder, ["saliency"], protocol=Protocol(steps=2), max_images=3)
        assert bool(found.columns["weight-randomization"].isfinite()[:, 0].all())


def test_with_four_methods_protocols_order_methods_only(corner: Model, folder: Path) -> None:
    four = ["saliency", "gradcam", "input-x-gradient", "layercam"]
    result = trust(corner, folder, four, target=0, protocol=Protocol(steps=2), max_images=4)
    main, other = (result.protocols[name].mean(0)[:4].tolist() for name in ("blur, 2 steps", "ROAD"))
    assert result.rank_agreement()["ROAD"] == pytest.approx(spearman(main, other), nan_ok=True)
    assert "Rank correlation of the order of the methods with other protocols" in result.note


def test_what_decides_no_verdict_is_measured_on_a_few_images(corner: Model, folder: Path) -> None:
    four = ["saliency", "gradcam", "input-x-gradient", "layercam"]
    few, all_ = (
        trust(corner, folder, four, target=0, protocol=Protocol(steps=2, secondary_images=count), max_images=5)
        for count in (2, None)
    )
    for name in ("road", "infidelity"):
        assert few.columns[name].isfinite().any(1).tolist() == [True, True, False, False, False]
        assert torch.equal(few.columns[name][:2], all_.columns[name][:2])
        assert few.table()[0].values[name].count == 2
    for name in ("faithfulness", "shuffled-score", "sensitivity"):
        assert torch.allclose(few.columns[name], all_.columns[name], atol=1e-5, equal_nan=True)
        assert few.table()[0].values[name].count == 5
    assert few.verdicts() == all_.verdicts()
    assert {len(values) for values in few.protocols.values()} == {2}
    assert {len(values) for values in all_.protocols.values()} == {5}
    # Other protocols order four methods without the baselines.
    assert few.protocols["mean, 2 steps"].isfinite().all(0).tolist() == [True] * 4 + [False] * 3
    assert "Measured on the first 2 images alone: ROAD and infidelity." in few.note
    assert "other protocols, on 2 images" in few.note
    assert "Measured on the first" not in all_.note
    assert {"road (2 images)", "infidelity (2 images)"} <= set(re.findall(r"\w+ \(2 images\)", terminal_trust(few)))
    assert "2 images\n" in "".join(tick.get_text() for tick in few.figure().axes[1].get_xticklabels())
    assert "images)" not in terminal_trust(all_).splitlines()[0]
    with pytest.raises(InnersightError, match="secondary_images is 0"):
        Protocol(secondary_images=0)


def test_a_new_file_is_a_new_metric_ground_truth_imputer_and_baseline(
    corner: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "import torch\nfrom innersight.trust.{0} import {1}\n\n"
    plant(
        monkeypatch, tmp_path, metrics, "peakedness",
        head.format("metrics", "metrics") + '@metrics.register("peakedness", better="high", protocol=True)\n'
        'def peakedness(case):\n    """Largest value over the mean."""\n'
        "    return (case.wide.amax((1, 2)) / case.wide.abs().mean((1, 2))).float()\n",
    )  # fmt: skip
    plant(
        monkeypatch, tmp_path, metrics, "noise_score",
        head.format("metrics", "SAME, metrics") + "from innersight.trust.conditions import NOISE\n"
        "from innersight.trust.faithfulness import curves, ranking\n\n"
        '@metrics.register("score, noise", better="low", imputer=SAME, needs=(NOISE,), control=NOISE)\n'
        'def noise_score(case):\n    """Score of the map of the noisy image."""\n'
        "    orders = torch.stack([ranking(one, case.size, case.rng)[0] for one in case.others[NOISE]])\n"
        "    found = yield from curves(orders, case.steps)\n    return found.scores[:, 0]\n",
    )  # fmt: skip
    plant(
        monkeypatch, tmp_path, ground_truth, "halves",
        head.format("ground_truth", "Scores, ground_truth")
        + '@ground_truth.register("mass in left half", against="chance in the halves")\n'
        'def halves(request, sample):\n    """Share of the map in the left half."""\n'
        "    rows = [torch.stack([m[:, : m.shape[1] // 2].abs().sum() / m.abs().sum() for m in maps])\n"
        "            for _, maps, _ in request.explain_made(sample.x[:9], torch.zeros(9).long())]\n"
        '    return Scores(torch.stack(rows), torch.full((9,), 0.5), "Halves: of nine images.")\n',
    )  # fmt: skip
    plant(
        monkeypatch, tmp_path, imputers, "black",
        head.format("imputers", "imputers, laid_over") + '@imputers.register("Black")\ndef black(x, stream):\n'
        '    """Zeros."""\n    return laid_over(x, torch.zeros_like(x))\n',
    )  # fmt: skip
    plant(
        monkeypatch, tmp_path, baselines, "corners",
        head.format("baselines", "baselines") + '@baselines.register("Corners", phrase="a map of the corners")\n'
        "def corners(pixels, rng):\n"
        '    """Opposite of the centre."""\n    return 1 - baselines["centre"](pixels, rng)\n',
    )  # fmt: skip
    result = trust(corner, folder, ["saliency"], target=0, protocol=Protocol("black", steps=2), max_images=12)
    assert {"peakedness", "noise-score", "halves"} <= set(result.columns)
    assert result.maps[1:] == ("centre", "corners", "edges", "random")
    assert {"peakedness", "mean, 2 steps"} <= set(result.rank_agreement())
    assert "Halves: of nine images." in result.note
    assert "replaced by black (zeros)" in result.note
    phrases = {row.phrase for row in result.comparisons}
    assert {"a map of the corners", "its own maps with imperceptible noise", "chance in the halves"} <= phrases
    assert "noise-score" in result.controls
    assert "a map of the corners" in result.verdict("saliency")
    assert "peakedness" in terminal_trust(result)
    result.figure()


def test_nothing_planted_is_left() -> None:
    assert not {"peakedness", "noise-score"} & set(metrics)
    assert "black" not in imputers
