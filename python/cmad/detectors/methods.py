"""The one table of methods."""

from cmad.detectors.ast import AST
from cmad.detectors.btf import BTF
from cmad.detectors.cfm import CFM
from cmad.detectors.detector import Detector
from cmad.detectors.g2sf import G2SF
from cmad.detectors.m3dm import M3DM
from cmad.detectors.patchcore import PatchCore
from cmad.spelling import meant

METHODS: dict[str, type[Detector]] = {
    "cfm": CFM,
    "patchcore": PatchCore,
    "g2sf": G2SF,
    "btf": BTF,
    "m3dm": M3DM,
    "ast": AST,
}
"""By the name that the command line takes; the first is its default."""


def method_named(name: str) -> type[Detector]:
    """Return a method by its name in `METHODS`, in any case; raise where there is none."""
    try:
        return METHODS[name.lower()]
    except KeyError:
        raise ValueError(
            f"method must be one of {', '.join(METHODS)}, got {name!r}{meant(name, METHODS)}"
        ) from None
