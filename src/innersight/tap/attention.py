"""Attention weights, whichever way a network computes them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from innersight.model import Model
from innersight.tap.passes import layout
from innersight.untouched import forwards

_SOFTMAX: frozenset[Callable[..., Any]] = frozenset({F.softmax, torch.softmax, Tensor.softmax})


class attention(TorchFunctionMode):  # noqa: N801
    """Inside, every self-attention leaves its weights in `weights`, with the graph that gave them.

    Covers fused attention (computed openly instead, the same up to rounding), `nn.MultiheadAttention`, and a softmax
    between two products.

    Attributes
    ----------
    weights : list of Tensor
        In the order of the forward pass, in the shape in which the network used them, see `heads`; a row says how much
        a token takes from each.
    rows : list of int
        The first dimension of each, the number of images unless there are windows.

    Examples
    --------
    >>> import torch
    >>> from innersight import tap
    >>> layer, tokens = torch.nn.MultiheadAttention(8, 2, batch_first=True), torch.rand(1, 5, 8)
    >>> with tap.attention() as found:
    ...     _ = layer(tokens, tokens, tokens)
    >>> tap.heads(found.weights[0], found.rows[0]).shape
    torch.Size([1, 2, 5, 5])

    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []
        self.rows: list[int] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Answer attention in place of torch; anything else is passed on."""
        given = dict(kwargs or {})
        if func is F.scaled_dot_product_attention:
            return self._openly(*args, **given)
        if func is F.multi_head_attention_forward:
            asked = given.get("need_weights", True)
            output, weights = func(*args, **(given | {"need_weights": True, "average_attn_weights": False}))
            # What is returned is a view; the product with the values used what lies beneath it.
            self._keep(weights, weights if weights._base is None else weights._base)
            return output, (weights.mean(1) if given.get("average_attn_weights", True) else weights) if asked else None
        result = func(*args, **given)
        if func in _SOFTMAX:
            self._keep(result, result)
        return result

    def _openly(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        del dropout_p
        if enable_gqa:
            key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
        scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if is_causal:
            before = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            scores = scores.masked_fill(~before, -torch.inf)
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        weights = scores.softmax(-1)
        self._keep(weights, weights)
        return weights @ value

    def _keep(self, shown: Tensor, used: Tensor) -> None:
        if shown.ndim == 4 and shown.shape[2] == shown.shape[3] > 1:
            self.weights.append(used)
            self.rows.append(shown.shape[0])


@contextmanager
def ending(model: Model, blocks: Sequence[str], last: int) -> Iterator[None]:
    """Inside, a forward pass leaves out the blocks after a given one, and its graph begins at that block's input.

    Parameters
    ----------
    model
        The network.
    blocks
        Layers of tokens, one after the other, each of which gives what the next one takes.
    last
        Number of the last block that is run, from 0.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> net = torch.nn.Sequential(*[torch.nn.Conv2d(3, 3, 1) for _ in range(3)], torch.nn.Flatten())
    >>> model = ins.load(net, input=ins.InputSpec(height=4, width=4))
    >>> with tap.untouched(model), tap.ending(model, ["0", "1", "2"], 0):
    ...     logits = model.logits(torch.ones(1, 3, 4, 4))
    >>> torch.equal(logits, net[0](torch.ones(1, 3, 4, 4)).flatten(1))
    True

    """

    def start(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda tokens, *args, **kwargs: forward(tokens.detach().requires_grad_(True), *args, **kwargs)

    replaced: dict[nn.Module, Callable[..., Any]] = {}
    for number, block in enumerate(blocks[last:]):
        module, bare = model.call(block)[0], layout(model, block).part == ""
        skip: Callable[..., Any] = (lambda x, *_, **__: x) if bare else (lambda x, *_, **__: (x,))
        replaced[module] = skip if number else start(module.forward)
    with forwards(replaced):
        yield


def heads(weights: Tensor, batch: int) -> Tensor:
    """Return recorded attention weights, or their gradient, by image and head.

    Parameters
    ----------
    weights
        One of `attention.weights`: (B, heads, N, N) or (B * heads, N, N).
    batch
        How many images, B; one of `attention.rows`.

    Returns
    -------
    torch.Tensor
        (B, heads, N, N), a view.

    Examples
    --------
    >>> import torch
    >>> from innersight import tap
    >>> tap.heads(torch.rand(6, 5, 5), 2).shape
    torch.Size([2, 3, 5, 5])

    """
    return weights.view(batch, -1, *weights.shape[-2:])
