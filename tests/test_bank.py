"""The memory bank: what it keeps, what it finds, and that memory limits change no result."""

import sys

import numpy as np
import pytest
import torch

from cmad.bank import Bank, _distinct, _projected
from cmad.ops import coreset, knn
from cmad.ops.knn import Lists
from cmad.testing.inputs import decaying, grid, normal_rows


def rows(make, n, seed=0):
    return torch.from_numpy(make(np.random.default_rng(seed), n))


class Blocks:
    """Blocks that are made anew each time they are gone through."""

    def __init__(self, whole, size):
        self.whole, self.size, self.times = whole, size, 0

    def __iter__(self):
        self.times += 1
        yield from (part.clone() for part in self.whole.split(self.size))


@pytest.fixture
def searched(monkeypatch):
    """Sizes of the queries and pieces that were searched."""
    sizes = []
    add = Lists.add

    def counted(self, piece):
        sizes.append((len(self._query), len(piece.rows)))
        add(self, piece)

    monkeypatch.setattr(Lists, "add", counted)
    return sizes


def test_a_bank_keeps_the_rows_picked_by_the_greedy_coreset():
    whole = rows(normal_rows(20), 300)  # narrower than the projection: compared as they are
    bank = Bank.build(whole, count=40)
    assert torch.equal(bank.rows, whole[coreset(whole, 40)])
    assert len(Bank.build(whole)) == 30
    assert len(Bank.build(whole, fraction=0.0999)) == 29
    assert len(Bank.build(whole[:5], fraction=0.1)) == 1
    assert torch.equal(Bank.build(whole, fraction=1).rows, whole)


def test_wide_rows_are_compared_after_the_projection_of_the_seed():
    from sklearn.random_projection import SparseRandomProjection

    whole = rows(decaying(400), 300)
    image = SparseRandomProjection(eps=0.9, random_state=7).fit_transform(whole.double().numpy())
    assert image.shape[1] < 400
    index = coreset(torch.from_numpy(image).float(), 60)
    assert torch.equal(Bank.build(whole, count=60, seed=7).rows, whole[index])
    assert not torch.equal(Bank.build(whole, count=60, seed=8).rows, whole[index])


@pytest.mark.parametrize("size", [1, 7, 128, 300, 1000])
def test_blocks_of_rows_give_the_bank_of_the_whole(size):
    whole = rows(decaying(400), 300)
    blocks = Blocks(whole, size)
    bank = Bank.build(blocks, fraction=0.3, seed=3)
    assert torch.equal(bank.rows, Bank.build(whole, fraction=0.3, seed=3).rows)
    assert blocks.times == 3


def test_projection_in_parts_is_that_of_the_whole(monkeypatch):
    from cmad import bank

    blocks = bank._Blocks(rows(decaying(300), 200))
    whole = _projected(blocks, 0)
    monkeypatch.setattr(bank, "PROJECTED", 33)
    assert torch.equal(_projected(blocks, 0), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_bank_in_half_precision_holds_rounded_rows(dtype):
    whole = rows(normal_rows(20), 300)
    bank = Bank.build(whole, count=40, dtype=dtype)
    assert torch.equal(bank.rows, whole[coreset(whole, 40)].to(dtype))
    query = rows(normal_rows(20), 10, seed=1)
    distance, index = bank.search(query, 3)
    want = torch.cdist(query.double(), bank.rows.double()) ** 2
    torch.testing.assert_close(distance, want.gather(1, index).float())
    assert torch.equal(index, want.topk(3, largest=False).indices)


def test_progress_counts_the_picks():
    steps = []
    Bank.build(rows(normal_rows(20), 90), count=40, progress=lambda note="": steps.append(note))
    assert len(steps) == 40


def test_search_gives_what_knn_gives():
    bank, query = Bank(rows(decaying(200), 3000)), rows(decaying(200), 60, seed=1)
    for k in (1, 20, 32):
        for got, want in zip(bank.search(query, k), knn(query, bank.rows, k), strict=True):
            assert torch.equal(got, want)
    assert [t.shape for t in bank.search(query[:0], 3)] == [(0, 3), (0, 3)]


@pytest.mark.parametrize("tile", [64, 128, 960])
def test_tiles_change_no_result(tile, searched):
    whole, query = rows(grid(6), 1000), rows(grid(6), 50, seed=1)
    bank = Bank(whole, memory_limit=tile * (6 + 16))
    got = bank.search(query, 20)
    assert [m for _, m in searched] == [len(part) for part in whole.split(tile)]
    assert bank._encoded is None
    for g, want in zip(got, Bank(whole).search(query, 20), strict=True):
        assert torch.equal(g, want)


def test_codes_of_a_bank_within_the_limit_are_made_once(monkeypatch):
    from cmad import bank

    made, encode = [], bank.encode
    monkeypatch.setattr(bank, "encode", lambda rows: made.append(len(rows)) or encode(rows))
    kept = Bank(rows(normal_rows(8), 900))
    for seed in range(3):
        kept.search(rows(normal_rows(8), 9, seed), 2)
    assert made == [900]


def test_equal_queries_are_searched_once(searched):
    bank, query = Bank(rows(normal_rows(8), 900)), rows(normal_rows(8), 30, seed=1)
    twice = query[torch.tensor([0, 1, 0, 2, 2, 29, 5, 0, 1])]
    got = bank.search(twice, 4)
    assert searched == [(5, 900)]
    for g, want in zip(got, knn(twice, bank.rows, 4), strict=True):
        assert torch.equal(g, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_equal_only_if_all_their_bytes_are(dtype):
    query = torch.zeros(5, 9, dtype=dtype)
    query[1, 8] = query[4, 8] = 1
    query[2, 0] = -0.0
    first, which = _distinct(query)
    assert first.tolist() == [0, 1, 2]
    assert which.tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_saved_bank_is_mapped_and_finds_the_same(tmp_path, dtype):
    bank, query = Bank(rows(decaying(150), 2000).to(dtype)), rows(decaying(150), 40, seed=1)
    bank.save(tmp_path / "a.bank")
    opened = Bank.open(tmp_path / "a.bank", memory_limit=64 * 170)
    assert torch.equal(opened.rows, bank.rows)
    for g, want in zip(opened.search(query, 5), bank.search(query, 5), strict=True):
        assert torch.equal(g, want)
    assert [p.name for p in tmp_path.iterdir()] == ["a.bank"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_rows_of_an_open_bank_stay_in_the_file(tmp_path):
    Bank(rows(normal_rows(64), 1000)).save(tmp_path / "a.bank")
    bank = Bank.open(tmp_path / "a.bank")
    with open("/proc/self/maps") as maps:
        spans = [line.split() for line in maps if "a.bank" in line]
    ends = [[int(end, 16) for end in span[0].split("-")] for span in spans]
    assert any(begin <= bank.rows.data_ptr() < end for begin, end in ends)


def test_an_open_bank_may_be_replaced(tmp_path):
    path = tmp_path / "a.bank"
    Bank(torch.zeros(9, 4)).save(path)
    old = Bank.open(path)
    Bank(torch.ones(5, 4)).save(path)
    assert len(Bank.open(path)) == 5
    assert torch.equal(old.rows, torch.zeros(9, 4))


def test_a_bank_comes_back_from_its_tensors():
    bank = Bank.build(rows(normal_rows(8), 90), count=20)
    again = Bank.from_tensors(bank.state_dict())
    assert torch.equal(again.rows, bank.rows)


def test_files_that_are_no_banks_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such bank"):
        Bank.open(tmp_path / "none")
    path = tmp_path / "other"
    path.write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="other: not a complete bank"):
        Bank.open(path)
    with pytest.raises(OSError, match="no folder"):
        Bank(torch.zeros(2, 2)).save(tmp_path / "no folder" / "bank")


R = torch.zeros(9, 4)


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: Bank(R.double()), TypeError, "Bank: rows must be float32, float16 or bfloat16"),
        (lambda: Bank(R[:0]), ValueError, "Bank: rows must hold at least one, got none"),
        (lambda: Bank(R * torch.nan), ValueError, "Bank: rows must be finite"),
        (lambda: Bank.build(R[:0]), ValueError, "Bank: rows must hold at least one, got none"),
        (lambda: Bank.build([]), ValueError, "Bank: rows must hold at least one, got none"),
        (lambda: Bank.build([R, R * torch.nan]), ValueError, "Bank: rows must be finite"),
        (lambda: Bank.build([R, R[:, :3]]), ValueError, "blocks must have D=4 columns, got 3"),
        (lambda: Bank.build(iter([R])), TypeError, "blocks are gone through three times"),
        (lambda: Bank.build(R, fraction=0), ValueError, r"fraction must be in \(0, 1\], got 0"),
        (lambda: Bank.build(R, fraction=1.1), ValueError, r"fraction must be in \(0, 1\], got 1.1"),
        (lambda: Bank.build(R, count=10), ValueError, r"count must be in \[1, N=9\], got 10"),
        (lambda: Bank.build(R, count=0), ValueError, r"count must be in \[1, N=9\], got 0"),
        (lambda: Bank.build(R, dtype=torch.int8), TypeError, "dtype must be float32, float16"),
        (
            lambda: Bank.build(R + 1e6, count=2, dtype=torch.float16),
            ValueError,
            "Bank: rows must be finite",
        ),
        (lambda: Bank.from_tensors({"x": R}), ValueError, r"must hold 'rows', got \['x'\]"),
        (lambda: Bank(R).search(R, 10), ValueError, r"k must be in \[1, min\(32, M=9\)\], got 10"),
        (lambda: Bank(R).search(R[:, :2], 1), ValueError, r"rows must be \(M, D=2\)"),
        (lambda: Bank(R).search(R + torch.inf, 1), ValueError, "query must be finite"),
    ],
)
def test_other_inputs_are_named(action, error, message):
    with pytest.raises(error, match=message):
        action()


def test_blocks_that_change_between_two_passes_are_named():
    class Shrinking(Blocks):
        def __iter__(self):
            self.whole = self.whole[:-1]
            return super().__iter__()

    with pytest.raises(ValueError, match="Bank: blocks gave 98 rows, then 97"):
        Bank.build(Shrinking(rows(normal_rows(4), 99), 10), count=5)
