"""Which exchange of axes would make a part look like training's: arrays, coordinates, image alone.

Three things tell them apart. Points lead somewhere along rows and columns, lie somewhere, and have
a background plane: `Directions` that exchanged coordinates turn, and turned arrays, too. The image
and what the points show look like training's, or would if they were turned. And the points explain
the image, or would if it were turned.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cmad.ranges.looks import COARSE, TURNS, Floats, Look, angle, turned
from cmad.ranges.training import Ranges, likenesses

Signs = tuple[tuple[int, int], ...]
"""For each coordinate which one of the part is written there, and its sign."""
Directions = Mapping[str, Floats]

WRONG = 45.0
"""Degrees, beyond `SPREADS` spreads of training's, from which on axes are exchanged."""
FIT = 6.0
"""Likewise, up to which an exchange explains how a part lies."""
CLEARER = 3.0
"""Degrees by which one explanation is better than another, over all directions."""
SPREADS = 1.5
LEAD = 0.01
"""Correlation by which all training parts are more like the others than when they are turned, at
least; below, a part of this kind can be turned and nobody sees it."""
ALARM = 0.04
"""Likewise, for a part to be called turned where only pictures say so."""
POSED = 0.7
"""Correlation of each training part's shape with the others', likewise: they lie alike."""
SEVERAL = 16
"""Training parts, likewise, where there are no points to see that by."""
SHARE = 0.5
"""Of that lead, which a turned part has the other way round."""
LACKING = 2.0
"""Times what the training part least like the others lacks in correlation, which a turned part may
lack once it is turned back."""
EXPLAINED = 0.1
"""R squared by which points explain the turned image better, at least."""

STILL, NOTHING = 0, ((0, 1), (1, 1), (2, 1))
_GRID = np.arange(4.0).reshape(2, 2)
_AFTER = [
    [
        next(i for i, t in enumerate(TURNS) if (turned(_GRID, t) == both).all())
        for both in (turned(turned(_GRID, first), second) for second in TURNS)
    ]
    for first in TURNS
]
"""The turn that one and then another give."""
_BACK = [row.index(STILL) for row in _AFTER]
"""The turn that undoes each."""
_SIGNS: list[Signs] = [
    tuple(zip(order, signs, strict=True))
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
_WAYS = (
    "",
    "mirrored left-right",
    "mirrored top-bottom",
    "turned by 180 degrees",
    "transposed, rows for columns",
    "turned by 90 degrees",
    "turned by 90 degrees",
    "transposed, rows for columns, and turned by 180 degrees",
)


@dataclass(frozen=True)
class Exchange:
    """What may have happened to a part."""

    rgb: int = STILL
    """The turn of the image, of `TURNS`."""
    xyz: int = STILL
    """That of the points' pixels."""
    signs: Signs = NOTHING
    turned: bool = False
    """Whether the part itself, or the camera, is turned: points and coordinates alike."""

    def describe(self) -> str:
        """Say what it is."""
        if self.turned:
            return f"the part, the camera or the image is {_WAYS[self.rgb]}"
        said = []
        if self.rgb == self.xyz != STILL:
            said.append(f"the arrays are {_WAYS[self.xyz]}")
        elif self.xyz != STILL:
            said.append(f"xyz alone is {_WAYS[self.xyz]} (it does not fit rgb)")
        elif self.rgb != STILL:
            said.append(f"rgb alone is {_WAYS[self.rgb]} (it does not fit xyz)")
        if self.signs != NOTHING:
            said.append(_written(self.signs))
        return ", and ".join(said)


def exchanges(look: Look, ranges: Ranges) -> list[Exchange] | None:
    """Find what exchange of axes makes a part unlike training's.

    Returns:
        Those that explain it equally well; empty where there is none, None where the points lie
        otherwise than in training and no exchange explains it.

    """
    known = {n: d for n, d in ranges.directions.items() if n in look.directions}
    limit = {n: SPREADS * d.spread for n, d in known.items()}
    mean = {n: np.array(d.mean) for n, d in known.items()}
    known = {n: d for n, d in known.items() if limit[n] < WRONG}
    evidence = _Evidence(look, ranges)

    def beyond(exchange: Exchange) -> list[float]:
        found = undone(look.directions, exchange)
        return [max(0.0, angle(found[n], mean[n]) - limit[n]) for n in known]

    still = Exchange()
    if not any(b > WRONG for b in beyond(still)):
        others = [Exchange(t, t, turned=True) for t in range(1, 8)]
        if look.directions:
            others += [Exchange(t, STILL) for t in range(1, 8)]
        seen = [e for e in others if evidence.beats(e, still, alarm=True)]
        return evidence.best(seen)
    simple = [Exchange(t, x) for x in range(1, 8) for t in (STILL, x)]
    simple += [Exchange(signs=s) for s in _SIGNS if s != NOTHING]
    several = [Exchange(t, x, s) for x in range(1, 8) for t in (STILL, x) for s in _SIGNS[1:]]
    for candidates in (simple, several):
        far = {e: beyond(e) for e in candidates}
        fitting = {e: sum(far[e]) for e in candidates if max(far[e]) <= FIT}
        if fitting:
            least = min(fitting.values())
            near = [e for e, total in fitting.items() if total <= least + CLEARER]
            return evidence.best(near)
    return None


def undone(directions: Directions, exchange: Exchange) -> dict[str, Floats]:
    """Return the directions as they were before an exchange."""
    found = dict(directions)
    if exchange.turned:
        return found
    if "row" in found:
        transpose, rows, columns = TURNS[_BACK[exchange.xyz]]
        row, column = found["row"], found["column"]
        row, column = (column, row) if transpose else (row, column)
        found["row"], found["column"] = -row if rows else row, -column if columns else column
    for name, vector in found.items():
        found[name] = np.empty(3)
        for i, (coordinate, sign) in enumerate(exchange.signs):
            found[name][coordinate] = sign * vector[i]
    return found


class _Evidence:
    """What pictures tell of how a part was turned."""

    def __init__(self, look: Look, ranges: Ranges) -> None:
        pictures = {n: np.array(p).reshape(COARSE, COARSE) for n, p in ranges.pictures.items()}
        # By the turn that happened, where likenesses are by the one that undoes it.
        self._like = {
            name: like[_BACK]
            for name, like in likenesses(look, pictures).items()
            if name in ranges.leads
        }
        self._leads = {n: np.array(lead)[_BACK] for n, lead in ranges.leads.items()}
        self._likes = {n: 1 - LACKING * (1 - like) for n, like in ranges.likes.items()}
        shape = ranges.likes.get("shape")
        self._posed = ranges.parts >= SEVERAL if shape is None else shape >= POSED
        self._registered = None
        if look.registered is not None and ranges.registered:
            self._registered = look.registered
            self._low, high = ranges.registered
            self._enough = max(EXPLAINED, high - self._low)

    def best(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
        """Leave out those that another one beats."""
        return [one for one in exchanges if not any(self.beats(other, one) for other in exchanges)]

    def beats(self, one: Exchange, other: Exchange, alarm: bool = False) -> bool:
        """Tell whether more speaks for one exchange than for another.

        Args:
            one: an exchange.
            other: another.
            alarm: pictures must be as clear as where nothing else is wrong.

        """
        said = [
            self._tells("rgb", one.rgb, other.rgb, alarm),
            self._tells("shape", one.xyz, other.xyz, alarm),
            self._fits(one, other),
        ]
        # A turned part is as likely as another unless both say so.
        need = 2 if alarm and one.turned and len(self._like) > 1 else 1
        return sum(said) >= need

    def _tells(self, name: str, one: int, other: int, alarm: bool) -> int:
        if one == other or name not in self._like or (alarm and not self._posed):
            return 0
        apart = _AFTER[one][_BACK[other]]
        lead = min(self._leads[name][apart], self._leads[name][_BACK[apart]])
        a, b = float(self._like[name][one]), float(self._like[name][other])
        if lead < (ALARM if alarm else LEAD) or max(a, b) < self._likes[name]:
            return 0
        difference = a - b
        return int(np.sign(difference)) if abs(difference) >= SHARE * lead else 0

    def _fits(self, one: Exchange, other: Exchange) -> int:
        """Compare how much of the image the points explain, once each is turned back."""
        if self._registered is None:
            return 0
        a, b = (float(self._registered[_AFTER[_BACK[e.rgb]][e.xyz]]) for e in (one, other))
        if abs(a - b) < self._enough or max(a, b) < self._low - self._enough:
            return 0
        return 1 if a > b else -1


def _written(signs: Signs) -> str:
    letters = ["-" * (sign < 0) + "xyz"[i] for i, sign in signs]
    if [i for i, _ in signs] == [0, 1, 2]:
        negated = [letter[1] for letter in letters if letter[0] == "-"]
        return f"{' and '.join(negated)} {'is' if len(negated) == 1 else 'are'} negated"
    return f"x, y, z are written as {', '.join(letters)}"
