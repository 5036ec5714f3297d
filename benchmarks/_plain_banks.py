"""What follows the extractors where there are memory banks, in plain torch: PatchCore and G2SF.

Each bank is searched once, by `torch.cdist`, for the features of all cells; `cmad` composes these
from what the extractors made (`cmad.rasters.rows`) for both.
"""

import torch
import torch.nn.functional as functional

from cmad.detectors.g2sf import MODALITIES
from cmad.maps import enlarged, smoothed
from cmad.nn.lspn import directions
from cmad.rasters import foreground, rows


@torch.inference_mode()
def patchcore(detector, features):
    """Score a frame as M3DM's classes of both modalities do: the map and the score."""
    side = features.image_size
    total, score = torch.zeros(side, side, device=features.device), 0.0
    for modality, memory in detector.memory.items():
        patch, cell = detector.patches(features, modality)
        found = torch.cdist(patch, memory.bank.rows).min(1)
        distance = found.values / memory.deviation
        cells = torch.zeros(detector._raster(modality).size ** 2, device=features.device)
        cells[cell] = distance / memory.usual
        side = detector._raster(modality).size
        total += enlarged(cells.view(side, side), features.image_size)
        unit = 1000.0 if detector.choices.published_banks else 1.0
        score += memory.image_score(patch, distance, found.indices, unit=unit) / memory.usual
    return smoothed(total, detector.choices.scaling), score


@torch.inference_mode()
def g2sf(detector, features):
    """Score a frame as the published code does: l in k + 1 local spaces, the map and the score."""
    metric, ranks, raster = detector.metric, detector.options.neighbours + 1, detector.raster
    count = raster.size**2
    e = rows(features, raster, torch.arange(count, device=features.device))
    tokens = features.tokens["rgb"].permute(2, 0, 1)[None]
    mode = "nearest" if raster.nearest else "bilinear"
    e["2d"] = functional.interpolate(tokens, size=raster.size, mode=mode)[0].flatten(1).T
    e = {m: metric.prototypes[m].standardised(e[m]) for m in MODALITIES}
    inside = torch.zeros(count, dtype=torch.bool, device=features.device)
    inside[foreground(features, raster)] = True
    banks = [metric.prototypes[m].bank.rows for m in MODALITIES]
    index = [
        torch.cdist(e[m], bank).topk(ranks, largest=False).indices
        for m, bank in zip(MODALITIES, banks, strict=True)
    ]
    both, local = torch.cat([e["2d"], e["3d"]], 1), []
    for j in range(ranks):
        near = torch.cat([bank[i[:, j]] for bank, i in zip(banks, index, strict=True)], 1)
        joint = detector.published.directions
        w = metric.lspn(directions(both - near, metric.lspn.dims, joint), near)
        w[~inside] = 1
        parts = [(a - b).norm(dim=1) for a, b in _split(banks, both, near)]
        if not detector.published.bank:  # then it has no rows for what lies beside the part
            parts[1] *= inside
        local.append((w * metric.scales() * torch.stack(parts, 1) / metric.usual).sum(1))
    local = torch.stack(local, 1)
    cells = local.min(1).values
    map_ = enlarged(cells.view(raster.size, raster.size), features.image_size)
    return local, smoothed(map_, detector.scaling), float(cells.max())


def _split(banks, *both):
    """The rows of each modality, side by side."""
    widths = [bank.shape[1] for bank in banks]
    return zip(*(torch.split(rows_, widths, 1) for rows_ in both), strict=True)
