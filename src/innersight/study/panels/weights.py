"""The weights of the layer that sees the image itself, as colours."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels

if TYPE_CHECKING:
    from innersight.model import Model
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


def _first_convolution(model: "Model") -> str | None:
    """Return the name of the convolution that sees the image itself, if its weights can be shown in colour."""
    from torch import Tensor

    for name, module in model.net.named_modules():
        weight = getattr(module, "weight", None)
        # By its weights (units, channels, h, w) and not by its class: exported networks have classes of their own.
        if isinstance(weight, Tensor) and weight.ndim == 4:
            return name if weight.shape[1] == model.input.channels == 3 and min(weight.shape[2:]) > 1 else None
    return None


def _coloured(model: "Model", name: str) -> Outcome:
    """Return the weights as colours around grey."""
    from innersight.quotients import scaled

    weight = model.net.get_parameter(f"{name}.weight").detach().float().cpu()
    return {"layer": name}, {"pixels": 0.5 + scaled(weight, (1, 2, 3)) / 2}


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    from innersight.render.colour import to_bytes
    from innersight.render.sheets import colour_sheet

    item = reader.item("weights")
    if item is None or not (item.document["layer"] + ".").startswith(row["name"] + "."):
        return {"weights": None}
    return {"weights": {"sheet": colour_sheet(files, to_bytes(item.tensors()["pixels"]))}}


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    found = document["weights"]
    if found is None or chosen.units is None:
        return {}
    # A block's weights are those of its first layer, which may have fewer units.
    own = [unit for unit in chosen.units if unit < found["sheet"]["count"]]
    return {"weights": {**found, "sheet": {**chosen.cut(found["sheet"], own), "at": own}}}


@panels.register("Weights", order=60, layer=_layer, select=_select)
def weights(context: "StudyContext") -> Iterator[StudyTask]:
    """The weights of the first convolution, where it sees three colours."""
    name = _first_convolution(context.model)
    if name is not None:
        yield StudyTask(Key("weights"), context.base, partial(_coloured, context.model, name))
