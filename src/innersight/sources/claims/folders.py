"""Folders of transformers: what their files declare, and how large a network their configuration describes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from innersight.errors import InnersightError, printable
from innersight.sources.claims.checkpoints import check_checkpoint
from innersight.storage.bounded import BROKEN, MAX_MODEL, check, check_claim, opened, read_json, reading

MAX_LAYERS = 1_000
MAX_CLASSES = 1_000_000
WEIGHTS = (".safetensors", ".bin")


def check_folder(folder: Path) -> None:
    """Raise InnersightError for a folder whose files are none, declare more than they hold, or describe another size.

    A folder without config.json passes: what is missing is said where it is opened.
    """
    files = [path for path in folder.iterdir() if path.suffix in (".json", *WEIGHTS)]
    if (folder / "config.json") not in files:
        return
    for path in files:
        if path.suffix == ".json":
            content = read_json(path)
            if path.name == "config.json":
                _check_config(content, printable(path))
            if path.name.endswith(".index.json"):
                _check_index(content, printable(path))
        elif path.suffix == ".bin":
            with opened(path, what="file of weights", limit=MAX_MODEL) as file:
                check_checkpoint(file, printable(path))
        else:
            check(path, what="file of weights")
            with reading(path, "safetensors file", SafetensorError), safe_open(path, framework="pt"):
                pass
    present = sum(path.stat().st_size for path in files if path.suffix in WEIGHTS)
    _check_size(folder, present)


def _check_size(folder: Path, present: int) -> None:
    """Build the network without memory for its weights; raise InnersightError when the files cannot hold them."""
    import transformers
    from huggingface_hub.errors import StrictDataclassError

    try:
        with torch.device("meta"):
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
            net = transformers.AutoModelForImageClassification.from_config(config)
    # What it has to say of the folder, it says when it is opened.
    except (*BROKEN, ImportError, StrictDataclassError):
        return
    # Half the bytes where the weights were stored with fewer bits.
    claimed = sum(tensor.numel() for tensor in net.state_dict().values())
    check_claim(claimed, present, printable(folder))


def _check_config(content: Any, where: str) -> None:
    if not isinstance(content, dict):
        raise InnersightError(f"{where}: not a configuration of transformers")
    for name, value in _numbers(content, ""):
        key = name.lower()
        most = MAX_LAYERS if any(word in key for word in ("layers", "depth", "blocks", "repeat")) else 2**31
        most = MAX_CLASSES if key in ("num_labels", "id2label") else most
        if abs(value) > most:
            raise InnersightError(f"{where}: refused, its {printable(name)} is {value:,}; at most {most:,} is built")


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a configuration, and the lengths of its lists and objects, by name."""
    if isinstance(value, dict):
        yield name, len(value)
        for key, inner in value.items():
            yield from _numbers(inner, key)
    elif isinstance(value, list):
        yield name, len(value)
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def _check_index(content: Any, where: str) -> None:
    files = content.get("weight_map", {}).values() if isinstance(content, dict) else ()
    for name in files if isinstance(content.get("weight_map", {}), dict) else ():
        if not isinstance(name, str) or Path(name).name != name:
            raise InnersightError(f"{where}: refused, it names weights outside its folder, {printable(name)!r}")
