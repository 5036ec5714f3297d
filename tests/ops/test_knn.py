import importlib

import numpy as np
import pytest
import torch

from cmad.ops import knn
from cmad.ops._call import native
from cmad.ops._embedding import embedding
from cmad.testing import reference
from cmad.testing.devices import DEVICES, running_on
from cmad.testing.inputs import decaying, grid, normal_rows

module = importlib.import_module("cmad.ops.knn")
encode, search, Lists, PATHS = module.encode, module.search, module.Lists, module.PATHS
HALVES = [torch.float16, torch.bfloat16]


def rows(make, *sizes, seed=0, dtype=torch.float32):
    """Rows of one distribution, divided."""
    both = torch.from_numpy(np.asarray(make(np.random.default_rng(seed), sum(sizes)))).to(dtype)
    return both.split(sizes)


def brute(query, bank, k):
    query, bank = query.double().numpy(), bank.double().numpy()
    with np.errstate(over="ignore"):  # in float32 some distances are infinite
        return tuple(torch.from_numpy(a) for a in reference.knn(query, bank, k))


def same(got, want, rtol=2e-7):
    assert torch.equal(got[1], want[1])
    torch.testing.assert_close(got[0], want[0], rtol=rtol, atol=0)  # one rounding to float32


def test_a_hand_made_example():
    bank = torch.tensor([[0.0, 0], [3, 4], [1, 0], [0, -1], [9, 9]])
    distance, index = knn(torch.tensor([[0.0, 0], [9, 8]]), bank, 3)
    assert index.tolist() == [[0, 2, 3], [4, 1, 2]]  # rows 2 and 3 are equally far from (0, 0)
    assert distance.tolist() == [[0, 1, 1], [1, 52, 128]]


@pytest.fixture(params=[p for p in PATHS if p != "best"])
def path(request):
    if not native(torch.device("cpu"))[0].knn_has_path(PATHS[request.param]):
        pytest.skip(f"this machine has no {request.param}")
    return request.param


@pytest.mark.parametrize("blocks", [(252, 512), (1, 64), (7, 128)])
@pytest.mark.parametrize(
    ("make", "m", "columns"),
    [
        (grid(9), 700, 9),
        (grid(5), 63, 5),
        (grid(5), 65, 5),
        (normal_rows(1), 4000, 1),
        (normal_rows(2), 4000, 2),
        (normal_rows(66), 300, 66),
        (decaying(140), 900, 64),
        (decaying(140), 900, 128),
        (decaying(140), 900, 140),
        (grid(131), 500, 64),
    ],
)
def test_every_path_and_every_block_size_gives_the_exact_result(make, m, columns, blocks, path):
    query, bank = rows(make, 29, m)
    encoded = encode(bank, columns=columns)
    for k in (1, 11, 32):
        got = search([encoded], query, k, path=path, blocks=blocks)
        same(got, brute(query, bank, k))


emulated = pytest.mark.skipif("emulated" not in DEVICES, reason="the emulated ops are not built")


@emulated
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("make", "sizes", "k", "columns"),
    [
        (grid(5), (5, 63), 1, 5),
        (grid(66), (5, 129), 32, 66),
        (grid(4), (130, 40), 3, 4),  # more queries than a block has
        (grid(3, 2), (5, 300), 9, 3),  # more ties than a list keeps
        (grid(3, 2), (5, 1100), 32, 3),  # in several parts
        (decaying(70), (5, 300), 4, 64),
        (decaying(140), (5, 200), 4, 128),
        (decaying(20), (5, 1100), 11, 20),
    ],
)
def test_a_kernel_finds_what_the_cpu_does(make, sizes, k, columns, seed):
    query, bank = rows(make, *sizes, seed=seed)
    with running_on("emulated", seed):
        got = search([encode(bank, columns=columns)], query, k)
    same(got, brute(query, bank, k))


@emulated
@pytest.mark.parametrize("size", [1e-38, 1e-20, 1e18, 1e37])
def test_a_kernel_searches_very_small_and_very_large_values_exactly(size):
    query, bank = (part * size for part in rows(decaying(70), 5, 90))
    bank[40] = query[3] = 3e38
    for columns in (64, 70):
        with running_on("emulated"):
            _, index = search([encode(bank, columns=columns)], query, 5)
        want = brute(query, bank, 5)
        assert torch.equal(index[:3], want[1][:3])
        assert index[3, 0] == 40


@emulated
def test_a_kernel_measures_rows_that_codes_cannot_tell_apart():
    """More than a list keeps lie within a millionth of one point, far from the mean."""
    near, rest = rows(normal_rows(40), 120, 120)
    bank, query = torch.cat([rest, 5 + 1e-6 * near]), 5 + 1e-6 * rest[:3]
    with running_on("emulated"):
        got = search([encode(bank)], query[[0, 1, 2, 0, 1]], 20)
    same(got, brute(query[[0, 1, 2, 0, 1]], bank, 20))


@emulated
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_a_kernel_takes_a_bank_in_pieces_of_any_type(dtype):
    query, bank = rows(grid(6), 9, 200)
    for measure_all in (False, True):
        lists = Lists(query, 12)
        with running_on("emulated"):
            for piece in bank.to(dtype).split(70):
                lists.add(encode(piece, measure_all=measure_all))
        same(lists.result(), brute(query, bank, 12), rtol=0)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("columns", [64, 150, None])
def test_the_values_of_half_precision_banks_are_searched_exactly(dtype, columns):
    query, bank = rows(decaying(150), 20, 800)
    want = brute(query, bank.to(dtype), 7)
    same(search([encode(bank.to(dtype), columns=columns)], query, 7), want)
    same(knn(query.to(dtype), bank.to(dtype), 7), brute(query.to(dtype), bank.to(dtype), 7))
    same(knn(query[:2], bank.to(dtype), 7), (want[0][:2], want[1][:2]))


def test_every_number_of_half_precision_is_read_as_it_is():
    bits = torch.arange(-(2**15), 2**15).to(torch.int16)
    zero = torch.zeros(1, 1)
    for dtype in HALVES:
        bank = bits.view(dtype)
        bank = bank[bank.isfinite()][:, None]
        ends = bank.double().abs().argsort(dim=0).flatten()
        for part in (ends[:40], ends[300:700], ends[-40:]):
            piece = bank[part]
            distance, index = knn(zero, piece, 32)
            want = (piece.double() ** 2).flatten()
            assert torch.equal(distance[0], want[index[0]].float())


def test_distances_that_differ_beyond_float32_are_told_apart():
    """Both round to the same float32; the lower index is the farther."""
    bank = torch.zeros(40, 3)
    bank[:, 0] = 4096
    bank[7, 1], bank[3, 1] = 2**-6, 2**-5
    bank[:3, 2] = bank[4:7, 2] = bank[8:, 2] = 1
    query = torch.zeros(9, 3)
    distance, index = knn(query, bank, 3)
    assert index.tolist() == [[7, 3, 0]] * 9
    assert distance[0, 0] == distance[0, 1] == 2.0**24


@pytest.mark.parametrize("shift", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("columns", [64, 130])
def test_a_common_offset_loses_nothing(shift, columns):
    query, bank = (part + shift for part in rows(decaying(130), 17, 700))
    same(search([encode(bank, columns=columns)], query, 5), brute(query, bank, 5))


@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e-20, 1e10, 1e18, 1e25, 1e37])
@pytest.mark.parametrize("columns", [64, 130])
def test_very_small_and_very_large_values_are_searched_exactly(size, columns):
    query, bank = (part * size for part in rows(decaying(130), 17, 700))
    got = search([encode(bank, columns=columns)], query, 5)
    same(got, brute(query, bank, 5)[:2], rtol=1e-6 if size > 1e-15 else torch.inf)


def test_single_rows_far_from_the_others_are_found():
    query, bank = rows(decaying(130), 17, 700)
    # From so far all other rows are equally far but for the rounding of float64.
    others = [i for i in range(17) if i not in (5, 6)]
    for far in (1e4, 1e15, 1e17, 1e30):
        bank[300], query[5], query[6] = far, far, -far
        want = brute(query, bank, 6)
        for columns in (64, 130):
            distance, index = search([encode(bank, columns=columns)], query, 6)
            same((distance[others], index[others]), (want[0][others], want[1][others]))
            assert index[5, 0] == 300
            assert 300 not in index[6]
            torch.testing.assert_close(distance, want[0])


@pytest.mark.parametrize("columns", [64, 130])
def test_rows_that_codes_cannot_tell_apart_are_measured(columns):
    """All rows lie within a millionth of one point, which lies far from the mean."""
    near, rest = rows(normal_rows(130), 600, 600)
    bank = torch.cat([rest, 5 + 1e-6 * near])
    query = 5 + 1e-6 * rest[:9]
    same(search([encode(bank, columns=columns)], query, 20), brute(query, bank, 20))


def test_ties_across_tiles_and_blocks_go_to_the_lowest_index():
    bank = grid(3, 2)(np.random.default_rng(0), 1500)
    query, bank = torch.from_numpy(bank[:16]), torch.from_numpy(bank)
    for k in (1, 4, 32):
        for blocks in ((252, 512), (5, 64)):
            distance, index = search([encode(bank)], query, k, blocks=blocks)
            for q, found in zip(query, index, strict=True):
                assert found.tolist() == (bank == q).all(1).nonzero().flatten()[:k].tolist()
            assert not distance.any()


def test_order_of_the_bank_does_not_matter():
    query, bank = rows(decaying(130), 40, 3000)
    order = torch.from_numpy(np.random.default_rng(0).permutation(3000))
    distance, index = knn(query, bank, 9)
    shuffled, at = knn(query, bank[order], 9)
    assert torch.equal(distance, shuffled)
    assert torch.equal(index, order[at])


def test_a_bank_in_pieces_gives_what_the_whole_gives():
    query, bank = rows(grid(6), 50, 1000)
    whole = knn(query, bank, 12)
    for size in (1000, 700, 64, 33, 1):
        lists = Lists(query, 12)
        for piece in bank.split(size):
            lists.add(encode(piece))
        same(lists.result(), whole, rtol=0)


def test_a_basis_that_tells_too_little_is_given_up():
    """In few columns of isotropic rows no row can be excluded."""
    query, bank = rows(normal_rows(300), 300, 3000)
    encoded = encode(bank, columns=64)
    lists = Lists(query, 5)
    distance, index = lists._distance.clone(), lists._index.clone()
    assert lists._search(encoded, lists._query, lists._distance, lists._index).all()
    assert torch.equal(lists._distance, distance)
    assert torch.equal(lists._index, index)
    same(search([encoded], query, 5), brute(query, bank, 5))
    assert "in_all_columns" in vars(encoded)  # made once
    given_up = lists._search(encoded.in_all_columns, query, distance, index)
    assert not given_up.any()


def test_the_sample_decides_for_few_columns_only_where_they_tell_rows_apart():
    assert encode(rows(decaying(300), 4000)[0]).into.columns in (64, 128)
    assert encode(rows(normal_rows(300), 4000)[0]).into.columns == 300
    assert encode(rows(decaying(300), 4000)[0]).code.shape[1] < 300 * 64


@pytest.mark.parametrize("columns", [64, 128])
def test_a_basis_never_lengthens(columns):
    for seed in range(3):
        basis = embedding(rows(decaying(200), 500, seed=seed)[0], columns).basis
        assert basis.shape == (200, columns)
        assert np.linalg.svd(basis.double().numpy())[1].max() < 1
        assert np.linalg.svd(basis.double().numpy())[1].min() > 1 - 1e-5


def test_the_scan_leaves_the_global_generator_alone():
    query, bank = rows(decaying(300), 40, 4000)
    state = torch.get_rng_state()
    knn(query, bank, 3)
    assert torch.equal(torch.get_rng_state(), state)


Q, B = torch.zeros(3, 4), torch.zeros(40, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Q.double(), B, 1), TypeError, "query must be float32, float16 or bfloat16, got"),
        ((Q, B.long(), 1), TypeError, "bank must be float32, float16 or bfloat16, got torch.int64"),
        ((Q, B.numpy(), 1), TypeError, "bank must be a torch tensor, got ndarray"),
        ((Q[0], B, 1), ValueError, r"query must be \(Q, D\), got \(4,\)"),
        ((Q, B[:, :3], 1), ValueError, r"bank must be \(M, D=4\), got \(40, 3\)"),
        ((Q, B, 0), ValueError, r"k must be in \[1, min\(32, M=40\)\], got 0"),
        ((Q, B, 33), ValueError, r"k must be in \[1, min\(32, M=40\)\], got 33"),
        ((Q, B[:5], 6), ValueError, r"k must be in \[1, min\(32, M=5\)\], got 6"),
        ((Q, B[:0], 1), ValueError, r"k must be in \[1, min\(32, M=0\)\], got 1"),
        ((Q[:, :0], B[:, :0], 1), ValueError, r"D must be in \[1, 65536\], got 0"),
        ((Q * torch.nan, B, 1), ValueError, "query must be finite, got NaN or infinity"),
        ((Q, B + torch.inf, 1), ValueError, "bank must be finite, got NaN or infinity"),
    ],
)
def test_other_inputs_are_named(arguments, error, message):
    with pytest.raises(error, match=f"knn: {message}"):
        knn(*arguments)


def test_large_finite_values_pass_the_check():
    bank = torch.full((9, 4), 3e38)
    bank[0] = 0
    assert knn(Q, bank, 1)[1].tolist() == [[0]] * 3


def test_values_are_checked_only_when_asked_to():
    bank = B.clone()
    bank[20:] = torch.nan
    assert knn(Q, bank, 1, check=False)[1].tolist() == [[0]] * 3
