"""`torch.compile` for passes that end at a layer: what hooks and exceptions do is traced away first."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from innersight.errors import InnersightError
from innersight.model import Model
from innersight.tap.passes import Captured, capture
from innersight.tap.probe import layouts


class Compiled:
    """Captures as `capture` does, by a compiled program for each set of layers and shape of the input.

    The operations of one pass are recorded, up to the last layer asked for, and given to torch.compile. A network whose
    operations depend on the values of its input cannot be recorded, or differs later: the first result is compared with
    that of `capture`, and InnersightError is raised when they are not the same. Compiling takes from seconds to
    minutes. Parameters are constants of the program: they must not change, and get no gradients.

    Parameters
    ----------
    model
        The network.
    backend
        Name of a backend of torch.compile.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model = ins.load("small:4")
    >>> with tap.untouched(model):
    ...     found = tap.Compiled(model, "eager")(torch.zeros(1, *model.input.shape), ["stage1"], stop=True)
    >>> found.activations["stage1"].shape
    torch.Size([1, 4, 40, 40])

    """

    def __init__(self, model: Model, backend: str = "inductor") -> None:
        self._model, self._backend = model, backend
        self._programs: dict[tuple[Any, ...], Any] = {}
        # They are measured by passes of their own, which cannot be recorded.
        layouts(model)

    def __call__(self, x: Tensor, layers: Sequence[str], *, stop: bool) -> Captured:
        """Run network input; see `capture`.

        Parameters
        ----------
        x
            (B, C, H, W) network input.
        layers
            Names of layers.
        stop
            End the pass at the last of the layers.

        Returns
        -------
        Captured
            The activations, and the logits of a pass that ran to the end.

        Raises
        ------
        InnersightError
            For a network that cannot be compiled, or computes other values when it is.

        """
        key = tuple(layers), stop, tuple(x.shape), x.dtype, x.stride()
        if key not in self._programs:
            self._programs[key] = self._compile(x.detach(), layers, stop=stop)
        with warnings.catch_warnings():
            # The compiler looks at `.grad` of an input that is no leaf.
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor", category=UserWarning)
            values = self._programs[key](x)
        output = None if stop else values[-1]
        return Captured(dict(zip(layers, values, strict=False)), output)

    def _compile(self, x: Tensor, layers: Sequence[str], *, stop: bool) -> Any:
        def run(x: Tensor) -> tuple[Tensor, ...]:
            found = capture(self._model, x, layers, stop=stop)
            own = tuple(found.activations[layer] for layer in layers)
            return own if found.output is None else (*own, found.output)

        try:
            with torch.no_grad():
                program = torch.compile(make_fx(run)(x), dynamic=False, backend=self._backend)
                found, expected = program(x), run(x)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise InnersightError(
                f"{self._model.name} cannot be compiled ({str(error).splitlines()[0][:200]}): omit compile"
            ) from error
        for one, other in zip(found, expected, strict=True):
            if not torch.allclose(one, other, rtol=1e-2, atol=1e-3 * float(other.abs().max())):
                raise InnersightError(f"{self._model.name} computes other values when compiled: omit compile")
        return program
