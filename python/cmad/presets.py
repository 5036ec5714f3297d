"""The presets: what the papers' text and the published code do differently, in one place.

Each stage has a record of its choices; nothing else asks for a preset's name. The table with the
sources is docs/decisions/presets.md.
"""

from dataclasses import dataclass, field

from cmad.foreground import Rule
from cmad.maps import Scaling
from cmad.preprocess import Choices
from cmad.rasters import Smoothing


@dataclass(frozen=True)
class Grouping:
    """How Point-MAE, given by name, groups points."""

    size: int = 32
    """Points per group (CFM, section 4)."""
    groups: int = 1024
    """Groups of a cloud."""
    published: bool = False
    """Whether centres are chosen as by the published CUDA kernel (`cmad.ops.fps`)."""


@dataclass(frozen=True)
class Preset:
    """A choice for every stage; the defaults are those of the papers' text."""

    preparation: Choices = field(default_factory=Choices)
    grouping: Grouping = field(default_factory=Grouping)
    smoothing: Smoothing = field(default_factory=Smoothing)
    scaling: Scaling = field(default_factory=Scaling)
    published_banks: bool = False
    """PatchCore: as M3DM's classes of one modality and of both: patches of the whole square,
    distances in deviations of the image's features, their scores in thousandths where added."""
    published_metric: bool = False
    """G2SF: each difference that `cmad.nn.g2sf_choices.Published` names."""
    published_ast: bool = False
    """AST: the part is what stands out of the surface through the image's corners, and its map is
    masked a second time."""
    grid_thresholds: bool = False
    """Whether AUPRO is quoted with the published grid of thresholds, or with every one."""


PRESETS = {
    "paper": Preset(),
    "official": Preset(
        preparation=Choices(
            any_zero_is_missing=True,
            rule=Rule(plane_samples=50, plane_support=0.004, published=True),
            multiple=100,
            upper_left=True,
        ),
        grouping=Grouping(size=128, published=True),
        smoothing=Smoothing(padding=0, rim=True, zero_sum_is_missing=True),
        scaling=Scaling(by_mean=True, eight_bits=True),
        published_banks=True,
        published_metric=True,
        published_ast=True,
        grid_thresholds=True,
    ),
}
