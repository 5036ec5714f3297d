"""Anomalies pasted on good parts, in colour and points, for training and for looking at."""

from cmad.synthesis.frames import SyntheticFrame, SyntheticFrames, synthesise
from cmad.synthesis.samples import SyntheticSample, SyntheticSamples, synthesise_samples
from cmad.synthesis.settings import KINDS, Synthesis

__all__ = [
    "KINDS",
    "Synthesis",
    "SyntheticFrame",
    "SyntheticFrames",
    "SyntheticSample",
    "SyntheticSamples",
    "synthesise",
    "synthesise_samples",
]
