"""A short call of every public function that takes a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from networks import picture
from PIL import Image

import innersight as ins
from innersight.image import Picture
from innersight.layers import has_grid, last_grid, story
from innersight.model import Model
from innersight.study import Plan

# A pass or two of each method that makes many.
QUICK: dict[str, dict[str, Any]] = {
    "extremal-perturbation": {"steps": 1},
    "integrated-gradients": {"steps": 1},
    "occlusion": {"patch": 0.5, "stride": 0.5},
    "rise": {"most": 2},
    "smoothgrad": {"most": 2},
    "sobol": {"most": 2, "cells": 2},
    "vargrad": {"copies": 2},
}
Case = Callable[[Model, list[Picture], Path], Any]


def some_layer(model: Model) -> str:
    """Return the layer that heatmaps are read from, or of a network without maps its last one."""
    return last_grid(model)[0] if has_grid(model) else story(model)[-1]


def _folder(out: Path) -> Path:
    folder = out / "pictures"
    for i in range(0 if folder.exists() else 2):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(picture(i).image)).save(folder / f"{i}.png")
    return folder


def _halves(name: str) -> dict[str, np.ndarray]:
    mask = np.zeros(np.asarray(Image.open(name)).shape[:2], bool)
    mask[: len(mask) // 2] = True
    return {"upper": mask}


CASES: dict[str, Case] = {
    "ablate": lambda model, pictures, out: ins.ablate(model, pictures, some_layer(model)),
    "compare": lambda model, pictures, out: ins.compare(model, pictures, some_layer(model)),
    "connections": lambda model, pictures, out: ins.connections(model, f"{some_layer(model)}:0-1", pictures),
    "dissect": lambda model, pictures, out: ins.dissect(model, _folder(out), _halves, top=0.2),
    "explain": lambda model, pictures, out: ins.explain(model, pictures, methods="all", options=QUICK),
    "find": lambda model, pictures, out: ins.find(
        model, [(pictures[0], (0.1, 0.2, 0.6, 0.7))], pictures=pictures[1:], layers=[some_layer(model)]
    ),
    "interpretability": lambda model, pictures, out: ins.interpretability(
        model, f"{some_layer(model)}:0-1", pictures, by="patterns", steps=2, tasks=1, explanations=1
    ),
    "layers": lambda model, pictures, out: ins.layers(model, all=True),
    "load": lambda model, pictures, out: ins.load(model.net),
    "maps": lambda model, pictures, out: ins.maps(model, pictures),
    "match": lambda model, pictures, out: ins.match(model, model, pictures),
    "patterns": lambda model, pictures, out: ins.patterns(
        model, [f"{some_layer(model)}:0-1", "class:1"], steps=2, pictures=pictures
    ),
    "predict": lambda model, pictures, out: ins.predict(model, pictures),
    "scan": lambda model, pictures, out: ins.scan(model, _folder(out)),
    "study": lambda model, pictures, out: ins.study(
        model, pictures, out / "study", plan=Plan(layers=(some_layer(model),), units=1, steps=1)
    ),
    "trust": lambda model, pictures, out: ins.trust(model, pictures[:1], ["gradcam", "saliency"], steps=2),
}
WITHOUT_A_NETWORK = {"load_picture", "train"}
