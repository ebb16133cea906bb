"""Bare weights: which architecture their names and shapes fit, so that the error can say what to type."""

import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import filter as matching
from functools import partial

import torch
from torch import Tensor, nn

from innersight.storage.bounded import BROKEN

Shape = tuple[int, ...]
MOST = 40  # architectures built for a comparison, without memory for their weights
SHOWN = 3
# A name that only networks of these families have, and the families' names in torchvision and timm.
FAMILIES = {
    r"layer1\.0\.conv1\.weight": ("*resne[tx]*", "resnet*"),
    r"blocks\.0\.attn\.qkv\.weight": ("", "vit_*patch{patch}*"),
    r"encoder\.layers\.encoder_layer_0\.": ("vit_*", ""),
    r"features\.denseblock1\.": ("densenet*", "densenet*"),
    r"features\.1\.0\.attn\.": ("swin*", ""),
    r"features\.0\.0\.weight": ("[cems][ofawn]*", ""),
    r"features\.0\.weight": ("[avs][glq]*", ""),
    r"conv_stem\.weight": ("", "efficientnet_* mobilenetv* mnasnet_* tf_efficientnet_*"),
    r"stages\.0\.blocks\.0\.conv_dw\.weight": ("", "convnext*"),
    r"layers\.0\.blocks\.0\.attn\.": ("", "swin*"),
    r"Conv2d_1a_3x3\.conv\.weight": ("inception*", "inception*"),
    r"stem\.(conv|0)\.weight": ("regnet*", "regnet*"),
    r"conv1\.(conv\.)?weight": ("[sg][ho]*", ""),
}
TRANSFORMERS = re.compile(r"^(vit|deit|beit|resnet|convnext(v2)?|swin(v2)?|efficientnet|mobilenet_v\d|dinov2|regnet)\.")


def advice(tensors: Mapping[str, Tensor], file: str | None) -> str:
    """Return what bare weights are and what to type to look at the network they belong to.

    tensors : by name. file : the file they are from, as shown to people; None for a dictionary in memory.
    """
    names = list(tensors)
    keys = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    found = fitting(tensors)
    weights = file or "weights.safetensors"
    saved = "" if file else "save them with safetensors.torch.save_file(them, 'weights.safetensors'), then "
    if found:
        lines = " or ".join(f"innersight layers '{one}' --weights {weights}" for one in found)
        return f"weights without a network, with the names {keys}: they fit {' and '.join(found)}; {saved}write {lines}"
    if any(TRANSFORMERS.match(name) for name in names):
        return (
            f"weights without a network, with the names {keys}, as transformers gives them: put them into a folder as "
            "model.safetensors with their config.json, and write hf:FOLDER"
        )
    if file is None:
        return (
            f"a state_dict, with the names {keys}: build the network it was taken from, net.load_state_dict(it), and "
            "give the network"
        )
    return (
        f"weights without a network, with the names {keys}: name the network they belong to, as in innersight layers "
        f"timm:NAME --weights {weights}, or python:MODULE:FUNCTION for one of your own"
    )


def fitting(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the networks of known libraries, as texts that `load` takes, whose weights have these names and shapes.

    The last layer may have another number of classes, which the text then states. Wrappers' prefixes are ignored.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in _unwrapped(tensors).items()}
    shapes = {name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}
    found: list[str] = []
    for source, build in _candidates(shapes, found):
        try:
            with torch.device("meta"):
                own = build()
        # Some need a library or option of their own: they are not candidates.
        except (*BROKEN, ImportError):
            continue
        classes = _fits(own, shapes)
        if classes is not None:
            found.append(f"{source}?classes={classes}" if classes else source)
    return found


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = list(tensors)
    for prefix in ("module.", "_orig_mod.", "model.", "net.", "backbone.", "encoder."):
        if names and all(name.startswith(prefix) for name in names):
            return _unwrapped({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return dict(tensors)


def _candidates(shapes: Mapping[str, Shape], found: list[str]) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Yield networks to compare, each with what builds it; found : those that fitted so far."""
    from torchvision import models

    from innersight.sources.small_resnet import SmallResNet

    if "stage1.conv1.weight" in shapes and len(shapes.get("stem.0.weight", ())) == 4:
        width, channels = shapes["stem.0.weight"][:2]
        if 1 <= width <= 1024:
            yield f"small:{width}", lambda: SmallResNet(10, width=width, channels=channels)
            return
    globs = (own for pattern, own in FAMILIES.items() if any(re.match(pattern, name) for name in shapes))
    ours, theirs = next(globs, ("", ""))
    for name in matching(models.list_models(module=models), ours)[:MOST]:
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        yield f"torchvision:{name}", partial(models.get_model, name, weights=None, **options)
        if found:
            break
    try:
        import timm
    except ImportError:
        return
    patch = str(shapes.get("patch_embed.proj.weight", (16,))[-1])
    names = timm.list_models(theirs.replace("{patch}", patch).split()) if theirs else []
    if found:
        # Where torchvision has it, timm has it under the same name or not at all.
        names = [name for name in names if f"torchvision:{name}" == found[0].partition("?")[0]]
    for name in sorted(names, key=len)[:MOST]:
        yield f"timm:{name}", partial(timm.create_model, name)
        if len(found) == SHOWN:
            return


def _fits(net: nn.Module, shapes: Mapping[str, Shape]) -> int | None:
    """Return 0 for a network with these names and shapes, the classes where only the last weights differ, or None."""
    own = {name: tuple(t.shape) for name, t in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    if own.keys() != shapes.keys():
        return None
    apart = [name for name, shape in own.items() if shape != shapes[name]]
    if not apart:
        return 0
    sides = {shapes[name][0] for name in apart if shapes[name][1:] == own[name][1:] and shapes[name]}
    return sides.pop() if len(apart) <= 2 and len(sides) == 1 and len({own[name][0] for name in apart}) == 1 else None
