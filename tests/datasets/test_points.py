"""Organised points in PLY, PCD and NPZ files."""

import struct

import numpy as np
import pytest

from cmad.datasets.files import read_xyz
from cmad.datasets.points import lzf

ROWS, COLUMNS = 4, 6
POINTS = np.random.default_rng(0).normal(size=(ROWS, COLUMNS, 3)).astype(np.float32)
POINTS[1, 2] = np.nan
POINTS[3, 0] = 0


def ply(points=POINTS, kind="binary_little_endian", *, header=(), colours=True, count=None):
    """A PLY file with a vertex per pixel, colours between the coordinates, and faces."""
    flat = points.reshape(-1, 3)
    fields = [("x", "f4"), ("red", "u1"), ("y", "f4"), ("z", "f4")] if colours else []
    fields = fields or [("x", "f4"), ("y", "f4"), ("z", "f4")]
    order = ">" if "big" in kind else "<"
    table = np.zeros(len(flat), [(name, order + type_) for name, type_ in fields])
    for axis, values in zip("xyz", flat.T, strict=True):
        table[axis] = values
    names = {"f4": "float", "u1": "uchar"}
    lines = ["ply", f"format {kind} 1.0", "comment made here", *header]
    lines += [f"element vertex {len(flat) if count is None else count}"]
    lines += [f"property {names[type_]} {name}" for name, type_ in fields]
    lines += ["element face 0", "property list uchar int vertex_index", "end_header", ""]
    if kind == "ascii":
        body = "\n".join(" ".join(repr(n.item()) for n in row) for row in table).encode()
    else:
        body = table.tobytes()
    return "\n".join(lines).encode() + body


def pcd(points=POINTS, kind="binary", *, width=COLUMNS, height=ROWS, packed=None):
    """A PCD file with padding and a field of three numbers beside the coordinates."""
    flat = points.reshape(-1, 3)
    layout = [("_", "<u1", (2,)), ("x", "<f4"), ("y", "<f4"), ("n", "<f4", (3,)), ("z", "<f4")]
    table = np.zeros(len(flat), layout)
    for axis, values in zip("xyz", flat.T, strict=True):
        table[axis] = values
    table["n"] = np.arange(3)
    lines = ["# .PCD v0.7", "VERSION 0.7", "FIELDS _ x y n z", "SIZE 1 4 4 4 4", "TYPE U F F F F"]
    lines += ["COUNT 2 1 1 3 1", f"WIDTH {width}", f"HEIGHT {height}", "VIEWPOINT 0 0 0 1 0 0 0"]
    lines += [f"POINTS {len(flat)}", f"DATA {kind}", ""]
    if kind == "ascii":
        rows = (" ".join(str(n) for f in row for n in np.atleast_1d(f)) for row in table.tolist())
        body = "\n".join(rows).encode()
    elif kind == "binary":
        body = table.tobytes()
    else:
        fields = b"".join(np.ascontiguousarray(table[name]).tobytes() for name in table.dtype.names)
        body = literal(fields) if packed is None else packed(fields)
        body = struct.pack("<II", len(body), len(fields)) + body
    return "\n".join(lines).encode() + body


def literal(data):
    """Compressed without compressing: runs of 32 bytes as they are."""
    runs = (data[i : i + 32] for i in range(0, len(data), 32))
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def write(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["binary_little_endian", "binary_big_endian", "ascii"])
@pytest.mark.parametrize(
    "header",
    [
        ["obj_info num_cols 6", "obj_info num_rows 4"],
        ["comment width: 6", "comment height: 4"],
        ["comment Cols = 6", "comment Rows = 4"],
    ],
    ids=["obj_info", "comment", "equals"],
)
def test_a_ply_file_that_says_its_size_is_read_exactly(tmp_path, kind, header):
    got = read_xyz(write(tmp_path, "a.PLY", ply(kind=kind, header=header)), (9, 9))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, POINTS)


@pytest.mark.parametrize("kind", ["binary_little_endian", "ascii"])
def test_a_ply_file_without_size_takes_the_images(tmp_path, kind):
    path = write(tmp_path, "a.ply", ply(kind=kind, colours=False))
    np.testing.assert_array_equal(read_xyz(path, (ROWS, COLUMNS)), POINTS)
    np.testing.assert_array_equal(read_xyz(path, (COLUMNS, ROWS)), POINTS.reshape(6, 4, 3))
    with pytest.raises(ValueError, match=r"a\.ply: .*organised.* 24 vertices .* gives no size"):
        read_xyz(path)


def test_lines_may_end_as_on_windows_in_a_ply_header(tmp_path):
    head, _, body = ply().partition(b"end_header\n")
    data = head.replace(b"\n", b"\r\n") + b"end_header\r\n" + body
    np.testing.assert_array_equal(read_xyz(write(tmp_path, "a.ply", data), (ROWS, COLUMNS)), POINTS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a PLY file"),
        (b"PK not ply", "not a PLY file"),
        (ply()[:60], "the header has no end"),
        (ply()[:-200], r"cut short: must hold 24 points, got \d+"),
        (ply(kind="ascii")[:-200], r"cut short: must hold 24 points, got \d+"),
        (ply(kind="ascii")[:-4] + b"oops", "points must be numbers: .*oops"),
        (ply(kind="binary_middle_endian"), "format must be one of .*got binary_middle_endian"),
        (ply(count=23), "organised, one vertex per pixel, got 23 vertices where its image has 4x6"),
        (
            ply(header=["comment width 7", "comment height 4"]),
            "got 24 vertices where its header says 4x7",
        ),
        (ply().replace(b"float y", b"float q"), "must have x, y and z, got no y"),
        (ply().replace(b"uchar red", b"list uchar int red"), "plain numbers, got list uchar int"),
        (ply().replace(b"element vertex", b"element point"), "first element must be vertex"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_ply_file_that_cannot_be_used_is_named_with_the_reason(tmp_path, data, message):
    path = write(tmp_path, "bad.ply", data)
    with pytest.raises(ValueError, match=rf"bad\.ply: cannot be read: .*{message}"):
        read_xyz(path, (ROWS, COLUMNS))


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
def test_a_pcd_file_is_read_exactly(tmp_path, kind):
    got = read_xyz(write(tmp_path, "a.pcd", pcd(kind=kind)))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, POINTS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the header has no DATA"),
        (b"DATA binary\n", r"not that of a PCD file \('FIELDS'\)"),
        (pcd(width=24, height=1), "organised, got WIDTH 24 and HEIGHT 1"),
        (pcd(kind="zip", packed=literal), "DATA must be ascii, binary or .*got zip"),
        (pcd()[:-5], "cut short: must hold 24 points, got 23"),
        (pcd(kind="ascii")[:-90], r"cut short: must hold 24 points, got \d+"),
        (pcd(kind="binary_compressed")[:-5], "cut short: must hold .* compressed bytes"),
        (pcd(kind="binary_compressed", packed=lambda d: literal(d[:-9])), "must unpack to"),
        (
            pcd(kind="binary_compressed", packed=lambda _: b"\x20\x07"),
            "compressed data are damaged",
        ),
        (pcd(kind="binary_compressed", packed=lambda _: b"\x00a\xe0"), "data are cut short"),
        (pcd(kind="binary_compressed", width=5), "must unpack to 20 points of 26 bytes, got 624"),
        (pcd().replace(b"FIELDS _ x", b"FIELDS _ w"), "must have x, y and z, got no x"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pcd_file_that_cannot_be_used_is_named_with_the_reason(tmp_path, data, message):
    path = write(tmp_path, "bad.pcd", data)
    with pytest.raises(ValueError, match=rf"bad\.pcd: cannot be read: .*{message}"):
        read_xyz(path)


def test_lzf_copies_what_is_there_already_also_into_itself():
    assert lzf(b"\x02abc", 3) == b"abc"
    # Three bytes, then 4 (2 + 2) from 3 back: "abca".
    assert lzf(b"\x02abc\x40\x02", 7) == b"abcabca"
    # One byte, then 7 + 3 + 2 from 1 back.
    assert lzf(b"\x00x\xe0\x03\x00", 13) == b"x" * 13
    # A distance beyond 256 has its high bits in the control byte.
    far = literal(bytes(range(256)) + b"-" * 44) + b"\x21\x2b"
    assert lzf(far, 303)[-3:] == bytes([0, 1, 2])


def test_compressed_points_of_open3d_are_read_as_its_plain_ones(tmp_path, open3d):
    size = 30, 40
    points = np.round(np.random.default_rng(1).normal(size=(*size, 3)), 1)  # repeats compress
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points.reshape(-1, 3)))
    for ascii_, compressed in ((True, False), (False, False), (False, True)):
        path = tmp_path / "a.pcd"
        open3d.io.write_point_cloud(str(path), cloud, write_ascii=ascii_, compressed=compressed)
        data = path.read_bytes()
        assert b"WIDTH 1200\nHEIGHT 1\n" in data
        path.write_bytes(data.replace(b"WIDTH 1200\nHEIGHT 1\n", b"WIDTH 40\nHEIGHT 30\n"))
        np.testing.assert_allclose(read_xyz(path), points, rtol=0, atol=1e-6)  # text is rounded
    for ascii_ in (True, False):
        path = tmp_path / "a.ply"
        open3d.io.write_point_cloud(str(path), cloud, write_ascii=ascii_)
        np.testing.assert_allclose(read_xyz(path, size), points, rtol=0, atol=1e-6)


@pytest.mark.parametrize("arrays", [{"xyz": POINTS, "rgb": np.zeros(3)}, {"cloud": POINTS}])
def test_an_npz_file_gives_xyz_or_its_only_array(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    np.testing.assert_array_equal(read_xyz(tmp_path / "a.npz"), POINTS)


def test_an_npz_file_that_cannot_be_used_is_named_with_the_reason(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, a=POINTS, b=POINTS)
    with pytest.raises(ValueError, match=r"bad\.npz: .*array xyz, or one only, got a, b"):
        read_xyz(path)
    np.savez(path, xyz=POINTS.reshape(-1, 3))
    with pytest.raises(ValueError, match=r"bad\.npz: xyz must be organised .*got \(24, 3\) float"):
        read_xyz(path)
    np.savez(path, xyz=np.array([object()]))
    with pytest.raises(ValueError, match=r"bad\.npz: cannot be read: .*allow_pickle"):
        read_xyz(path)
    np.savez(path, xyz=POINTS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(
        ValueError, match=r"bad\.npz: cannot be read: not an NPZ file, or cut short"
    ):
        read_xyz(path)
