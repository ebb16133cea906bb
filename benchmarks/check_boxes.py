"""Do heatmaps lie on the thing that people boxed? All methods on real images, with intervals.

    python -m benchmarks.check_boxes MODEL FOLDER BOXES.csv [--each N]

For each image's own class: the share of images whose highest value lies in the box (pointing game), and the share
of the positive values in it (mass in box), as means over images with 95% bootstrap intervals. `--each` takes the
first N images of every class for the methods that need hundreds of passes; all images for the others. Writes a
Markdown table to standard output, and progress to standard error.
"""

import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

import innersight as ins
from innersight.heatmaps.engine import explain_batch, options_of
from innersight.heatmaps.request import UnfitError, forward_passes, layer_of, methods
from innersight.heatmaps.target import class_target
from innersight.image import Image, load_image, stack
from innersight.layers import last_grid
from innersight.model import Model
from innersight.statistics import bootstrap
from innersight.trust.baselines import baselines
from innersight.trust.case import baseline_maps, widened
from innersight.trust.likeness import Maps
from innersight.trust.metrics.boxes import highest_inside, positive_inside
from innersight.trust.regions import read_regions

CHUNK = 14
DEAR = 200
"""Methods with so many passes see few images."""

Scores = dict[str, list[tuple[float, float]]]


def measure(model: Model, images: list[Image], boxes: Path, names: list[str], scores: Scores) -> None:
    """Add the pointing game and the mass in the box of every method named, on every image."""
    regions, layer = read_regions(boxes), last_grid(model)[0]
    options = options_of(names)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        began = time.perf_counter()
        x = stack(part, model.input)
        labels = [str(image.path.parent.name) for image in part if image.path]
        classes = torch.tensor([model.class_index(label) for label in labels])
        left_out: dict[str, str] = {}
        found = explain_batch(model, x, lambda _, own=classes: class_target(model, own), [layer], options, 0, left_out)
        for i, image in enumerate(part):
            region = regions.find(image, model.input, labels[i])
            if region is None:
                continue
            maps: dict[str, Maps] = {
                name: [found.found[name, layer_of(name, layer)].values[i].float()]
                for name in names
                if name not in left_out
            }
            if "gradcam" in names:
                rng = np.random.default_rng(start + i)
                maps |= {name: [v] for name, v in zip(baselines, baseline_maps(model, x[i], rng), strict=True)}
                maps["uniform"] = [torch.ones(1, 1)]
            for name, values in maps.items():
                wide = widened(values, (model.input.height, model.input.width))
                scores[name].append((float(highest_inside(wide, region)), float(positive_inside(wide, region))))
        done = min(start + CHUNK, len(images))
        print(f"{done} of {len(images)}, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def row(name: str, values: list[tuple[float, float]]) -> str:
    """Return one line of the table."""
    cells = []
    for column in np.array(values).T:
        interval = bootstrap(column)
        assert interval is not None
        cells.append(f"{column.mean():.2f} ({interval[0]:.2f} to {interval[1]:.2f})")
    return f"| {name} | {len(values)} | {' | '.join(cells)} |"


if __name__ == "__main__":
    network, folder, boxes = ins.load(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    each = int(sys.argv[sys.argv.index("--each") + 1]) if "--each" in sys.argv else 3
    files = sorted(folder.glob("*/*"))
    by_class = defaultdict(list)
    for file in files:
        by_class[file.parent.name].append(file)
    few = [file for own in by_class.values() for file in own[:each]]
    table: Scores = defaultdict(list)
    fitting = [name for name in methods if methods.entry(name).reads != "attention"]
    for chosen, of in (
        ([n for n in fitting if forward_passes(n) < DEAR], files),
        ([n for n in fitting if forward_passes(n) >= DEAR], few),
    ):
        with_errors = []
        for name in chosen:
            try:
                measure(network, [load_image(few[0])], boxes, [name], defaultdict(list))
                with_errors.append(name)
            except UnfitError as error:
                print(f"left out: {name}: {error}", file=sys.stderr)
        measure(network, [load_image(file) for file in of], boxes, with_errors, table)
    print("| method | images | highest value in the box | positive values in the box |\n| --- | --- | --- | --- |")
    for name in sorted(table, key=lambda name: -np.array(table[name])[:, 1].mean()):
        print(row(name, table[name]))
