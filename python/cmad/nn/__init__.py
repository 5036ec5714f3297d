"""The trainable networks."""

from cmad.nn.mapping import Mapping, Mappings, cosine_losses

__all__ = ["Mapping", "Mappings", "cosine_losses"]
