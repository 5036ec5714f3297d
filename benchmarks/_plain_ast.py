"""Whole frames of AST the plain way, in plain torch and timm, on the weights of a detector.

What somebody writes who has AST's text and code: timm's EfficientNet cut behind a block and padded
as published, the depth in blocks, both networks with the published names, the squared distance.
Nothing of it is `cmad`'s but, in preset "paper", the outline of the part, which is neither the
text's nor the code's. The networks share the detector's weights and are made with the first frame.
"""

import weakref

import numpy as np
import timm
import torch
import torch.nn.functional as functional
from torch import nn

from cmad.surface import outline

MADE = weakref.WeakKeyDictionary()
"""The plain EfficientNet of each extractor that was asked for."""


@torch.inference_mode()
def ast(detector, frame, of_image=None):
    """Score a frame as the published code does: the map and the score."""
    if of_image is None:
        of_image = tokens(detector.pipeline.extractors["rgb"], frame.rgb[None])[0]
    twice, cells = detector.choices.published_ast, len(of_image)
    depth, mask = blocks(frame, cells, from_corners=twice)
    colour = of_image.permute(2, 0, 1)
    x = torch.cat([colour, depth.to(colour.device)])[None]
    mask, at = mask.to(x.device), encoding(cells).to(x.device)
    weights = detector.tensors()
    with torch.autocast(x.device.type, enabled=False):  # the flow needs float32
        z = teacher(weights, x, at)
    apart = (mask * (z - student(weights, x, at).float()).square()).mean(1)[0]
    masked = apart * mask if twice else apart
    largest = enlarged(masked, 8 * cells).max()
    score = largest if detector.options.score == "max" else apart.mean()
    return enlarged(masked, len(frame.valid)).clamp_min(0), float(score)


def enlarged(cells, size):
    """Resize (h, w) to (size, size), bicubically."""
    return functional.interpolate(cells[None, None], size=size, mode="bicubic")[0, 0]


def resized(image, size):
    """Resize (H, W) to (size, size), bilinearly."""
    return functional.interpolate(image[None, None], size=size, mode="bilinear")[0, 0]


def blocks(frame, cells, from_corners):
    """Depth of the part in blocks of 8 x 8, (64, h, w), and how much of a cell it is, (h, w)."""
    z = torch.where(frame.valid, frame.xyz[..., 2], 0.0)
    for _ in range(3):
        planes = torch.stack([z, (z > 0).float()])[None]
        total, count = functional.avg_pool2d(planes, 3, 1, 1, divisor_override=1)[0]
        empty = (z == 0) & (count > 0)
        empty[0], empty[:, 0] = False, False
        z = torch.where(empty, total / count, z)
    part = standing_out(z, frame.valid) if from_corners else outline(frame.valid) & (z != 0)
    relative = torch.where(part, z - z[part].mean(), 0.0) * 100
    depth = functional.pixel_unshuffle(resized(relative, 8 * cells)[None], 8)
    touched = (resized(part.float(), 8 * cells) > 0).float()
    grown = functional.max_pool2d(functional.pad(touched, (3, 4, 3, 4))[None], 8, stride=1)[0]
    return depth, resized(grown, cells)


def standing_out(z, valid):
    """What is 7 mm off the surface through the corners of what is seen, (S, S) bool."""
    (top, *_, bottom), (left, *_, right) = (valid.any(i).nonzero()[:, 0].tolist() for i in (1, 0))
    seen = z[top : bottom + 1, left : right + 1].double()
    ends = slice(2), slice(-2, None)
    corner = torch.stack([torch.stack([mean(seen[r, c]) for c in ends]) for r in ends])
    down, across = (torch.linspace(0, 1, n, dtype=torch.float64) for n in seen.shape)
    edge = torch.lerp(corner[0], corner[1], down[:, None])
    behind = torch.lerp(edge[:, :1], edge[:, 1:], across)
    part = torch.zeros_like(valid)
    part[top : bottom + 1, left : right + 1] = ((behind - seen).abs() > 7e-3) & (seen != 0)
    return part


def mean(depths):
    """The mean of those that are there."""
    return depths.sum() / (depths > 0).sum()


def encoding(cells):
    """Sines and cosines of columns, then of rows: (1, 32, h, w)."""
    rate = 1e4 ** (-torch.arange(0, 16, 2) / 16)
    angle = torch.arange(cells)[:, None] * rate
    along = torch.stack([angle.sin(), angle.cos()], 2).flatten(1).T
    columns, rows = along[:, None].expand(-1, cells, -1), along[:, :, None].expand(-1, -1, cells)
    return torch.cat([columns, rows])[None]


def teacher(weights, x, at):
    """The flow's output z of x, (1, C, h, w) both."""
    for k in range(4):
        order = np.random.RandomState(k).permutation(x.shape[1])
        x1, x2 = x[:, order].tensor_split([x.shape[1] // 2], 1)
        name = f"teacher.module_list.{3 + 2 * k}"
        y1 = coupled(weights, f"{name}.s2", x1, torch.cat([x2, at], 1))
        y2 = coupled(weights, f"{name}.s1", x2, torch.cat([y1, at], 1))
        x = torch.cat([y1, y2], 1).clamp(-1e6, 1e6)
    return x


def coupled(weights, name, x, seen):
    """Scale and shift x by what a subnetwork makes of what it sees."""
    for layer in ("conv1", "conv2"):
        weight, bias = (weights[f"{name}.{layer}.{what}"] for what in ("weight", "bias"))
        wide = functional.pad(seen, (weight.shape[-1] // 2,) * 4, mode="replicate")
        seen = functional.conv2d(wide, weight, bias)
        if layer == "conv1":
            seen = seen.relu()
    s, t = (weights[f"{name}.gamma"] * seen).chunk(2, 1)
    return (1.9 * 0.636 * (s / 1.9).atan()).exp() * x + t


def student(weights, x, at):
    """What the student says that z is."""

    def conv(x, name):
        weight, bias = (weights[f"student.{name}.{what}"] for what in ("weight", "bias"))
        return functional.conv2d(x, weight, bias, padding=1)

    def norm(x, name):
        own = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(weights[f"student.{name}.{what}"] for what in own))

    x = functional.leaky_relu(conv(torch.cat([at, x], 1), "conv1"))
    for block in range(4):
        made = x
        for layer in (1, 2):
            made = conv(made, f"res.{block}.l{layer}")
            made = functional.leaky_relu(norm(made, f"res.{block}.bn{layer}"))
        x = x + made
    return conv(x, "conv2")


def tokens(extractor, rgb):
    """Tokens (B, h, w, D) of images (B, 3, R, R)."""
    if extractor not in MADE:
        MADE[extractor] = Colour(extractor.config(), extractor.state_dict())
    return MADE[extractor](rgb).float().permute(0, 2, 3, 1)


class Colour(nn.Module):
    """timm's EfficientNet up to a block, padded as for the size that it was trained at."""

    def __init__(self, about, state):
        super().__init__()
        with torch.device("meta"):
            net = timm.create_model(about["model"])
        net.load_state_dict(state, strict=False, assign=True)  # what lies behind has none
        blocks = [block for stage in net.blocks for block in stage][: about["block"]]
        self.layers = nn.Sequential(net.conv_stem, net.bn1, *blocks).eval()
        look = net.pretrained_cfg
        self.mean, self.std = (torch.tensor(look[of]).view(3, 1, 1) for of in ("mean", "std"))
        size = look["input_size"][-1]
        for name, conv in list(self.layers.named_modules()):
            if isinstance(conv, timm.layers.Conv2dSame):
                stride, kernel = conv.stride[0], conv.kernel_size[0]
                lacking = max(0, (-(-size // stride) - 1) * stride + kernel - size)
                before, behind = lacking // 2, lacking - lacking // 2
                conv.__class__ = nn.Conv2d
                padded = nn.Sequential(nn.ZeroPad2d((before, behind) * 2), conv)
                self.layers.set_submodule(name, padded)
            if isinstance(conv, nn.Conv2d):
                size = -(-size // conv.stride[0])

    def forward(self, rgb):
        mean, std = self.mean.to(rgb.device), self.std.to(rgb.device)
        return self.layers((rgb.float() / 255 - mean) / std)
