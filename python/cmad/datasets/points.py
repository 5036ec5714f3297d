"""Organised points from PLY, PCD and NPZ files, in the file's unit.

Own readers, because an organised cloud is an image of points: the order of its pixels and the
pixels without a point must survive, and general libraries for point clouds drop both.
"""

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Size = tuple[int, int]
Points = npt.NDArray[np.generic]
Structured = npt.NDArray[np.void]

_PLY_TYPES = {
    **{"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1"},
    **{"short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2"},
    **{"int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
_PLY_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
_PLY_GRID = re.compile(r"(num_cols|cols|width|num_rows|rows|height)\s*[:=]?\s*(\d+)$", re.I)


def read_ply(path: Path, size: Size | None = None) -> Points:
    """Read organised points from a PLY file, ASCII or binary.

    Height and width stand in the header (``obj_info num_cols 640``, ``comment width 640`` and the
    like for rows and height); without them they are ``size``. The vertices are row by row.

    Args:
        path: of the file.
        size: (H, W) of the image that the points belong to.

    Returns:
        (H, W, 3), floats as in the file.

    Raises:
        ValueError: not a PLY file, cut short, without x, y, z, or not as many vertices as pixels.

    """
    with path.open("rb") as file:
        kind, elements, grid = _ply_header(iter(file.readline, b""))
        body = file.read()
    if not elements or elements[0][0] != "vertex":
        raise ValueError("the first element must be vertex")
    _, count, fields = elements[0]
    try:
        layout = np.dtype([(name, _PLY_ORDERS[kind] + _PLY_TYPES[type_]) for name, type_ in fields])
    except KeyError as error:
        raise ValueError(f"vertices must hold plain numbers, got {error.args[0]}") from error
    vertices = _ascii(body, layout, count) if kind == "ascii" else _binary(body, layout, count)
    rows, columns = grid if grid is not None else size or (0, 0)
    if rows * columns != count:
        source = "its header says" if grid is not None else "its image has"
        wanted = f"{source} {rows}x{columns}" if grid or size else "its header gives no size"
        raise ValueError(
            f"points must be organised, one vertex per pixel, got {count} vertices where {wanted}"
        )
    return _xyz(vertices).reshape(rows, columns, 3)


def read_pcd(path: Path, size: Size | None = None) -> Points:
    """Read organised points from a PCD file: ascii, binary or binary_compressed.

    Args:
        path: of the file.
        size: not used; WIDTH and HEIGHT stand in the file.

    Returns:
        (HEIGHT, WIDTH, 3), floats as in the file, NaN where there is no point.

    Raises:
        ValueError: not a PCD file, cut short, without x, y, z, or unorganised (HEIGHT 1).

    """
    with path.open("rb") as file:
        head = _pcd_header(iter(file.readline, b""))
        body = file.read()
    try:
        names, types = head["FIELDS"], head["TYPE"]
        sizes = [int(n) for n in head["SIZE"]]
        counts = [int(n) for n in head.get("COUNT", ["1"] * len(names))]
        columns, rows = int(head["WIDTH"][0]), int(head["HEIGHT"][0])
        fields = zip(names, types, sizes, counts, strict=True)
        # Fields named "_" are padding; every field needs a name of its own here.
        layout = np.dtype(
            [
                (name if name != "_" else f"_{i}", f"<{type_.lower()}{bytes_}", (n,))
                for i, (name, type_, bytes_, n) in enumerate(fields)
            ]
        )
        kind = head["DATA"][0].lower()
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ValueError(f"the header is not that of a PCD file ({error})") from error
    if rows <= 1 or columns <= 1:
        raise ValueError(f"points must be organised, got WIDTH {columns} and HEIGHT {rows}")
    if kind == "ascii":
        points = _ascii(body, layout, rows * columns)
    elif kind == "binary":
        points = _binary(body, layout, rows * columns)
    elif kind == "binary_compressed":
        points = _compressed(body, layout, rows * columns)
    else:
        raise ValueError(f"DATA must be ascii, binary or binary_compressed, got {kind}")
    return _xyz(points).reshape(rows, columns, 3)


def read_npz(path: Path, size: Size | None = None) -> Points:
    """Read organised points from an NPZ file: the array ``xyz``, or the only one.

    Args:
        path: of the file.
        size: not used.

    Returns:
        The array as stored.

    Raises:
        ValueError: not an NPZ file, several arrays and none of them ``xyz``, or pickled objects.

    """
    if not zipfile.is_zipfile(path):
        raise ValueError("not an NPZ file, or cut short")
    with np.load(path, allow_pickle=False) as arrays:
        names = arrays.files
        if "xyz" not in names and len(names) != 1:
            raise ValueError(f"must hold an array xyz, or one only, got {', '.join(names) or 0}")
        return np.asarray(arrays["xyz" if "xyz" in names else names[0]])


READERS: dict[str, Callable[[Path, Size | None], Points]] = {
    ".ply": read_ply,
    ".pcd": read_pcd,
    ".npz": read_npz,
}
"""By suffix; TIFF is read with the images."""


def lzf(data: bytes, length: int) -> bytes:
    """Undo LZF compression, of which PCD files keep one block.

    A control byte below 32 is followed by that many bytes and one more; any other holds, from the
    top, 3 bits of length and 5 bits of distance for a copy of what is there already.

    Args:
        data: compressed bytes.
        length: of the result.

    Returns:
        ``length`` bytes.

    Raises:
        ValueError: the data end early, or lead elsewhere.

    """
    out, at = bytearray(), 0
    try:
        while at < len(data):
            control = data[at]
            at += 1
            if control < 32:
                out += data[at : at + control + 1]
                at += control + 1
                continue
            count = control >> 5
            if count == 7:
                count += data[at]
                at += 1
            start = len(out) - ((control & 31) << 8) - data[at] - 1
            at += 1
            if start < 0:
                raise ValueError("the compressed data are damaged")
            piece = out[start : start + count + 2]
            # A copy may reach into itself: it then repeats what there is.
            out += (piece * -(-(count + 2) // len(piece)))[: count + 2]
    except IndexError as error:
        raise ValueError("the compressed data are cut short") from error
    if len(out) != length:
        raise ValueError(f"the compressed data must unpack to {length} bytes, got {len(out)}")
    return bytes(out)


def _ply_header(
    lines: Iterator[bytes],
) -> tuple[str, list[tuple[str, int, list[tuple[str, str]]]], Size | None]:
    """Read format, elements (name, count, properties as name and type), and (H, W) if given."""
    if next(lines, b"").strip() != b"ply":
        raise ValueError("not a PLY file")
    kind, elements, grid = "", [], {}
    for line in lines:
        words = line.decode("ascii", "replace").split()
        match words:
            case ["end_header"]:
                break
            case ["format", name, *_]:
                kind = name
            case ["element", name, count]:
                elements.append((name, int(count), list[tuple[str, str]]()))
            case ["property", *types, name] if elements:
                elements[-1][2].append((name, " ".join(types)))
            case ["comment" | "obj_info", *rest]:
                if found := _PLY_GRID.match(" ".join(rest)):
                    grid["W" if found[1].lower() in ("num_cols", "cols", "width") else "H"] = int(
                        found[2]
                    )
    else:
        raise ValueError("the header has no end")
    if kind not in _PLY_ORDERS:
        raise ValueError(f"format must be one of {', '.join(_PLY_ORDERS)}, got {kind or 'none'}")
    return kind, elements, (grid["H"], grid["W"]) if len(grid) == 2 else None


def _pcd_header(lines: Iterator[bytes]) -> dict[str, list[str]]:
    head: dict[str, list[str]] = {}
    for line in lines:
        words = line.decode("ascii", "replace").split("#")[0].split()
        if words:
            head[words[0].upper()] = words[1:]
        if "DATA" in head:
            return head
    raise ValueError("the header has no DATA")


def _lengths(layout: np.dtype[np.void]) -> dict[str, int]:
    """Return how many numbers each field holds."""
    return {name: int(np.prod(layout[name].shape)) for name in layout.names or ()}


def _ascii(body: bytes, layout: np.dtype[np.void], count: int) -> Structured:
    """Parse numbers in text; returns a structured array of doubles."""
    lengths = _lengths(layout)
    width = sum(lengths.values())
    words = body.split(None, count * width)[: count * width]
    if len(words) < count * width:
        raise ValueError(f"cut short: must hold {count} points, got {len(words) // width}")
    try:
        table = np.array(words, np.float64)
    except ValueError as error:
        raise ValueError(f"points must be numbers: {error}") from error
    return table.view([(name, np.float64, (n,)) for name, n in lengths.items()])


def _binary(body: bytes, layout: np.dtype[np.void], count: int) -> Structured:
    if len(body) < count * layout.itemsize:
        raise ValueError(f"cut short: must hold {count} points, got {len(body) // layout.itemsize}")
    return np.frombuffer(body, layout, count)


def _compressed(body: bytes, layout: np.dtype[np.void], count: int) -> Structured:
    """Unpack points that are stored field by field."""
    if len(body) < 8:
        raise ValueError("cut short: the sizes of the compressed data are missing")
    packed, length = (int(n) for n in np.frombuffer(body, "<u4", 2))
    if len(body) < 8 + packed:
        raise ValueError(f"cut short: must hold {packed} compressed bytes, got {len(body) - 8}")
    if length != count * layout.itemsize:
        raise ValueError(f"must unpack to {count} points of {layout.itemsize} bytes, got {length}")
    data, at = lzf(body[8 : 8 + packed], length), 0
    points = np.zeros(count, layout)
    for name, n in _lengths(layout).items():
        field = np.frombuffer(data, layout[name].base, count * n, at)
        points[name] = field.reshape(points[name].shape)
        at += field.nbytes
    return points


def _xyz(points: Structured) -> Points:
    """Take the coordinates out of a structured array."""
    names = points.dtype.names or ()
    if missing := [axis for axis in "xyz" if axis not in names]:
        raise ValueError(f"must have x, y and z, got no {', '.join(missing)}")
    return np.stack([points[axis].reshape(len(points)) for axis in "xyz"], -1)
