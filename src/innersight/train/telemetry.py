"""What happens inside a network while it learns: recorded every few steps, for TensorBoard and for the report."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from innersight.errors import InnersightError
from innersight.train.fixed import FixedImages
from innersight.train.recording import Recording
from innersight.train.records import measured

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
    images : FixedImages, optional
        Images of which heatmaps are recorded at each call of `record_images`, in `images.safetensors` and the event
        files.

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
        images: FixedImages | None = None,
    ) -> None:
        if every < 1:
            raise InnersightError(f"every={every}: the interval between records is 1 step or more")
        self._layers = telemetry_layers(net)
        if not self._layers:
            raise InnersightError(f"{type(net).__name__} has no convolution or linear layer with weights to record")
        self._net, self._resume_at = net, resume_at
        self._recording = Recording(folder, every=every, tensorboard=tensorboard, resume_at=resume_at, images=images)
        self._hooks = ExitStack()
        self._before: dict[str, list[Tensor]] = {}
        self._positive: dict[str, Tensor] = {}
        self._since_activation: list[tuple[str, int]] = []

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
        return self._recording.step

    @property
    def interval(self) -> int:
        """Steps from record to record, after any thinning."""
        return self._recording.every

    def prepare(self) -> None:
        """Prepare for the record of the first step after `resume_at`, where it is due; others need no call."""
        if self._resume_at and self.steps == self._resume_at and self._due(self.steps + 1):
            self._arm()

    def state(self) -> dict[str, Any]:
        """Return all that was recorded, in plain values and tensors, for a checkpoint; `restore` takes it up."""
        return self._recording.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned, in place of what the file holds.

        Parameters
        ----------
        state
            As `state` returned it.

        """
        self._recording.restore(state)

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
        self._recording.step += 1
        given = {"train/loss": loss, "train/accuracy": accuracy, "lr": lr}
        values = {n: v.detach() if isinstance(v, Tensor) else v for n, v in given.items() if v is not None}
        self._recording.note(values)
        if self._due(self.steps):
            self._record()
        if self._due(self.steps + 1):
            self._arm()

    def log(self, values: dict[str, float]) -> None:
        """Note further scalars at the current step.

        Parameters
        ----------
        values
            By name, such as {"val/accuracy": 0.9}.

        """
        self._recording.note(dict(values))

    def record_images(self, epoch: int) -> None:
        """Record the heatmaps of the images, where some were given.

        Parameters
        ----------
        epoch
            Epochs completed so far; 0 before the first.

        """
        self._recording.record_images(epoch)

    def data(self) -> dict[str, Any]:
        """Return what `telemetry.json` holds: {"format", "every", "scalars": {name: {"step", "value"}}, "layers"}.

        A layer has "step", "weight_norm", "gradient_norm", "update_ratio", "dead" (one entry for each record) and
        "weight_histogram", "gradient_histogram": {"edges_low", "edges_high", "counts" (records, 32)}.
        """
        return self._recording.data()

    def write(self) -> None:
        """Write `telemetry.json` (the old file stays until the new one is complete) and flush the event files."""
        self._recording.write()

    def release(self) -> None:
        """Remove the hooks and the copies of weights, if a record was being prepared."""
        self._hooks.close()
        self._before.clear()
        self._positive.clear()
        self._since_activation.clear()

    def close(self) -> None:
        """Remove every hook, write the file and close the event files."""
        self.release()
        self._recording.close()

    def _due(self, step: int) -> bool:
        return step % self._recording.every == 0

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
                gradients = [w.grad for w in weights if w.grad is not None]
                found, drawn = measured(weights, gradients, self._before.get(name), self._positive.get(name))
                figures.append(found)
                histograms.append(drawn)
        rows = [[float(v) for v in row] for row in torch.stack([f.cpu() for f in figures]).tolist()]
        for name, row, counts in zip(self._layers, rows, histograms, strict=True):
            self._recording.keep(name, row, counts)
        self.release()
        self._recording.recorded()


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
