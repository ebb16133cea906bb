"""Heatmaps on the page: which comes first and why, contours, and the most important part alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
from browser import Opened, Reader

pytestmark = pytest.mark.browser
METHODS = "all => all.map((one) => one.dataset.method)"


def test_the_map_whose_top_costs_most_comes_first_and_says_so(anywhere: Reader) -> None:
    page = anywhere.page
    assert page.locator("#heatmaps .heatmap").evaluate_all(METHODS) == ["occlusion", "gradient"] * 2
    note = page.locator("#heatmaps .chosen").first.inner_text()
    assert note == (
        "Occlusion comes first: without its top 20% the score falls by 6.1 of 6.5 logits, without the same shape "
        "elsewhere by 0.3 (Gradient × input 2.3 against 0.3, Grad-CAM 0.05 against 0.3)."
    )
    anywhere.go("#/i/p0", "ambra")
    shown = page.locator(".heatmap:not(.none)")
    assert shown.evaluate_all(METHODS) == ["occlusion", "gradient", "grad-cam"]
    assert [text.split(" logits")[0] for text in page.locator(".removal").all_inner_texts()] == [
        "−6.1", "−2.3", "no better than chance here −0.05",
    ]  # fmt: skip


def test_where_no_map_beats_chance_none_is_praised(opened: Opened) -> None:
    def edit(heatmaps: dict[str, Any]) -> None:
        for entry in heatmaps["entries"]:
            if entry["removal"]:
                entry["removal"] = {**entry["removal"], "lost": -0.2 if entry["method"] == "gradient" else 0.1}

    reader = opened(heatmaps=edit)
    note = reader.page.locator("#heatmaps .chosen").first.inner_text()
    assert note.startswith("No method found what the score depends on")
    assert "comes first" not in note
    assert "Gradient × input −0.2" in note
    reader.close()


def test_a_study_of_an_earlier_version_has_no_numbers_and_no_reason(opened: Opened) -> None:
    def edit(heatmaps: dict[str, Any]) -> None:
        for entry in heatmaps["entries"]:
            del entry["removal"]

    reader = opened(heatmaps=edit)
    assert reader.page.locator("#heatmaps .chosen, #heatmaps .removal").count() == 0
    assert reader.page.locator("#heatmaps .heatmap").count() == 4
    reader.close()


def test_contours_follow_the_map_and_the_top_part_is_as_large_as_it_says(anywhere: Reader) -> None:
    anywhere.go("#/i/p0", "ambra")
    anywhere.show(".heatmaps")
    page = anywhere.page
    canvas = "document.querySelector('.heatmap[data-method=occlusion] canvas:not([hidden])')"
    before = page.evaluate(f"{canvas}.toDataURL()")
    page.get_by_role("button", name="Contours").click()
    anywhere.wait(f"before => {canvas}.toDataURL() !== before", before)
    assert page.get_by_text("Lines at a quarter, a half").is_visible()
    # The line at three quarters of the scale is opaque: a ring around the blob at (0.5, 0.3).
    ring = page.evaluate(f"""() => {{
      const canvas = {canvas};
      const {{ data }} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const found = [];
      for (let i = 0; i < data.length; i += 4) {{
        if (data[i] === 0xe0 && data[i + 1] === 0x25 && data[i + 2] === 0x2b) {{
          found.push([(i / 4) % canvas.width / canvas.width, Math.floor(i / 4 / canvas.width) / canvas.height]);
        }}
      }}
      return found;
    }}""")
    # exp(-12 r²) is 0.75 at r = 0.155, in cells of a twelfth whose centres lie on a grid of eleven.
    distances = [math.hypot((x * 12 - 0.5) / 11 - 0.5, (y * 12 - 0.5) / 11 - 0.3) for x, y in ring]
    assert len(distances) > 100
    assert max(abs(distance - 0.155) for distance in distances) < 0.03
    page.get_by_role("button", name="Top part").click()
    part = page.get_by_label("Part")
    shares = []
    for share in ("0.05", "0.2", "0.5"):
        last = page.evaluate(f"{canvas}.toDataURL()")
        part.select_option(share)
        if share != "0.2":
            anywhere.wait(f"last => {canvas}.toDataURL() !== last", last)
        page.wait_for_timeout(200)
        shares.append(
            page.evaluate(f"""() => {{
          const canvas = {canvas};
          const {{ data }} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let light = 0;
          for (let i = 0; i < data.length; i += 4) light += Math.max(data[i], data[i + 1], data[i + 2]) > 75;
          return light / (data.length / 4);
        }}""")
        )
    assert shares == sorted(shares)
    assert shares[0] < 0.12
    assert shares[2] < 0.62
