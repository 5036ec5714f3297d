"""Metrics: by hand, against scikit-learn, with ties, and where they are undefined."""

import numpy as np
import pytest

from cmad.metrics import aupro, image_auroc, pixel_auroc, pro_curve


def brute_auroc(scores, labels):
    good = [s for s, y in zip(scores, labels, strict=True) if not y]
    bad = [s for s, y in zip(scores, labels, strict=True) if y]
    return np.mean([[(b > g) + 0.5 * (b == g) for g in good] for b in bad])


def test_auroc_of_a_hand_made_example_with_a_tie():
    assert image_auroc([1, 2, 2, 3], [0, 0, 1, 1]) == 0.875
    assert image_auroc([1, 2, 3], [False, False, True]) == 1
    assert image_auroc([1, 1, 1], [0, 1, 0]) == 0.5


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_auroc_is_that_of_pairs_and_of_scikit_learn(levels):
    metrics = pytest.importorskip("sklearn.metrics", reason="extra 'test' is not installed")
    rng = np.random.default_rng(levels)
    for _ in range(20):
        labels = rng.permutation([0, 1, *rng.integers(0, 2, 40)])
        scores = rng.integers(0, levels, 42) + labels * rng.random()
        got = image_auroc(scores, labels)
        assert got == pytest.approx(brute_auroc(scores, labels), abs=1e-12)
        assert got == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)


def test_pixel_auroc_pools_images_of_different_sizes():
    maps = [np.array([[0.1, 0.9]]), np.array([[0.2], [0.3], [0.8]])]
    masks = [np.array([[0, 1]]), np.array([[0], [0], [1]])]
    assert pixel_auroc(maps, masks) == 1
    assert pixel_auroc([-m for m in maps], masks) == 0


BY_HAND = (
    np.array([[1.0, 2, 3, 4, 1], [1, 1, 1, 1, 1], [5, 2.5, 1, 3.5, 1]]),
    np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 1, 0]], bool),
)


def test_pro_curve_of_a_hand_made_example():
    """Twelve good scores, 4, 3, 2 and nine times 1; regions {5, 2.5} and {3.5}, a half each."""
    map_, mask = BY_HAND
    fpr, pro = pro_curve([map_], [mask])
    n = 12
    np.testing.assert_allclose(fpr, [0, 1 / n, 2 / n, 3 / n, 1])
    np.testing.assert_allclose(pro, [0.25, 0.75, 1, 1, 1])
    area = (0.25 + 0.75) / 2 / n + (0.75 + 1) / 2 / n
    np.testing.assert_allclose(aupro([map_], [mask], [2 / n, 1]), [area * n / 2, area + 10 / n])


def test_aupro_interpolates_at_the_limit():
    map_, mask = BY_HAND
    limit = 0.5 / 12
    assert aupro([map_], [mask], [limit])[0] == pytest.approx((0.25 + 0.5) / 2)


def brute_pro(maps, masks, level):
    from scipy.ndimage import label

    shares, wrong, good = [], 0, 0
    for map_, mask in zip(maps, masks, strict=True):
        regions, count = label(mask, np.ones((3, 3)))
        shares += [(map_[regions == i + 1] > level).mean() for i in range(count)]
        wrong += (map_[~mask] > level).sum()
        good += (~mask).sum()
    return wrong / good, np.mean(shares)


@pytest.mark.parametrize("levels", [3, 20, 10**6])
def test_the_curve_is_that_of_counting_at_every_threshold(levels):
    pytest.importorskip("scipy", reason="extra 'test' is not installed")
    rng = np.random.default_rng(levels)
    maps = [rng.integers(0, levels, (h, 17)).astype(float) for h in (9, 14, 20)]
    masks = [rng.random(m.shape) < 0.15 for m in maps]
    masks[1][:] = False
    fpr, pro = pro_curve(maps, masks)
    good = np.unique(np.concatenate([m[~t] for m, t in zip(maps, masks, strict=True)]))
    want = [brute_pro(maps, masks, level) for level in good[::-1]]
    np.testing.assert_allclose(np.stack([fpr, pro], 1)[:-1], want, atol=1e-12)
    assert (fpr[-1], pro[-1]) == (1, 1)


def test_diagonal_neighbours_are_one_region_and_regions_of_two_images_two():
    diagonal = np.eye(2, dtype=bool)
    map_ = np.array([[1.0, 0], [0, 0]])
    _, pro = pro_curve([map_], [diagonal])
    assert pro[0] == 0.5
    _, pro = pro_curve([map_, np.zeros((2, 2))], [diagonal, diagonal])
    assert pro[0] == 0.25


def test_scaling_maps_and_the_order_of_images_do_not_matter():
    rng = np.random.default_rng(0)
    maps = [rng.random((12, 12)) for _ in range(3)]
    masks = [rng.random((12, 12)) < 0.1 for _ in range(3)]
    want = aupro(maps, masks)
    np.testing.assert_allclose(aupro([4 * m + 1 for m in maps], masks), want, atol=1e-12)
    np.testing.assert_allclose(aupro(maps[::-1], masks[::-1]), want, atol=1e-12)
    np.testing.assert_allclose(aupro(np.stack(maps), np.stack(masks)), want, atol=1e-12)


def test_a_perfect_and_a_useless_map():
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:6] = True
    rng = np.random.default_rng(0)
    noise = rng.random((10, 10)) * 0.1
    assert aupro([mask + noise], [mask]) == pytest.approx([1, 1, 1, 1])
    assert aupro([noise - mask], [mask], [0.3]) == [0]


Z = np.zeros((4, 4))
M = np.eye(4, dtype=bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: image_auroc([1, 2], [0, 0]), "needs good and defective ones, got 2 good and 0"),
        (lambda: image_auroc([1, 2], [1, 1]), "got 0 good and 2 defective"),
        (lambda: image_auroc([1], [0, 1]), "as many labels as scores, got 2, 1"),
        (lambda: image_auroc([1, np.nan], [0, 1]), "must not be NaN"),
        (lambda: aupro([Z], [Z]), "undefined without a defect"),
        (lambda: aupro([Z], [Z == 0]), "undefined without a good pixel"),
        (lambda: aupro([Z], [M[:3]]), r"map 0 is \(4, 4\), its mask \(3, 4\)"),
        (lambda: aupro([Z, Z], [M]), "as many masks as maps, got 1, 2"),
        (lambda: aupro([Z + np.nan], [M]), "map 0 has values that are not finite"),
        (lambda: aupro([Z], [M], [0]), r"limits must be in \(0, 1\]"),
        (lambda: aupro([Z], [M], thresholds=1), "thresholds must be at least 2"),
    ],
)
def test_what_is_undefined_raises_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
