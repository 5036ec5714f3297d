"""G2SF's own options, and the arguments of its training."""

import numbers
from dataclasses import dataclass

from cmad.detectors._g2sf_spaces import AGGREGATES
from cmad.detectors._inputs import one_of, whole
from cmad.nn.g2sf_choices import DIFFERENCES, Published

PAPER = "negatives"
"""In what preset "paper" follows the published code all the same: with the text's negative samples
all scales went to e within some 50 steps and stayed there (docs/decisions/presets.md)."""


@dataclass(frozen=True)
class Options:
    """G2SF's own options."""

    cells: int = 56
    """Patches along each side."""
    fraction: float = 0.1
    """Of the patches of the good parts that are kept, by greedy k-centre."""
    neighbours: int = 5
    """k: nearest local spaces beside the first one that a score is made of."""
    aggregate: str = "min"
    """How the scores of k + 1 local spaces become one: min, nearest, max or mean."""
    published: str = "preset"
    """In what the published code is followed instead of the paper's text: as the preset says,
    ``"all"``, ``"none"`` for the text to the letter, or names of `cmad.nn.g2sf_choices.Published`,
    separated by commas."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("cells", "neighbours"):
            object.__setattr__(self, name, whole("G2SF", name, getattr(self, name), 1))
        number = isinstance(self.fraction, numbers.Real)
        if not (number and 0 < self.fraction <= 1):
            raise ValueError(f"G2SF: fraction must be in (0, 1], got {self.fraction!r}")
        object.__setattr__(self, "fraction", float(self.fraction))
        if self.neighbours > 15:  # 2 k + 1 are searched, of which there may be 32
            raise ValueError(f"G2SF: neighbours must be at most 15, got {self.neighbours}")
        one_of("G2SF", "aggregate", self.aggregate, AGGREGATES)
        self.chosen(False)

    def chosen(self, official: bool) -> Published:
        """Return the differences that are chosen, where the preset is official or not."""
        given = self.published
        if given == "preset":
            given = "all" if official else PAPER
        named = {"all": DIFFERENCES, "none": ()}.get(given)
        return Published.of(given.split(",") if named is None else named)


@dataclass(frozen=True)
class Training:
    """How G2SF is trained: arguments of its `fit`."""

    epochs: int = 80
    """Passes over the training patches."""
    batch_size: int = 8192
    """Patches per optimiser step."""
    synthetic_parts: int = 800
    """Good parts with synthetic defects, half for training, half to choose the best epoch by."""
    patches_per_part: int | None = None
    """Foreground patches drawn for each such part in each epoch; None draws as many as it has."""

    def __post_init__(self) -> None:
        """Check the numbers, of any integer type."""
        least = {"epochs": 1, "batch_size": 2, "synthetic_parts": 2, "patches_per_part": 1}
        for name, lowest in least.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole("fit", name, value, lowest))
