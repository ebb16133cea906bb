"""Activation maximization: the time until a unit's pattern scores what a peer reaches with its own defaults.

The score is the mean of the unit's map over the finished, unmoved image at the network's own size, by one function
for all. We draw 16 units at a time, peers one after another: they draw a sample of these units, and times are per unit.
INNERSIGHT_BENCH_FULL=1 has the peers draw all 16, and finishes the images of the MACO peers (hours), which otherwise
are timed over a few updates only.
"""

import contextlib
import os
import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import innersight as ins
from benchmarks.networks import efficientnet
from benchmarks.peers_patterns import Peer, dreamlens_maco, horama_maco, lucent
from benchmarks.timing import Row
from innersight import tap
from innersight.layers import survey
from innersight.model import Model
from innersight.patterns import PatternProgress, patterns

UNITS, STEPS, SCALED = 16, 192, 4
FULL = os.environ.get("INNERSIGHT_BENCH_FULL") == "1"
SAMPLE = range(UNITS) if FULL else (0, 4, 8, 12)
LAYERS = {
    "EfficientNet-Lite0": {"early": "blocks.1", "middle": "blocks.3", "late": "blocks.6"},
    "toon": {"early": "stage1", "middle": "stage2", "late": "stage4"},
}


@dataclass(frozen=True)
class Curve:
    """What our batch had reached when. seconds : since the call, without the scoring. scores : (looks, units)."""

    seconds: list[float]
    scores: Tensor

    def until(self, score: float, units: list[int]) -> float:
        """Return the seconds a unit until the mean score of `units` is `score`; infinite where it never is."""
        mean = self.scores[:, units].mean(1).tolist()
        for i, now in enumerate(mean):
            if now >= score:
                before, past = (mean[i - 1], self.seconds[i - 1]) if i else (0.0, 0.0)
                share = 1.0 if now <= before else max(0.0, score - before) / (now - before)
                return (past + share * (self.seconds[i] - past)) / UNITS
        return float("inf")

    def after(self, seconds: float, units: list[int]) -> Tensor:
        """Return the scores of `units` once `seconds` a unit have passed; the last where it was done before."""
        looks = [i for i, t in enumerate(self.seconds) if t <= seconds * UNITS]
        return self.scores[looks[-1], units] if looks else torch.zeros(len(units))


def measure() -> list[Row]:
    rows = []
    for name, model in (("EfficientNet-Lite0", efficientnet()), ("toon", ins.load("toon"))):
        for depth, layer in LAYERS[name].items():
            rows += [
                _against_lucent(model, f"{name}, {depth} layer ({layer})", layer),
                _against_bare(model, name, layer),
            ]
        rows.append(_against_maco(model, name, LAYERS[name]["middle"]))
    rows.append(_whole_toon())
    return rows


def score(model: Model, layer: str, units: list[int], images: Tensor) -> Tensor:
    """Return the mean of each unit's map over its own image (n, 3, H, W), shown at the network's own size."""
    size = (model.input.height, model.input.width)
    if tuple(images.shape[2:]) != size:
        images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
    with tap.untouched(model), torch.no_grad():
        maps = tap.capture(model, model.input.normalise(images.float()), [layer]).activations[layer]
    return maps[torch.arange(len(units)), units].mean((1, 2))


def curve(model: Model, layer: str, parameterize: str = "fourier") -> Curve:
    """Draw the first units of a layer and score them at every look."""
    seconds: list[float] = []
    scores: list[Tensor] = []
    start = time.perf_counter()
    paused = 0.0

    def look(state: PatternProgress) -> None:
        nonlocal paused
        now = time.perf_counter()
        found = dict(state.images())
        if len(found) == UNITS:
            seconds.append(now - start - paused)
            images = torch.cat([found[f"{layer}:{unit}"] for unit in range(UNITS)])
            scores.append(score(model, layer, list(range(UNITS)), images))
        paused += time.perf_counter() - now

    what = f"{layer}:0-{UNITS - 1}"
    patterns(model, what, steps=STEPS, until="steps", seeds=1, parameterize=parameterize, progress=look)
    return Curve(seconds, torch.stack(scores))


def _against_lucent(model: Model, what: str, layer: str) -> Row:
    frozen, stock = lucent(model, frozen=True), lucent(model, frozen=False)
    units, theirs, times, ratios = list(SAMPLE), [], [], []
    for unit in units:
        start = time.perf_counter()
        theirs.append(frozen(layer, unit, None))
        times.append(time.perf_counter() - start)
        # Stock and frozen draw the same; the stock one is timed beside it over a part of its updates.
        ratios.append(_seconds(stock, layer, unit, 32) / _seconds(frozen, layer, unit, 32))
    reached = torch.cat([score(model, layer, [unit], image) for unit, image in zip(units, theirs, strict=True)])
    ours = [curve(model, layer) for _ in range(2 if FULL else 1)]
    own = [one.until(float(reached.mean()), units) for one in ours]
    budget = statistics.median(times)
    better = int((ours[0].after(budget, units) > reached).sum())
    slower = statistics.median(ratios)
    seconds = {"innersight": statistics.mean(own), "lucent, frozen": budget, "lucent": budget * slower}
    spread = {"innersight": _spread(own), "lucent, frozen": _spread(times), "lucent": _spread(ratios)}
    note = "; stock Lucent timed over 32 updates of each" if not FULL else ""
    note += f"; in the time of lucent, frozen, ours is higher for {better} of {len(units)} units"
    what = f"Patterns, {what}: seconds a unit to the mean score of Lucent ({float(reached.mean()):.3g}){note}"
    return Row(what, seconds, spread, "lucent at least 10x, frozen at least 4x")


def _against_bare(model: Model, name: str, layer: str) -> Row:
    rounds, steps = 3, 16
    times: dict[str, list[float]] = {"innersight": [], "bare loop to the layer": []}
    pace = 1
    for turn in range(rounds + 1):
        looks = _looks(model, f"{layer}:0-{UNITS - 1}", 2 * steps)
        bare = _bare(model, layer, steps)
        if turn:
            # From the first look, so that both count updates and no preparation; the first 16 wake silent units.
            # A window of a quarter of the image takes four updates for one.
            pace = round((len(looks) - 1) / 2)
            times["innersight"].append((looks[1] - looks[0]) / steps / UNITS * pace)
            times["bare loop to the layer"].append(bare / steps / UNITS)
    seconds = {key: statistics.median(values) for key, values in times.items()}
    spread = {key: _spread(values) for key, values in times.items()}
    windows = f" (ours: {pace} through windows)" if pace > 1 else ""
    what = f"Patterns, {name}, {layer}: one update of one image in a batch of {UNITS}{windows}"
    return Row(what, seconds, spread, "bare loop at least 0.87x")


def _looks(model: Model, what: str, steps: int) -> list[float]:
    """Draw patterns and return when the engine looked at them."""
    looks: list[float] = []
    patterns(model, what, steps=steps, until="steps", seeds=1, progress=lambda _: looks.append(time.perf_counter()))
    return looks


def _bare(model: Model, layer: str, steps: int) -> float:
    """Forward to the layer, backward, Adam on pixels; parameters frozen. Return the seconds of `steps` updates."""
    kept: list[Tensor] = []

    class Enough(Exception):  # noqa: N818
        pass

    def stop(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        kept.append(output)
        raise Enough

    rows = torch.arange(UNITS)
    with tap.untouched(model):
        x = torch.zeros(UNITS, *model.input.shape).requires_grad_()
        optimizer = torch.optim.Adam([x], lr=0.05)
        handle = model.module(layer).register_forward_hook(stop)
        start = time.perf_counter()
        for _ in range(steps):
            kept.clear()
            with contextlib.suppress(Enough):
                model.net(model.input.normalise(torch.sigmoid(x)))
            optimizer.zero_grad()
            (-kept[0][rows, rows].mean((1, 2)).sum()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        handle.remove()
    return time.perf_counter() - start


def _against_maco(model: Model, name: str, layer: str) -> Row:
    peers = {"dreamlens": (dreamlens_maco(model), 256), "horama": (horama_maco(model), 1000)}
    unit, notes, seconds = 0, [], {}
    times = [time.perf_counter()]
    patterns(model, f"{layer}:0-{UNITS - 1}", seeds=1, parameterize="maco")
    times.append(time.perf_counter())
    seconds["innersight"] = (times[1] - times[0]) / UNITS
    ours = curve(model, layer, "maco") if FULL else None
    for key, (peer, steps) in peers.items():
        if ours is None:
            seconds[key] = _seconds(peer, layer, unit, SCALED) / SCALED * steps
            continue
        start = time.perf_counter()
        reached = float(score(model, layer, [unit], peer(layer, unit, None)))
        seconds[key] = time.perf_counter() - start
        notes.append(f"{key} reaches {reached:.3g}, ours {float(ours.scores[-1, unit]):.3g}")
    how = "; ".join(notes) or f"peers timed over {SCALED} updates and scaled to all, their scores not compared"
    sizes = "ours 256 updates at most of the network's own size, dreamlens 256 at 512 px, horama 1000 at 1280 px"
    what = f"Patterns at MACO, {name}, {layer}, each with its defaults, a unit ({sizes}; {how})"
    return Row(what, seconds, dict.fromkeys(seconds, 0.0), "both at least 1x")


def _whole_toon() -> Row:
    model = ins.load("toon")
    stages = [layer for layer in survey(model) if layer.name in ("stage1", "stage2", "stage3", "stage4")]
    seconds = 0.0
    for layer in stages:
        count = layer.units if FULL else UNITS
        start = time.perf_counter()
        patterns(model, f"{layer.name}:0-{count - 1}", seeds=2)
        seconds += (time.perf_counter() - start) * layer.units / count
    units = sum(layer.units for layer in stages)
    how = "" if FULL else f" ({UNITS} of each stage timed, and scaled to all)"
    what = f"Patterns of all {units} units of the toon network's stages, two seeds each{how}"
    return Row(what, {"innersight": seconds}, {"innersight": 0.0}, "90 s")


def _seconds(peer: Peer, layer: str, unit: int, steps: int) -> float:
    start = time.perf_counter()
    peer(layer, unit, steps)
    return time.perf_counter() - start


def _spread(values: list[float]) -> float:
    return (max(values) - min(values)) / 2 / statistics.median(values)
