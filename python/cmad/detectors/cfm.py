"""CFM: crossmodal feature mapping (Costanzino et al., CVPR 2024)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor
from typing_extensions import Self

from cmad import gpu, maps
from cmad.checkpoint import Checkpoint
from cmad.detectors._cfm_options import ABLATIONS, Options
from cmad.detectors._inputs import whole
from cmad.detectors._official import find as find_official
from cmad.detectors._training import train
from cmad.detectors.detector import Detector
from cmad.detectors.method import Learnt
from cmad.extractors import weights as weight_files
from cmad.nn import Mappings
from cmad.nn.folded import FoldedMappings, PlainMappings, channel_sums, discrepancies_of
from cmad.nn.on_maps import OnMaps
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

    Options: ``mapping="mlp"``, or ``"encoder_decoder"`` or ``"conv"`` networks;
    ``intramodal=False``, whether each modality is predicted from itself instead of from the other;
    ``aggregation="product"``, or ``"sum"``, ``"max"``, or ``"2d"`` or ``"3d"`` alone, which then is
    the only map that is computed; ``discrepancy="euclidean"``, or ``"cosine"``. docs/cfm.md has
    what the paper says of each. The others are those of `Detector`.

    `fit` takes, beside what it takes for all methods: ``epochs=250``; ``pixels_per_image=None``,
    foreground pixels drawn afresh from each part in each epoch, all of them by default;
    ``batch_size=4``, parts per optimiser step; ``shuffle=True``. It descends the cosine loss over
    foreground pixels by Adam at 1e-3 (CFM, section 4). Convolutions are trained on square windows
    of ``pixels_per_image`` pixels, by default on the whole foreground.
    """

    Options = Options
    Training = Training
    why_all = "it predicts each modality from the other"
    ablations = ABLATIONS
    mappings: Mappings | None = None
    """The trained networks; None before `fit`."""
    _measure: FoldedMappings | PlainMappings | OnMaps | None = None
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
            losses, curves = train(
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
        return Learnt(mappings.state_dict(), losses, curves=curves)

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

    @classmethod
    def from_official(cls, folder: str | Path, category: str, **options: object) -> Self:
        """Take the published checkpoints of a category, under preset "official".

        They are read without running code from them.

        Args:
            folder: that holds ``CFM_2Dto3D_CATEGORY_*.pth`` and ``CFM_3Dto2D_CATEGORY_*.pth``, or
                a folder named as the category with them, as published.
            category: such as ``"cable_gland"``.
            options: of the class but ``preset``; the checkpoints are of ``variant="full"`` and the
                default extractors, whose weights must be there.

        Returns:
            A detector ready to predict, not calibrated.

        Raises:
            FileNotFoundError: no such folder or file.
            ValueError: several files for a direction, two of different trainings, or weights that
                do not fit the extractors' features.
            RuntimeError: a file, or the extractors' weights, cannot be read.

        Example:
            ``cmad.CFM.from_official("checkpoints_CFM_mvtec", "bagel").predict(rgb, xyz)``

        """
        files = find_official(folder, category)
        self = cls(preset="official", **options)  # type: ignore[arg-type]
        try:
            return self.load_mappings(*files)
        except ValueError as error:
            raise ValueError(f"{files[0].parent}: {error}") from error

    def discrepancies(self, features: Features) -> tuple[Tensor, Tensor]:
        """Compute the modality maps psi_2D and psi_3D (CFM, equation 3).

        Args:
            features: of one frame.

        Returns:
            Two (S, S) float32 maps in [0, 2], zero beside the foreground.

        """
        psi = self.measured(features, ("2d", "3d"))
        return psi["2d"], psi["3d"]

    def measured(self, features: Features, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Compute the maps of the wanted modalities alone; see `discrepancies`.

        Args:
            features: of one frame, both modalities.
            wanted: ``"2d"``, ``"3d"`` or both.

        """
        self._trained()
        if self._measure is None:
            self._measure = self._form(cast(Mappings, self.mappings))
        raster = self.raster
        cell = foreground(features, raster)
        e = spread(features, raster, cell)
        used = counted(channel_sums(e["3d"]), raster.smoothing)
        if isinstance(self._measure, OnMaps):
            psi = self._measure.measured(features, raster, cell, wanted)
        else:
            psi = self._measure.measured(e["2d"], e["3d"], wanted)
        if self.options.discrepancy == "cosine":  # of unit vectors: |a - b|^2 = 2 (1 - a.b)
            psi = {modality: values.square() / 2 for modality, values in psi.items()}
        return {m: maps.on_grid(values * used, cell, raster.size) for m, values in psi.items()}

    def maps(self, features: Features) -> GridMaps:
        """Aggregate the discrepancies, smooth and score them (CFM, section 3.3)."""
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
            raw = named.pop("raw").numpy()
            shown = {name: values.numpy() for name, values in named.items()}
            grid = GridMaps(score, map_, shown, self.modalities, of.window, of.name, raw=raw)
            found.append(grid)
        return found

    def _scored(self, features: Features) -> dict[str, Tensor]:
        """Return the score, the map and the further maps by name, all still on the device."""
        options = cast(Options, self.options)
        psi = self.measured(features, options.wanted)
        fused = psi.get(options.aggregation)
        if fused is None:
            fused = maps.fuse(psi["2d"], psi["3d"], options.aggregation)
        map_, others, score = maps.scored(fused, self.choices.scaling)
        return {"score": score, "map": map_, "raw": fused, **psi, **others}

    def _untrained(self) -> Mappings:
        dims = self.pipeline.dims()
        options = cast(Options, self.options)
        made = Mappings(dims["2d"], dims["3d"], self.seed, options.mapping, options.intramodal)
        return made.to(self.device)

    def _form(self, mappings: Mappings) -> FoldedMappings | PlainMappings | OnMaps:
        """Choose how the networks are measured with: folded where they can be."""
        if mappings.kind == "conv":
            return OnMaps(mappings)
        if mappings.kind == "mlp" and not mappings.intramodal:
            return discrepancies_of(mappings, self.pipeline.precision)
        return PlainMappings(mappings)
