"""Plain-text tables for the terminal."""

import importlib.metadata
import importlib.util
import platform
import textwrap
from collections.abc import Sequence

from innersight.model import Layer, Model
from innersight.predict import Prediction

EXTRAS = {
    "timm": ("timm",),
    "train": ("lightning", "tensorboard"),
    "bench": ("lucent", "pytorch_grad_cam", "captum"),
    "test": ("pytest", "hypothesis", "playwright"),
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under a head, columns aligned, numbers to the right.

    >>> print(table(["name", "units"], [["stem", "32"], ["head", "5"]]))
    name  units
    stem     32
    head      5
    """
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [bool(rows) and all(cell.replace(",", "").replace(".", "").isdigit() for cell in c[1:]) for c in columns]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if r else cell.ljust(width) for cell, width, r in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def layers(model: Model, found: Sequence[Layer], story: Sequence[str]) -> str:
    """Return the layer table with the layers a study shows marked."""
    rows = [
        [
            layer.name,
            layer.kind,
            f"{layer.units:,}",
            f"{layer.grid[0]}x{layer.grid[1]}",
            f"{layer.parameters:,}",
            "*" if layer.name in story else "",
        ]
        for layer in found
    ]
    size = "x".join(map(str, model.input.shape))
    head = f"{model.name}: input {size}, {len(model.labels)} classes. * shown by `innersight study`"
    listed = {layer.name for layer in found}
    unlisted = [name for name in story if name not in listed]
    tail = f"\nalso shown by `innersight study`: {', '.join(unlisted)} (see --all)" if unlisted else ""
    return f"{head}\n\n{table(['layer', 'kind', 'units', 'grid', 'parameters', ''], rows)}{tail}"


def prediction(result: Prediction) -> str:
    """Return the classes of each picture, or accuracy, per-class table and worst confusions of a labelled tree."""
    skipped = [f"skipped {sentence}" for sentence in result.skipped]
    summary = result.summary()
    if summary is None or summary["pictures"] == 1:
        lines = []
        for i, name in enumerate(result.names):
            best = ", ".join(f"{row['label']} {row['probability']:.3f}" for row in result.top(i, 3))
            lines.append(f"{name}: {best}")
        return "\n".join(lines + skipped)
    low, high = summary["interval"]
    rows = [
        [label, str(c["pictures"]), *(f"{c[k]:.3f}" if c[k] is not None else "-" for k in ("precision", "recall"))]
        for label, c in summary["classes"].items()
    ]
    worst = [f"{c['truth']} taken for {c['predicted']}: {c['pictures']}" for c in summary["confusions"][:5]]
    return "\n".join(
        [
            f"accuracy {summary['accuracy']:.4f} (95%: {low:.4f} to {high:.4f}) on {summary['pictures']} pictures",
            "",
            table(["class", "pictures", "precision", "recall"], rows),
            "",
            *worst,
            *skipped,
        ]
    )


def methods() -> str:
    """Return the heatmap methods with their docstrings and options."""
    from innersight.heatmaps.request import methods as registry

    parts = []
    for name in registry:
        text = textwrap.fill(
            " ".join((registry[name].__doc__ or "").split()), 96, initial_indent="    ", subsequent_indent="    "
        )
        options = "".join(f"\n    --{name}.{key}={value}" for key, value in registry.options(name).items())
        parts.append(f"{name}\n{text}{options}")
    return "\n\n".join(parts)


def doctor() -> str:
    """Return versions, devices, and which extras are there."""
    import torch

    from innersight import __version__

    lines = [f"innersight {__version__}", f"python {platform.python_version()} on {platform.platform()}"]
    for name in ("torch", "torchvision", "numpy", "pillow"):
        lines.append(f"{name} {importlib.metadata.version(name)}")
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    lines.append(f"devices: cpu ({torch.get_num_threads()} threads){''.join(f', cuda: {gpu}' for gpu in gpus)}")
    if torch.backends.mps.is_available():
        lines[-1] += ", mps"
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        state = "installed" if not absent else f"not installed: pip install 'innersight[{extra}]'"
        lines.append(f"extra {extra}: {state}")
    return "\n".join(lines)
