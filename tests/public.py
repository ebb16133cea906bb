"""A short call of every public function that takes a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from networks import image
from PIL import Image as PILImage

import innersight as ins
from innersight.image import Image
from innersight.layers import default_layers, has_grid, last_grid
from innersight.model import Model
from innersight.study import Plan
from innersight.trust import Protocol

# A pass or two of each method that makes many.
QUICK: dict[str, dict[str, Any]] = {
    "extremal-perturbation": {"steps": 1},
    "integrated-gradients": {"steps": 1},
    "occlusion": {"patch": 0.5, "stride": 0.5},
    "rise": {"max_samples": 2},
    "smoothgrad": {"max_samples": 2},
    "sobol": {"max_samples": 2, "cells": 2},
    "vargrad": {"samples": 2},
}
Case = Callable[[Model, list[Image], Path], Any]


def some_layer(model: Model) -> str:
    """Return the layer that heatmaps are read from, or of a network without maps its last one."""
    return last_grid(model)[0] if has_grid(model) else default_layers(model)[-1]


def _folder(out: Path) -> Path:
    folder = out / "images"
    for i in range(0 if folder.exists() else 2):
        folder.mkdir(parents=True, exist_ok=True)
        PILImage.fromarray(np.asarray(image(i).pil)).save(folder / f"{i}.png")
    return folder


def _halves(name: str) -> dict[str, np.ndarray]:
    mask = np.zeros(np.asarray(PILImage.open(name)).shape[:2], bool)
    mask[: len(mask) // 2] = True
    return {"upper": mask}


CASES: dict[str, Case] = {
    "ablate": lambda model, images, out: ins.ablate(model, images, some_layer(model)),
    "atlas": lambda model, images, out: ins.atlas(
        model, [image(i) for i in range(5)], some_layer(model), grid=2, layout="pca", steps=1, vectors=40
    ),
    "audit": lambda model, images, out: ins.audit(model, _folder(out), checks=["units"]),
    "compare": lambda model, images, out: ins.compare(model, images, some_layer(model)),
    "concepts": lambda model, images, out: ins.concepts(model, _folder(out), some_layer(model), count=2),
    "connections": lambda model, images, out: ins.connections(model, f"{some_layer(model)}:0-1", images),
    "dissect": lambda model, images, out: ins.dissect(model, _folder(out), _halves, quantile=0.2),
    "explain": lambda model, images, out: ins.explain(model, images, methods="all", options=QUICK),
    "find": lambda model, images, out: ins.find(
        model, [(images[0], (0.1, 0.2, 0.6, 0.7))], images=images[1:], layers=[some_layer(model)]
    ),
    "interpretability": lambda model, images, out: ins.interpretability(
        model, f"{some_layer(model)}:0-1", images, by="patterns", steps=2, tasks=1, explanations=1
    ),
    "layers": lambda model, images, out: ins.layers(model, all=True),
    "load": lambda model, images, out: ins.load(model.net),
    "activations": lambda model, images, out: ins.activations(model, images),
    "match": lambda model, images, out: ins.match(model, model, images),
    "patterns": lambda model, images, out: ins.patterns(
        model, [f"{some_layer(model)}:0-1", "class:1"], steps=2, images=images
    ),
    "predict": lambda model, images, out: ins.predict(model, images),
    "scan": lambda model, images, out: ins.scan(model, _folder(out)),
    "study": lambda model, images, out: ins.study(
        model, images, out / "study", plan=Plan(layers=(some_layer(model),), units=1, steps=1)
    ),
    "trust": lambda model, images, out: ins.trust(
        model, images[:1], ["gradcam", "saliency"], protocol=Protocol(steps=2)
    ),
}
WITHOUT_A_NETWORK = {"load_image", "train"}
