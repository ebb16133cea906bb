"""Damages sound model files and loads them: run as a program, with a limit on its memory, it tells what came of it."""

import io
import json
import random
import re
import resource
import sys
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HUGE = (2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1, 0)
ROOM = 3 * 2**30  # bytes beyond what the libraries take


def damaged(data: bytes, seed: int) -> bytes:
    """Return the file with something wrong in it: cut, changed, lengths set to huge numbers, parts twice or missing."""
    rng = random.Random(seed)
    if data[:4] == b"PK\x03\x04" and rng.random() < 0.6:
        return _repacked(data, rng)
    if rng.random() < 0.3:
        return _number(data, rng)
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(min(len(found), rng.choice((64, 512, len(found)))) or 1)
        change = rng.choice(("cut", "flip", "huge", "insert", "delete", "double", "zero"))
        if change == "cut":
            del found[place:]
        elif change == "flip":
            found[place : place + 1] = bytes([rng.randrange(256)])
        elif change == "huge":
            width, order = rng.choice((2, 4, 8)), rng.choice(("little", "big"))
            found[place : place + width] = (rng.choice(HUGE) % 2 ** (8 * width)).to_bytes(width, order)
        elif change == "insert":
            found[place:place] = rng.randbytes(rng.randrange(1, 40))
        elif change == "delete":
            del found[place : place + rng.randrange(1, 40)]
        elif change == "double":
            found[place:place] = found[place : place + 100]
        else:
            found[place : place + 40] = bytes(40)
    return bytes(found)


def _number(data: bytes, rng: random.Random) -> bytes:
    """Change a number written in digits, as in JSON and in the headers of arrays."""
    places = list(re.finditer(rb"(?<![\w.])\d{1,6}(?![\w.])", data))
    if not places:
        return data[: rng.randrange(len(data) or 1)]
    place = rng.choice(places)
    new = rng.choice((b"-1", b"0", b"1.5", b'"a"', b"null", b"[]", b"{}", *(str(n).encode() for n in HUGE)))
    return data[: place.start()] + new + data[place.end() :]


def _repacked(data: bytes, rng: random.Random) -> bytes:
    """Damage one entry of a zip file, so that the archive itself stays sound."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    # Headers more often than weights.
    names = sorted(entries, key=lambda name: not re.search(r"json|pkl|h5", name))
    name = names[min(int(rng.expovariate(0.5)), len(names) - 1)]
    change = rng.random()
    if change < 0.1:
        del entries[name]
    elif change < 0.15:
        entries[name] = b""
    else:
        entries[name] = damaged(entries[name], rng.randrange(2**32)) if entries[name] else b"x"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for one, content in entries.items():
            archive.writestr(one, content)
    return buffer.getvalue()


def repacked(file: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Write a zip file again with changed entries."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, change(name, data))


def tried(source: str) -> tuple[str, str]:
    """Load a model and run it; return "fine", "refused" or "wrong", and what was said."""
    import torch

    from innersight.errors import InnersightError
    from innersight.sources import load

    try:
        model = load(source, device="cpu")
        with torch.no_grad():
            model.logits(torch.zeros(1, *model.input.shape, dtype=model.dtype))
    except InnersightError as error:
        return "refused", str(error)
    except BaseException as error:  # noqa: BLE001  Whatever else it is, it is told.
        return "wrong", f"{type(error).__name__}: {error}\n{traceback.format_exc()[-1500:]}"
    return "fine", ""


def main(source: str, file: str, seeds: range) -> None:
    """Load `source` once for each seed, with `file` damaged by it; print a row for each as JSON."""
    path = Path(file)
    sound = path.read_bytes()
    state, said = tried(source)
    print(json.dumps({"source": source, "seed": -1, "state": state, "said": said, "seconds": 0.0}), flush=True)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.RLIM_INFINITY))
    for seed in seeds:
        content = damaged(sound, seed)
        path.write_bytes(content)
        start = time.monotonic()
        print(json.dumps({"source": source, "seed": seed}), flush=True)
        state, said = tried(source)
        row: dict[str, Any] = {"source": source, "seed": seed, "state": state, "said": said}
        print(json.dumps({**row, "seconds": time.monotonic() - start}), flush=True)
    path.write_bytes(sound)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    # SOURCE FILE FIRST LAST, as often as wanted.
    for job in zip(*[iter(sys.argv[1:])] * 4, strict=True):
        main(job[0], job[1], range(int(job[2]), int(job[3])))
