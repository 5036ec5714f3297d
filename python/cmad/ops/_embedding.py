"""Which few directions tell the rows of a bank apart, by a sample; used by `cmad.ops.knn`."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SAMPLE, PROBES = 2048, 64
NARROW = (64, 128)
"""Numbers of directions that are tried."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """A map of rows that never lengthens their distances (csrc/ops/knn.h).

    Any centre and any orthonormal basis give exact results; good ones make the search fast.
    """

    centre: Tensor
    """(D,) float32."""
    basis: Tensor
    """(D, P) float32, its largest singular value at most 1; (0, 0) for the unit vectors, P = D."""
    columns: int
    """P."""
    scale: float
    """A power of two."""

    def arguments(self) -> tuple[Tensor, Tensor, int, float]:
        """Return what the native functions take."""
        return self.centre, self.basis, self.columns, self.scale


def embedding(rows: Tensor, columns: int | None = None) -> Embedding:
    """Choose an embedding for a bank by at most 2048 of its rows.

    Args:
        rows: (M, D) float32, float16 or bfloat16.
        columns: D for the unit vectors, a smaller number for so many principal directions of the
            sample; None takes what the sample lets expect to be fastest.

    """
    M, D = rows.shape
    at = torch.arange(min(M, SAMPLE), device=rows.device) * max(1, M // SAMPLE)
    sample = rows[at].double()
    centre = sample.mean(0) if M else sample.new_zeros(D)
    centre = centre.float()
    sample -= centre
    longest = float(sample.norm(dim=1).max()) if M else 0.0
    # Far from the ends of float32's range, so that squares stay inside.
    scale = 2.0 ** -min(120, max(-120, math.frexp(longest)[1]))
    unit = Embedding(centre, centre.new_empty((0, 0)), D, scale)
    if columns == D or (columns is None and (2 * NARROW[0] >= D or M < SAMPLE)):
        return unit
    sample = (sample * scale).float()
    basis = _principal(sample, columns or NARROW[-1])
    if columns is None:
        columns = min((D, *NARROW), key=lambda n: _cost(sample, basis, n))
        if columns == D:
            return unit
    return Embedding(centre, _shortened(_spread(basis[:, :columns])), columns, scale)


def _principal(sample: Tensor, columns: int) -> Tensor:
    """Return principal directions, (D, columns), the largest first: two steps of iteration."""
    generator = torch.Generator(sample.device).manual_seed(0)
    shape = (sample.shape[1], columns)
    basis = torch.randn(shape, generator=generator, dtype=torch.float32, device=sample.device)
    for _ in range(2):
        basis = torch.linalg.qr(sample.T @ (sample @ basis)).Q
    image = (sample @ basis).double()
    order = torch.linalg.eigh(image.T @ image).eigenvectors.flip(1)
    principal: Tensor = basis @ order.float()
    return principal


def _spread(basis: Tensor) -> Tensor:
    """Rotate a basis at random, so that no direction is much longer than others and 8 bits do."""
    generator = torch.Generator(basis.device).manual_seed(1)
    shape = (basis.shape[1], basis.shape[1])
    drawn = torch.randn(shape, generator=generator, dtype=torch.float32, device=basis.device)
    turn = torch.linalg.qr(drawn).Q
    turned: Tensor = basis @ turn
    return turned


def _shortened(basis: Tensor) -> Tensor:
    """Return a basis of which it is certain, in float64, that it lengthens nothing."""
    while True:
        wide = basis.double()
        longest = math.sqrt(float(torch.linalg.eigvalsh(wide.T @ wide)[-1]))
        if longest < 1 - 1e-9:
            return basis.contiguous()
        basis = (wide * ((1 - 1e-7) / longest)).float()  # its rounding may lengthen again


def _cost(sample: Tensor, basis: Tensor, columns: int) -> float:
    """Estimate the work per pair of query and row, in products of 8-bit numbers.

    A row of the sample stands for a query, and its nearest in the sample for the k-th nearest in
    the whole bank. Measuring a row that the bounds do not exclude costs as much as some 25 D
    products.
    """
    D = sample.shape[1]
    if columns == D:
        return D + 8.0
    probe = sample[:: len(sample) // PROBES]
    nearest = torch.cdist(probe, sample)
    nearest[nearest == 0] = torch.inf
    image, of_probe = sample @ basis[:, :columns], probe @ basis[:, :columns]
    length, probe_length = image.norm(dim=1), of_probe.norm(dim=1)
    rest = (sample.norm(dim=1) ** 2 - length**2).clamp(min=0).sqrt()
    probe_rest = (probe.norm(dim=1) ** 2 - probe_length**2).clamp(min=0).sqrt()
    bound = (torch.cdist(of_probe, image) ** 2 + (probe_rest[:, None] - rest) ** 2).sqrt()
    radius = 0.01 * (length + probe_length[:, None])  # what 8 bits lose, about
    kept = (bound - radius <= nearest.amin(1, keepdim=True)).float().mean()
    return columns + 8 + 25 * D * float(kept)
