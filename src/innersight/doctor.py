"""What is installed, and what is missing for each extra."""

import importlib.metadata
import platform
import re

from innersight.terminal import table


def doctor() -> str:
    """Return versions, devices, and what is missing for each extra."""
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
    rows = []
    for extra, names in extras().items():
        absent = [name for name in names if not _is_installed(name)]
        rows.append([extra, f"pip install 'innersight[{extra}]'" if absent else "installed", ", ".join(absent)])
    return "\n".join([*lines, "", table(["extra", "state", "missing"], rows)])


def extras() -> dict[str, list[str]]:
    """Return the optional dependencies of this installation by the extra they belong to."""
    found: dict[str, list[str]] = {}
    for text in importlib.metadata.requires("innersight") or ():
        match = re.match(r"([\w.-]+).*;.*extra == ['\"]([\w-]+)", text)
        if match and match[1] != "innersight":
            found.setdefault(match[2], []).append(match[1])
    return found


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
