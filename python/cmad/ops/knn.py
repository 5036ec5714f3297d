"""The k nearest rows of a bank."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cmad.ops._call import expect, native
from cmad.ops._embedding import Embedding, embedding

KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
"""Types of rows, as the native code numbers them."""
MOST_K, MOST_D = 32, 65536
FEW_QUERIES = 4
"""For no more than so many, measuring every row takes less time than encoding the bank."""
BLOCKS = (252, 512)
"""Queries, a multiple of the 6 of a tile, and rows, a multiple of its 64."""
PATHS = {"best": 0, "plain": 1, "avx2": 2, "avx_vnni": 3, "avx512_vnni": 4}
"""How the scan multiplies; all give the same result. For tests."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """A bank as the search reads it: made once by `encode`, used for any number of queries.

    The codes take one byte per row and column of the embedding, 64, 128 or D columns, and 16 bytes
    per row; the rows are not copied.
    """

    rows: Tensor
    """(M, D) float32, float16 or bfloat16, contiguous."""
    into: Embedding
    code: Tensor
    """(T, 64 C) uint8, T = ceil(M / 64); none where every row is to be measured."""
    bound: Tensor
    """(T, 4, 64) float32."""

    @cached_property
    def in_all_columns(self) -> "Encoded":
        """The same rows with D columns, for queries that few columns tell too little about."""
        return encode(self.rows, columns=self.rows.shape[1])


def knn(query: Tensor, bank: Tensor, k: int, *, check: bool = True) -> tuple[Tensor, Tensor]:
    """Find the ``k`` rows of a bank that are nearest to each query.

    Exact for the values as given, whatever their types: rows are compared by their squared
    Euclidean distance, a sum of squared differences in float64; ties go to the lowest index. A scan
    in 8-bit integers finds out which rows may be among the nearest, by bounds that hold for every
    rounding, and only these are measured. Never Q x M numbers: beside the result it takes a copy of
    the queries in float32, at most D + 160 bytes per row of the bank for its codes, 24 MB for a
    sample of 2048 rows of 1152, and 4 MB per thread. Not differentiable.

    Args:
        query: (Q, D) float32, float16 or bfloat16, finite, 1 <= D <= 65536.
        bank: (M, D) float32, float16 or bfloat16, finite.
        k: neighbours, 1 to min(32, M).
        check: read all values once to see that they are finite; without, they must be.

    Returns:
        distance (Q, k) float32, squared, nearest first, and index (Q, k) int64 into the bank.

    Raises:
        TypeError, ValueError: another dtype, shape or k, or a value that is not finite.

    """
    check_rows("knn", query=query, bank=bank)
    if not 1 <= k <= min(MOST_K, len(bank)):
        raise ValueError(f"knn: k must be in [1, min({MOST_K}, M={len(bank)})], got {k}")
    native(bank.device)
    if check:
        finite_rows("knn", query=query, bank=bank)
    few = len(query) <= FEW_QUERIES
    return search([encode(bank, measure_all=few)], query, k)


def check_rows(op: str, **arguments: Tensor) -> None:
    """Check that arguments are rows of one width, each of a type that is searched."""
    known = [a.dtype for a in arguments.values() if isinstance(a, Tensor) and a.dtype in KINDS]
    first = known[0] if known else torch.float32
    for name, rows in arguments.items():
        if isinstance(rows, Tensor) and rows.dtype not in KINDS:
            raise TypeError(f"{op}: {name} must be float32, float16 or bfloat16, got {rows.dtype}")
    sizes = expect(
        op,
        **{
            name: (rows, "Q D" if name == "query" else "M D", getattr(rows, "dtype", first))
            for name, rows in arguments.items()
        },
    )
    if not 1 <= sizes["D"] <= MOST_D:
        raise ValueError(f"{op}: D must be in [1, {MOST_D}], got {sizes['D']}")


def finite_rows(op: str, **arguments: Tensor) -> None:
    """Check that rows are finite, some of them at a time.

    Raises:
        ValueError: a NaN or an infinity.

    """
    for name, rows in arguments.items():
        for begin in range(0, len(rows), 4096):
            part = rows[begin : begin + 4096].detach()
            # A sum is read faster than every value, and is finite only if all of them are.
            total = part.sum(dtype=torch.float32)
            if not bool(torch.isfinite(total)) and not bool(torch.isfinite(part).all()):
                raise ValueError(f"{op}: {name} must be finite, got NaN or infinity")


def encode(bank: Tensor, *, measure_all: bool = False, columns: int | None = None) -> Encoded:
    """Compute what the scan reads of a bank.

    Args:
        bank: (M, D) as in `knn`, not checked; copied only where not contiguous.
        measure_all: make no codes; the search then measures every row.
        columns: of the embedding, 64, 128 or D; None decides by a sample of the rows, and for D on
            a GPU: measuring a row takes as long as scanning some 500 there, not 25.

    """
    rows = bank.detach().contiguous()
    M = len(rows)
    if rows.is_cuda:
        columns = columns or rows.shape[1]
    into = embedding(rows[:1] if measure_all else rows, columns)
    tiles = 0 if measure_all else -(-M // 64)
    code = rows.new_empty((tiles, 64 * (-(-into.columns // 4) * 4)), dtype=torch.uint8)
    bound = rows.new_empty((tiles, 4, 64), dtype=torch.float32)
    if tiles:
        lib, stream = native(rows.device)
        lib.knn_encode(*_of(rows), *into.arguments(), code, bound, stream)
    return Encoded(rows, into, code, bound)


def search(
    pieces: list[Encoded],
    query: Tensor,
    k: int,
    *,
    path: str = "best",
    blocks: tuple[int, int] = BLOCKS,
) -> tuple[Tensor, Tensor]:
    """Search a bank that comes in pieces, one after another; see `knn`.

    Args:
        pieces: of the bank; `Lists` takes them one at a time.
        query: (Q, D) as in `knn`, not checked.
        k: neighbours, 1 to min(32, rows of all pieces).
        path: a key of `PATHS`.
        blocks: queries and rows that are handled together; the rows a multiple of 64.

    """
    lists = Lists(query, k, path=path, blocks=blocks)
    for piece in pieces:
        lists.add(piece)
    return lists.result()


class Lists:
    """The nearest rows of each query among the pieces of a bank that were added so far."""

    def __init__(
        self, query: Tensor, k: int, *, path: str = "best", blocks: tuple[int, int] = BLOCKS
    ) -> None:
        """Begin with no row; for the arguments see `search`."""
        self._query = query.detach().float().contiguous()
        self._distance = query.new_full((len(query), k), torch.inf, dtype=torch.float64)
        self._index = query.new_full((len(query), k), -1, dtype=torch.int64)
        self._path, self._blocks = path, blocks
        self._rows = 0

    def add(self, piece: Encoded) -> None:
        """Search the rows that follow those added before."""
        given_up = self._search(piece, self._query, self._distance, self._index)
        # With all columns nothing is given up, and nothing has to be read.
        if len(piece.into.basis) > 0 and bool(given_up.any()):
            distance, index = self._distance[given_up], self._index[given_up]
            self._search(piece.in_all_columns, self._query[given_up], distance, index)
            self._distance[given_up], self._index[given_up] = distance, index
        self._rows += len(piece.rows)

    def _search(self, piece: Encoded, query: Tensor, distance: Tensor, index: Tensor) -> Tensor:
        given_up = torch.zeros(len(query), dtype=torch.bool, device=query.device)
        lib, stream = native(query.device)
        Q, coded = len(query), len(piece.code) > 0
        parts = lib.knn_parts(Q, len(piece.rows), index.shape[1], coded)
        tiles = -(-Q // 64) if parts and coded else 0
        lib.knn(
            query,
            *_of(piece.rows),
            *piece.into.arguments(),
            piece.code,
            piece.bound,
            distance,
            index,
            given_up,
            distance.new_empty((Q, 0 if coded else parts, 32)),
            index.new_empty((Q, parts, 32)),
            piece.code.new_empty((tiles, piece.code.shape[1])),
            distance.new_empty((Q if tiles else 0, 5)),
            self._rows,
            PATHS[self._path],
            *self._blocks,
            stream,
        )
        return given_up

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the distances, squared, and the indices; see `knn`."""
        return self._distance.float(), self._index


def _of(rows: Tensor) -> tuple[Tensor, int]:
    """Return rows as bytes, and the kind of their numbers."""
    return rows.view(torch.uint8), KINDS[rows.dtype]
