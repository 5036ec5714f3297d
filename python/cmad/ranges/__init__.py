"""What training parts looked like, and by what a new part is unlike them."""

from cmad.ranges.levels import levels
from cmad.ranges.looks import Look, look
from cmad.ranges.suspicions import LITTLE_SEEN, NO_BACKGROUND, SEEN, scale_of, suspicions
from cmad.ranges.training import Ranges

__all__ = [
    "LITTLE_SEEN",
    "NO_BACKGROUND",
    "SEEN",
    "Look",
    "Ranges",
    "levels",
    "look",
    "scale_of",
    "suspicions",
]
