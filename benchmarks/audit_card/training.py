"""A compact training loop for arrays: a small residual network in about fifteen seconds on one core."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.audit_card.pool import SIDE, Pixels
from innersight.input_spec import InputSpec
from innersight.sources.run_card import RunCard, write_run
from innersight.sources.small_resnet import SmallResNet

WIDTH, EPOCHS, BATCH, RATE, SHIFT = 16, 8, 64, 3e-3, 3
SPEC = InputSpec(SIDE, SIDE, 3, mean=0.5, std=0.25, fit="squash", crop=1.0, resample="bilinear", display=(0, 1, 2))


def train(
    net: nn.Module, images: Pixels, targets: np.ndarray, seed: int, *, spec: InputSpec = SPEC, epochs: int = EPOCHS
) -> None:
    """Train a network in place on images (N, SIDE, SIDE, 3) of classes (N,), shifted by a few pixels at random."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _train(net, images, targets, np.random.default_rng((seed, 7)), spec, epochs)


def _train(
    net: nn.Module, images: Pixels, targets: np.ndarray, dice: np.random.Generator, spec: InputSpec, epochs: int
) -> None:
    pixels, classes = torch.from_numpy(images), torch.from_numpy(targets)
    steps = epochs * (len(images) // BATCH)
    net.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=0.2, cycle_momentum=False
    )
    for _ in range(epochs):
        for chosen in torch.from_numpy(dice.permutation(len(images))).split(BATCH):
            if len(chosen) < BATCH:
                continue
            x, y = (int(at) for at in dice.integers(0, 2 * SHIFT + 1, 2))
            wide = functional.pad(fed(pixels[chosen], spec), (SHIFT,) * 4, mode="replicate")
            batch = wide[:, :, y : y + SIDE, x : x + SIDE].contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(net(batch), classes[chosen], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    net.eval()


def small(classes: int, seed: int) -> SmallResNet:
    """Return `small:WIDTH`, untrained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SmallResNet(classes, width=WIDTH)


def fed(pixels: Tensor, spec: InputSpec = SPEC) -> Tensor:
    """Return pixels (B, SIDE, SIDE, 3) uint8 as a network's input (B, 3, SIDE, SIDE)."""
    return spec.normalise(pixels.permute(0, 3, 1, 2).float() / 255)


def predicted(net: nn.Module, images: Pixels, spec: InputSpec = SPEC) -> np.ndarray:
    """Return the class (N,) of every image."""
    with torch.no_grad():
        found = [net(fed(part, spec)).argmax(1) for part in torch.from_numpy(np.ascontiguousarray(images)).split(256)]
    return torch.cat(found).numpy()


def keep(folder: Path, net: nn.Module, labels: Sequence[str], spec: InputSpec = SPEC) -> None:
    """Write a run folder that `innersight.load("run:FOLDER")` opens."""
    folder.mkdir(parents=True)
    write_run(folder, net, RunCard(f"small:{WIDTH}", tuple(labels), spec))
