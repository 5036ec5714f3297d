"""The other mapping networks of CFM's supplement B: encoder-decoders of rows and of whole maps."""

from collections import OrderedDict

import torch.nn.functional as functional
from torch import Tensor, nn


class EncoderDecoder(nn.Module):
    """Five linear layers, GELU after all but the last; widths halve, stay, double.

    From 768 to 1152 features they are 768, 384, 192, 192, 384, 1152 (CFM, supplement B).
    """

    def __init__(self, features_in: int, features_out: int) -> None:
        """Make the layers."""
        super().__init__()
        half, quarter = max(1, features_in // 2), max(1, features_in // 4)
        self.encoder = nn.ModuleList([nn.Linear(features_in, half), nn.Linear(half, quarter)])
        self.bottleneck = nn.Linear(quarter, quarter)
        self.decoder = nn.ModuleList([nn.Linear(quarter, half), nn.Linear(half, features_out)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., features_in) to (..., features_out)."""
        for layer in (*self.encoder, self.bottleneck, self.decoder[0]):
            x = functional.gelu(layer(x))
        mapped: Tensor = self.decoder[1](x)
        return mapped


class ConvEncoderDecoder(nn.Module):
    """Maps whole maps: a UNet of one stage without skip-connections (CFM, supplement B).

    Two 3x3 convolutions and a 2x2 max-pooling; a 3x3 convolution and a 2x2 transposed one, which
    alone changes the number of channels. ReLU after all but the last. Beside a map there are zeros.
    """

    REACH = 4
    """Pixels beside an even-aligned 2x2 block that its predictions depend on, in each direction:
    two of each of the convolutions before the pooling, and twice one of that behind it."""

    def __init__(self, features_in: int, features_out: int) -> None:
        """Make the layers."""
        super().__init__()
        self.encoder = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(features_in, features_in, 3, padding=1),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(features_in, features_in, 3, padding=1),
                relu2=nn.ReLU(),
                pool=nn.MaxPool2d(2),
            )
        )
        self.decoder = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(features_in, features_in, 3, padding=1),
                relu=nn.ReLU(),
                up=nn.ConvTranspose2d(features_in, features_out, 2, stride=2),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, features_in, h, w) to (B, features_out, h, w); odd sides are filled up."""
        height, width = x.shape[-2:]
        x = functional.pad(x, (0, width % 2, 0, height % 2))
        mapped: Tensor = self.decoder(self.encoder(x))
        return mapped[..., :height, :width]
