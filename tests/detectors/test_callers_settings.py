"""What the calling program has set in torch changes nothing here, and stays as it was."""

import threading

import numpy as np
import pytest
import torch

import cmad


@pytest.fixture
def double():
    """A program that computes in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def by_name(method=cmad.CFM, **options):
    """A detector whose extractors are made here, with random weights."""
    return method(
        rgb=cmad.extractors.ViT("test_vit", block=1, image_size=64, weights="random"),
        xyz=cmad.extractors.PointMAE(
            groups=32, group_size=8, dim=24, heads=2, depth=1, weights="random"
        ),
        image_size=48,
        **options,
    )


def told(detector, parts):
    """What a detector says of a part after training, as numbers."""
    how = {"epochs": 1, "pixels_per_image": 20} if isinstance(detector, cmad.CFM) else {}
    detector.fit(parts[:4], **how)
    got = detector.predict(parts[5].rgb, parts[5].xyz)
    return got.score, got.map


@pytest.fixture(scope="module", params=["CFM", "PatchCore"])
def method(request):
    """Each method."""
    return getattr(cmad, request.param)


@pytest.fixture(scope="module")
def want(parts, method):
    """What the detector says where nothing is set."""
    return told(by_name(method), parts)


@pytest.mark.usefixtures("double")
def test_another_default_dtype_changes_nothing(parts, method, want, tmp_path):
    detector = by_name(method)
    score, map_ = told(detector, parts)
    assert torch.get_default_dtype() == torch.float64
    assert score == want[0]
    np.testing.assert_array_equal(map_, want[1])
    for stored in (False, True):
        detector.save(tmp_path / "m.cmad", include_extractors=stored)
        got = cmad.load(tmp_path / "m.cmad").predict(parts[5].rgb, parts[5].xyz)
        assert got.score == want[0]


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference"])
def test_gradients_switched_off_by_the_caller_change_nothing(off, parts, method, want):
    with off():
        score, map_ = told(by_name(method), parts)
        assert not torch.is_grad_enabled()
    assert score == want[0]
    np.testing.assert_array_equal(map_, want[1])


@pytest.mark.usefixtures("double")
def test_a_module_made_in_double_precision_is_an_extractor(make, parts):
    detector = cmad.CFM(rgb=make["vit"](), xyz=make["point_mae"](), image_size=48)
    detector.fit(parts[:2], epochs=1, pixels_per_image=20)
    assert np.isfinite(detector.predict(parts[5].rgb, parts[5].xyz).score)


def test_a_thread_of_a_program_in_double_precision_may_predict(trained, parts):
    want = trained.predict(parts[0].rgb, parts[0].xyz).score
    got = []

    def work():
        with torch.inference_mode():
            got.append(trained.predict(parts[0].rgb, parts[0].xyz).score)

    torch.set_default_dtype(torch.float64)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        torch.set_default_dtype(torch.float32)
    assert got == [want]
