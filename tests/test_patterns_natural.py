"""Natural patterns: what is matched to which images; and what an independent network takes a pattern for."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from torch import Tensor, nn

from innersight import tap, toons
from innersight.address import Address
from innersight.errors import InnersightError
from innersight.image import as_image
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.patterns import engine, estimate, patterns
from innersight.patterns.judge import verdicts
from innersight.patterns.natural import _distribution, _exciting
from innersight.patterns.objectives import Distribution, Objective, Rows, Term, resolve
from innersight.patterns.objectives.natural import SIDE, ascending, natural
from innersight.scan import scan
from innersight.sources import load
from innersight.storage.store import Store
from innersight.storage.study_folder import StudyFolder, parsed, read
from innersight.study import Plan, study
from innersight.web.shell import documents

IMAGES = [image(i) for i in range(8)]
QUICK = {"steps": 24, "seeds": 1, "until": "steps"}


def rows(given: Distribution, count: int = 1) -> Rows:
    term = Term("natural", Address("layer"), given=given)
    return Rows(tiny("in-place"), torch.arange(count), torch.arange(count), (term,) * count, (None,) * count, False)


def test_the_match_is_the_weighted_squared_distance_of_sorted_values() -> None:
    wanted = Distribution(torch.tensor([[0.0, 1, 2, 3], [5, 5, 5, 5]]), torch.tensor([1.0, 0.5]))
    maps = torch.tensor([[[[3.0, 1], [0, 2]], [[5, 7], [5, 5]]]])
    # The first unit has the wanted values elsewhere in the image; the second is 2 too high at one of four.
    assert float(natural(rows(wanted))(maps)) == pytest.approx(-0.5 * 4 / 4)
    assert float(natural(rows(wanted))(maps - 1)) == pytest.approx(-(1.0 + 0.5 * (1 + 1 + 1 + 1) / 4))


def test_large_maps_are_compared_at_every_few_locations() -> None:
    maps = torch.rand(2, 3, 2 * SIDE + 1, 5)
    found = ascending(maps)
    assert found.shape == (2, 3, len(range(0, 2 * SIDE + 1, 3)) * 5)
    assert torch.equal(found, maps[:, :, ::3].flatten(2).sort(2).values)
    # Of a part of the image there are fewer: the distribution is read at as many places.
    line = torch.arange(9.0).view(1, 1, 3, 3)
    assert ascending(line, 5).flatten().tolist() == [0, 2, 4, 6, 8]


def test_units_weigh_by_their_relevance_and_spread() -> None:
    maps = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]], [[[1.0, 3.0]], [[2.0, 6.0]]]])
    slopes = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]], [[[1.0, 1.0]], [[0.0, -1.0]]]])
    found = _distribution(maps, slopes)
    assert found.values.tolist() == [[1, 3], [2, 4]]
    variance = torch.tensor([1.0, 3.0])
    # The first unit contributes 4 an image, the second less than nothing.
    weights = torch.tensor([0.25 + 0.5, 0.25]) / (variance + 0.05 * 2)
    assert torch.allclose(found.weights, weights)


@pytest.mark.parametrize(
    ("text", "responses", "kept"),
    [
        ("conv2:1", [10, 6, 5, 4, 1, 0.5], [0, 1, 2, 3]),
        ("conv2:1", [10, 9, 8, 7, 6, 5, 4.9], [0, 1, 2, 3, 4, 5]),
        ("conv2:1", [10, 1, 0, -1], [0, 1]),
        ("conv2:1", [0, 0, 0, 0], []),
        ("class:1", [-1, -2, -3, -4, -5], [0, 1, 2, 3]),
        ("class:1", [4, -2, -3, -4, -5], [0, 1, 2, 3]),
        ("class:1", [], []),
    ],
)
def test_images_that_excite_respond_half_as_much_as_the_first(
    text: str, responses: list[float], kept: list[int]
) -> None:
    (objective,) = resolve(tiny("in-place"), text)
    assert _exciting(objective, [(value, i) for i, value in enumerate(responses)]) == kept


def apart(model: Model, layer: str, pixels: Tensor, images: Tensor) -> float:
    """Return how far the sorted values of a layer lie from their mean over images, in its own spread."""
    with tap.untouched(model), torch.no_grad():
        own, theirs = (
            tap.capture(model, model.input.normalise(x), [layer]).activations[layer] for x in (pixels, images)
        )
    spread = theirs.transpose(0, 1).flatten(1).var(1) + 1e-3
    return float(((ascending(own) - ascending(theirs).mean(0)).square().mean(2) / spread).mean())


def test_a_natural_pattern_is_nearer_to_the_images_and_still_excites_the_class() -> None:
    model = load("toon")
    given = [as_image(toons.draw(name, seed).pixels, name=f"{name}{seed}") for name in toons.CLASSES for seed in (1, 2)]
    ours = torch.stack([model.input.denormalise(one.tensor(model.input)[None])[0] for one in given[:2]])
    strongest, likest = (
        patterns(model, "class:ambra", images=given, steps=48, seeds=1, until="steps", natural=share)
        for share in (0.0, 0.5)
    )
    assert likest.settings["natural"] == 0.5
    for layer in ("stage2", "stage3", "stage4"):
        far = apart(model, layer, strongest.images, ours)
        assert apart(model, layer, likest.images, ours) < 0.5 * far, layer
    assert likest.scores[0].activation > 2 * likest.scores[0].start
    assert strongest.scores[0].activation > likest.scores[0].activation


def test_the_dial_goes_from_strongest_to_most_natural() -> None:
    model = tiny("in-place")
    found = [patterns(model, "conv2:1", images=IMAGES, natural=share, **QUICK) for share in (0.0, 0.1, 0.5, 0.9)]
    responses = [one.scores[0].activation for one in found]
    assert responses[0] > max(responses[1:])
    given = torch.stack([model.input.denormalise(one.tensor(model.input)[None])[0] for one in IMAGES])
    far = [apart(model, "conv2", one.images, given) for one in found]
    assert far[3] < far[1] < far[0]
    assert torch.equal(found[0].images, patterns(model, "conv2:1", **QUICK).images)


def test_a_natural_pattern_is_the_same_bits_in_any_company() -> None:
    model = tiny("in-place")
    together = patterns(model, ["conv2:1", "class:0", "conv1:2"], images=IMAGES, natural=0.5, **QUICK)
    for i, what in enumerate(("conv2:1", "class:0", "conv1:2")):
        assert torch.equal(together.images[i], patterns(model, what, images=IMAGES, natural=0.5, **QUICK).images[0]), (
            what
        )


def test_what_is_kept_belongs_to_its_images(tmp_path: Path) -> None:
    model, options = tiny("in-place"), {**QUICK, "steps": 4, "natural": 0.5, "keep": tmp_path}
    first = patterns(model, "conv2:1", images=IMAGES, **options)
    again = patterns(model, "conv2:1", images=IMAGES, **options)
    assert torch.equal(first.images, again.images)
    assert len(list(tmp_path.iterdir())) == 1
    patterns(model, "conv2:1", images=IMAGES[:5], **options)
    patterns(model, "conv2:1", images=IMAGES, **{**options, "natural": 0.6})
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("conv2:1@2,2", {}),
        ("-conv2:1", {}),
        ("conv1:1 + conv2:2", {}),
        ("conv2:1", {"variants": 2}),
        ("conv2:1", {"size": (24, 40)}),
        ("class:0", {"parameterize": "maco", "negatives": True}),
    ],
)
def test_any_objective_can_look_natural(what: str, options: dict) -> None:
    model = tiny("in-place")
    found = patterns(model, what, images=IMAGES, natural=0.5, **{**QUICK, "steps": 4}, **options)
    assert torch.isfinite(found.images).all()
    plain = patterns(model, what, **{**QUICK, "steps": 4}, **options)
    assert not torch.equal(found.images, plain.images)


@pytest.mark.parametrize("name", ["grey", "windows"])
def test_one_band_and_tokens(name: str) -> None:
    model = tiny(name)
    images = torch.rand((4, *model.input.shape), generator=torch.Generator().manual_seed(0))
    found = patterns(model, "class:0", images=images, natural=0.5, **{**QUICK, "steps": 3})
    assert torch.isfinite(found.images).all()


def test_classes_of_a_network_without_a_grid_look_natural() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 6), nn.ReLU(), nn.Linear(6, 3))
    model = load(net.eval(), input=InputSpec(16, 16), labels=("a", "b", "c"))
    found = patterns(model, "class:a", images=IMAGES, natural=0.5, **{**QUICK, "size": 16})
    assert not torch.equal(found.images, patterns(model, "class:a", **{**QUICK, "size": 16}).images)


def test_what_no_image_excites_is_drawn_as_ever_and_said() -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.conv2.weight[3] = 0
        model.net.conv2.bias[3] = -1.0
    found = patterns(model, "relu2:3", images=IMAGES, natural=0.5, **QUICK)
    assert (
        "relu2:3: none of the images excites it, so its pattern is the strongest and not a natural one" in found.notes
    )
    assert torch.equal(found.images, patterns(model, "relu2:3", **QUICK).images)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"natural": 0.5}, r"natural=0.5 needs images that the patterns shall look like: give images= \(--image\)"),
        ({"natural": 0.5, "images": IMAGES[:3]}, "natural=0.5 needs at least 4 images; 3 could be used"),
        ({"natural": 1.5, "images": IMAGES}, r"natural=1.5: give a number from 0 \(strongest\) to 1"),
        ({"natural": float("nan"), "images": IMAGES}, "natural=nan: give a number from 0"),
    ],
)
def test_natural_patterns_that_cannot_be(options: dict, words: str) -> None:
    with pytest.raises(InnersightError, match=words):
        patterns(tiny("in-place"), "conv2:1", **options, **QUICK)


def test_the_estimate_counts_what_is_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = load("small:4", input=InputSpec(160, 160)), []
    original = engine.PatternOptimizer.__init__

    def spy(self: object, model: Model, jobs: list, *rest: object) -> None:
        seen.append([(len(job.optimized.terms), job.window) for job in jobs])
        original(self, model, jobs, *rest)

    monkeypatch.setattr(engine.PatternOptimizer, "__init__", spy)
    estimate(model, "stem:0", images=IMAGES, seeds=1)
    estimate(model, "stem:0", images=IMAGES, seeds=1, natural=0.5)
    # Part of an image is no match for whole ones: windows, which cost less, are not used.
    assert [[terms for terms, _ in jobs] for jobs in seen] == [[1], [2]]
    assert [[window is None for _, window in jobs] for jobs in seen] == [[False], [True]]
    with pytest.raises(InnersightError, match="needs images that the patterns shall look like"):
        estimate(model, "stem:0", natural=0.5)


def test_the_term_alone_says_how_it_is_asked_for() -> None:
    with pytest.raises(InnersightError, match=r"natural is asked for by the option natural=0\.5"):
        patterns(tiny("in-place"), "conv2:1 + natural(conv1)", **QUICK)


class Brightness(nn.Module):
    """Two classes: dark, and bright."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([1 - mean, mean], 1) * 10


def judge(labels: tuple[str, ...] = ("dark", "bright"), channels: int = 3) -> Model:
    spec = InputSpec(16, 16, channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels)
    return load(Brightness(), labels=labels, input=spec)


def test_an_independent_network_says_what_it_takes_a_pattern_for() -> None:
    model = replace(tiny("in-place"), labels=("bright", "dark", *map(str, range(2, len(tiny("in-place").labels)))))
    targets = resolve(model, ["class:bright", "class:dark", "conv2:1", "-class:dark"])
    images = torch.stack([torch.full((3, 40, 24), value) for value in (0.75, 0.75, 0.5, 0.5)])
    found, notes = verdicts(judge(), targets, images)
    sure = 1 / (1 + torch.tensor(-5.0).exp().item())
    assert [(one.label, one.rank) for one in found if one] == [("bright", 1), ("bright", 2)]
    assert [one.probability for one in found if one] == pytest.approx([sure, sure])
    assert found[2:] == (None, None)
    assert notes == ()
    assert str(found[0]) == "bright, 99%"


def test_a_judge_without_finite_scores_says_nothing() -> None:
    model, net = tiny("in-place"), tiny("in-place", seed=1)
    with torch.no_grad():
        net.net.head.bias[2] = torch.nan
    found = patterns(model, ["class:0", "class:1"], judge=net, **{**QUICK, "steps": 2})
    assert found.verdicts == (None, None)
    assert "tiny in-place gives scores that are not finite for 2 of the patterns: not judged" in found.notes


def test_a_judge_is_a_network() -> None:
    # Not in this process, whose tests check annotations first.
    call = "ins.patterns(ins.load('small:4'), 'class:0', judge='resnet18', steps=1, seeds=1)"
    done = subprocess.run([sys.executable, "-c", f"import innersight as ins; {call}"], capture_output=True, text=True)
    assert "InnersightError: judge is 'resnet18': give a Model" in done.stderr


def test_a_judge_with_other_classes_names_its_own() -> None:
    model = tiny("in-place")
    net = judge(("night", "day"))
    found = patterns(model, ["class:0", "class:1", "conv2:1"], judge=net, **{**QUICK, "steps": 2})
    assert [one.rank for one in found.verdicts if one] == [None, None]
    assert found.verdicts[2] is None
    label = model.labels[0]
    assert found.notes[-1] == f"{net.name} has no class {label!r} and 1 more: it names its own classes"
    assert found.to_json()["patterns"][2]["judge"] is None
    assert found.to_json()["patterns"][0]["judge"]["rank"] is None
    assert f"judge: {found.verdicts[0]}" in found.figure().axes[0].get_title()


def test_one_band_is_shown_as_grey_and_other_bands_are_not_judged() -> None:
    (target,) = resolve(tiny("in-place"), "class:0")
    own = Objective(target.terms)
    found, _ = verdicts(judge(), [own], torch.full((1, 1, 16, 16), 0.9))
    assert found[0] is not None
    assert found[0].label == "bright"
    found, notes = verdicts(judge(), [own], torch.full((1, 5, 16, 16), 0.9))
    assert found == (None,)
    assert "takes 3 channels, and the patterns have 5: not judged" in notes[0]


def test_a_study_shows_natural_classes_where_a_data_set_was_scanned(tmp_path: Path) -> None:
    model, plan = (
        tiny("in-place"),
        Plan(layers=("relu2",), units=1, steps=4, seeds=1, methods=("gradcam",), trust=0, concepts=0),
    )
    files = []
    for i in range(6):
        files.append(tmp_path / f"{i}.png")
        PILImage.fromarray(toons.draw(toons.CLASSES[i], 1, size=32).pixels).save(files[-1])
    study(model, [files[0]], tmp_path / "s", plan=plan)
    before = Store.open(tmp_path / "s").get("classes")
    assert before is not None
    assert "natural" not in before.document
    assert "natural" not in before.tensors()
    scan(model, files, ["relu2"], out=tmp_path / "s")
    made = study(model, [files[0]], tmp_path / "s", plan=plan)
    item = Store.open(tmp_path / "s").get("classes")
    assert item is not None
    found = patterns(
        model, [f"class:{i}" for i in item.document["classes"]], images=files, natural=0.5, steps=4, seeds=1
    )
    assert torch.equal(item.tensors()["natural"], found.images)
    made.render()
    folder = StudyFolder(tmp_path / "s")
    path = documents(folder)["classes"]
    shown = parsed(read(path), path)["patterns"]["natural"]
    assert shown["sheet"]["count"] == len(item.document["classes"])
    assert [score["activation"] for score in shown["score"]] == pytest.approx([one.activation for one in found.scores])
