"""The network: what it is, what seems wrong with its input, its layers, and the settings of the study."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.storage.key import Key
from innersight.study.panel import Outcome, StudyTask, panels

if TYPE_CHECKING:
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


def _card(context: "StudyContext", warnings: Sequence[str]) -> Outcome:
    from innersight.study.plan import FORMAT

    model, plan = context.model, context.plan
    spec = model.input
    layers = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "role": layer.role,
            "units": layer.units,
            "grid": list(layer.grid),
            "parameters": layer.parameters,
            "prefix": layer.prefix,
        }
        for layer in context.surveyed().values()
        if layer.role in ("conv", "linear", "block") or layer.name in (*plan.layers, *_read(context))
    ]
    facts = {
        "name": model.name,
        "source": model.source,
        "parameters": sum(p.numel() for p in model.net.parameters()),
        "labels": list(model.labels),
        "notes": list(model.notes),
        "warnings": list(warnings),
        "input": {
            "channels": spec.channels,
            "height": spec.height,
            "width": spec.width,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "fit": spec.fit,
            "crop": spec.crop,
            "resample": spec.resample,
            "shown": list(spec.shown),
            "guessed": list(spec.guessed),
        },
    }
    return {
        "format": FORMAT,
        "digest": model.digest(concepts=False),
        "plan": plan.to_json(),
        "skipped": list(context.skipped),
        # Names of files in the model's source may be relative to it.
        "where": str(Path.cwd()),
        "model": facts,
        "layers": layers,
    }, {}


def _read(context: "StudyContext") -> list[str]:
    """Return the layers that sets of concepts read."""
    return sorted({address.rpartition("~")[0] for address in context.sets})


def _study(reader: "StudyReader", files: Path) -> dict[str, Any]:
    model = reader.model.document["model"]
    return {
        "title": f"What {model['name']} sees",
        "model": model,
        "default_layers": reader.plan["layers"],
        "skipped": reader.model.document["skipped"],
    }


@panels.register("Network", order=10, study=_study)
def model(context: "StudyContext") -> Iterator[StudyTask]:
    """The network's card."""
    from innersight.input_warnings import image_warnings

    network = context.model
    warnings = image_warnings(network, context.images)
    settings = {
        **context.base,
        "plan": context.plan.to_json(),
        "skipped": list(context.skipped),
        "source": network.source,
        "where": str(Path.cwd()),
        "notes": [*network.notes, *warnings],
        "guessed": network.input.guessed,
        "read": _read(context),
    }
    yield StudyTask(Key("model"), settings, partial(_card, context, warnings))
