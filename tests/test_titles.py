"""No title of a figure is cut at its edges or runs into its neighbour's."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from networks import image, tiny

import innersight as ins
from innersight.render.figures import contact_sheet, image_grid, new_figure

LONG = "mixed_5b.branch_3.conv2d_transpose_batch_normalization_12"


def titles(figure: Any) -> list[Any]:
    """Return the boxes of all titles, drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [part._suptitle for part in figure.findobj(lambda one: hasattr(one, "_suptitle")) if part._suptitle]
    for axis in figure.findobj(lambda one: hasattr(one, "_left_title")):
        texts += [axis.title, axis._left_title, axis._right_title]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]


def check(figure: Any) -> None:
    found = titles(figure)
    assert found
    for text, box in found:
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for (one, a), (other, b) in combinations(found, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        down = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across <= 1 or down <= 1, (one, other)


@pytest.mark.parametrize("align", ["left", "center"])
def test_long_titles_are_broken(align: str) -> None:
    figure = new_figure(3, 2)
    figure.suptitle(f"{LONG}: the last layer with a grid of its own, as asked by nobody", fontsize=9, ha=align,
                    x=0.01 if align == "left" else 0.5)  # fmt: skip
    for axis in figure.subplots(1, 3):
        axis.set_title(LONG, fontsize=7)
    check(figure)
    # Nothing is lost, and what fits stays in one line.
    whole = "".join(f"{LONG}: the last layer with a grid of its own, as asked by nobody".split())
    assert all("".join(text.split()) in whole for text, _ in titles(figure))
    short = new_figure(3, 2)
    short.subplots().set_title("stage4", fontsize=7)
    assert [text for text, _ in titles(short)] == ["stage4"]


@pytest.mark.parametrize("kind", ["explain", "compare", "activations"])
def test_figures_of_results_are_not_cut(kind: str) -> None:
    model = replace(tiny("in-place"), name=f"a network with a long name, {LONG}")
    images = [replace(image(seed), name=f"marge_simpson-{seed:04}-photograph-of-a-cartoon.png") for seed in (1, 2)]
    if kind == "explain":
        figure = ins.explain(model, images, methods=["gradcam", "saliency", "hirescam"]).figure()
    elif kind == "compare":
        figure = ins.compare(model, images, "conv2").figure()
    else:
        figure = ins.activations(model, images, ["conv2"]).figure(limit=4)
    check(figure)


def test_grids_and_sheets_are_not_cut() -> None:
    check(image_grid(np.zeros((3, 8, 8, 3), np.uint8), [LONG] * 3, title=f"{LONG}, {LONG}"))
    sheet = contact_sheet(
        [(f"{LONG} over {LONG}", torch.rand(3, 4, 4), None)], labels=[["0", "1", "2"]], under=[None], columns=4
    )
    check(sheet)
