"""What says how numbers become metres, and intrinsics that no camera has."""

import json
from dataclasses import FrozenInstanceError, asdict

import numpy as np
import pytest

import cmad
from cmad.units import Units, pinhole

CAMERA = (60.0, 50.0, 3.5, 2.5)
MATRIX = [[60, 0, 3.5], [0, 50, 2.5], [0, 0, 1]]


def test_without_a_word_points_are_in_metres_and_depths_in_millimetres():
    assert asdict(Units()) == {
        "unit": "m",
        "intrinsics": None,
        "depth_unit": "mm",
        "depth_scale": 1.0,
    }


def test_the_record_goes_through_json_and_takes_the_matrix_too():
    units = Units("mm", MATRIX, "m", np.float32(0.25))
    assert units.intrinsics == CAMERA
    assert Units(**json.loads(json.dumps(asdict(units)))) == units
    assert hash(units) == hash(Units("mm", CAMERA, "m", 0.25))
    with pytest.raises(FrozenInstanceError):
        units.unit = "m"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"unit": "cm"}, "^unit must be 'm' or 'mm', got 'cm'"),
        ({"unit": None}, "^unit must be 'm' or 'mm', got None"),
        ({"unit": ["mm"]}, "^unit must be 'm' or 'mm'"),
        ({"depth_unit": "um"}, "^depth_unit must be 'm' or 'mm', got 'um'"),
        ({"depth_scale": 0, "intrinsics": CAMERA}, "depth_scale must be above 0, got 0"),
        ({"depth_scale": -1, "intrinsics": CAMERA}, "depth_scale must be above 0, got -1"),
        ({"depth_scale": np.nan, "intrinsics": CAMERA}, "depth_scale must be above 0, got nan"),
        ({"depth_scale": np.inf, "intrinsics": CAMERA}, "depth_scale must be above 0, got inf"),
        ({"depth_scale": "0.1", "intrinsics": CAMERA}, "depth_scale must be above 0, got 0.1"),
        ({"depth_scale": True, "intrinsics": CAMERA}, "depth_scale must be above 0, got True"),
        ({"depth_scale": 0.1}, "depth_scale is for depth images, which need intrinsics"),
        ({"intrinsics": (60, 50, 3)}, r"must be \(fx, fy, cx, cy\) or a 3x3 .* shape \(3,\)"),
        ({"intrinsics": "60,50,3,2"}, "intrinsics must be numbers, got '60,50,3,2'"),
        ({"intrinsics": (0, 50, 3, 2)}, "focal lengths must be positive, got 0, 50"),
        ({"intrinsics": (60, -50, 3, 2)}, "focal lengths must be positive, got 60, -50"),
    ],
)
def test_each_wrong_value_is_named_when_the_record_is_made(values, message):
    with pytest.raises(ValueError, match=message):
        Units(**values)


def test_what_is_given_counts_and_a_unit_counts_for_depths_without_their_own():
    fitted = Units("mm", CAMERA, "m", 0.5)
    assert fitted.given() == fitted
    assert fitted.given(depth_unit="mm") == Units("mm", CAMERA, "mm", 0.5)
    assert fitted.given(depth_scale=1.0, intrinsics=MATRIX) == Units("mm", CAMERA, "m", 1.0)
    assert Units().given(unit="m") == Units()
    assert Units().given(unit="m", intrinsics=CAMERA) == Units("m", CAMERA, "m")
    assert Units().given(unit="m", intrinsics=CAMERA, depth_unit="mm") == Units("m", CAMERA)
    with pytest.raises(ValueError, match="depth_unit must be 'm' or 'mm', got ''"):
        Units().given(depth_unit="")
    assert Units("m", CAMERA, "m").given(unit="mm") == Units("mm", CAMERA, "mm")


def test_points_and_depths_are_converted_as_it_says():
    depth = np.array([[500, 0], [750, 65535]], np.uint16)
    want = cmad.xyz_from_depth(depth_in_metres := np.array([[0.05, 0], [0.075, 0]]), CAMERA)
    got = Units("m", CAMERA, "mm", 0.1).of_depth(depth)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert (got[..., 2] == 0).tolist() == (depth_in_metres == 0).tolist()
    points = np.ones((1, 1, 3), np.float32)
    assert Units().of_points(points) is points
    np.testing.assert_allclose(Units("mm").of_points(points), 0.001)
    with pytest.raises(ValueError, match="a depth image needs intrinsics"):
        Units().of_depth(depth)


def test_it_is_said_in_one_line():
    assert str(Units()) == "points in m"
    assert str(Units("mm")) == "points in mm"
    assert str(Units("m", CAMERA)) == "points in m; depth images in mm, camera 60, 50, 3.5, 2.5"
    assert "depth images in 0.1 mm, camera" in str(Units("m", CAMERA, "mm", 0.1))


@pytest.mark.parametrize(
    ("intrinsics", "message"),
    [
        ((700, 700, np.nan, 20), "must be finite"),
        ((np.inf, 700, 25, 20), "must be finite"),
        ([[700, 0, 0], [0, 700, 0], [25, 20, 1]], r"must be \(\(fx, 0, cx\).* it is transposed"),
        ([[700, 0, 25], [0, 700, 20], [0, 0, 2]], r"must be \(\(fx, 0, cx\), .*2\.0\]\]$"),
        ([[700, 3, 25], [0, 700, 20], [0, 0, 1]], r"must be \(\(fx, 0, cx\)"),
        ([[700, 0, 25], [1, 700, 20], [0, 0, 1]], r"must be \(\(fx, 0, cx\)"),
    ],
)
def test_intrinsics_that_are_none_are_refused(intrinsics, message):
    for use in (pinhole, lambda k: cmad.xyz_from_depth(np.full((4, 5), 0.5), k)):
        with pytest.raises(ValueError, match=f"intrinsics.* {message}"):
            use(intrinsics)


# Width, height, then fx, fy, cx, cy.
REAL = {
    "RealSense D435": (640, 480, 615, 615, 320, 240),
    "Kinect v2": (512, 424, 365, 365, 256, 212),
    "Azure Kinect, 120 degrees": (512, 512, 252, 252, 256, 256),
    "Azure Kinect, narrow": (320, 288, 252, 252, 166, 169),
    "Zivid": (1944, 1200, 2760, 2760, 972, 600),
    "90 degrees, square": (512, 512, 256, 256, 256, 256),
    "90 degrees, off the middle": (640, 480, 320, 320, 290, 265),
    "far corner of a larger image": (200, 200, 900, 900, -150, -150),
    "near corner of a larger image": (200, 200, 900, 900, 350, 360),
    "made square by resizing": (480, 480, 461, 615, 240, 240),
    "tele lens": (640, 480, 60000, 60000, 320, 240),
    "a line": (2048, 1, 4000, 4000, 1024, 0),
    "upright": (480, 640, 615, 615, 240, 320),
}


@pytest.mark.parametrize("size_and_camera", REAL.values(), ids=REAL)
def test_intrinsics_of_real_cameras_are_taken(size_and_camera):
    width, height, *camera = size_and_camera
    assert cmad.xyz_from_depth(np.full((height, width), 0.5), camera).shape == (height, width, 3)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ((4.2, 4.2, 320, 240), r"178 degrees would be seen across; focal lengths are in pixels of"),
        ((27, 27, 320, 240), r"17[01] degrees"),
        ((400000, 400000, 320, 240), r"0\.0917 degrees would be seen"),
        ((320, 240, 600, 600), "they look like cx, cy, fx, fy; the order is fx, fy, cx, cy"),
        ((319.5, 239.5, 605.3, 604.9), "they look like cx, cy, fx, fy"),
        ((320, 240, 450, 450), "they look like cx, cy, fx, fy"),
        ((600, 320, 600, 240), "they look like fx, cx, fy, cy"),
        ((600, 280, 320, 240), "fx and fy are nearly equal on every camera"),
        ((280, 600, 320, 240), "fx and fy are nearly equal on every camera"),
        ((600, 600, -641, 240), "the principal point is far outside of the image"),
        ((600, 600, 1281, 240), "the principal point is far outside of the image"),
        ((600, 600, 320, -481), "the principal point is far outside of the image"),
        ((600, 600, 320, 961), "the principal point is far outside of the image"),
    ],
)
def test_intrinsics_that_no_camera_with_such_an_image_has_are_refused(camera, message):
    depth = np.full((480, 640), 0.5, np.float32)
    with pytest.raises(
        ValueError, match=rf"intrinsics \(.*\) do not fit 640x480 pixels: {message}"
    ):
        cmad.xyz_from_depth(depth, camera)


@pytest.mark.parametrize(
    "camera",
    [
        (29, 29, 320, 240),
        (360000, 360000, 320, 240),
        (600, 300, 320, 240),
        (600, 600, -640, 240),
        (600, 600, 1280, -480),
        (600, 600, 320, 960),
    ],
)
def test_just_inside_the_bounds_intrinsics_are_taken(camera):
    cmad.xyz_from_depth(np.full((480, 640), 0.5, np.float32), camera)
