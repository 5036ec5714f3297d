"""Small pages for tests: parts with made-up maps, scores and truths."""

import re
from html.parser import HTMLParser

import numpy as np

from cmad.calibrate import Calibration
from cmad.report.page import About, Group, Part, write_page
from cmad.types import Region

NASTY = "<script>alert(1)</script>"
ACCENTS = 'Prüfling "é" & Co/größer als 5\'</td>'
CALIBRATION = Calibration(0.05, tuple(0.5 + 0.02 * i for i in range(20)), 0.88, 0.88)


def sample(size=(48, 64), mark=None, seed=0):
    """Arrays of a part: a plate that lies on nothing, and a map that is 2 at a marked pixel."""
    height, width = size
    draw = np.random.default_rng(seed)
    row, column = np.indices(size)
    xyz = np.stack([1e-3 * column, 1e-3 * row, 0.5 + 1e-4 * draw.random(size)], -1)
    xyz[:4] = 0
    rgb = draw.integers(0, 255, (height, width, 3), np.uint8)
    map_ = (0.3 + 0.1 * draw.random(size)).astype(np.float32)
    map_[:4] = 0
    if mark is not None:
        map_[mark[0] : mark[0] + 5, mark[1] : mark[1] + 7] = 2 * CALIBRATION.pixel_threshold
    return {"rgb": rgb, "xyz": xyz.astype(np.float32), "map": map_, "mask": map_ > 1}


def region(mark=(20, 30), area=35.0, modality="3d"):
    top, left = mark
    box = (top, left, top + 5, left + 7)
    return Region(box, 35, area, (0.033, 0.022, 0.5), 1.76, (top, left), modality, {"3d": 2.0})


def parts():
    """One part of each kind of verdict and truth."""
    mark = (20, 30)
    return [
        Part("good/a", 0.6, 0.762, (), defect="good", **sample()),
        Part(NASTY, 1.5, 1 / 21, (region(),), defect="hole", **sample(mark=mark)),
        Part(
            ACCENTS,
            0.9,
            1 / 21,
            (region(area=2.5, modality="2d"),),
            defect="good",
            **sample(seed=1),
        ),
        Part("missed", 0.7, 0.524, (), defect="<b>scratch</b>", **sample(seed=2)),
        Part(
            "unseen", 0.65, 0.62, (), inspected=False, warnings=("too little is seen",), **sample()
        ),
        Part("broken", error="xyz has no valid point"),
    ]


def group(calibration=CALIBRATION, made=None):
    threshold = None if calibration is None else calibration.threshold
    found = Group(About("covers", threshold, calibration, {"Model": NASTY}, {"I-AUROC": 0.75}))
    for part in parts() if made is None else made:
        found.add(part)
    return found


def written(path, *groups, title="Covers"):
    write_page(path, groups or [group()], title)
    return path.read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of scripts by id."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self._inside = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.tags.append((tag, known))
        self._inside = known.get("id", "code") if tag == "script" else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside is not None:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data


def cells(text):
    """The rows of the table as text, as a reader without JavaScript sees them."""
    body = re.search(r'<table id="parts">.*?<tbody>(.*?)</tbody>', text, re.S)[1]
    rows = re.findall(r"<tr.*?</tr>", body, re.S)
    return [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row, re.S)]
        for row in rows
    ]
