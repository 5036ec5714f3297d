"""Draw docs/pro_curve.svg: one PRO curve with every threshold and with the published grid.

    python docs/pro_curve.py > docs/pro_curve.svg

The maps are seeded noise with defects in them; see `maps_and_masks`.
"""

import numpy as np

from cmad.metrics import pool

WIDTH, HEIGHT = 680, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 20, 60
SHOWN = 0.052
"""False-positive rates up to here."""
EXACT, GRID, INK, FAINT = "#0b6e99", "#c8501e", "#333333", "#bbbbbb"


def maps_and_masks():
    """Return 40 maps of 100x100 pixels, half of them with a defect that stands out unevenly."""
    rng = np.random.default_rng(0)
    maps, masks = rng.normal(size=(40, 100, 100)), np.zeros((40, 100, 100), bool)
    for i in range(20):
        y, x = rng.integers(10, 70, 2)
        height, width = rng.integers(8, 20, 2)
        masks[i, y : y + height, x : x + width] = True
        maps[i] += masks[i] * rng.uniform(1.5, 5)
    return maps, masks


def at(fpr, pro):
    """Return the place of a point of the curve, in SVG coordinates."""
    x = LEFT + fpr / SHOWN * (WIDTH - LEFT - RIGHT)
    y = HEIGHT - BOTTOM - pro * (HEIGHT - TOP - BOTTOM)
    return f"{x:.1f},{y:.1f}"


def line(fpr, pro, colour, dash=""):
    """Draw the curve up to the right edge."""
    inside = fpr < SHOWN
    x, y = np.append(fpr[inside], SHOWN), np.append(pro[inside], np.interp(SHOWN, fpr, pro))
    points = list(dict.fromkeys(at(a, b) for a, b in zip(x, y, strict=True)))
    style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
    return f'<polyline points="{" ".join(points)}" {style}/>'


def text(x, y, said, anchor="middle", colour=INK, more=""):
    style = f'text-anchor="{anchor}" fill="{colour}" {more}'.strip()
    return f'<text x="{x}" y="{y}" {style}>{said}</text>'


def figure():
    """Return the picture as SVG."""
    pooled = pool(*maps_and_masks())
    curves = {"exact": pooled.pro_curve(), "grid": pooled.pro_curve(99)}
    areas = {"exact": pooled.aupro((0.01, 0.05)), "grid": pooled.aupro((0.01, 0.05), 99)}
    base = HEIGHT - BOTTOM
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for limit in (0.01, 0.05):
        x = at(limit, 0).split(",")[0]
        out.append(f'<path d="M{x} {TOP}V{base}" stroke="{FAINT}" stroke-dasharray="2 4"/>')
        side, shift = ("start", 6) if limit == 0.01 else ("end", -6)
        out.append(text(float(x) + shift, TOP + 14, f"limit {limit:.0%}", side, "#777777"))
    out.append(f'<path d="M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}" fill="none" stroke="{INK}"/>')
    for pro in (0, 0.25, 0.5, 0.75, 1):
        y = float(at(0, pro).split(",")[1])
        out.append(text(LEFT - 8, y + 4, f"{pro:.2f}", "end"))
    for fpr in range(6):
        out.append(text(at(fpr / 100, 0).split(",")[0], base + 20, f"{fpr} %"))
    out.append(
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "false-positive rate (good pixels marked)")
    )
    middle = (TOP + base) / 2
    turned = f'transform="rotate(-90 18 {middle})"'
    out.append(text(18, middle, "mean overlap of the defect regions", more=turned))
    out.append(line(*curves["exact"], EXACT))
    fpr, pro = curves["grid"]
    out.append(line(fpr, pro, GRID, "7 4"))
    for x, y in zip(fpr[fpr < SHOWN], pro[fpr < SHOWN], strict=True):
        cx, cy = at(x, y).split(",")
        out.append(f'<circle cx="{cx}" cy="{cy}" r="4" fill="{GRID}"/>')
    for i, (name, colour, said) in enumerate(
        [("exact", EXACT, "every threshold"), ("grid", GRID, "grid of 99 thresholds")]
    ):
        y = 300 + 22 * i - 30
        one, five = areas[name]
        label = f"{said}: AUPRO@1% {one:.3f}, AUPRO@5% {five:.3f}"
        out.append(f'<path d="M190 {y - 4}h24" stroke="{colour}" stroke-width="2"/>')
        out.append(text(222, y, label, "start", colour))
    return "\n".join([*out, "</svg>"]) + "\n"


if __name__ == "__main__":
    print(figure(), end="")
