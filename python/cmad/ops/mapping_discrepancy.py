"""Both steps after the extractors in one: predict the other modality's features, and compare."""

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad.linear import linear
from cmad.ops._call import expect, in_range, native, offsets
from cmad.ops._mapping_weights import FULL, Number, filled, halves, panels, unit

PRECISIONS = {"fp32": 0, "fp16": 1, "bf16": 2}
PATHS = {
    "best": 0,
    "plain": 1,
    "avx2": 2,
    "avx512": 3,
    "avx512_bf16": 4,
    "mma": 5,
    "mma_split": 6,
    "amx_bf16": 7,
}
"""Instructions to multiply with; the results differ by rounding. For tests and benchmarks."""
CHUNK = 12_288
"""Most pixels that a GPU takes at a time. The activations between two layers of 960 are then 24 MB,
and stay in the L2 cache of most."""
TILE = 128
"""Rows and columns that a block of a GPU multiplies."""
Sparse = tuple[Tensor, Tensor, Tensor]
"""Sparse weights from rows to pixels: start, index and weight, as `interpolate` takes them."""


@dataclass(frozen=True, eq=False)
class Folded:
    """A mapping network as the op reads it: made once by `fold`, used for any number of frames.

    Widths H and D are filled up to multiples of 64. How weights lie is said in the op's C++ header.
    """

    dims: tuple[int, int]
    """Features of the source and of the target modality."""
    first: Tensor
    """(H, source features) float32, the first layer."""
    bias1: Tensor
    middle: Tensor
    """The middle layer as the path reads it, as bytes."""
    bias2: Tensor
    triangle: Tensor
    """R, |R (h, 1)| = |W3 h + b3|, but its last column."""
    column: Tensor
    """(K,) float32, R's last column."""
    constant: float
    """Square of the last row of R, where only its last column is not 0."""
    output: Tensor
    """The last layer."""
    last: Tensor
    """(H, target features) float32, the last layer turned round."""
    bias3: Tensor
    units: tuple[float, float, float]
    """What middle, triangle and output are stored in."""
    precision: str
    """Of `PRECISIONS`: what the device computes in for the one asked for."""
    path: int


def mapping_discrepancy(
    source: Tensor,
    source_start: Tensor,
    source_index: Tensor,
    source_weight: Tensor,
    target: Tensor,
    target_start: Tensor,
    target_index: Tensor,
    target_weight: Tensor,
    first: Tensor,
    bias1: Tensor,
    middle: Tensor,
    bias2: Tensor,
    last: Tensor,
    bias3: Tensor,
    *,
    precision: str = "fp32",
    check: bool = True,
) -> Tensor:
    """Predict the target's features at each pixel from the source's, and measure how far off it is.

    ``|e/|e| - f/|f||`` (CFM, equation 3) with e the interpolated target, s the interpolated source
    and ``f = last gelu(middle gelu(first s + bias1) + bias2) + bias3`` (CFM, section 4). Lengths
    below 1e-12 count as 1e-12. Neither s, e nor f is formed at the pixels: the first layer is
    applied to the rows of the source, and e.f and |f| follow from the rows of the target and a
    triangular matrix, with half the multiplications. In fp32 within 1e-5 of the exact distance
    where the layers are not ill-conditioned; in fp16 within 2e-3, in bf16 within 6e-3. Not
    differentiable.

    Args:
        source: (Ms, D1) float32, rows of the modality that is mapped.
        source_start: (P + 1,) int64, where each pixel's weights begin; ascends from 0 to E1.
        source_index: (E1,) int32 in [0, Ms).
        source_weight: (E1,) float32.
        target: (Mt, D2) float32, rows of the modality that is predicted.
        target_start: (P + 1,) int64.
        target_index: (E2,) int32 in [0, Mt).
        target_weight: (E2,) float32.
        first: (H, D1) float32.
        bias1: (H,) float32.
        middle: (H, H) float32.
        bias2: (H,) float32.
        last: (D2, H) float32.
        bias3: (D2,) float32.
        precision: what weights and activations of the middle and the last layer are rounded to,
            ``"fp32"``, ``"fp16"`` or ``"bf16"``; sums are float32. A CPU has no fp16 and computes
            in fp32; a GPU computes in fp16 for bf16, which is as fast and errs less, and in fp32
            takes three products for one.
        check: read the values of starts and indices to check them.

    Returns:
        (P,) float32 in [0, 2].

    """
    expect(
        "mapping_discrepancy",
        source=(source, "Ms D1", torch.float32),
        source_start=(source_start, "P+1", torch.int64),
        source_index=(source_index, "E1", torch.int32),
        source_weight=(source_weight, "E1", torch.float32),
        target=(target, "Mt D2", torch.float32),
        target_start=(target_start, "P+1", torch.int64),
        target_index=(target_index, "E2", torch.int32),
        target_weight=(target_weight, "E2", torch.float32),
        first=(first, "H D1", torch.float32),
        bias1=(bias1, "H", torch.float32),
        middle=(middle, "H H", torch.float32),
        bias2=(bias2, "H", torch.float32),
        last=(last, "D2 H", torch.float32),
        bias3=(bias3, "D2", torch.float32),
    )
    if precision not in PRECISIONS:
        said = ", ".join(PRECISIONS)
        raise ValueError(f"mapping_discrepancy: precision must be one of {said}, got {precision!r}")
    native(source.device)
    if check:
        for name, start, index, rows, letter in (
            ("source", source_start, source_index, source, "Ms"),
            ("target", target_start, target_index, target, "Mt"),
        ):
            offsets("mapping_discrepancy", f"{name}_start", start, "E", len(index))
            said = f"[0, {letter}={len(rows)})"
            in_range("mapping_discrepancy", f"{name}_index", index, 0, len(rows), said)
    folded = fold(first, bias1, middle, bias2, last, bias3, precision=precision)
    weights = source_start, source_index, source_weight
    return apply(folded, source, weights, target, (target_start, target_index, target_weight))


@torch.no_grad()
def fold(
    first: Tensor,
    bias1: Tensor,
    middle: Tensor,
    bias2: Tensor,
    last: Tensor,
    bias3: Tensor,
    *,
    precision: str = "fp32",
    path: str = "best",
) -> Folded:
    """Compute what the op reads of a network; for the arguments see `mapping_discrepancy`.

    Raises:
        RuntimeError: this machine lacks the instructions of ``path``, a key of `PATHS`.

    """
    lib, _ = native(first.device)
    taken, width, stored = lib.mapping_layout(PATHS[path], PRECISIONS[precision])
    number = Number(stored)
    if not taken:
        raise RuntimeError(f"mapping_discrepancy: this machine has no path {path!r}")
    triangle = torch.linalg.qr(torch.cat([last, bias3[:, None]], 1).double(), mode="r").R
    H = len(bias1)
    constant = float(triangle[H, H] ** 2) if len(triangle) > H else 0.0
    triangle = triangle[:H]
    full = filled(triangle[:, :H]).float()
    full = functional.pad(full, (0, -(-H // FULL) * FULL - full.shape[1]))

    weights = filled(middle), full, filled(last)
    units = 1.0, 1.0, 1.0
    if number in (Number.FLOAT16, Number.TWO_FLOAT16):
        two = number == Number.TWO_FLOAT16
        units = unit(weights[0]), unit(weights[1]), unit(weights[2])
        laid = [halves(w / u, two) for w, u in zip(weights, units, strict=True)]
    else:
        laid = [panels(w, width, w is full, number) for w in weights]
    return Folded(
        (first.shape[1], len(last)),
        functional.pad(first, (0, 0, 0, -H % FULL)),
        filled(bias1),
        laid[0],
        filled(bias2),
        laid[1],
        filled(triangle[:, H]).float(),
        constant,
        laid[2],
        functional.pad(last.T, (0, 0, 0, -H % FULL)).contiguous(),
        filled(bias3),
        units,
        number.precision,
        taken,
    )


def apply(
    folded: Folded, source: Tensor, of_source: Sparse, target: Tensor, of_target: Sparse
) -> Tensor:
    """Measure one frame with a folded network; see `mapping_discrepancy`. Nothing is checked.

    Args:
        folded: of `fold`.
        source: (Ms, D1) float32.
        of_source: weights from its rows to the P pixels.
        target: (Mt, D2) float32.
        of_target: likewise.

    Returns:
        (P,) float32 in [0, 2].

    """
    source, of_source = _used(source.detach(), of_source)
    target, of_target = _used(target.detach(), of_target)
    psi = source.new_empty(len(of_source[0]) - 1)
    lib, stream = native(source.device)
    hidden = linear(source, folded.first, None)
    observed = functional.pad(target, (0, -target.shape[1] % FULL)).contiguous()
    if observed.data_ptr() % 16:  # a part of another tensor, which a GPU cannot read by fours
        observed = observed.clone()
    lib.mapping_discrepancy(
        *of_source,
        *of_target,
        hidden,
        folded.bias1,
        folded.middle,
        folded.bias2,
        folded.triangle,
        folded.column,
        linear(target, folded.last, None),
        target @ folded.bias3[: target.shape[1]],
        observed,
        folded.output,
        folded.bias3,
        folded.constant,
        *folded.units,
        folded.precision == "bf16",
        folded.path,
        *_scratch(folded, len(psi), hidden.shape[1], observed.shape[1], source.device),
        psi,
        stream,
    )
    return psi


def _used(rows: Tensor, weights: Sparse) -> tuple[Tensor, Sparse]:
    """Leave out the rows that no pixel reads: products are made of the others only.

    On a GPU all stay: some products more take less time than to wait for how many there are.
    """
    start, index, weight = (w.detach().contiguous() for w in weights)
    if rows.device.type != "cpu":
        return rows.contiguous(), (start, index, weight)
    used = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    used[index.long()] = True
    place = used.cumsum(0, dtype=torch.int32) - 1
    return rows[used], (start, place[index.long()], weight)


def _scratch(folded: Folded, P: int, H: int, D: int, device: torch.device) -> list[Tensor]:
    """Make what a GPU keeps between its kernels, of a chunk of pixels; chunks are of one size."""
    on_gpu = folded.path in (PATHS["mma"], PATHS["mma_split"])
    chunk = -(-P // max(1, -(-P // CHUNK))) if on_gpu else 0
    numbers = 2 if folded.path == PATHS["mma_split"] else 1
    return [
        torch.empty(2 * numbers * chunk * H * 2, dtype=torch.uint8, device=device),
        torch.empty((-(-max(H, D) // TILE), chunk), dtype=torch.float32, device=device),
        torch.empty(1 + chunk, dtype=torch.int32, device=device),
        torch.empty((chunk, 2), dtype=torch.float32, device=device),
    ]
