import numpy as np
import pytest
from PIL import Image

from cmad.report import captioned, colour, depth, outline, overlay, sheet


def luminance(pixels):
    return np.asarray(pixels, np.float64) @ [0.2126, 0.7152, 0.0722]


def test_colours_grow_brighter_along_the_whole_scale():
    ramp = np.linspace(0, 1, 200)[None]
    bright = luminance(colour(ramp, 0, 1))[0]
    assert (np.diff(bright) >= 0).all()
    assert bright[0] < 20
    assert bright[-1] > 235


def test_colours_beyond_the_scale_are_those_of_its_ends_and_nan_is_black():
    got = np.asarray(colour(np.array([[-5.0, 0.0, 1.0, 9.0, np.nan]]), 0, 1))[0]
    np.testing.assert_array_equal(got[0], got[1])
    np.testing.assert_array_equal(got[2], got[3])
    np.testing.assert_array_equal(got[4], 0)


def test_an_overlay_leaves_pixels_at_the_low_end_as_they_are_and_colours_the_high_ones():
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    map_ = np.full((6, 8), 0.2, np.float32)
    map_[2, 3], map_[4, 4] = 1.0, np.nan
    got = np.asarray(overlay(rgb, map_, 0.2, 1.0))
    changed = (got != rgb).any(-1)
    assert changed[2, 3]
    assert changed.sum() == 1
    pale = np.asarray(colour(np.ones((1, 1)), 0, 1))[0, 0]
    assert np.abs(got[2, 3].astype(int) - pale).max() <= 26  # a tenth of the image shines through


def test_a_higher_value_hides_more_of_the_image():
    rgb = np.full((1, 3, 3), 128, np.uint8)
    rgb[..., 2] = 255
    got = np.asarray(overlay(rgb, np.array([[0.0, 0.1, 0.4]]), 0, 1)).astype(int)
    distance = np.abs(got - rgb).sum(-1)[0]
    assert distance[0] == 0 < distance[1] < distance[2]


def test_depth_is_brighter_where_the_part_is_nearer_and_black_without_a_point():
    y, x = np.mgrid[:40, :60]
    xyz = np.stack([x * 1e-3, y * 1e-3, np.where(x < 30, 0.5, 0.48)], -1)
    xyz[5, 5] = 0
    xyz[6, 6] = np.nan
    xyz[7, 7, 2] = np.inf
    got = np.asarray(depth(xyz))
    assert got.shape == (40, 60, 3)
    assert got[20, 10, 0] + 50 < got[20, 50, 0]
    np.testing.assert_array_equal(got[[5, 6, 7], [5, 6, 7]], 0)
    assert (got[10:, :].min(-1) > 0).all()


def test_depth_lights_slopes_from_the_upper_left():
    y, x = np.mgrid[:41, :41]
    hill = 0.5 - 0.01 * np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 60)
    got = np.asarray(depth(np.stack([x * 1e-3, y * 1e-3, hill], -1)))[..., 0].astype(int)
    assert got[15, 15] > got[25, 25] + 20


def test_depth_without_any_point_is_black():
    got = np.asarray(depth(np.zeros((4, 5, 3))))
    assert got.shape == (4, 5, 3)
    assert not got.any()


def test_depth_of_a_single_row_and_of_a_flat_part_works():
    assert depth(np.ones((1, 9, 3))).size == (9, 1)
    assert depth(np.ones((9, 1, 3), np.float32)).size == (1, 9)


def test_an_outline_surrounds_the_mask_and_leaves_everything_else():
    rgb = np.zeros((20, 20, 3), np.uint8)
    mask = np.zeros((20, 20), bool)
    mask[8:12, 8:12] = True
    got = np.asarray(outline(rgb, mask, line=(255, 0, 0), width=2))
    red = (got == (255, 0, 0)).all(-1)
    want = np.zeros((20, 20), bool)
    want[6:14, 6:14] = True
    want[8:12, 8:12] = False
    np.testing.assert_array_equal(red, want)
    assert not got[~red].any()
    assert not rgb.any()


def test_a_caption_is_added_below_and_wraps():
    image = Image.new("RGB", (100, 30), (9, 9, 9))
    short, long = captioned(image, "one"), captioned(image, "many words " * 8)
    assert short.width == long.width == 100
    assert 30 < short.height < long.height
    np.testing.assert_array_equal(np.asarray(long)[:30], np.asarray(image))


def test_a_sheet_shows_every_image_in_its_row_and_column():
    shades = [[(250, 0, 0), (0, 250, 0)], [(0, 0, 250), (250, 250, 0)]]
    rows = [[Image.new("RGB", (30, 20), c) for c in row] for row in shades]
    got = np.asarray(sheet(rows, ["left", "right"], ["first", "second"], cell=60, foot="below"))
    centre = {}
    for c in (c for row in shades for c in row):
        at = np.argwhere((got == c).all(-1))
        assert len(at) == 60 * 40
        centre[c] = at.mean(0)
    assert centre[250, 0, 0][0] == centre[0, 250, 0][0] < centre[0, 0, 250][0]
    assert centre[250, 0, 0][1] == centre[0, 0, 250][1] < centre[0, 250, 0][1]


def test_sheet_titles_captions_and_foot_are_drawn():
    image = [[Image.new("RGB", (50, 50), (255, 255, 255))]]
    dark = [
        (np.asarray(sheet(image, [t], [c], foot=f)) < 128).any(-1).sum()
        for t, c, f in (("", "", ""), ("title", "", ""), ("", "caption", ""), ("", "", "foot"))
    ]
    assert dark[0] == 0
    assert min(dark[1:]) > 20


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: colour(np.zeros((2, 2)), 1, 1), "scale must go upwards, got low 1 and high 1"),
        (lambda: colour(np.zeros(4), 0, 1), r"map must be \(H, W\), got \(4,\)"),
        (
            lambda: overlay(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2)), 0, 1),
            r"overlay: rgb must be \(3, 2, 3\) as the map, got \(2, 3, 3\)",
        ),
        (lambda: depth(np.zeros((2, 2))), r"depth: xyz must be \(H, W, 3\), got \(2, 2\)"),
        (
            lambda: outline(np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2), bool)),
            r"outline: image must be \(3, 2, 3\) as the mask, got \(2, 2, 3\)",
        ),
        (lambda: sheet([], ["a"]), "sheet: each row must have 1 images"),
        (
            lambda: sheet([[Image.new("RGB", (2, 2))]], ["a", "b"]),
            r"sheet: each row must have 2 images as there are titles, got \[1\]",
        ),
        (
            lambda: sheet([[Image.new("RGB", (2, 2))]], ["a"], ["x", "y"]),
            "sheet: needs a caption for each of 1 rows, got 2",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
