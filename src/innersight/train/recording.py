"""What is kept of a training: scalars, layers and images, bounded, in files and for TensorBoard."""

import copy
import json
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from innersight.storage.bounded import read_json, reading
from innersight.storage.writing import write_text
from innersight.train.events import add_histogram, open_writer
from innersight.train.fixed import FixedImages
from innersight.train.records import empty_record, finite, halve

FORMAT = 1
FILE = "telemetry.json"
MAX_POINTS = 1000
MAX_ROWS = 1500
WRITE_SECONDS = 30.0
FIGURES = ("weight_norm", "gradient_norm", "update_ratio", "dead")


class Recording:
    """Scalars, layers and images of a training in memory, in `telemetry.json`, and in event files.

    step : steps made so far. every : steps from record to record of the layers, doubled when there are too many.
    images : of which heatmaps are recorded.
    """

    def __init__(
        self,
        folder: str | Path | None,
        *,
        every: int,
        tensorboard: bool,
        resume_at: int = 0,
        images: FixedImages | None = None,
    ) -> None:
        self.folder = Path(folder) if folder is not None else None
        self.every, self.step, self.resume_at = every, resume_at, resume_at
        self.images = images
        self._scalars: dict[str, dict[str, list[Any]]] = {}
        self._layers: dict[str, dict[str, Any]] = {}
        self._pending: list[tuple[int, Mapping[str, float | Tensor]]] = []
        self._writer: Any = None
        self._tensorboard = tensorboard and folder is not None
        self._written = time.monotonic()
        if resume_at and self.folder is not None and (self.folder / FILE).is_file():
            record = read_json(self.folder / FILE, what="training record")
            with reading(self.folder / FILE, "training record"):
                self._continue(record)

    def state(self) -> dict[str, Any]:
        """Return all that was recorded, in plain values and tensors; `restore` takes it up."""
        self.flush()
        found = copy.deepcopy({"every": self.every, "scalars": self._scalars, "layers": self._layers})
        return {**found, "images": self.images.state()} if self.images is not None else found

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""
        if self.images is not None and "images" in state:
            self.images.restore(state["images"])
        state = copy.deepcopy({key: found for key, found in state.items() if key != "images"})
        self.every, self._scalars, self._layers = int(state["every"]), state["scalars"], state["layers"]

    def note(self, values: Mapping[str, float | Tensor]) -> None:
        """Note scalars at the current step; tensors stay on their device until `flush`."""
        self._pending.append((self.step, values))

    def data(self) -> dict[str, Any]:
        """Return what `telemetry.json` holds."""
        self.flush()
        scalars = {name: {"step": s["step"], "value": finite(s["value"])} for name, s in self._scalars.items()}
        return {"format": FORMAT, "every": self.every, "scalars": scalars, "layers": self._layers}

    def write(self) -> None:
        """Write the files, each in one step, and flush the event files."""
        data = self.data()
        if self.folder is not None:
            write_text(self.folder / FILE, json.dumps(data, separators=(",", ":"), allow_nan=False))
            if self.images is not None:
                self.images.write(self.folder)
        if self._writer is not None:
            self._writer.flush()
        self._written = time.monotonic()

    def close(self) -> None:
        """Write the files and close the event files."""
        try:
            self.write()
        finally:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def record_images(self, epoch: int) -> None:
        """Record the images after an epoch; 0 before the first."""
        if self.images is not None:
            self.images.record(self.step, epoch, self._events())

    def keep(self, layer: str, row: list[float], counts: tuple[list[int], list[int] | None]) -> None:
        """Keep the record of one layer at the current step.

        row : the `FIGURES`, then the lowest and highest weight, then the lowest and highest gradient. counts : of the
        histograms of weights and gradients.
        """
        record = self._layers.setdefault(layer, empty_record())
        record["step"].append(self.step)
        for key, value in zip(FIGURES, finite(row[:4]), strict=True):
            record[key].append(value)
        for key, edges, bins in (("weight", row[4:6], counts[0]), ("gradient", row[6:8], counts[1])):
            low, high = finite(edges)
            histogram = record[f"{key}_histogram"]
            histogram["edges_low"].append(low)
            histogram["edges_high"].append(high)
            histogram["counts"].append(bins if low is not None and high is not None else None)
        if (writer := self._events()) is not None:
            for key, value in zip(FIGURES, row[:4], strict=True):
                if math.isfinite(value):
                    writer.add_scalar(f"{key}/{layer}", value, self.step)
            for key, edges, bins in (("weights", row[4:6], counts[0]), ("gradients", row[6:8], counts[1])):
                if bins is not None and all(map(math.isfinite, edges)):
                    add_histogram(writer, f"{key}/{layer}", edges, bins, self.step)

    def recorded(self) -> None:
        """Thin out the records, now that all layers have theirs of this step, and write the files from time to time."""
        self.flush()
        self._thin()
        if time.monotonic() - self._written > WRITE_SECONDS:
            self.write()

    def flush(self) -> None:
        """Fetch the scalars noted since the last record, one transfer for all that are tensors of one device."""
        pending, self._pending = self._pending, []
        tensors = [v for _, values in pending for v in values.values() if isinstance(v, Tensor)]
        fetched: Iterable[float] = torch.stack([t.float().reshape(()) for t in tensors]).tolist() if tensors else []
        numbers = iter(fetched)
        writer = self._events() if pending else None
        for step, values in pending:
            for name, value in values.items():
                number = next(numbers) if isinstance(value, Tensor) else float(value)
                series = self._scalars.setdefault(name, {"step": [], "value": []})
                series["step"].append(step)
                series["value"].append(number)
                if writer is not None:
                    writer.add_scalar(name, number, step)
        for series in self._scalars.values():
            while len(series["step"]) > MAX_POINTS:
                halve(series)

    def _thin(self) -> None:
        taken = max(len(r["step"]) for r in self._layers.values())
        if taken * len(self._layers) <= MAX_ROWS or taken < 4:
            return
        self.every *= 2
        for record in self._layers.values():
            keep = [n for n, step in enumerate(record["step"]) if step % self.every == 0]
            for part in (record, record["weight_histogram"], record["gradient_histogram"]):
                for key, values in part.items():
                    if isinstance(values, list):
                        part[key] = [values[n] for n in keep]

    def _events(self) -> Any:
        if self._tensorboard and self._writer is None:
            self._writer = open_writer(str(self.folder / "tensorboard"), self.resume_at)  # type: ignore[operator]
        return self._writer

    def _continue(self, data: dict[str, Any]) -> None:
        self.every = max(self.every, int(data.get("every", 1)))
        for name, series in data["scalars"].items():
            kept = [n for n, step in enumerate(series["step"]) if step <= self.resume_at]
            values = [math.nan if series["value"][n] is None else series["value"][n] for n in kept]
            self._scalars[name] = {"step": [series["step"][n] for n in kept], "value": values}
        for name, record in data["layers"].items():
            kept = [n for n, step in enumerate(record["step"]) if step <= self.resume_at]
            self._layers[name] = {
                key: {k: [v[n] for n in kept] for k, v in part.items()}
                if isinstance(part, dict)
                else [part[n] for n in kept]
                for key, part in record.items()
            }
