"""Networks saved by Keras: layers that hooks see, logits, and what their images are fed as."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from networks import image
from torch import Tensor, nn

from innersight import heads as heads_of
from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.predict import predict
from innersight.sources import load
from innersight.sources.origins.keras import Channels, library

pytestmark = pytest.mark.filterwarnings(
    # Keras reads numpy arrays in the way of numpy 1.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)
keras = library()
L = keras.layers


@keras.saving.register_keras_serializable("innersight-tests")
class Subclassed(keras.Model):
    """A network without a graph: only its `call` knows the order."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.conv = L.Conv2D(4, 3, name="conv")
        self.pool = L.GlobalAveragePooling2D(name="pool")
        self.drop = L.Dropout(0.4, name="drop")
        self.top = L.Dense(3, activation="softmax", name="top")

    def call(self, x: Any) -> Any:
        return self.top(self.drop(self.pool(self.conv(x))))


def sequential() -> Any:
    return keras.Sequential(
        [
            keras.Input((20, 24, 3)),
            L.Rescaling(1 / 255, name="scale"),
            L.Conv2D(4, 3, activation="relu", name="conv"),
            L.BatchNormalization(name="norm"),
            L.Dropout(0.5, name="drop"),
            L.GlobalAveragePooling2D(name="pool"),
            L.Dense(5, activation="softmax", name="top"),
        ]
    )


def scaled_branch() -> Any:
    start = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same")(start)
    y = L.Rescaling(0.1)(L.Conv2D(4, 3, padding="same")(x))
    return keras.Model(start, L.Dense(3)(L.GlobalAveragePooling2D()(L.Add()([x, y]))))


def functional() -> Any:
    x = start = keras.Input((None, None, 1))
    x = L.Conv2D(4, 3, name="conv")(x)
    y = L.Conv2D(4, 3, padding="same", name="branch")(x)
    x = L.GlobalMaxPooling2D(name="pool")(keras.ops.relu(L.Add(name="add")([x, y])))
    return keras.Model(start, L.Softmax(name="end")(L.Dense(3, name="top")(x)))


def nested() -> Any:
    body = [
        keras.Input((16, 16, 3)),
        L.Conv2D(4, 3, name="conv"),
        L.BatchNormalization(name="norm"),
        L.ReLU(name="act"),
    ]
    x = start = keras.Input((16, 16, 3))
    x = keras.Sequential(body, name="body")(x)
    x = L.GlobalAveragePooling2D(name="pool")(L.Dropout(0.5, name="drop")(x))
    return keras.Model(start, L.Dense(1, activation="sigmoid", name="conv")(x))


def multilabel() -> Any:
    x = start = keras.Input((16, 16, 3))
    x = L.Normalization(mean=[120.0, 115.0, 100.0], variance=[3000.0, 3000.0, 3000.0], name="norm")(x)
    x = L.Dense(4, name="top")(L.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(start, L.Activation("sigmoid", name="end")(x))


def subclassed() -> Any:
    net = Subclassed()
    net(torch.zeros(1, 16, 16, 3))
    return net


def channels_first() -> Any:
    x = start = keras.Input((3, 16, 16))
    x = L.Conv2D(4, 3, data_format="channels_first", name="conv")(x)
    x = L.GlobalAveragePooling2D(data_format="channels_first", name="pool")(x)
    return keras.Model(start, L.Dense(4, name="top")(x))


LAYERS = {
    sequential: ["scale", "conv", "norm", "drop", "pool", "top"],
    functional: ["conv", "branch", "add", "pool", "top", "end"],
    nested: ["body", "body.conv", "body.norm", "body.act", "drop", "pool", "conv"],
    multilabel: ["norm", "pool", "top", "end"],
    subclassed: ["conv", "pool", "drop", "top"],
    channels_first: ["conv", "pool", "top"],
}
LINKS = {sequential: "softmax", functional: "softmax", nested: "sigmoid", multilabel: "sigmoid", subclassed: "softmax"}


def opened(build: Any, folder: Path, suffix: str = ".keras", **options: Any) -> tuple[Any, Any]:
    keras.utils.set_random_seed(1)
    net = build()
    net.save(folder / f"net{suffix}")
    return net, load(f"keras:{folder / f'net{suffix}'}", device="cpu", **options)


def images(model: Any) -> Tensor:
    return model.input.normalise(torch.rand(3, *model.input.shape))


@pytest.mark.parametrize("build", LAYERS)
def test_scores_are_those_of_keras_as_logits(build: Any, tmp_path: Path) -> None:
    net, model = opened(build, tmp_path)
    x = images(model)
    expected = net(x if build is channels_first else x.permute(0, 2, 3, 1), training=False)
    scores = model.logits(x)
    if build not in LINKS:
        assert torch.equal(scores, expected)
        return
    assert f"the {LINKS[build]} at the end is removed: the scores are logits" in model.notes
    assert model.head.link == LINKS[build]
    assert model.head.unit == "logits"
    chances = model.probabilities(scores)
    assert torch.allclose(chances[:, 1:] if build is nested else chances, expected, atol=1e-6)
    assert (model.labels == ("no", "yes")) == (build is nested)


@pytest.mark.parametrize("build", LAYERS)
def test_every_layer_is_a_submodule_whose_hooks_fire_and_take_effect(build: Any, tmp_path: Path) -> None:
    _, model = opened(build, tmp_path)
    names = [name for name, _ in model.net.named_modules() if name]
    assert sorted(names) == sorted(LAYERS[build])
    x = images(model)
    before = model.logits(x)
    for name in names:
        seen: list[torch.Size] = []

        def replace(module: nn.Module, inputs: Any, output: Tensor, seen: Any = seen) -> Tensor:
            seen.append(output.shape)
            return torch.full_like(output, 0.3)

        handle = model.module(name).register_forward_hook(replace)
        after = model.logits(x)
        handle.remove()
        assert len(seen) == 1, name
        assert not torch.equal(before, after), name
    assert torch.equal(model.logits(x), before)
    assert [name for name, _ in model.net.named_modules() if name] == names


@pytest.mark.parametrize("build", [sequential, nested, subclassed])
def test_weights_are_parameters_under_their_layers(build: Any, tmp_path: Path) -> None:
    net, model = opened(build, tmp_path)
    shapes = sorted(tuple(v.shape) for v in net.weights)
    assert sorted(tuple(p.shape) for p in model.net.parameters()) == shapes
    layer = "body.conv" if build is nested else "conv"
    assert [name for name, _ in model.module(layer).named_parameters()] == ["kernel", "bias"]
    assert not any("_torch_params" in name for name, _ in model.net.named_modules())
    with torch.no_grad():
        before = model.logits(images(model))
        for parameter in model.module(layer).parameters():
            parameter.zero_()
        assert not torch.equal(before, model.logits(images(model)))


def test_gradients_reach_the_image_and_the_layers(tmp_path: Path) -> None:
    _, model = opened(sequential, tmp_path)
    x = images(model).requires_grad_()
    held: list[Tensor] = []
    model.module("norm").register_forward_hook(lambda module, inputs, output: held.append(output))
    score = model.logits(x)[:, 0].sum()
    grads = torch.autograd.grad(score, [x, held[0]])
    assert all(bool(g.abs().sum() > 0) for g in grads)


def test_dropout_and_batch_norms_follow_the_mode(tmp_path: Path) -> None:
    _, model = opened(sequential, tmp_path)
    assert not model.net.training
    x = images(model)
    before = [p.clone() for p in model.net.parameters()]
    assert torch.equal(model.net(x), model.net(x))
    assert all(torch.equal(p, q) for p, q in zip(model.net.parameters(), before, strict=True))
    model.net.train()
    assert not torch.equal(model.net(x), model.net(x))
    assert not all(torch.equal(p, q) for p, q in zip(model.net.parameters(), before, strict=True))


def test_images_are_fed_in_the_range_the_network_rescales(tmp_path: Path) -> None:
    ranges = {
        sequential: (0.0, 1 / 255),
        multilabel: (0.0, 1 / 255),
        nested: (0.0, 1.0),
        lambda: keras.Sequential([keras.Input((8, 8, 3)), L.Rescaling(2.0, offset=-1.0), L.Flatten(), L.Dense(3)]): (
            0.0,
            1.0,
        ),
        lambda: keras.Sequential(
            [keras.Input((8, 8, 3)), L.Rescaling([1 / 127.5] * 3, offset=-1.0), L.Flatten(), L.Dense(3)]
        ): (0.0, 1 / 255),
        # Behind weights it scales a branch, and says nothing about pixels.
        scaled_branch: (0.0, 1.0),
    }
    for number, (build, (mean, std)) in enumerate(ranges.items()):
        (tmp_path / str(number)).mkdir()
        _, model = opened(build, tmp_path / str(number))
        assert (model.input.mean, model.input.std) == ((mean,) * 3, (std,) * 3)
        assert any("normalisation is a guess" in note for note in model.notes) == (build in (nested, scaled_branch))


def test_the_input_comes_from_the_shape(tmp_path: Path) -> None:
    assert opened(sequential, tmp_path)[1].input.shape == (3, 20, 24)
    _, free = opened(functional, tmp_path)
    assert free.input.shape == (1, 224, 224)
    assert free.input.guessed == ("height", "width", "mean", "std", "fit")
    model = load(f"keras:{tmp_path / 'net.keras'}?size=32&mean=0.5&std=0.5", device="cpu")
    assert (model.input.shape, model.input.mean, model.input.guessed) == ((1, 32, 32), (0.5,), ("fit",))


@pytest.mark.parametrize("build", [sequential, nested, channels_first])
def test_the_older_format_is_read_too(build: Any, tmp_path: Path) -> None:
    net, model = opened(build, tmp_path, ".h5")
    assert sorted(name for name, _ in model.net.named_modules() if name) == sorted(LAYERS[build])
    x = images(model)
    expected = net(x if build is channels_first else x.permute(0, 2, 3, 1), training=False)
    chances = model.logits(x) if build is channels_first else model.probabilities(model.logits(x))
    assert torch.allclose(chances[:, 1:] if build is nested else chances, expected, atol=1e-6)


def test_an_end_that_is_no_end_stays(tmp_path: Path) -> None:
    def build() -> Any:
        x = start = keras.Input((8, 8, 3))
        gate = L.Dense(3, activation="sigmoid", name="gate")
        x = L.Flatten()(x)
        return keras.Model(start, gate(L.Dense(3)(gate(x[:, :3]))))

    net, model = opened(build, tmp_path)
    x = images(model)
    assert torch.allclose(model.net(x), net(x.permute(0, 2, 3, 1)), atol=1e-6)
    assert not any("taken off" in note for note in model.notes)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="no such file"):
        load("keras:nowhere.keras")
    (tmp_path / "a.pt").write_bytes(b"")
    with pytest.raises(InnersightError, match=r"give a \.keras or \.h5 file"):
        load(f"keras:{tmp_path / 'a.pt'}")
    for suffix in (".keras", ".h5"):
        (tmp_path / f"a{suffix}").write_bytes(b"nothing of the kind")
        with pytest.raises(InnersightError, match=r"no network that Keras saved.*model\.save"):
            load(f"keras:{tmp_path / f'a{suffix}'}")
    sequential().save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(InnersightError, match="weights alone are not enough"):
        load(f"keras:{tmp_path / 'a.weights.h5'}")


def test_a_network_of_several_inputs_is_refused(tmp_path: Path) -> None:
    def build() -> Any:
        inputs = [keras.Input((8, 8, 3)), keras.Input((4,))]
        return keras.Model(inputs, L.Dense(2)(L.Concatenate()([L.Flatten()(inputs[0]), inputs[1]])))

    with pytest.raises(InnersightError, match=r"its input is .*one image \(height, width, channels\) is needed"):
        opened(build, tmp_path)


def test_what_the_file_fixes_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="net has 5 classes, not 7: omit classes"):
        opened(sequential, tmp_path, classes=7)
    with pytest.raises(InnersightError, match=r"has its own weights: omit weights='a\.pt'"):
        load(f"keras:{tmp_path / 'net.keras'}", weights="a.pt")


def test_own_classes_come_from_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subclassed().save(tmp_path / "net.keras")
    name = keras.saving.get_registered_name(Subclassed)
    monkeypatch.delitem(keras.saving.get_custom_objects(), name)
    file = f"keras:{tmp_path / 'net.keras'}"
    with pytest.raises(InnersightError, match=r"Could not locate class 'Subclassed'.*keras:FILE\?module=MODULE"):
        load(file)
    (tmp_path / "my_keras_layers.py").write_text(
        "import keras\nfrom test_sources_keras import Subclassed\n"
        f"keras.saving.get_custom_objects()[{name!r}] = Subclassed\n"
    )
    monkeypatch.chdir(tmp_path)
    assert len(load(f"{file}?module=my_keras_layers", device="cpu").labels) == 3
    del sys.modules["my_keras_layers"]
    with pytest.raises(InnersightError, match="there is no Python module 'my_keras_layer'"):
        load(f"{file}?module=my_keras_layer")


@pytest.mark.parametrize(
    ("backend", "version", "why"),
    [
        (
            "tensorflow",
            "3.12.1",
            "Keras runs on tensorflow in this process: set the environment variable KERAS_BACKEND",
        ),
        ("torch", "3.8.0", r"keras 3\.8\.0 can run code from a file: pip install 'keras>=3\.12'"),
    ],
)
def test_another_keras_is_said(backend: str, version: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other: Any = ModuleType("keras")
    other.__version__ = version
    other.backend = ModuleType("keras.backend")
    other.backend.backend = lambda: backend
    monkeypatch.setitem(sys.modules, "keras", other)
    with pytest.raises(InnersightError, match=why):
        library()


def test_the_adapter_is_the_network() -> None:
    net = Channels(channels_first(), last=False).eval()
    assert isinstance(net, nn.Module)
    assert net(torch.rand(1, 3, 16, 16)).shape == (1, 4)


@pytest.mark.parametrize("build", LAYERS)
def test_images_are_squashed_as_its_own_loaders_do_and_that_is_a_guess(build: Any, tmp_path: Path) -> None:
    _, model = opened(build, tmp_path)
    assert (model.input.fit, model.input.resample) == ("squash", "bilinear")
    assert "fit" in model.input.guessed
    assert "the whole image is squashed to the input size): set it with fit=crop or fit=squash" in " ".join(model.notes)
    stated = load(f"keras:{tmp_path / 'net.keras'}?fit=crop", device="cpu")
    assert (stated.input.fit, "fit" in stated.input.guessed) == ("crop", False)
    assert "is a guess (" not in " ".join(note for note in stated.notes if "proportions" in note)


@pytest.mark.parametrize("build", [sequential, multilabel, nested])
def test_a_head_that_is_named_reads_logits_as_the_one_that_is_found(build: Any, tmp_path: Path) -> None:
    _, model = opened(build, tmp_path)
    x = images(model)
    heads = [model.head]
    heads += [heads_of.multilabel()] if model.head.link == "sigmoid" else [heads_of.Head(lambda out: out)]
    for head in heads:
        named = load(f"keras:{tmp_path / 'net.keras'}", device="cpu", head=head)
        assert torch.equal(named.logits(x), model.logits(x))
        assert (named.notes, named.labels, named.head.link) == (model.notes, model.labels, model.head.link)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_a_batch_norm_of_keras_tells_in_which_unit_pixels_are_fed(scale: float, tmp_path: Path) -> None:
    def build() -> Any:
        x = start = keras.Input((32, 32, 3))
        x = L.ReLU()(L.BatchNormalization(name="norm")(L.Conv2D(8, 3, use_bias=False, name="conv")(x)))
        return keras.Model(start, L.Dense(3, name="top")(L.GlobalAveragePooling2D()(x)))

    keras.utils.set_random_seed(1)
    net = build()
    images = [image(i, width=32, height=32) for i in range(8)]
    x = torch.stack([one.tensor(InputSpec(32, 32)) for one in images]).permute(0, 2, 3, 1) * scale
    values = net.get_layer("conv")(x).detach()
    norm = net.get_layer("norm")
    norm.set_weights([*norm.get_weights()[:2], values.mean((0, 1, 2)).numpy(), values.var((0, 1, 2)).numpy()])
    net.save(tmp_path / "net.keras")
    for typed, fits in (("mean=0&std=1", scale == 1.0), ("mean=0&std=0.00392", scale == 255.0)):
        model = load(f"keras:{tmp_path / 'net.keras'}?{typed}&fit=squash", device="cpu")
        warnings = predict(model, images).warnings
        assert (warnings == ()) is fits, warnings
        assert fits or "norm, the first batch norm, receives values about " in warnings[0]
