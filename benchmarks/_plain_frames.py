"""Whole frames the plain way: NumPy, SciPy and torch, on the modules and weights of a detector.

What somebody writes who has CFM's text and code, a timm model and Point-MAE's weights: feature maps
of full width at every pixel, both networks on all of them, the mask afterwards. Nothing that is
known to be slower than need be: nearest points by k-d trees, inference mode, no copies to spare;
`settings` takes torch's fastest float32. What a preset of the detector decides is followed.

On a GPU all of it is torch's: nearest points by `cdist` and `topk`, feature maps with the channels
last, networks in autocast. Farthest points are a loop of launches; the published code has them from
an extension's CUDA kernel, beside which this form is slow.
"""

from contextlib import contextmanager

import _plain_ast
import torch
import torch.nn.functional as functional
from _environment import fastest_float32
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from cmad.extractors import EfficientNet, Pyramid
from cmad.types import Features, Points

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def settings(threads, precision="fp32", device="cpu"):
    """Run plain code at its best, in inference mode; `cmad` in the same process has it, too."""
    torch.set_num_threads(threads)
    if device == "cpu":
        fastest_float32()
    with torch.inference_mode():
        yield autocast(precision, device)


def autocast(precision, device="cpu"):
    """Return the context of plain networks, in half precision or not."""
    half = HALVES.get(precision)
    return torch.autocast(device, half or torch.bfloat16, enabled=half is not None)


def farthest(xyz, count):
    """Pick points far from those picked before, (count,) indices, from point 0 on."""
    x, y, z = xyz.T.contiguous()
    nearest = torch.full_like(x, torch.inf)
    picked = torch.zeros(count, dtype=torch.int64, device=xyz.device)
    for i in range(1, count):
        # On a GPU as a tensor, which it does not wait for.
        last = int(picked[i - 1]) if xyz.device.type == "cpu" else picked[i - 1]
        distance = (x - x[last]).square_()
        distance += (y - y[last]).square_()
        distance += (z - z[last]).square_()
        torch.minimum(nearest, distance, out=nearest)
        picked[i] = nearest.argmax()
    return picked


def tokens(vit, rgb):
    """Tokens (B, h, w, D) of images (B, 3, R, R), by timm's own forward pass."""
    look = (vit._mean, vit._std)
    mean, std = (torch.tensor(t, device=rgb.device).view(3, 1, 1) for t in look)
    made = vit._net.forward_features((rgb.float() / 255 - mean) / std)
    made = made[:, vit._net.num_prefix_tokens :].float()
    return made.reshape(len(rgb), *vit.grid, -1)


def layers(net, rgb):
    """Tokens (B, h, w, D) of images by a convolutional network's layers, as BTF pools them."""
    made = net._net.forward_intermediates(
        (rgb.float() / 255 - net._shift) / net._scale,
        indices=list(net._index),
        stop_early=True,
        intermediates_only=True,
    )
    means = [functional.avg_pool2d(layer.float(), 3, stride=1) for layer in made]
    pooled = [functional.adaptive_avg_pool2d(m, net.grid) for m in means]
    return torch.cat(pooled, 1).permute(0, 2, 3, 1)


def nearest(points, queries, count):
    """Distances and indices of the nearest points, (Q, count) each."""
    if points.device.type == "cpu":
        found = cKDTree(points.numpy()).query(queries.numpy(), count)
        return tuple(torch.from_numpy(a).view(len(queries), count) for a in found)
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}  # the other loses small distances
    return torch.cdist(queries, points, **exact).topk(count, largest=False)


def encoded(encoder, groups):
    """Point-MAE's encoder of groups (G, K, 3) as published: (G, C)."""
    local = _shared(encoder.first_conv, groups)
    whole = local.amax(1, keepdim=True).expand_as(local)
    return _shared(encoder.second_conv, torch.cat([whole, local], 2)).amax(1)


def _shared(layers, x):
    """Convolution, BatchNorm, ReLU, convolution: of length 1 they are linear, and faster so."""
    first, norm, relu, second = layers
    hidden = functional.linear(x, first.weight[:, :, 0], first.bias)
    hidden = relu(norm(hidden.flatten(0, 1))).view_as(hidden)
    return functional.linear(hidden, second.weight[:, :, 0], second.bias)


def points(extractor, xyz):
    """Features of a cloud's groups, and the three centres nearest to each of its points."""
    network = extractor.network
    groups, size = (min(n, len(xyz)) for n in (extractor._groups, extractor._group_size))
    centre = xyz[farthest(xyz, groups)]
    index = nearest(xyz, centre, size)[1]
    x = encoded(network.encoder, xyz[index] - centre[:, None])[None]
    position, taken = network.pos_embed(centre)[None], []
    for i, block in enumerate(network.blocks["blocks"], start=1):
        x = block(x + position)
        if i in network.taps:
            taken.append(network.norm(x))
    distance, near = nearest(centre, xyz, 3)
    weight = 1 / (distance.square() + 1e-8)
    weight = (weight / weight.sum(1, keepdim=True)).float()
    return Points(torch.cat(taken, -1)[0].float(), near, weight)


def of_images(detector, frames):
    """Tokens of several frames in one pass."""
    rgb = torch.stack([frame.rgb for frame in frames]).to(detector.device, non_blocking=True)
    net = detector.pipeline.extractors["rgb"]
    forms = {Pyramid: layers, EfficientNet: _plain_ast.tokens}
    return forms.get(type(net), tokens)(net, rgb)


def extracted(detector, frame, half=True, of_image=None):
    """What both extractors make of a frame; ``half``: Point-MAE, too, where the context is."""
    kind = detector.device.type
    of_image = of_images(detector, [frame])[0] if of_image is None else of_image
    with torch.autocast(
        kind,
        torch.get_autocast_dtype(kind),
        enabled=half and torch.is_autocast_enabled(kind),
    ):
        xyz = frame.xyz[frame.valid].to(detector.device, non_blocking=True)
        of_cloud = points(detector.pipeline.extractors["xyz"], xyz)
    size = detector.pipeline.preprocessing.image_size
    return Features({"rgb": of_image}, {"xyz": of_cloud}, frame.valid, size, frame.window)


def cfm(detector, frame, of_image=None):
    """Score a frame as CFM does: psi_2D, psi_3D and the map, (S, S) each, and the score."""
    features = extracted(detector, frame, of_image=of_image)
    e_2d, e_3d = at_every_pixel(features, detector.choices.smoothing.padding)
    predicted_2d, predicted_3d = detector.mappings(e_2d, e_3d)
    kept = features.valid.flatten().to(e_3d.device)
    if detector.choices.smoothing.zero_sum_is_missing:
        kept = e_3d.sum(1) != 0
    psi = [
        ((functional.normalize(p.float()) - functional.normalize(e)).norm(dim=1) * kept).view_as(
            features.valid
        )
        for p, e in ((predicted_2d, e_2d), (predicted_3d, e_3d))
    ]
    return *psi, *smoothed(psi[0] * psi[1], detector.choices.scaling)


def at_every_pixel(features, padding):
    """E_2D and E_3D, (S S, D) each (CFM, section 3.1)."""
    size, [image], [cloud] = features.image_size, features.tokens.values(), features.points.values()
    e_2d = functional.interpolate(image.permute(2, 0, 1)[None], size=(size, size), mode="bilinear")
    rows = (cloud.weight[..., None] * cloud.features[cloud.neighbour]).sum(1)
    valid = features.valid.to(rows.device)
    if rows.device.type == "cpu":
        e_3d = rows.new_zeros(1, rows.shape[1], size, size)
        e_3d[0, :, valid] = rows.T
    else:  # channels last
        flat = rows.new_zeros(1, size, size, rows.shape[1])
        flat[0, valid] = rows
        e_3d = flat.permute(0, 3, 1, 2)
    e_3d = functional.avg_pool2d(e_3d, 3, stride=1, padding=padding)
    e_3d = functional.adaptive_avg_pool2d(e_3d, size)
    return e_2d[0].flatten(1).T, e_3d[0].flatten(1).T


def smoothed(fused, scaling):
    """Smooth a product and score it, as the text or as the published code."""
    if not scaling.by_mean and fused.device.type == "cpu":
        map_ = torch.from_numpy(gaussian_filter(fused.numpy(), 4))
        return map_, float(map_.max())
    if not scaling.by_mean:
        at = torch.arange(-16, 17, device=fused.device)
        kernel = (-0.5 * (at / 4) ** 2).exp()
        kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
        # SciPy's mirror repeats the edge pixel.
        wide = torch.cat([fused[:, :16].flip(1), fused, fused[:, -16:].flip(1)], 1)
        across = functional.conv2d(wide[None, None], kernel)
        high = torch.cat([across[:, :, :16].flip(2), across, across[:, :, -16:].flip(2)], 2)
        map_ = functional.conv2d(high, kernel.transpose(2, 3))[0, 0]
        return map_, float(map_.max())
    s = fused[None, None]
    for width in (5,) * 5 + (7,) * 3:
        s = functional.avg_pool2d(s, width, stride=1, padding=width // 2)
    mean = s[s != 0].mean()
    return s[0, 0] / mean, float(s.max() / mean.sqrt())
