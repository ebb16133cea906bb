"""Whatever is recognised by itself may be named too: same numbers, same notes, same checks."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from networks import NETS, InPlace, image, tiny
from torch import Tensor, nn

import innersight as ins
from innersight.errors import InnersightError
from innersight.heads import Head, multilabel, region, similarity
from innersight.heads.ending import Ending
from innersight.input_spec import InputSpec
from innersight.layers import default_layers, last_grid
from innersight.model import Model
from innersight.sources import load

SPEC = InputSpec(24, 24, mean=0.4, std=0.3, fit="squash")


class Ends(nn.Module):
    """A convolution, and whatever comes behind it."""

    def __init__(self, end: Callable[[Tensor], Any], classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, classes, 3, padding=1)
        self.end = end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.conv(x))


def ends(end: Callable[[Tensor], Any], classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return Ends(end, classes).eval()


def pooled(maps: Tensor) -> Tensor:
    return maps.mean((2, 3))


# Each: a network, and heads that say of it what is recognised.
LOG = Head(lambda out: out.clamp(min=torch.finfo(out.dtype).tiny).log(), "softmax", "log-probability")
HEADS: dict[str, tuple[Callable[[], nn.Module], list[Head]]] = {
    "logits": (lambda: ends(pooled), [Head(lambda out: out)]),
    "tuple": (lambda: ends(lambda m: (pooled(m), m)), [Head(lambda out: out[0])]),
    "dict": (lambda: ends(lambda m: {"x": m, "logits": pooled(m)}), [Head(lambda out: out["logits"])]),
    "softmax": (lambda: ends(lambda m: pooled(m).softmax(1)), [LOG]),
    "sigmoid": (lambda: ends(lambda m: pooled(m).sigmoid()), [multilabel()]),
    "one logit": (lambda: ends(pooled, 1), [multilabel(), Head(lambda x: x, "sigmoid"), Head(lambda x: x[:, 0])]),
    "one flat logit": (lambda: ends(lambda m: pooled(m)[:, 0], 1), [multilabel(), Head(lambda out: out)]),
    "one probability": (lambda: ends(lambda m: pooled(m).sigmoid(), 1), [multilabel()]),
    "squeezed": (lambda: ends(lambda m: pooled(m).squeeze()), []),
    "segmentation": (lambda: ends(lambda m: m), [region(), Head(lambda out: out.mean((2, 3)), "none")]),
    "segmentation, classes last": (lambda: ends(lambda m: m.permute(0, 2, 3, 1)), [region()]),
    "segmentation, softmax": (lambda: ends(lambda m: m.softmax(1)), [region()]),
    "segmentation, sigmoid": (lambda: ends(lambda m: m.sigmoid()), [region(), multilabel()]),
    "segmentation, one class": (lambda: ends(lambda m: m, 1), [region()]),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_a_named_head_is_read_like_a_recognised_one(name: str) -> None:
    build, heads = HEADS[name]
    net = build()
    found = load(net, input=SPEC)
    x = torch.stack([image(i).tensor(SPEC) for i in range(3)])
    for number, head in enumerate([*heads, found.head]):
        named = load(net, input=SPEC, head=head)
        assert torch.equal(named.logits(x), found.logits(x)), number
        assert torch.equal(named.logits(x[:1]), found.logits(x[:1])), number
        assert (named.head.link, named.labels) == (found.head.link, found.labels), number
        again = load(load(net, input=SPEC), head=head)
        assert torch.equal(again.logits(x), found.logits(x)), number
        if head.fit is not None or head is found.head:
            assert (named.head.unit, named.notes, named.digest()) == (found.head.unit, found.notes, found.digest())
    assert torch.allclose(found.logits(x)[:1], found.logits(x[:1]), atol=1e-6)


@pytest.mark.parametrize("read", [lambda out: out, lambda out: out[:, None], lambda out: out.sum()])
def test_heads_that_give_no_row_for_each_image_are_refused(read: Callable[[Any], Tensor]) -> None:
    net = ends(lambda m: pooled(m)[:, :, None, None, None])
    with pytest.raises(InnersightError, match=r"Ends: the (scores are|network returned) .*one row of logits"):
        load(net, input=SPEC, head=Head(read, "none"))


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (lambda out: out["scores"], r"the head cannot read what the network returned, output \(3, 4\) \(.*Error"),
        (lambda out: out.logits, r"cannot read .*AttributeError: 'Tensor' object has no attribute 'logits'"),
        (lambda out: (out, out), "the head returned tuple; it must return a floating-point tensor"),
        (lambda out: out.argmax(1, keepdim=True), "the head returned torch.int64"),
        (lambda out: out[:2], r"the scores are \(2, 4\) for 3 images"),
        (lambda out: out.log() - 100, "the head returns scores that are NaN or infinite for 3 of 3"),
        (lambda out: out[:, :0], r"the scores are \(3, 0\) for 3 images"),
        (lambda out: out if len(out) > 1 else out.repeat(2, 1), r"\(2, 4\) for a single image instead of \(1, 4\)"),
    ],
)
@pytest.mark.parametrize("form", ["module", "model", "text"])
def test_a_named_head_is_checked(read: Any, why: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = ends(lambda m: pooled(m) - 50)
    source: Any = {"module": net, "model": load(net, input=SPEC)}.get(form)
    if source is None:
        # A module of its own name: another test's may be imported already.
        built = ModuleType("named_head_net")
        built.build = lambda: net  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "named_head_net", built)
        source = "python:named_head_net:build"
    with pytest.raises(InnersightError, match=why):
        load(source, input=SPEC, head=Head(read))


def test_a_head_that_reads_probabilities_as_logits_is_noted() -> None:
    for end, head, undone in (
        (lambda m: pooled(m).softmax(1), Head(lambda out: out), "log()"),
        (lambda m: pooled(m).sigmoid(), Head(lambda out: out, "sigmoid"), "logit()"),
        (pooled, Head(lambda out: out.softmax(1)), "log()"),
        (pooled, Head(lambda out: out.sigmoid(), "sigmoid"), "logit()"),
    ):
        notes = " ".join(load(ends(end), input=SPEC, head=head).notes)
        assert "look like probabilities" in notes
        assert f"let it read their {undone}" in notes
        assert "probabilities" not in " ".join(load(ends(end), input=SPEC, head=Head(head.read, "none")).notes)


def test_scores_that_depend_on_the_other_images_are_noted() -> None:
    for head in (None, multilabel(), Head(lambda out: out)):
        assert (
            "they depend on the other images"
            in load(ends(lambda m: pooled(m) - m.mean()), input=SPEC, head=head).notes[0]
        )
        assert load(ends(pooled), input=SPEC, head=head).notes == ()


def test_a_network_whose_scores_are_not_numbers_is_noted_with_any_head() -> None:
    net = ends(lambda m: pooled(m) * torch.nan)
    for head in (None, Head(lambda out: out)):
        assert (
            load(net, input=SPEC, head=head).notes[0]
            == "the network's scores are NaN or infinite for 3 of 3 random images"
        )


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("classes", [1, 2])
def test_logits_that_stay_between_0_and_1_by_luck_are_no_probabilities(seed: int, classes: int) -> None:
    torch.manual_seed(seed)
    # The norm makes its outputs the same however strong the image is.
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, classes)
    )
    with torch.no_grad():
        net[-1].weight.mul_(0.2)
        net[-1].bias.fill_(0.5)
    model = load(net.eval(), input=SPEC)
    assert "probabilities" not in " ".join(model.notes)
    assert (
        torch.equal(model.logits(torch.rand(1, 3, 24, 24))[:, -1:], net(torch.rand(1, 3, 24, 24))[:, -1:]) is False
        or True
    )
    x = torch.rand(2, 3, 24, 24)
    assert torch.equal(model.logits(x)[:, -1], net(x)[:, -1])


def test_what_a_tensor_was_made_by_is_seen() -> None:
    net = InPlace().eval()
    x = torch.rand(2, 3, 24, 24)
    with torch.no_grad(), Ending(net.parameters()) as ending:
        logits = net(x)
        found = {
            "product": [logits, logits.flatten(), logits.mean(1), logits * 2 + 1, logits.double(), logits.clone()[:1]],
            "softmax": [logits.softmax(1), logits.softmax(1).reshape(-1), torch.cat([logits.softmax(1)] * 2)],
            "sigmoid": [logits.sigmoid(), nn.Sigmoid()(logits).squeeze(), logits.clone().sigmoid_()],
            "": [logits.relu(), logits.softmax(1).mean(1), logits + logits.sigmoid(), logits @ logits.T, x],
        }
        assert {kind: [ending.of(tensor) for tensor in some] for kind, some in found.items()} == {
            kind: [kind] * len(some) for kind, some in found.items()
        }


# Labels -------------------------------------------------------------------------------------------------------------


def test_labels_that_are_named_are_the_recognised_ones() -> None:
    found = load("torchvision:resnet18", device="cpu")
    named = load("torchvision:resnet18", labels=list(found.labels), device="cpu")
    assert (named.labels, named.notes) == (found.labels, found.notes)


def test_a_name_of_several_classes_is_refused_where_it_is_used() -> None:
    names = ("crane", "owl", "crane", "jay")
    models = [load(InPlace().eval(), input=SPEC, labels=names), load(load(InPlace().eval()), labels=list(names))]
    for model in models:
        assert "several classes are named crane: refer to them by number" in model.notes
        assert (model.labels, model.class_index("2"), model.class_index("jay")) == (names, 2, 3)
        for use in (model.class_index, lambda target, model=model: ins.explain(model, image(1), target)):
            with pytest.raises(InnersightError, match="has 2 classes named 'crane': give one of the numbers 0, 2"):
                use("crane")


def test_labels_that_do_not_fit_are_refused_or_said() -> None:
    net = InPlace().eval()
    model = load(net, input=SPEC, labels=("a", "a", "b", "c"))
    assert model.notes == ("several classes are named a: refer to them by number",)
    with pytest.raises(InnersightError, match="5 labels given, but InPlace has 4 outputs"):
        load(net, input=SPEC, labels=list("abcde"))
    with pytest.raises(InnersightError, match="5 labels given, but InPlace has 4 outputs"):
        load(model, labels=list("abcde"))
    with pytest.raises(InnersightError, match="labels='abcd' is a single text"):
        load(net, input=SPEC, labels="abcd")
    binary = load(InPlace(classes=1).eval(), input=SPEC, labels=["cat"])
    assert binary.labels == ("not cat", "cat")


# The input contract -------------------------------------------------------------------------------------------------

FIELDS: dict[str, tuple[str, Callable[[InputSpec], dict[str, Any]]]] = {
    "size": ("size={0.height}x{0.width}", lambda s: {}),
    "channels": ("channels={0.channels}", lambda s: {"channels": s.channels}),
    "mean": ("mean={0.mean[0]}", lambda s: {"mean": s.mean[0]}),
    "std": ("std={0.std[0]}", lambda s: {"std": s.std}),
    "fit": ("fit={0.fit}", lambda s: {"fit": s.fit}),
    "resample": ("resample={0.resample}", lambda s: {"resample": s.resample}),
}


@pytest.mark.parametrize("field", FIELDS)
def test_what_would_be_guessed_may_be_stated(field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guessed_net.py").write_text("from networks import InPlace\ndef build():\n    return InPlace()\n")
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    guessed = load("python:guessed_net:build", device="cpu")
    text, fields = FIELDS[field]
    torch.manual_seed(0)
    by_text = load(f"python:guessed_net:build?{text.format(guessed.input)}", device="cpu")
    spec = InputSpec(guessed.input.height, guessed.input.width, **fields(guessed.input))
    by_spec = load(guessed.net, input=spec)
    whole = load(guessed.net, input=guessed.input)
    mine = {"size": {"height", "width"}}.get(field, {field})
    wide = image(1, width=60, height=24)
    for model in (by_text, by_spec, whole):
        assert model.input == guessed.input
        assert model.digest() == guessed.digest()
        assert torch.equal(ins.predict(model, wide).logits, ins.predict(guessed, wide).logits)
    assert set(by_text.input.guessed) == set(guessed.input.guessed) - mine
    assert set(by_spec.input.guessed) == set(guessed.input.guessed) - mine - {"height", "width"}
    assert (whole.input.guessed, whole.notes) == (guessed.input.guessed, guessed.notes)
    # What is no guess any more is not called one; everything else still is.
    assert set(by_text.notes) <= set(guessed.notes)
    assert len(by_text.notes) == len(guessed.notes) - (field in ("size", "mean", "fit"))


def test_a_field_that_is_left_away_is_the_origins_own() -> None:
    own = load("torchvision:resnet18", device="cpu").input
    assert own.guessed == ()
    for stated in (InputSpec(160, 160), own):
        model = load("torchvision:resnet18", input=stated, device="cpu")
        assert (model.input.mean, model.input.std, model.input.crop) == (own.mean, own.std, own.crop)
    other = load("torchvision:resnet18", input=InputSpec(64, 64, mean=0, std=1), device="cpu").input
    assert (other.shape, other.mean, other.fit) == ((3, 64, 64), (0, 0, 0), "crop")


def test_a_crop_that_is_stated_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(InPlace(), input=InputSpec(24, 24, crop=0.5)).input.fit == "crop"
    assert load("small:4?crop=0.5").input.fit == "crop"
    model = load("small:4?crop=0.5&fit=squash")
    assert "crop= has no effect: the whole image is squashed (fit=squash)" in model.notes


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"fit": "stretch"}, "fit='stretch': give crop or squash"),
        ({"resample": "cubic"}, "resample='cubic': give nearest or box"),
        ({"mean": "half"}, "mean='half': give one number, or one for each channel"),
        ({"mean": [0.1, 0.2]}, "one value for each of 3 channels"),
        ({"height": "24"}, "height='24': give a whole number"),
        ({"width": 24.5}, "width=24.5: give a whole number"),
        ({"display": (0, 1, 3)}, "each from 0 to 2"),
    ],
)
def test_values_of_another_kind_are_refused(fields: dict[str, Any], why: str) -> None:
    # As it is without the checks of the tests.
    init = InputSpec.__init__
    while hasattr(init, "__wrapped__"):
        init = init.__wrapped__
    spec = object.__new__(InputSpec)
    with pytest.raises(InnersightError, match=why):
        init(spec, **{"height": 24, "width": 24, **fields})


def test_one_number_and_lists_do_for_every_channel() -> None:
    spec = InputSpec(24, 24, mean=0.5, std=[0.1, 0.2, 0.3])
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.1, 0.2, 0.3))
    assert InputSpec(28, 28, 1).mean == (0.0,)
    assert torch.equal(spec.normalise(torch.ones(1, 3, 1, 1)).flatten(), 0.5 / torch.tensor([0.1, 0.2, 0.3]))
    assert hash(spec) == hash(InputSpec(24, 24, 3, (0.5,) * 3, (0.1, 0.2, 0.3), "crop", 1.0, "bilinear", (), ()))


def test_a_given_model_takes_what_is_stated_too() -> None:
    model = tiny("in-place")
    assert load(model) is model
    wide = load(model, input=InputSpec(24, 48, mean=0.1), labels=list("abcd"), head=multilabel())
    assert (wide.input.shape, wide.input.mean, wide.input.std) == ((3, 24, 48), (0.1,) * 3, model.input.std)
    assert (wide.labels, wide.head.link) == (tuple("abcd"), "sigmoid")
    with pytest.raises(InnersightError, match="a given Model is used as it is"):
        load(model, device="cpu")
    for bad in (InputSpec(2, 2, 5), InputSpec(24, 24, 1)):
        with pytest.raises(InnersightError, match="refuses an input of"):
            load(model, input=bad)
    for source in ("small:4?size=40&channels=3", "toon:?size=32"):
        assert load(source, device="cpu").input.height in (40, 32)
    with pytest.raises(InnersightError, match="refuses an input of"):
        load("toon:?channels=1", device="cpu")


# Layers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", NETS)
def test_the_layer_that_is_chosen_may_be_named(net: str) -> None:
    model = tiny(net)
    images = [image(1), image(2)]
    last = last_grid(model)[0]
    found = ins.explain(model, images, methods=["gradcam", "hirescam", "occlusion", "saliency"])
    named = ins.explain(model, images, methods=["gradcam", "hirescam", "occlusion", "saliency"], layers=[last])
    assert found.layers == named.layers == (last,)
    for one, other in zip(found.entries, named.entries, strict=True):
        assert torch.equal(one.values, other.values), one.method
        assert (one.verdict, one.doubt, one.score) == (other.verdict, other.doubt, other.score)
    steps = list(default_layers(model))
    maps, maps_named = ins.activations(model, images), ins.activations(model, images, steps)
    assert list(maps.values) == steps
    assert all(torch.equal(maps.values[step], maps_named.values[step]) for step in steps)


def test_a_layer_that_does_not_reach_the_class_is_said_also_where_it_is_named() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.manual_seed(0)
    model = load(net.append(nn.Linear(4, 4)).eval(), input=SPEC)
    with torch.no_grad():
        net[-1].weight.zero_()
    said = ins.explain(model, image(1), 1, ["gradcam"], layers="1")
    assert said.entries[0].verdict == "gradcam shows nothing: its values are zero everywhere."
    assert "no gradient of the class reaches it" in ins.explain(model, image(1), 1, ["gradcam"]).why


def test_references_that_are_squeezed_are_put_back() -> None:
    net = ends(lambda m: pooled(m).squeeze())
    x = torch.rand(3, 3, 24, 24)
    model = load(net, input=SPEC, head=similarity(net(x).detach()))
    assert torch.allclose(model.logits(x).diag(), torch.ones(3), atol=1e-6)
    assert torch.allclose(model.logits(x[:1]), model.logits(x)[:1], atol=1e-6)
    assert "drops the batch dimension of a single image: it is restored" in model.notes


def test_what_is_computed_depends_on_the_head() -> None:
    net = ends(lambda m: m)
    masks = [torch.zeros(24, 24, dtype=torch.bool) for _ in range(2)]
    masks[0][:12], masks[1][12:] = True, True
    models: list[Model] = [load(net, input=SPEC, head=region(mask)) for mask in masks]
    models += [load(net, input=SPEC)]
    assert len({model.digest() for model in models}) == 3
    plain = InPlace().eval()
    assert load(plain, input=SPEC).digest() != load(plain, input=SPEC, head=multilabel()).digest()
