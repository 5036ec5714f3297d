"""What a user sees who types a name: one line, without arrays."""

import numpy as np
import torch

from cmad.reprs import short, sizes
from cmad.types import (
    Features,
    Frame,
    GridMaps,
    PixelWeights,
    Points,
    Prediction,
    Region,
    Sample,
    Window,
)

MAP = np.zeros((4, 5), np.float32)
WINDOW = Window(5, 0, 0, 4, 5)
REGION = Region((0, 0, 1, 1), 1, None, None, 2.0, (0, 0), None, {})


def test_a_sample_says_name_sizes_types_and_kind():
    rgb, xyz = np.zeros((4, 5, 3), np.uint8), torch.zeros(4, 5, 3)
    sample = Sample(rgb, xyz, MAP > 0, "bump", "test/bump/000")
    assert repr(sample) == (
        "Sample('test/bump/000', rgb 4x5x3 uint8, xyz 4x5x3 float32, mask 4x5 bool, defect='bump')"
    )
    assert repr(Sample(rgb, None)) == "Sample(rgb 4x5x3 uint8)"
    assert repr(Sample([[1]], 3)) == "Sample(rgb list, xyz int)"  # wrong, but to be seen


def test_a_prediction_says_name_verdict_score_threshold_and_regions():
    told = Prediction(0.18531, MAP, {}, 0.20405, 0.19, 0.1, (REGION,), "t000")
    assert repr(told) == "Prediction('t000', accepted, score=0.1853, threshold=0.2041, regions=1)"
    bad = Prediction(np.float32(0.3), MAP, threshold=0.204)
    assert repr(bad) == "Prediction(rejected, score=0.3, threshold=0.204, regions=0)"
    assert repr(Prediction(float("nan"), MAP, threshold=1.0)).startswith("Prediction(rejected")
    assert repr(Prediction(0.25, MAP)) == "Prediction(not calibrated, score=0.25)"


def test_what_lies_between_says_its_sizes():
    cloud = Points(torch.zeros(7, 9), torch.zeros(20, 3), torch.zeros(20, 3))
    features = Features({"rgb": torch.zeros(2, 2, 6)}, {"xyz": cloud}, None, 8, WINDOW, "a")
    assert repr(features) == ("Features('a', rgb 2x2x6 float32, xyz 7x9 float32, image_size=8)")
    assert repr(cloud) == "Points(features 7x9 float32, points=20)"
    maps = GridMaps(0.5, MAP, {"2d": MAP}, ("2d", "3d"), WINDOW, "a")
    assert repr(maps) == "GridMaps('a', map 4x5 float32, 2d+3d, score=0.5)"
    frame = Frame(torch.zeros(3, 8, 8, dtype=torch.uint8), None, None, WINDOW)
    assert repr(frame) == "Frame(rgb 3x8x8 uint8)"
    weights = PixelWeights(torch.zeros(5), torch.zeros(9), torch.zeros(9))
    assert repr(weights) == "PixelWeights(pixels=4, entries=9)"


def test_a_name_with_a_line_break_stays_on_one_line():
    assert repr(Sample(None, None, defect="a\nb", name="c\nd")).count("\n") == 0
    assert sizes("n", np.float32(3)) == "n scalar float32"
    assert short(WINDOW, "", count=np.int64(3), share=0.123456) == "Window(count=3, share=0.1235)"
