"""Activation maximization: seconds per unit for the same number of updates, against stock Lucent and a bare loop."""

import torch

from benchmarks.networks import efficientnet
from benchmarks.timing import Row, race
from innersight.patterns import patterns

STEPS, SIZE, UNITS = 16, 128, 8
LAYERS = {"early": "blocks.1", "middle": "blocks.3", "late": "blocks.6"}


def measure() -> list[Row]:
    return [_row(depth, layer) for depth, layer in LAYERS.items()]


def _row(depth: str, layer: str) -> Row:
    from lucent.optvis import objectives, param, render

    model = efficientnet()
    module = model.module(layer)
    kept = []

    def ours() -> None:
        patterns(model, [f"{layer}:0-{UNITS - 1}"], steps=STEPS, size=SIZE)

    def lucent() -> None:
        # One unit of the eight: Lucent draws them one after another.
        objective = objectives.channel(layer.replace(".", "_"), 0)
        make = lambda: param.image(SIZE, fft=True, decorrelate=True)  # noqa: E731
        render.render_vis(
            model.net, objective, make, thresholds=(STEPS,), show_image=False, progress=False, fixed_image_size=SIZE
        )

    def bare() -> None:
        x = torch.zeros(UNITS, 3, SIZE, SIZE, requires_grad=True)
        optimizer = torch.optim.Adam([x], lr=0.05)
        handle = module.register_forward_hook(lambda _m, _i, out: kept.append(out))
        for _ in range(STEPS):
            kept.clear()
            model.net(torch.sigmoid(x))
            optimizer.zero_grad()
            (-kept[0][torch.arange(UNITS), torch.arange(UNITS)].mean()).backward()
            optimizer.step()
        handle.remove()
        model.net.zero_grad(set_to_none=True)

    row = race(
        f"Patterns, {depth} layer ({layer}), {STEPS} updates at {SIZE} px, per unit",
        {"innersight": ours, "whole network, no stop, weight gradients": bare, "lucent": lucent},
        rounds=3,
        target="see the issue on patterns",
    )
    # Ours and the bare loop drew all units in one go, Lucent one.
    seconds = {name: s if name == "lucent" else s / UNITS for name, s in row.seconds.items()}
    return Row(row.what, seconds, row.spread, row.target)
