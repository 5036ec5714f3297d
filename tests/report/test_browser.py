"""The report in a real browser: Debian's chromium without a screen, driven by playwright."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cmad.calibrate import Calibration
from cmad.report.page import Part
from cmad.report.page.rows import counts

_spec = importlib.util.spec_from_file_location(
    "pages_for_tests", Path(__file__).parent / "pages.py"
)
made_up = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made_up)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytest.importorskip("jinja2", reason="the report needs Jinja2, the extra report")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # What playwright's own event loop leaves open.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]
SOFTWARE = ["--no-sandbox", "--enable-unsafe-swiftshader"]
WITHOUT_WEBGL = ["--no-sandbox", "--disable-gpu", "--disable-3d-apis"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("a report é") / "Bericht <1>.html"
    made_up.written(path, made_up.group(), other())
    return path


def other():
    """A second category, without calibration."""
    group = made_up.group(None, made=[Part("b/0", 5.0, **made_up.sample(mark=(9, 9)))])
    group.about = type(group.about)("second")
    return group


@pytest.fixture(scope="module", params=["webgl", "canvas"])
def browser(request):
    with sync_api.sync_playwright() as playwright:
        arguments = SOFTWARE if request.param == "webgl" else WITHOUT_WEBGL
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        browser.way = request.param
        yield browser
        browser.close()


@pytest.fixture
def tab(browser, report):
    """The page, opened; at the end nothing has been complained of and nothing was fetched."""
    tab = browser.new_page(viewport={"width": 1300, "height": 900})
    wrong, fetched = [], []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    tab.on("request", lambda asked: fetched.append(asked.url))
    tab.goto(report.as_uri())
    tab.wait_for_selector("html[data-ready]")
    yield tab
    tab.close()
    assert wrong == []
    assert [url for url in fetched if not url.startswith(("file:", "data:", "blob:"))] == []


def names(tab):
    """The parts in the table, as they are shown."""
    return tab.locator("#parts tbody tr:not([hidden]) td.part a").all_inner_texts()


def tiles(tab):
    return {
        tile.get_attribute("data-v"): int(tile.locator("b").inner_text())
        for tile in tab.locator(".tile").all()
    }


def threshold(tab, value):
    tab.fill("#value", str(value))


def opened(tab, name):
    tab.locator("#parts tbody a", has_text=name).first.click()
    tab.wait_for_function("() => opened && opened.places")


def picture(tab, canvas):
    """What a canvas shows, as a list of numbers."""
    tab.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    return tab.evaluate(f"() => document.querySelector('{canvas}').toDataURL()")


def test_the_worst_parts_come_first_and_counts_are_those_of_python(tab):
    assert names(tab)[:2] == [made_up.NASTY, made_up.ACCENTS]
    assert names(tab)[-1] in ("good/a", "missed")
    want = counts(made_up.group().rows, 0.88)
    assert tiles(tab) == {name: want[name] for name in tiles(tab)}
    assert set(tiles(tab)) == {"rejected", "accepted", "not inspected", "not scored"}


@pytest.mark.parametrize("value", [0.55, 0.65, 0.7, 0.88, 0.89, 2.0])
def test_a_moved_threshold_gives_pythons_counts_and_rate(tab, value):
    threshold(tab, value)
    want = counts(made_up.group().rows, value)
    assert {name: n for name, n in tiles(tab).items() if n} == {
        name: want[name]
        for name in ("rejected", "accepted", "not inspected", "not scored")
        if want[name]
    }
    wrong = tab.inner_text("#wrong")
    assert f"Missed {want['missed']} of {want['defective']} defective" in wrong
    assert f"Rejected {want['false rejects']} of {want['good']} good" in wrong
    rate = made_up.CALIBRATION.reject_rate(value)
    got = tab.evaluate("(at) => rateAt(record.groups[0].rates, at)", value)
    assert got == {n: getattr(rate, n) for n in ("above", "parts", "at_most", "low", "high")}
    assert f"{rate.above} of 20 calibration parts" in tab.inner_text("#rate")
    rejected = [t for t in tab.locator("#parts .v").all_inner_texts() if t == "rejected"]
    assert len(rejected) == want["rejected"]
    assert tab.is_disabled("#reset") == (value == 0.88)
    if value != 0.88:
        tab.click("#reset")
    assert tiles(tab)["rejected"] == 2


def test_the_slider_moves_the_threshold_by_keys(tab):
    tab.focus("#threshold")
    for _ in range(5):
        tab.keyboard.press("PageUp")
    assert float(tab.input_value("#value")) > 0.9
    assert tiles(tab)["rejected"] < 2


def test_the_table_sorts(tab):
    tab.click("#parts th button[data-key=score]")
    assert names(tab)[:2] == [made_up.NASTY, made_up.ACCENTS]
    assert names(tab)[-1] == "broken"  # unknown ones last, either way
    tab.click("#parts th button[data-key=score]")
    assert names(tab)[0] == "good/a"
    assert names(tab)[-1] == "broken"
    heads = tab.locator("#parts th[aria-sort=ascending]").all_inner_texts()
    assert [head.strip(" ↑") for head in heads] == ["Score"]
    for key, first in (
        ("area", made_up.NASTY),
        ("p", made_up.NASTY),
        ("modality", made_up.ACCENTS),
    ):
        tab.click(f"#parts th button[data-key={key}]")
        assert names(tab)[0] == first
    tab.click("#parts th button[data-key=name]")
    assert names(tab)[0] == made_up.NASTY


@pytest.mark.parametrize(
    ("field", "value", "want"),
    [
        ("#f-name", "GOOD", ["good/a"]),
        ("#f-score-low", "0.8", [made_up.NASTY, made_up.ACCENTS]),
        ("#f-score-high", "0.62", ["good/a"]),
        ("#f-p-high", "0.05", [made_up.NASTY, made_up.ACCENTS]),
        ("#f-p-low", "0.7", ["good/a"]),
        ("#f-area-low", "10", [made_up.NASTY]),
        ("#f-area-high", "10", [made_up.ACCENTS]),
    ],
)
def test_the_table_filters_by_text_and_numbers(tab, field, value, want):
    tab.fill(field, value)
    assert names(tab) == want
    assert tab.inner_text("#shown") == f"{len(want)} of 6"
    tab.click("#clear")
    tab.wait_for_function("() => document.querySelector('#shown').textContent === '6'")


@pytest.mark.parametrize(
    ("field", "value", "want"),
    [
        ("#f-verdict", "not inspected", ["unseen"]),
        ("#f-verdict", "not scored", ["broken"]),
        ("#f-modality", "2d", [made_up.ACCENTS]),
        ("#f-truth", "hole", [made_up.NASTY]),
        ("#f-truth", "= wrong", [made_up.ACCENTS, "missed"]),
    ],
)
def test_the_table_filters_by_choice(tab, field, value, want):
    tab.select_option(field, value)
    assert names(tab) == want


def test_a_tile_filters_by_its_verdict(tab):
    tab.click(".tile[data-v=rejected]")
    assert names(tab) == [made_up.NASTY, made_up.ACCENTS]
    tab.click(".tile[data-v=rejected]")
    assert len(names(tab)) == 6


def test_a_part_is_opened_with_its_verdict_numbers_and_pictures(tab):
    opened(tab, made_up.NASTY)
    assert tab.inner_text("#headline").lower() == "rejected"
    assert tab.inner_text("#part-name") == made_up.NASTY
    facts = tab.inner_text("#facts")
    assert "score 1.5 > threshold 0.88" in facts
    assert "p-value 0.048" in facts
    assert "1 region" in facts
    assert "35 mm²" in facts
    assert tab.inner_text("#found") == "Truth: hole – found"
    [row] = tab.locator("#regions tbody tr").all()
    said = row.locator("td").all_inner_texts()
    assert said[:7] == ["1", "35", "35", "1.76", "× 2.00", "3d", "20, 30 – 25, 37"]
    assert said[7] == "33.0, 22.0, 500.0"
    marked = tab.evaluate("() => opened.codes.filter((code) => code > 127).length")
    assert marked == 35
    assert tab.evaluate("() => opened.bits.filter((bit) => bit).length") == 35
    for canvas in ("#view-map", "#view-rgb", "#view-depth", "#view-cloud"):
        colours = tab.evaluate(COLOURS, picture(tab, canvas))
        assert colours > 20, canvas


COLOURS = """async (url) => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: 80, height: 60 });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, 80, 60);
  return new Set(new Uint32Array(context.getImageData(0, 0, 80, 60).data.buffer)).size;
}"""


def test_a_part_that_is_rejected_for_another_place_than_its_defect_is_said_to_be(browser, tmp_path):
    arrays = made_up.sample(mark=(20, 30))
    arrays["mask"] = np.roll(arrays["mask"], 12, axis=1)
    part = Part("a", 1.5, 0.05, (made_up.region(),), defect="hole", **arrays)
    path = tmp_path / "r.html"
    made_up.written(path, made_up.group(made=[part]))
    tab = browser.new_page()
    tab.goto(path.as_uri() + "#part=0")
    tab.wait_for_function("() => opened && opened.places")
    assert tab.inner_text("#found") == "Truth: hole – rejected, but no region lies on it"
    tab.close()


def test_points_are_where_they_were_measured(tab):
    opened(tab, made_up.NASTY)
    got = np.array(
        tab.evaluate(
            """() => {
              const [height, width] = opened.cloud.size;
              const n = height * width;
              return [...opened.pixels].map((i) =>
                [0, 1, 2].map((a) =>
                  opened.points[a * n + i] * opened.cloud.unit + opened.cloud.origin[a]));
            }"""
        )
    )
    want = made_up.sample(mark=(20, 30))["xyz"][4:].reshape(-1, 3)
    assert np.abs(got - want).max() < 1e-5


def test_the_cloud_turns_zooms_and_comes_back(tab, browser):
    opened(tab, made_up.NASTY)
    assert tab.evaluate("() => Boolean(cloud.gl)") == (browser.way == "webgl")
    canvas = "#view-cloud"
    seen = [picture(tab, canvas)]
    tab.keyboard.press("c")
    for key in ("ArrowLeft", "ArrowUp", "+", "Shift+ArrowRight"):
        tab.keyboard.press(key)
        seen.append(picture(tab, canvas))
    tab.keyboard.press("0")
    assert picture(tab, canvas) == seen[0]
    box = tab.locator(canvas).bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(*middle)
    tab.mouse.down()
    tab.mouse.move(middle[0] + 60, middle[1] + 30)
    tab.mouse.up()
    seen.append(picture(tab, canvas))
    tab.mouse.wheel(0, -300)
    tab.wait_for_function("() => cloud.view.zoom > 1.2")
    seen.append(picture(tab, canvas))
    assert len(set(seen)) == len(seen)
    assert tab.evaluate("() => state.open") == 1  # the arrows turned it and went to no other part


def test_the_map_is_shown_as_much_as_the_slider_says(tab):
    opened(tab, made_up.NASTY)
    tab.uncheck("#outlines")
    before, turned = picture(tab, "#view-map"), picture(tab, "#view-cloud")
    tab.evaluate(
        "() => { const s = document.querySelector('#opacity'); s.value = 0;"
        " s.dispatchEvent(new Event('input')); }"
    )
    assert tab.inner_text("#opacity-value") == "0 %"
    assert picture(tab, "#view-map") == picture(tab, "#view-rgb") != before
    assert picture(tab, "#view-cloud") != turned
    tab.select_option("#base", "depth")
    assert picture(tab, "#view-map") == picture(tab, "#view-depth")


def test_a_region_that_is_chosen_is_looked_at_closely(tab):
    opened(tab, made_up.NASTY)
    before = picture(tab, "#view-rgb"), picture(tab, "#view-cloud")
    tab.focus("#regions tbody tr")
    tab.keyboard.press("Enter")
    closer = picture(tab, "#view-rgb"), picture(tab, "#view-cloud")
    assert all(a != b for a, b in zip(before, closer, strict=True))
    tab.keyboard.press("Escape")
    assert tab.evaluate("() => [look.focus, state.open]") == [None, 1]


def test_it_works_by_keys_alone(tab):
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    tab.keyboard.press("Enter")
    tab.wait_for_function("() => opened")
    assert tab.inner_text("#part-name") == made_up.ACCENTS
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_function("() => state.open === 1")
    assert tab.inner_text("#position") == "1 of 6"
    tab.keyboard.press("Escape")
    tab.wait_for_selector("#overview:not([hidden])")
    assert tab.evaluate("() => document.activeElement.textContent") == made_up.NASTY
    tab.keyboard.press("/")
    tab.keyboard.type("missed")
    assert names(tab) == ["missed"]
    tab.keyboard.press("Escape")
    tab.keyboard.press("?")
    assert tab.locator("#help").is_visible()
    tab.keyboard.press("Escape")
    assert not tab.locator("#help").is_visible()


def test_a_part_says_what_is_missing_and_why_it_was_not_scored(tab):
    tab.locator("#parts tbody a", has_text="broken").click()
    tab.wait_for_selector("#view-rgb + .absent")
    assert "xyz has no valid point" in tab.inner_text("#facts")
    assert tab.inner_text("#view-cloud + .absent") == "There are no points of this part."
    tab.go_back()
    tab.locator("#parts tbody a", has_text="unseen").click()
    tab.wait_for_selector("#part-notes li")
    assert tab.inner_text("#part-notes") == "too little is seen"
    assert tab.inner_text("#headline").lower() == "not inspected"


def test_an_address_leads_to_a_part_and_a_wrong_one_to_all(tab, report):
    tab.goto(report.as_uri() + "#part=2")
    tab.reload()
    tab.wait_for_function("() => opened && opened.places")
    assert tab.inner_text("#part-name") == made_up.ACCENTS
    tab.goto(report.as_uri() + "#part=99")
    tab.wait_for_selector("#overview:not([hidden])")


def test_each_category_has_its_own_parts_and_threshold(tab):
    tab.select_option("#group", "1")
    assert names(tab) == ["b/0"]
    assert tiles(tab) == {"no verdict": 1}
    assert "Not calibrated" in tab.inner_text("#rate")
    threshold(tab, 4)
    assert tiles(tab)["rejected"] == 1
    assert "not known" in tab.inner_text("#rate")
    tab.select_option("#group", "0")
    assert tiles(tab)["rejected"] == 2
    assert float(tab.input_value("#value")) == 0.88


def test_light_dark_and_print_have_readable_colours(tab):
    def contrast(of):
        rgb = [
            [int(n) for n in re.findall(r"\d+", tab.evaluate(CSS, [of, name]))[:3]]
            for name in ("color", "background-color")
        ]
        light = [np.dot([0.2126, 0.7152, 0.0722], (np.array(c) / 255) ** 2.2) for c in rgb]
        return (max(light) + 0.05) / (min(light) + 0.05)

    for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "dark")):
        tab.emulate_media(media=media, color_scheme=scheme)
        for of in ("h1", ".v[data-v=rejected]", ".v[data-v=accepted]", ".top p", "#shown"):
            assert contrast(of) > 4.5, (media, scheme, of)
    assert not tab.locator("#filters").is_visible()
    assert tab.locator("#parts").is_visible()
    pages = len(re.findall(rb"/Type\s*/Page\b", tab.pdf(format="A4")))
    assert 1 <= pages <= 3


def printed(tab, tmp_path):
    """What the printer gets: text and pictures of each page, by poppler where it is there."""
    tab.wait_for_function("() => window.asked > 0")
    path = tmp_path / "printed.pdf"
    tab.pdf(path=path, format="A4")
    assert tab.locator("#sheets > *").count() == 0  # gone when it is printed
    pages = len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))
    if not shutil.which("pdftotext"):
        return pages, None
    text = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True)
    return pages, text.stdout.decode().split("\f")[:pages]


def test_each_listed_part_is_printed_on_a_page_of_its_own(tab, tmp_path):
    tab.evaluate("() => { window.asked = 0; window.print = () => (window.asked += 1); }")
    tab.evaluate("() => (Cloud.prototype.draw = () => {})")  # as where no screen is drawn meanwhile
    tab.click("#print")
    tab.wait_for_function("() => window.asked > 0")
    want = names(tab)
    sheets = tab.locator("#sheets .sheet")
    assert sheets.locator(".part-name").all_text_contents() == want
    assert sheets.locator(".headline").all_text_contents() == [
        *("rejected", "rejected", "not inspected", "not scored", "accepted", "accepted"),
    ]
    assert tab.locator("#overview").is_visible()
    assert not tab.locator("#part").is_visible()
    assert not tab.locator("#printing").is_visible()
    shown = [image.get_attribute("src") for image in sheets.nth(0).locator("img").all()]
    assert len(set(shown)) == 4
    for url in shown:
        assert tab.evaluate(COLOURS, url) > 20
    for image in sheets.nth(3).locator("img").all():  # of a part that has nothing to look at
        assert tab.evaluate(COLOURS, image.get_attribute("src")) == 1
    assert sheets.nth(0).locator(".regions tbody tr").count() == 1
    assert tab.locator("#sheets [id]").count() == 0
    pages, text = printed(tab, tmp_path)
    assert pages >= 1 + len(want)
    if text is not None:
        heads = ["\n".join(page.strip().splitlines()[:3]) for page in text[1:]]
        at = [next(i for i, head in enumerate(heads) if name in head) for name in want]
        assert at == sorted(set(at))
        assert all(re.match(r"Rejected|Accepted|Not ", heads[i]) for i in at)
    opened(tab, made_up.NASTY)  # and the page goes on as before
    assert tab.inner_text("#headline").lower() == "rejected"


def test_what_is_filtered_away_is_not_printed(tab, tmp_path):
    tab.evaluate("() => { window.asked = 0; window.print = () => (window.asked += 1); }")
    tab.fill("#f-name", "good")
    tab.click("#print")
    tab.wait_for_function("() => window.asked > 0")
    assert tab.locator("#sheets .part-name").all_text_contents() == ["good/a"]
    assert printed(tab, tmp_path)[0] == 2


def test_many_parts_are_asked_for_and_can_be_stopped(browser, tmp_path):
    made = [
        Part(f"p{i}", 1.5 if i % 9 == 0 else 0.6, 0.5, (), **made_up.sample(seed=i))
        for i in range(60)
    ]
    path = tmp_path / "r.html"
    made_up.written(path, made_up.group(made=made))
    tab = browser.new_page()
    tab.goto(path.as_uri())
    tab.wait_for_selector("html[data-ready]")
    tab.evaluate("() => { window.asked = 0; window.print = () => (window.asked += 1); }")
    tab.click("#print")
    assert tab.inner_text("#printing-text") == (
        "60 parts are listed; each takes a page of its own."
    )
    tab.click("#printing-stop")
    assert tab.evaluate("() => window.asked") == 0
    tab.click("#print")
    tab.click("#print-rejected")
    tab.wait_for_function("() => window.asked > 0")
    assert tab.locator("#sheets .part-name").all_text_contents() == [
        f"p{i}" for i in range(0, 60, 9)
    ]
    tab.click("#print")
    tab.click("#print-all")
    tab.wait_for_function("() => document.querySelectorAll('#sheets .sheet').length > 1")
    tab.click("#printing-stop")
    tab.wait_for_selector("#overview:not([hidden])")
    tab.wait_for_function("() => document.querySelectorAll('#sheets .sheet').length === 0")
    assert tab.evaluate("() => window.asked") == 1
    tab.close()


CSS = """([of, name]) => {
  for (let at = document.querySelector(of); at; at = name === "color" ? null : at.parentElement) {
    const found = getComputedStyle(at)[name === "color" ? "color" : "backgroundColor"];
    if (found !== "rgba(0, 0, 0, 0)") return found;
  }
  return "rgb(255, 255, 255)";
}"""


def test_a_model_with_many_scores_of_any_size_has_an_axis(browser, tmp_path):
    scores = tuple(10.0 ** (i / 20) for i in range(100))
    calibration = Calibration(0.05, scores, scores[95], 1.0)
    made = [Part(f"p{i}", score) for i, score in enumerate(scores)]
    path = tmp_path / "r.html"
    made_up.written(path, made_up.group(calibration, made))
    tab = browser.new_page()
    tab.goto(path.as_uri())
    tab.wait_for_selector("html[data-ready]")
    assert tiles(tab) == {"rejected": 4, "accepted": 96}
    bars = tab.locator("#histogram rect.any").count()
    assert bars >= 40
    there_and_back = (
        "() => { const a = new Axis(record.groups[0].axis); return a.value(a.at(20)); }"
    )
    assert tab.evaluate(there_and_back) == pytest.approx(20)
    tab.close()
