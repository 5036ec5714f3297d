"""Sample to features: joins preprocessing, the frozen extractors and the sparse weights."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad import ops
from cmad.cache import Cache, digest, named, versions
from cmad.extractors import RgbExtractor, XyzExtractor
from cmad.preprocess import CONSTANTS, Preprocessing, prepare
from cmad.types import Features, Frame, PixelWeights, Points, Sample, Window


@dataclass(frozen=True)
class Pipeline:
    """Everything of a detector that is not learnt.

    With a cache, what was computed once is read again, bit for bit the same. Each stage is looked
    up by the content of what goes into it and by everything that decides its result: constants,
    configuration, a hash of the weights, statistics, precision, versions. So a part is found again
    under another name, from another file, or from no file at all; an image that was saved again
    with equal pixels, too.
    """

    rgb: RgbExtractor
    xyz: XyzExtractor
    preprocessing: Preprocessing
    precision: torch.dtype = torch.float32
    """Of the 2D extractor's and the mappings' arithmetic; results are float32."""
    cache: Cache | None = None
    """Keeps frames, features and statistics of the 3D extractor; None computes everything."""

    def extract(self, sample: Sample) -> Features:
        """Prepare a sample and extract its features, both through the cache."""
        return self.cached_features(self.frame(sample))

    def frame(self, sample: Sample) -> Frame:
        """Prepare a sample, through the cache; see `cmad.preprocess.prepare`."""
        arrays = sample.rgb, sample.xyz
        if self.cache is None or not all(isinstance(a, np.ndarray | Tensor) for a in arrays):
            return prepare(sample, self.preprocessing)
        key = digest(*arrays, asdict(self.preprocessing), CONSTANTS, versions())
        kept = self.cache.get("frame", key)
        if kept is not None:
            window = Window(*kept.pop("window").tolist())
            return Frame(**kept, window=window, name=sample.name)
        frame = prepare(sample, self.preprocessing)
        self.cache.put(
            "frame",
            key,
            {
                "rgb": frame.rgb,
                "xyz": frame.xyz,
                "valid": frame.valid,
                "window": torch.tensor(astuple(frame.window)),
            },
        )
        return frame

    def cached_features(self, frame: Frame, points: Points | None = None) -> Features:
        """Extract the features of a frame as `features` does, through the cache.

        Kept is what the extractors made, about 9 MB for 784 tokens of 768 and 1024 centres of 1152.
        The weights composed from it are larger and cheap, so they are computed again. Frames that
        come up only once, such as augmented ones, belong to `features`.
        """
        if self.cache is None:
            return self.features(frame, points)
        key = digest(
            *(frame.rgb, frame.xyz, frame.valid, self.rgb.config(), self.rgb.fingerprint()),
            *(self.xyz.config(), self.xyz.fingerprint(), *named(self.xyz.statistics)),
            *(str(self.precision), versions()),
        )
        kept = self.cache.get("features", key)
        if kept is None:
            tokens, points = self._tokens(frame), points or self._points(frame)
            self.cache.put("features", key, {"tokens": tokens, **vars(points)})
        else:
            tokens, points = kept.pop("tokens"), Points(**kept)
        return self._joined(frame, tokens, points)

    def features(self, frame: Frame, points: Points | None = None) -> Features:
        """Extract the features of a frame.

        Args:
            frame: see `frame`.
            points: what the 3D extractor makes of the frame, where that is known already.

        Returns:
            Float32 features on the CPU. The foreground, the pixels that have a row of weights, is
            the pixels with a 3D point; in the official preset also those that only the smoothing
            reaches.

        """
        return self._joined(frame, self._tokens(frame), points or self._points(frame))

    def with_statistics(self, frames: Sequence[Frame]) -> tuple["Pipeline", list[Points] | None]:
        """Take the statistics of the 3D extractor from training frames, through the cache.

        Args:
            frames: of good parts, one or more.

        Returns:
            The pipeline with these statistics in a copy of its 3D extractor, and what that makes of
            each frame where it came for free.

        """
        xyz = copy.deepcopy(self.xyz)
        pipeline = replace(self, xyz=xyz)
        clouds = [frame.xyz[frame.valid] for frame in frames]
        if self.cache is None:
            return pipeline, xyz.fit(clouds)
        key = digest(*clouds, xyz.config(), xyz.fingerprint(), versions())
        kept = self.cache.get("statistics", key)
        if kept is not None:
            xyz.load_statistics(kept)
            return pipeline, None
        points = xyz.fit(clouds)
        self.cache.put("statistics", key, xyz.statistics)
        return pipeline, points

    def _tokens(self, frame: Frame) -> Tensor:
        with torch.inference_mode(), arithmetic(self.precision):
            tokens = self.rgb.tokens(frame.rgb[None])[0].float()
        return tokens.permute(1, 2, 0).contiguous().clone()

    def _points(self, frame: Frame) -> Points:
        return self.xyz.points(frame.xyz[frame.valid])

    def _joined(self, frame: Frame, tokens: Tensor, points: Points) -> Features:
        return Features(
            tokens=tokens,
            centres=points.features,
            weights=pixel_weights(points, frame.valid, self.preprocessing.preset),
            image_size=self.preprocessing.image_size,
            window=frame.window,
            name=frame.name,
        )


def pixel_weights(points: Points, valid: Tensor, preset: str) -> PixelWeights:
    """Compose the points' interpolation with the smoothing of the 3D feature map.

    Args:
        points: of the N valid pixels, in row-major order.
        valid: (S, S) bool with N true.
        preset: see `smoothing_taps`; in ``"official"`` every pixel that the smoothing
            reaches has a row, in ``"paper"`` the valid ones.

    Returns:
        The sparse weights from centres to foreground pixels.

    """
    size = valid.shape[0]
    point = torch.full_like(valid, -1, dtype=torch.int64)
    point[valid] = torch.arange(len(points.neighbour))
    first, tap = smoothing_taps(size, preset)
    reached = valid
    if preset == "official":  # a superset of what the footprint can reach
        reached = functional.max_pool2d(valid[None].float(), 7, stride=1, padding=3)[0] > 0
    pixel = reached.flatten().nonzero()[:, 0]
    start, index, weight = ops.pixel_weights(
        points.neighbour, points.weight, point, first, tap, pixel, centres=len(points.features)
    )
    filled = start.diff() > 0
    return PixelWeights(
        pixel=pixel[filled],
        start=torch.cat([start[:1], start[1:][filled]]),
        index=index,
        weight=weight,
    )


def smoothing_taps(size: int, preset: str) -> tuple[Tensor, Tensor]:
    """Describe the smoothing of the 3D feature map along one axis.

    Args:
        size: S, pixels along each side.
        preset: ``"paper"``: the 3x3 mean, zeros beyond the image (CFM, section 3.1).
            ``"official"``: the published average pooling without padding followed by an adaptive
            one back to S, a blur of 4 pixels with a shift of half a pixel to the centre.

    Returns:
        first (S,) int64 and tap (S, T) float32 as `cmad.ops.pixel_weights` takes them.

    """
    if preset == "paper":
        return torch.arange(size) - 1, torch.full((size, 3), 1 / 3)
    out = torch.arange(size)
    cells = size - 2  # of the pooled map; cell c covers pixels c to c + 2
    begin, end = out * cells // size, -(-(out + 1) * cells // size)
    width = int((end - begin).max())
    tap = torch.zeros(size, width + 2, dtype=torch.float64)
    for offset in range(width):
        share = torch.where(begin + offset < end, 1 / (3.0 * (end - begin)), 0.0)
        tap[:, offset : offset + 3] += share[:, None]
    return begin, tap.float()


def rgb_rows(features: Features, row: Tensor | None = None) -> Tensor:
    """Compute the 2D features of foreground pixels: bilinear in the tokens (CFM, section 3.1).

    Args:
        features: tokens of any floating dtype.
        row: (Q,) int64 rows of ``features.weights``; None for all P.

    Returns:
        (Q, D2) float32.

    """
    h, w, dim = features.tokens.shape
    pixel = features.weights.pixel if row is None else features.weights.pixel[row]
    y0, y1, y = _linear(pixel // features.image_size, h, features.image_size)
    x0, x1, x = _linear(pixel % features.image_size, w, features.image_size)
    index = torch.stack([y0 * w + x0, y0 * w + x1, y1 * w + x0, y1 * w + x1], 1)
    weight = torch.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], 1)
    return ops.interpolate(
        features.tokens.float().view(h * w, dim),
        torch.arange(len(pixel) + 1) * 4,
        index.flatten().int(),
        weight.flatten(),
    )


def xyz_rows(features: Features, row: Tensor | None = None) -> Tensor:
    """Compute the smoothed 3D features of foreground pixels (CFM, section 3.1).

    Args:
        features: centres of any floating dtype.
        row: (Q,) int64 rows of ``features.weights``; None for all P.

    Returns:
        (Q, D3) float32.

    """
    weights = features.weights
    start, index, weight = weights.start, weights.index, weights.weight
    if row is not None:
        length = start.diff()[row]
        chosen = torch.cat([length.new_zeros(1), length.cumsum(0)])
        entry = torch.arange(int(chosen[-1])) + (start[row] - chosen[:-1]).repeat_interleave(length)
        start, index, weight = chosen, index[entry], weight[entry]
    return ops.interpolate(features.centres.float(), start, index, weight)


def rows(
    features: Features, row: Tensor | None = None, preset: str = "paper"
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute both modalities' features of foreground pixels, and which of the pixels count.

    Args:
        features: of one frame.
        row: (Q,) int64 rows of ``features.weights``; None for all P.
        preset: in ``"official"`` a pixel whose 3D channels happen to add up to exactly 0 does not
            count, as published.

    Returns:
        (Q, D2) and (Q, D3) float32, and (Q,) bool.

    """
    e_2d, e_3d = rgb_rows(features, row), xyz_rows(features, row)
    if preset == "official":
        return e_2d, e_3d, e_3d.sum(-1) != 0
    return e_2d, e_3d, torch.ones(len(e_3d), dtype=torch.bool)


def _linear(at: Tensor, cells: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower cell, upper cell and the upper one's share, as torch with align_corners=False."""
    position = ((at + 0.5) * (cells / size) - 0.5).clamp(min=0)
    lower = position.long().clamp(max=cells - 1)
    return lower, (lower + 1).clamp(max=cells - 1), position - lower


def arithmetic(precision: torch.dtype) -> torch.autocast:
    """Return the context that networks run in: autocast to half precision, nothing for float32."""
    return torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32)
