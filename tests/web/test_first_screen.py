"""What a reader meets first: the surest image, silent units, rankings of zeros, equal heatmaps, trust, figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, Reader
from PIL import Image as PILImage
from web_fixture import LAYERS, write_study

from innersight.web.report import write_report

pytestmark = pytest.mark.browser


def test_the_surest_right_image_comes_first(opened: Opened) -> None:
    def edit(about: dict[str, Any]) -> None:
        first, second = about["images"]
        first["prediction"][0]["probability"] = 0.999
        first["truth"] = "another class"
        second["prediction"][0]["probability"] = 0.4
        second["truth"] = second["prediction"][0]["label"]
        second["name"] = "marge_simpson-0001.png"

    reader = opened(study=edit)
    assert reader.page.locator(".journey figcaption").inner_text().startswith("marge_simpson-0001.png on its way")
    reader.go("#/i/p1", "marge")
    parts = reader.page.evaluate("[...document.querySelector('h1').childNodes].map((node) => node.nodeName)")
    assert parts.count("WBR") == 3
    reader.close()


def test_the_units_shown_first_are_those_the_prediction_depends_on(opened: Opened) -> None:
    def edit(layer: dict[str, Any]) -> None:
        change = [0.0] * layer["units"]
        change[11], change[7], change[3] = -0.5, -3.0, -9.0
        own = {"class": 0, "label": "ambra", "change": change}
        about = {"to": "zero", "unit": "logits", "definition": "", "closed": True, "classes": []}
        layer["ablation"] = {**about, "own": {"p0": own, "p1": own}}

    reader = opened(layer__stages_dot_1=edit)
    names = reader.page.locator(".stop:has([title='stages.1']) .pair").evaluate_all(
        "all => all.map((a) => a.ariaLabel)"
    )
    # Unit 3 is silent: its map would be a black tile.
    assert names[:2] == ["unit 7 of stages.1", "unit 11 of stages.1"]
    assert "whose loss lowers the score of ambra most" in reader.page.locator(".journey figcaption").inner_text()
    reader.close()


@pytest.mark.parametrize(
    ("gone", "said", "tiles"),
    [(0, "In the corner: the", {2}), (1, "In the corner, where", {1, 2}), (4, "network.", {1})],
)
def test_the_caption_promises_no_pattern_that_is_not_there(
    opened: Opened, gone: int, said: str, tiles: set[int]
) -> None:
    def none(document: dict[str, Any]) -> None:
        document["patterns"] = None

    names = [f"layer__{name.replace('.', '_dot_')}" for name, _, grid in LAYERS if grid > 1]
    reader = opened(**dict.fromkeys(names[:gone], none))
    shown = reader.page.locator(".journey .pair").evaluate_all("all => all.map((one) => one.children.length)")
    assert set(shown) == tiles
    caption = reader.page.locator(".journey figcaption").inner_text()
    assert said in caption
    assert ("corner" in caption) is (2 in tiles)
    reader.close()


def test_silent_units_stand_behind_their_number(anywhere: Reader) -> None:
    anywhere.go("#/l/stages.1", "stages.1")
    shown = anywhere.page.locator("main .tiles .unit").all_inner_texts()
    assert len(shown) == 63
    assert "3" not in shown
    anywhere.page.get_by_text("1 silent unit on this image").click()
    anywhere.page.locator(".silent a", has_text="3").click()
    anywhere.wait("document.querySelector('main h1')?.textContent === 'Unit 3'")


def test_units_that_respond_in_no_image_are_not_ranked(opened: Opened) -> None:
    def none(layer: dict[str, Any]) -> None:
        for row in layer["compare"]["rank"]:
            row["score"] = 0.0

    def few(layer: dict[str, Any]) -> None:
        for row in layer["compare"]["rank"][2:]:
            row["score"] = 0.0

    reader = opened("#/l/stages.1?lens=compare", layer__stages_dot_1=none, layer__stages_dot_0=few)
    assert "No unit responds in all 2 images" in reader.page.locator("main .empty").inner_text()
    assert reader.page.locator(".compare-row").count() == 0
    reader.go("#/l/stages.0?lens=compare", "stages.0")
    assert reader.page.locator(".compare-row").count() == 1 + 2
    assert "units with the score 0 are not shown" in reader.page.locator("main").inner_text()
    reader.close()


def test_a_long_ranking_grows_as_it_is_read(chromium: Any, tmp_path: Path) -> None:
    report = write_report(write_study(tmp_path / "many", many=1280), tmp_path / "report.html")
    reader = Reader(chromium, f"{report.as_uri()}#/l/stages.2?lens=compare")
    rows = "document.querySelectorAll('.compare-row').length"
    assert reader.page.evaluate(rows) < 150
    assert reader.page.evaluate("document.querySelectorAll('*').length") < 6000
    before = reader.page.evaluate(rows)
    reader.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    reader.wait(f"before => {rows} > before", before)
    reader.page.keyboard.press("Control+p")
    reader.wait(f"{rows} === 641")
    reader.close()


def test_equal_heatmaps_are_shown_once(opened: Opened) -> None:
    def edit(heatmaps: dict[str, Any]) -> None:
        first, second = list(heatmaps["methods"])[:2]
        twins = [{**entry, "method": "twin"} for entry in heatmaps["entries"] if entry["method"] == first]
        heatmaps["methods"] = {
            first: heatmaps["methods"][first],
            "twin": {"title": "Twin-CAM"},
            second: heatmaps["methods"][second],
        }
        others = [entry for entry in heatmaps["entries"] if entry["method"] != first]
        heatmaps["entries"] = [*(one for one in heatmaps["entries"] if one["method"] == first), *twins, *others]

    reader = opened(heatmaps=edit)
    methods = reader.page.locator("#heatmaps .heatmap").evaluate_all("all => all.map((one) => one.dataset.method)")
    assert "twin" not in methods
    assert len(set(methods)) == 2
    reader.go("#/i/p0?method=twin", "ambra")
    note = reader.page.locator(".heatmap-twin").first
    assert note.inner_text().startswith("Twin-CAM: identical to ")
    assert reader.page.locator(".heatmap[data-method=twin]").count() == 0
    reader.close()


def test_maps_are_cells_until_the_reader_smooths_them(anywhere: Reader) -> None:
    anywhere.go("#/i/p0", "ambra")
    anywhere.show(".heatmaps")
    page = anywhere.page
    note = page.get_by_text("interpolated between the cells")
    canvas = "document.querySelector('.heatmap canvas:not([hidden])')"
    before = page.evaluate(f"{canvas}.toDataURL()")
    assert note.is_hidden()
    page.get_by_role("button", name="Smooth").click()
    anywhere.wait(f"before => {canvas}.toDataURL() !== before", before)
    assert note.is_visible()
    page.get_by_role("button", name="Heatmap", exact=True).click()
    anywhere.wait(f"getComputedStyle({canvas}).imageRendering === 'auto' && {canvas}.width < 40")
    page.get_by_role("button", name="Cells").click()
    anywhere.wait(f"getComputedStyle({canvas}).imageRendering === 'pixelated'")


def test_low_values_fade_from_an_overlay(reader: Reader, study: Path) -> None:
    layer = json.loads((study / "web" / "documents" / "layer" / "stages.1.json").read_text())
    maps, sheet = layer["activations"]["p0"], layer["activations"]["p0"]["sheet"]
    width, height = sheet["tile"]
    left, top = 7 % sheet["columns"] * width, 7 // sheet["columns"] * height
    with PILImage.open(study / "web" / "files" / sheet["files"][0]) as grey:
        levels = list(grey.crop((left, top, left + width, top + height)).tobytes())
    limit = max(layer["activations"][name]["hi"][7] for name in ("p0", "p1"))
    shares = [(maps["lo"][7] + (maps["hi"][7] - maps["lo"][7]) * level / 255) / limit for level in levels]
    low = [i for i, share in enumerate(shares) if 0.03 < share < 0.12]
    assert low
    reader.go("#/l/stages.1/u/7", "Unit 7")
    reader.show(".unit-maps")
    chromas = reader.page.evaluate(
        """places => {
          const canvas = document.querySelector(".unit-map[data-address=p0] canvas");
          const copy = new OffscreenCanvas(canvas.width, canvas.height);
          const brush = copy.getContext("2d", { willReadFrequently: true });
          brush.drawImage(canvas, 0, 0);
          const { data } = brush.getImageData(0, 0, canvas.width, canvas.height);
          return places.map(([x, y]) => {
            const at = 4 * (Math.floor(y * canvas.height) * canvas.width + Math.floor(x * canvas.width));
            return Math.max(...data.slice(at, at + 3)) - Math.min(...data.slice(at, at + 3));
          });
        }""",
        [[(i % width + 0.5) / width, (i // width + 0.5) / height] for i in low],
    )
    for i, chroma in zip(low, chromas, strict=True):
        # The greyed image has no colour, and the colours of low values have a chroma of at most 70.
        assert chroma <= 70 * 0.9 * 1.5 * shares[i] + 3


def test_a_saved_heatmap_says_what_it_is(anywhere: Reader) -> None:
    anywhere.go("#/i/p0", "ambra")
    anywhere.show(".heatmaps")

    def caption() -> PILImage.Image:
        with anywhere.page.expect_download() as found:
            anywhere.page.locator(".heatmap .save").first.click()
        with PILImage.open(found.value.path()) as image:
            width, height = image.size
            # The map is square: what is below it are the lines and the colour bar.
            assert 1.1 * width < height < 1.4 * width
            return image.convert("RGB").crop((0, width, width, height))

    cells = caption()
    assert len(cells.getcolors(1 << 20) or []) > 150
    anywhere.page.get_by_role("button", name="Smooth").click()
    anywhere.wait("document.querySelector('.heatmap canvas.smooth')")
    # It says that it is interpolated.
    assert caption().tobytes() != cells.tobytes()


def test_a_curve_of_zeros_begins_at_zero(opened: Opened) -> None:
    def edit(train: dict[str, Any]) -> None:
        for layer in train["layers"].values():
            layer["dead"] = [0.0] * len(layer["step"])
        train["recipe"] = {"learning": "cross-entropy with label smoothing 0.1"}

    reader = opened("#/train", training=edit)
    chart = reader.page.locator(".chart:not(.strips)", has_text="share of dead units").first
    ticks = chart.locator("svg .tick[text-anchor=end]").evaluate_all("all => all.map((one) => one.textContent)")
    assert ticks[0] == "0"
    assert not any("−" in text for text in ticks)
    assert "it may be the lower of the two" in reader.page.locator("main").inner_text()
    reader.close()


def test_numbers_below_class_patterns_are_all_logits(reader: Reader) -> None:
    notes = reader.page.locator("#classes .caption .note:not(.warn)").all_inner_texts()
    assert notes
    assert all(text[0] in "+−" for text in notes)


def test_the_weights_of_another_layer_lead_to_the_first_convolution(anywhere: Reader) -> None:
    anywhere.go("#/l/stages.1?lens=weights", "stages.1")
    anywhere.page.get_by_role("link", name="Weights of stem.conv").click()
    anywhere.wait("document.querySelector('main h1')?.textContent === 'stem.conv'")
    anywhere.page.locator("main .tiles ins-tile").first.wait_for()


def test_a_verdict_stands_with_its_meaning_and_its_comparisons(opened: Opened) -> None:
    def edit(trust: dict[str, Any]) -> None:
        trust["methods"]["grad-cam"]["tests"] = [
            ["an edge map", "better"],
            ["chance", "open"],
            ["a random map", "worse"],
        ]

    reader = opened("#/i/p0", trust=edit)
    shown = reader.page.locator(".heatmap[data-method=grad-cam] .standing")
    assert "better than everything it was compared with" in shown.locator(".badges").inner_text()
    rows = [text.split() for text in shown.locator("li").all_inner_texts()]
    assert [row[0] for row in rows] == ["✓", "?", "✗"]
    assert "worse than a random map" in " ".join(shown.locator("li").last.evaluate("one => one.textContent").split())
    reader.close()
