"""What a person looks at: pictures of parts, maps and truths."""

from cmad.report import verdict
from cmad.report.pictures import captioned, colour, depth, outline, overlay, sheet

__all__ = ["captioned", "colour", "depth", "outline", "overlay", "sheet", "verdict"]
