"""How large a report of many parts is, how long it takes to write, and to open in a browser.

    python benchmarks/report.py [--parts 200] [--size 400] [--json FILE]

Synthetic parts with a made-up map each, a smooth one as detectors give: pictures, points and maps
are as large as real ones, and no detector is timed. Opening is that in Debian's chromium without a
screen, if it and the package playwright are there: until the table can be used, and until a part
that is opened is drawn. See docs/report.md.
"""

import argparse
import json
import re
import shutil
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from _environment import environment

from cmad.calibrate import Calibration
from cmad.datasets import Synthetic
from cmad.ops import smooth
from cmad.regions import find
from cmad.report.page import About, Group, Part, write_page

DRAWN = "() => opened && opened.places"


def made_up(sample, draw):
    """Return a map: noise on the part, and more where the defect is."""
    there = (sample.xyz != 0).any(-1)
    rough = draw.gamma(4.0, 0.25, there.shape).astype(np.float32) * there
    rough += 6 * sample.mask
    return smooth(torch.from_numpy(rough)[None], 4.0)[0].numpy()


def page(path, parts, size):
    """Write a report of so many parts; seconds without making them."""
    draw = np.random.default_rng(0)
    scores = tuple(sorted(draw.normal(1.2, 0.05, 99)))
    threshold = scores[94]
    calibration = Calibration(0.05, scores, threshold, threshold)
    group = Group(About("covers", threshold, calibration, {"Method": "none, maps are made up"}))
    made = Synthetic(
        "test", good=parts * 4 // 5, defective=parts - parts * 4 // 5, size=(size, size)
    )
    spent = 0.0
    for i in range(parts):
        sample = made[i]
        map_ = made_up(sample, draw)
        regions = find(map_, threshold, sample.xyz)
        score = float(map_.max())
        begin = perf_counter()
        group.add(
            Part(
                name=sample.name,
                score=score,
                p_value=calibration.p_value(score),
                regions=regions,
                defect=sample.defect,
                rgb=sample.rgb,
                xyz=sample.xyz,
                map=map_,
                mask=sample.mask,
            )
        )
        spent += perf_counter() - begin
    begin = perf_counter()
    write_page(path, [group], "benchmark")
    return spent + perf_counter() - begin


def opening(path, times=3):
    """Return seconds until the table can be used, and until an opened part is drawn."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    tables, opened = [], []
    with sync_playwright() as playwright:
        for _ in range(times):
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
            )
            tab = browser.new_page(viewport={"width": 1380, "height": 900})
            begin = perf_counter()
            tab.goto(path.as_uri(), wait_until="load")
            tab.wait_for_selector("html[data-ready]")
            tables.append(perf_counter() - begin)
            begin = perf_counter()
            tab.locator("#parts tbody a").first.click()
            tab.wait_for_function(DRAWN)
            opened.append(perf_counter() - begin)
            browser.close()
    return statistics.median(tables), statistics.median(opened)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=200)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        seconds = page(path, given.parts, given.size)
        megabytes = path.stat().st_size / 1e6
        text = path.read_text(encoding="utf-8")
        blocks = [len(b) for b in re.findall(r'id="part-\d+">([^<]*)<', text)]
        found = opening(path)
    row = {
        "parts": given.parts,
        "size": given.size,
        "MB": megabytes,
        "kB a part": statistics.mean(blocks) / 1e3,
        "seconds to write": seconds,
        "seconds to open": None if found is None else found[0],
        "seconds to open a part": None if found is None else found[1],
    }
    for name, value in row.items():
        print(f"{name:24} {'-' if value is None else f'{value:.4g}'}")
    print(json.dumps(environment()))
    if given.json:
        given.json.write_text(json.dumps({**row, **environment()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
