"""CFM's own options."""

from dataclasses import dataclass

from cmad.detectors._inputs import one_of
from cmad.detectors.method import Ablation
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


_SHORT = {"epochs": 50}
"""Training of Tables 7 to 9."""
_VITS = {
    "DINO": "vit_base_patch8_224.dino",
    "SAM": "samvit_base_patch16.sa1b",
    "CLIP": "vit_base_patch16_clip_224.openai",
    "DINO-v2": "vit_base_patch14_dinov2.lvd142m",
}
"""Of Table 8, in timm's names; each takes images as large as the grid."""
_WITHIN = {"intramodal": True}
_NETWORKS = {
    "MLP Encoder-Decoder": "encoder_decoder",
    "Convolutional Encoder-Decoder": "conv",
}

ABLATIONS = (
    *(Ablation("4", f"{shots}-shot", shots=shots) for shots in (5, 10, 50)),
    Ablation("5", "CFM-M", made={"variant": "medium"}),
    Ablation("5", "CFM-S", made={"variant": "small"}),
    Ablation("5", "CFM-T", made={"variant": "tiny"}),
    Ablation("6", "psi_2D", options={"aggregation": "2d"}),
    Ablation("6", "psi_3D", options={"aggregation": "3d"}),
    Ablation("6", "psi_2D + psi_3D", options={"aggregation": "sum"}),
    Ablation("6", "max(psi_2D, psi_3D)", options={"aggregation": "max"}),
    # The product first: it prepares the networks for the single maps.
    Ablation("7", "50 epochs", training=_SHORT),
    Ablation("7", "psi_2D, 50 epochs", training=_SHORT, options={"aggregation": "2d"}),
    Ablation("7", "psi_3D, 50 epochs", training=_SHORT, options={"aggregation": "3d"}),
    Ablation("7", "phi_2D * phi_3D, 50 epochs", training=_SHORT, made=_WITHIN),
    Ablation(
        "7",
        "phi_2D, 50 epochs",
        training=_SHORT,
        made=_WITHIN,
        options={"aggregation": "2d"},
    ),
    Ablation(
        "7",
        "phi_3D, 50 epochs",
        training=_SHORT,
        made=_WITHIN,
        options={"aggregation": "3d"},
    ),
    *(
        Ablation("8", f"{name}, 50 epochs", training=_SHORT, made={"rgb": vit, "rgb_size": None})
        for name, vit in _VITS.items()
    ),
    *(
        Ablation("9", f"{name}, 50 epochs", training=_SHORT, made={"mapping": kind})
        for name, kind in _NETWORKS.items()
    ),
)
"""The rows of the paper's Tables 4 to 9; those of 10, 11 and 13 are among them."""
