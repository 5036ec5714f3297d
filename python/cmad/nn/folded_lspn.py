"""The LSPN for one set of prototypes: what does not depend on the query is computed once."""

import torch
from torch import Tensor

from cmad.nn.lspn import HIDDEN, LSPN, distinct, lengths

BUDGET = 120 << 20
"""Bytes that products of prototypes may take; those without room are made for each frame, of the
prototypes that occur in it."""
CHUNK = 1024
"""Features judged at a time, to bound the memory."""


class FoldedLSPN:
    """A trained LSPN, and the prototypes of both banks.

    The first layers are linear in each modality. So that of the prototype branch is a sum of two
    rows that depend on the prototypes alone, and that of the direction branch, (W f - W m) / s, on
    a row of the prototype, one of the feature, and a number. What is left for each pair is the
    second layer and what follows it.
    """

    def __init__(self, lspn: LSPN, rows: tuple[Tensor, Tensor], budget: int = BUDGET) -> None:
        """Take a network in eval mode; nothing is computed yet.

        Args:
            lspn: trained.
            rows: (M2, D2) and (M3, D3), the banks.
            budget: bytes to keep: the prototype branch's products before the other's.

        """
        self.lspn, self.rows = lspn, rows
        self._keeps: set[tuple[int, int]] = set()
        for branch in range(2):
            for modality in sorted(range(2), key=lambda m: len(rows[m])):
                if (size := len(rows[modality]) * HIDDEN * 4) <= budget:
                    self._keeps.add((branch, modality))
                    budget -= size
        self._kept: dict[tuple[int, int], Tensor] = {}

    @torch.inference_mode()
    def __call__(self, feature: Tensor, index: Tensor, distance: Tensor) -> Tensor:
        """Predict w as `LSPN.local` does.

        Args:
            feature: (N, D2 + D3) float32.
            index: (N, J, 2) int64 into the banks.
            distance: (N, J, 2) float32, not squared.

        Returns:
            (N, J, 2) float32.

        """
        near, towards = self.lspn.transformer.first, self.lspn.residual_transformer.first
        tables = [[self._products(branch, m, index) for m in range(2)] for branch in range(2)]
        parts = torch.split(feature, list(self.lspn.dims), 1)
        straight = [part @ self.lspn.columns(towards, m).T for m, part in enumerate(parts)]
        of_directions = lengths(distance, self.lspn.joint).unbind(-1)
        scaled = [one * gain for one, gain in zip(of_directions, self.lspn.gain, strict=True)]
        length = torch.stack(scaled, -1)
        found = []
        for begin in range(0, len(feature), CHUNK):
            some = slice(begin, begin + CHUNK)
            prototype: Tensor = near.bias
            direction: Tensor = towards.bias
            for m in range(2):
                (of_near, which), (of_towards, other) = tables[0][m], tables[1][m]
                prototype = prototype + of_near[which[some]]
                offset = straight[m][some, None] - of_towards[other[some]]
                direction = direction + offset.mul_(length[some, :, m, None])
            found.append(self.lspn.scales(direction, prototype))
        return torch.cat(found) if found else distance.new_zeros(distance.shape)

    def _products(self, branch: int, modality: int, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of a first layer's products, and where each pair's row is among them."""
        which, rows = index[..., modality], self.rows[modality]
        layer = (self.lspn.transformer, self.lspn.residual_transformer)[branch].first
        weight = self.lspn.columns(layer, modality)
        if (branch, modality) in self._keeps:
            if (branch, modality) not in self._kept:
                self._kept[branch, modality] = rows.float() @ weight.T
            return self._kept[branch, modality], which
        used, where = distinct(which)
        return rows[used].float() @ weight.T, where
