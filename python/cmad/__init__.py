"""Anomaly detection for industrial inspection from an RGB image and its registered 3D points.

detector = cmad.CFM()
detector.fit(train)                            # cmad.Sample objects of good parts
detector.calibrate(good, false_reject_rate=0.05)
detector.save("part.cmad")
cmad.score(rgb, xyz, model="part.cmad")
"""

from importlib import import_module
from typing import TYPE_CHECKING

from cmad import forking  # noqa: F401 (for what it does)
from cmad.version import __version__

if TYPE_CHECKING:  # also for editors; what runs is below
    from cmad import datasets, detectors, evaluate, extractors, metrics, ops, report
    from cmad.api import score, use
    from cmad.detectors import AST, BTF, CFM, G2SF, M3DM, PatchCore
    from cmad.detectors.load import load
    from cmad.registration import register
    from cmad.types import Prediction, Region, Sample
    from cmad.units import xyz_from_depth
else:
    # Imported where it is first asked for: `cmad --help` needs no torch, which takes seconds.
    _HOMES = {
        "api": ("score", "use"),
        "detectors": ("AST", "BTF", "CFM", "G2SF", "M3DM", "PatchCore", "load"),
        "registration": ("register",),
        "types": ("Prediction", "Region", "Sample"),
        "units": ("xyz_from_depth",),
    }

    def __getattr__(name):
        """Return a public name or a module of the package, and keep it."""
        home = next((module for module, names in _HOMES.items() if name in names), None)
        if home is not None:
            found = getattr(import_module(f"cmad.{home}"), name)
            globals()[name] = found
            return found
        missing = AttributeError(f"module 'cmad' has no attribute {name!r}")
        if name.startswith("_"):
            raise missing
        try:
            return import_module(f"cmad.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"cmad.{name}":
                raise
            raise missing from None

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "AST",
    "BTF",
    "CFM",
    "G2SF",
    "M3DM",
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
