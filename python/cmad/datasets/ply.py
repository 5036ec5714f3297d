"""Organised points from PLY files, with the pixels that have none."""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cmad.datasets.tables import (
    Points,
    Size,
    Structured,
    expect_end,
    from_bytes,
    from_words,
    warn_of_square,
    xyz_of,
)

_TYPES = {
    **{"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1"},
    **{"short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2"},
    **{"int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
_CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
_GRID = re.compile(r"(num_cols|cols|width|num_rows|rows|height)\s*[:=]?\s*(\d+)$", re.I)
_COLUMNS = ("num_cols", "cols", "width")
Lists = Sequence[Sequence[float]] | npt.NDArray[np.generic]


@dataclass
class _Element:
    name: str
    count: int
    fields: list[tuple[str, str]] = field(default_factory=list)
    """Name and type, ``list uchar int`` for a list."""

    @property
    def has_lists(self) -> bool:
        return any(type_.startswith("list ") for _, type_ in self.fields)


def read_ply(path: Path, size: Size | None = None) -> Points:
    """Read organised points from a PLY file, ASCII or binary.

    Height and width stand in the header (``obj_info num_cols 640``, ``comment width 640`` and the
    like for rows and height); without them they are ``size``. The vertices are row by row; with an
    element ``range_grid`` it says which vertex each pixel has, and a pixel without one is NaN.

    Args:
        path: of the file.
        size: (H, W) of the image that the points belong to.

    Returns:
        (H, W, 3), floats as in the file.

    Raises:
        ValueError: not a PLY file, cut short or with bytes left over, without x, y, z, or not as
            many vertices as pixels.

    """
    with path.open("rb") as file:
        kind, elements, grid = _header(iter(file.readline, b""))
        body = file.read()
    found = {element.name: element for element in elements}
    if "vertex" not in found:
        raise ValueError("must hold an element vertex")
    cells = found.get("range_grid", found["vertex"])
    rows, columns = _size(grid, cells.count, size, cells.name)
    tables, lists = _elements(kind, elements, body)
    points = xyz_of(tables["vertex"])
    if "range_grid" in found:
        if "range_grid" not in lists:
            raise ValueError("range_grid must hold a list of vertices for each pixel")
        points = _on_grid(points, lists["range_grid"])
    points = points.reshape(rows, columns, 3)
    if not grid:
        warn_of_square(points)
    return points


def _header(lines: Iterator[bytes]) -> tuple[str, list[_Element], dict[str, int]]:
    """Read format, elements, and what is said of ``"H"`` and ``"W"``."""
    if next(lines, b"").strip() != b"ply":
        raise ValueError("not a PLY file")
    kind, elements, grid = "", list[_Element](), dict[str, int]()
    for line in lines:
        words = line.decode("ascii", "replace").split()
        match words:
            case ["end_header"]:
                break
            case ["format", name, *_]:
                kind = name
            case ["element", name, count]:
                elements.append(_Element(name, int(count)))
            case ["property", *types, name] if elements:
                elements[-1].fields.append((name, " ".join(types)))
            case ["comment" | "obj_info", *rest]:
                if found := _GRID.match(" ".join(rest)):
                    side = "W" if found[1].lower() in _COLUMNS else "H"
                    if grid.setdefault(side, int(found[2])) != int(found[2]):
                        raise ValueError(f"the header gives two sizes, {grid[side]} and {found[0]}")
    else:
        raise ValueError("the header has no end")
    if kind not in _ORDERS:
        raise ValueError(f"format must be one of {', '.join(_ORDERS)}, got {kind or 'none'}")
    if len({element.name for element in elements}) < len(elements):
        raise ValueError("the header has two elements of one name")
    return kind, elements, grid


def _size(grid: dict[str, int], count: int, size: Size | None, name: str) -> Size:
    """Return rows and columns, by the header or else by the image."""
    rows, columns = grid.get("H", 0), grid.get("W", 0)
    if grid and not rows and columns:
        rows = count // columns
    if grid and not columns and rows:
        columns = count // rows
    if not grid and size is not None:
        rows, columns = size
    if rows * columns != count or not count:
        said = f"its header says {grid.get('H', 'any')}x{grid.get('W', 'any')}"
        wanted = said if grid else f"its image has {rows}x{columns}"
        wanted = wanted if grid or size else "its header gives no size"
        entries = "vertices" if name == "vertex" else f"entries of {name}"
        raise ValueError(
            f"points must be organised, one vertex per pixel, got {count} {entries} where {wanted}"
        )
    return rows, columns


def _elements(
    kind: str, elements: list[_Element], body: bytes
) -> tuple[dict[str, Structured], dict[str, Lists]]:
    """Read all elements to the end: those of plain numbers, and the last list of the others."""
    tables, lists = dict[str, Structured](), dict[str, Lists]()
    words = body.split() if kind == "ascii" else []
    at = 0
    for element in elements:
        if element.has_lists:
            if element.name == "vertex":
                said = next(type_ for _, type_ in element.fields if type_.startswith("list "))
                raise ValueError(f"vertices must hold plain numbers, got {said}")
            if kind == "ascii":
                lists[element.name], at = _listed_words(element, words, at)
            else:
                lists[element.name], at = _listed_bytes(element, body, at, _ORDERS[kind])
            continue
        layout = np.dtype([(n, _ORDERS[kind] + _type(type_)) for n, type_ in element.fields])
        if kind == "ascii":
            end = at + element.count * len(element.fields)
            tables[element.name] = from_words(words[at:end], layout, element.count)
            at = end
        else:
            tables[element.name] = from_bytes(body, layout, element.count, at)
            at += element.count * layout.itemsize
    if kind == "ascii":
        expect_end(len(words) - at, "numbers", b"")
    else:
        expect_end(len(body) - at, "bytes", body)
    return tables, lists


def _listed_words(element: _Element, words: list[bytes], at: int) -> tuple[Lists, int]:
    """Read the rows of an element with lists from text."""
    found = list[list[float]]()
    try:
        for _ in range(element.count):
            row = list[float]()
            for _, type_ in element.fields:
                n = int(words[at]) if type_.startswith("list ") else 0
                if n < 0 or at + n >= len(words):
                    raise IndexError
                if type_.startswith("list "):
                    row = [float(word) for word in words[at + 1 : at + 1 + n]]
                at += 1 + n
            found.append(row)
    except IndexError as error:
        raise ValueError(f"cut short: must hold {element.count} of {element.name}") from error
    return found, at


def _listed_bytes(element: _Element, body: bytes, at: int, order: str) -> tuple[Lists, int]:
    """Read the rows of an element with lists from bytes."""
    codes = [
        [_CODES[_type(t)] for t in type_.split()[-2:] if t != "list"] for _, type_ in element.fields
    ]
    heads = [struct.Struct(order + code[0]) for code in codes]
    if (even := _even(codes, element.count, body, at, order)) is not None:
        return even[f"v{len(codes) - 1}"] if len(codes[-1]) == 2 else [], at + even.nbytes
    found, start = list[Sequence[float]](), at
    items = dict[str, struct.Struct]()
    try:
        for _ in range(element.count):
            row: Sequence[float] = ()
            for code, head in zip(codes, heads, strict=True):
                (n,) = head.unpack_from(body, at)
                at += head.size
                if len(code) == 2:
                    text = f"{order}{n}{code[1]}"
                    if text not in items:
                        items[text] = struct.Struct(text)
                    row = items[text].unpack_from(body, at)
                    at += items[text].size
            found.append(row)
    except struct.error as error:
        raise ValueError(
            f"cut short: must hold {element.count} of {element.name}, got {len(found)} from byte "
            f"{start} on"
        ) from error
    return found, at


def _even(
    codes: list[list[str]], count: int, body: bytes, at: int, order: str
) -> Structured | None:
    """Read all rows at once, as a mesh of triangles allows, where lists are as long as the first's.

    Returns:
        Fields ``n0``, ``n1``, ... with lengths or numbers, ``v0``, ... with the lists; None where
        the lists differ in length or the bytes are too few.

    """
    layout = np.dtype([])
    for i, code in enumerate(codes):
        head = [(f"n{i}", order + code[0])]
        layout = np.dtype([*layout.descr, *head] if layout.names else head)
        if len(code) == 2:
            if len(body) < at + layout.itemsize:
                return None
            length = int(np.frombuffer(body, layout, 1, at)[f"n{i}"][0])
            layout = np.dtype([*layout.descr, (f"v{i}", order + code[1], (max(length, 0),))])
    if not count or len(body) < at + count * layout.itemsize:
        return None
    rows = np.frombuffer(body, layout, count, at)
    lists = [i for i, code in enumerate(codes) if len(code) == 2]
    even = all((rows[f"n{i}"] == rows[f"v{i}"].shape[1]).all() for i in lists)
    return rows if even else None


def _on_grid(points: Points, lists: Lists) -> Points:
    """Put each vertex at its pixel; NaN where a pixel has none."""
    if max(map(len, lists)) > 1:
        raise ValueError("range_grid must give a pixel one vertex at most")
    there = np.array([len(row) == 1 for row in lists])
    index: npt.NDArray[np.int64] = np.array([int(row[0]) for row in lists if len(row)], np.int64)
    if len(index) and not (index.min() >= 0 and index.max() < len(points)):
        raise ValueError(f"range_grid must hold vertices 0 to {len(points) - 1}")
    placed = np.full((len(lists), 3), np.nan, np.result_type(points.dtype, np.float32))
    placed[there] = points[index]
    return placed


def _type(name: str) -> str:
    if name not in _TYPES:
        raise ValueError(f"properties must hold numbers of a known type, got {name}")
    return _TYPES[name]
