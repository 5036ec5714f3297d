"""What an upload would take is known from its header; what is too much is not decoded."""

import contextlib
import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad.datasets.points import lzf
from cmad.serve.limits import TEXT, Limits, TooLargeError, WrongTypeError

LIMITS = Limits(bytes=1 << 20, pixels=10_000)


def tiff(path, array=None, **options):
    array = np.zeros((20, 30, 3), np.float32) if array is None else array
    tifffile.imwrite(path, array, photometric="rgb", **options)


def npz(path, shape, data=b"", name="xyz.npy", descr="<f4"):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, header.getvalue() + data)


def png(path, width, height):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IEND", b""))


PCD = (
    "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT {count} 1 1\nWIDTH {w}\nHEIGHT {h}\nDATA {kind}\n"
)

PLY = "ply\nformat ascii 1.0\nelement vertex {count}\nend_header\n"


def pcd(path, w=30, h=20, count=1, kind="binary"):
    path.write_bytes(PCD.format(w=w, h=h, count=count, kind=kind).encode())


GOOD = {
    "a.tiff": tiff,
    "b.tiff": lambda p: tiff(p, tile=(16, 16), compression="zlib"),
    "c.tiff": lambda p: Image.new("RGB", (30, 20)).save(p),
    "a.png": lambda p: png(p, 100, 100),
    "a.jpg": lambda p: Image.new("RGB", (30, 20)).save(p),
    "a.npz": lambda p: np.savez(p, xyz=np.zeros((20, 30, 3))),
    "b.npz": lambda p: np.savez_compressed(p, np.zeros((100, 100, 3))),
    "a.pcd": pcd,
    "a.ply": lambda p: p.write_text(PLY.format(count=600)),
}


@pytest.mark.parametrize("name", GOOD)
def test_usual_files_pass(tmp_path, name):
    GOOD[name](tmp_path / name)
    LIMITS.check(tmp_path / name)


BOMBS = {
    "a.png": lambda p: png(p, 60_000, 60_000),
    "b.png": lambda p: png(p, 101, 100),
    "a.tiff": lambda p: tiff(p, np.zeros((2000, 2000, 3), np.float32), compression="zlib"),
    "tile.tiff": lambda p: tiff(p, tile=(4096, 4096), compression="zlib"),
    "pages.tiff": lambda p: tiff(p, np.zeros((40, 20, 30, 3), np.uint8)),
    "many.tiff": lambda p: tiff(p, np.zeros((70, 2, 2, 3), np.uint8), metadata=None),
    "wide.tiff": lambda p: tifffile.imwrite(
        p, np.zeros((90, 90, 50), np.float64), photometric="minisblack", planarconfig="contig"
    ),
    "a.npz": lambda p: npz(p, (10**6, 10**6, 3)),
    "flat.npz": lambda p: npz(p, (10**9,)),
    "wide.npz": lambda p: npz(p, (20, 30, 3), descr="<U9999"),
    "a.ply": lambda p: p.write_bytes(
        b"ply\nformat ascii 1.0\nelement vertex 9999999\nend_header\n"
    ),
    "a.pcd": lambda p: pcd(p, w=10**6),
    "wide.pcd": lambda p: pcd(p, count=10**6),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_take_too_much_is_not_decoded(tmp_path, name):
    BOMBS[name](tmp_path / name)
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match=name.replace(".", r"\.")):
            LIMITS.check(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_points_in_words_are_bounded_by_their_bytes(tmp_path):
    for name, head in (
        ("a.ply", PLY.format(count=600).encode()),
        ("a.pcd", PCD.format(w=30, h=20, count=1, kind="ascii").encode()),
    ):
        with (tmp_path / name).open("wb") as file:
            file.write(head)
            file.truncate(TEXT + 1)
        with pytest.raises(TooLargeError, match="points in words"):
            LIMITS.check(tmp_path / name)


DAMAGED = {
    "a.png": b"no image",
    "a.tiff": b"II*\0\x08\0\0\0",
    "b.tiff": b"",
    "a.npz": b"PK",
    "a.ply": b"ply\nformat ascii 1.0\n",
    "a.pcd": b"FIELDS x y z\nWIDTH many\nDATA ascii\n",
    "b.pcd": b"FIELDS x y z\n",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_header_is_said_with_the_files_name(tmp_path, name):
    (tmp_path / name).write_bytes(DAMAGED[name])
    with pytest.raises(ValueError, match=name.replace(".", r"\.") + ": cannot be read: ") as error:
        LIMITS.check(tmp_path / name)
    assert type(error.value) is ValueError


def test_an_npz_that_holds_more_than_its_header_tells_is_refused(tmp_path):
    npz(tmp_path / "a.npz", (20, 30, 3), bytes(10 << 20))
    with pytest.raises(ValueError, match="larger than its header tells"):
        LIMITS.check(tmp_path / "a.npz")


def test_tiffs_whose_size_is_not_in_their_header_are_refused(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "jpeg.tiff", compression="jpeg")
    with pytest.raises(WrongTypeError, match="compression JPEG is not taken here; save it with"):
        LIMITS.check(tmp_path / "jpeg.tiff")
    data = np.zeros((20, 30, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tiff", data, photometric="rgb", ome=True)
    with pytest.raises(WrongTypeError, match="ome is no kind of TIFF that is taken here"):
        LIMITS.check(tmp_path / "a.ome.tiff")


def test_a_strip_that_holds_more_than_its_image_is_cut(tmp_path):
    """Of tifffile: what the header tells bounds what comes out of a strip."""
    path = tmp_path / "a.tiff"
    tiff(path, np.zeros((8, 8, 3), np.uint8), compression="zlib", metadata=None)
    bomb = zlib.compress(bytes(64 << 20))
    with tifffile.TiffFile(path) as read:
        count, offset = (read.pages[0].tags[n].valueoffset for n in (279, 273))
    data = bytearray(path.read_bytes())
    end = len(data)
    data += bomb
    data[offset : offset + 4] = struct.pack("<I", end)
    data[count : count + 4] = struct.pack("<I", len(bomb))
    path.write_bytes(data)
    LIMITS.check(path)
    tracemalloc.start()
    try:
        with contextlib.suppress(Exception):  # of whichever decoder there is
            assert tifffile.imread(path).nbytes == 192
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_lzf_stops_where_it_unpacks_to_more_than_it_should():
    copies = b"\x00a" + b"\xe0\xff\x00" * 500_000  # of 264 bytes each
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="must unpack to 600 bytes, got more"):
            lzf(copies, 600)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_file_is_of_the_type_it_is_named_after(tmp_path):
    for kind in ("EPS", "TIFF", "GIF", "ICO"):
        Image.new("RGB", (30, 20)).save(tmp_path / "a.png", kind)
        with pytest.raises(WrongTypeError, match=f"a.png: is {kind}, not one of PNG"):
            LIMITS.check(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("field", "name"),
    [("image", "a.ply"), ("image", ""), ("points", "a.jpg"), ("points", "tiff"), ("image", None)],
)
def test_a_type_that_no_reader_has_is_refused(field, name):
    with pytest.raises(WrongTypeError, match=f"{field} must be one of "):
        LIMITS.suffix(field, name)


def test_a_suffix_is_one_of_ours_whatever_the_name():
    assert LIMITS.suffix("points", "../../etc/passwd/x.TIFF") == ".tiff"
    assert LIMITS.suffix("image", "a\0/b.png") == ".png"
