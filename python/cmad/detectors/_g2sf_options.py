"""G2SF's own options, and the arguments of its training."""

from dataclasses import dataclass

from cmad.detectors._g2sf_spaces import AGGREGATES
from cmad.detectors._inputs import one_of, share, whole
from cmad.detectors.method import Ablation
from cmad.nn.g2sf_choices import DIFFERENCES, Published
from cmad.nn.g2sf_training import TERMS

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
        object.__setattr__(self, "fraction", share("G2SF", "fraction", self.fraction))
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
    losses: str = "all"
    """Terms of the loss beside the separation: ``"all"``, ``"none"``, or names of
    `cmad.nn.g2sf_training.TERMS`, separated by commas (G2SF, Table IV)."""

    def __post_init__(self) -> None:
        """Check the numbers, of any integer type, and the terms."""
        self.terms()
        least = {"epochs": 1, "batch_size": 2, "synthetic_parts": 2, "patches_per_part": 1}
        for name, lowest in least.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole("fit", name, value, lowest))

    def terms(self) -> tuple[str, ...]:
        """Return the names of the terms that count.

        Raises:
            ValueError: an unknown name.

        """
        named = {"all": tuple(TERMS), "none": ()}.get(self.losses)
        if named is None:
            named = tuple(name.strip() for name in self.losses.split(","))
            if unknown := [name for name in named if name not in TERMS]:
                raise ValueError(
                    f"fit: losses must be all, none, or some of {', '.join(TERMS)}, got "
                    f"{unknown[0]!r}"
                )
        return named


ABLATIONS = (
    Ablation("III", "s^R", alone="2d"),
    Ablation("III", "s^P", alone="3d"),
    Ablation("III", "w^R", alone="w_2d"),
    Ablation("III", "w^P", alone="w_3d"),
    Ablation("", "s^R + s^P", alone="2d+3d"),
    Ablation("IV", "L_sep", training={"losses": "none"}),
    Ablation("IV", "L_sep + L_cns", training={"losses": "consistency"}),
    Ablation("IV", "L_sep + L_cns + L_mar", training={"losses": "consistency,margin"}),
    Ablation(
        "IV", "L_sep + L_cns + L_mar + L_sc", training={"losses": "consistency,margin,scaling"}
    ),
    *(
        Ablation("curve", f"{epoch} epochs", epoch=epoch)
        for epoch in (2, 4, 6, 8, *range(10, 81, 10))
    ),
    Ablation("V", "l_0", options={"aggregate": "nearest"}),
    Ablation("V", "max operator", options={"aggregate": "max"}),
    Ablation("V", "mean operator", options={"aggregate": "mean"}),
)
"""The rows of the paper's Tables III to V, whose categories are in its supplement, the sum of both
distances, which the paper does not print, and its learning curve (supplement C)."""
