"""Calls leave nothing behind: the number of living tensors and the memory of the process stay flat."""

import ctypes
import gc
import sys
from pathlib import Path

import pytest
import torch
from networks import image, tiny
from public import CASES
from torch import nn

import innersight as ins
from innersight.input_spec import InputSpec
from innersight.model import Model

# One call that keeps a tensor is enough to be seen; the quick ones are made more often.
CALLS = {"study": 1, "trust": 2, "layers": 20, "load": 50, "activations": 50, "predict": 50}


def living() -> int:
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


def resident() -> float:
    """Return the memory of the process in MiB, free parts given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.parametrize("name", CASES)
def test_no_call_keeps_a_tensor(name: str, tmp_path: Path) -> None:
    model, images = tiny("in-place"), [image(1), image(2)]
    for i in range(2):
        CASES[name](model, images, tmp_path / str(i))
    gc.collect()
    before = living()
    # Not by the collector either: what holds itself in a circle is kept until it runs.
    gc.disable()
    try:
        for i in range(CALLS.get(name, 3)):
            CASES[name](model, images, tmp_path / f"again {i}")
        after = living()
    finally:
        gc.enable()
    assert after == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("what", ["patterns", "explain", "activations", "ablate", "connections"])
def test_memory_stays_flat(what: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 4, 3), nn.AdaptiveAvgPool2d(1))
    model = Model(net.append(nn.Flatten()).eval(), InputSpec(96, 96), ("a", "b", "c", "d"), "wide", "a test")
    one = image(1, width=96, height=96)
    calls = {
        "patterns": lambda: ins.patterns(model, "class:1", steps=1, seeds=1),
        "explain": lambda: ins.explain(model, one, 1, ["gradcam", "saliency"]),
        "activations": lambda: ins.activations(model, one, "1"),
        "ablate": lambda: ins.ablate(model, one, "2"),
        "connections": lambda: ins.connections(model, "0:0", one, after="2"),
    }
    for _ in range(4):
        calls[what]()
    before = resident()
    for _ in range(30):
        calls[what]()
    # A graph or the maps of one pass, kept at each call, are 27 MiB.
    assert resident() - before < 12
