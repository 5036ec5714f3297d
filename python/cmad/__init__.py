"""Anomaly detection for industrial inspection from an RGB image and its registered 3D points.

detector = cmad.CFM()
detector.fit(train)                            # cmad.Sample objects of good parts
detector.calibrate(good, false_reject_rate=0.05)
detector.save("part.cmad")
cmad.score(rgb, xyz, model="part.cmad")
"""

from cmad import (  # noqa: F401 (forking: for what it does)
    datasets,
    detectors,
    evaluate,
    extractors,
    forking,
    metrics,
    ops,
    report,
)
from cmad.api import score, use
from cmad.detectors import CFM, G2SF, PatchCore, load
from cmad.registration import register
from cmad.types import Prediction, Region, Sample
from cmad.units import xyz_from_depth
from cmad.version import __version__

__all__ = [
    "CFM",
    "G2SF",
    "PatchCore",
    "Prediction",
    "Region",
    "Sample",
    "__version__",
    "datasets",
    "detectors",
    "evaluate",
    "extractors",
    "load",
    "metrics",
    "ops",
    "register",
    "report",
    "score",
    "use",
    "xyz_from_depth",
]
