"""The data flow as dataclasses: Sample, Frame, Features, GridMaps, Prediction with its Regions.

Those that hold arrays compare and hash by identity: elementwise equality has no single truth. Their
``repr`` is one line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmad.reprs import short, sizes

Array = npt.NDArray[np.generic] | Tensor


@dataclass(frozen=True, eq=False)
class Sample:
    """One part as a data set yields it: what the cameras saw, and what is known about it."""

    rgb: Array | None
    """(H, W, 3), uint8, or float in [0, 1]; None where there is no image."""
    xyz: Array | None
    """(H, W, 3) float, metres, pixel-registered with ``rgb``. A pixel has no 3D point where a
    coordinate is not finite or masked or all three are 0, and where the sensor put a mark instead,
    see `cmad.checks.no_point`. None where there are no points."""
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

    def __repr__(self) -> str:
        """Name, sizes and kind of defect."""
        arrays = (sizes(n, getattr(self, n)) for n in ("rgb", "xyz", "mask"))
        return short(self, self.name, *arrays, defect=self.defect)


@dataclass(frozen=True)
class Note:
    """What a user should know of one part, such as that a piece of it is not looked at."""

    kind: str
    """What such notes have in common; each is said once a run."""
    text: str


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

    rgb: Tensor | None
    """(3, R, R) uint8, the whole square resized to what the 2D extractors take; None without."""
    xyz: Tensor | None
    """(S, S, 3) float32, metres; 0 where ``valid`` is false. None without points."""
    valid: Tensor | None
    """(S, S) bool, pixels with a 3D point that belongs to the part; None without points."""
    window: Window
    name: str = ""
    plane: tuple[float, ...] | None = None
    """The background plane (n, d), n . p + d = 0 with |n| = 1 and d >= 0, metres; None without."""
    notes: tuple[Note, ...] = ()
    region: Tensor | None = None
    """(S, S) bool, the region of interest; None where none is told."""
    filled: Tensor | None = None
    """(S, S) bool, those of ``valid`` whose point is interpolated; None where none is."""

    @property
    def seen(self) -> Tensor | None:
        """(S, S) bool, those of ``valid`` that the sensor gave a point; None without points."""
        if self.valid is None or self.filled is None:
            return self.valid
        return self.valid & ~self.filled

    def __repr__(self) -> str:
        """Name and sizes."""
        return short(self, self.name, sizes("rgb", self.rgb), sizes("xyz", self.xyz))


@dataclass(frozen=True, eq=False)
class PixelWeights:
    """Sparse linear map from feature vectors to the pixels of a raster, in compressed rows."""

    start: Tensor
    """(P + 1,) int64, where each row's entries begin."""
    index: Tensor
    """(E,) int32, the feature vector of each entry."""
    weight: Tensor
    """(E,) float32."""

    def __repr__(self) -> str:
        """Numbers of pixels and entries."""
        return short(self, pixels=len(self.start) - 1, entries=len(self.weight))


@dataclass(frozen=True, eq=False)
class Points:
    """What a 3D extractor makes of a cloud of N points."""

    features: Tensor
    """(G, D) float32, one vector per centre."""
    neighbour: Tensor
    """(N, J) int64, the centres that each point is interpolated from."""
    weight: Tensor
    """(N, J) float32, with sum 1 in each row."""

    def __repr__(self) -> str:
        """Sizes."""
        return short(self, "", sizes("features", self.features), points=len(self.neighbour))


@dataclass(frozen=True, eq=False)
class Features:
    """What the frozen extractors made of a frame; feature maps are never formed.

    Rows of features on any raster are composed from it by `cmad.rasters`. Tokens and points are on
    one device, all else on the CPU: sizes follow from the valid pixels, and must be known there.
    """

    tokens: Mapping[str, Tensor]
    """(h, w, D) on the extractor's own raster, by name of the 2D extractor."""
    points: Mapping[str, Points]
    """Of the frame's valid pixels in row-major order, by name of the 3D extractor."""
    valid: Tensor | None
    """(S, S) bool, pixels with a 3D point; None where the sample had no points."""
    image_size: int
    """S: pixels along each side of the frame."""
    window: Window
    name: str = ""
    depth: Tensor | None = None
    """(S, S) float32, metres, the frame's z; for methods that ask for it."""
    defect: Tensor | None = None
    """(S, S) bool, where a synthetic defect is that a method learns from; None of other parts."""
    source: int | None = None
    """Position of the good part that the synthetic defect is on, among those of the training; None
    of other parts."""
    notes: tuple[Note, ...] = ()
    """Those of the frame."""
    region: Tensor | None = None
    """(S, S) bool, the frame's region of interest, which counts where there are no points; None
    where none is told."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """`cmad.ranges.levels` of the frame, of a part that is judged."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Which modalities it has features of, ``"2d"`` and ``"3d"``."""
        return ("2d",) * bool(self.tokens) + ("3d",) * bool(self.points)

    @property
    def device(self) -> torch.device:
        """Where tokens and points are."""
        made = [*self.tokens.values(), *(points.features for points in self.points.values())]
        return made[0].device if made else torch.device("cpu")

    def __repr__(self) -> str:
        """Name and the sizes of what each extractor made."""
        made = [sizes(name, tokens) for name, tokens in self.tokens.items()]
        made += [sizes(name, points.features) for name, points in self.points.items()]
        return short(self, self.name, *made, image_size=self.image_size)


@dataclass(frozen=True, eq=False)
class GridMaps:
    """What a method says of one part, on the method's own grid and before any verdict."""

    score: float
    """Image-level anomaly score; larger is more anomalous."""
    map: npt.NDArray[np.float32]
    """(S, S) anomaly map, fused and smoothed."""
    maps: Mapping[str, npt.NDArray[np.float32]]
    """(S, S) maps by name: those of the modalities, and others that the method documents."""
    modalities: tuple[str, ...]
    """What the part was judged by; each has a map, but where one alone is aggregated."""
    window: Window
    """Where the input lies in the grid's square."""
    name: str = ""
    notes: tuple[Note, ...] = ()
    """What a user should know of the part; the detector fills them in."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Image-level scores of maps alone, by name; empty where the method gives none."""
    raw: npt.NDArray[np.float32] | None = None
    """(S, S) the fused map before it is smoothed, for methods with several 3D extractors."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """See `Prediction.levels`; the detector fills them in."""

    @property
    def roc_map(self) -> npt.NDArray[np.float32]:
        """The map that the pixel AUROC is computed from; preset "official" scales it otherwise."""
        return self.maps.get("pixel_auroc", self.map)

    def __repr__(self) -> str:
        """Name, score and the size of the map."""
        judged_by = "+".join(self.modalities)
        return short(self, self.name, sizes("map", self.map), judged_by, score=self.score)

    def __float__(self) -> float:
        """Return the score."""
        return self.score


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
    neither is, only both together are, the one nearer to its threshold; None without such maps."""
    discrepancy: dict[str, float]
    """Largest value of each modality's smoothed map in it."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a detector says of one part. ``float(prediction)`` is the score."""

    score: float
    """Image-level anomaly score; larger is more anomalous."""
    map: npt.NDArray[np.float32]
    """(H, W) anomaly map on the input's own pixels."""
    maps: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """(H, W) maps by name, before fusion and smoothing: ``"2d"`` and ``"3d"``, of what the method
    makes and the part has, and others that the method documents."""
    threshold: float | None = None
    """The score above which a part is rejected; None before calibration."""
    p_value: float | None = None
    """Share of parts at least as anomalous as this one, from calibration; small is anomalous, and
    of good parts at most a share a gets a or less. None before calibration."""
    pixel_threshold: float | None = None
    """The value of ``map`` above which a pixel is marked; None before calibration."""
    regions: tuple[Region, ...] = ()
    """The marked pixels as connected defects, the largest peak first."""
    name: str = ""
    warnings: tuple[str, ...] = ()
    """What a user should know of the part, such as that a piece of it is not looked at."""
    inspected: bool = True
    """Whether enough of the part was seen: not where its points are on far fewer pixels than those
    of any training part."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """What moves where lamp, camera, sensor or material do, while a defect hardly moves it: of each
    modality the mean of its map on the part, ``"2d"``, ``"3d"``; of the image ``"brightness"`` and
    ``"sharpness"``; of the points their mean ``"x"``, ``"y"``, ``"z"`` and ``"roughness"``, metres.
    For `cmad.drift`."""

    @property
    def verdict(self) -> Literal["accepted", "rejected", "not inspected"] | None:
        """``"rejected"`` where the score is above the threshold, or is none; ``"not inspected"``
        where it is not, but too little of the part was seen; else ``"accepted"``. Before
        calibration None, or ``"not inspected"``.
        """
        # Not ">", which is false for NaN.
        if self.threshold is not None and not self.score <= self.threshold:
            return "rejected"
        if not self.inspected:
            return "not inspected"
        return None if self.threshold is None else "accepted"

    @property
    def rejected(self) -> bool | None:
        """Whether the part must not pass: any verdict but accepted. None before calibration."""
        return None if self.threshold is None else self.verdict != "accepted"

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """(H, W) bool, the marked pixels; None where there is no pixel threshold."""
        return None if self.pixel_threshold is None else ~(self.map <= self.pixel_threshold)

    def __repr__(self) -> str:
        """Name, verdict, score, threshold and how many regions."""
        verdict = {None: "not calibrated", True: "rejected", False: "accepted"}[self.rejected]
        found = None if self.threshold is None else len(self.regions)
        known = {"score": self.score, "threshold": self.threshold, "regions": found}
        return short(self, self.name, verdict, **known)

    def __float__(self) -> float:
        """Return the score."""
        return self.score
