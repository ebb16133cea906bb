"""`lightning:FILE.ckpt?class=MODULE:CLASS`: a checkpoint of Lightning, fitted into the class it was made by."""

from pathlib import Path
from typing import Any

from torch import nn

from innersight.errors import InnersightError
from innersight.model import Model
from innersight.sources.bare import as_built, wrap
from innersight.sources.importing import find_object
from innersight.sources.origins import LoadRequest, registry
from innersight.sources.weights import fit_weights, read_checkpoint, read_weights


@registry.register(
    "Lightning checkpoint",
    source="https://lightning.ai",
    use="For a checkpoint of your own LightningModule, or of any class with its hyperparameters in it.",
    example="lightning:last.ckpt?class=mynet:Net",
    extra="train",
    reads_output=True,
)
def lightning(name: str, request: LoadRequest, *, class_: str = "") -> Model:
    """Build the class of a checkpoint with its hyperparameters, and load its weights.

    With weights FILE those are loaded instead of the checkpoint's own. Raises InnersightError for a checkpoint that
    holds more than tensors and plain values, another set of arguments, and weights that do not fit, with the first
    differences.

    Parameters
    ----------
    class_
        The LightningModule, or any `nn.Module`, as MODULE:CLASS. It must be given.

    """
    weights = request.weights
    if not class_:
        raise InnersightError(f"lightning:{name}: name its class: lightning:{name}?class=MODULE:CLASS")
    hyper = _hyperparameters(Path(name))
    tensors = read_weights(weights or name)
    made = find_object(class_, f"lightning:{name}", f"lightning:{name}?class=MODULE:CLASS")
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise InnersightError(f"lightning:{name}: {class_} is not a torch.nn.Module class but {made!r:.60}")
    try:
        net = made(**hyper)
    except Exception as error:  # The user's own code may raise anything; its error is passed on in one sentence.
        given = ", ".join(f"{key}={value!r:.30}" for key, value in hyper.items()) or "no hyperparameters"
        raise InnersightError(
            f"lightning:{name}: {class_} called with {given} raised {type(error).__name__}: {error}; "
            "save_hyperparameters() in its constructor stores them in the checkpoint"
        ) from error
    note = fit_weights(net, tensors, origin=weights or name)
    return as_built(wrap(net.eval(), request.stated, head=request.head), classes=request.classes, notes=(note,))


def _hyperparameters(path: Path) -> dict[str, Any]:
    content = read_checkpoint(path)
    hyper = content.get("hyper_parameters", {}) if isinstance(content, dict) else {}
    # A constructor that takes all of them as one argument tells its name; keys with a _ are Lightning's own.
    name = content.get("hparams_name", "kwargs") if isinstance(content, dict) else "kwargs"
    plain = {str(key): value for key, value in hyper.items() if not str(key).startswith("_")}
    return plain if name in ("kwargs", None) else {name: plain}
