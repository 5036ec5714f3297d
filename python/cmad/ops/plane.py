"""Plane by RANSAC."""

import torch
from torch import Tensor

from cmad.ops._call import expect, finite, native


def plane(
    xyz: Tensor,
    threshold: float,
    *,
    samples: int = 3,
    tries: int = 1000,
    seed: int = 0,
    check: bool = True,
) -> tuple[Tensor, int]:
    """Fit the plane that most points lie near, by seeded RANSAC and a least-squares refit.

    Draws ``tries`` sets of ``samples`` points (with replacement, from a hash of the seed), fits a
    plane to each by orthogonal least squares, keeps the earliest of those that most points support
    and refits it to its supporters. The same on every machine. Reads its result on the host,
    checked or not, as it raises where there is none.

    Args:
        xyz: (N, 3) float32, metres, finite, at least 3 points and fewer than 2^31.
        threshold: metres; a point supports a plane if its distance is below this.
        samples: points per hypothesis, at least 3.
        tries: hypotheses, at least 1.
        seed: of the draws, 0 or more.
        check: read the values of ``xyz`` to check them.

    Returns:
        plane (4,) float64 = (n, d) with n·p + d = 0, |n| = 1, d >= 0 (the origin, where the camera
        is, lies on the positive side), and the number of points that supported the best hypothesis.

    Raises:
        ValueError: fewer than 3 points or too many, or every hypothesis was degenerate (points on a
            line).

    """
    n = expect("plane", xyz=(xyz, "N 3", torch.float32))
    if n["N"] < 3:
        raise ValueError(f"plane: xyz must have at least 3 points, got {n['N']}")
    if n["N"] >= 2**31:
        raise ValueError(f"plane: xyz must have fewer than 2^31 points, got {n['N']}")
    if not threshold > 0:
        raise ValueError(f"plane: threshold must be positive metres, got {threshold}")
    if samples < 3 or tries < 1 or seed < 0:
        raise ValueError(
            f"plane: needs samples >= 3, tries >= 1 and seed >= 0, got {samples}, {tries}, {seed}"
        )
    lib, stream = native(xyz.device)
    if check:
        finite("plane", xyz=xyz)
    result = xyz.new_empty(4, dtype=torch.float64)
    support = xyz.new_empty(1, dtype=torch.int64)
    scratch = (
        result.new_empty((tries, 4)),
        xyz.new_empty(tries + 1, dtype=torch.int32),
        result.new_empty((64, 10)),
    )
    points = xyz.detach().contiguous()
    lib.plane(points, result, support, *scratch, samples, threshold, seed, stream)
    if not result.any():
        raise ValueError(f"plane: no plane in {tries} tries, the {n['N']} points lie on a line")
    return result, int(support)
