"""`timm:NAME`: the networks of PyTorch Image Models, with the input contract of their pretrained configuration."""

from collections.abc import Callable, Mapping
from typing import Any

from innersight.errors import InnersightError, MissingExtraError, nearest
from innersight.heads import numbered
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources.origins import LoadRequest, registry
from innersight.sources.weights import fit_weights, fit_with_head, read_weights


@registry.register(
    "PyTorch Image Models",
    source="Wightman 2019, PyTorch Image Models",
    use="For a network of timm, with published weights (--weights hub), your own, or random ones.",
    example="timm:resnet18",
    extra="timm",
)
def timm(name: str, request: LoadRequest) -> Model:
    """Build a timm network.

    Stated channels and, for networks that are built for one size (ViT, Swin ...), the stated size are built in; weights
    of another number of channels or another size are adapted by timm.
    With weights "hub" timm fetches them through the Hugging Face cache. Raises InnersightError for an unknown name or
    a size that does not fit, and, without a network connection, says what to put where; MissingExtraError without timm.
    """
    classes, weights, stated = request.classes, request.weights, request.stated
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "timm") from error
    if not timm.is_model(name):
        raise InnersightError(f"timm has no network {name!r}; {nearest(name, timm.list_models())}")
    net = _create(timm, name, stated, pretrained=weights == "hub")
    notes = ["weights from the timm hub" if weights == "hub" else "random weights: the network is untrained"]
    if weights not in (None, "hub"):
        tensors = read_weights(str(weights))
        if classes is None:
            notes = [fit_weights(net, tensors, origin=str(weights))]
        else:
            notes = [fit_with_head(net, tensors, origin=str(weights), resize=_head(classes))]
    elif classes is not None:
        net.reset_classifier(classes)
    spec = contract(timm.data.resolve_data_config(model=net), channels=stated.get("channels"))
    outputs = classes or net.num_classes
    labels = _labels(timm, net, outputs)
    return Model(net.eval(), spec, labels, name, f"timm:{name}", tuple(notes))


def contract(data: Mapping[str, Any], *, channels: int | None = None) -> InputSpec:
    """Return the input contract that timm calls a data configuration.

    channels : of the network, where they are not the configuration's own; each then has the average mean and std.
    """
    own, height, width = data["input_size"]
    channels = channels or own
    stats = {}
    for key in ("mean", "std"):
        values = tuple(data[key])
        stats[key] = values if len(values) == channels else (sum(values) / len(values),) * channels
    return InputSpec(
        height,
        width,
        channels,
        stats["mean"],
        stats["std"],
        fit="squash" if data["crop_mode"] == "squash" else "crop",
        crop=data["crop_pct"],
        resample=data["interpolation"] if data["interpolation"] != "random" else "bilinear",
        guessed=() if channels == own else ("mean", "std"),
    )


def _create(timm: Any, name: str, stated: Mapping[str, Any], *, pretrained: bool) -> Any:
    options = {"in_chans": stated["channels"]} if "channels" in stated else {}
    size = (stated["height"], stated["width"]) if "height" in stated and "width" in stated else None
    try:
        if size is not None:
            try:
                return timm.create_model(name, pretrained=pretrained, img_size=size, **options)
            except TypeError as error:
                # A network without a size of its own takes images of any.
                if "img_size" not in str(error):
                    raise
        return timm.create_model(name, pretrained=pretrained, **options)
    except OSError as error:
        cfg = timm.get_pretrained_cfg(name)
        folder = f"models--{cfg.hf_hub_id.replace('/', '--')}" if cfg and cfg.hf_hub_id else "the file"
        raise InnersightError(
            f"timm:{name}: no connection to fetch its weights: put {folder} into {_cache()}, or pass weights=FILE"
        ) from error
    except (AssertionError, ValueError, TypeError, RuntimeError) as error:
        asked = ", ".join(
            filter(None, (f"{size[0]}x{size[1]}" if size else "", *(f"{k} {v}" for k, v in options.items())))
        )
        raise InnersightError(f"timm:{name} cannot be built for {asked or 'its weights'}: {error}") from error


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _head(classes: int) -> Callable[[Any], None]:
    return lambda net: net.reset_classifier(classes)


def _labels(timm: Any, net: Any, outputs: int) -> tuple[str, ...]:
    """Return timm's own names where the number of outputs tells the ImageNet subset, else numbers."""
    if outputs == 1000:
        from torchvision.models import ResNet18_Weights

        return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
    subset = timm.data.infer_imagenet_subset(net)
    if subset is None or outputs != net.num_classes:
        return numbered(outputs)
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(outputs))
