"""The matrix: pinned units by images, one location in every row at once, and the units it suggests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser import Reader
from PIL import Image as PILImage
from web_fixture import HOSTILE_NAME, SIDE

ADDRESS = "#/x?units=stem.conv:4,stages.1:7,stages.2:5&imgs=p0,p1"
BOX = """selector => {
  const [box, area] = [selector, ".matrix-row:nth-child(3) .matrix-cell .probe"].map(
    (one) => document.querySelector(one).getBoundingClientRect());
  return [box.left - area.left, box.top - area.top, box.width, box.height].map((length) => length / area.width);
}"""


def document(study: Path, name: str) -> dict:
    return json.loads((study / "web" / "documents" / "layer" / f"{name}.json").read_text())


@pytest.mark.browser
def test_a_place_shows_its_value_and_field_in_every_row(anywhere: Reader, study: Path) -> None:
    anywhere.go(ADDRESS, "Units side by side")
    assert anywhere.page.locator(".matrix-row").count() == 4
    area = anywhere.page.locator(".matrix-row:nth-child(3) .matrix-cell .probe").first
    area.scroll_into_view_if_needed()
    bounds = area.bounding_box()
    assert bounds
    # In the cell (5, 3) of the 12 x 12 cells of stages.1.
    area.hover(position={"x": bounds["width"] * 5.6 / 12, "y": bounds["height"] * 3.6 / 12})
    anywhere.wait("document.querySelectorAll('.matrix-value:not(:empty)').length === 3")
    values = anywhere.page.locator(".matrix-value:not(:empty)").all_inner_texts()
    share = (5.6 / 12, 3.6 / 12)
    for shown, (name, unit) in zip(values, (("stem.conv", 4), ("stages.1", 7), ("stages.2", 5)), strict=True):
        layer = document(study, name)
        maps, side = layer["activations"]["p0"], layer["grid"][0]
        sheet = maps["sheet"]
        place = unit % sheet["per_file"]
        x = place % sheet["columns"] * side + int(share[0] * side)
        y = place // sheet["columns"] * side + int(share[1] * side)
        level = PILImage.open(study / "web" / "files" / sheet["files"][unit // sheet["per_file"]]).getpixel((x, y))
        assert isinstance(level, int)
        value = maps["lo"][unit] + (maps["hi"][unit] - maps["lo"][unit]) * level / 255
        assert float(shown.replace("−", "-")) == pytest.approx(value, rel=0.006, abs=1e-6), name
    # The field of that place by arithmetic: its middle is half a pixel right of 5 strides, cut at the border.
    field = document(study, "stages.1")["field"]
    size, stride = field["size"][0], field["stride"][0]
    left, top = (0.5 + at * stride - size / 2 for at in (5, 3))
    expected = [left, top, left + size, top + size]
    found = anywhere.page.evaluate(BOX, ".matrix-row:nth-child(3) .matrix-cell .field-box.whole")
    found = [SIDE * found[0], SIDE * found[1], SIDE * (found[0] + found[2]), SIDE * (found[1] + found[3])]
    assert found == pytest.approx([max(0, edge) for edge in expected], abs=0.7)
    assert anywhere.page.locator(".matrix-head .field-box.whole:not([hidden])").count() == 1
    assert "receptive field x" in anywhere.page.locator(".matrix-readout").inner_text()


@pytest.mark.browser
def test_arrow_keys_move_by_cells_of_the_row(anywhere: Reader) -> None:
    anywhere.go(ADDRESS, "Units side by side")
    anywhere.page.locator(".matrix-row:nth-child(4) .probe").nth(1).focus()
    anywhere.page.keyboard.press("ArrowRight")
    anywhere.wait(
        "text => document.querySelector('.matrix-readout').textContent.includes(text)", "x 240–300, y 180–240 px"
    )
    anywhere.page.keyboard.press("ArrowLeft")
    anywhere.wait(
        "text => document.querySelector('.matrix-readout').textContent.includes(text)", "x 180–240, y 180–240 px"
    )
    assert HOSTILE_NAME in anywhere.page.locator(".matrix-readout").inner_text()
    assert anywhere.page.locator(".matrix-value:not(:empty)").count() == 3


@pytest.mark.browser
def test_units_are_suggested_and_pinned_with_one_click(anywhere: Reader, study: Path) -> None:
    anywhere.go("#/x", "Units side by side")
    best = {name: document(study, name)["compare"]["rank"][0]["unit"] for name in ("stem.conv", "stages.1")}
    anywhere.page.get_by_role("heading", name="Units that respond to the same thing in both images").wait_for()
    anywhere.page.get_by_role("button", name="Pin these 6").click()
    anywhere.page.wait_for_selector(".matrix-row")
    addresses = anywhere.page.evaluate(
        "[...document.querySelectorAll('.matrix-row[data-address]')].map((row) => row.dataset.address)"
    )
    assert len(addresses) == 6
    assert {f"{name}:{unit}" for name, unit in best.items()} <= set(addresses)
    assert anywhere.page.locator("#tray .chip").count() == 6
    hash_ = anywhere.page.evaluate("location.hash")
    assert f"units={','.join(addresses)}" in hash_
    assert f"pins={','.join(addresses)}" in hash_


@pytest.mark.browser
def test_rows_and_images_are_taken_out_and_put_in(anywhere: Reader) -> None:
    anywhere.go(ADDRESS, "Units side by side")
    anywhere.page.get_by_role("button", name="Remove stages.1:7").click()
    assert anywhere.page.locator(".matrix-row[data-address]").count() == 2
    anywhere.page.get_by_role("group", name="Images").get_by_role("button", name=HOSTILE_NAME).click()
    assert anywhere.page.locator(".matrix-head .matrix-image").count() == 1
    assert "imgs=p0" in anywhere.page.evaluate("location.hash")
    anywhere.page.get_by_role("button", name="Map", exact=True).click()
    assert "view=map" in anywhere.page.evaluate("location.hash")


@pytest.mark.browser
def test_what_cannot_be_shown_says_why(reader: Reader) -> None:
    reader.go("#/x?units=nope:1,stem.conv:99,odd", "Units side by side")
    text = reader.page.locator(".matrix").inner_text()
    for why in ("The layer nope was not computed", "has the units 0 to 31", "odd is not the address of a unit"):
        assert why in text
