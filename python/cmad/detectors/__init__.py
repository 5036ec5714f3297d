"""The detectors: fit on good parts, calibrate, predict."""

from cmad.detectors.cfm import CFM
from cmad.detectors.load import load

__all__ = ["CFM", "load"]
