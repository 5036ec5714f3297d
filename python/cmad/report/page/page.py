"""One self-contained HTML file: an overview of all parts, and each part behind it."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cmad.paths import replacing
from cmad.report.page import rows as tables
from cmad.report.page.line import drift
from cmad.report.page.parts import About, Part
from cmad.report.page.payload import Small, Values, payload, small
from cmad.report.page.scale import Scale, scale_of
from cmad.report.pictures import ANCHORS
from cmad.version import __version__

HERE = Path(__file__).parent
SCRIPTS = (
    *("unpack.js", "histogram.js", "cloud.js", "view.js", "part.js", "overview.js", "print.js"),
    "main.js",
)
"""In this order, as one script."""
NEEDED = "needs Jinja2, which the extra brings: pip install 'cmad-vision[report]'"


class Group:
    """Parts that one model judged; packed as they come, so that their arrays can go."""

    def __init__(self, about: About) -> None:
        """Begin without a part.

        Args:
            about: the model; can be replaced until the page is made.

        """
        self.about = about
        self.rows: list[Values] = []
        """What the table says of each part, see `cmad.report.page.rows.row`."""
        self.packed: list[str] = []
        """What is shown of each when it is opened, as JSON."""
        self.lacking: list[str] = []
        """Of each part of which something cannot be shown: its name, what, and why."""
        self._small: list[Small] = []
        self._peaks: list[float] = []

    def add(self, part: Part) -> None:
        """Take in a part.

        Raises:
            ValueError: its arrays differ in height and width.

        """
        expect_one_size(part)
        peak = 0.0 if part.map is None else float(part.map.max())
        self._peaks.append(peak)
        mark = self.scale.mark if self.about.calibration is not None else None
        # Without a threshold the scale is known with the last part: codes are in the part's own.
        unit = mark or (peak if peak > 0 else 1.0)
        self.rows.append(tables.row(part))
        if part.missing:
            self.lacking.append(f"{part.name}: {part.missing[0]}")
        self.packed.append(as_json(payload(part, unit)))
        self._small.append(small(part))

    def measured(self, metrics: Mapping[str, float]) -> None:
        """Say how well the model did, where the truth is known; see `About.metrics`."""
        self.about = replace(self.about, metrics=metrics)

    @property
    def verdicts(self) -> list[str]:
        """Of each part, see `cmad.report.page.rows.verdict`."""
        return [tables.verdict(row, self.about.threshold) for row in self.rows]

    @property
    def scale(self) -> Scale:
        """Of the colours, of all parts so far."""
        return scale_of(self.about.calibration, self._peaks)

    def record(self, first: int) -> Values:
        """Return what the page's overview is made from; its parts are numbered from ``first``."""
        scale = self.scale
        rows = [
            {**shown_of(one), "id": first + i, "thumb": drawn.drawn(scale)}
            for i, (one, drawn) in enumerate(zip(self.rows, self._small, strict=True))
        ]
        of_line = {
            "drift": drift(self.about.calibration, self.rows),
            "repeat": self.about.repeat,
        }
        return {**tables.group(self.about, rows, scale), **of_line}


def record(groups: Sequence[Group], title: str) -> Values:
    """Compose the overview of a page, fit for JSON."""
    composed, first = [], 0
    for group in groups:
        composed.append(group.record(first))
        first += len(group.rows)
    return {
        "title": title,
        "version": __version__,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "colours": ANCHORS.astype(int).tolist(),
        "verdicts": tables.VERDICTS,
        "groups": composed,
    }


def write_page(path: Path, groups: Sequence[Group], title: str) -> None:
    """Write a page; as a whole, or not at all.

    Args:
        path: of the HTML file.
        groups: with one part at least.
        title: of the page, such as the name of the folder of parts.

    Raises:
        ValueError: no part.
        RuntimeError: Jinja2 is not installed.
        OSError: the file cannot be written.

    """
    if not any(group.rows for group in groups):
        raise ValueError("report: there is no part to show")
    template = template_of("page.html")
    whole = record(groups, title)
    composed: list[Values] = whole["groups"]  # type: ignore[assignment]
    css, script = text_of("page.css"), "".join(map(text_of, SCRIPTS))
    begin = template.render(
        page=whole,
        css=css,
        script=script,
        data=as_json({**whole, "groups": [without_thumbs(group) for group in composed]}),
        policy=policy(css, script),
        anchors=[f"rgb({r} {g} {b})" for r, g, b in ANCHORS.astype(int).tolist()],
    )
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(begin)
        for i, packed in enumerate(one for group in groups for one in group.packed):
            file.write(f'<script type="application/json" id="part-{i}">{packed}</script>\n')
        file.write("</body>\n</html>\n")


def shown_of(row: Values) -> Values:
    """Leave out of a part's row what the drift is computed from, and the page does not show."""
    return {name: value for name, value in row.items() if name != "levels"}


def without_thumbs(group: Values) -> Values:
    """Leave out the small pictures of a group's record, which stand in the page's table."""
    rows: list[Values] = group["rows"]  # type: ignore[assignment]
    return {**group, "rows": [{k: v for k, v in row.items() if k != "thumb"} for row in rows]}


def template_of(name: str) -> Any:
    """Load a template of this folder; names in it are escaped.

    Raises:
        RuntimeError: Jinja2 is not installed.

    """
    expect_available()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    environment.globals["verdict"] = tables.verdict
    return environment.get_template(name)


def available() -> bool:
    """Tell whether what a page needs is installed."""
    try:
        return find_spec("jinja2") is not None
    except ValueError:  # what python says where it was put aside
        return False


def expect_available() -> None:
    """Raise RuntimeError where what a page needs is not installed, before there is work to lose."""
    if not available():
        raise RuntimeError(f"the report {NEEDED}")


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with some digits, as the page's script does; a dash for None."""
    return "–" if value is None else f"{value:.{digits}g}"


def as_json(values: object) -> str:
    """Write values as JSON that can stand within a ``<script>``: no part's name ends it."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def policy(css: str, *scripts: str) -> str:
    """Return a content security policy: this style and these scripts, no network at all."""

    def digest(text: str) -> str:
        hashed = hashlib.sha256(text.encode("utf-8")).digest()
        return f"'sha256-{base64.b64encode(hashed).decode('ascii')}'"

    allowed = " ".join(map(digest, scripts))
    return (
        f"default-src 'none'; style-src {digest(css)}; script-src {allowed}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def text_of(name: str) -> str:
    """Read a file of this folder."""
    return (HERE / name).read_text(encoding="utf-8")


def expect_one_size(part: Part) -> None:
    """Raise ValueError where a part's arrays differ in height and width."""
    arrays: Iterable[tuple[str, Any]] = (
        (name, getattr(part, name)) for name in ("rgb", "xyz", "map", "mask")
    )
    sizes = {name: tuple(a.shape[:2]) for name, a in arrays if a is not None}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name} {h}x{w}" for name, (h, w) in sizes.items())
        raise ValueError(f"{part.name}: all must have the same height and width, got {said}")
