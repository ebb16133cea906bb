"""What results look like at a prompt: a few lines that never dump the network."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import image, tiny
from public import CASES
from torch import nn

from innersight.brief import LINES, WIDTH, brief
from innersight.model import Model


def inside(value: Any, depth: int = 3) -> Iterator[Any]:
    """Yield what a result holds, and what that holds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        parts: list[Any] = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        parts = list(value.values())[:2]
    else:
        parts = list(value[:2]) if isinstance(value, tuple | list) else []
    for part in parts if depth else ():
        yield from inside(part, depth - 1)


@pytest.mark.parametrize("name", CASES)
def test_every_result_and_all_in_it_is_a_few_lines(name: str, tmp_path: Path) -> None:
    model = tiny("in-place")
    found = list(inside(CASES[name](model, [image(1), image(2)], tmp_path)))
    assert found
    for one in found:
        text = repr(one)
        assert text.count("\n") <= LINES, type(one)
        assert max(map(len, text.splitlines())) <= 400, type(one)
        assert len(text) <= 1500, type(one)
        assert "Conv2d(" not in text, type(one)
        assert "tensor(" not in text, type(one)


def test_a_model_in_one_line() -> None:
    text = repr(tiny("in-place"))
    assert text == "Model tiny in-place: InPlace, input 3x24x24, 4 classes (ash, birch, cedar...), logits"
    net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(500)))
    spec = tiny("in-place").input
    assert len(repr(Model(net, spec, tuple("x" * 400 for _ in range(1000)), "n", "s"))) < 300


def test_shapes_counts_and_names() -> None:
    @dataclasses.dataclass(frozen=True, eq=False)
    class Made:
        model: Model
        maps: dict[str, torch.Tensor]
        values: torch.Tensor
        names: tuple[str, ...]
        text: str = ""
        nothing: None = None
        __repr__ = brief

    made = Made(tiny("in-place"), {"a": torch.zeros(2, 3), "b": torch.zeros(1)}, torch.zeros(4).half(), ("x",) * 1200)
    assert repr(made).splitlines() == [
        "Made",
        "  model: tiny in-place",
        "  maps: a ((2, 3)), b ((1,))",
        "  values: float16 (4,)",
        "  names: x, x, x and 1,197 more",
    ]
    long = Made(tiny("in-place"), {}, torch.zeros(0), (), "y" * 500)
    assert max(map(len, repr(long).splitlines())) <= WIDTH + 2
