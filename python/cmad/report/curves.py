"""The curves of a training, as a picture and as a table."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 40, 48
COLOURS = ("#0b6e99", "#c8501e", "#3a7d44", "#8e44ad", "#b7950b", "#566573")
INK, FAINT = "#333333", "#dddddd"
HELD_OUT = (" held out", "validation")
"""Ends of the names of what was not trained on, which is drawn dashed."""
KINDS = (".svg", ".csv")
Curves = Mapping[str, Sequence[float]]


def write(curves: Curves, path: Path, title: str) -> None:
    """Write the curves to a file.

    Args:
        curves: values by name, one for each epoch.
        path: ends in .svg for a picture, in .csv for a table.
        title: of the picture.

    Raises:
        ValueError: another ending, or there are no curves.
        OSError: the file cannot be written.

    """
    check(path)
    if not any(curves.values()):
        raise ValueError(
            "there are no curves: the method does not train by epochs, or the model is "
            "of an older version"
        )
    curves = dict(sorted(curves.items()))  # a model file does not keep their order
    text = picture(curves, title) if path.suffix.lower() == ".svg" else table(curves)
    path.write_text(text, encoding="utf-8", newline="")


def check(path: Path) -> None:
    """Raise ValueError where a file for curves has another ending than .svg and .csv."""
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"--curves must end in {' or '.join(KINDS)}, got {path.name}")


def table(curves: Curves) -> str:
    """Return a line for each epoch, counted from 1, with a column for each curve."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["epoch", *curves])
    for epoch in range(max(map(len, curves.values()), default=0)):
        values = [v[epoch] if epoch < len(v) else "" for v in curves.values()]
        writer.writerow([epoch + 1, *values])
    return out.getvalue()


def picture(curves: Curves, title: str) -> str:
    """Return an SVG: values against epochs, both on logarithmic axes; not finite ones left out."""
    shown = {
        name: [(e + 1, v) for e, v in enumerate(values) if math.isfinite(v) and v > 0]
        for name, values in curves.items()
    }
    points = [p for curve in shown.values() for p in curve] or [(1, 1.0)]
    last = max(max(e for e, _ in points), 2)
    low, high = (f(v for _, v in points) for f in (min, max))
    low, high = low / 1.05, high * 1.05

    def x(epoch: float) -> float:
        return LEFT + math.log(epoch) / math.log(last) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + math.log(high / value) / math.log(high / low) * (HEIGHT - TOP - BOTTOM)

    base, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, title, "start"),
    ]
    for epoch in _ticks(1, last):
        out += [_line(x(epoch), TOP, x(epoch), base), _text(x(epoch), base + 18, f"{epoch:g}")]
    for value in _ticks(low, high):
        out += [_line(LEFT, y(value), right, y(value))]
        out += [_text(LEFT - 6, y(value) + 4, f"{value:.3g}", "end")]
    out.append(_text((LEFT + right) / 2, HEIGHT - 10, "epoch"))
    for i, (name, curve) in enumerate(shown.items()):
        colour = COLOURS[i % len(COLOURS)]
        dash = ' stroke-dasharray="6 4"' if name.endswith(HELD_OUT) else ""
        way = " ".join(f"{x(e):.1f},{y(v):.1f}" for e, v in curve)
        stroke = f'fill="none" stroke="{colour}" stroke-width="2"{dash}'
        out.append(f'<polyline points="{way}" {stroke}/>')
        at = TOP + 10 + 20 * i
        out.append(f'<line x1="{right + 12}" y1="{at}" x2="{right + 40}" y2="{at}" {stroke}/>')
        out.append(_text(right + 46, at + 4, name, "start"))
    return "\n".join([*out, "</svg>", ""])


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, and where these are few, more between them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps: Sequence[float] = (1, 2, 5)
    if high / low < 4:
        steps = (
            [1 + 0.1 * i for i in range(90)] if high / low < 1.6 else [1 + i / 2 for i in range(18)]
        )
    return [step * 10.0**p for p in powers for step in steps if low <= step * 10.0**p <= high]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{FAINT}"/>'


def _text(x: float, y: float, said: str, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}">{escape(said)}</text>'
    )
