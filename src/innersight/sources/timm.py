"""`timm:NAME`: the networks of PyTorch Image Models, with the input contract of their pretrained configuration."""

from collections.abc import Callable, Mapping
from typing import Any

from innersight.errors import InnersightError, MissingExtraError, nearest
from innersight.model import InputSpec, Model
from innersight.sources.weights import fit_weights, fit_with_head, read_weights


def open_model(name: str, *, classes: int | None, weights: str | None, stated: Mapping[str, Any]) -> Model:
    """Build a timm network; see `innersight.load`.

    With weights "hub" timm fetches them through the Hugging Face cache. Raises InnersightError for an unknown name and,
    without a network connection, says what to pass instead; MissingExtraError without timm.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "timm") from error
    if not timm.is_model(name):
        raise InnersightError(f"timm has no network {name!r}; {nearest(name, timm.list_models())}")
    try:
        net: Any = timm.create_model(name, pretrained=weights == "hub")
    except OSError as error:
        raise InnersightError(
            f"no connection to fetch {name}: download its weights elsewhere and pass weights=FILE"
        ) from error
    notes = ["weights from the timm hub" if weights == "hub" else "random weights: nothing was learned yet"]
    if weights not in (None, "hub"):
        tensors = read_weights(str(weights))
        if classes is None:
            notes = [fit_weights(net, tensors, origin=str(weights))]
        else:
            notes = [fit_with_head(net, tensors, origin=str(weights), resize=_head(classes))]
    elif classes is not None:
        net.reset_classifier(classes)
    data = timm.data.resolve_data_config(model=net)
    channels, height, width = data["input_size"]
    spec = InputSpec(
        height,
        width,
        channels,
        tuple(data["mean"]),
        tuple(data["std"]),
        fit="squash" if data["crop_mode"] == "squash" else "crop",
        crop=data["crop_pct"],
        resample=data["interpolation"] if data["interpolation"] != "random" else "bilinear",
    )
    outputs = classes or net.num_classes
    labels = _imagenet_labels() if outputs == 1000 else tuple(map(str, range(outputs)))
    return Model(net.eval(), spec, labels, name, f"timm:{name}", tuple(notes))


def _head(classes: int) -> Callable[[Any], None]:
    return lambda net: net.reset_classifier(classes)


def _imagenet_labels() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
