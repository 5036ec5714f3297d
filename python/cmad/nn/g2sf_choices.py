"""What G2SF's published code does otherwise than the paper's text, a name for each."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Published:
    """True where the published code is followed, false for the paper's text."""

    groups: bool = False
    """512 groups of points instead of 1024, where Point-MAE is given by name."""
    upsampling: bool = False
    """A cell takes the 2D token that it lies in, instead of interpolating between tokens."""
    bank: bool = False
    """The image's bank has rows of the token grid, half as many cells along each side as the points
    have, instead of interpolated ones; both banks have rows of the background, too."""
    standardised: bool = False
    """Only the image's features are shifted and divided by their deviation, instead of both."""
    own: bool = False
    """In training, the patches of a synthetic defect's part are near to rows of this very part,
    instead of rows of the others alone."""
    unit: bool = False
    """Distances are divided by the mean over normal patches, instead of over all."""
    directions: bool = False
    """Of both modalities together and of length 5, instead of length 1 each."""
    sigma: bool = False
    """The scales of the modalities sum to 1, instead of being free."""
    separation: bool = False
    """Of squared metric values, weighted."""
    bound: bool = False
    """m_0 is of anomalous patches only."""
    margin: bool = False
    """Of squared metric values."""
    consistency: bool = False
    """The proximal bound meets the ratios of the whole batch."""
    scaling: bool = False
    """A mean for each class, and over modalities."""
    negatives: bool = False
    """Both modalities are permuted, each by itself; their loss is a mean over modalities."""
    at_once: bool = False
    """The alignment loss has its full weight from the first step on, instead of growing to it."""
    noise: bool = False
    """Features and nearest prototypes are moved at random in training."""
    beta: bool = False
    """40 instead of 60."""
    gamma: bool = False
    """3 instead of 8."""
    l1: bool = False
    """5e-4 instead of 1e-4."""
    decay: bool = False
    """1e-4 instead of 1.5e-4; of the scales of the modalities, too."""
    batches: bool = False
    """At most 3.5 % of the training patches are one batch."""
    smoothing: bool = False
    """The map is blurred in 256 levels."""

    @classmethod
    def of(cls, names: Iterable[str]) -> "Published":
        """Make the record in which these are true.

        Raises:
            ValueError: there is no such difference.

        """
        known, chosen = DIFFERENCES, [name.strip() for name in names]
        for name in chosen:
            if name not in known:
                raise ValueError(
                    f"G2SF: published must be 'preset', 'all', 'none' or names of "
                    f"{', '.join(known)}; got {name!r}"
                )
        return cls(**dict.fromkeys(chosen, True))

    def names(self) -> list[str]:
        """Return those that are true."""
        return [name for name, true in asdict(self).items() if true]


DIFFERENCES = tuple(f.name for f in fields(Published))
"""The names, in the order of the stages."""
