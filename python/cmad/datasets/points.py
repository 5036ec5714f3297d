"""Organised points from PCD and NPZ files, in the file's unit; the table of all such readers.

Own readers, because an organised cloud is an image of points: the order of its pixels and the
pixels without a point must survive, and general libraries for point clouds drop both.
"""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cmad.datasets.ply import read_ply
from cmad.datasets.tables import (
    Points,
    Size,
    Structured,
    expect_end,
    from_bytes,
    from_words,
    lengths_of,
    warn_of_square,
    xyz_of,
)


def read_pcd(path: Path, size: Size | None = None) -> Points:
    """Read organised points from a PCD file: ascii, binary or binary_compressed.

    Args:
        path: of the file.
        size: (H, W) of the image that the points belong to, for files with HEIGHT 1, as Open3D
            writes them of any cloud.

    Returns:
        (H, W, 3), floats as in the file, NaN where there is no point.

    Raises:
        ValueError: not a PCD file, cut short or with bytes left over, without x, y, z, sizes that
            contradict each other, or not as many points as pixels.

    """
    with path.open("rb") as file:
        head = pcd_header(iter(file.readline, b""))
        body = file.read()
    try:
        names, types = head["FIELDS"], head["TYPE"]
        sizes = [int(n) for n in head["SIZE"]]
        counts = [int(n) for n in head.get("COUNT", ["1"] * len(names))]
        columns, rows = int(head["WIDTH"][0]), int(head["HEIGHT"][0])
        count = int(head.get("POINTS", [str(rows * columns)])[0])
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
    if count != rows * columns:
        raise ValueError(f"the header contradicts itself: {count} points in {rows}x{columns}")
    flat = min(rows, columns) <= 1
    if flat:
        if size is None or size[0] * size[1] != count:
            image = "" if size is None else f" where its image has {size[0]}x{size[1]}"
            raise ValueError(
                f"points must be organised, got WIDTH {columns} and HEIGHT {rows}{image}"
            )
        rows, columns = size
    if kind == "ascii":
        words = body.split()
        width = sum(lengths_of(layout).values())
        table = from_words(words[: count * width], layout, count)
        expect_end(len(words) - count * width, "numbers", b"")
    elif kind == "binary":
        table = from_bytes(body, layout, count)
        expect_end(len(body) - table.nbytes, "bytes", body)
    elif kind == "binary_compressed":
        table = _compressed(body, layout, count)
    else:
        raise ValueError(f"DATA must be ascii, binary or binary_compressed, got {kind}")
    points = xyz_of(table).reshape(rows, columns, 3)
    if flat:
        warn_of_square(points)
    return points


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
            if len(out) > length:  # and not only at the end, which may be far
                break
    except IndexError as error:
        raise ValueError("the compressed data are cut short") from error
    if len(out) != length:
        got = f"{len(out)}" if len(out) < length else "more"
        raise ValueError(f"the compressed data must unpack to {length} bytes, got {got}")
    return bytes(out)


def pcd_header(lines: Iterator[bytes]) -> dict[str, list[str]]:
    """Read the words of each entry of a PCD file's header; raise ValueError where it has no end."""
    head: dict[str, list[str]] = {}
    for line in lines:
        words = line.decode("ascii", "replace").split("#")[0].split()
        if words:
            head[words[0].upper()] = words[1:]
        if "DATA" in head:
            return head
    raise ValueError("the header has no DATA")


def _compressed(body: bytes, layout: np.dtype[np.void], count: int) -> Structured:
    """Unpack points that are stored field by field."""
    if len(body) < 8:
        raise ValueError("cut short: the sizes of the compressed data are missing")
    packed, length = (int(n) for n in np.frombuffer(body, "<u4", 2))
    if len(body) < 8 + packed:
        raise ValueError(f"cut short: must hold {packed} compressed bytes, got {len(body) - 8}")
    if length != count * layout.itemsize:
        raise ValueError(f"must unpack to {count} points of {layout.itemsize} bytes, got {length}")
    expect_end(len(body) - 8 - packed, "bytes", body)
    data, at = lzf(body[8 : 8 + packed], length), 0
    points = np.zeros(count, layout)
    for name, n in lengths_of(layout).items():
        field = np.frombuffer(data, layout[name].base, count * n, at)
        points[name] = field.reshape(points[name].shape)
        at += field.nbytes
    return points
