"""`hf:NAME_OR_DIR`: image classifiers of Hugging Face transformers, from the hub's cache or a folder."""

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from innersight.errors import InnersightError, MissingExtraError, printable
from innersight.heads import PLAIN, Head, multilabel
from innersight.model import Model
from innersight.sources.bare import with_head, wrap
from innersight.sources.claims.folders import check_folder
from innersight.sources.origins import LoadRequest, registry
from innersight.sources.origins.timm import contract
from innersight.sources.weights import fit_weights, read_weights
from innersight.storage.bounded import BROKEN, reading

RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")


@registry.register(
    "Hugging Face transformers",
    source="Wolf et al. 2020, arXiv:1910.03771",
    use="For an image classifier on the Hugging Face hub, or in a folder that save_pretrained() wrote.",
    example="hf:google/vit-base-patch16-224",
    extra="hf",
)
def hf(name: str, request: LoadRequest, *, revision: str = "main") -> Model:
    """Open an image classifier, by its name on the hub or from a folder.

    The hub's own cache and switches apply (HF_HOME, HF_HUB_OFFLINE). Code that a repository brings along is never run.
    The input contract is that of its image processor, and guessed where there is none. Raises InnersightError for what
    is not there, with the folder to put it in, for a pickle with code, and for networks of another task;
    MissingExtraError without transformers.

    Parameters
    ----------
    revision
        A branch, tag or commit of the hub.

    """
    classes, weights, stated = request.classes, request.weights, request.stated
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "hf") from error
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    if os.path.isdir(name):
        check_folder(Path(name))
    with _readable(name), _quiet(transformers.utils.logging):
        config = transformers.AutoConfig.from_pretrained(name, **options)
        if classes is not None and classes != config.num_labels:
            config.num_labels = classes
        net, report = transformers.AutoModelForImageClassification.from_pretrained(
            name, config=config, dtype="auto", ignore_mismatched_sizes=True, output_loading_info=True, **options
        )
    notes = [_from_where(name, report)]
    if weights not in (None, "hub"):
        notes = [fit_weights(net, read_weights(str(weights)), origin=str(weights))]
    with _quiet(transformers.utils.logging), reading(f"hf:{printable(name)}", "image processor"):
        fields, assumed = _contract(_processor(name, options), config)
    if fields.pop("bgr", False):
        assumed.append(_take_rgb(net))
    model = _with_labels(net.eval(), {**fields, **stated}, Path(name).name, config)
    return replace(model, notes=(*notes, *assumed, *model.notes))


def of_live(net: nn.Module, processor: Any, *, stated: Mapping[str, Any], head: Head | None) -> Model:
    """Return a Model around the network of a pipeline, as it is, with the contract of the pipeline's image processor.

    Raises InnersightError for a network that takes blue, green and red, and one of another task.
    """
    config: Any = net.config
    fields, assumed = _contract(processor, config)
    if fields.pop("bgr", False):
        raise InnersightError(
            f"{type(net).__name__} takes blue, green and red, and a given network is not changed: give hf:NAME_OR_DIR"
        )
    model = _with_labels(net, {**fields, **stated}, type(net).__name__, config)
    model = model if head is None else with_head(model, head)
    return replace(model, notes=(*assumed, *model.notes))


def _with_labels(net: nn.Module, known: Mapping[str, Any], title: str, config: Any) -> Model:
    labels = tuple(str(config.id2label.get(i, i)) for i in range(config.num_labels))
    if labels == tuple(f"LABEL_{i}" for i in range(len(labels))):
        labels = tuple(map(str, range(len(labels))))
    head = multilabel() if config.problem_type == "multi_label_classification" else PLAIN
    model = wrap(net, known, name=title, head=head if len(labels) > 1 else None)
    return replace(model, labels=labels if len(labels) > 1 else model.labels)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn what transformers raises about a repository into one sentence with the way out."""
    from huggingface_hub import constants
    from huggingface_hub.errors import StrictDataclassError

    local, shown = os.path.isdir(name), printable(name)
    if local and not (Path(name) / "config.json").is_file():
        raise InnersightError(f"hf:{shown}: the folder has no config.json, as save_pretrained() writes it")
    try:
        yield
    except InnersightError:
        raise
    except pickle.UnpicklingError as error:
        raise InnersightError(
            f"hf:{shown}: refused, its weights are a pickle that would run code when read; save them as safetensors"
        ) from error
    except OSError as error:
        reason = " ".join(str(error).split())
        if local:
            raise InnersightError(
                f"hf:{shown}: the folder needs config.json and model.safetensors, as save_pretrained() writes them "
                f"({reason[:200]})"
            ) from error
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise InnersightError(f"hf:{shown}: no such folder; write hf:OWNER/NAME for a model of the hub") from error
        folder = f"models--{shown.replace('/', '--')}"
        raise InnersightError(
            f"hf:{shown} is not in the cache and could not be fetched: put its folder {folder} into "
            f"{constants.HF_HUB_CACHE}, or its files into a folder and write hf:FOLDER ({reason[:120]})"
        ) from error
    except (*BROKEN, ImportError, SafetensorError, StrictDataclassError) as error:
        raise InnersightError(
            f"hf:{shown}: transformers has no image classifier for it ({' '.join(str(error).split())[:250]})"
        ) from error


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without progress bars and warnings: what they say stands in the notes."""
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _from_where(name: str, report: Mapping[str, Any]) -> str:
    missing = sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})
    note = f"weights from {'the folder' if os.path.isdir(name) else 'the hub:'} {name}"
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        note += f"; {', '.join(missing[:3])}{more} are missing from it: they have random weights"
    return note


def _processor(name: str, options: Mapping[str, Any]) -> Any:
    """Return the image processor of a repository, or the sentence that says why there is none."""
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(name, **options)
    except BROKEN as error:
        reason = " ".join(str(error).split(". ")[0].split())[:200]
        return f"no image processor comes with it ({printable(reason)})"


def _contract(processor: Any, config: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of the input contract that are known, and what had to be assumed.

    With "bgr" when the processor turns red, green and blue around. processor : or a sentence that there is none.
    """
    channels = getattr(config, "num_channels", None) or 3
    height, width = _pair(getattr(config, "image_size", None))
    own = {"channels": channels} | ({"height": height, "width": width} if height and width else {})
    if isinstance(processor, str):
        return own, [processor]
    if hasattr(processor, "data_config"):
        return {key: value for key, value in vars(contract(processor.data_config)).items() if key != "guessed"}, []
    stated, notes = processor.to_dict(), []
    size, crop = stated.get("size") or {}, stated.get("crop_size") or {}
    edge = size.get("shortest_edge")
    known: dict[str, Any] = {"fit": "squash"}
    if stated.get("do_center_crop") and crop:
        height, width = _pair(crop)
        resized = edge or size.get("height")
        known = {"fit": "crop", "crop": min(1.0, height / resized)} if resized and height else {"fit": "crop"}
        if not edge and size and _pair(size) != (height, width):
            notes.append("its processor squashes images before it crops them; Innersight keeps their aspect ratio")
    elif "crop_pct" in stated and edge:
        height, width = edge, edge
        known = {"fit": "squash"} if edge >= 384 else {"fit": "crop", "crop": stated["crop_pct"]}
    elif edge:
        height, width = (height or edge), (width or edge)
        known = {"fit": "crop"}
        notes.append(f"its processor keeps images rectangular; Innersight uses the central {height}x{width} px")
    elif size:
        height, width = _pair(size)
    if height and width:
        known |= {"height": height, "width": width}
    if isinstance(resample := stated.get("resample"), int) and 0 <= resample < len(RESAMPLE):
        known["resample"] = RESAMPLE[resample]
    known |= _stats(stated, channels)
    return {**own, **known, "bgr": stated.get("do_flip_channel_order", False)}, notes


def _stats(stated: Mapping[str, Any], channels: int) -> dict[str, tuple[float, ...]]:
    """Return mean and std for pixels in 0..1 of a processor that rescales bytes, then normalises."""
    scale = 255 * (stated.get("rescale_factor") or 1 / 255) if stated.get("do_rescale", True) else 255.0
    offset = 1.0 if stated.get("do_rescale", True) and stated.get("rescale_offset") else 0.0
    normalise = stated.get("do_normalize", False)
    mean = stated.get("image_mean") if normalise else 0.0
    std = stated.get("image_std") if normalise else 1.0
    means = tuple(mean) if isinstance(mean, list | tuple) else (mean or 0.0,) * channels
    stds = tuple(std) if isinstance(std, list | tuple) else (std or 1.0,) * channels
    return {"mean": tuple((m + offset) / scale for m in means), "std": tuple(s / scale for s in stds)}


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, Mapping):
        side = size.get("shortest_edge") or 0
        return size.get("height") or side, size.get("width") or side
    return (size[0], size[1]) if isinstance(size, list | tuple) else (size or 0, size or 0)


def _take_rgb(net: nn.Module) -> str:
    """Reorder the first convolution's weights so that a network for blue, green, red takes red, green, blue."""
    first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        first.weight.copy_(first.weight.flip(1))
    return "made for blue, green, red: its first convolution was reordered to take red, green, blue"
