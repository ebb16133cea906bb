"""Whether a run folder is started, started anew or resumed."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError
from innersight.sources.run_card import read_card
from innersight.sources.weights import read_checkpoint
from innersight.train.options import DEFAULTS, FIXED

OWN = (
    "README.md",
    "run.json",
    "weights.safetensors",
    "telemetry.json",
    "images.safetensors",
    "split.json",
    "tensorboard",
    "checkpoints",
)


def checkpoint_of(
    out: Path, given: dict[str, Any], *, resume: bool, overwrite: bool, main: bool, report: Callable[[str], None]
) -> Path | None:
    """Decide whether OUT is started, started anew or resumed; return the checkpoint to resume from."""
    if out.exists() and not out.is_dir():
        raise InnersightError(f"{out} is a file: give a folder for the run")
    if overwrite:
        _refuse_itself(out, given)
        return None
    last, finished = out / "checkpoints" / "last.ckpt", (out / "run.json").is_file()
    if finished and main:
        _refuse_finished(out, resume=resume and last.is_file())
    if not last.is_file():
        if resume:
            report(f"{out} holds no checkpoint yet: starting from the beginning")
        return None
    saved = _read_checkpoint(last)
    for name in FIXED:
        # A checkpoint written before there was the argument.
        before = saved["arguments"].get(name, DEFAULTS[name])
        if before != given[name]:
            raise InnersightError(
                f"{out} holds an unfinished run with {name}={before!r}, not {given[name]!r}: "
                "give the same arguments to resume it, another folder, or overwrite=True (--overwrite) to start anew"
            )
    report(f"resuming the run in {out} after epoch {saved['reached']['epochs']}")
    return last


def clear(out: Path) -> None:
    """Remove what a run left in OUT, and nothing else."""
    for name in OWN:
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _refuse_itself(out: Path, given: dict[str, Any]) -> None:
    """Refuse to overwrite the run whose weights are asked for."""
    for name in (str(given["net"]).removeprefix("run:"), given["weights"]):
        place = Path(name).resolve() if name else out.parent.resolve()
        if place == out.resolve() or any(place.is_relative_to(out.resolve() / own) for own in OWN):
            raise InnersightError(f"{name} is what overwrite=True (--overwrite) would remove: name another folder")


def _refuse_finished(out: Path, *, resume: bool) -> None:
    metrics = read_card(out).metrics
    if metrics.get("stopped") and resume:
        return
    state = f"a run that was {metrics['stopped']}" if metrics.get("stopped") else "a finished run"
    more = "; resume=True (--resume) continues it" if metrics.get("stopped") else ""
    raise InnersightError(
        f"{out} holds {state} (accuracy {metrics.get('accuracy', math.nan):.4f}): give another folder, "
        f"or overwrite=True (--overwrite) to start anew{more}"
    )


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what `train` keeps in a checkpoint, read without unpickling objects."""
    remedy = "start anew with overwrite=True (--overwrite)"
    try:
        content = read_checkpoint(path)
    except InnersightError as error:
        raise InnersightError(f"{error}; {remedy}") from error
    saved = content.get("innersight") if isinstance(content, dict) else None
    if not isinstance(saved, dict) or not all(isinstance(saved.get(key), dict) for key in ("arguments", "reached")):
        raise InnersightError(f"{path}: not a checkpoint that `train` wrote; {remedy}")
    return saved
