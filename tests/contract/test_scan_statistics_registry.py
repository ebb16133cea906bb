"""Every statistic of a scan, from its registry: documented, merged and stored without loss, empty unless requested."""

import inspect
from pathlib import Path

import pytest
import torch

import innersight as ins
from innersight.scan.layer_batch import Batch, reduced
from innersight.scan.statistics import LayerSettings, Statistic, statistics

NAMES = list(statistics)
FULL = LayerSettings(3, 4, 1, 2, torch.device("cpu"), "own", ("own",), class_maps=True)
PLAIN = LayerSettings(3, 4, 1, 2, torch.device("cpu"), "own")


def filled(name: str, settings: LayerSettings, start: int, count: int) -> Statistic:
    found = statistics[name](settings)
    numbers = torch.arange(start, start + count)
    maps = torch.randn(100, 3, 5, 4, generator=torch.Generator().manual_seed(0))[numbers]
    batch = Batch(numbers, numbers % 2, torch.zeros(count, dtype=torch.int64))
    layer = reduced(maps, batch)
    batch.peaks["own"] = layer.peak
    found.add(layer)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_documented_and_on_its_page(name: str) -> None:
    entry = statistics.entry(name)
    page = (Path(__file__).parents[2] / "docs" / "scan.md").read_text()
    assert entry.title[0].isupper()
    assert entry.use.endswith("?")
    assert len(entry.summary) > 20
    assert f"| `{name}` |" in page


@pytest.mark.parametrize("name", NAMES)
def test_merged_is_what_one_pass_gives_and_survives_storing(name: str) -> None:
    whole, merged = filled(name, FULL, 0, 60), filled(name, FULL, 0, 25)
    merged.merge(filled(name, FULL, 25, 35))
    again = statistics[name](FULL)
    again.load(merged.tensors())
    assert any(value.numel() for value in whole.tensors().values())
    assert whole.tensors().keys() == merged.tensors().keys() == again.tensors().keys()
    for key, value in whole.tensors().items():
        # Numbers of images stand in the low bits of whole numbers: those are compared exactly.
        same = torch.allclose if value.is_floating_point() else torch.equal
        assert same(value, merged.tensors()[key]), key
        assert torch.equal(again.tensors()[key], merged.tensors()[key]), key


@pytest.mark.parametrize("name", [name for name in NAMES if statistics.entry(name).requested_by])
def test_what_is_not_requested_stays_empty(name: str) -> None:
    assert statistics.entry(name).requested_by in inspect.signature(ins.scan).parameters
    assert not any(value.numel() for value in filled(name, PLAIN, 0, 20).tensors().values())
