"""What is drawn: the recipe of a run, its jobs, and the folder in which finished images are kept to resume from."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.model import Model
from innersight.patterns.objectives import Distribution, Objective, Term
from innersight.patterns.options import PatternOptions, Statistics
from innersight.patterns.parameterize import Parameterization, parameterizations
from innersight.patterns.views import Window
from innersight.storage.writing import write_tensors

UNCHANGING = ("seed", "seeds", "negatives", "growth")  # options on which the image of one seed does not depend


@dataclass(frozen=True)
class Recipe:
    """How images are drawn, the same for all images of a run; see `innersight.patterns`.

    shape : (C, H, W). options : with all that depends on the network settled: the size, the statistics as numbers, the
    learning rate, and the backend of torch.compile as text, empty for none. init : (C, H, W) in 0..1, the image that
    all start from; random ones when None.
    """

    shape: tuple[int, int, int]
    options: PatternOptions
    init: Tensor | None = None

    __repr__ = brief

    def form(self) -> Parameterization:
        """Return the parameterization for this shape."""
        statistics = self.options.statistics
        assert isinstance(statistics, Statistics)
        form = parameterizations[self.options.parameterize](self.shape, statistics, self.options.contrast)
        return form if self.options.lr is None else replace(form, lr=self.options.lr)


@dataclass(frozen=True, eq=False)
class PatternJob:
    """Images that are drawn together: one, or the variants of one objective that are to differ.

    objective : as the user wrote it, which with the seed names the random streams. optimized : what is optimized.
    window : the part of the image that is fed to the network; None for all of it. Through one that roams as many
    updates are made as it takes to see as much as in whole images.
    """

    objective: Objective
    optimized: Objective
    seed: int
    rows: int = 1
    window: Window | None = None

    def pace(self, recipe: Recipe) -> int:
        """Return how many updates stand for one on the whole image."""
        if self.window is None or not self.window.roams:
            return 1
        return round(recipe.shape[1] * recipe.shape[2] / (self.window.height * self.window.width))

    @property
    def fed(self) -> tuple[int, int, bool] | None:
        """What jobs that share a batch have in common: the kind of their windows."""
        return None if self.window is None else self.window.kind

    def updates(self, recipe: Recipe) -> int:
        """Return how many updates it takes at most."""
        return recipe.options.steps * self.pace(recipe)

    def streams(self) -> list[torch.Generator]:
        """Return the random streams of its images: they depend on seed and objective only."""
        return [torch.Generator().manual_seed(zlib.crc32(name.encode())) for name in self.names()]

    def names(self) -> list[str]:
        """Return what names the random streams of its images."""
        return [f"{self.seed} {self.objective}" + (f" {row}" if row else "") for row in range(self.rows)]


@dataclass(frozen=True, eq=False)
class FinishedPattern:
    """A finished job.

    begun, pixels : (rows, C, H, W) in 0..1, the random images and what became of them. importance : (rows, H, W) in
    0..1, how much each pixel mattered on the way. steps : taken. converged : whether it had stopped rising.
    still : whether no gradient reached the images any more. stages, growth : where `PatternOptions.growth` asks for it
    the updates after which the first image was kept, and (stages, C, H, W) float16 in 0..1.
    """

    job: PatternJob
    begun: Tensor
    pixels: Tensor
    importance: Tensor
    steps: int
    converged: bool
    still: bool
    stages: tuple[int, ...] = ()
    growth: Tensor = field(default_factory=lambda: torch.empty(0))

    __repr__ = brief


@dataclass(frozen=True)
class Kept:
    """A folder with one safetensors file for each finished job.

    digest : of model and settings. growth : whether a job counts as finished only where its growth was kept.
    """

    folder: Path
    digest: str
    growth: bool = False

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
        known = {key: value for key, value in settings.items() if key not in (*UNCHANGING, *alone)}
        text = json.dumps([model.digest(), known], sort_keys=True).encode()
        return cls(folder, hashlib.sha256(text).hexdigest()[:16], settings["growth"])

    def get(self, job: PatternJob) -> FinishedPattern | None:
        """Return a job that was finished before with the same model and settings, or None."""
        path = self._path(job)
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["facts"])
                begun, pixels, importance = (file.get_tensor(name) for name in ("begun", "pixels", "importance"))
                growth = file.get_tensor("growth") if self.growth else torch.empty(0)
        except (OSError, safetensors.SafetensorError):
            return None
        return FinishedPattern(
            job, begun, pixels, importance, facts["steps"], facts["converged"], facts["still"],
            tuple(facts.get("stages", ())), growth,
        )  # fmt: skip

    def put(self, one: FinishedPattern) -> None:
        """Write a finished job. Raises WriteError where there is no room."""
        facts = {"steps": one.steps, "converged": one.converged, "still": one.still, "what": str(one.job.objective)}
        facts |= {"stages": list(one.stages)}
        tensors = {"begun": one.begun, "pixels": one.pixels, "importance": one.importance}
        tensors |= {"growth": one.growth} if len(one.growth) else {}
        write_tensors(self._path(one.job), tensors, {"facts": json.dumps(facts)})

    def _path(self, job: PatternJob) -> Path:
        # The text of an objective names neither the direction or image it holds, nor its weights in full.
        added = [term for term in job.optimized.terms if isinstance(term.given, Distribution)]
        terms = [(term.name, term.weight, _given(term)) for term in (*job.objective.terms, *added)]
        roams = job.window is not None and job.window.roams
        name = hashlib.sha256(f"{self.digest} {job.seed} {job.rows} {roams} {terms}".encode()).hexdigest()[:24]
        return self.folder / f"{name}.safetensors"


def _given(term: Term) -> str:
    if isinstance(term.given, Tensor):
        return hashlib.sha256(term.given.numpy().tobytes()).hexdigest()
    return "" if term.given is None else term.given.digest()
