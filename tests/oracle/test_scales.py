"""What must not depend on how large activations, gradients and logits are: the same numbers from 1e-30 to 1e30."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import batch, image, tiny
from PIL import Image as PILImage
from torch import Tensor, nn

import innersight as ins
from innersight import heads, tap
from innersight.compare import rank
from innersight.heatmaps import explain
from innersight.heatmaps.engine import explain_batch
from innersight.heatmaps.methods.occlusion import occlusion
from innersight.heatmaps.request import Request, Trial
from innersight.heatmaps.shared import Pass
from innersight.heatmaps.target import class_target, similarity_to, target_of
from innersight.input_spec import InputSpec
from innersight.layers import survey
from innersight.matching.engine import _Gathered
from innersight.model import Model
from innersight.patterns.objectives import Read, Rows, Term, objectives
from innersight.patterns.score import grain
from innersight.quotients import cosine, normalised, quotient, scaled
from innersight.receptive_field import receptive_fields
from innersight.render.colour import paint, scale_of
from innersight.render.sheets import value_sheet
from innersight.scan.statistics.class_sums import selectivity
from innersight.scan.statistics.correlation import merged, moments, pearson
from innersight.sources import load
from innersight.statistics import bootstrap, rank_correlations, sign_flips, spearman
from innersight.tap import probe
from innersight.trust import Protocol

SCALES = [1e-30, 1e-8, 1.0, 1e8, 1e30]


@pytest.mark.parametrize("size", [0.0, 1e-44, 1e-38, *SCALES, 1e37])
def test_quotients(size: float) -> None:
    values = (torch.tensor([[3.0, -4.0, 0.0]]) * size).requires_grad_(True)
    unit = normalised(values, 1)
    (slope,) = torch.autograd.grad(unit[0, 0], values)
    if size == 0:
        assert not unit.any()
        assert not slope.any()
        assert float(cosine(values, torch.ones(1, 3)).detach()) == 0
    else:
        assert unit.tolist()[0] == pytest.approx([0.6, -0.8, 0], abs=1e-6)
        assert scaled(values, 1).tolist()[0] == pytest.approx([0.75, -1, 0], abs=1e-6)
        if size > 1e-40:
            assert (slope.double() * size).tolist()[0] == pytest.approx([0.128, 0.096, 0], abs=1e-6)
        assert float(cosine(values, torch.tensor([[1.0, 0, 0]])).detach()) == pytest.approx(0.6)
    assert quotient(torch.ones(2), torch.tensor([0.0, 1e-38]), 7.0).tolist() == pytest.approx([7, 1e38])


# Heatmaps


class Deep(nn.Module):
    """A ReLU behind the layer that is read: the class is no affine function of it."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.relu, self.head = nn.ReLU(), nn.Linear(8, 3)
        self.head.weight.data *= size
        self.head.bias.data *= size

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.second(self.relu(self.first(x)))).mean((2, 3)))


def deep(size: float) -> Model:
    torch.manual_seed(3)
    return load(Deep(size).eval(), input=InputSpec(10, 10, fit="squash"))


def slow_losses(model: Model, x: Tensor) -> Tensor:
    """(B, units, classes), by full runs in float64."""
    net = copy.deepcopy(model.net).double()
    found = []
    with torch.no_grad():
        for unit in range(6):

            def silent(_m: nn.Module, _i: object, output: Tensor, unit: int = unit) -> Tensor:
                output = output.clone()
                output[:, unit] = 0
                return output

            handle = net.first.register_forward_hook(silent)
            without = net(x.double())
            handle.remove()
            found.append(net(x.double()) - without)
    return torch.stack(found, 1)


@pytest.mark.parametrize("size", SCALES)
def test_a_rest_is_affine_by_what_changes_and_not_by_the_size_of_the_logits(size: float) -> None:
    model, x = deep(size), batch(deep(1.0), 2)
    truth = slow_losses(model, x)
    found = ins.ablate(model, [image(0), image(1)], "first")
    assert not found.closed_form
    target = class_target(model, torch.tensor([1, 2]))
    maps = next(iter(explain_batch(model, x, lambda _: target, ["first"], {"ablationcam": {}}).found.values())).values
    activation = tap.capture(model, x, ["first"]).activations["first"].detach().double()
    want = (truth[range(2), :, [1, 2]][:, :, None, None] * activation).sum(1)
    assert float((maps - want).abs().max() / want.abs().max()) < 1e-4


@pytest.mark.parametrize("size", SCALES)
def test_an_affine_rest_is_found_at_every_size(size: float) -> None:
    model = tiny("in-place")
    model.net.head.weight.data *= size
    model.net.head.bias.data *= size
    assert ins.ablate(model, [image(0)], "relu2").closed_form


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e12])
def test_likeness_is_a_cosine(size: float) -> None:
    model = deep(1.0)
    model.net.second.weight.data *= size
    model.net.second.bias.data *= size
    x = batch(model, 3)
    target = similarity_to(model, image(0), "relu#2")(torch.zeros(3, 3))
    with torch.no_grad():
        captured = tap.capture(model, x, ["relu#2"], stop=False)
        other = tap.capture(model, image(0).tensor(model.input)[None], ["relu#2"]).activations["relu#2"]
        found = target.score(captured, torch.arange(3))
    own, like = (maps.double().mean((2, 3)) / size for maps in (captured.activations["relu#2"], other))
    want = (own * like).sum(1) / own.norm(dim=1) / like.norm()
    assert found.tolist() == pytest.approx(want.tolist(), abs=1e-5)


def test_the_image_of_likeness_is_read_and_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from innersight.heatmaps import target as module

    model, read = tiny("in-place"), []
    monkeypatch.setattr(module, "stack", lambda *args, real=module.stack: (read.append(args), real(*args))[1])
    ran: list[int] = []
    many = [image(seed) for seed in range(33)]
    explain(model, many[0])  # layers are measured
    handle = model.net.conv1.register_forward_hook(lambda _m, given, _o: ran.append(len(given[0])))
    explain(model, many, methods=["gradcam"], like=many[0])
    first = sum(ran)
    ran.clear()
    explain(model, many, methods=["gradcam"])
    handle.remove()
    assert len(read) == 1
    assert first == sum(ran) + 1


@pytest.mark.parametrize("rival", [0, 1, 3])
def test_a_rival_of_any_number_is_taken_off(rival: int) -> None:
    model = tiny("in-place")
    one = image(2)
    found = explain(model, one, 2, ["gradcam"], versus=rival).entries[0]
    with torch.no_grad():
        logits = model.net(one.tensor(model.input)[None])[0]
    assert found.rival == rival
    assert found.score == pytest.approx(float(logits[2] - logits[rival]), abs=1e-5)
    own, other = (explain(model, one, target, ["gradcam"]).entries[0].values for target in (2, rival))
    assert torch.allclose(found.values, own - other, atol=1e-6)
    assert f"minus {model.labels[rival]}" in found.question
    none = target_of(model, [one], logits[None], [2], [None])
    assert none.rivals is not None
    assert none.rivals.tolist() == [-1]


def test_occlusion_reads_the_device_once() -> None:
    """Values of a device without memory can be subtracted and joined, and not read."""
    model = tiny("in-place")
    target = class_target(model, torch.tensor([1]))
    told: list[tuple[Tensor, Tensor]] = []

    x = batch(model, 1)
    request = Request(Pass(model, x, lambda _: target, ["conv2"]), "conv2")

    def run(values: Callable[[Tensor], Tensor]) -> Tensor:
        generator = occlusion(Trial(request, 0), patch=0.25, stride=0.125)
        masks = next(generator)
        while True:
            answers = values(masks)
            told.append((masks, answers))
            try:
                masks = generator.send(answers)
            except StopIteration as stop:
                found: Tensor = stop.value.values[0]
                return found

    with pytest.raises((NotImplementedError, RuntimeError)):
        run(lambda masks: torch.empty(len(masks), device="meta"))
    assert sum(len(masks) for masks, _ in told) == 1 + 7 * 7
    told.clear()
    with torch.no_grad():
        found = run(lambda masks: model.net(x * masks[:, None])[:, 1])
        whole, lost, covered = told[0][1][0], torch.zeros(24, 24), torch.zeros(24, 24)
        for masks, values in told[1:]:
            for mask, value in zip(masks, values, strict=True):
                lost[mask == 0] += float(whole - value)
                covered[mask == 0] += 1
        assert torch.equal(found, lost / covered)
        same = explain_batch(
            model, x, lambda _: target, ["conv2"], {"occlusion": {"patch": 0.25, "stride": 0.125}}
        ).found
    assert torch.allclose(next(iter(same.values())).values[0], found, atol=1e-6)


def test_variance_of_gradients_that_hardly_vary() -> None:
    """A gradient of 1000 that varies by 0.01: its variance is far below the rounding of its square in float32."""

    class Nearly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 2, 1), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x).mean((2, 3))
            return self.head(y) * 0 + (1000 * x + 0.005 * x.square()).sum((1, 2, 3))[:, None]

    model = load(Nearly().eval(), input=InputSpec(8, 8, fit="squash"))
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    target = class_target(model, torch.tensor([0]))
    (found,) = explain_batch(model, x, lambda _: target, ["conv"], {"vargrad": {"samples": 16}}).found.values()
    stream = torch.Generator().manual_seed(0)
    drawn = torch.stack([torch.randn(3, 8, 8, generator=stream) for _ in range(16)]).double()
    want = (0.01 * 0.15 * (x.max() - x.min()) * drawn).var(0).sum(0)
    # float32 gives 1000 in steps of 6e-5, of which the deviation here is some 25.
    assert torch.allclose(found.values[0], want, rtol=0.15)


# Comparing, matching, scanning


@pytest.mark.parametrize("size", SCALES)
def test_compare(size: float) -> None:
    stream = torch.Generator().manual_seed(0)
    model, images = tiny("in-place"), (image(0), image(1))
    maps, context = torch.randn(1, 5, 6, 6, generator=stream), torch.randn(1, 7, 4, 4, generator=stream)
    maps = maps + 0.3 * torch.randn(2, 5, 6, 6, generator=stream)
    context = context + 0.3 * torch.randn(2, 7, 4, 4, generator=stream)
    context[:, 2] = 0.1  # the same everywhere: its rounding tells no places apart
    own = rank(model, "conv2", images, maps, context, own=False)
    found = rank(model, "conv2", images, maps * size, context * size, own=False)
    assert torch.allclose(found.score, own.score, atol=1e-5)
    assert found.order == own.order
    assert (own.score > 0.1).sum() > 1
    without = rank(model, "conv2", images, maps, context[:, [0, 1, 3, 4, 5, 6]], own=False)
    assert torch.allclose(found.agreement, without.agreement, atol=1e-5)


@pytest.mark.parametrize("size", SCALES)
def test_matching(size: float) -> None:
    stream = torch.Generator().manual_seed(0)
    before = torch.randn(24, 5, 4, 4, generator=stream, dtype=torch.float64) + 3
    after = before[:, [1, 0, 2, 3, 4]] + 0.2 * torch.randn(24, 5, 4, 4, generator=stream, dtype=torch.float64)
    before[:, 3] = 0.1
    after[:, 4] = 0.7
    found = []
    for factor in (1.0, size):
        gathered = _Gathered()
        for start in range(0, 24, 8):
            part = slice(start, start + 8)
            gathered.add(before[part] * factor, after[part] * factor, start, "layer")
        found.append(gathered.matched("layer"))
    one, other = found
    assert torch.allclose(one.correlation, other.correlation, atol=1e-5)
    assert not other.correlation[3].any()
    assert not other.correlation[:, 4].any()
    assert other.silent.tolist() == [[False] * 3 + [True, False], [False] * 4 + [True]]
    assert one.cka == pytest.approx(other.cka, abs=1e-5)
    assert one.threshold == pytest.approx(other.threshold, abs=1e-5)
    # Chance is that of units that vary: rounding goes with anything by 1.
    assert other.threshold < 0.9
    assert torch.equal(one.partner, other.partner)
    pair = np.corrcoef(before[:, 0].double().flatten().numpy(), after[:, 1].double().flatten().numpy())[0, 1]
    assert float(other.correlation[0, 1]) == pytest.approx(pair, abs=1e-5)


def test_a_unit_of_one_group_of_images_has_no_correlation_without_it() -> None:
    from innersight.matching.moments import PairMoments, total

    # Off by what comes of the mean of the first images, and the same everywhere without the fourth group.
    values = torch.zeros(8, 41, 6, dtype=torch.float64) - torch.tensor([0.3, 0.1, 1 / 3, 0.7, 0.9, 1e-9])
    values[3] += torch.rand(41, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 7
    parts = [PairMoments.of(part, part) for part in values]
    rest = total(parts[:3] + parts[4:])
    assert not rest.correlation().any()
    assert (total(parts).correlation().diagonal() > 0.99).all()


@pytest.mark.parametrize("size", [1e-30, 0.1, 1.0, 1e30])
@pytest.mark.parametrize("cuts", [[], [3], [1, 2, 5]])
def test_a_peak_that_is_always_the_same_goes_with_nothing(size: float, cuts: list[int]) -> None:
    varies = torch.rand(7, 1, generator=torch.Generator().manual_seed(0)) * size
    peaks = torch.cat([torch.full((7, 1), 0.1) * size, varies, torch.full((7, 1), 1 / 3) * size], 1)
    parts = np.split(np.arange(7), cuts)
    pair = moments(peaks[parts[0]], peaks[parts[0]])
    for part in parts[1:]:
        pair = merged(pair, moments(peaks[part], peaks[part]))
    found = pearson(pair)
    assert found[1, 1] == pytest.approx(1)
    assert found[[0, 2]].isnan().all()
    assert found[:, [0, 2]].isnan().all()


@pytest.mark.parametrize("size", SCALES)
def test_selectivity(size: float) -> None:
    stream = torch.Generator().manual_seed(0)
    classes = torch.arange(90) % 3
    peaks = torch.rand(90, 2, generator=stream) + classes[:, None] * torch.tensor([1.0, 0.0])
    peaks = torch.cat([peaks, torch.full((90, 1), 0.1)], 1)
    one_hot = torch.nn.functional.one_hot(classes).double().T
    count = one_hot.sum(1, keepdim=True).long().expand(-1, 3)

    def of(values: Tensor) -> dict[str, Tensor]:
        return selectivity(count, one_hot @ values.double(), one_hot @ values.double().square())

    one, other = of(peaks), of(peaks * size)
    assert all(torch.allclose(one[key].double(), other[key].double(), atol=1e-5) for key in one if key != "best")
    assert one["best"][0] == other["best"][0] == 2
    # What is always the same is explained by nothing.
    assert float(other["share"][2]) == 0


# Patterns


def reader(kind: str, term: Term, references: tuple[Tensor | None, ...], rows: int = 1) -> Read:
    at = torch.arange(rows)
    return objectives[kind](Rows(tiny("in-place"), at, torch.zeros_like(at), (term,) * rows, references * rows, False))


@pytest.mark.parametrize("size", [1e-30, 1e-15, 1e-8, 1.0, 1e8, 1e15, 1e30])
def test_objectives_of_layers(size: float) -> None:
    stream = torch.Generator().manual_seed(0)
    own, vector = torch.randn(2, 4, 3, 3, generator=stream), torch.randn(4, generator=stream)
    theirs = own[0] + 0.5 * torch.randn(4, 3, 3, generator=stream)
    address = ins.address.parse("conv2")[0]
    a, b = own[0].double().flatten(), theirs.double().flatten()
    cos = float(a @ b / a.norm() / b.norm())
    assert cos > 0.5
    if 1e-16 < size < 1e16:  # a product of two activations
        found = reader("caricature", Term("caricature", address), (theirs * size,))(own[:1] * size)
        assert float(found) / size**2 == pytest.approx(float((a * b).mean()) * cos, rel=1e-4)
    found = reader("inversion", Term("inversion", address), (theirs * size,))(own[:1] * size)
    assert float(found) == pytest.approx(-float((a - b).square().mean() / b.square().mean()), rel=1e-4)
    found = reader("direction", Term("direction", address, given=vector * size), (None,))(own[:1] * size)
    unit = vector.double() / vector.double().norm()
    dots = torch.einsum("uhw,u->hw", own[0].double(), unit)
    near = (dots / own[0].double().norm(dim=0)).clamp(min=0.1)
    assert float(found) / size == pytest.approx(float((dots * near.square()).mean()), rel=1e-4)
    found = reader("diverse", Term("diverse", address), (None,), 2)(own * size)
    grams = [(m.flatten(1) @ m.flatten(1).T).flatten() for m in own.double()]
    assert found.tolist() == pytest.approx([-float(grams[0] @ grams[1] / grams[0].norm() / grams[1].norm())] * 2)


def test_a_pattern_of_a_unit_of_any_size() -> None:
    found = []
    for size in (1.0, 2.0**-30, 2.0**30):
        model = tiny("functional", seed=1)
        model.net.conv1.weight.data *= size
        model.net.conv1.bias.data *= size
        found.append(ins.patterns(model, "conv1:2", steps=24, seeds=1).tensors())
    key = next(name for name in found[0] if found[0][name].ndim == 4)
    for other in found[1:]:
        # Powers of two: the same bits, but for the epsilon that Adam adds to gradients of this size.
        assert torch.allclose(other[key], found[0][key], atol=1e-4)


def test_an_image_that_is_the_same_everywhere_has_no_grain() -> None:
    flat = torch.tensor([1 / 3, 0.123, 0.7])[:, None, None, None].expand(3, 3, 33, 17).clone()
    flat[:, 1] = 0.1
    assert not grain(flat).any()
    noise = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    assert float(grain(noise)) > 0.7
    assert float(grain(0.5 + 1e-3 * (noise - 0.5))) == pytest.approx(float(grain(noise)), abs=1e-3)


# The network, its head, and its layers


@pytest.mark.parametrize("size", SCALES)
def test_likeness_to_references(size: float) -> None:
    references = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    embedding = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    found = heads.similarity(references * size).read(embedding * size)
    want = torch.nn.functional.cosine_similarity(embedding.double()[:, None], references.double()[None], dim=2)
    assert torch.allclose(found.double(), want, atol=1e-6)


def test_what_layers_are_and_see_does_not_depend_on_the_size_of_activations() -> None:
    found, scores = [], []
    for size in (1.0, 1e-25, 1e25):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 18, 3, stride=2), UnitsLast(), nn.Linear(18, 6))
        for module in (net[0], net[2], net[4]):
            module.bias.data *= size
        net[0].weight.data *= size
        model = load(nn.Sequential(*net, Pooled(), nn.Linear(6, 3)).eval(), input=InputSpec(20, 20))
        x = probe._images(model)
        with torch.no_grad():
            readings = probe._readings(model.net[:5](x), x)
        assert isinstance(readings, list)
        scores.append([(one.score, one.distinct) for one in readings])
        found.append(
            ([(one.name, one.grid, one.axes) for one in survey(model)], receptive_fields(model, ["0", "2", "4"]))
        )
    assert found[0] == found[1] == found[2]
    assert np.allclose(scores[0], scores[1], atol=1e-4)
    assert np.allclose(scores[0], scores[2], atol=1e-4)
    assert ("4", (8, 8), "bhwu") in found[0][0]


class UnitsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2))


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_part_of_an_image_is_enough_by_what_varies(offset: float) -> None:
    from innersight.patterns.views import _alike

    maps = torch.randn(2, 5, 6, 6, generator=torch.Generator().manual_seed(0)) + offset
    assert _alike(maps[:, :, 2, 2] + 1e-5, maps[:, :, 2, 2], maps)
    assert not _alike(maps[:, :, 3, 2], maps[:, :, 2, 2], maps)


# Statistics and colours


@pytest.mark.parametrize("size", [1e-150, *SCALES, 1e150])
def test_statistics(size: float) -> None:
    values = np.random.default_rng(0).normal(0.3, 1, (9, 3))
    assert sign_flips(values * size) == sign_flips(values)
    assert sign_flips(np.repeat(values, 2, 0) * size) == sign_flips(np.repeat(values, 2, 0))
    one, other = bootstrap(values[:, 0]), bootstrap(values[:, 0] * size)
    assert one is not None
    assert other is not None
    assert [end / size for end in other] == pytest.approx(list(one))
    assert spearman(list(values[:, 0] * size), list(values[:, 1])) == pytest.approx(
        spearman(list(values[:, 0]), list(values[:, 1]))
    )
    assert np.allclose(rank_correlations(values.T * size), rank_correlations(values.T))


@pytest.mark.parametrize("size", [1e-44, *SCALES, 3e38])
def test_colours_and_sheets(size: float, tmp_path: Path) -> None:
    values = torch.tensor([[-1.0, -0.5, 0.0], [0.25, 0.5, 1.0]])
    scale = scale_of(values * size)
    assert (paint(values * size, scale) == paint(values, scale_of(values))).all() or size < 1e-43
    assert scale.high == pytest.approx(size, rel=0.2)
    positive = values.abs()
    assert (paint(positive * size, scale_of(positive * size)) == paint(positive, scale_of(positive))).all() or (
        size < 1e-43
    )
    sheet = value_sheet(tmp_path, values[None] * size)
    with PILImage.open(tmp_path / sheet["sheet"]["files"][0]) as image:
        bytes_ = np.array(image)[:2, :3]
    assert bytes_.tolist() == [[0, 64, 128], [159, 191, 255]] or size < 1e-43
    assert math.isfinite(sheet["lo"][0])
    assert sheet["hi"][0] == pytest.approx(size, rel=0.2)
    half = (values * 2.0**-10).half()
    assert scale_of(half, share=0.995).high == pytest.approx(scale_of(half.float(), share=0.995).high)


@pytest.mark.parametrize("size", [1e-8, 1e-6, 1.0])
def test_what_small_logits_change_of_a_probability(size: float, tmp_path: Path) -> None:
    # In float32 a probability of 1/3 is told from its neighbours by 3e-8, and these logits change it by 1e-10.
    model = deep(size)
    for number in (0, 1, 2, 3):
        image(number, width=10, height=10).pil.save(tmp_path / f"{number}.png")
    chosen = ["occlusion", "saliency", "ablationcam", "integrated-gradients", "scorecam", "hirescam"]
    found = explain(model, tmp_path, 1, chosen, of="probability", layers=["first"])
    exact = load(copy.deepcopy(model.net).double(), input=model.input)
    wanted = explain(exact, tmp_path, 1, chosen, of="probability", layers=["first"])
    for one, other in zip(found.entries, wanted.entries, strict=True):
        assert float((one.values - other.values).abs().max() / other.values.abs().max()) < 1e-3, one.method
    judged = ins.trust(model, tmp_path, ["saliency", "gradcam"], layer="first", protocol=Protocol(steps=5)).scores
    truth = ins.trust(exact, tmp_path, ["saliency", "gradcam"], layer="first", protocol=Protocol(steps=5)).scores
    assert float((judged - truth).abs().max() / truth.abs().max()) < 1e-2
