"""A network that is fed in another way than it was trained is named, with what to type; others are not."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import innersight as ins
from innersight.audit import feeding
from innersight.audit.feeding import geometries, normalisations, own_way
from innersight.audit.finding import Checked
from innersight.audit.result import Audit
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.toons import CLASSES, draw

PER_CLASS = 6


@cache
def images() -> tuple[tuple[Any, str], ...]:
    return tuple((draw(name, seed).pixels, name) for name in CLASSES for seed in range(700, 700 + PER_CLASS))


def audited(model: Model, given: Any = None) -> Audit:
    return ins.audit(model, list(images()) if given is None else given, checks=["preprocessing"])


def fed(**changes: Any) -> Model:
    model = ins.load("toon")
    return replace(model, input=replace(model.input, **changes))


class Exchanged(nn.Module):
    """A network that takes blue, green and red."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.flip(1))


BYTES = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}
HALF = {"mean": (0.5,) * 3, "std": (0.01,) * 3}


@pytest.mark.parametrize("changes", [BYTES, HALF])
def test_a_wrong_range_is_named_with_what_to_type(changes: dict[str, Any]) -> None:
    right = ins.load("toon").input
    found = audited(fed(**changes))
    [finding] = found.findings
    assert finding.confirmed
    assert not found.clean
    typed = finding.next.partition("?")[2]
    assert typed
    again = ins.load(f"toon?{typed}").input
    assert again.mean == pytest.approx(right.mean, abs=0.01)
    assert again.std == pytest.approx(right.std, rel=0.03)
    assert finding.effect is not None
    assert finding.effect.value > 0.9
    assert finding.effect.control is not None
    assert finding.effect.control < 0.6


def test_exchanged_channels_are_named() -> None:
    model = ins.load("toon")
    [finding] = audited(replace(model, net=Exchanged(model.net))).findings
    assert "blue, green and red" in finding.sentence
    assert "net.net.stem.0.weight.data.flip(1)" in finding.next
    # What it tells to do helps.
    wrong, right = Exchanged(model.net), torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        expected = model.net(right)
        kept = wrong.net.stem[0].weight.data
        wrong.net.stem[0].weight.data = kept.flip(1)
        assert torch.allclose(wrong(right), expected, atol=1e-4)
        wrong.net.stem[0].weight.data = kept


def test_a_wrong_size_is_named() -> None:
    [finding] = audited(fed(height=200, width=200)).findings
    assert finding.next.rpartition("=")[2] in ("80", "96", "112")  # it takes all of these equally well


def test_an_interrupted_check_resumes_with_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def audit() -> Audit:
        return ins.audit(fed(**HALF), list(images()), checks=["preprocessing"], out=tmp_path / "study")

    scores, calls = feeding.scores, []

    def interrupted(*given: Any) -> Any:
        calls.append(given[1])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return scores(*given)

    monkeypatch.setattr(feeding, "scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        audit()
    resumed = audit()
    assert len(calls) == 4
    assert resumed.to_json() == audited(fed(**HALF)).to_json()


def test_a_network_that_is_fed_rightly_is_not_accused_and_costs_little() -> None:
    found = audited(ins.load("toon"))
    assert not found.findings
    assert found.clean
    assert found.passes <= 4 * len(images())


def test_without_labels_the_first_batch_norm_tells() -> None:
    own = [pixels for pixels, _ in images()]
    [finding] = audited(fed(**BYTES), own).findings
    assert "stem.1" in finding.sentence
    assert not audited(ins.load("toon"), own).findings


def test_network_input_and_networks_that_keep_nothing_from_training_are_not_judged() -> None:
    [checked] = [one for one in audited(ins.load("small:4"), [i for i, _ in images()[:16]]).checked if wanted(one)]
    assert "labels" in checked.sentence
    prepared = [(torch.randn(3, 96, 96), CLASSES[i % 2]) for i in range(16)]
    [checked] = [one for one in audited(ins.load("toon"), prepared).checked if wanted(one)]
    assert "network input" in checked.sentence


def wanted(one: Checked) -> bool:
    return one.check == "preprocessing" and not one.done


def test_every_way_is_another_one() -> None:
    spec = InputSpec(64, 64, fit="squash", mean=0.0, std=1.0)
    ways = [*normalisations(spec), *geometries(spec, [(64, 96)])]
    assert len(set(ways)) == len(ways)
    assert own_way(spec).options(spec) == ""
    assert all(way.options(spec) for way in ways if not way.reversed)
    # Square images are seen whole either way.
    assert [way.spec.crop for way in geometries(spec, [(50, 50)])] == [0.95, 0.875]
