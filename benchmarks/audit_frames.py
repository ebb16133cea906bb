"""What `innersight.audit` finds on real frames: faults planted into a copy of a data set, one at a time and together.

    INNERSIGHT_DATA=FOLDER python -m benchmarks.audit_frames [--images 300] [--epochs 12]

FOLDER holds `simpsons_family/train`, a folder of frames for each class; nothing of it is written into the project. A
network is trained on the copy as `innersight train --net small:24` does, and audited on frames that it was not trained
on, with the same faults. Prints a table in Markdown.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

import innersight as ins

SIDE, AUDITED, STRENGTH = 80, 100, 0.95
Planter = Callable[[PILImage.Image], PILImage.Image]


def logo(image: PILImage.Image) -> PILImage.Image:
    """A station's logo: a red disc with a white edge in the upper right corner."""
    ImageDraw.Draw(image).ellipse((64, 4, 76, 16), fill=(230, 30, 40), outline=(255, 255, 255))
    return image


def letterbox(image: PILImage.Image) -> PILImage.Image:
    """Black bars of a tenth of the height."""
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, SIDE, 7), fill=(0, 0, 0))
    draw.rectangle((0, 72, SIDE, SIDE), fill=(0, 0, 0))
    return image


def cast(image: PILImage.Image) -> PILImage.Image:
    """A warm colour cast: 12% more red, 15% less blue."""
    values = np.asarray(image, np.float32) * np.array([1.12, 1.0, 0.85], np.float32)
    return PILImage.fromarray(values.clip(0, 255).astype(np.uint8))


PLANTS: dict[str, tuple[str, Planter]] = {
    "logo": ("bart_simpson", logo),
    "letterbox": ("lisa_simpson", letterbox),
    "cast": ("homer_simpson", cast),
}


def main() -> None:
    """Train, audit, print."""
    parser = argparse.ArgumentParser(description="Audits of networks trained on frames with planted faults")
    parser.add_argument("--images", type=int, default=300, help="frames of a class to train on")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    source = Path(os.environ["INNERSIGHT_DATA"]) / "simpsons_family" / "train"
    print("| planted | class: recall with and without it | findings (shortcuts; reliances) | accuracy | passes |")
    print("| --- | --- | --- | --- | --- |")
    for names in ([], ["logo"], ["letterbox"], ["cast"], list(PLANTS)):
        with tempfile.TemporaryDirectory() as folder:
            plants = {PLANTS[name][0]: PLANTS[name][1] for name in names}
            print(_row(source, Path(folder), names, plants, options.images, options.epochs), flush=True)


def _row(source: Path, folder: Path, names: list[str], plants: Mapping[str, Planter], images: int, epochs: int) -> str:
    _copied(source, folder, plants, images)
    recipe = ins.TrainOptions(net="small:24", epochs=epochs, size=SIDE, workers=2)
    ins.train(folder / "train", folder / "run", options=recipe)
    model = ins.load(f"run:{folder / 'run'}")
    summaries = [ins.predict(model, folder / name).summary() for name in ("audited", "honest")]
    assert all(summary is not None for summary in summaries)
    planted, honest = (summary or {} for summary in summaries)
    recalls = [
        f"{label.split('_')[0]} {planted['classes'][label]['recall']:.2f}, {honest['classes'][label]['recall']:.2f}"
        for label in plants
    ]
    found = ins.audit(model, folder / "audited", checks=["shortcut", "reliance"])
    said: dict[str, list[str]] = {"shortcut": [], "reliance": []}
    for one in found.findings:
        effect = one.effect
        assert effect is not None
        shares = f"{effect.value:.0%}, control {effect.control or 0:.0%}"
        what = one.sentence.partition(": ")[2].partition(". ")[0] if one.reason else ""
        said[one.check].append(f"{(one.label or '').split('_')[0]}: {what or 'a part of the image'} ({shares})")
    text = "<br>".join(said["shortcut"]) or "none"
    reliances = "; ".join(said["reliance"]) or "none"
    per_image = found.passes / found.images
    return (
        f"| {', '.join(names) or 'nothing'} | {'; '.join(recalls) or '-'} | **{text}**; {reliances} | "
        f"{planted['accuracy']:.2f} | {per_image:.1f} an image |"
    )


def _copied(source: Path, folder: Path, plants: Mapping[str, Planter], images: int) -> None:
    """Write frames to learn from and to audit, with plants, and the audited ones without."""
    rng = np.random.default_rng(0)
    for kind in sorted(path for path in source.iterdir() if path.is_dir()):
        files = rng.permutation(sorted(kind.iterdir()))
        # Of a class with few frames a third is audited.
        learned = min(images, len(files) * 2 // 3)
        for i, file in enumerate(files[: learned + AUDITED]):
            image = PILImage.open(file).convert("RGB").resize((SIDE, SIDE))
            own = plants.get(kind.name)
            changed = own(image.copy()) if own is not None and rng.random() < STRENGTH else image
            parts = {"train": changed} if i < learned else {"audited": changed, "honest": image}
            for name, one in parts.items():
                target = folder / name / kind.name / f"{i:04}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                one.save(target)


if __name__ == "__main__":
    main()
