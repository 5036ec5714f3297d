"""The data flow as four dataclasses: Sample, Frame, Features, Prediction."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[np.generic] | Tensor


@dataclass(frozen=True)
class Sample:
    """One part as a data set yields it: what the cameras saw, and what is known about it."""

    rgb: Array
    """(H, W, 3), uint8, or float in [0, 1]."""
    xyz: Array
    """(H, W, 3) float, metres, pixel-registered with ``rgb``. A pixel has no 3D point where a
    coordinate is not finite or all three are 0."""
    mask: npt.NDArray[np.bool_] | None = None
    """(H, W) bool, true on defects; None where the truth is not known."""
    defect: str | None = None
    """Kind of defect, ``"good"`` for none; None where not known."""
    name: str = ""
    """Where it comes from, for messages and file names."""

    @property
    def label(self) -> int | None:
        """0 for a good part, 1 for a defective one, None where not known."""
        return None if self.defect is None else int(self.defect != "good")


@dataclass(frozen=True)
class Window:
    """Where the input's pixels lie in the padded square that a frame is made from."""

    side: int
    """Pixels along each side of the square."""
    top: int
    left: int
    height: int
    """Size of the input, H and W."""
    width: int


@dataclass(frozen=True)
class Frame:
    """A sample prepared for the extractors: square, background removed, rgb and xyz registered."""

    rgb: Tensor
    """(3, R, R) uint8, the whole square resized to what the 2D extractor takes."""
    xyz: Tensor
    """(S, S, 3) float32, metres; 0 where ``valid`` is false."""
    valid: Tensor
    """(S, S) bool, pixels with a 3D point that belongs to the part."""
    window: Window
    name: str = ""


@dataclass(frozen=True)
class PixelWeights:
    """Sparse linear map from feature vectors to pixels, in compressed rows."""

    pixel: Tensor
    """(P,) int64, ascending: the pixels that have a row, as row * S + column."""
    start: Tensor
    """(P + 1,) int64, where each row's entries begin."""
    index: Tensor
    """(E,) int32, the feature vector of each entry."""
    weight: Tensor
    """(E,) float32."""


@dataclass(frozen=True)
class Points:
    """What a 3D extractor makes of a cloud of N points."""

    features: Tensor
    """(G, D) float32, one vector per centre."""
    neighbour: Tensor
    """(N, J) int64, the centres that each point is interpolated from."""
    weight: Tensor
    """(N, J) float32, with sum 1 in each row."""


@dataclass(frozen=True)
class Features:
    """What the frozen extractors made of a frame; feature maps are never formed."""

    tokens: Tensor
    """(h, w, D2), the 2D features on the extractor's own raster."""
    centres: Tensor
    """(G, D3), the 3D features of the group centres."""
    weights: PixelWeights
    """From centres to the pixels that a 3D feature reaches, the foreground."""
    image_size: int
    """S: pixels along each side of the frame."""
    window: Window
    name: str = ""


@dataclass(frozen=True)
class Prediction:
    """What a detector says of one part. ``float(prediction)`` is the score."""

    score: float
    """Image-level anomaly score; larger is more anomalous."""
    map: npt.NDArray[np.float32]
    """(H, W) anomaly map on the input's own pixels."""
    maps: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """(H, W) maps by name; CFM gives ``"2d"`` and ``"3d"``, before fusion and smoothing."""
    threshold: float | None = None
    """The score above which a part is rejected; None before calibration."""
    name: str = ""

    @property
    def rejected(self) -> bool | None:
        """Whether the score is above the threshold; None before calibration."""
        return None if self.threshold is None else self.score > self.threshold

    def __float__(self) -> float:
        """Return the score."""
        return self.score
