"""The picture of CFM's Figure 1: area under the PRO curve against frame rate, area for memory."""

import math
from dataclasses import dataclass

import _shapes
from _shapes import GRID, line, text

WIDTH, HEIGHT = 760, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 24, 64, 60
LOW, HIGH = 0.940, 0.985
"""AUPRO@30% from the lower to the upper edge, unless a bubble lies outside."""
PAPER, HERE = "#b9b9b9", "#0b6e99"
LABEL = 110
"""Pixels that the text beside a circle is wide, about."""


@dataclass(frozen=True)
class Bubble:
    """A method: where, and how large."""

    name: str
    fps: float
    aupro: float
    memory: float
    """MB."""
    here: bool
    """Measured here, or printed in the paper."""


def radius(memory):
    """Pixels: the area is proportional to the memory."""
    return 0.6 * memory**0.5


def shapes(bubbles, title):
    """Lines, circles and texts, in the order that they are drawn in."""
    slow = math.floor(math.log10(min(b.fps for b in bubbles) / 1.5))
    fast = math.log10(max(b.fps for b in bubbles) * 1.5)
    low = min([LOW, *(b.aupro - 0.005 for b in bubbles)])
    high = max([HIGH, *(b.aupro + 0.005 for b in bubbles)])

    def x(fps):
        return LEFT + (math.log10(fps) - slow) / (fast - slow) * (WIDTH - LEFT - RIGHT)

    def y(aupro):
        return TOP + (high - aupro) / (high - low) * (HEIGHT - TOP - BOTTOM)

    base = HEIGHT - BOTTOM
    found = [text(LEFT, 22, title)]
    for power in range(slow, math.floor(fast) + 1):
        for step in (1, 2, 5):
            if (fps := step * 10.0**power) <= 10**fast:
                found.append(line(x(fps), TOP, x(fps), base, GRID))
                found.append(text(x(fps), base + 18, f"{fps:g}", "middle"))
    step = 0.005 * math.ceil((high - low) / 0.05)
    for i in range(math.ceil(low / step + 1e-6), math.ceil(high / step - 1e-6)):
        aupro = step * i
        found.append(line(LEFT, y(aupro), WIDTH - RIGHT, y(aupro), GRID))
        found.append(text(LEFT - 8, y(aupro) + 4, f"{aupro:.3f}", "end"))
    found += [line(LEFT, base, WIDTH - RIGHT, base), line(LEFT, TOP, LEFT, base)]
    under = "frames per second; the area of a circle is the memory"
    found.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, under, "middle"))
    for b in sorted(bubbles, key=lambda b: -b.memory):
        colour = HERE if b.here else PAPER
        found.append(("circle", x(b.fps), y(b.aupro), radius(b.memory), colour))
    taken: list[tuple[float, float]] = []
    for b in bubbles:
        said, r, down = f"{b.name}, {b.memory:.0f} MB", radius(b.memory), y(b.aupro) + 4
        right = x(b.fps) + r + 6
        beside = right < WIDTH - 150
        place = (right, "start") if beside else (x(b.fps) - r - 6, "end")
        begin = place[0] if beside else place[0] - LABEL
        while any(abs(begin - a) < LABEL and abs(down - b) < 14 for a, b in taken):
            down += 3
        taken.append((begin, down))
        found.append(text(place[0], down, said, place[1]))
    # Above, where no circle is.
    for begin, colour, said in (
        (LEFT, HERE, "measured here"),
        (LEFT + 150, PAPER, "printed in CFM's Table 5 (RTX 4090)"),
    ):
        found.append(("circle", begin + 5, 42, 5, colour))
        found.append(text(begin + 17, 46, said))
    return found


def save(bubbles, title, stem):
    """Write both pictures beside each other; ``stem`` is their path without an ending."""
    _shapes.save(shapes(bubbles, title), (WIDTH, HEIGHT), stem)
