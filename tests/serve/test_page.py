"""The live page in a browser."""

import shutil
import socket
import threading

import pytest

from cmad.serve.hub import Hub

pytest.importorskip("fastapi", reason="fastapi, of the extra serve, is not installed")
pytest.importorskip("uvicorn", reason="uvicorn, of the extra serve, is not installed")

from cmad.serve.running import showing


class Still:
    """Stands for a model at work: judges nothing."""

    alive, waiting, note, drift, name = True, 0, None, None, "part"


class Moved:
    """Stands for a drift monitor."""

    moved = ()

    class monitor:  # noqa: N801, a field's name
        parts, limit = 7, 1000.0
        stakes = {"2d": 3.5}  # noqa: RUF012


@pytest.fixture
def served():
    """A page's server, and the hub that it shows."""
    hub, worker = Hub(["part", "other"]), Still()
    worker.drift = Moved()
    other = Still()
    other.name = "other"
    server = showing([worker, other], hub)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        ready = threading.Event()
        thread = threading.Thread(target=server.run_on, args=(listening, ready.set))
        thread.start()
        assert ready.wait(20)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/", hub, worker, server
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium")
    if not found:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def line(verdict, score=1.0, name="t1", error=None):
    known = {"threshold": 2.0, "p_value": 0.5, "regions": [], "seconds": 0.1}
    return {**known, "name": name, "score": score, "verdict": verdict, "error": error}


@pytest.mark.slow
def test_the_page_shows_each_part_and_no_old_verdict(served, browser):
    url, hub, worker, server = served
    said = []
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(url)
    word = page.locator("#word")
    page.wait_for_selector("body.no-part-yet")
    hub.add("part", line("accepted", 1.25, "<b>t1</b>"))
    page.wait_for_selector("body.accepted")
    assert word.inner_text() == "✓ accepted"
    assert page.locator("#part").inner_text() == "<b>t1</b>, score 1.25 ≤ 2.00"
    # Letters of 30 mm and more on a screen of 530 mm width: 20 arc minutes are 17 mm at 3 m.
    assert word.evaluate("e => parseFloat(getComputedStyle(e).fontSize)") * 530 / 1920 > 40
    assert "none in 7 parts (highest stake 3.50 of 1000, 2d)" in page.inner_text("#drift")
    assert page.locator("#course").is_hidden()
    hub.add("part", line("rejected", 3.0, "t2"), 3.5)
    page.wait_for_selector("body.rejected")
    assert page.locator("#course").is_visible()
    [point] = page.locator("#stakes .run").get_attribute("points").split()
    limit = page.locator("#stakes .limit").get_attribute("y1")
    assert float(point.split(",")[1]) > float(limit)  # below it
    assert page.locator("#trend .dot").count() == 2
    assert page.locator("#trend .dot.over").count() == 1
    over, limit = (
        page.locator(f"#trend {what}").first.get_attribute("y1") for what in (".over", ".limit")
    )
    assert float(over) < float(limit)
    assert page.locator("#shifts tbody td").all_inner_texts()[1:] == ["1", "1", "0", "0", "2"]
    worker.drift.moved = ("the brightness of the image is lower since part 4",)
    worker.note = "part.cmad is another file now"
    hub.add("part", line(None, None, "t3", "t3.tiff: cut short"))
    page.wait_for_selector("body.not-scored")
    assert "t3.tiff: cut short" in page.inner_text("#part")
    assert page.inner_text("#drift") == "Drift: the brightness of the image is lower since part 4"
    assert page.inner_text("#notes") == "part: part.cmad is another file now"
    page.get_by_role("button", name="other").press("Enter")
    assert page.inner_text("#word") == "no part yet"
    assert said == []
    server.should_exit = True
    page.wait_for_selector("body.away")
    assert word.inner_text() == "no connection"


@pytest.mark.slow
def test_parts_of_an_earlier_process_are_listed_and_none_is_the_verdict(served, browser):
    url, hub, _, _ = served
    hub.recall("part", [line("rejected", 3.0, "old 1"), line("accepted", 1.0, "old 2")])
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector("#last tbody tr")
    assert page.inner_text("#word") == "no part yet"
    assert page.locator("#last tbody td:nth-child(-n+2)").all_inner_texts() == [
        *("before", "old 2"),
        *("before", "old 1"),
    ]
    assert page.locator("#trend .dot").count() == 2
    assert page.locator("#shifts tbody tr").count() == 0
    hub.add("part", line("accepted", 1.5, "new"))
    page.wait_for_selector("body.accepted")
    assert page.locator("#last tbody tr").count() == 3
    assert page.locator("#shifts tbody td").all_inner_texts()[1:] == ["1", "0", "0", "0", "1"]
