"""What happens inside a network while it learns: recorded every few steps, for TensorBoard and for the report."""

import copy
import json
import math
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from innersight.errors import InnersightError
from innersight.quotients import precise
from innersight.storage.bounded import read_json, reading
from innersight.storage.writing import write_text
from innersight.train.events import add_histogram, open_writer
from innersight.train.records import empty_record, finite, halve, histogram, norm

FORMAT = 1
MAX_POINTS = 1000
MAX_ROWS = 1500
_WRITE_SECONDS = 30.0
_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Softplus,
)  # fmt: skip


class Telemetry:
    """Records a network in training: scalars of every step, and now and then what happens in every layer.

    Parameters
    ----------
    net : nn.Module
        The network; nothing is done to it at construction.
    folder : path, optional
        `telemetry.json` is written there (at `write`, `close`, and every 30 seconds or more) by replacing the whole
        file, and `tensorboard/` gets the event files. Everything stays in memory when None.
    every : int
        Steps from record to record, 1 or more; with 1, the first step has no update_ratio and no dead units. When the
        file would pass about 1 MB (1,500 layer records), every second record is dropped and the interval doubles;
        scalars of more than 1,000 steps are averaged in pairs.
    tensorboard : bool
        Write event files too.
    resume_at : int
        Resume after this step with what `telemetry.json` holds; later records in it are dropped. Enter the `with`
        block, or call `prepare`, once the network has the weights of that step.

    Raises
    ------
    InnersightError
        For an interval below 1, and a network without convolutions or linear layers.
    MissingExtraError
        Without tensorboard.

    Notes
    -----
    Every call of `step` keeps the scalars; every `every`-th also takes, for each layer (module with a weight of two or
    more dimensions: convolutions, linear layers):

    - weight_norm, gradient_norm : Euclidean norms; the gradient is that of the step just made.
    - update_ratio : norm of the step's change of the weights / norm of the weights before it.
    - dead : share of units, 0 to 1, that were not positive at any location of any image of the step's forward passes,
      at the output of the activation module (ReLU, GELU, ...) that follows the layer; null where none follows.
    - histograms of weights and gradients: 32 equal bins from the smallest to the largest value.

    For this the weights are copied and forward hooks are registered at the end of the step before, and removed at the
    recorded one; passes in evaluation mode are not counted. `close` (or the `with` block) leaves no hook. The copies
    stay on the network's device, whose values are fetched only at recorded steps. Values that are not finite are stored
    as null.

    Examples
    --------
    >>> import torch
    >>> from innersight.train import Telemetry
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU())
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with Telemetry(net, every=2) as telemetry:
    ...     for x in torch.ones(4, 3, 4):
    ...         loss = net(x).square().mean()
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         _ = optimizer.step()
    ...         telemetry.step(loss, lr=0.1)
    >>> telemetry.state()["layers"]["0"]["step"]
    [2, 4]

    """

    def __init__(
        self,
        net: nn.Module,
        folder: str | Path | None = None,
        *,
        every: int = 25,
        tensorboard: bool = True,
        resume_at: int = 0,
    ) -> None:
        if every < 1:
            raise InnersightError(f"every={every}: the interval between records is 1 step or more")
        self._layers = telemetry_layers(net)
        if not self._layers:
            raise InnersightError(f"{type(net).__name__} has no convolution or linear layer with weights to record")
        self._net, self._folder, self._every = net, Path(folder) if folder is not None else None, every
        self._step, self._resume_at = resume_at, resume_at
        self._scalars: dict[str, dict[str, list[Any]]] = {}
        self._records: dict[str, dict[str, Any]] = {}
        self._pending: list[tuple[int, dict[str, float | Tensor]]] = []
        self._hooks = ExitStack()
        self._before: dict[str, list[Tensor]] = {}
        self._positive: dict[str, Tensor] = {}
        self._since_activation: list[tuple[str, int]] = []
        self._writer: Any = None
        self._tensorboard = tensorboard and folder is not None
        self._written = time.monotonic()
        if resume_at and self._folder is not None and (self._folder / "telemetry.json").is_file():
            record = read_json(self._folder / "telemetry.json", what="training record")
            with reading(self._folder / "telemetry.json", "training record"):
                self._continue(record)

    def __enter__(self) -> "Telemetry":
        self.prepare()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def steps(self) -> int:
        """Training steps noted so far."""
        return self._step

    @property
    def interval(self) -> int:
        """Steps from record to record, after any thinning."""
        return self._every

    def prepare(self) -> None:
        """Prepare for the record of the first step after `resume_at`, where it is due; others need no call."""
        if self._resume_at and self._step == self._resume_at and (self._step + 1) % self._every == 0:
            self._arm()

    def state(self) -> dict[str, Any]:
        """Return all that was recorded, in plain values, for a checkpoint; `restore` takes it up."""
        self._flush()
        return copy.deepcopy({"every": self._every, "scalars": self._scalars, "layers": self._records})

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned, in place of what the file holds.

        Parameters
        ----------
        state
            As `state` returned it.

        """
        state = copy.deepcopy(state)
        self._every, self._scalars, self._records = int(state["every"]), state["scalars"], state["layers"]

    def step(self, loss: float | Tensor, *, accuracy: float | Tensor | None = None, lr: float | None = None) -> None:
        """Note one training step; call it after `optimizer.step()` and before the gradients are cleared.

        Parameters
        ----------
        loss
            A number or 0-d tensor (kept on its device until the next record), stored as `train/loss`.
        accuracy
            Likewise, 0 to 1, stored as `train/accuracy`; not stored when None.
        lr
            The learning rate, stored as `lr`; not stored when None.

        """
        self._step += 1
        given = {"train/loss": loss, "train/accuracy": accuracy, "lr": lr}
        values = {n: v.detach() if isinstance(v, Tensor) else v for n, v in given.items() if v is not None}
        self._pending.append((self._step, values))
        if self._step % self._every == 0:
            self._record()
        if (self._step + 1) % self._every == 0:
            self._arm()

    def log(self, values: dict[str, float]) -> None:
        """Note further scalars at the current step.

        Parameters
        ----------
        values
            By name, such as {"val/accuracy": 0.9}.

        """
        self._pending.append((self._step, dict(values)))

    def data(self) -> dict[str, Any]:
        """Return what `telemetry.json` holds: {"format", "every", "scalars": {name: {"step", "value"}}, "layers"}.

        A layer has "step", "weight_norm", "gradient_norm", "update_ratio", "dead" (one entry for each record) and
        "weight_histogram", "gradient_histogram": {"edges_low", "edges_high", "counts" (records, 32)}.
        """
        self._flush()
        scalars = {name: {"step": s["step"], "value": finite(s["value"])} for name, s in self._scalars.items()}
        return {"format": FORMAT, "every": self._every, "scalars": scalars, "layers": self._records}

    def write(self) -> None:
        """Write `telemetry.json` (the old file stays until the new one is complete) and flush the event files."""
        data = self.data()
        if self._folder is not None:
            text = json.dumps(data, separators=(",", ":"), allow_nan=False)
            write_text(self._folder / "telemetry.json", text)
        if self._writer is not None:
            self._writer.flush()
        self._written = time.monotonic()

    def release(self) -> None:
        """Remove the hooks and the copies of weights, if a record was being prepared."""
        self._hooks.close()
        self._before.clear()
        self._positive.clear()
        self._since_activation.clear()

    def close(self) -> None:
        """Remove every hook, write the file and close the event files."""
        self.release()
        try:
            self.write()
        finally:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _arm(self) -> None:
        self.release()
        self._before = {n: [p.detach().clone() for p in weights] for n, weights in self._layers.items()}
        for below, module in self._net.named_modules():
            name = below or type(module).__name__
            if name in self._layers:
                self._hooks.callback(module.register_forward_hook(self._layer_hook(name)).remove)
            elif isinstance(module, _ACTIVATIONS):
                self._hooks.callback(module.register_forward_hook(self._activation_hook).remove)

    def _layer_hook(self, name: str) -> Any:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            if module.training and isinstance(output, Tensor):
                self._since_activation.append((name, _units(output)))

        return note

    def _activation_hook(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Credit an activation to the layers of as many units run since the last one (both arms of a residual)."""
        if not (module.training and isinstance(output, Tensor)):
            return
        waiting = [name for name, units in self._since_activation if units == _units(output)]
        self._since_activation.clear()
        if not waiting:
            return
        places = [d for d in range(output.ndim) if d != _unit_dimension(output)]
        positive = output.detach().amax(places) > 0
        for name in waiting:
            self._positive[name] = positive | self._positive[name] if name in self._positive else positive

    def _record(self) -> None:
        figures: list[Tensor] = []
        histograms: list[tuple[list[int], list[int] | None]] = []
        with torch.no_grad():
            for name, weights in self._layers.items():
                values = torch.cat([w.detach().flatten() for w in weights]).float()
                slopes = [w.grad.detach().flatten() for w in weights if w.grad is not None]
                gradient = torch.cat(slopes).float() if slopes else values.new_full((1,), math.nan)
                change = start = precise(values.new_tensor(math.nan))
                if name in self._before:
                    before = torch.cat([b.flatten() for b in self._before[name]]).float()
                    change, start = norm(precise(values) - precise(before)), norm(before)
                dead = values.new_tensor(math.nan)
                if name in self._positive:
                    dead = 1 - self._positive[name].float().mean().to(values)
                lows = [values.min(), values.max(), gradient.min(), gradient.max()]
                sizes = [norm(values), norm(gradient), change / start]
                figures.append(torch.stack([*sizes, *map(precise, (dead, *lows))]))
                histograms.append((histogram(values), histogram(gradient) if slopes else None))
        rows = [[float(v) for v in row] for row in torch.stack([f.cpu() for f in figures]).tolist()]
        for name, row, counts in zip(self._layers, rows, histograms, strict=True):
            self._keep(name, row, counts)
        self.release()
        self._flush()
        self._thin()
        if time.monotonic() - self._written > _WRITE_SECONDS:
            self.write()

    def _keep(self, name: str, row: list[float], counts: tuple[list[int], list[int] | None]) -> None:
        record = self._records.setdefault(name, empty_record())
        record["step"].append(self._step)
        for key, value in zip(("weight_norm", "gradient_norm", "update_ratio", "dead"), finite(row[:4]), strict=True):
            record[key].append(value)
        for key, edges, bins in (("weight", row[4:6], counts[0]), ("gradient", row[6:8], counts[1])):
            low, high = finite(edges)
            histogram = record[f"{key}_histogram"]
            histogram["edges_low"].append(low)
            histogram["edges_high"].append(high)
            histogram["counts"].append(bins if low is not None and high is not None else None)
        if (writer := self._events()) is not None:
            for key, value in zip(("weight_norm", "gradient_norm", "update_ratio", "dead"), row[:4], strict=True):
                if math.isfinite(value):
                    writer.add_scalar(f"{key}/{name}", value, self._step)
            for key, edges, bins in (("weights", row[4:6], counts[0]), ("gradients", row[6:8], counts[1])):
                if bins is not None and all(map(math.isfinite, edges)):
                    add_histogram(writer, f"{key}/{name}", edges, bins, self._step)

    def _flush(self) -> None:
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
        taken = max(len(r["step"]) for r in self._records.values())
        if taken * len(self._records) <= MAX_ROWS or taken < 4:
            return
        self._every *= 2
        for record in self._records.values():
            keep = [n for n, step in enumerate(record["step"]) if step % self._every == 0]
            for part in (record, record["weight_histogram"], record["gradient_histogram"]):
                for key, values in part.items():
                    if isinstance(values, list):
                        part[key] = [values[n] for n in keep]

    def _events(self) -> Any:
        if self._tensorboard and self._writer is None:
            self._writer = open_writer(str(self._folder / "tensorboard"), self._resume_at)  # type: ignore[operator]
        return self._writer

    def _continue(self, data: dict[str, Any]) -> None:
        self._every = max(self._every, int(data.get("every", 1)))
        for name, series in data["scalars"].items():
            kept = [n for n, step in enumerate(series["step"]) if step <= self._resume_at]
            values = [math.nan if series["value"][n] is None else series["value"][n] for n in kept]
            self._scalars[name] = {"step": [series["step"][n] for n in kept], "value": values}
        for name, record in data["layers"].items():
            kept = [n for n, step in enumerate(record["step"]) if step <= self._resume_at]
            self._records[name] = {
                key: {k: [v[n] for n in kept] for k, v in part.items()}
                if isinstance(part, dict)
                else [part[n] for n in kept]
                for key, part in record.items()
            }


def telemetry_layers(net: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the trainable weights of two or more dimensions that a module itself holds, by module name."""
    layers = {}
    for name, module in net.named_modules():
        weights = [
            p for p in module.parameters(recurse=False) if p.ndim >= 2 and p.requires_grad and p.is_floating_point()
        ]
        if weights:
            layers[name or type(module).__name__] = weights
    return layers


def _unit_dimension(output: Tensor) -> int:
    """Channels of (B, C, H, W), features of (B, T, C) and (B, C)."""
    return 1 if output.ndim >= 4 or output.ndim == 2 else output.ndim - 1


def _units(output: Tensor) -> int:
    return output.shape[_unit_dimension(output)] if output.ndim >= 2 else -1
