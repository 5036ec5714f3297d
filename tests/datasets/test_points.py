"""Organised points in PLY, PCD and NPZ files."""

import struct

import numpy as np
import pytest
import tifffile

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
        (ply().replace(b"element vertex", b"element point"), "must hold an element vertex"),
        (ply() + b"\0", "1 bytes are left over behind the last point: the header tells less"),
        (ply().replace(b"\n", b"\r\n") + b"\r\n" * 3, "are left over .* in text mode"),
        (ply(kind="ascii") + b" 7\n8", "2 numbers are left over behind the last point"),
        (ply(header=["comment width 6", "obj_info num_cols 4"]), "two sizes, 6 and num_cols 4"),
        (ply(header=["obj_info num_cols 5"]), "24 vertices where its header says anyx5"),
        (ply(header=["element vertex 24"]), "two elements of one name"),
        (ply().replace(b"float y", b"half y"), "numbers of a known type, got half"),
        (ply().replace(b"face 0", b"face 2"), "cut short: must hold 2 of face, got 0 from byte"),
        (ply(kind="ascii").replace(b"face 0", b"face 2") + b" 1 5 1", "must hold 2 of face"),
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
        (pcd(width=5), "the header contradicts itself: 24 points in 4x5"),
        (
            pcd(kind="binary_compressed", width=5).replace(b"POINTS 24", b"POINTS 20"),
            "must unpack to 20 points of 26 bytes, got 624",
        ),
        (pcd() + b"\0\0", "2 bytes are left over behind the last point"),
        (pcd(kind="binary_compressed") + b"\0", "1 bytes are left over behind"),
        (pcd(kind="ascii") + b"\n0", "1 numbers are left over behind the last point"),
        (pcd().replace(b"FIELDS _ x", b"FIELDS _ w"), "must have x, y and z, got no x"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pcd_file_that_cannot_be_used_is_named_with_the_reason(tmp_path, data, message):
    path = write(tmp_path, "bad.pcd", data)
    with pytest.raises(ValueError, match=rf"bad\.pcd: cannot be read: .*{message}"):
        read_xyz(path)


@pytest.mark.parametrize("axis", ["num_cols 6", "num_rows 4"])
def test_half_of_a_size_in_a_ply_header_gives_the_other(tmp_path, axis):
    got = read_xyz(write(tmp_path, "a.ply", ply(header=[f"obj_info {axis}"])), (6, 4))
    np.testing.assert_array_equal(got, POINTS)


def with_grid(kind, lists=None, *, vertices=None):
    """A PLY file as the Stanford tools and PCL write it: no vertices for missing pixels."""
    there = np.isfinite(POINTS).all(-1).ravel()
    flat = POINTS.reshape(-1, 3)[there] if vertices is None else vertices
    index = np.cumsum(there) - 1
    rows = [[i] if ok else [] for i, ok in zip(index, there, strict=True)]
    rows = rows if lists is None else lists
    head = ply(flat[None], kind, header=["obj_info num_cols 6", "obj_info num_rows 4"])
    head, _, body = head.partition(b"element face 0\nproperty list uchar int vertex_index\n")
    body = body.removeprefix(b"end_header\n")
    order = ">" if "big" in kind else "<"
    grid, faces = b"", b"\n3 0 1 2\n4 0 1 2 3\n2 8 9\n"
    if kind == "ascii":
        grid = "".join(" ".join(map(str, [len(r), *r])) + "\n" for r in rows).encode()
    else:
        grid = b"".join(struct.pack(f"{order}B{len(r)}i", len(r), *r) for r in rows)
        faces = [(3, 0, 1, 2), (4, 0, 1, 2, 3), (2, 8, 9)]
        faces = b"".join(struct.pack(f"{order}B{len(f) - 1}i", *f) for f in faces)
    lines = b"element face 3\nproperty list uchar int vertex_index\n"
    lines += b"element range_grid %d\nproperty list uchar int vertex_indices\n" % len(rows)
    return head + lines + b"end_header\n" + body + faces + grid


@pytest.mark.parametrize("kind", ["binary_little_endian", "binary_big_endian", "ascii"])
def test_a_range_grid_puts_each_vertex_at_its_pixel(tmp_path, kind):
    got = read_xyz(write(tmp_path, "a.ply", with_grid(kind)), (ROWS, COLUMNS))
    np.testing.assert_array_equal(got, POINTS)
    backwards = [[i] for i in range(24)][::-1]  # all of one length are read at once
    flat = np.nan_to_num(POINTS).reshape(-1, 3)
    got = read_xyz(write(tmp_path, "a.ply", with_grid(kind, backwards, vertices=flat)), (4, 6))
    np.testing.assert_array_equal(got.reshape(-1, 3), flat[::-1])


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[0, 1]] * 24, "one vertex at most"),
        ([[23]] * 24, "range_grid must hold vertices 0 to 22"),
        ([[-1]] * 24, "range_grid must hold vertices 0 to 22"),
        ([[0]] * 20, "got 20 entries of range_grid where its header says 4x6"),
    ],
)
def test_a_range_grid_that_contradicts_its_file_is_refused(tmp_path, lists, message):
    for kind in ("ascii", "binary_little_endian"):
        with pytest.raises(ValueError, match=rf"a\.ply: .*{message}"):
            read_xyz(write(tmp_path, "a.ply", with_grid(kind, lists)))


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((w, np.nan) for w in ("nan", "-nan", "NaN", "-nan(ind)", "nan(snan)", "nan(0x7ff)")),
        *((w, np.nan) for w in ("1.#QNAN", "-1.#IND", "-1.#IND00", "1.#SNAN", "1.#R", "-1.#J")),
        *((w, np.inf) for w in ("1.#INF", "1.#INF00", "inf", "Infinity")),
        ("-1.#INF", -np.inf),
    ],
)
@pytest.mark.parametrize("make", [ply, pcd])
def test_numbers_that_are_none_are_read_in_any_spelling(tmp_path, make, word, value):
    points = np.full((ROWS, COLUMNS, 3), 0.25, np.float32)
    points[1, 2] = 77.5
    data = make(points, "ascii").replace(b"77.5", word.encode())
    got = read_xyz(write(tmp_path, f"a.{make.__name__}", data), (ROWS, COLUMNS))
    points[1, 2] = value
    np.testing.assert_array_equal(got, points)


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("sides", [(24, 1), (1, 24)])
def test_a_pcd_file_of_one_row_takes_the_images_size(tmp_path, kind, sides):
    path = write(tmp_path, "a.pcd", pcd(kind=kind, width=sides[0], height=sides[1]))
    np.testing.assert_array_equal(read_xyz(path, (ROWS, COLUMNS)), POINTS)
    with pytest.raises(ValueError, match=r"organised, got WIDTH .* where its image has 5x5"):
        read_xyz(path, (5, 5))


def surface(rows, columns, noise=0.0):
    """What a sensor sees: x along the rows, y down the columns, a millimetre a pixel."""
    row, column = np.mgrid[:rows, :columns] / 1000
    z = 0.5 + 0.01 * np.sin(40 * row) * np.cos(30 * column)
    points = np.stack([column, row, z], -1)
    points += np.random.default_rng(3).normal(size=points.shape) * noise
    return points.astype(np.float32)


def save(path, points, size):
    """Write points, in the order they have, with a size or without."""
    flat = points.reshape(*size, 3)
    if path.suffix == ".npz":
        np.savez(path, xyz=flat)
    elif path.suffix == ".tiff":
        tifffile.imwrite(path, flat, photometric="rgb")
    elif path.suffix == ".pcd":
        path.write_bytes(pcd(flat, width=size[0] * size[1], height=1))
    else:
        path.write_bytes(ply(flat))
    return path


@pytest.mark.parametrize("suffix", ["ply", "pcd", "npz", "tiff"])
@pytest.mark.parametrize("size", [(40, 60), (60, 40), (40, 41), (41, 40), (40, 80)])
def test_points_stored_column_by_column_are_refused_and_by_row_are_not(tmp_path, suffix, size):
    for points in (surface(*size), surface(*size, noise=2e-4)):
        path = tmp_path / f"a.{suffix}"
        np.testing.assert_array_equal(read_xyz(save(path, points, size), size), points)
        save(path, np.ascontiguousarray(points.transpose(1, 0, 2)), size)
        with pytest.raises(ValueError, match=rf"a\.{suffix}: .*stored column by column"):
            read_xyz(path, size)


def test_noise_and_long_rows_and_filled_places_are_not_taken_for_columns(tmp_path):
    rows = surface(20, 400)
    rows[..., 1] *= 30  # a line scanner: lines 30 mm apart, 1 mm between their points
    noise = np.random.default_rng(4).normal(size=(30, 50, 3)).astype(np.float32)
    counted = np.arange(40 * 60 * 3, dtype=np.float32).reshape(40, 60, 3)
    for points in (rows, noise, counted, np.ones((30, 50, 3), np.float32)):
        size = points.shape[:2]
        np.testing.assert_array_equal(
            read_xyz(save(tmp_path / "a.ply", points, size), size), points
        )


@pytest.mark.parametrize("suffix", ["ply", "pcd"])
def test_a_square_that_looks_stored_by_columns_brings_a_warning(tmp_path, suffix):
    points = surface(40, 40)
    path = save(tmp_path / f"a.{suffix}", points, (40, 40))
    np.testing.assert_array_equal(read_xyz(path, (40, 40)), points)
    turned = np.ascontiguousarray(points.transpose(1, 0, 2))
    save(path, turned, (40, 40))
    with pytest.warns(RuntimeWarning, match="may be stored column by column"):
        read_xyz(path, (40, 40))
    # With a size in the file its order is known.
    told = write(tmp_path, "b.ply", ply(turned, header=["comment width 40", "comment height 40"]))
    np.testing.assert_array_equal(read_xyz(told, (40, 40)), turned)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_an_npz_file_may_have_its_bytes_in_either_order(tmp_path, dtype):
    np.savez(tmp_path / "a.npz", xyz=POINTS.astype(dtype))
    got = read_xyz(tmp_path / "a.npz")
    assert got.dtype == np.float32
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, POINTS)


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
