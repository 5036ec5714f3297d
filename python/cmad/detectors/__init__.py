"""The detectors: fit on good parts, calibrate, predict."""

from cmad.detectors._outputs import passes
from cmad.detectors.ast import AST
from cmad.detectors.btf import BTF
from cmad.detectors.cfm import CFM
from cmad.detectors.detector import Detector
from cmad.detectors.g2sf import G2SF
from cmad.detectors.load import load
from cmad.detectors.m3dm import M3DM
from cmad.detectors.method import Ablation
from cmad.detectors.methods import METHODS, method_named
from cmad.detectors.patchcore import PatchCore

__all__ = [
    "AST",
    "BTF",
    "CFM",
    "G2SF",
    "M3DM",
    "METHODS",
    "Ablation",
    "Detector",
    "PatchCore",
    "load",
    "method_named",
    "passes",
]
