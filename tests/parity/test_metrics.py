"""Metrics against the published ones (semantics D)."""

import numpy as np
import pytest

from cmad.metrics import aupro, image_auroc, pixel_auroc, pro_curve


@pytest.fixture
def sets(each_fixture):
    """Name, maps, masks and published values of every set of maps; both files name them alike."""
    files = {path.name: arrays for path, arrays in each_fixture("aupro*.npz")}
    if "aupro.npz" not in files:
        pytest.skip("no file aupro.npz in CMAD_FIXTURES")
    values = {**files["aupro.npz"], **files.get("aupro_mvtec.npz", {})}
    names = [key.removesuffix("_gt") for key in values if key.endswith("_gt")]
    return values, [(name, values[f"{name}_pred"], values[f"{name}_gt"]) for name in names]


def test_aupro_with_every_threshold_is_that_of_the_data_sets_own_evaluation(sets):
    values, images = sets
    if not any(key.endswith("_aupro") for key in values):
        pytest.skip("no file aupro_mvtec.npz in CMAD_FIXTURES")
    for name, maps, masks in images:
        got = aupro(maps, masks, values["limits"].tolist())
        np.testing.assert_allclose(got, values[f"{name}_aupro"], rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("thresholds", [99, 100])
def test_aupro_and_the_curve_on_the_published_grid_are_the_published_ones(thresholds, sets):
    values, images = sets
    for name, maps, masks in images:
        got = {"aupro": aupro(maps, masks, values["limits"].tolist(), thresholds)}
        got["fpr"], got["pro"] = pro_curve(maps, masks, thresholds)
        for key, value in got.items():
            want = values[f"{name}_{key}_{thresholds}"]
            want = want if key == "aupro" else np.sort(want)
            np.testing.assert_allclose(value, want, rtol=0, atol=1e-12, err_msg=name)


def test_auroc_of_images_and_pixels_is_the_published_one(each_fixture):
    for _, arrays in each_fixture("aupro.npz"):
        for name in (k[:-3] for k in arrays if k.endswith("_gt")):
            maps, masks = arrays[f"{name}_pred"], arrays[f"{name}_gt"]
            assert pixel_auroc(maps, masks) == pytest.approx(
                float(arrays[f"{name}_pauroc"]), abs=1e-12
            )
            scores, labels = maps.max((1, 2)), masks.max((1, 2))
            assert image_auroc(scores, labels) == pytest.approx(
                float(arrays[f"{name}_iauroc"]), abs=1e-12
            )
