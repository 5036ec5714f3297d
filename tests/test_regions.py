"""Regions: connected pixels, their size on surfaces of known area, and which modality disagreed."""

import time

import numpy as np
import pytest
import torch

from cmad import regions
from cmad.types import Region

PITCH = 0.5e-3  # metres between pixels


def surface(z):
    """Points of a camera that looks straight down, at these depths."""
    row, column = np.indices(z.shape)
    return np.stack([column * PITCH, row * PITCH, z], -1).astype(np.float32)


def flat(height=40, width=60):
    return surface(np.full((height, width), 0.5))


def marked(shape, *places, value=2.0):
    map_ = np.zeros(shape, np.float32)
    for place in places:
        map_[place] = value
    return map_


def only(map_, xyz, **options):
    (region,) = regions.find(map_, 1.0, xyz, **options)
    return region


BLOCK = np.s_[10:20, 30:50]


def test_a_block_on_a_plane_is_measured_exactly():
    map_ = marked((40, 60), BLOCK)
    map_[12, 33] = 3.0
    region = only(map_, flat())
    assert region.area == pytest.approx(200 * 0.25, rel=1e-5)  # mm², of points in float32
    assert region.centroid == pytest.approx((39.5 * PITCH, 14.5 * PITCH, 0.5), rel=1e-6)
    assert region == Region(
        (10, 30, 20, 50), 200, region.area, region.centroid, 3.0, (12, 33), None, {}
    )


def test_a_plane_tilted_by_45_degrees_has_its_true_area():
    row = np.indices((40, 60))[0]
    region = only(marked((40, 60), BLOCK), surface(0.5 + row * PITCH))
    assert region.area == pytest.approx(200 * 0.25 * 2**0.5, rel=1e-4)


def test_a_cap_of_a_sphere_has_its_true_area():
    row, column = np.indices((81, 81)) - 40
    radius, rim = 40.0, 30.0  # pixels
    z = 0.5 - PITCH * np.sqrt(np.maximum(radius**2 - row**2 - column**2, 0))
    inside = row**2 + column**2 <= rim**2
    region = only(marked((81, 81), inside), surface(z))
    want = 2 * np.pi * radius * (radius - np.sqrt(radius**2 - rim**2)) * 0.25
    assert want > 1.2 * inside.sum() * 0.25  # far from flat
    assert region.area == pytest.approx(want, rel=0.02)


def test_a_jump_in_depth_is_no_surface():
    z = np.full((40, 60), 0.5)
    z[:, 40:] += 6 * PITCH
    region = only(marked((40, 60), BLOCK), surface(z))
    assert region.area == pytest.approx(200 * 0.25, rel=1e-4)
    z[:, 40:] -= 3 * PITCH  # a steep flank
    assert only(marked((40, 60), BLOCK), surface(z)).area > 1.03 * 200 * 0.25


def test_noise_in_depth_does_not_make_a_surface_larger():
    """Triangles of single points would be 40 % too large at a noise of half a pixel's pitch."""
    noise = np.random.default_rng(0).normal(0, PITCH / 2, (40, 60))
    region = only(marked((40, 60), BLOCK), surface(0.5 + noise))
    assert region.area == pytest.approx(200 * 0.25, rel=0.02)


@pytest.mark.parametrize("missing", [0.0, np.nan, np.inf])
def test_missing_points_do_not_make_a_region_smaller(missing):
    xyz = flat()
    xyz[10:15, 30:40] = missing
    xyz[np.random.default_rng(0).random((40, 60)) < 0.2] = missing
    region = only(marked((40, 60), BLOCK), xyz)
    assert region.area == pytest.approx(200 * 0.25, rel=1e-4)
    there = xyz[BLOCK][np.isfinite(xyz[BLOCK]).all(-1) & (xyz[BLOCK] != 0).any(-1)]
    assert region.centroid == pytest.approx(tuple(there.mean(0, np.float64)), rel=1e-6)


def test_a_region_without_points_has_no_area_and_no_centroid():
    xyz = flat()
    xyz[BLOCK] = 0
    region = only(marked((40, 60), BLOCK), xyz)
    assert (region.area, region.centroid, region.pixels) == (None, None, 200)


def test_a_point_without_neighbours_has_a_centroid_but_no_area():
    xyz = np.zeros((40, 60, 3), np.float32)
    xyz[15, 40] = 0.1, 0.2, 0.5
    region = only(marked((40, 60), BLOCK), xyz)
    assert region.area is None
    assert region.centroid == pytest.approx((0.1, 0.2, 0.5))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_an_image_of_a_single_row_or_column_has_no_surface(size):
    region = only(np.full(size, 2, np.float32), flat(*size) + np.float32(0.1))
    assert (region.area, region.pixels) == (None, size[0] * size[1])


def test_one_pixel_is_a_region():
    region = only(marked((40, 60), np.s_[7, 9]), flat())
    assert (region.box, region.pixels, region.peak_pixel) == ((7, 9, 8, 10), 1, (7, 9))
    assert region.area == pytest.approx(0.25, rel=1e-4)


def test_regions_at_the_border_and_the_whole_image_keep_their_size():
    places = np.s_[:3, :4], np.s_[35:, 55:], np.s_[15:20, -1:]
    found = regions.find(marked((40, 60), *places), 1.0, flat())
    assert {r.box for r in found} == {(0, 0, 3, 4), (35, 55, 40, 60), (15, 59, 20, 60)}
    for region in found:
        assert region.area == pytest.approx(region.pixels * 0.25, rel=1e-4)
    whole = only(np.full((40, 60), 2, np.float32), flat())
    assert whole.area == pytest.approx(2400 * 0.25, rel=1e-4)


def rough(seed=0, size=(60, 90)):
    """A surface with noise, a jump in depth and missing points, and a map with many regions."""
    rng = np.random.default_rng(seed)
    z = 0.5 + rng.normal(0, PITCH / 4, size)
    z[:, 50:] += 8 * PITCH * rng.random(40)  # on both sides of the limit for a jump
    xyz = surface(z)
    xyz[:, :8, 2] *= 0.5 + rng.random((60, 8))  # edges much longer than elsewhere
    xyz[rng.random(size) < 0.2] = 0
    map_ = np.kron(rng.random((20, 30)), np.ones((3, 3))) + rng.random(size) / 4
    return map_.astype(np.float32), xyz


def same(a, b):
    assert (a.box, a.pixels, a.peak, a.peak_pixel) == (b.box, b.pixels, b.peak, b.peak_pixel)
    assert (a.modality, a.discrepancy) == (b.modality, b.discrepancy)
    # Sums of float64 in another order.
    for x, y in ((a.area, b.area), (a.centroid, b.centroid)):
        assert x is y is None or x == pytest.approx(y, rel=1e-12)


def test_every_region_is_measured_as_if_it_were_alone():
    map_, xyz = rough()
    maps, thresholds = {"2d": map_[::-1], "3d": map_}, {"2d": 0.8, "3d": 1.1}
    found = regions.find(map_, 0.9, xyz, maps, thresholds)
    assert len(found) > 20
    assert len({region.modality for region in found}) == 3
    for region in found:
        top, left, bottom, right = region.box
        alone = np.zeros_like(map_)
        alone[top:bottom, left:right] = map_[top:bottom, left:right]
        others = regions.find(alone, 0.9, xyz, maps, thresholds)
        same(region, next(r for r in others if r.peak_pixel == region.peak_pixel))


def plain_area(inside, xyz):
    """The area of one region, pixel by pixel as `regions.find` describes it; mm², or None."""
    xyz = xyz.astype(float)
    row, column = np.nonzero(inside)
    known = np.isfinite(xyz).all(-1) & (xyz != 0).any(-1)

    def length(a, b):
        return np.linalg.norm(xyz[a] - xyz[b]) if known[a] and known[b] else np.inf

    top, left = max(row.min() - 8, 0), max(column.min() - 8, 0)
    around = np.argwhere(np.ones_like(inside)[top : row.max() + 9, left : column.max() + 9])
    around = {(y + top, x + left) for y, x in around.tolist()}
    edges = [
        length(a, (a[0] + i, a[1] + j))
        for a in around
        for i, j in ((0, 1), (1, 0))
        if (a[0] + i, a[1] + j) in around
    ]
    limit = 5 * np.median([edge for edge in edges if edge < np.inf])

    def triangles(y, x):
        a, b, c, d = (y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)
        for corner, one, two in ((a, b, c), (d, c, b)):
            if max(length(corner, one), length(corner, two)) <= limit:
                yield np.cross(xyz[one] - xyz[corner], xyz[two] - xyz[corner]) / 2

    height, width = inside.shape
    surface = []
    for y, x in zip(row, column, strict=True):
        blocks = [
            (i, j)
            for i in range(y - 2, y + 2)
            for j in range(x - 2, x + 2)
            if 0 <= i < height - 1 and 0 <= j < width - 1
        ]
        vectors = [vector for block in blocks for vector in triangles(*block)]
        if known[y, x] and vectors:
            surface.append(2 * np.linalg.norm(np.mean(vectors, axis=0)))
    return np.mean(surface) * len(row) * 1e6 if surface else None


def test_areas_are_those_of_a_plain_loop_over_pixels_and_triangles():
    ndimage = pytest.importorskip("scipy.ndimage", reason="extra 'test' is not installed")
    map_, xyz = rough(2)
    label, count = ndimage.label(map_ > 1.0, np.ones((3, 3)))
    found = regions.find(map_, 1.0, xyz)
    assert len(found) == count > 20
    for region in found:
        inside = label == label[region.peak_pixel]
        want = plain_area(inside, xyz)
        assert region.area is want is None or region.area == pytest.approx(want, rel=1e-9)


def test_medians_are_those_of_numpy():
    """Of windows of many sizes with an even or odd number of known edges, or none."""
    rng = np.random.default_rng(0)
    row, column = rng.random((9, 11)), rng.random((8, 12))
    row[rng.random(row.shape) < 0.3] = np.nan
    column[rng.random(column.shape) < 0.3] = np.nan
    row[:3, :3] = column[:3, :3] = np.nan
    start = rng.integers(0, (7, 10), (60, 2))
    window = np.hstack([start, np.minimum(start + rng.integers(1, 6, (60, 2)), (9, 12))])
    window[0] = 0, 0, 3, 3
    got = regions._medians(row, column, window)
    for value, (top, left, bottom, right) in zip(got, window, strict=True):
        parts = row[top:bottom, left : right - 1], column[top : bottom - 1, left:right]
        known = np.concatenate([part[np.isfinite(part)] for part in parts])
        assert value == (np.median(known) if len(known) else 0)
    assert got[0] == 0


@pytest.mark.parametrize(("overhead", "piece"), [(-(10**9), 1 << 20), (10**9, 64), (10**9, 5000)])
def test_regions_apart_together_and_in_pieces_are_measured_alike(overhead, piece, monkeypatch):
    map_, xyz = rough(1)
    want = regions.find(map_, 0.9, xyz)
    monkeypatch.setattr(regions, "OVERHEAD", overhead)
    monkeypatch.setattr(regions, "PIECE", piece)
    for a, b in zip(regions.find(map_, 0.9, xyz), want, strict=True):
        same(a, b)


def test_forty_thousand_regions_take_a_second_or_so():
    """Measured one by one they took seven on the same machine; each looks at 17 x 17 pixels."""
    map_ = np.zeros((400, 400), np.float32)
    map_[::2, ::2] = 2
    xyz = flat(400, 400)
    begin = time.process_time()
    found = regions.find(map_, 1.0, xyz)
    assert time.process_time() - begin < 5
    assert len(found) == 40_000
    assert {r.pixels for r in found} == {1}
    assert [r.area for r in found] == pytest.approx([0.25] * 40_000, rel=1e-3)


def test_pixels_that_touch_at_a_corner_are_one_region_and_a_gap_makes_two():
    touching = marked((40, 60), np.s_[5:8, 5:8], np.s_[8:10, 8:10])
    assert only(touching, flat()).pixels == 13
    apart = marked((40, 60), np.s_[5:8, 5:8], np.s_[5:8, 9:11])
    assert sorted(r.pixels for r in regions.find(apart, 1.0, flat())) == [6, 9]


def test_regions_come_by_their_peak_and_ties_in_reading_order():
    map_ = marked((40, 60), np.s_[2, 2], np.s_[20, 2], np.s_[2, 50])
    map_[30, 30] = 5.0
    found = regions.find(map_, 1.0, flat())
    assert [r.peak_pixel for r in found] == [(30, 30), (2, 2), (2, 50), (20, 2)]


def test_only_values_above_the_threshold_are_marked():
    map_ = marked((40, 60), np.s_[2, 2], value=1.0)
    assert regions.find(map_, 1.0, flat()) == ()
    map_[2, 2] = np.nextafter(np.float32(1), np.float32(2))
    assert only(map_, flat()).pixels == 1


@pytest.mark.parametrize(
    ("peaks", "want"),
    [
        ((0.75, 0.5), "2d"),
        ((0.25, 1.5), "3d"),
        ((0.75, 1.5), "both"),
        ((0.5, 1.0), "2d"),  # at its threshold is not above it; the first of equals
        ((0.25, 0.75), "3d"),
        ((0.375, 0.5), "2d"),
    ],
)
def test_the_modality_is_what_is_above_its_threshold_else_the_nearer(peaks, want):
    discrepancy = {"2d": peaks[0], "3d": peaks[1]}
    maps = {k: marked((40, 60), np.s_[12, 35], value=v) for k, v in discrepancy.items()}
    maps["2d"][0, 0] = maps["3d"][0, 0] = 9.0  # beside the region
    thresholds = {"2d": 0.5, "3d": 1.0}
    region = only(marked((40, 60), BLOCK), flat(), maps=maps, map_thresholds=thresholds)
    assert region.modality == want
    assert region.discrepancy == discrepancy


def test_a_threshold_of_zero_compares_without_a_division():
    maps = {"2d": np.zeros((40, 60), np.float32), "3d": marked((40, 60), BLOCK, value=0.5)}
    thresholds = {"2d": 0.0, "3d": 1.0}
    region = only(marked((40, 60), BLOCK), flat(), maps=maps, map_thresholds=thresholds)
    assert region.modality == "3d"


def test_tensors_and_double_precision_give_the_same():
    map_, xyz = marked((40, 60), BLOCK), flat()
    assert only(map_, torch.from_numpy(xyz)) == only(map_, xyz) == only(map_, xyz.astype(float))


def test_shapes_that_differ_are_refused():
    map_ = marked((40, 60), BLOCK)
    with pytest.raises(ValueError, match=r"xyz \(H, W, 3\), got \(40, 60\) and \(60, 40, 3\)"):
        regions.find(map_, 1.0, flat(60, 40))
    with pytest.raises(ValueError, match=r"map '2d' must be \(40, 60\), got \(4, 4\)"):
        regions.find(map_, 1.0, flat(), {"2d": np.zeros((4, 4), np.float32)})
