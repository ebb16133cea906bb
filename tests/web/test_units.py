"""Pages of units, images, classes and of the training: every panel with its numbers, or the reason it is empty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser import Reader
from web_fixture import HOSTILE_LABEL


def document(study: Path, key: str) -> dict:
    return json.loads((study / "web" / "documents" / f"{key}.json").read_text())


@pytest.mark.browser
def test_a_unit_shows_seeds_negative_examples_classes_and_causes(anywhere: Reader, study: Path) -> None:
    anywhere.go("#/l/stages.1/u/2", "Unit 2")
    page = anywhere.page
    for heading in ("Another seed", "Inhibiting pattern", "Highest", "Intermediate", "Lowest"):
        assert page.get_by_role("heading", name=heading, exact=True).count() == 1, heading
    assert page.locator(".examples li").count() == 12
    layer = document(study, "layer/stages.1")
    bars = page.get_by_role("list", name="Mean peak activation by class").locator("li")
    assert bars.count() == len(layer["scan"]["classes"][2])
    assert bars.first.inner_text().startswith(layer["scan"]["classes"][2][0][0])
    change = layer["ablation"]["own"]["p1"]["change"][2]
    shown = page.get_by_role("list", name="Change when ablated").locator("li").nth(1).inner_text()
    assert HOSTILE_LABEL in shown
    value = float(shown.split("\n")[-1].replace("−", "-").replace("+", ""))
    assert value == pytest.approx(change, rel=0.006)
    before = page.get_by_role("list", name="From stages.0, by attribution")
    assert before.locator("li").count() == 4
    assert before.locator("li").first.inner_text().split("\n")[0] == "stages.0:2"
    assert "40" in before.locator("li").first.inner_text()
    to = page.get_by_role("list", name="To the classes, by attribution").locator("a.bar-label").first
    assert to.get_attribute("href") == "#/c/2"
    assert page.get_by_text("<i>one</i> note.").count() == 1
    assert page.locator("main .empty").count() == 0
    anywhere.go("#/l/stages.1/u/40", "Unit 40")
    assert "were not cut out" in page.locator("main .empty").first.inner_text()
    # In a report the page gives the commands; in the app whose study holds no values it says why nothing is computed.
    if "file:" in page.url:
        assert "innersight report STUDY --unit stages.1:40" in page.locator("main .empty").first.inner_text()
    else:
        anywhere.wait("() => document.querySelector('main .empty .offer-row')?.textContent.includes('only the pages')")


@pytest.mark.browser
def test_examples_are_dark_where_the_unit_does_not_respond(anywhere: Reader) -> None:
    anywhere.go("#/l/stages.1/u/2", "Unit 2")
    anywhere.show(".bands")
    mean = """() => { const canvas = document.querySelector(".examples canvas");
      // Chromium warns of canvases that are read twice, unless they say so at first.
      const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
      const context = copy.getContext("2d", { willReadFrequently: true });
      context.drawImage(canvas, 0, 0);
      const { data } = context.getImageData(0, 0, copy.width, copy.height);
      return data.reduce((sum, byte) => sum + byte, 0) / data.length; }"""
    masked = anywhere.page.evaluate(mean)
    anywhere.page.get_by_role("button", name="Crop", exact=True).click()
    anywhere.show(".bands")
    assert masked < 0.9 * anywhere.page.evaluate(mean)
    # The whole image, of its own shape, with a white frame around the crop; the address keeps the choice.
    anywhere.page.get_by_role("button", name="Whole image").click()
    anywhere.show(".bands")
    assert "crops=whole" in anywhere.page.url
    shapes = "[...document.querySelectorAll('.examples canvas')].slice(0, 2).map((one) => [one.width, one.height])"
    assert anywhere.page.evaluate(shapes) == [[96, 96], [96, 72]]
    frame = """() => { const canvas = document.querySelector(".examples canvas");
      const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
      const context = copy.getContext("2d", { willReadFrequently: true });
      context.drawImage(canvas, 0, 0);
      return [...context.getImageData(14 + 2, 26 + 20, 1, 1).data]; }"""
    assert anywhere.page.evaluate(frame) == [255, 255, 255, 255]


@pytest.mark.browser
def test_examples_of_one_class(anywhere: Reader) -> None:
    anywhere.go("#/l/stages.1/u/0", "Unit 0")
    page = anywhere.page
    chosen = page.get_by_role("combobox", name="Class")
    assert page.locator(".examples li").count() == 12
    # Of the examples of all classes those of one.
    chosen.select_option(HOSTILE_LABEL)
    assert page.locator(".examples li").count() == 6
    assert page.get_by_text(f"These are the examples of all classes that are of {HOSTILE_LABEL}.").count() == 1
    # Those that were looked for among the images of a class.
    chosen.select_option("1")
    assert page.locator(".examples li").all_inner_texts()[0].split("\n")[-1] == "asked.png"
    assert page.get_by_text("The highest among 128 of 300 scanned images").count() == 1
    assert "class=1" in page.url
    chosen.select_option("2")
    assert page.locator(".examples li").count() == 0
    assert "None of the examples" in page.locator("[data-asked='2']").inner_text()
    page.reload()
    anywhere.ready()
    assert page.get_by_role("combobox", name="Class").input_value() == "2"
    assert anywhere.overflow() <= 0


@pytest.mark.browser
def test_examples_of_a_layer_as_whole_images(anywhere: Reader) -> None:
    anywhere.go("#/l/stages.1?lens=examples", "stages.1")
    page = anywhere.page
    assert page.locator(".example-units > li").count() == 12
    page.get_by_role("button", name="Whole image").click()
    anywhere.show(".example-units")
    shapes = "[...document.querySelectorAll('.example-units canvas')].slice(0, 2).map((one) => [one.width, one.height])"
    assert page.evaluate(shapes) == [[96, 96], [96, 72]]
    assert "crops=whole" in page.url
    page.get_by_label("Sort").select_option("number")
    assert page.get_by_role("button", name="Whole image").get_attribute("aria-pressed") == "true"


@pytest.mark.browser
def test_bars_that_name_units_show_them(anywhere: Reader) -> None:
    page = anywhere.page
    shows = "selector => [...document.querySelectorAll(`${selector} .thumb`)].map((one) => one.dataset.shows)"
    # The map of the image at hand comes first.
    anywhere.go("#/i/p0", "ambra at the beach.png")
    bars = "[aria-label='Units this prediction depends on']"
    anywhere.wait(f'() => ({shows})("{bars}").every(Boolean)')
    first = page.evaluate(shows, bars)
    assert len(first) == 10
    assert set(first) <= {"activation map over this image", "pattern"}
    assert "activation map over this image" in first
    _, drawn = anywhere.show(bars)
    assert drawn > 0
    # Where no image is at hand, the pattern; of an image, what the network sees.
    anywhere.go("#/l/stages.1/u/2", "Unit 2")
    anywhere.wait(
        f"() => ({shows})(\"[aria-label='From stages.0, by attribution']\").every((one) => one === 'pattern')"
    )
    assert page.locator("[aria-label='Change when ablated'] .thumb ins-tile").count() == 2


@pytest.mark.browser
def test_an_image_explains_one_class_at_a_time(anywhere: Reader, study: Path) -> None:
    anywhere.go("#/i/p0", "ambra")
    page = anywhere.page
    rival = document(study, "study")["images"][0]["prediction"][1]["label"]
    methods = "[...document.querySelectorAll('.heatmap')].map((figure) => figure.dataset.method ?? 'none')"
    assert page.evaluate(methods) == ["occlusion", "gradient", "grad-cam", "none"]
    assert page.locator(".heatmap .verdict").count() == 1
    page.get_by_role("button", name=f"ambra vs {rival}").click()
    assert page.evaluate(methods) == ["grad-cam"]
    assert f"vs {rival}" in page.locator(".group h3").first.inner_text()
    address = page.evaluate("location.hash")
    page.reload()
    anywhere.ready()
    assert page.evaluate("location.hash") == address
    assert page.evaluate(methods) == ["grad-cam"]
    page.get_by_role("button", name="Image", exact=True).click()
    depends = page.get_by_role("list", name="Units this prediction depends on").locator("li")
    own = {
        f"{name}:{unit}": value
        for name in ("stages.1", "stages.2")
        for unit, value in enumerate(document(study, f"layer/{name}")["ablation"]["own"]["p0"]["change"])
    }
    assert depends.first.inner_text().startswith(min(own, key=own.__getitem__))


@pytest.mark.browser
def test_a_class_shows_its_units_its_confusions_and_the_mean_heatmap(anywhere: Reader, study: Path) -> None:
    anywhere.go("#/c/0", "ambra")
    page = anywhere.page
    confusion = document(study, "training")["metrics"]["confusion"]
    labels = document(study, "study")["model"]["labels"]
    worst = max(range(1, len(labels)), key=lambda other: (confusion[0][other], -other))
    terms = page.locator(".facts > div", has_text="ambra predicted as").inner_text()
    assert f"{labels[worst]} ({confusion[0][worst]})" in terms
    assert page.get_by_role("list", name="Units this class depends on").locator("li").count() == 12
    page.wait_for_selector(".average")
    assert anywhere.show(".average") == [1, 1]
    page.get_by_role("group", name="Method").get_by_role("button", name="Occlusion").click()
    page.get_by_text("mean of Occlusion over 1 image").wait_for()
    images = {row["id"]: row for row in document(study, "study")["images"]}
    shown = {
        address
        for figure in page.locator("main .strip figure").all()
        if (address := figure.get_attribute("data-address"))
    }
    # Those of the class and those predicted as it, and no others.
    assert shown == {
        id for id, row in images.items() if row["prediction"][0]["class"] == 0 or row["truth"] in (None, "ambra")
    }


@pytest.mark.browser
def test_one_slider_sets_the_step_of_every_chart(anywhere: Reader, study: Path) -> None:
    anywhere.go("#/train", "was trained")
    page = anywhere.page
    train = document(study, "training")
    page.get_by_label("Training step").fill("3")
    assert page.locator(".clock-step", has_text="step").inner_text() == "step 60 of 580"
    loss = train["scalars"]["val/loss"]["value"][3]
    shown = page.locator(".chart", has_text="Loss").first.locator(".key.s1").inner_text()
    assert float(shown.split()[-1]) == pytest.approx(loss, rel=0.006)
    strips = page.locator(".chart.strips", has_text="Update ratio")
    ratio = train["layers"]["stem.conv"]["update_ratio"][3]
    assert float(strips.locator("text.tick").nth(5).text_content() or "") == pytest.approx(ratio, rel=0.06)
    assert page.locator(".ridge.now").count() == 2
    where = page.locator(".ridge.now").first.evaluate(
        "(one) => [...one.parentNode.querySelectorAll('.ridge')].indexOf(one)"
    )
    page.get_by_label("Training step").fill("25")
    later = page.locator(".ridge.now").first.evaluate(
        "(one) => [...one.parentNode.querySelectorAll('.ridge')].indexOf(one)"
    )
    assert later > where


@pytest.mark.browser
def test_the_start_page_counts_what_is_missing_and_what_it_would_cost(anywhere: Reader) -> None:
    rows = anywhere.page.locator("table.computed tbody tr")
    texts = {row.get_attribute("data-what"): row.inner_text() for row in rows.all()}
    # 0.41 s for five layers and one layer without maps; 38.2 s for all patterns.
    assert "5 layers, 2 images" in texts["activations"]
    assert "1 layer\tless than a second for all" in texts["activations"]
    assert "38.2 s" in texts["patterns"]
    assert "4 layers, 400 scanned images" in texts["examples"]
    strip = anywhere.page.locator(".layer-strip li")
    assert strip.count() == 4
    assert "1 dead, 1 always active in 400 scanned images" in strip.first.inner_text()


@pytest.mark.browser
def test_every_heatmap_stands_beside_whether_it_can_be_trusted(anywhere: Reader) -> None:
    anywhere.go("#/i/p0", "ambra")
    page = anywhere.page
    assert (
        page.get_by_role("note")
        .filter(has_text="Can these heatmaps be trusted? On toy, grad-cam may be believed")
        .count()
        == 1
    )
    badges = page.locator(".heatmap .badges")
    assert {text.split(" ")[0].strip() for text in badges.all_inner_texts()} == {"trusted", "doubtful"}
    assert "better than <b>chance</b>" in page.locator(".heatmap[data-method=grad-cam] .standing").inner_text()


@pytest.mark.browser
def test_a_pattern_is_shown_as_it_arose(anywhere: Reader) -> None:
    anywhere.go("#/l/stages.1/u/2", "Unit 2")
    page = anywhere.page
    pattern = page.locator(".unit-pattern .growing").first
    slider = pattern.get_by_role("slider")
    # Another pattern of the layer took 128.
    assert pattern.locator("output").inner_text() == "finished after 64 updates"
    assert pattern.locator("ins-tile").is_visible()
    mean = """canvas => { const { width, height } = canvas;
      const copy = Object.assign(document.createElement("canvas"), { width, height });
      const context = copy.getContext("2d", { willReadFrequently: true });
      context.drawImage(canvas, 0, 0);
      const { data } = context.getImageData(0, 0, copy.width, copy.height);
      return data.reduce((sum, byte, i) => sum + (i % 4 === 3 ? 0 : byte), 0) / data.length; }"""
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert pattern.locator("output").inner_text() == "after 8 updates"
    assert not pattern.locator("ins-tile").is_visible()
    drawn = pattern.locator("> canvas")
    page.wait_for_function(
        "canvas => canvas.width === 96 || canvas.width > 1 && canvas.width !== 300", arg=drawn.element_handle()
    )
    dark = drawn.evaluate(mean)
    page.keyboard.press("Home")
    assert pattern.locator("output").inner_text() == "random pixels"
    page.wait_for_timeout(200)
    assert drawn.evaluate(mean) > 1.2 * dark
    pattern.get_by_role("button", name="Play how it arose").click()
    page.wait_for_function(
        "output => output.textContent.startsWith('finished')", arg=pattern.locator("output").element_handle()
    )
    assert pattern.get_by_role("button", name="Play how it arose").is_visible()
