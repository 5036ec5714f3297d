"""CFM: crossmodal feature mapping (Costanzino et al., CVPR 2024)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor
from typing_extensions import Self

from cmad import gpu, maps
from cmad.checkpoint import Checkpoint
from cmad.detectors._inputs import whole
from cmad.detectors._training import train
from cmad.detectors.detector import Detector
from cmad.detectors.method import Learnt
from cmad.extractors import weights as weight_files
from cmad.nn import Mappings
from cmad.nn.folded import Discrepancies, channel_sums, discrepancies_of
from cmad.progress import bar
from cmad.rasters import Raster, counted, foreground, spread
from cmad.store import FeatureStore
from cmad.types import Features, GridMaps


@dataclass(frozen=True)
class Training:
    """How CFM is trained: arguments of its `fit`."""

    epochs: int = 250
    """Passes over all parts."""
    pixels_per_image: int | None = None
    """Foreground pixels drawn afresh from each part in each epoch; None takes all."""
    batch_size: int = 4
    """Parts per optimiser step."""
    shuffle: bool = True
    """New order of the parts in each epoch."""

    def __post_init__(self) -> None:
        """Check the numbers, of any integer type."""
        for name in ("epochs", "batch_size", "pixels_per_image"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole("fit", name, value, 1))


class CFM(Detector):
    """Anomaly detection by mapping 2D features to 3D features and back.

    Two small networks learn on good parts to predict each modality's frozen features from the
    other's, pixel by pixel. On a new part the distances between predicted and observed features
    are multiplied: a pixel is anomalous where both modalities disagree.

    Maps are ``"2d"`` and ``"3d"``, the discrepancies before fusion, in [0, 2]; in preset "official"
    also ``"pixel_auroc"``, the scaling that its pixel AUROC is computed from.

    `fit` takes, beside what it takes for all methods: ``epochs=250``; ``pixels_per_image=None``,
    foreground pixels drawn afresh from each part in each epoch, all of them by default;
    ``batch_size=4``, parts per optimiser step; ``shuffle=True``. It descends the cosine loss over
    foreground pixels by Adam at 1e-3 (CFM, section 4). The options are those of `Detector`.
    """

    Training = Training
    why_all = "it predicts each modality from the other"
    mappings: Mappings | None = None
    """The trained networks; None before `fit`."""
    _measure: Discrepancies | None = None
    """These networks as they are measured with; None before that."""

    @property
    def raster(self) -> Raster:
        """The pixels that are mapped."""
        return Raster(self.pipeline.preprocessing.image_size, self.choices.smoothing)

    def learn(
        self, store: FeatureStore, training: object, progress: bool, checkpoint: Checkpoint
    ) -> Learnt:
        """Train both mappings; see `cmad.detectors._training.train`."""
        how = cast(Training, training)
        mappings = self._untrained()
        with bar("training", how.epochs, done=checkpoint.epoch, show=progress) as step:
            losses = train(
                mappings,
                store,
                self.raster,
                epochs=how.epochs,
                pixels_per_image=how.pixels_per_image,
                batch_size=how.batch_size,
                shuffle=how.shuffle,
                seed=self.seed,
                precision=self.pipeline.precision,
                device=self.device,
                step=step,
                checkpoint=checkpoint,
            )
        return Learnt(mappings.state_dict(), losses)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights of both mappings, in the published names."""
        return {} if self.mappings is None else self.mappings.state_dict()

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the weights of both mappings."""
        mappings = self._untrained()
        try:
            mappings.load_state_dict(tensors)
        except RuntimeError as error:
            dims = self.pipeline.dims()
            said = " ".join(str(error).split())
            raise ValueError(
                f"CFM: mapping weights must fit features {dims['2d']} and {dims['3d']} wide: {said}"
            ) from error
        self.mappings, self._measure = mappings.eval(), None

    def load_mappings(
        self,
        cfm_2d_to_3d: Mapping[str, Tensor] | str | Path,
        cfm_3d_to_2d: Mapping[str, Tensor] | str | Path,
    ) -> Self:
        """Take mapping weights instead of training them.

        Args:
            cfm_2d_to_3d: a state dict with the published names, ``input.weight`` and so on, or a
                file of one, such as the published ``CFM_2Dto3D_*.pth``.
            cfm_3d_to_2d: likewise, ``CFM_3Dto2D_*.pth``.

        Returns:
            The detector itself, ready to predict; a threshold is forgotten.

        Raises:
            ValueError: names or shapes do not fit the extractors' features.
            RuntimeError: a file is missing or cannot be read.

        """
        tensors: dict[str, Tensor] = {}
        for name, state in (("CFM_2Dto3D", cfm_2d_to_3d), ("CFM_3Dto2D", cfm_3d_to_2d)):
            found = state if isinstance(state, Mapping) else weight_files.read(state)
            tensors |= {f"{name}.{k}": v for k, v in found.items()}
        self._accept(tensors)
        return self

    def discrepancies(self, features: Features) -> tuple[Tensor, Tensor]:
        """Compute the modality maps psi_2D and psi_3D (CFM, equation 3).

        Args:
            features: of one frame.

        Returns:
            Two (S, S) float32 maps in [0, 2], zero beside the foreground.

        """
        self._trained()
        if self._measure is None:
            mappings = cast(Mappings, self.mappings)
            self._measure = discrepancies_of(mappings, self.pipeline.precision)
        raster = self.raster
        cell = foreground(features, raster)
        e = spread(features, raster, cell)
        used = counted(channel_sums(e["3d"]), raster.smoothing)
        psi_2d, psi_3d = (psi * used for psi in self._measure(e["2d"], e["3d"]))
        return maps.on_grid(psi_2d, cell, raster.size), maps.on_grid(psi_3d, cell, raster.size)

    def maps(self, features: Features) -> GridMaps:
        """Multiply the discrepancies, smooth and score them (CFM, section 3.3)."""
        [made] = self._at_once([features])
        return made

    def all_maps(self, features: Sequence[Features]) -> list[GridMaps]:
        """Judge several parts; what a GPU works on is waited for once."""
        if self.device.type == "cpu" or type(self).maps is not CFM.maps:
            return super().all_maps(features)
        return self._at_once(features)

    def _at_once(self, features: Sequence[Features]) -> list[GridMaps]:
        made = [self._scored(one) for one in features]
        host = iter(gpu.download([tensor for one in made for tensor in one.values()]))
        found = []
        for one, of in zip(made, features, strict=True):
            named = {name: next(host) for name in one}
            score, map_ = float(named.pop("score")), named.pop("map").numpy()
            shown = {name: values.numpy() for name, values in named.items()}
            found.append(GridMaps(score, map_, shown, self.modalities, of.window, of.name))
        return found

    def _scored(self, features: Features) -> dict[str, Tensor]:
        """Return the score, the map and the further maps by name, all still on the device."""
        psi_2d, psi_3d = self.discrepancies(features)
        map_, others, score = maps.scored(maps.fuse(psi_2d, psi_3d), self.choices.scaling)
        return {"score": score, "map": map_, "2d": psi_2d, "3d": psi_3d, **others}

    def _untrained(self) -> Mappings:
        dims = self.pipeline.dims()
        return Mappings(dims["2d"], dims["3d"], self.seed).to(self.device)
