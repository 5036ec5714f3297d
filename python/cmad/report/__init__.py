"""What a person looks at: pictures of parts, maps and truths."""

from cmad.report import verdict
from cmad.report.anomalies import Pasted, anomaly_sheet
from cmad.report.contact import Looked, contact_sheet, looked_at
from cmad.report.pictures import captioned, colour, depth, outline, overlay, sheet

__all__ = [
    "Looked",
    "Pasted",
    "anomaly_sheet",
    "captioned",
    "colour",
    "contact_sheet",
    "depth",
    "looked_at",
    "outline",
    "overlay",
    "sheet",
    "verdict",
]
