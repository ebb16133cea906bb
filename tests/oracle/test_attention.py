"""Attention, however a network computes it, and the heatmaps made of it, against their definitions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from innersight import tap
from innersight.heatmaps import UnfitError, explain
from innersight.heatmaps.engine import explain_batch
from innersight.heatmaps.target import class_target
from innersight.image import Image, as_image
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources import load

SIDE, PATCH, WIDTH, HEADS, BLOCKS = 16, 4, 8, 2, 3
TOKENS = (SIDE // PATCH) ** 2 + 1


class Attention(nn.Module):
    """Self-attention by a fused function, by a softmax between two products, or by torch's own module."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.core = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "module":
            return self.core(x, x, x, need_weights=False)[0]
        wide = F.linear(x, self.core.in_proj_weight, self.core.in_proj_bias)
        parts = wide.view(*x.shape[:2], 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        if self.how == "fused":
            found = F.scaled_dot_product_attention(query, key, value)
        else:
            scores = query @ key.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5
            found = (scores.softmax(-1) if self.how == "method" else torch.softmax(scores, -1)) @ value
        return self.core.out_proj(found.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a step of its own for every token, both around a shortcut."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention(how)
        self.norm2, self.mlp = nn.LayerNorm(WIDTH), nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A small transformer whose class token is read by a linear head."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.first = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.places = nn.Parameter(torch.randn(1, TOKENS, WIDTH))
        self.blocks = nn.Sequential(*(Block(how) for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], 1) + self.places
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def network(how: str) -> Model:
    torch.manual_seed(3)
    net = Transformer(how).double().eval()
    for parameter in net.parameters():
        parameter.data *= 1.5
    return load(net, input=InputSpec(SIDE, SIDE, fit="squash"))


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def ask(model: Model, name: str, x: Tensor, targets: list[int]) -> Tensor:
    target = class_target(model, torch.tensor(targets))
    found = explain_batch(model, x, lambda _: target, ["blocks.2"], {name: {}}).found
    return next(iter(found.values())).values


def slow(net: Any, x: Tensor, blocks: int = BLOCKS) -> tuple[Tensor, list[Tensor]]:
    """Logits after so many blocks, and the weights of each, computed openly here."""
    tokens = net.patches(x).flatten(2).transpose(1, 2)
    tokens = torch.cat([net.first.expand(len(x), -1, -1), tokens], 1) + net.places
    kept = []
    for block in net.blocks[:blocks]:
        core, given = block.attention.core, block.norm1(tokens)
        wide = F.linear(given, core.in_proj_weight, core.in_proj_bias)
        query, key, value = wide.view(*given.shape[:2], 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5).softmax(-1)
        kept.append(weights)
        tokens = tokens + core.out_proj((weights @ value).transpose(1, 2).flatten(2))
        tokens = tokens + block.mlp(block.norm2(tokens))
    return net.head(net.norm(tokens)[:, 0]), kept


def noise() -> Image:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    return as_image(pixels, name="noise")


HOWS = ["fused", "function", "method", "module"]


@pytest.mark.parametrize("how", HOWS)
def test_weights_are_found_and_nothing_changes(how: str, x: Tensor) -> None:
    model = network(how)
    with torch.no_grad():
        plain = model.net(x)
        truth, weights = slow(model.net, x)
    with tap.untouched(model), torch.enable_grad(), tap.attention() as mode:
        output = model.logits(x.clone().requires_grad_(True))
    assert torch.allclose(output, plain)
    assert torch.allclose(plain, truth)
    assert mode.rows == [2] * BLOCKS
    for found, own in zip(mode.weights, weights, strict=True):
        assert torch.allclose(tap.heads(found, 2), own)


@pytest.mark.parametrize("how", HOWS)
def test_rollout_is_the_product_of_attention_and_shortcut(how: str, x: Tensor) -> None:
    model = network(how)
    with torch.no_grad():
        _, weights = slow(model.net, x)
    flow = torch.eye(TOKENS, dtype=torch.float64).expand(2, -1, -1)
    for own in weights:
        flow = (0.5 * own.mean(1) + 0.5 * torch.eye(TOKENS, dtype=torch.float64)) @ flow
    assert torch.allclose(ask(model, "attention-rollout", x, [0, 1]), flow[:, 0, 1:].view(2, 4, 4))


@pytest.mark.parametrize("how", HOWS)
def test_gradient_attention_carries_relevance(how: str, x: Tensor) -> None:
    model = network(how)
    logits, weights = slow(model.net, x)
    gradients = torch.autograd.grad(logits[[0, 1], [2, 3]].sum(), weights)
    flow = torch.eye(TOKENS, dtype=torch.float64).repeat(2, 1, 1)
    for own, gradient in zip(weights, gradients, strict=True):
        flow = flow + (own * gradient).clamp(min=0).mean(1) @ flow
    assert torch.allclose(ask(model, "gradient-attention", x, [2, 3]), flow[:, 0, 1:].view(2, 4, 4))


@pytest.mark.parametrize("how", HOWS)
def test_legrad_reads_the_head_after_every_block(how: str, x: Tensor) -> None:
    model = network(how)
    total = torch.zeros(2, TOKENS, dtype=torch.float64)
    for blocks in range(1, BLOCKS + 1):
        logits, weights = slow(model.net, x, blocks)
        (gradient,) = torch.autograd.grad(logits[[0, 1], [2, 3]].sum(), weights[-1])
        total += gradient.clamp(min=0).mean((1, 2)) / BLOCKS
    assert torch.allclose(ask(model, "legrad", x, [2, 3]), total[:, 1:].view(2, 4, 4))


def test_all_methods_that_fit_a_transformer() -> None:
    model = network("fused")
    model.net.float()
    found = explain(model, noise(), methods="all", options={"extremal-perturbation": {"steps": 2}})
    names = {entry.method for entry in found.entries}
    assert {"attention-rollout", "gradient-attention", "legrad", "gradcam", "rise"} <= names
    assert len(found.left_out) == 1
    assert "changes ReLUs" in found.left_out[0]


def test_attention_in_windows_is_refused() -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model("swin_tiny_patch4_window7_224", embed_dim=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4))
    with pytest.raises(UnfitError, match="attends inside windows"):
        explain(load(net.eval()), noise(), methods=["attention-rollout"])
