"""CFM's mapping networks in the form that is measured with; made once per model, never saved."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cmad import notices
from cmad.nn.mapping import MODALITIES, Mapping, Mappings
from cmad.ops import discrepancy, interpolate
from cmad.ops.mapping_discrepancy import Folded, apply, fold
from cmad.rasters import Spread, interpolated
from cmad.types import PixelWeights

CHUNK = 8192
"""Pixels that the plain form maps at a time, to bound the memory."""
TRIED = 64
"""Rows by which a folded network is compared with the plain one."""
FOLDS = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2}
"""Largest difference between them, by what is computed in. They are a tenth of it and less unless
the last layer is so ill-conditioned, or activations are so large, that this arithmetic does not
carry the result."""
PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


def discrepancies_of(
    mappings: Mappings, precision: torch.dtype
) -> "FoldedMappings | PlainMappings":
    """Fold both networks, or return the plain form where one does not fold.

    Args:
        mappings: trained.
        precision: of the arithmetic. A CPU computes float16 in float32: it multiplies it no
            faster; a GPU bfloat16 in float16: it multiplies it no slower.

    """
    folded = FoldedMappings(mappings, precision)
    if folded.agrees(mappings):
        return folded
    notices.warn(
        "CFM: networks do not fold",
        "CFM: the mapping networks do not fold without loss of accuracy (a last layer is "
        "ill-conditioned); the plain form is used, which takes several times as long",
    )
    return PlainMappings(mappings)


class FoldedMappings:
    """Both networks as `cmad.ops.mapping_discrepancy` reads them."""

    def __init__(self, mappings: Mappings, precision: torch.dtype) -> None:
        """Fold them: one QR decomposition each."""
        self.to_2d = _folded(mappings.CFM_3Dto2D, PRECISIONS[precision])
        self.to_3d = _folded(mappings.CFM_2Dto3D, PRECISIONS[precision])

    def __call__(self, of_2d: Spread, of_3d: Spread) -> tuple[Tensor, Tensor]:
        """Return psi_2D and psi_3D, (P,) float32 each, of the 2D and 3D features at P pixels."""
        e = {"2d": (of_2d.features, _sparse(of_2d)), "3d": (of_3d.features, _sparse(of_3d))}
        return apply(self.to_2d, *e["3d"], *e["2d"]), apply(self.to_3d, *e["2d"], *e["3d"])

    def measured(self, of_2d: Spread, of_3d: Spread, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Measure in the wanted modalities alone, ``"2d"`` or ``"3d"``; the others cost nothing."""
        if len(wanted) > 1:
            return dict(zip(MODALITIES, self(of_2d, of_3d), strict=True))
        e_2d, e_3d = (of_2d.features, _sparse(of_2d)), (of_3d.features, _sparse(of_3d))
        one = apply(self.to_2d, *e_3d, *e_2d) if "2d" in wanted else apply(self.to_3d, *e_2d, *e_3d)
        return dict.fromkeys(wanted, one)

    def agrees(self, mappings: Mappings) -> bool:
        """Compare with the plain networks on random rows; see `FOLDS`."""
        g = torch.Generator().manual_seed(0)
        device = self.to_3d.first.device
        at = torch.arange(TRIED + 1, device=device)
        rows = PixelWeights(
            at, at[:-1].int(), torch.ones(TRIED, dtype=torch.float32, device=device)
        )
        drawn = (torch.randn(TRIED, d, generator=g, dtype=torch.float32) for d in self.to_3d.dims)
        of_2d, of_3d = (Spread(features.to(device), rows) for features in drawn)
        want = PlainMappings(mappings)(of_2d, of_3d)
        limit = FOLDS[self.to_2d.precision]
        return all(
            bool(((w - g).abs() <= limit).all())
            for w, g in zip(want, self(of_2d, of_3d), strict=True)
        )


class PlainMappings:
    """Both networks as the paper has them: both modalities' features formed and mapped (CFM, 3.2).

    What the folded form is compared with, and the form of networks that are not folded.
    """

    def __init__(self, mappings: Mappings) -> None:
        """Take the networks as they are; float32 arithmetic."""
        self.mappings = mappings

    def __call__(self, of_2d: Spread, of_3d: Spread) -> tuple[Tensor, Tensor]:
        """Return psi_2D and psi_3D, (P,) float32 each, of the 2D and 3D features at P pixels."""
        psi = self.measured(of_2d, of_3d, MODALITIES)
        return psi["2d"], psi["3d"]

    def measured(self, of_2d: Spread, of_3d: Spread, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Measure in the wanted modalities alone, ``"2d"`` or ``"3d"``; the others cost nothing."""
        of, sources = {"2d": of_2d, "3d": of_3d}, {t: self.mappings.source_of(t) for t in wanted}
        seen = {*sources, *sources.values()}
        psi: dict[str, list[Tensor]] = {t: [of_2d.features.new_zeros(0)] for t in wanted}
        for begin in range(0, len(of_2d.weights.start) - 1, CHUNK):
            e = {m: interpolated(_some(of[m], begin, begin + CHUNK)) for m in seen}
            for target, source in sources.items():
                with torch.inference_mode():
                    predicted = self.mappings.into(target)(e[source])
                psi[target].append(discrepancy(predicted, e[target])[0])
        return {target: torch.cat(parts) for target, parts in psi.items()}


def channel_sums(of: Spread) -> Tensor:
    """Add the channels at each pixel, (P, 1) float32, without forming them."""
    sums = of.features.sum(1, keepdim=True)
    weights = of.weights
    return interpolate(sums, weights.start, weights.index, weights.weight, check=False)


def _folded(mapping: Mapping, precision: str) -> Folded:
    layers = mapping.input, mapping.projection, mapping.output
    parameters = [p.detach().float() for layer in layers for p in (layer.weight, layer.bias)]
    return fold(*parameters, precision=precision)


def _sparse(of: Spread) -> tuple[Tensor, Tensor, Tensor]:
    return of.weights.start, of.weights.index, of.weights.weight


def _some(of: Spread, begin: int, end: int) -> Spread:
    """Take some pixels; their entries stay where they are among all, so that none is read here."""
    weights = of.weights
    return Spread(
        of.features, PixelWeights(weights.start[begin : end + 1], weights.index, weights.weight)
    )
