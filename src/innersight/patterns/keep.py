"""Finished images kept in a folder, so that a run that was ended goes on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from innersight.errors import InnersightError
from innersight.model import Model
from innersight.patterns.objectives import Term
from innersight.patterns.slots import Drawn, Job
from innersight.storage.writing import write_tensors


@dataclass(frozen=True)
class Kept:
    """A folder with one safetensors file for each finished job. digest : of model and settings."""

    folder: Path
    digest: str

    @classmethod
    def open(cls, folder: str | Path, model: Model, settings: Mapping[str, Any]) -> "Kept":
        """Open or make the folder. Raises InnersightError where it cannot be written."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InnersightError(f"{folder}: patterns cannot be kept there ({error})") from error
        # What an image does not depend on may change between a run and its continuation.
        alone = ("variants", "diversity") if settings["variants"] == 1 else ()
        known = {key: value for key, value in settings.items() if key not in ("seed", "seeds", "negatives", *alone)}
        text = json.dumps([model.digest(), known], sort_keys=True).encode()
        return cls(folder, hashlib.sha256(text).hexdigest()[:16])

    def get(self, job: Job) -> Drawn | None:
        """Return a job that was finished before with the same model and settings, or None."""
        path = self._path(job)
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["facts"])
                begun, pixels, importance = (file.get_tensor(name) for name in ("begun", "pixels", "importance"))
        except (OSError, safetensors.SafetensorError):
            return None
        return Drawn(job, begun, pixels, importance, facts["steps"], facts["converged"], facts["still"])

    def put(self, one: Drawn) -> None:
        """Write a finished job. Raises WriteError where there is no room."""
        facts = {"steps": one.steps, "converged": one.converged, "still": one.still, "what": str(one.job.objective)}
        tensors = {"begun": one.begun, "pixels": one.pixels, "importance": one.importance}
        write_tensors(self._path(one.job), tensors, {"facts": json.dumps(facts)})

    def _path(self, job: Job) -> Path:
        # The text of an objective says neither which direction or image it holds, nor its weights in full.
        terms = [(term.name, term.weight, _given(term)) for term in job.objective.terms]
        roams = job.window is not None and job.window.roams
        name = hashlib.sha256(f"{self.digest} {job.seed} {job.rows} {roams} {terms}".encode()).hexdigest()[:24]
        return self.folder / f"{name}.safetensors"


def _given(term: Term) -> str:
    if isinstance(term.given, Tensor):
        return hashlib.sha256(term.given.numpy().tobytes()).hexdigest()
    return "" if term.given is None else term.given.digest()
