"""What telemetry costs: blocks of 25 training steps with and without it take turns."""

import tempfile

import torch
from torch.nn import functional

from benchmarks.timing import Row, race
from innersight.sources import load
from innersight.train import Telemetry

BATCH, SIZE, EVERY = 32, 80, 25


def measure() -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(BATCH, 3, SIZE, SIZE, generator=generator), torch.randint(0, 5, (BATCH,), generator=generator)
    x = x.contiguous(memory_format=torch.channels_last)
    net = load("small:32", classes=5).net.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def block(telemetry: Telemetry | None) -> None:
        for _ in range(EVERY):
            loss = functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if telemetry is not None:
                telemetry.step(loss, lr=0.01)

    with tempfile.TemporaryDirectory() as folder, Telemetry(net, folder, every=EVERY) as telemetry:
        return [
            race(
                f"{EVERY} training steps of small:32, {BATCH} images of {SIZE} px, with telemetry",
                {"innersight": lambda: block(telemetry), "without telemetry": lambda: block(None)},
                target="at most 5% longer: ratio 0.952x or more",
            )
        ]
