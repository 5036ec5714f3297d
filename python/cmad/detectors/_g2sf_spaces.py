"""G2SF's two memory banks, and features in the local spaces of their rows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cmad.bank import Bank
from cmad.model_file import prefixed
from cmad.nn.folded_lspn import FoldedLSPN
from cmad.nn.lspn import LSPN, GlobalScales, metric

AGGREGATES = ("min", "nearest", "max", "mean")
"""Ways to make one score of those in several local spaces (G2SF, section III-F and Table V)."""


@dataclass(frozen=True, eq=False)
class Prototypes:
    """The bank of a modality, and how features become comparable with its rows."""

    bank: Bank
    centre: float
    """Subtracted from every entry of a feature."""
    deviation: float
    """That entries are divided by then."""
    usual: float
    """Mean distance of training patches; distances are counted in it."""
    source: Tensor | None = None
    """(M,) int64, position of the good part that each row is of; None where that is not known."""

    @classmethod
    def of(cls, name: str, tensors: Mapping[str, Tensor], dim: int) -> "Prototypes":
        """Rebuild it from what `tensors` gave; raise where rows are not ``dim`` wide."""
        own = prefixed(tensors, f"{name}.")
        centre, deviation, usual = own.pop("scale").tolist()
        bank = Bank.from_tensors(own)
        if (width := bank.rows.shape[1]) != dim:
            raise ValueError(
                f"the {name} bank must be {dim} wide, as the extractors' features, got {width}"
            )
        return cls(bank, centre, deviation, usual)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return what a model file holds of it."""
        rows = {f"{name}.{key}": tensor for key, tensor in self.bank.state_dict().items()}
        scale = torch.tensor([self.centre, self.deviation, self.usual], dtype=torch.float64)
        return {**rows, f"{name}.scale": scale}

    def standardised(self, patch: Tensor) -> Tensor:
        """Bring features (Q, D) to the units of the rows."""
        return (patch - self.centre) / self.deviation

    def search(self, patch: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Find the k nearest rows of standardised features (Q, D).

        Returns:
            The distance (Q, k) float32, not squared, and the index (Q, k) int64.

        """
        squared, index = self.bank.search(patch, k)
        return squared.sqrt(), index

    def without(self, source: int | None, least: int) -> tuple["Prototypes", Tensor]:
        """Leave out the rows of a good part.

        Args:
            source: its position.
            least: rows that must be left; otherwise all stay.

        Returns:
            What is left, and (M',) int64, which rows these are.

        """
        kept = torch.arange(len(self.bank))
        if source is None or self.source is None:
            return self, kept
        others = kept[self.source != source]
        if len(others) < least or len(others) == len(kept):
            return self, kept
        return replace(self, bank=Bank(self.bank.rows[others]), source=None), others


class Metric:
    """What G2SF learnt: banks, network and scales."""

    def __init__(
        self, prototypes: Mapping[str, Prototypes], lspn: LSPN, scales: GlobalScales
    ) -> None:
        """Take them over; the network goes to eval mode."""
        self.prototypes, self.lspn, self.scales = prototypes, lspn.eval(), scales
        one, two = (prototypes[m].bank.rows for m in ("2d", "3d"))
        self.folded = FoldedLSPN(lspn, (one, two))
        usual = [prototypes[m].usual for m in ("2d", "3d")]
        self.usual = torch.tensor(usual, device=one.device)

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it, by name."""
        found = {k: t for m, one in self.prototypes.items() for k, t in one.tensors(m).items()}
        found |= {f"lspn.{k}": t for k, t in self.lspn.state_dict().items()}
        return found | {f"scales.{k}": t for k, t in self.scales.state_dict().items()}

    @torch.inference_mode()
    def measure(
        self, feature: Tensor, index: Tensor, distance: Tensor, inside: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Measure cells in the local spaces of their neighbours.

        Args:
            feature: (N, D2 + D3) float32, of the cells inside the foreground, standardised.
            index: (Q, J, 2) int64, of the rows that are nearest to every cell.
            distance: (Q, J, 2) float32, to these, not squared.
            inside: (Q,) bool, N of them true; elsewhere w is 1 (G2SF, supplement B-B).

        Returns:
            l (Q, J) and w (Q, J, 2).

        """
        w = torch.ones_like(distance)
        w[inside] = self.folded(feature, index[inside], distance[inside])
        return metric(w, self.scales(), distance / self.usual), w


def aggregated(local: Tensor, how: str) -> Tensor:
    """Make one score of those in several local spaces (G2SF, equation 11).

    Args:
        local: (Q, J), l, nearest first.
        how: of `AGGREGATES`.

    """
    ways = {"nearest": local[:, 0], "min": local.amin(1), "max": local.amax(1)}
    return ways[how] if how in ways else local.mean(1)
