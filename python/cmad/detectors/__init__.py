"""The detectors: fit on good parts, calibrate, predict."""

from cmad.detectors._outputs import on_input
from cmad.detectors.cfm import CFM
from cmad.detectors.load import load

__all__ = ["CFM", "load", "on_input"]
