"""Outlines as point lists, computed once: every function returns a read-only (n, 2) float64 array."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Point = tuple[float, float]


def _frozen(points: Points) -> Points:
    points.setflags(write=False)
    return points


@lru_cache(maxsize=4096)
def path(*points: Point) -> Points:
    """Return straight lines through the points."""
    return _frozen(np.array(points, dtype=np.float64))


@lru_cache(maxsize=4096)
def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float, n: int = 14) -> Points:
    """Return part of an ellipse from one angle to another (degrees, clockwise from the right)."""
    angle = np.radians(np.linspace(start, stop, n))
    return _frozen(np.stack((x + rx * np.cos(angle), y + ry * np.sin(angle)), axis=1))


def oval(x: float, y: float, rx: float, ry: float, n: int = 26) -> Points:
    """Return an ellipse about (x, y)."""
    return arc(x, y, rx, ry, 0.0, 360.0 * (n - 1) / n, n)


@lru_cache(maxsize=4096)
def smooth(*points: Point, closed: bool = True, n: int = 5) -> Points:
    """Return a Catmull-Rom curve through the points, `n` samples to a span."""
    given = np.array(points, dtype=np.float64)
    if closed:
        before, after, after2 = (np.roll(given, k, axis=0) for k in (1, -1, -2))
    else:
        padded = np.concatenate((given[:1], given, given[-1:]))
        before, given, after, after2 = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0.0, 1.0, n, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (before, given, after, after2))
    spans = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    curve = spans.reshape(-1, 2)
    return _frozen(curve if closed else np.concatenate((curve, after[-1:])))


@lru_cache(maxsize=4096)
def scallop(x: float, y: float, rx: float, ry: float, bumps: int, depth: float) -> Points:
    """Return an ellipse with a cloud's edge: `bumps` round bulges of relative height `depth`."""
    angle = np.linspace(0.0, 2 * math.pi, bumps * 5, endpoint=False)
    swell = 1.0 - depth + 2 * depth * np.abs(np.sin(angle * bumps / 2)) ** 0.7
    return _frozen(np.stack((x + rx * swell * np.cos(angle), y + ry * swell * np.sin(angle)), axis=1))


@lru_cache(maxsize=4096)
def star(x: float, y: float, outer: float, inner: float, tips: int, start: float = -90.0) -> Points:
    """Return a star with its first tip at angle `start` (degrees)."""
    angle = np.radians(start) + np.linspace(0.0, 2 * math.pi, 2 * tips, endpoint=False)
    radius = np.where(np.arange(2 * tips) % 2 == 0, outer, inner)
    return _frozen(np.stack((x + radius * np.cos(angle), y + radius * np.sin(angle)), axis=1))


@lru_cache(maxsize=4096)
def limb(start: Point, bend: Point, stop: Point, wide: float, narrow: float, n: int = 9) -> Points:
    """Return a bent tube from start to stop, of half-width `wide` at the start and `narrow` at the end."""
    t = np.linspace(0.0, 1.0, n)[:, None]
    a, b, c = (np.array(p, dtype=np.float64) for p in (start, bend, stop))
    middle = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    along = 2 * (1 - t) * (b - a) + 2 * t * (c - b)
    side = np.stack((-along[:, 1], along[:, 0]), axis=1) / np.hypot(along[:, :1], along[:, 1:])
    half = wide + (narrow - wide) * t
    return _frozen(np.concatenate((middle + side * half, (middle - side * half)[::-1])))


def mirror(points: Points) -> Points:
    """Return the shape seen in a mirror: x becomes -x."""
    return points * (-1.0, 1.0)
