"""One small member of each family of image classifiers, random weights, and what must work on all of them."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import torch
from networks import batch, image
from torch import Tensor, nn

import innersight as ins
from innersight import tap
from innersight.layers import default_layers, last_grid, survey, unreadable
from innersight.model import Model

CLASSES = 10


def timm(name: str, **options: object) -> Callable[[], Model]:
    """Build a timm network with `options`, at a small input size."""

    def build() -> Model:
        import timm as library

        size = int(str(options.pop("size", 64)))
        fixed = {"img_size": size} if options.pop("fixed", False) else {}
        net = library.create_model(name, num_classes=CLASSES, **fixed, **options)
        return ins.load(net, input=ins.InputSpec(size, size))

    return build


def torchvision(name: str, size: int = 64, **options: object) -> Callable[[], Model]:
    """Build a torchvision classifier with `options`."""

    def build() -> Model:
        from torchvision import models

        return ins.load(models.get_model(name, num_classes=CLASSES, **options), input=ins.InputSpec(size, size))

    return build


def vgg() -> Model:
    """Build VGG-11 with one linear layer in place of its 124 million weights of three."""
    from torchvision import models

    net = models.vgg11(num_classes=CLASSES)
    net.classifier = nn.Linear(512 * 7 * 7, CLASSES)
    return ins.load(net, input=ins.InputSpec(64, 64))


def vit() -> Model:
    """Build a small Vision Transformer of torchvision's."""
    from torchvision.models.vision_transformer import VisionTransformer

    net = VisionTransformer(64, 16, num_layers=4, num_heads=3, hidden_dim=96, mlp_dim=192, num_classes=CLASSES)
    return ins.load(net, input=ins.InputSpec(64, 64))


def hf(name: str, **options: object) -> Callable[[], Model]:
    """Build a transformers classifier, write it to a folder with its image processor, and open that folder."""

    def build() -> Model:
        import transformers

        config = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **options)
        net = getattr(transformers, f"{name}ForImageClassification")(config)
        with tempfile.TemporaryDirectory() as folder:
            net.save_pretrained(folder)
            transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
            return ins.load(f"hf:{folder}")

    return build


def keras_mobilenet() -> Model:
    """Build the MobileNet v2 of keras.applications."""
    from innersight.sources.origins.keras import library

    net = library().applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None, classes=CLASSES)
    return saved(net.save, "net.keras", "keras:{}")


def keras_home_made() -> Model:
    """Build a network like those people train on images of cartoon characters."""
    from innersight.sources.origins.keras import library

    keras = library()
    layers = keras.layers
    parts: list[object] = [keras.Input((64, 64, 3)), layers.Rescaling(1 / 255)]
    for width in (32, 64, 128):
        parts += [layers.Conv2D(width, 3, padding="same", activation="relu"), layers.Conv2D(width, 3)]
        parts += [layers.Activation("relu"), layers.MaxPooling2D(), layers.Dropout(0.2)]
    parts += [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dropout(0.5)]
    net = keras.Sequential([*parts, layers.Dense(CLASSES, activation="softmax")])
    return saved(net.save, "net.h5", "keras:{}")


def onnx() -> Model:
    """Export ResNet-18 to ONNX and open that."""
    from torchvision import models

    net = models.resnet18(num_classes=CLASSES).eval()
    x = torch.zeros(2, 3, 64, 64)
    options = {"dynamic_axes": {"x": {0: "batch"}}, "input_names": ["x"], "dynamo": False, "opset_version": 17}
    return saved(lambda file: torch.onnx.export(net, (x,), file, **options), "net.onnx", "onnx:{}")


def exported() -> Model:
    """Export MobileNet v3 with torch.export and open that."""
    from torchvision import models

    net = models.mobilenet_v3_small(num_classes=CLASSES).eval()
    batches = {"x": {0: torch.export.Dim("batch", min=1)}}
    program = torch.export.export(net, (torch.zeros(2, 3, 64, 64),), dynamic_shapes=batches)
    return saved(lambda file: torch.export.save(program, file), "net.pt2", "pt2:{}?size=64")


def saved(save: Callable[[str], object], name: str, source: str) -> Model:
    """Save a network to a file of its own and load it from there."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/{name}"
        save(file)
        return ins.load(source.format(file))


FAMILIES: dict[str, Callable[[], Model]] = {
    "AlexNet": torchvision("alexnet"),
    "BEiT": timm("beit_base_patch16_224", embed_dim=48, depth=3, num_heads=3, fixed=True),
    "CaiT": timm("cait_xxs24_224", depth=3, fixed=True),
    "CoAtNet": timm("coatnet_pico_rw_224", depths=(1, 1, 2, 1), fixed=True),
    "ConvNeXt": timm("convnext_atto"),
    "DaViT": timm("davit_tiny", embed_dims=(24, 48, 96, 192)),
    "DeiT": timm("deit_tiny_distilled_patch16_224", depth=3, fixed=True),
    "DenseNet": torchvision("densenet121"),
    "EdgeNeXt": timm("edgenext_xx_small"),
    "EfficientFormer": timm("efficientformer_l1", embed_dims=(16, 24, 32, 48), depths=(1, 1, 1, 2), size=224),
    "EfficientNet": timm("efficientnet_b0"),
    "EfficientViT": timm("efficientvit_b0"),
    "EVA": timm("eva02_tiny_patch14_224", depth=3, size=70, fixed=True),
    "FastViT": timm("fastvit_t8"),
    "GhostNet": timm("ghostnet_050"),
    "GoogLeNet": torchvision("googlenet", init_weights=False),
    "Hiera": timm("hiera_tiny_224", embed_dim=24, stages=(1, 1, 2, 2), size=224),
    "HF ConvNeXt": hf("ConvNext", hidden_sizes=[16, 32, 64, 96], depths=[1, 1, 2, 1]),
    "HF ResNet": hf("ResNet", embedding_size=16, hidden_sizes=[16, 32, 64, 96], depths=[1, 1, 1, 1]),
    "HF Swin": hf("Swin", image_size=64, embed_dim=24, depths=[1, 1, 2], num_heads=[2, 2, 4], window_size=4),
    "HF ViT": hf(
        "ViT", image_size=64, hidden_size=48, num_hidden_layers=4, num_attention_heads=3, intermediate_size=96
    ),
    "HRNet": timm("hrnet_w18_small"),
    "Inception v3": torchvision("inception_v3", size=128, init_weights=False),
    "Keras, home-made": keras_home_made,
    "Keras MobileNet v2": keras_mobilenet,
    "LeViT": timm("levit_128s", size=160, fixed=True),
    "MambaOut": timm("test_mambaout"),
    "MaxViT": timm("maxvit_rmlp_pico_rw_256", depths=(1, 1, 1, 1), fixed=True),
    "MLP-Mixer": timm("mixer_s32_224", fixed=True),
    "MNASNet": torchvision("mnasnet0_5"),
    "MobileNet v3": torchvision("mobilenet_v3_small"),
    "MobileViT": timm("mobilevit_xxs"),
    "NFNet": timm("test_nfnet"),
    "ONNX of ResNet": onnx,
    "PoolFormer": timm("poolformer_s12"),
    "PVT v2": timm("pvt_v2_b0"),
    "RegNet": timm("regnetx_002"),
    "RepVGG": timm("repvgg_a0"),
    "Res2Net": timm("res2net50_26w_4s"),
    "ResNet": torchvision("resnet18"),
    "SENet": timm("seresnet18"),
    "ShuffleNet v2": torchvision("shufflenet_v2_x0_5"),
    "SqueezeNet": torchvision("squeezenet1_1"),
    "Swin": timm("swin_tiny_patch4_window7_224", embed_dim=24, fixed=True),
    "Swin v2": timm("swinv2_tiny_window8_256", embed_dim=24, fixed=True),
    "TinyViT": timm("tiny_vit_5m_224"),
    "torch.export of MobileNet v3": exported,
    "ViT": timm("vit_tiny_patch16_224", depth=4, fixed=True),
    "ViT (torchvision)": vit,
    "VGG": vgg,
    "XCiT": timm("xcit_nano_12_p8_224", depth=4),
    "Xception": timm("xception41"),
}


@dataclass(frozen=True)
class Verdict:
    """What was seen of one family. modes : how often the suffix of a layer was resumed, copied, or run in full."""

    family: str
    read: int
    unread: int
    arrangement: str
    heatmaps: str
    modes: str

    def row(self) -> str:
        """Return the line of the table in docs."""
        cells = (self.family, str(self.read), str(self.unread), self.arrangement, self.heatmaps, self.modes)
        return f"| {' | '.join(cells)} |"


WORDS = {"buhw": "maps", "bhwu": "maps (channels last)", "bpu": "tokens", "pbu": "tokens first", "bup": "units first"}


def awake(net: nn.Module) -> None:
    """Give weights that start at zero (heads, residual scales) a value: else nothing reaches the class."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            if not weight.any() and weight.ndim > 1:
                weight.normal_(0, 0.02, generator=generator)
            elif weight.ndim == 1 and float(weight.abs().max()) < 0.1 and weight.any():
                weight.fill_(0.3)


def visit(family: str, build: Callable[[], Model]) -> Verdict:
    """Do everything on one family, check what can be checked, and return what was seen."""
    torch.manual_seed(0)
    model = build()
    awake(model.net)
    images = [image(1, width=80, height=70), image(2, width=80, height=70)]
    known = survey(model)
    told = default_layers(model)
    by_name = {layer.name: layer for layer in known}
    assert len(told) >= 3, told

    found = ins.activations(model, images, told)
    for layer, values in found.values.items():
        assert values.shape == (2, by_name[layer].units, *by_name[layer].grid)
        assert torch.isfinite(values).all()
        assert float(values.std()) > 0, layer

    middle = told[len(told) // 2]
    made = ins.patterns(model, [f"{told[0]}:0-1", f"{middle}:0-1", "class:3"], steps=4, seeds=1)
    assert torch.isfinite(made.images).all()
    # Of random units some stay silent for four steps; not all of them.
    assert any(score.activation > score.start for score in made.scores), made.scores

    heat = ins.explain(model, images)
    for entry in heat.entries:
        assert entry.verdict is None, (family, entry.method, entry.verdict)
    deepest = last_grid(model)[0]
    assert heat.layer == deepest

    modes = [_suffix(model, layer) for layer in told]
    counts = {mode: modes.count(mode) for mode in dict.fromkeys(modes)}
    kinds = [WORDS[layer.axes] for layer in known if layer.axes in WORDS and layer.grid != (1, 1)]
    order = sorted(set(kinds), key=lambda kind: (-kinds.count(kind), kind))
    prefixes = sorted({layer.prefix for layer in known if layer.prefix})
    before = f", after {' or '.join(map(str, prefixes))} of another kind" if prefixes else ""
    grid = by_name[deepest].grid
    return Verdict(
        family,
        len(known),
        len(unreadable(model)),
        f"{'; '.join(order)}{before}",
        f"`{deepest}` {grid[0]}x{grid[1]}",
        ", ".join(f"{mode} {count}" if len(counts) > 1 else mode for mode, count in counts.items()),
    )


def _suffix(model: Model, layer: str) -> str:
    """Compare the resumed suffix with full runs for variants it has not seen; return its mode."""
    x = batch(model, 2)
    with tap.untouched(model), torch.no_grad():
        suffix = tap.resume(model, x, layer)

        def change(activation: Tensor) -> Tensor:
            return activation.roll(1, 1) * 0.7

        full = tap.replace(model, x, layer, change)
        resumed = suffix(change(suffix.activation))
    assert torch.allclose(resumed, full, rtol=1e-3, atol=1e-4 * float(full.abs().max())), layer
    return suffix.mode
