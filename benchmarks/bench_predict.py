"""What `predict` adds to the network alone: one image on the command line, and a folder of files in Python."""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image as PILImage

import innersight as ins
from benchmarks.timing import Row, race
from innersight import tap, toons
from innersight.inputs import ImageReader, network_input

FILES, BATCH, SIDE, ROUNDS = 256, 32, 256, 5
NET = "mobilenet_v3_small"
SCRIPT = """
import sys, torch, torchvision
from PIL import Image
net = torchvision.models.get_model({net!r}).eval()
image = torchvision.transforms.functional.to_tensor(Image.open({file!r}).convert("RGB").resize((224, 224)))
with torch.no_grad():
    print(net(image[None]).softmax(1).topk(5))
"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.jpg" for number in range(FILES)]
        for number, file in enumerate(files):
            toon = toons.draw(toons.CLASSES[number % len(toons.CLASSES)], number).pixels
            PILImage.fromarray(toon).resize((SIDE, SIDE)).save(file)
        return [*_commands(files[0]), _many(files)]


def _commands(file: Path) -> list[Row]:
    def cli(*words: str):
        return lambda: subprocess.run([sys.executable, "-m", "innersight", *words], check=True, capture_output=True)

    bare = [sys.executable, "-c", SCRIPT.format(net=NET, file=str(file))]
    script = {"script of torch and torchvision": lambda: subprocess.run(bare, check=True, capture_output=True)}
    target, figure = "the script at least 0.9x", str(file.with_suffix(".png"))
    return [
        race(
            f"innersight predict, one image, {NET}",
            {"innersight": cli("predict", f"torchvision:{NET}", str(file), "--json"), **script},
            rounds=ROUNDS,
            target=target,
        ),
        race(
            "the same of toon",
            {"innersight": cli("predict", "toon", str(file), "--json"), **script},
            rounds=ROUNDS,
            target=target,
        ),
        race(
            "the same of toon, and a figure",
            {"innersight": cli("predict", "toon", str(file), "-o", figure), **script},
            rounds=ROUNDS,
        ),
        race("innersight layers toon", {"innersight": cli("layers", "toon"), **script}, rounds=ROUNDS),
    ]


def _many(files: list[Path]) -> Row:
    model = ins.load(f"torchvision:{NET}")
    loaded = ImageReader(files, model.input).batches(BATCH)
    batches = [network_input(some, model) for some in loaded]
    contiguous = [batch.contiguous() for batch in batches]

    def forward(batches: list[torch.Tensor]):
        def run() -> None:
            with tap.untouched(model), torch.inference_mode():
                for batch in batches:
                    model.net(batch)

        return run

    def read() -> None:
        for _ in ImageReader(files, model.input):
            pass

    return race(
        f"predict, {FILES} files of {SIDE} px, {NET}",
        {
            "innersight": lambda: ins.predict(model, files),
            "forward alone": forward(contiguous),
            "forward alone, channels last": forward(batches),
            "decoding alone": read,
        },
        rounds=ROUNDS,
        target="forward alone at least 0.85x",
    )
