"""Damaged model files of every format, loaded with little memory: a sentence each, and soon."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from innersight.input_spec import InputSpec
from innersight.sources.origins.keras import library
from innersight.sources.run_card import RunCard, write_run
from innersight.sources.small_resnet import SmallResNet

# Files for each format: how the model is named, and the file that is damaged. More seeds by hand: tests/damage.py.
FORMATS = {
    "checkpoint": ("small:4?classes=3&checkpoint={}/w.pt", "w.pt", 80),
    "older checkpoint": ("small:4?classes=3&checkpoint={}/old.pt", "old.pt", 80),
    "safetensors": ("small:4?classes=3&checkpoint={}/w.safetensors", "w.safetensors", 80),
    "run": ("run:{}/run", "run/run.json", 80),
    "keras": ("keras:{}/net.keras", "net.keras", 25),
    "hdf5": ("keras:{}/net.h5", "net.h5", 40),
    "onnx": ("onnx:{}/net.onnx", "net.onnx", 80),
    "onnx outside": ("onnx:{}/ext/net.onnx", "ext/net.onnx", 30),
    "pt2": ("pt2:{}/net.pt2", "net.pt2", 20),
    "transformers": ("hf:{}/hf", "hf/config.json", 30),
    "image processor": ("hf:{}/hf?fit=squash", "hf/preprocessor_config.json", 20),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small sound file of each format."""
    import transformers

    folder = tmp_path_factory.mktemp("sound")
    net = SmallResNet(3, width=4).eval()
    torch.save(net.state_dict(), folder / "w.pt")
    content = {"state_dict": net.state_dict(), "epoch": 1, "hyper_parameters": {"classes": 3}}
    torch.save(content, folder / "old.pt", _use_new_zipfile_serialization=False)
    save_file(net.state_dict(), folder / "w.safetensors")
    write_run(folder / "run", net, RunCard("small:4", ("a", "b", "c"), InputSpec(32, 32)))
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    plain, free = nn.Sequential(*layers).eval(), ({0: torch.export.Dim.DYNAMIC},)
    x = (torch.rand(2, 3, 16, 16),)
    torch.export.save(torch.export.export(plain, x, dynamic_shapes=free), folder / "net.pt2")
    (folder / "ext").mkdir()
    for name, outside in (("net.onnx", False), ("ext/net.onnx", True)):
        torch.onnx.export(plain, x, folder / name, dynamic_shapes=free, external_data=outside, verbose=False)
    keras = library()
    stack = [keras.layers.Conv2D(4, 3), keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D()]
    made = keras.Sequential([keras.Input((8, 8, 3)), *stack, keras.layers.Dense(3)])
    for name in ("net.keras", "net.h5"):
        made.save(folder / name)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=3)
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(folder / "hf")
    processor = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}, "crop_pct": 0.875}
    (folder / "hf" / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture(scope="module")
def tried(sound: Path) -> list[dict[str, Any]]:
    """What came of every damaged file, in one process: the libraries take longer to import than the files to refuse."""
    program = [sys.executable, str(Path(__file__).with_name("damage.py"))]
    for source, file, count in FORMATS.values():
        program += [source.format(sound), str(sound / file), "0", str(count)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=500)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files_end_with_a_sentence(kind: str, sound: Path, tried: list[dict[str, Any]]) -> None:
    source, _, count = FORMATS[kind]
    rows = [row for row in tried if row["source"] == source.format(sound)]
    # A row is told before a file is loaded and one afterwards: a crash leaves the last one out.
    finished: dict[int, Any] = {row["seed"]: row for row in rows if "state" in row}
    assert finished[-1]["state"] == "fine", finished[-1]["said"]
    assert len(finished) == count + 1, rows[-1]
    wrong = [(seed, row["said"]) for seed, row in finished.items() if row["state"] == "wrong"]
    assert not wrong, wrong[0]
    refused = [row["said"] for row in finished.values() if row["state"] == "refused"]
    assert len(refused) > count / 5
    assert all(said.isprintable() for said in refused)
