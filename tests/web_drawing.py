"""The images of a drawn study: filters, what they answer, patterns, and sheets of tiles."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

Array = NDArray[Any]


def wavelet(side: int, unit: int, units: int) -> Array:
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    angle = np.pi * unit / units * 3
    wave = np.cos((2 + unit % 4) * (x * np.cos(angle) + y * np.sin(angle)) + unit)
    kernel = wave * np.exp(-2 * (x**2 + y**2))
    return np.asarray(kernel - kernel.mean())


def respond(grey: Array, kernel: Array, grid: int) -> Array:
    spectrum = np.fft.rfft2(grey - grey.mean()) * np.fft.rfft2(kernel, grey.shape)
    full = np.fft.irfft2(spectrum, grey.shape)
    step = grey.shape[0] // grid
    return np.asarray(full.reshape(grid, step, grid, step).mean(axis=(1, 3)))


def pattern(unit: int, units: int, colour: Array, grid: int) -> Array:
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    angle, fine = np.pi * unit / units * 3, 60 / grid**0.75 + unit % 5
    bend = x * np.cos(angle) + y * np.sin(angle) + 0.3 * np.sin(3 * x * y + unit) * (48 / grid - 1) / 4
    return tint(np.cos(3 * fine**0.5 * 4 * bend) * np.cos(unit % 7 * y), colour)


def tint(wave: Array, colour: Array) -> Array:
    span = np.abs(wave).max() or 1.0
    shade = 0.5 + 0.45 * wave[..., None] / span * (colour * 2 - 0.8)
    return np.asarray(np.clip(255 * shade, 0, 255).astype(np.uint8))


def value_sheet(stack: Array, lo: Array, hi: Array, files: Path, name: str) -> dict[str, Any]:
    span = np.where(hi > lo, hi - lo, 1)[:, None, None]
    levels = np.rint(255 * (stack - lo[:, None, None]) / span).astype(np.uint8)
    return _sheet(levels, files, name, "png")


def colour_sheet(stack: Array, files: Path, name: str, suffix: str = "webp") -> dict[str, Any]:
    return _sheet(stack, files, name, suffix)


def _sheet(stack: Array, files: Path, name: str, suffix: str) -> dict[str, Any]:
    count, height, width = stack.shape[:3]
    columns, rows = (8, 5) if count <= 200 else (40, 40)  # several files, or few large ones as in a real study
    names = []
    for at, start in enumerate(range(0, count, columns * rows)):
        part = stack[start : start + columns * rows]
        canvas = np.zeros((rows * height, columns * width, *stack.shape[3:]), np.uint8)
        for i, image in enumerate(part):
            y, x = i // columns * height, i % columns * width
            canvas[y : y + height, x : x + width] = image
        names.append(f"{name}-{at}.{suffix}")
        PILImage.fromarray(canvas).save(files / names[-1])
    return {"files": names, "tile": [width, height], "columns": columns, "per_file": columns * rows, "count": count}
