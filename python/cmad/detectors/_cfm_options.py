"""CFM's own options."""

from dataclasses import dataclass

from cmad.detectors._inputs import one_of
from cmad.maps import AGGREGATIONS
from cmad.nn.mapping import KINDS, MODALITIES

DISCREPANCIES = ("euclidean", "cosine")


@dataclass(frozen=True)
class Options:
    """CFM's own options."""

    mapping: str = "mlp"
    """The networks (CFM, supplement B): ``"mlp"``, ``"encoder_decoder"``, or ``"conv"``, which maps
    whole maps instead of pixels."""
    intramodal: bool = False
    """Predict each modality from itself instead of from the other (CFM, Table 7)."""
    aggregation: str = "product"
    """How both discrepancies become one map (CFM, Table 6): ``"product"``, ``"sum"``, ``"max"``, or
    one of them alone, ``"2d"`` or ``"3d"``."""
    discrepancy: str = "euclidean"
    """Of normalised features, psi (CFM, equation 3): the Euclidean distance, or ``"cosine"``, the
    loss's, psi² / 2."""

    def __post_init__(self) -> None:
        """Check the values."""
        one_of("CFM", "mapping", self.mapping, KINDS)
        one_of("CFM", "intramodal", self.intramodal, (False, True))
        one_of("CFM", "aggregation", self.aggregation, (*AGGREGATIONS, *MODALITIES))
        one_of("CFM", "discrepancy", self.discrepancy, DISCREPANCIES)
        object.__setattr__(self, "intramodal", bool(self.intramodal))

    @property
    def wanted(self) -> tuple[str, ...]:
        """The modalities whose discrepancies are aggregated."""
        return (self.aggregation,) if self.aggregation in MODALITIES else MODALITIES
