"""The crossmodal mapping networks of CFM and their loss."""

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from cmad.nn.encoder_decoders import ConvEncoderDecoder, EncoderDecoder
from cmad.seeding import seeded

EPS = 1e-6
"""Lengths count as at least so much in the loss."""


class Mapping(nn.Module):
    """Three linear layers, GELU after the first two, mean width between (CFM, section 4)."""

    def __init__(self, features_in: int, features_out: int) -> None:
        """Make the layers; their names are those of the published checkpoints."""
        super().__init__()
        middle = (features_in + features_out) // 2
        self.input = nn.Linear(features_in, middle)
        self.projection = nn.Linear(middle, middle)
        self.output = nn.Linear(middle, features_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., features_in) to (..., features_out)."""
        x = functional.gelu(self.input(x))
        x = functional.gelu(self.projection(x))
        return self.output(x)  # type: ignore[no-any-return]


KINDS: dict[str, type[Mapping] | type[EncoderDecoder] | type[ConvEncoderDecoder]] = {
    "mlp": Mapping,
    "encoder_decoder": EncoderDecoder,
    "conv": ConvEncoderDecoder,
}
"""The kinds of mapping networks (CFM, supplement B)."""
MODALITIES = ("2d", "3d")


class Mappings(nn.Module):
    """Both directions, ``CFM_2Dto3D`` and ``CFM_3Dto2D``, in the published checkpoints' names.

    Within the modalities, as Table 7 compares with, they are ``CFM_2Dto2D`` and ``CFM_3Dto3D``.
    """

    CFM_2Dto3D: Mapping
    """Of the kind that was asked for, as the others; what asks for its layers folds an MLP."""
    CFM_3Dto2D: Mapping

    def __init__(
        self, dim_2d: int, dim_3d: int, seed: int, kind: str = "mlp", intramodal: bool = False
    ) -> None:
        """Initialise both from a seed; torch's global generator is left as it was.

        Args:
            dim_2d: features of a pixel of the image.
            dim_3d: likewise of the points.
            seed: of the initial weights.
            kind: one of `KINDS`.
            intramodal: predict each modality from itself instead of from the other.

        """
        super().__init__()
        self.kind, self.intramodal = kind, intramodal
        dims = {"2d": dim_2d, "3d": dim_3d}
        with seeded(seed):
            # The order of initialisation is that of the names, as it always was.
            for source in MODALITIES:
                target = source if intramodal else _other(source)
                self.add_module(_name(source, target), KINDS[kind](dims[source], dims[target]))

    def source_of(self, target: str) -> str:
        """Return the modality that another, or itself, is predicted from."""
        return target if self.intramodal else _other(target)

    def into(self, target: str) -> nn.Module:
        """Return the network that predicts a modality."""
        return self.get_submodule(_name(self.source_of(target), target))

    def forward(self, e_2d: Tensor, e_3d: Tensor) -> tuple[Tensor, Tensor]:
        """Predict each modality from the other (CFM, equation 1).

        Args:
            e_2d: (P, D2) observed 2D features; of kind "conv" maps of them, (B, D2, h, w).
            e_3d: (P, D3) observed 3D features; likewise.

        Returns:
            The predicted 2D features (P, D2) and 3D features (P, D3); likewise.

        """
        e = {"2d": e_2d, "3d": e_3d}
        return self.into("2d")(e[self.source_of("2d")]), self.into("3d")(e[self.source_of("3d")])


def _other(modality: str) -> str:
    return "3d" if modality == "2d" else "2d"


def _name(source: str, target: str) -> str:
    return f"CFM_{source.upper()}to{target.upper()}"


def cosine_losses(
    predicted_2d: Tensor, predicted_3d: Tensor, e_2d: Tensor, e_3d: Tensor
) -> tuple[Tensor, Tensor]:
    """Average the cosine distance over pixels, per modality; their sum is CFM's equation 2.

    Args:
        predicted_2d: (P, D2).
        predicted_3d: (P, D3).
        e_2d: (P, D2) observed.
        e_3d: (P, D3) observed.

    Returns:
        The losses of the 2D and of the 3D features, scalars in [0, 2].

    """
    return _mean_distance(predicted_2d, e_2d), _mean_distance(predicted_3d, e_3d)


def _mean_distance(predicted: Tensor, observed: Tensor) -> Tensor:
    distance: Tensor = _MeanCosineDistance.apply(predicted, observed)
    return distance


class _MeanCosineDistance(torch.autograd.Function):
    """1 - the mean of a.b / (|a| |b|), lengths of at least 1e-6, with a gradient for a only.

    torch's own form makes ten passes over the rows and their gradients; this one makes five.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """Keep what the gradient needs: the rows and two numbers for each."""
        x, y = a.float(), b.float()
        with torch.autocast(a.device.type, enabled=False):  # the rows' products overflow halves
            dot = torch.bmm(x[:, None], y[:, :, None]).flatten()
        length = torch.linalg.vector_norm(x, dim=-1)
        scale = 1 / (length.clamp_min(EPS) * torch.linalg.vector_norm(y, dim=-1).clamp_min(EPS))
        cosine = dot * scale
        # Where a is shorter than the least length, that does not depend on it.
        turn = torch.where(length > EPS, cosine / length.clamp_min(EPS).square(), 0)
        ctx.save_for_backward(a, b, scale, turn)
        distance: Tensor = 1 - cosine.mean()
        return distance

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        """Turn a towards b: (a.b / |a|^2 a - b) / (|a| |b|), over the number of rows."""
        a, b, scale, turn = ctx.saved_tensors
        each = gradient[0] / len(a)
        rows = a.float() * (turn * each)[:, None]
        return rows.addcmul_(b.float(), (scale * each)[:, None], value=-1).to(a.dtype), None
