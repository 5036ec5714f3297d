"""Draw docs/report.jpg: the report of `cmad demo` in a browser, all parts and one of them.

    cmad demo --out demo && python docs/report_picture.py demo/report.html [docs/report.jpg]

Needs Debian's chromium, and playwright from PyPI.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1240, "height": 900}
WIDE = 820
"""Pixels of each half of the picture."""
PART = "test/hole/000"


def main(report, out):
    views = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--enable-unsafe-swiftshader"],
        )
        for scheme, part in (("light", None), ("dark", PART)):
            tab = browser.new_page(viewport=SIZE, color_scheme=scheme)
            tab.goto(report.resolve().as_uri())
            tab.wait_for_selector("html[data-ready]")
            if part is not None:
                tab.locator("#parts tbody a", has_text=part).click()
                tab.wait_for_function("() => opened && opened.places")
                tab.wait_for_timeout(500)
            views.append(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"))
        browser.close()
    tall = round(WIDE * SIZE["height"] / SIZE["width"])
    picture = Image.new("RGB", (2 * WIDE + 12, tall), "white")
    for i, view in enumerate(views):
        half = view.resize((WIDE, tall), Image.Resampling.LANCZOS)
        picture.paste(half, (i * (WIDE + 12), 0))
    picture.save(out, quality=78, optimize=True)
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else "docs/report.jpg"))
