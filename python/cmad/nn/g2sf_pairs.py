"""Pairs of features and prototypes that G2SF's training makes of a batch: negatives, and noise."""

import torch
from torch import Tensor

from cmad.nn.lspn import Local

NOISE = 0.1
"""Of the usual distance: the longest noise that the published code adds."""


def negatives(at: Local, generator: torch.Generator, *, published: bool = False) -> Local:
    """Make as many samples whose modalities do not belong together (G2SF, equation 8).

    Two kinds, half of the batch each. Of one modality, either of them as often, the first takes the
    feature of another sample, so that the direction belongs to none, and keeps the prototypes; the
    second takes the prototype and keeps the features. As published, both modalities are permuted,
    each by itself. Directions and distances follow from what is put together (equation 1).

    Args:
        at: a batch; of its ranks the first is used.
        generator: of the permutations.
        published: the published kinds.

    Returns:
        The same number of samples, in one local space each.

    """
    N, half = len(at.feature), len(at.feature) // 2
    here, index = torch.arange(N), at.index[:, 0]
    parts = torch.split(at.feature, [r.shape[1] for r in at.rows], 1)
    if published:
        of_features = [permutation(half, generator) for _ in parts]
        of_prototypes = [half + permutation(N - half, generator) for _ in parts]
        feature_of = [torch.cat([order, here[half:]]) for order in of_features]
        prototype_of = [torch.cat([here[:half], order]) for order in of_prototypes]
    else:
        other = permutation(N, generator)
        drawn = torch.randint(2, (N,), generator=generator)
        feature_of = [torch.where((drawn == m) & (here < half), other, here) for m in range(2)]
        prototype_of = [torch.where((drawn == m) & (here >= half), other, here) for m in range(2)]
    made = [part[feature_of[m]] for m, part in enumerate(parts)]
    near = torch.stack([index[prototype_of[m], m] for m in range(2)], 1)
    offset = [made[m] - at.rows[m][near[:, m]] for m in range(2)]
    distance = torch.stack([o.norm(dim=1) for o in offset], 1)
    return Local(torch.cat(made, 1), at.rows, near[:, None], distance[:, None])


def permutation(count: int, generator: torch.Generator) -> Tensor:
    """Draw an order of ``count`` samples; a function of its own, so that a test can give one."""
    return torch.randperm(count, generator=generator)


def noisy(at: Local, usual: Tensor, generator: torch.Generator) -> Local:
    """Move features and their nearest prototypes, as published; the paper has no noise.

    By a random length up to `NOISE` of the usual distance, in each modality, in a random direction
    of the orthant in which all entries are positive. The other prototypes stay where they are.

    Args:
        at: a batch.
        usual: (2,), the usual distance of each modality.
        generator: of the noise.

    """
    N = len(at.feature)
    dims = [rows.shape[1] for rows in at.rows]
    moves = [_noise(N, d, u, generator) for _ in range(2) for d, u in zip(dims, usual, strict=True)]
    feature = at.feature + torch.cat(moves[:2], 1)
    rows, index, distance = [], at.index.clone(), torch.empty_like(at.distance)
    for m, part in enumerate(torch.split(feature, dims, 1)):
        moved = at.rows[m][at.index[:, 0, m]] + moves[2 + m]
        index[:, 0, m] = len(at.rows[m]) + torch.arange(N)
        rows.append(torch.cat([at.rows[m], moved]))
        for j in range(index.shape[1]):  # rank by rank: all at once would be N x J x D numbers
            distance[:, j, m] = (part - rows[m][index[:, j, m]]).norm(dim=1)
    return Local(feature, (rows[0], rows[1]), index, distance)


def _noise(count: int, dim: int, usual: Tensor, generator: torch.Generator) -> Tensor:
    towards = torch.rand(count, dim, generator=generator)
    length = torch.rand(count, generator=generator) * NOISE * usual
    scaled: Tensor = towards * (length / towards.norm(dim=1))[:, None]
    return scaled
