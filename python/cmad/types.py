"""The data flow as dataclasses: Sample, Frame, Features, Prediction with its Regions."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[np.generic] | Tensor


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class Points:
    """What a 3D extractor makes of a cloud of N points."""

    features: Tensor
    """(G, D) float32, one vector per centre."""
    neighbour: Tensor
    """(N, J) int64, the centres that each point is interpolated from."""
    weight: Tensor
    """(N, J) float32, with sum 1 in each row."""


@dataclass(frozen=True, eq=False)
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
class Region:
    """A connected defect: pixels above the pixel threshold that touch, diagonals included."""

    box: tuple[int, int, int, int]
    """Top, left, bottom, right in pixels of the input; bottom and right are exclusive."""
    pixels: int
    """Its area in pixels."""
    area: float | None
    """Its area on the surface in mm², see `cmad.regions.find`; None where it has no 3D surface."""
    centroid: tuple[float, float, float] | None
    """Mean of its valid 3D points, metres; None where it has none."""
    peak: float
    """Its largest value in the map."""
    peak_pixel: tuple[int, int]
    """Row and column of the peak."""
    modality: str | None
    """Which modality's map is above its own threshold here: ``"2d"``, ``"3d"`` or ``"both"``. Where
    neither is, only their product is, the one nearer to its threshold; None without such maps."""
    discrepancy: dict[str, float]
    """Largest value of each modality's smoothed map in it; CFM gives ``"2d"`` and ``"3d"``."""


@dataclass(frozen=True, eq=False)
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
    p_value: float | None = None
    """Share of parts at least as anomalous as this one, from calibration; small is anomalous, and
    of good parts at most a share a gets a or less. None before calibration."""
    pixel_threshold: float | None = None
    """The value of ``map`` above which a pixel is marked; None before calibration, and where the
    map is on the detector's grid."""
    regions: tuple[Region, ...] = ()
    """The marked pixels as connected defects, the largest peak first."""
    name: str = ""

    @property
    def rejected(self) -> bool | None:
        """Whether the score is above the threshold; None before calibration."""
        return None if self.threshold is None else self.score > self.threshold

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """(H, W) bool, the marked pixels; None where there is no pixel threshold."""
        return None if self.pixel_threshold is None else self.map > self.pixel_threshold

    def __float__(self) -> float:
        """Return the score."""
        return self.score
