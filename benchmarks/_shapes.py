"""Pictures of lines, circles and texts: one list of shapes, written as SVG and, by Pillow, as PNG.

A shape is ``("line", x0, y0, x1, y1, colour, width)``, ``("circle", x, y, radius, colour)`` or
``("text", x, y, said, anchor, colour)``, in pixels; they are drawn in the order of the list.
"""

from html import escape

from PIL import Image, ImageDraw, ImageFont

INK, GRID = "#333333", "#dddddd"
SCALE = 2
"""Pixels of the PNG for one of the SVG."""


def line(x0, y0, x1, y1, colour=INK, width=1):
    return ("line", x0, y0, x1, y1, colour, width)


def text(x, y, said, anchor="start"):
    return ("text", x, y, said, anchor, INK)


def svg(drawn, size):
    """Write shapes as SVG."""
    width, height = size
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for kind, *of in drawn:
        if kind == "line":
            x0, y0, x1, y1, colour, thick = of
            style = f'stroke="{colour}"' + (f' stroke-width="{thick}"' if thick != 1 else "")
            out.append(f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" {style}/>')
        elif kind == "circle":
            x, y, r, colour = of
            out.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{colour}" '
                f'fill-opacity="0.5" stroke="{colour}"/>'
            )
        else:
            x, y, said, anchor, colour = of
            style = f'text-anchor="{anchor}" fill="{colour}"'
            out.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(said)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def png(drawn, size):
    """Paint shapes into an image."""
    image = Image.new("RGB", tuple(SCALE * s for s in size), "white")
    font = ImageFont.load_default(12 * SCALE)
    anchors = {"start": "ls", "middle": "ms", "end": "rs"}
    for kind, *of in drawn:
        draw = ImageDraw.Draw(image, "RGBA")
        if kind == "line":
            draw.line([SCALE * v for v in of[:4]], fill=of[4], width=round(SCALE * of[5]))
        elif kind == "circle":
            x, y, r = (SCALE * v for v in of[:3])
            draw.ellipse([x - r, y - r, x + r, y + r], fill=of[3] + "80", outline=of[3])
        else:
            x, y, said, anchor, colour = of
            draw.text((SCALE * x, SCALE * y), said, colour, font, anchor=anchors[anchor])
    return image


def save(drawn, size, stem):
    """Write both pictures beside each other; ``stem`` is their path without an ending."""
    stem.with_suffix(".svg").write_text(svg(drawn, size), encoding="utf-8")
    png(drawn, size).save(stem.with_suffix(".png"))
