"""What a user sees who types a detector's name."""


def test_a_detector_says_what_it_is_made_of_and_how_far_it_is(untrained, parts):
    detector = untrained()
    made_of = "full, preset paper, ViT VisionTransformer, Point-MAE (random weights)"
    assert repr(detector) == f"CFM({made_of}, not fitted)"
    detector.fit(parts[:2], epochs=1, pixels_per_image=20, progress=False)
    assert repr(detector) == f"CFM({made_of}, fitted)"
    detector.calibrate(parts[2:], 0.4, progress=False)
    assert repr(detector) == f"CFM({made_of}, fitted, calibrated at 0.4)"
