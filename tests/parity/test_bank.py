"""The coreset against lists of the published code. Its default rounds distances to float16; ours is
float32 and follows the float32 lists, also in the fixtures."""

import numpy as np
import pytest
import torch

from cmad import ops
from cmad.bank import Bank, _Blocks, _projected


@pytest.fixture
def published(each_fixture):
    ((_, arrays),) = each_fixture("g2sf_coreset.npz")
    return arrays


def test_projected_rows_are_the_published_ones(published):
    rows = torch.from_numpy(published["lib"])
    image = _projected(_Blocks(rows), int(published["np_seed"]))
    assert image.shape[1] == published["n_components"]
    np.testing.assert_array_equal(image, published["proj_z"])


def test_picks_are_the_published_ones_in_float32(published):
    want = published["idx_f32"]
    index = ops.coreset(torch.from_numpy(published["proj_z"]), len(want))
    np.testing.assert_array_equal(index, want)
    np.testing.assert_array_equal(in_float16(published["proj_z"], len(want)), published["idx_f16"])
    same = np.flatnonzero(index.numpy() != published["idx_f16"])[0]
    assert same >= 16  # until the rounding of distances makes another pick the farthest
    small = torch.from_numpy(published["small"]).float()
    want = published["small_idx_f32"]
    np.testing.assert_array_equal(ops.coreset(small, len(want)), want)
    np.testing.assert_array_equal(in_float16(published["small"], 40), published["small_idx_f16"])


def in_float16(rows, count):
    """The published default: all but the first distances between rows rounded to float16."""
    exact = torch.from_numpy(rows).float()
    nearest = (exact - exact[0]).norm(dim=1).half()
    rounded, picked = exact.half(), [0]
    while len(picked) < count:
        distance = (rounded - rounded[picked[-1]]).norm(dim=1)
        nearest = torch.minimum(nearest, distance)
        picked.append(int(nearest.argmax()))
        nearest[picked[-1]] = 0
    return picked


def test_a_bank_is_made_of_the_published_rows(published):
    rows = torch.from_numpy(published["lib"]).float()
    bank = Bank.build(rows, fraction=0.1, seed=int(published["np_seed"]), dtype=torch.float16)
    assert torch.equal(bank.rows, rows[published["idx_f32"].astype(np.int64)].half())


def test_narrow_rows_are_not_projected(published):
    rows = torch.from_numpy(published["small"]).float()
    want = rows[published["small_idx_f32"].astype(np.int64)]
    assert torch.equal(Bank.build(rows, count=len(want)).rows, want)


def test_the_number_of_columns_is_the_published_one(published):
    for n, columns in zip(published["jl_n"], published["jl_dim"], strict=True):
        if n <= 10_000:
            image = _projected(_Blocks(torch.zeros(int(n), int(columns))), 0)
            assert image.shape[1] == columns
