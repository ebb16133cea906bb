"""Every result shows itself in a notebook, and a study does in a notebook exported as a page."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from networks import image, tiny

import innersight
from innersight.ablation import ablate
from innersight.activations import activations
from innersight.compare import compare
from innersight.find import find
from innersight.heatmaps import explain
from innersight.patterns import patterns
from innersight.predict import predict
from innersight.scan import Scan, scan
from innersight.study import Plan, Study, study

IMAGES = [image(1), image(2)]
# One of each class that a public function returns.
MAKERS: dict[str, Callable[[], Any]] = {
    "Ablation": lambda: ablate(tiny("in-place"), IMAGES, "relu2"),
    "Comparison": lambda: compare(tiny("in-place"), IMAGES, "relu2"),
    "ActivationMaps": lambda: activations(tiny("in-place"), IMAGES, ["relu1"]),
    "UnitRanking": lambda: find(tiny("in-place"), [(IMAGES[0], (0.1, 0.1, 0.5, 0.5))], layers=["relu2"]),
    "Heatmaps": lambda: explain(tiny("in-place"), IMAGES[0]),
    "Patterns": lambda: patterns(tiny("in-place"), "relu2:0", steps=1, seeds=1),
    "Prediction": lambda: predict(tiny("in-place"), IMAGES),
}


def scanned(folder: Path) -> Scan:
    for i, one in enumerate(IMAGES):
        one.pil.save(folder / f"{i}.png")
    return scan(tiny("in-place"), folder, ["relu2"])


def results() -> dict[str, type]:
    """Every public class of the package that draws a figure of itself and saves itself."""
    found = {}
    for module in pkgutil.walk_packages(innersight.__path__, "innersight."):
        if "__main__" in module.name or ".cli" in module.name or ".methods." in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            own = inspect.isclass(value) and value.__module__ == module.name and not name.startswith("_")
            if own and all(inspect.isfunction(getattr(value, word, None)) for word in ("figure", "save", "to_json")):
                found[name] = value
    return found


def test_every_result_has_html() -> None:
    found = results()
    assert set(MAKERS) <= set(found)
    assert [name for name, value in found.items() if not hasattr(value, "_repr_html_")] == []


@pytest.mark.parametrize("name", [*MAKERS, "Scan"])
def test_html_of_a_result_is_an_image_without_scripts(name: str, tmp_path: Path) -> None:
    result = MAKERS[name]() if name in MAKERS else scanned(tmp_path)
    html = result._repr_html_()
    assert html.startswith("<")
    assert "<script" not in html
    assert "data:image/png;base64," in html or "<table" in html


def frame_of(page: str) -> dict[str, str | None]:
    """Return the attributes of the first frame of a page."""
    found: list[dict[str, str | None]] = []

    class Finder(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "iframe":
                found.append(dict(attrs))

    Finder().feed(page)
    return found[0]


def test_a_study_stays_alive_in_an_exported_notebook(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="pip install 'innersight[notebook]'")
    nbconvert = pytest.importorskip("nbconvert", reason="pip install 'innersight[notebook]'")
    made = study(tiny("in-place"), IMAGES, tmp_path / "s", plan=Plan(layers=("relu2",), units=0, methods=("gradcam",)))
    html = Study.open(made.folder)._repr_html_()
    cell = nbformat.v4.new_code_cell(
        "study", outputs=[nbformat.v4.new_output("execute_result", data={"text/html": html, "text/plain": "study"})]
    )
    page, _ = nbconvert.HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    # The exporter may write the attributes in another order.
    assert frame_of(page) == frame_of(html)
    assert frame_of(page)["sandbox"] == "allow-scripts"
    assert "data-document" in str(frame_of(page)["srcdoc"])
