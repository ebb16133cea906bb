"""What a network's output was made by: a softmax, a sigmoid, or a product with weights; seen, not guessed."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from torch import Tensor

from innersight.ambient import DispatchMode
from innersight.nested import leaves

_ENDS = {"sigmoid": "sigmoid", "_softmax": "softmax", "_safe_softmax": "softmax"}
_PRODUCTS = ("convolution", "addmm", "mm", "bmm", "baddbmm", "linear")
# These keep what kind of number a tensor holds.
_COPIES = ("clone", "_to_copy", "contiguous", "copy", "cat", "stack", "index_select", "index", "gather")
# These keep numbers without bounds so, and make something else of probabilities.
_MEANS = ("mean", "sum", "_adaptive_avg_pool2d", "avg_pool2d", "add", "sub", "mul", "div", "upsample_bilinear2d")


class Ending(DispatchMode):
    """Inside, take note of what every tensor was made by last; `of` tells it afterwards.

    Unlike its values, that does not depend on the images a network is tried with.

    weights : the network's own, by which a product is known to have no bounds.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = {_memory(tensor) for tensor in weights}
        self._made: dict[int, str] = {}

    def of(self, tensor: Tensor) -> str:
        """Return "softmax", "sigmoid", "product" (of something with the network's weights), or "" for anything else."""
        return self._made.get(_memory(tensor), "")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and note its kind."""
        output = func(*args, **(kwargs or {}))
        read = [tensor for _, tensor in leaves([*args, *(kwargs or {}).values()])]
        before = {_memory(tensor): self.of(tensor) for tensor in read}
        kinds = {kind for memory, kind in before.items() if memory not in self._weights}
        kind = self._kind(str(func._schema.name).rpartition("::")[2].removesuffix("_"), before, kinds)
        for _, tensor in leaves(output):
            # A view holds what it is a view of.
            if func._schema.is_mutable or _memory(tensor) not in before:
                self._made[_memory(tensor)] = kind
        return output

    def _kind(self, name: str, read: Container[int], kinds: set[str]) -> str:
        if name in _ENDS:
            return _ENDS[name]
        if name in _PRODUCTS:
            return "product" if any(memory in read for memory in self._weights) else ""
        if name in _COPIES or (name in _MEANS and kinds == {"product"}):
            return next(iter(kinds)) if len(kinds) == 1 else ""
        return ""


def _memory(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # a tensor without memory of its own
        return 0
