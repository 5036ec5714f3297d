"""What frozen convolutional networks of timm share: weights, tokens, description, coming back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from typing_extensions import Self

from cmad import gpu
from cmad.extractors import weights as stored
from cmad.extractors._timm import timm
from cmad.ops._call import expect
from cmad.seeding import seeded
from cmad.spelling import meant


class Convolutional(ABC):
    """A frozen convolutional network of timm, always in evaluation mode.

    A kind of it calls `_made` for the whole network, cuts it, and hands it to `_keep`.
    """

    kind: ClassVar[str]
    """What its configuration is known by."""
    image_size: int
    """Pixels along each side of the images."""
    dim: int
    """Channels of a token."""
    grid: tuple[int, int]
    """Rows and columns of tokens."""

    def _made(
        self, model: str, weights: str | Path | Mapping[str, Tensor] | None, seed: int
    ) -> tuple[Any, Mapping[str, Tensor] | None]:
        """Build the whole network; return it and the weights to load, None where it has drawn them.

        Raises:
            ValueError: unknown name.
            RuntimeError: the weights are not there.

        """
        self._name, self._seed = model, seed
        self._weights = stored.origin(weights)
        check_name(self.who, model)
        state: Mapping[str, Tensor] | None = None
        self._source = "given weights"
        if isinstance(weights, Mapping):
            state = stored.unwrap(weights)
        elif weights == "random":
            self._source = f"random weights (seed {seed})"
        elif weights is not None:
            state, self._source = stored.read(weights), f"weights of {weights}"
        else:
            state, source = stored.of_timm(model, self.who)
            self._source = f"weights of {source}"
        with seeded(seed), torch.device("cpu" if state is None else "meta"):
            return timm().create_model(model, num_classes=0), state

    def _keep(self, net: Any, state: Mapping[str, Tensor] | None) -> None:
        """Load the weights of what is left of the network, and freeze it."""
        if state is not None:
            own = net.state_dict()
            kept = {k: v for k, v in state.items() if k in own}
            stored.load(net, kept, f"{self.who} {self._name}")
        self._net: nn.Module = net.eval().requires_grad_(False)
        cfg = net.pretrained_cfg
        self._shift, self._scale = (
            torch.tensor(cfg[look], dtype=torch.float32, device="cpu").view(3, 1, 1)
            for look in ("mean", "std")
        )
        self._fingerprint: str | None = None
        self._forward: gpu.Graphed | None = None

    @property
    def who(self) -> str:
        """Its name in messages."""
        return type(self).__name__

    def tokens(self, rgb: Tensor) -> Tensor:
        """Compute the tokens of images.

        Args:
            rgb: (B, 3, R, R) uint8, R the image size, on the extractor's device.

        Returns:
            (B, D, h, w) float32.

        """
        size = self.image_size
        expect(self.who, rgb=(rgb, f"B 3 {size} {size}", torch.uint8))
        device = next(self._net.parameters()).device
        if rgb.device != device:
            raise ValueError(f"{self.who}: rgb must be on {device}, got {rgb.device}")
        with torch.no_grad():
            return self._tokens(rgb) if self._forward is None else self._forward(rgb)

    def _tokens(self, rgb: Tensor) -> Tensor:
        return self._of_image((rgb.float() / 255 - self._shift) / self._scale)

    @abstractmethod
    def describe(self) -> str:
        """Say in one line what the extractor is and where its weights come from."""

    @abstractmethod
    def _of_image(self, image: Tensor) -> Tensor:
        """Compute the tokens (B, D, h, w) of normalised images (B, 3, R, R)."""

    @abstractmethod
    def _arguments(self) -> dict[str, object]:
        """Return what it was made with, beside model, weights and seed, fit for JSON."""

    def to(self, device: torch.device | str) -> Self:
        """Move the weights to a device; return the extractor."""
        self._net.to(device)
        self._shift, self._scale = self._shift.to(device), self._scale.to(device)
        if self._forward is not None:  # graphs read the weights where they were
            self.compile()
        return self

    def compile(self) -> None:
        """Run as a CUDA graph from here on, see `cmad.gpu.Graphed`; on the CPU nothing changes."""
        self._forward = gpu.Graphed(self._tokens)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights of the layers that are used, in timm's names."""
        return dict(self._net.state_dict())

    def fingerprint(self) -> str:
        """Return the SHA-256 over the names and values of the weights."""
        self._fingerprint = self._fingerprint or stored.fingerprint(self.state_dict())
        return self._fingerprint

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again, but the weights."""
        return {
            "kind": self.kind,
            "model": self._name,
            **self._arguments(),
            "weights": self._weights,
            "seed": self._seed,
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], state: Mapping[str, Tensor] | None = None
    ) -> Self:
        """Build the extractor that ``config`` describes, with the weights of ``state`` if given.

        Raises:
            RuntimeError: the weights were passed in by a user and are not at hand.

        """
        weights = cast("str | None", config["weights"])
        if state is None and weights == "given":
            raise RuntimeError(
                f"{cls.__name__}: the model was trained with extractor weights that were passed "
                "in: save the model with include_extractors=True, or in Python pass the extractor "
                "again as rgb"
            )
        how: dict[str, Any] = {k: v for k, v in config.items() if k not in ("kind", "weights")}
        extractor = cls(weights=weights if state is None else state, **how)  # type: ignore[call-arg]
        extractor._weights = weights
        if weights == "random":
            extractor._source = f"random weights (seed {extractor._seed})"
        return extractor


def check_name(who: str, name: str) -> None:
    """Raise where a name is no model of timm."""
    if not timm().is_model(name):
        known = timm().list_models()
        raise ValueError(
            f"{who}: model must be the name of a timm model, got {name!r}{meant(name, known)}"
        )


def in_modules(name: str, modules: set[str]) -> bool:
    """Tell whether a timm model, with or without a tag, is of one of some modules."""
    models = timm("timm.models")
    return bool(models.is_model(name) and models.is_model_in_modules(name, modules))
