"""An audit that was interrupted goes on where it stopped, and ends like one that was not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audit_fixture import CHECK, draw, plant_check
from networks import image, tiny
from PIL import Image as PILImage

import innersight as ins
from innersight.audit.keep import PREFIX
from innersight.errors import InnersightError
from innersight.model import Model
from innersight.storage.store import Store
from innersight.study import Plan

STOPS = CHECK.replace("planted(subject)", "stops(subject)").replace("order=5", "order=6").replace(
    "    return Report", "    import innersight; getattr(innersight, '_interrupted', lambda: None)()\n    return Report"
)  # fmt: skip
CHECKS = ["planted", "stops"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    plant_check(monkeypatch, tmp_path, CHECK + STOPS)
    return draw(tmp_path / "images")


def stopped(monkeypatch: pytest.MonkeyPatch, model: Model, images: Path, **options: Any) -> None:
    """Audit until the second check is interrupted."""

    def stop() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ins, "_interrupted", stop, raising=False)
        with pytest.raises(KeyboardInterrupt):
            ins.audit(model, images, checks=CHECKS, **options)


@contextmanager
def counted(model: Model) -> Iterator[list[int]]:
    passes: list[int] = []
    with model.net.register_forward_hook(lambda _m, given, _out: passes.append(len(given[0]))):
        yield passes


def pieces(study: Path) -> list[str]:
    return [name for name in Store.open(study).names() if name.startswith(PREFIX)]


def test_an_interrupted_audit_resumes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, study = tiny("in-place"), tmp_path / "s"
    whole = ins.audit(model, folder, checks=CHECKS)
    stopped(monkeypatch, model, folder, out=study)
    assert pieces(study) == ["audit/reading/0", "audit/check/planted"]
    with counted(model) as passes:
        again = ins.audit(model, folder, checks=CHECKS, out=study)
    # Neither the reading nor the check that was done is made again.
    assert sum(passes) == 2
    assert again.to_json() == whole.to_json()
    for one, other in zip(again.findings, whole.findings, strict=True):
        assert one.proof is not None
        assert other.proof is not None
        assert torch.equal(one.proof.pixels, other.proof.pixels)
        assert one.proof.regions == other.proof.regions
        assert one.proof.captions == other.proof.captions
    assert Store.open(study).names() == ["findings"]


@pytest.mark.parametrize("what", ["pixels", "label", "budget", "train"])
def test_what_has_changed_is_computed_again(
    what: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, study = tiny("in-place"), tmp_path / "s"
    train = draw(tmp_path / "train", 1)
    stopped(monkeypatch, model, folder, out=study, train=train)
    if what == "pixels":
        PILImage.fromarray(np.zeros((24, 24, 3), np.uint8)).save(folder / "ash" / "0.png")
    if what == "label":
        (folder / "ash" / "3.png").rename(folder / "birch" / "0a.png")
    if what == "train":
        PILImage.fromarray(np.zeros((24, 24, 3), np.uint8)).save(train / "ash" / "0.png")
    options: dict[str, Any] = {"checks": CHECKS, "train": train, "budget": "full" if what == "budget" else "quick"}
    with counted(model) as passes:
        again = ins.audit(model, folder, out=study, **options)
    # The images are read with the same scores unless they, or their order, are others; both checks start anew.
    assert sum(passes) == 4 + (8 if what in ("pixels", "label") else 0)
    assert again.to_json() == ins.audit(model, folder, **options).to_json()


def test_a_later_study_keeps_findings_and_what_is_half_done(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, study, plan = tiny("in-place"), tmp_path / "s", Plan(layers=("relu1",), units=0, methods=("gradcam",))
    ins.audit(model, folder, checks=CHECKS, out=study)
    stopped(monkeypatch, model, folder, out=study)
    for _ in range(2):
        ins.study(model, [image(1)], study, plan=plan)
        assert {"findings", "model", *pieces(study)} <= set(Store.open(study).names())
        assert len(pieces(study)) == 2
    # Findings of another network are none of this one.
    with torch.no_grad():
        model.net.head.bias.add_(1)
    ins.study(ins.load(model.net, input=model.input, labels=model.labels), [image(1)], study, plan=plan)
    assert not {name for name in Store.open(study).names() if name.startswith(("findings", PREFIX))}


def test_the_study_of_another_network_is_refused(folder: Path, tmp_path: Path) -> None:
    ins.study(tiny("dense"), [image(1)], tmp_path / "s", plan=Plan(layers=("stem",), units=0, methods=("gradcam",)))
    with pytest.raises(InnersightError, match="study of another network"):
        ins.audit(tiny("in-place"), folder, checks=CHECKS, out=tmp_path / "s")


def test_pieces_that_somebody_changed_end_in_a_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, study = tiny("in-place"), tmp_path / "s"
    stopped(monkeypatch, model, folder, out=study)
    store = Store.open(study)
    for key in pieces(study):
        item = store.get(key)
        assert item is not None
        settings = store.settings(key)
        assert settings is not None
        for odd in (None, 3, [], {"passes": None}, {"passes": 1, "document": {"findings": [3]}}):
            store.put(key, settings, {"document": odd} if not isinstance(odd, dict) else odd, {}, 0.0)
            with pytest.raises(InnersightError, match=r"not as innersight writes it"):
                ins.audit(model, folder, checks=CHECKS, out=study)
