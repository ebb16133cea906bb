"""`torchvision:NAME`: the classification networks of torchvision, with the input contract of their weights."""

from typing import Any

from torch import nn

from innersight.errors import InnersightError, nearest
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources.origins import LoadRequest, registry
from innersight.sources.weights import fit_weights, fit_with_head, read_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@registry.register(
    "torchvision",
    source="https://docs.pytorch.org/vision/stable/models.html",
    use="For a classifier of torchvision, with published weights (--weights hub), your own, or random ones.",
    example="torchvision:resnet18",
)
def torchvision(name: str, request: LoadRequest) -> Model:
    """Build a torchvision classifier.

    With weights "hub" torchvision downloads them into its own cache (TORCH_HOME). Raises InnersightError for an unknown
    name and, without a network connection, says which file to put where.
    """
    classes, weights, stated = request.classes, request.weights, request.stated
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise InnersightError(f"torchvision has no classifier {name!r}; {nearest(name, names)}")
    if stated.get("channels", 3) != 3:
        raise InnersightError(
            f"torchvision:{name} takes 3 channels, not {stated['channels']}: timm:NAME?channels={stated['channels']} "
            "builds a network for that many"
        )
    published = list(models.get_model_weights(name))
    best: Any = published[-1] if published else None
    options: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    size = stated.get("height"), stated.get("width")
    if name.startswith("vit_") and size[0] is not None:
        # Position embeddings are made for one size.
        options["image_size"] = size[0]
    net = models.get_model(name, weights=None, **options)
    notes: list[str] = []
    if weights == "hub":
        notes.append(_from_hub(net, best, name))
    elif weights is None:
        notes.append("random weights: the network is untrained")
    elif classes is None:
        notes.append(fit_weights(net, read_weights(weights), origin=weights))
    else:
        tensors = read_weights(weights)
        notes.append(fit_with_head(net, tensors, origin=weights, resize=lambda n: _replace_head(n, classes)))
    labels = tuple(best.meta["categories"]) if best is not None else tuple(map(str, range(1000)))
    if classes is not None:
        if weights in (None, "hub"):
            _replace_head(net, classes)
        labels = tuple(map(str, range(classes)))
    spec = _input(best)
    return Model(net.eval(), spec, labels, name, f"torchvision:{name}", tuple(notes))


def _input(best: Any) -> InputSpec:
    if best is None:
        # What torchvision's own recipes do.
        return InputSpec(
            224, 224, 3, MEAN, STD, "crop", 0.875, "bilinear", (), guessed=("height", "width", "mean", "std", "fit")
        )
    preset = best.transforms()
    size, resize = preset.crop_size[0], preset.resize_size[0]
    return InputSpec(
        size,
        size,
        3,
        tuple(preset.mean),
        tuple(preset.std),
        "crop",
        min(1.0, size / resize),
        preset.interpolation.value,
        guessed=(),
    )


def _from_hub(net: nn.Module, best: Any, name: str) -> str:
    import os
    import urllib.error

    import torch

    if best is None:
        raise InnersightError(f"torchvision publishes no weights for {name}; pass weights=FILE")
    try:
        net.load_state_dict(best.get_state_dict(progress=True, check_hash=True))
    except (urllib.error.URLError, TimeoutError) as error:
        folder = os.path.join(torch.hub.get_dir(), "checkpoints")
        file = best.url.rsplit("/", 1)[-1]
        raise InnersightError(
            f"no connection to fetch {name}: put {file} into {folder}, or pass weights=FILE"
        ) from error
    return f"weights {best} from torchvision"


def _replace_head(net: nn.Module, classes: int) -> None:
    """Swap the last linear layer (or 1x1 convolution, as in SqueezeNet) for a new one with `classes` outputs."""
    found = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    name, last = found[-1]
    parent, _, child = name.rpartition(".")
    head: nn.Module = (
        nn.Linear(last.in_features, classes, bias=last.bias is not None)
        if isinstance(last, nn.Linear)
        else nn.Conv2d(last.in_channels, classes, last.kernel_size)  # type: ignore[arg-type]
    )
    setattr(net.get_submodule(parent), child, head)
