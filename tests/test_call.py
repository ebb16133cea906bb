"""How public functions are called: layers, targets and numbers as people give them, in any mode of torch."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image, tiny
from public import CASES, WITHOUT_A_NETWORK, _folder, _halves
from torch import Tensor, nn

import innersight as ins
from innersight.address import Address, ClassAddress
from innersight.call import public
from innersight.errors import InnersightError
from innersight.image import Image
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.scalars import integer
from innersight.trust import Protocol

PUBLIC = sorted(set(CASES) - {"load", "study"})
LAYER = "relu2"
LAYERED: dict[str, Callable[..., Any]] = {
    "ablate": lambda model, images, out, **where: ins.ablate(model, images, **where),
    "atlas": lambda model, images, out, **where: ins.atlas(
        model, images, grid=2, layout="pca", steps=1, vectors=40, **where
    ),
    "compare": lambda model, images, out, **where: ins.compare(model, images, **where),
    "concepts": lambda model, images, out, **where: ins.concepts(model, images, count=2, **where),
    "connections": lambda model, images, out, **where: ins.connections(model, images=images, **where),
    "dissect": lambda model, images, out, **where: ins.dissect(model, _folder(out), _halves, quantile=0.2, **where),
    "explain": lambda model, images, out, **where: ins.explain(model, images, 1, ["gradcam"], **where),
    "find": lambda model, images, out, **where: ins.find(model, [(images[0], (0.1, 0.2, 0.6, 0.7))], **where),
    "interpretability": lambda model, images, out, **where: ins.interpretability(
        model, images=[image(i) for i in range(4)], tasks=1, explanations=1, **where
    ),
    "activations": lambda model, images, out, **where: ins.activations(model, images, **where),
    "match": lambda model, images, out, **where: ins.match(model, model, images, **where),
    "patterns": lambda model, images, out, **where: ins.patterns(model, steps=1, seeds=1, **where),
    "scan": lambda model, images, out, **where: ins.scan(model, _folder(out), **where),
    "trust": lambda model, images, out, **where: ins.trust(
        model, images[:1], ["gradcam"], protocol=Protocol(steps=2), **where
    ),
}


def functions() -> dict[str, Callable[..., Any]]:
    found = {name: getattr(ins, name) for name in ins.__all__ if name != "__version__"}
    return {name: one for name, one in found.items() if not isinstance(one, type) and name not in WITHOUT_A_NETWORK}


def values(result: Any) -> list[Tensor]:
    tensors = result.tensors() if hasattr(result, "tensors") else {}
    return [tensors[name] for name in sorted(tensors)]


def same(one: Any, other: Any) -> bool:
    pairs = list(zip(values(one), values(other), strict=True))
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) and a.dtype == b.dtype for a, b in pairs)


def test_every_function_that_reads_layers_is_called_here() -> None:
    words = {"layer", "layers", "what", "address"}
    assert {name for name, one in functions().items() if words & set(inspect.signature(one).parameters)} == set(LAYERED)


@pytest.mark.parametrize("name", LAYERED)
def test_one_layer_is_given_in_any_way(name: str, small_model: Model, two_images: list[Image], tmp_path: Path) -> None:
    module = small_model.net.get_submodule(LAYER)
    described = next(layer for layer in ins.layers(small_model, all=True, measure=False) if layer.name == LAYER)
    ways = [{word: LAYER} for word in ("layer", "layers")]
    ways += [{"layer": [LAYER]}, {"layers": (described,)}, {"layers": module}, {"layers": Address(LAYER)}]
    first, *others = [LAYERED[name](small_model, two_images, tmp_path, **way) for way in ways]
    assert values(first)
    assert all(same(first, other) for other in others)
    with pytest.raises(InnersightError, match="mean the same"):
        LAYERED[name](small_model, two_images, tmp_path, layer=LAYER, layers=LAYER)
    with pytest.raises(InnersightError, match=r"give the name of a layer|is not a layer of"):
        LAYERED[name](small_model, two_images, tmp_path, layers=3)
    with pytest.raises(InnersightError, match="no layer 'relu'; did you mean relu"):
        LAYERED[name](small_model, two_images, tmp_path, layers="relu")


def test_functions_of_one_layer_say_so(small_model: Model, two_images: list[Image]) -> None:
    with pytest.raises(InnersightError, match="layer=relu1, relu2: give one layer"):
        ins.compare(small_model, two_images, layers=["relu1", "relu2"])  # type: ignore[call-arg]
    with pytest.raises(InnersightError, match="layers is empty"):
        ins.activations(small_model, two_images, [])


FORMS: list[Callable[[list[int]], Any]] = [list, tuple, np.array, torch.tensor, lambda t: torch.tensor(t).int()]


@pytest.mark.parametrize("form", FORMS)
def test_a_target_for_each_image(form: Callable[[list[int]], Any], small_model: Model) -> None:
    images = [image(i) for i in range(3)]
    alone = [ins.explain(small_model, one, t, ["gradcam"]).entries[0] for one, t in zip(images, (2, 0, 3), strict=True)]
    for word in ("target", "targets"):
        found = ins.explain(small_model, images, methods="gradcam", **{word: form([2, 0, 3])})
        assert [entry.target for entry in found.entries] == [2, 0, 3]
        for entry, one in zip(found.entries, alone, strict=True):
            assert torch.allclose(entry.values, one.values, atol=1e-6)
            assert entry.question == "the requested class"


@pytest.mark.parametrize(
    "one",
    [
        2,
        np.int64(2),
        np.array(2),
        torch.tensor(2),
        "2",
        "cedar",
        "class:cedar",
        ClassAddress("cedar"),
        ClassAddress(np.int64(2)),
    ],
)  # type: ignore[arg-type]
def test_one_class_for_all(one: Any, small_model: Model, two_images: list[Image]) -> None:
    assert small_model.class_index(one) == 2
    assert [entry.target for entry in ins.explain(small_model, two_images, one, "gradcam").entries] == [2, 2]
    assert ins.ablate(small_model, two_images, LAYER, classes=one).classes == ("cedar",)
    assert ins.ablate(small_model, two_images, LAYER, target=one).classes == ("cedar",)  # type: ignore[call-arg]
    assert ins.trust(small_model, two_images, ["saliency"], target=one, protocol=Protocol(steps=2)).targets == (2, 2)


def test_mixed_targets_and_rivals(small_model: Model) -> None:
    images = [image(i) for i in range(4)]
    own = ins.predict(small_model, images).logits.argmax(1).tolist()
    target, versus = ["birch", np.int64(2), None, torch.tensor(0)], [None, "runner-up", None, "cedar"]
    found = ins.explain(small_model, images, target, "gradcam", versus=versus).entries
    assert [entry.target for entry in found] == [1, 2, own[2], 0]
    assert [entry.rival is None for entry in found] == [True, False, True, False]
    assert found[3].rival == 2
    assert found[3].question == "the requested class minus cedar"
    logits = ins.predict(small_model, images).logits
    assert found[3].score == pytest.approx(float(logits[3, 0] - logits[3, 2]), abs=1e-5)
    assert found[0].score == pytest.approx(float(logits[0, 1]), abs=1e-5)
    assert ins.trust(small_model, images[:2], ["saliency"], target=target[:2], protocol=Protocol(steps=2)).targets == (
        1,
        2,
    )


def test_targets_stay_with_their_images_where_one_cannot_be_read(small_model: Model, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    given = [image(0), tmp_path / "broken.png", image(2)]
    found = ins.explain(small_model, given, [1, 2, 3], "gradcam")
    assert [(entry.image.name, entry.target) for entry in found.entries] == [("blobs 0", 1), ("blobs 2", 3)]
    assert len(found.skipped) == 1
    assert ins.trust(small_model, given, ["saliency"], target=[1, 2, 3], protocol=Protocol(steps=2)).targets == (1, 3)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ([1, 2, 3], "target= names 3 classes for 2 images: give one, or one for each"),
        ([1], "target= names 1 classes for 2 images"),
        (True, "True is not a class of tiny in-place"),
        ([True, False], "True is not a class"),
        (torch.tensor(True), "is not a class"),
        (torch.tensor(1.0), r"tensor\(1\.\) is not a class of tiny in-place: give a label or a class number"),
        (torch.tensor([0.5, 1.0]), "is not a class"),
        (torch.zeros(2, 4), r"target= has the shape \(2, 4\): give one class number for each image"),
        (4, "class 4 is out of range"),
        ([0, -1], "class -1 is out of range"),
        (["birch", "brich"], "no class 'brich'; did you mean birch"),
        ("9" * 5000, "has no class"),
        ({}, "names 0 classes for 2 images"),
    ],
)
def test_wrong_targets_are_one_sentence(target: Any, why: str, small_model: Model, two_images: list[Image]) -> None:
    for call in (
        lambda: ins.explain(small_model, two_images, target, "gradcam"),
        lambda: ins.trust(small_model, two_images, ["saliency"], target=target, protocol=Protocol(steps=2)),
    ):
        with pytest.raises(InnersightError, match=why):
            call()


REQUIRED: dict[str, Callable[[Model, Path], tuple[Any, ...]]] = {
    "ablate": lambda model, out: (model, _folder(out), LAYER),
    "atlas": lambda model, out: (model, _folder(out), LAYER),
    "compare": lambda model, out: (model, _folder(out), LAYER),
    "connections": lambda model, out: (model, LAYER),
    "dissect": lambda model, out: (model, _folder(out), _halves),
    "find": lambda model, out: (model, [(image(1), (0.1, 0.2, 0.6, 0.7))]),
    "interpretability": lambda model, out: (model, LAYER, _folder(out)),
    "layers": lambda model, out: (model,),
    "load": lambda model, out: (model.net,),
    "match": lambda model, out: (model, model, _folder(out)),
    "patterns": lambda model, out: (model, "class:1"),
    "study": lambda model, out: (model, _folder(out), out / "study"),
}


def numbers(kind: type) -> list[tuple[str, str]]:
    found = []
    for name, function in functions().items():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.annotation in (kind, kind | None):
                found.append((name, parameter.name))
    return found


@pytest.mark.parametrize(("name", "word"), numbers(int))
def test_numbers_that_are_none_are_refused_by_name(name: str, word: str, small_model: Model, tmp_path: Path) -> None:
    given = REQUIRED.get(name, lambda model, out: (model, _folder(out)))(small_model, tmp_path)
    for wrong in (1.5, True, "3", torch.tensor(1.0), np.array([1, 2])):
        with pytest.raises(InnersightError, match=f"{word} is .*: give a whole number"):
            getattr(ins, name)(*given, **{word: wrong})
    if word == "seed":
        with pytest.raises(InnersightError, match="seed=-1: give a whole number of 0 or more"):
            getattr(ins, name)(*given, seed=-1)


@pytest.mark.parametrize("make", [np.int64, np.uint8, torch.tensor, np.array])
def test_numbers_of_any_library_do(make: Callable[[int], Any], small_model: Model, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert same(
        ins.scan(small_model, folder, examples=make(3), max_duplicates=make(2)),
        ins.scan(small_model, folder, examples=3, max_duplicates=2),
    )
    one, other = (
        ins.patterns(small_model, "class:1", steps=s, seeds=n, seed=k, size=z)
        for s, n, k, z in ((make(2), make(2), make(5), (make(16), make(24))), (2, 2, 5, (16, 24)))
    )
    assert same(one, other)
    assert one.settings == other.settings
    assert str(Address("conv1", make(3), (make(1), make(2)))) == "conv1:3@1,2"
    assert ins.InputSpec(make(8), make(8), make(3)) == ins.InputSpec(8, 8, 3)


def test_whole_numbers() -> None:
    assert [integer(one, "x") for one in (3, np.int8(3), np.array(3), torch.tensor(3))] == [3] * 4
    for wrong in (None, 3.0, True, np.bool_(True), torch.tensor(True), torch.tensor([3]), np.array([3]), "3", [3], 1j):
        with pytest.raises(InnersightError, match=r"x is .*: give a whole number"):
            integer(wrong, "x")


def test_a_mistake_in_the_call_is_pythons_own_sentence(small_model: Model) -> None:
    with pytest.raises(TypeError, match=r"missing .* 'images'"):
        ins.activations(small_model)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'layeres'"):
        ins.activations(small_model, [], layeres=["conv1"])  # type: ignore[call-arg]


def test_a_word_that_stands_for_another() -> None:
    @public(layer="what", layers="what")
    def named(what: Any, count: int = 1, share: float | None = None) -> tuple[Any, int, float | None]:
        return what, count, share

    assert named("a") == named(layer="a") == named(layers=["a"]) == ("a", 1, None)  # type: ignore[call-arg]
    assert named(layers=("a", "b"), share=np.float32(0.5)) == (("a", "b"), 1, 0.5)  # type: ignore[call-arg]
    with pytest.raises(InnersightError, match="named: layer= and what= mean the same"):
        named(what="a", layer="b")  # type: ignore[call-arg]


@contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "inference mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64 by default": default_dtype,
    "deterministic": deterministic,
    "meta by default": lambda: torch.device("meta"),
}


@pytest.fixture(scope="module")
def plain_results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    model, images = tiny("in-place"), [image(1), image(2)]
    return {name: CASES[name](model, images, tmp_path_factory.mktemp(name)) for name in PUBLIC}


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("mode", MODES)
def test_the_values_are_those_outside(mode: str, name: str, plain_results: dict[str, Any], tmp_path: Path) -> None:
    model, images = tiny("in-place"), [image(1), image(2)]
    _folder(tmp_path)
    with MODES[mode]():
        found = CASES[name](model, images, tmp_path)
        assert torch.is_inference_mode_enabled() == (mode == "inference mode")
        assert (torch.get_default_dtype() == torch.float64) == (mode == "float64 by default")
    assert same(found, plain_results[name])
    assert not any(tensor.is_inference() for tensor in values(found))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_network_made_in_inference_mode(name: str, plain_results: dict[str, Any], tmp_path: Path) -> None:
    with torch.inference_mode():
        model = tiny("in-place")
    before = dict((*model.net.named_parameters(), *model.net.named_buffers()))
    found = CASES[name](model, [image(1), image(2)], tmp_path)
    assert same(found, plain_results[name])
    after = dict((*model.net.named_parameters(), *model.net.named_buffers()))
    assert all(after[key] is tensor for key, tensor in before.items())


def test_the_network_runs_under_the_defaults_of_the_caller() -> None:
    class Makes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            assert torch.zeros(1).dtype == x.dtype
            return self.conv(x).mean((2, 3)) + torch.arange(4.0)

    with default_dtype():
        model = ins.load(Makes().eval(), input=InputSpec(12, 12))
        assert ins.activations(model, image(1), "conv").values["conv"].dtype == torch.float32
        assert ins.explain(
            model, image(1), 2, ["gradcam", "integrated-gradients"], options={"integrated-gradients": {"steps": 2}}
        ).entries


def test_transforms_of_functions_are_refused(small_model: Model) -> None:
    pil = image(1)

    def inside(x: Tensor) -> Tensor:
        ins.activations(small_model, pil)
        return x.sum()

    with pytest.raises(InnersightError, match=r"inside a transform of torch\.func"):
        torch.func.grad(inside)(torch.ones(3))


@pytest.mark.parametrize("part", ["", "conv2"])
def test_parts_behind_torch_compile_are_looked_at(part: str) -> None:
    two_images = [image(i, width=24, height=24) for i in (1, 2)]
    model, compiled = tiny("in-place"), tiny("in-place")
    compiled.net.get_submodule(part).compile(backend="eager")
    with torch.no_grad():
        compiled.net(torch.zeros(2, *model.input.shape))
    loaded = ins.load(compiled.net, input=model.input)
    assert same(
        ins.activations(loaded, two_images, ["conv2", "relu2"]), ins.activations(model, two_images, ["conv2", "relu2"])
    )
    assert same(ins.explain(loaded, two_images, 1), ins.explain(model, two_images, 1))
    assert compiled.net.get_submodule(part)._compiled_call_impl is not None
