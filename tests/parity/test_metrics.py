"""Metrics against the published ones (semantics D)."""

import numpy as np
import pytest

from cmad.metrics import aupro, image_auroc, pixel_auroc, pro_curve


@pytest.mark.parametrize(("thresholds", "suffix"), [(99, "99"), (100, "100"), (None, "allthr")])
def test_aupro_is_the_published_one_on_the_grid_and_with_every_threshold(
    thresholds, suffix, each_fixture
):
    for _, arrays in each_fixture("aupro*.npz"):
        for name in (k[:-3] for k in arrays if k.endswith("_gt")):
            maps, masks = arrays[f"{name}_pred"], arrays[f"{name}_gt"]
            got = aupro(maps, masks, arrays["limits"].tolist(), thresholds)
            np.testing.assert_allclose(
                got, arrays[f"{name}_aupro_{suffix}"], rtol=0, atol=1e-12, err_msg=name
            )
            if thresholds:
                fpr, pro = pro_curve(maps, masks, thresholds)
                for got_axis, axis in ((fpr, "fpr"), (pro, "pro")):
                    want = np.sort(arrays[f"{name}_{axis}_{suffix}"])
                    np.testing.assert_allclose(got_axis, want, rtol=0, atol=1e-12, err_msg=name)


def test_auroc_of_images_and_pixels_is_the_published_one(each_fixture):
    for _, arrays in each_fixture("aupro*.npz"):
        for name in (k[:-3] for k in arrays if k.endswith("_gt")):
            maps, masks = arrays[f"{name}_pred"], arrays[f"{name}_gt"]
            assert pixel_auroc(maps, masks) == pytest.approx(
                float(arrays[f"{name}_pauroc"]), abs=1e-12
            )
            scores, labels = maps.max((1, 2)), masks.max((1, 2))
            assert image_auroc(scores, labels) == pytest.approx(
                float(arrays[f"{name}_iauroc"]), abs=1e-12
            )
