"""Memory bank: a coreset of the features of good parts, and the search for nearest rows in it."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cmad import gpu
from cmad.ops import coreset
from cmad.ops.knn import KINDS, MOST_K, Encoded, Lists, check_rows, encode, finite_rows
from cmad.progress import Step

MEMORY_LIMIT = 2 << 30
"""Bytes that a bank's codes may take beside its rows."""
PROJECTED = 4096
"""Rows that are projected together."""


class Bank:
    """Rows of features to search in.

    Args:
        rows: (M, D) float32, float16 or bfloat16, finite, at least one; kept as it is, not copied
            where contiguous.
        memory_limit: bytes that the codes of the search may take, D + 16 per row at most. They are
            made by the first search and kept; beyond the limit the rows are searched in tiles whose
            codes are made for each search. Where the few columns of the codes tell too little about
            some queries, as much again is taken for those.

    Raises:
        TypeError, ValueError: another dtype or shape, or values that are not finite.

    """

    rows: Tensor
    """(M, D); may be a part of a file (`open`)."""
    picked: Tensor | None = None
    """(M,) int64, positions of the rows among those that `build` chose from; not saved."""

    def __init__(self, rows: Tensor, *, memory_limit: int = MEMORY_LIMIT) -> None:
        """Take rows; they are read once to see that they are finite."""
        _check("Bank", rows)
        finite_rows("Bank", rows=rows)
        self._take(rows, memory_limit)

    def _take(self, rows: Tensor, memory_limit: int) -> None:
        self.rows = rows.detach().contiguous()
        self.memory_limit = memory_limit
        self._encoded: Encoded | None = None

    @classmethod
    def build(
        cls,
        rows: Tensor | Iterable[Tensor],
        *,
        fraction: float = 0.1,
        count: int | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        progress: Step | None = None,
        memory_limit: int = MEMORY_LIMIT,
    ) -> "Bank":
        """Choose a coreset: greedy k-centre from row 0 on, after a sparse random projection.

        The projection is scikit-learn's, to the Johnson-Lindenstrauss number of columns for
        eps = 0.9 (300 for 90 k rows), from `seed`; where that is more than D, rows are compared
        as they are. Distances are float32. The published code rounds them to float16, which
        changes the order of its picks after some 20.

        Takes 4 bytes per row and column of the projection and 16 per row, beside the picked rows;
        of the rows themselves one block at a time.

        Args:
            rows: (N, D) float32, float16 or bfloat16, finite, or blocks of such, which are gone
                through three times: a list, or an object that yields them anew each time.
            fraction: of the rows to keep, above 0 to 1; rounded down, at least one.
            count: the number to keep, instead of the fraction; 1 to N.
            seed: of the projection, 0 to 2**32 - 1.
            dtype: of the bank.
            progress: called after each pick.
            memory_limit: see `Bank`.

        Returns:
            The bank, its rows in the order picked; in the order given if all are kept.

        Raises:
            TypeError, ValueError: another dtype or shape, no row, blocks of several widths, values
                that are not finite, also not in the bank's dtype, or fraction, count out of range.

        """
        if dtype not in KINDS:
            raise TypeError(f"Bank: dtype must be float32, float16 or bfloat16, got {dtype}")
        blocks = _Blocks(rows)
        N = blocks.rows
        if count is None:
            if not 0 < fraction <= 1:
                raise ValueError(f"Bank: fraction must be in (0, 1], got {fraction}")
            count = max(1, int(fraction * N))
        if not 1 <= count <= N:
            raise ValueError(f"Bank: count must be in [1, N={N}], got {count}")
        if count == N:
            index = torch.arange(N)
        else:
            projected = _projected(blocks, seed).to(blocks.device)
            index = coreset(projected, count, progress=progress, check=False).cpu()
        bank = cls(blocks.take(index, dtype), memory_limit=memory_limit)
        bank.picked = index
        return bank

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def search(self, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Find the ``k`` nearest rows of each query; exact, see `cmad.ops.knn`.

        Queries of the same bytes are searched once.

        Args:
            query: (Q, D) float32, float16 or bfloat16, finite.
            k: neighbours, 1 to min(32, M).

        Returns:
            distance (Q, k) float32, squared, nearest first, and index (Q, k) int64.

        Raises:
            TypeError, ValueError: another dtype, shape or k, or a value that is not finite.

        """
        check_rows("Bank.search", query=query, rows=self.rows)
        if not 1 <= k <= min(MOST_K, len(self)):
            raise ValueError(
                f"Bank.search: k must be in [1, min({MOST_K}, M={len(self)})], got {k}"
            )
        finite_rows("Bank.search", query=query)
        first, which = _distinct(query)
        all_differ = len(first) == len(query)
        lists = Lists(query if all_differ else query[first], k)
        for piece in self._pieces():
            lists.add(piece)
        distance, index = lists.result()
        return (distance, index) if all_differ else (distance[which], index[which])

    def _pieces(self) -> Iterator[Encoded]:
        """Yield the bank's codes: all, which are kept, or of a tile at a time, within the limit."""
        M, D = self.rows.shape
        tile = max(64, self.memory_limit // (D + 16) // 64 * 64)
        if tile >= M:
            self._encoded = self._encoded or encode(self.rows)
            yield self._encoded
            return
        for begin in range(0, M, tile):
            yield encode(self.rows[begin : begin + tile])

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a model file holds of it."""
        return {"rows": self.rows}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], *, memory_limit: int = MEMORY_LIMIT
    ) -> "Bank":
        """Make a bank from what `state_dict` returned.

        Raises:
            ValueError: no rows among the tensors.

        """
        if "rows" not in tensors:
            raise ValueError(f"Bank: tensors must hold 'rows', got {sorted(tensors)}")
        return cls(tensors["rows"], memory_limit=memory_limit)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file: beside its place, then renamed, so that a bank may be open.

        Raises:
            OSError: it cannot be written; a file that was there is unchanged.

        """
        path = Path(path)
        try:
            with tempfile.TemporaryDirectory(prefix=".cmad-", dir=path.parent) as folder:
                written = Path(folder) / path.name
                save_file(self.state_dict(), written)
                os.replace(written, path)
        except SafetensorError as error:
            raise OSError(f"{path}: the bank could not be saved ({error})") from error

    @classmethod
    def open(cls, path: str | Path, *, memory_limit: int = MEMORY_LIMIT) -> "Bank":
        """Open a file that `save` wrote: its rows stay in the file, and are read where searched.

        Values are not checked. The file must not be written to while the bank is in use; it may be
        replaced or deleted.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a bank, or truncated.

        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such bank")
        try:
            with safe_open(path, framework="pt") as file:
                rows = file.get_tensor("rows")  # mapped to memory, not read
        except SafetensorError as error:
            raise ValueError(f"{path}: not a complete bank ({error})") from error
        _check("Bank", rows)
        bank = cls.__new__(cls)
        bank._take(rows, memory_limit)
        return bank


def _check(what: str, rows: Tensor) -> None:
    check_rows(what, rows=rows)
    if len(rows) == 0:
        raise ValueError(f"{what}: rows must hold at least one, got none")


class _Blocks:
    """Blocks of rows, counted, that are gone through again and again."""

    def __init__(self, blocks: Tensor | Iterable[Tensor]) -> None:
        if isinstance(blocks, Iterator):
            raise TypeError(
                "Bank: blocks are gone through three times; got an iterator, give a list"
            )
        self._blocks = [blocks] if isinstance(blocks, Tensor) else blocks
        self.device = gpu.CPU
        self.rows, self.columns = 0, 0
        for block in self:
            finite_rows("Bank", rows=block)

    def __iter__(self) -> Iterator[Tensor]:
        rows, columns = 0, 0
        for block in self._blocks:
            check_rows("Bank", rows=block)
            if columns and block.shape[1] != columns:
                raise ValueError(
                    f"Bank: blocks must have D={columns} columns, got {block.shape[1]}"
                )
            rows, columns, self.device = rows + len(block), block.shape[1], block.device
            yield block.detach()
        if rows == 0:
            raise ValueError("Bank: rows must hold at least one, got none")
        if self.rows and (rows, columns) != (self.rows, self.columns):
            raise ValueError(f"Bank: blocks gave {self.rows} rows, then {rows}")
        self.rows, self.columns = rows, columns

    def take(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the rows at an index of the CPU, in its order, where the blocks are."""
        out = torch.empty((len(index), self.columns), dtype=dtype, device=self.device)
        order = torch.argsort(index)
        ascending = index[order]
        begin = 0
        for block in self:
            at = torch.searchsorted(ascending, torch.tensor([begin, begin + len(block)]))
            here = slice(int(at[0]), int(at[1]))
            out[order[here]] = block[ascending[here] - begin].to(dtype)
            begin += len(block)
        return out


def _projected(blocks: _Blocks, seed: int) -> Tensor:
    """Return (N, columns) float32: what distances of the coreset are taken on."""
    from sklearn.random_projection import (  # slow to import
        SparseRandomProjection,
        johnson_lindenstrauss_min_dim,
    )

    columns = int(johnson_lindenstrauss_min_dim(blocks.rows, eps=0.9))
    project = None
    if 0 < columns <= blocks.columns:
        project = SparseRandomProjection(columns, eps=0.9, random_state=seed)
        project.fit(np.zeros((1, blocks.columns)))
    shape = blocks.rows, columns if project else blocks.columns
    out = torch.empty(shape, dtype=torch.float32)
    begin = 0
    for block in blocks:
        for part in (block[i : i + PROJECTED] for i in range(0, len(block), PROJECTED)):
            if project is None:
                image = part
            else:  # in float64, as published, then rounded
                image = torch.from_numpy(project.transform(part.cpu().double().numpy()))
            out[begin : begin + len(part)] = image
            begin += len(part)
    return out


def _distinct(query: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first of each group of equal rows, by bytes, and for each row its group.

    On a GPU every row is a group: to search copies takes less time than to wait for the bytes.
    """
    if query.device.type != "cpu":
        every = torch.arange(len(query), device=query.device)
        return every, every
    seen: dict[bytes, int] = {}
    first: list[int] = []
    which: list[int] = []
    for i, row in enumerate(query.detach().contiguous().view(torch.uint8).numpy()):
        group = seen.setdefault(row.tobytes(), len(first))
        if group == len(first):
            first.append(i)
        which.append(group)
    return torch.tensor(first, dtype=torch.int64), torch.tensor(which, dtype=torch.int64)
