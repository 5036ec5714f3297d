"""Metrics: by hand, against the reference and scikit-learn, with ties, and where undefined."""

import warnings

import numpy as np
import pytest
import torch

from cmad.metrics import (
    LIMITS,
    aupro,
    image_auroc,
    image_average_precision,
    pixel_auroc,
    pixel_average_precision,
    pixels,
    pool,
    pro_curve,
)
from cmad.testing import reference


def brute_auroc(scores, labels):
    good = [s for s, y in zip(scores, labels, strict=True) if not y]
    bad = [s for s, y in zip(scores, labels, strict=True) if y]
    return np.mean([[(b > g) + 0.5 * (b == g) for g in good] for b in bad])


def test_auroc_of_a_hand_made_example_with_a_tie():
    assert image_auroc([1, 2, 2, 3], [0, 0, 1, 1]) == 0.875
    assert image_auroc([1, 2, 3], [False, False, True]) == 1
    assert image_auroc([1, 1, 1], [0, 1, 0]) == 0.5


def test_average_precision_of_a_hand_made_example_with_a_tie():
    # Above 3: one of one; above 2: two of three found with one wrong; at 1: three of five.
    want = 1 / 3 * 1 + 1 / 3 * 2 / 3 + 1 / 3 * 3 / 5
    assert image_average_precision([3, 2, 2, 1, 1], [1, 1, 0, 1, 0]) == pytest.approx(want)
    assert image_average_precision([1, 2], [0, 1]) == 1


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_image_metrics_are_those_of_pairs_and_of_scikit_learn(levels):
    metrics = pytest.importorskip("sklearn.metrics", reason="extra 'test' is not installed")
    rng = np.random.default_rng(levels)
    for _ in range(20):
        labels = rng.permutation([0, 1, *rng.integers(0, 2, 40)])
        scores = rng.integers(0, levels, 42) + labels * rng.random()
        got = image_auroc(scores, labels)
        assert got == pytest.approx(brute_auroc(scores, labels), abs=1e-12)
        assert got == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
        want = metrics.average_precision_score(labels, scores)
        assert image_average_precision(scores, labels) == pytest.approx(want, abs=1e-12)


def tie_cases():
    """Maps and masks made to trip a wrong treatment of ties; each a name and two lists."""
    rng = np.random.default_rng(0)

    def images(make, share=0.15, sizes=((9, 17), (14, 17), (20, 5))):
        maps = [np.asarray(make(size), float) for size in sizes]
        masks = [rng.random(size) < share for size in sizes]
        masks[1][:] = False
        return maps, masks

    yield "continuous", *images(lambda s: rng.normal(size=s))
    for levels in (2, 3, 20):
        yield f"{levels}_levels", *images(lambda s, n=levels: rng.integers(0, n, s))
    yield "constant", *images(lambda s: np.full(s, 0.25))
    yield "mostly_zero", *images(lambda s: rng.random(s) * (rng.random(s) < 0.2))
    yield "one_bit_apart", *images(lambda s: 1 + rng.integers(0, 9, s) * 2.0**-52)
    yield "subnormal", *images(lambda s: rng.integers(0, 9, s) * 5e-324)
    yield "huge_and_tiny", *images(lambda s: np.exp(200 * rng.normal(size=s)))
    yield "signed_zeros", *images(lambda s: np.where(rng.random(s) < 0.5, 0.0, -0.0))
    yield "mostly_defect", *images(lambda s: rng.integers(0, 5, s), share=0.9)
    yield "one_pixel_images", *images(lambda s: rng.integers(0, 3, s), 0.5, ((1, 1),) * 40)
    maps, masks = images(lambda s: rng.normal(size=s))
    yield "defects_above_all", [m + 99 * t for m, t in zip(maps, masks, strict=True)], masks
    yield "defects_below_all", [m - 99 * t for m, t in zip(maps, masks, strict=True)], masks
    tied = [np.where(t, np.median(m), m) for m, t in zip(maps, masks, strict=True)]
    yield "defects_at_one_good_score", [m.round(1) for m in tied], masks
    rounded = [m.astype(np.float32) for m in maps]
    yield "float32", rounded, masks


CASES = {name: (maps, masks) for name, maps, masks in tie_cases()}


@pytest.mark.parametrize("thresholds", [None, 2, 99, 100])
@pytest.mark.parametrize("case", CASES)
def test_aupro_is_that_of_the_reference(case, thresholds):
    maps, masks = CASES[case]
    limits = (*LIMITS, 1.0, 1e-4, 1 / 3)
    got, want = (f(maps, masks, limits, thresholds) for f in (aupro, reference.aupro))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_the_exact_curve_passes_through_every_threshold_of_the_reference(case):
    maps, masks = CASES[case]
    fpr, pro = pro_curve(maps, masks)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(pro) >= 0).all()
    assert (fpr[0], pro[0], fpr[-1], pro[-1]) == (0, 0, 1, 1)
    x, y = reference.pro_curve(maps, masks)
    points = set(zip(x.round(9), y.round(9), strict=True))
    mine = set(zip(fpr.round(9), pro.round(9), strict=True))
    assert mine <= points
    for left_out in points - mine:  # lies on a level part, whose ends are there
        level = fpr[pro.round(9) == left_out[1]]
        assert level.min() < left_out[0] < level.max()


@pytest.mark.parametrize("case", CASES)
def test_with_one_region_of_all_defects_aupro_is_the_area_under_the_roc_curve(case):
    """In one image of one row, the defects first."""
    maps, masks = CASES[case]
    scores = np.concatenate([m[t] for m, t in zip(maps, masks, strict=True)])
    good = np.concatenate([m[~t] for m, t in zip(maps, masks, strict=True)])
    one = [np.concatenate([scores, good])[None]]
    mask = [np.arange(one[0].size)[None] < len(scores)]
    assert aupro(one, mask, [1]) == pytest.approx([pixel_auroc(maps, masks)], abs=1e-12)
    # Up to each good pixel whose score no other has: against the good pixels from it on.
    level, count = np.unique(good, return_counts=True)
    for v in level[count == 1][-40::13]:
        above = good[good >= v]
        won = (scores > above[:, None]).mean() + (scores == above[:, None]).mean() / 2
        assert aupro(one, mask, [len(above) / len(good)]) == pytest.approx([won], abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_pixel_metrics_are_those_of_scikit_learn(case):
    metrics = pytest.importorskip("sklearn.metrics", reason="extra 'test' is not installed")
    maps, masks = CASES[case]
    score, label = (np.concatenate([a.ravel() for a in arrays]) for arrays in (maps, masks))
    want = metrics.roc_auc_score(label, score), metrics.average_precision_score(label, score)
    got = pixel_auroc(maps, masks), pixel_average_precision(maps, masks)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


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
    # At 5; 4, 3.5; 3, 2.5; all.
    np.testing.assert_allclose(fpr, [0, 0, 1 / n, 1 / n, 2 / n, 2 / n, 1])
    np.testing.assert_allclose(pro, [0, 0.25, 0.25, 0.75, 0.75, 1, 1])
    area = (0.25 + 0.75) / n
    np.testing.assert_allclose(aupro([map_], [mask], [2 / n, 1]), [area * n / 2, area + 10 / n])


def test_good_and_defect_pixels_of_one_score_are_marked_together():
    """Good scores 3, 2, 2, 1, regions {2, 1} and {2, 0}: the curve is slanted from 1/4 to 1."""
    map_ = np.array([[3.0, 2, 2, 1], [2, 1, 9, 0], [2, 0, 9, 0]])
    mask = np.array([[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
    map_, mask = [map_[:1], map_[1:2, :2], map_[2:, :2]], [mask[:1], mask[1:2, :2], mask[1:2, :2]]
    fpr, pro = pro_curve(map_, mask)
    # At 3; 2 with two good ones and a half of each region; 1 with one and a quarter; 0.
    np.testing.assert_allclose(fpr, [0, 0.25, 0.75, 1, 1])
    np.testing.assert_allclose(pro, [0, 0, 0.5, 0.75, 1])
    slanted, rest = 0.5 * 0.5 / 2, 0.25 * (0.5 + 0.75) / 2
    halfway = 0.25 * 0.25 / 2  # to the limit of 0.5, where the curve is at 0.25
    got = aupro(map_, mask, [0.25, 0.5, 1])
    np.testing.assert_allclose(got, [0, halfway / 0.5, slanted + rest])


def test_aupro_interpolates_at_the_limit():
    map_, mask = BY_HAND
    assert aupro([map_], [mask], [1.5 / 12])[0] == pytest.approx((0.25 + 0.75 / 2) / 1.5)
    # The grid of two: from (0, 0.25), above 4, to (11/12, 1), above the lowest 1, and (1, 1).
    assert aupro([map_], [mask], [5.5 / 12], 2)[0] == pytest.approx((0.25 + 0.625) / 2)


def test_diagonal_neighbours_are_one_region_and_regions_of_two_images_two():
    diagonal = np.eye(2, dtype=bool)
    map_ = np.array([[1.0, 0], [0, 0]])
    _, pro = pro_curve([map_], [diagonal])
    assert pro[1] == 0.5
    _, pro = pro_curve([map_, np.zeros((2, 2))], [diagonal, diagonal])
    assert pro[1] == 0.25


@pytest.fixture
def noise():
    rng = np.random.default_rng(0)
    return rng.random((9, 12, 13)), rng.random((9, 12, 13)) < 0.1


def everything(maps, masks):
    pooled = pool(maps, masks)
    return [
        *pooled.aupro(),
        *pooled.aupro(thresholds=99),
        pooled.auroc(),
        pooled.average_precision(),
    ]


def test_scaling_maps_and_the_order_of_images_do_not_matter(noise):
    maps, masks = noise
    want = everything(maps, masks)
    np.testing.assert_allclose(everything(4 * maps + 1, masks), want, atol=1e-12)
    np.testing.assert_allclose(everything(maps[::-1], masks[::-1]), want, atol=1e-12)


def test_stacks_lists_iterators_and_tensors_of_any_layout_give_the_same(noise):
    maps, masks = noise
    want = everything(maps, masks)
    frozen = maps.copy()
    frozen.flags.writeable = False
    for other in (
        (list(maps), list(masks)),
        (iter(maps), iter(masks)),
        (torch.from_numpy(maps), torch.from_numpy(masks)),
        (list(torch.from_numpy(maps)), 255 * masks.astype(np.uint8)),
        (frozen, masks.astype(float)),
        (np.asfortranarray(maps), np.asfortranarray(masks)),
        ([m.tolist() for m in maps], [m.tolist() for m in masks]),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert everything(*other) == want
    whole = np.round(1000 * maps)
    assert everything(whole.astype(np.int16), masks) == everything(whole, masks)
    assert everything(whole.astype(np.float16), masks) == everything(whole, masks)


def test_every_map_counts_with_the_precision_it_has():
    """Defects in float32 maps only; the good pixels of another lie beside them by less."""
    level = np.float32(0.1)
    maps = [np.full((2, 2), level), np.full((2, 2), float(level) - 1e-12)]
    masks = [np.ones((2, 2), bool), np.zeros((2, 2), bool)]
    assert pixel_auroc(maps, masks) == 1
    assert pixel_auroc([maps[0], np.full((2, 2), 1e300)], masks) == 0


def test_other_kinds_of_arrays_are_understood(noise):
    maps, masks = noise
    want = everything(maps, masks)
    tensors = [torch.from_numpy(m).requires_grad_() for m in maps]
    assert everything(tensors, masks) == want
    listed = np.empty(len(maps), object)
    listed[:] = list(maps)
    assert everything(listed, list(masks)) == want
    viewed = (255 * masks.astype(np.uint8)).view(bool)
    assert everything(maps, viewed) == want
    rough = torch.from_numpy(maps).bfloat16()
    assert everything(rough, masks) == everything(rough.double(), masks)
    assert pool(maps, masks).aupro(limit for limit in LIMITS) == want[:4]


def test_pieces_give_what_the_whole_gives(noise, monkeypatch):
    maps, masks = noise
    want = everything(maps, masks)
    for piece in (1, 300):
        monkeypatch.setattr(pixels, "PIECE", piece)
        assert everything(maps, masks) == want
        assert everything(list(maps), list(masks)) == want


def test_a_sequence_that_reads_when_asked_is_held_one_image_at_a_time(noise):
    maps, masks = noise

    class Reader:
        def __init__(self, images):
            self.images, self.asked = images, 0

        def __len__(self):
            return len(self.images)

        def __getitem__(self, i):
            self.asked += i < len(self.images)
            return self.images[i]  # IndexError ends the iteration

    reader = Reader(maps)
    assert everything(reader, Reader(masks)) == everything(maps, masks)
    assert reader.asked == 2 * len(maps)


def test_a_perfect_and_a_useless_map():
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:6] = True
    rng = np.random.default_rng(0)
    noise = rng.random((10, 10)) * 0.1
    assert aupro([mask + noise], [mask]) == pytest.approx([1, 1, 1, 1])
    assert aupro([noise - mask], [mask], [0.3, 1]) == [0, 0]


Z = np.zeros((4, 4))
M = np.eye(4, dtype=bool)


def test_complex_maps_are_refused():
    with pytest.raises(TypeError, match="must be real numbers, got complex128"):
        aupro([Z + 1j], [M])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: image_auroc([1, 2], [0, 0]), "needs good and defective ones, got 2 good and 0"),
        (lambda: image_auroc([1, 2], [1, 1]), "got 0 good and 2 defective"),
        (lambda: image_auroc([1], [0, 1]), "as many labels as scores, got 2, 1"),
        (lambda: image_auroc([1, np.nan], [0, 1]), "must not be NaN"),
        (lambda: image_auroc([1, 2], [-1, 1]), r"labels must be 0 or 1, got \[-1, 1\]"),
        (lambda: image_auroc([1, 2], ["good", "bad"]), "labels must be 0 or 1"),
        (lambda: image_average_precision([1], [1]), "image_average_precision: needs good and"),
        (lambda: aupro([Z], [Z]), "undefined without a defect"),
        (lambda: aupro([], []), "undefined without a defect"),
        (lambda: aupro([Z], [Z == 0]), "undefined without a good pixel"),
        (lambda: pixel_auroc([Z], [Z]), "undefined without a defect"),
        (lambda: pixel_average_precision([Z], [Z == 0]), "undefined without a good pixel"),
        (lambda: aupro([Z], [M[:3]]), r"map 0 is \(4, 4\), its mask \(3, 4\)"),
        (lambda: aupro([Z, Z[0]], [M, M[0]]), r"map 1 is \(4,\), its mask \(4,\)"),
        (lambda: aupro([Z, Z], [M]), "as many masks as maps, got 1, 2"),
        (lambda: aupro([Z, Z + np.nan], [M, M]), "map 1 has values that are not finite"),
        (lambda: aupro([Z + np.inf], [M]), "map 0 has values that are not finite"),
        (lambda: aupro([Z], [M], [0]), r"limits must be in \(0, 1\]"),
        (lambda: aupro([Z], [M], thresholds=1), "thresholds must be at least 2"),
    ],
)
def test_what_is_undefined_raises_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
