"""What follows the extractors where there are memory banks, in plain torch: PatchCore, G2SF, BTF,
M3DM.

Each bank is searched once, by `torch.cdist`, for the features of all cells; `cmad` composes these
from what the extractors made (`cmad.rasters.rows`) for both.
"""

import torch
import torch.nn.functional as functional
from _plain_frames import of_images

from cmad.detectors.g2sf import MODALITIES
from cmad.detectors.m3dm import BANKS, FUSED
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
def m3dm(detector, features):
    """Score a frame as the published triple of banks: the map and the score."""
    state, side = detector.state, features.image_size
    scores, grids = [], []
    for name in BANKS:
        memory, cells = state.memory[name], detector._raster(name).size
        patch, cell = detector.patches(features, name, None if name != FUSED else state.fusion)
        found = torch.cdist(patch, memory.bank.rows).min(1)
        distance = found.values / memory.deviation
        grid = torch.zeros(cells**2, device=features.device)
        grid[cell] = distance / memory.usual
        grids.append(smoothed(enlarged(grid.view(cells, cells), side), detector.choices.scaling))
        scores.append(memory.image_score(patch, distance, found.indices) / memory.usual)
    of_score, of_map = detector.layers * detector._weighed
    score = float(of_score @ torch.tensor(scores, dtype=torch.float64))
    return torch.einsum("b,bhw->hw", of_map.to(grids[0]), torch.stack(grids)), score


@torch.inference_mode()
def btf(detector, frame, of_image=None):
    """Score a frame as the published code does, with open3d's histograms: the map and the score."""
    memory, device, cells = detector.memory, detector.device, detector.raster.size
    image = of_images(detector, [frame])[0] if of_image is None else of_image
    size, xyz = len(frame.valid), frame.xyz[frame.valid]
    grid = torch.zeros(1, 33, size, size, dtype=torch.float64)
    grid[0][:, frame.valid] = torch.from_numpy(fpfh(detector.pipeline.extractors["xyz"], xyz))
    grid = functional.avg_pool2d(grid, 3, stride=1, padding=detector.choices.smoothing.padding)
    shape = functional.adaptive_avg_pool2d(grid, cells)[0].flatten(1).T.float().to(device)
    colour = functional.adaptive_avg_pool2d(image.permute(2, 0, 1)[None], cells)[0].flatten(1).T
    patch = torch.cat([colour, shape], 1)
    with torch.autocast(device.type, enabled=False):
        found = torch.cdist(patch, memory.bank.rows).min(1)
    map_ = enlarged(found.values.view(cells, cells), size)
    score = memory.image_score(patch, found.values, found.indices)
    return smoothed(map_, detector.choices.scaling), score


def fpfh(extractor, xyz):
    """Histograms by open3d, (33, N) float64."""
    import open3d  # an extra

    sizes, hybrid = extractor._sizes, open3d.geometry.KDTreeSearchParamHybrid
    points = open3d.utility.Vector3dVector(xyz.double().numpy())
    cloud = open3d.geometry.PointCloud(points)
    cloud.estimate_normals(hybrid(sizes["normal_radius"], int(sizes["normal_neighbours"])))
    around = hybrid(sizes["radius"], int(sizes["neighbours"]))
    return open3d.pipelines.registration.compute_fpfh_feature(cloud, around).data


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
