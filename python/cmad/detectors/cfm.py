"""CFM: crossmodal feature mapping (Costanzino et al., CVPR 2024)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from cmad import maps, model_file, ops
from cmad.cache import Cache
from cmad.calibrate import Calibration, check_parts, from_file, to_file
from cmad.detectors._inputs import (
    VARIANTS,
    as_samples,
    device_of,
    good_only,
    named_extractors,
    one_of,
    parts_of,
    whole,
)
from cmad.detectors._outputs import on_input, peaks
from cmad.detectors._saving import extractors_from_file, pipeline_to_file
from cmad.detectors._training import extract, train
from cmad.extractors import RgbExtractor, XyzExtractor
from cmad.extractors import weights as weight_files
from cmad.nn import Mappings
from cmad.pipeline import Pipeline, arithmetic, rows
from cmad.preprocess import Preprocessing
from cmad.progress import bar
from cmad.store import FeatureStore
from cmad.types import Array, Features, Frame, Prediction, Sample, Window

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CHUNK = 8192
"""Pixels mapped at a time in prediction, to bound the memory."""


class CFM:
    """Anomaly detection by mapping 2D features to 3D features and back.

    Two small networks learn on good parts to predict each modality's frozen features from the
    other's, pixel by pixel. On a new part the distances between predicted and observed features
    are multiplied: a pixel is anomalous where both modalities disagree.
    """

    def __init__(
        self,
        variant: str = "full",
        preset: str = "paper",
        rgb: str | RgbExtractor = "vit_base_patch8_224.dino",
        xyz: str | XyzExtractor = "point_mae",
        image_size: int = 224,
        rgb_size: int | None = None,
        weights: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        seed: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        """Make an untrained detector.

        Args:
            variant: ``"full"``, ``"medium"``, ``"small"`` or ``"tiny"``: extractors pruned after
                block 12, 8, 4 or 1 (CFM, section 3.4). For extractors given by name.
            preset: ``"paper"`` follows the paper's text, ``"official"`` the published code;
                docs/decisions/presets.md lists the differences.
            rgb: name of a timm ViT, or a 2D extractor such as `cmad.extractors.ViT`.
            xyz: ``"point_mae"``, ``"fpfh"``, or a 3D extractor such as
                `cmad.extractors.PointMAE`.
            image_size: S, pixels along each side of the grid that maps are computed on.
            rgb_size: R, pixels along each side of the images that a 2D extractor given by name
                takes; None takes S.
            weights: None loads pretrained weights (`CMAD_WEIGHTS`, else downloaded once);
                ``"random"`` draws seeded ones, for tests and timing. For extractors given by name.
            device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
            precision: of the 2D extractor and the mapping, ``"fp32"``, ``"fp16"`` or ``"bf16"``.
                ``"auto"`` is fp32 arithmetic with training features kept in half precision.
            seed: of everything random: mapping weights, pixel and frame order, random extractor
                weights, the background plane.
            cache: folder that prepared frames and features of every part are kept in, also those
                of `predict`, to be read where the same part comes again: some 10 MB a part, never
                evicted (`cmad.cache.Cache`). None keeps nothing. Not saved with the model.

        Raises:
            ValueError: an option is not one of the above.
            RuntimeError: weights, an extra, or a device that are not available.

        """
        one_of("CFM", "variant", variant, VARIANTS)
        one_of("CFM", "preset", preset, ("paper", "official"))
        one_of("CFM", "precision", precision, ("auto", *PRECISIONS))
        one_of("CFM", "weights", weights, (None, "random"))
        seed = whole("CFM", "seed", seed, 0)
        image_size = whole("CFM", "image_size", image_size, 1)
        rgb_size = image_size if rgb_size is None else whole("CFM", "rgb_size", rgb_size, 1)
        self.variant, self.preset, self.precision, self.seed = variant, preset, precision, seed
        self.device = device_of("CFM", device)
        rgb, xyz = named_extractors(
            "CFM",
            rgb,
            xyz,
            variant=variant,
            official=preset == "official",
            rgb_size=rgb_size,
            weights=weights,
            seed=seed,
        )
        self.pipeline = Pipeline(
            rgb,
            xyz,
            Preprocessing(image_size, rgb.image_size, preset, seed),
            PRECISIONS.get(precision, torch.float32),
            None if cache is None else Cache(cache),
        )
        self.mappings: Mappings | None = None
        """The trained networks; None before `fit`."""
        self.losses: list[tuple[float, float]] = []
        """Of each training step: 2D and 3D part of the loss (CFM, equation 2)."""
        self.calibration: Calibration | None = None
        """Thresholds and scores of good parts; None before `calibrate`."""

    @property
    def threshold(self) -> float | None:
        """The score above which a part is rejected; None before `calibrate`."""
        return None if self.calibration is None else self.calibration.threshold

    @property
    def false_reject_rate(self) -> float | None:
        """The rate that the threshold was asked for; None before `calibrate`."""
        return None if self.calibration is None else self.calibration.false_reject_rate

    def fit(
        self,
        samples: Iterable[Sample],
        epochs: int = 250,
        pixels_per_image: int | None = None,
        progress: bool = True,
        *,
        batch_size: int = 4,
        shuffle: bool = True,
        memory_limit: int = 4 << 30,
    ) -> "CFM":
        """Train on good parts.

        The frozen extractors run once per part; epochs run on their kept features, so they cost
        only the two small networks (docs/training.md has the figures). Cosine loss over foreground
        pixels, Adam at 1e-3 (CFM, section 4).

        Args:
            samples: good parts; iterated once.
            epochs: passes over all parts.
            pixels_per_image: foreground pixels drawn afresh from each part in each epoch; None
                takes all.
            progress: show progress bars when on a terminal.
            batch_size: parts per optimiser step.
            shuffle: new order of the parts in each epoch.
            memory_limit: bytes of features kept in memory; the rest goes to a temporary folder.

        Returns:
            The detector itself.

        Raises:
            ValueError: no samples, a defective one, or one that cannot be prepared (named).

        """
        epochs = whole("fit", "epochs", epochs, 1)
        batch_size = whole("fit", "batch_size", batch_size, 1)
        if pixels_per_image is not None:
            pixels_per_image = whole("fit", "pixels_per_image", pixels_per_image, 1)
        dtype = torch.float32 if self.precision == "fp32" else torch.float16
        with FeatureStore(dtype, memory_limit) as store:
            pipeline = extract(self.pipeline, samples, store, progress)
            if len(store) == 0:
                raise ValueError("fit: the training set is empty; at least one good part is needed")
            first = store[0]
            mappings = Mappings(first.tokens.shape[-1], first.centres.shape[-1], self.seed)
            with bar("training", epochs, show=progress) as step:
                self.losses = train(
                    mappings,
                    store,
                    self._used_rows,
                    epochs=epochs,
                    pixels_per_image=pixels_per_image,
                    batch_size=batch_size,
                    shuffle=shuffle,
                    seed=self.seed,
                    precision=self.pipeline.precision,
                    step=step,
                )
        self.pipeline, self.mappings = pipeline, mappings
        self.calibration = None
        return self

    def calibrate(
        self, samples: Iterable[Sample], false_reject_rate: float = 0.01, progress: bool = True
    ) -> float:
        """Set the thresholds from good parts that were not trained on.

        At most the asked share of further good parts is rejected, and at most that share gets any
        pixel marked, if they are exchangeable with these: made and seen in the same way. The share
        is that over many calibrations; docs/calibration.md says what one of them gives.

        Args:
            samples: good parts.
            false_reject_rate: in (0, 1); a rate of 1 / N needs at least N - 1 parts.
            progress: show a progress bar when on a terminal.

        Returns:
            The threshold of the score; it and all others are kept as ``detector.calibration``.

        Raises:
            ValueError: a defective part, a rate out of range, or too few parts for the rate.

        """
        count = parts_of(samples)
        if count is not None:  # before the work, not after it
            check_parts(count, false_reject_rate)
        scores, pixels, modalities = [], [], []
        with bar("calibrating", count, show=progress) as step:
            for sample in good_only(samples, "calibrate"):
                grid, window = self._predict(sample)
                highest, by_modality = peaks(grid, window)
                scores.append(grid.score)
                pixels.append(highest)
                modalities.append(by_modality)
                step()
        self.calibration = Calibration.of(false_reject_rate, scores, pixels, modalities)
        return self.calibration.threshold

    def predict(
        self,
        rgb: Array | Sequence[Array],
        xyz: Array | Sequence[Array],
        *,
        unit: str = "m",
        resolution: str = "input",
    ) -> Prediction | list[Prediction]:
        """Score one part, or a batch of them.

        Args:
            rgb: (H, W, 3) uint8, or float in [0, 1]; for a batch (B, H, W, 3) or a list.
            xyz: (H, W, 3) float in ``unit``; for a batch (B, H, W, 3) or a list. A pixel without
                a 3D point has a coordinate that is not finite, or zeros.
            unit: of ``xyz``, ``"m"`` or ``"mm"``.
            resolution: of the maps, ``"input"`` for the input's own pixels, ``"grid"`` for the
                (S, S) grid they are computed on, without mask and regions.

        Returns:
            One prediction, or a list for a batch. Maps are ``"2d"`` and ``"3d"``, the discrepancies
            before fusion, in [0, 2]; in preset "official" also ``"pixel_auroc"``, the scaling that
            its pixel AUROC is computed from.

        Raises:
            RuntimeError: not trained.
            TypeError, ValueError: see `cmad.preprocess.checked` and `cmad.preprocess.prepare`.

        """
        one_of("CFM", "resolution", resolution, ("input", "grid"))
        samples, single = as_samples(rgb, xyz, unit)
        predictions = []
        for sample in samples:
            prediction, window = self._predict(sample)
            if resolution == "input":
                prediction = on_input(prediction, window, sample.xyz, self.calibration)
            predictions.append(prediction)
        return predictions[0] if single else predictions

    def save(self, path: str | Path, include_extractors: bool = False) -> None:
        """Save the detector as a `.cmad` file.

        Args:
            path: of the file.
            include_extractors: store the frozen extractors' weights too; otherwise they are named
                with a hash and looked up when loading.

        Raises:
            RuntimeError: not trained.
            OSError: the file cannot be written; an existing one stays as it was.

        """
        mappings = self._trained()
        header, tensors = pipeline_to_file(self.pipeline, include_extractors)
        calibrated, scores = to_file(self.calibration)
        tensors |= {**mappings.state_dict(), **scores}
        header |= {
            "method": "CFM",
            "variant": self.variant,
            "preset": self.preset,
            "precision": self.precision,
            "seed": self.seed,
            **calibrated,
        }
        model_file.write(path, header, tensors)

    @classmethod
    def restore(
        cls,
        header: dict[str, object],
        tensors: dict[str, Tensor],
        *,
        rgb: RgbExtractor | None = None,
        xyz: XyzExtractor | None = None,
        device: str = "auto",
        cache: str | Path | None = None,
    ) -> "CFM":
        """Rebuild a detector from the contents of a `.cmad` file; `cmad.load` is the way in."""
        rgb, xyz = extractors_from_file(header, tensors, rgb, xyz)
        self = cls(
            preset=str(header["preset"]),
            rgb=rgb,
            xyz=xyz,
            image_size=int(cast(int, header["image_size"])),
            device=device,
            precision=str(header["precision"]),
            seed=int(cast(int, header["seed"])),
            cache=cache,
        )
        self.variant = str(header["variant"])
        self.load_mappings(
            model_file.prefixed(tensors, "CFM_2Dto3D."), model_file.prefixed(tensors, "CFM_3Dto2D.")
        )
        self.calibration = from_file(header, tensors)
        return self

    def load_mappings(
        self,
        cfm_2d_to_3d: Mapping[str, Tensor] | str | Path,
        cfm_3d_to_2d: Mapping[str, Tensor] | str | Path,
    ) -> "CFM":
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
        d2, d3 = self.pipeline.rgb.dim, self.pipeline.xyz.dim
        mappings = Mappings(d2, d3, self.seed)
        for network, state in (
            (mappings.CFM_2Dto3D, cfm_2d_to_3d),
            (mappings.CFM_3Dto2D, cfm_3d_to_2d),
        ):
            tensors = state if isinstance(state, Mapping) else weight_files.read(state)
            try:
                network.load_state_dict(tensors)
            except RuntimeError as error:
                said = " ".join(str(error).split())
                raise ValueError(
                    f"CFM: mapping weights must fit features {d2} and {d3} wide: {said}"
                ) from error
        self.mappings = mappings.eval()
        self.calibration = None
        return self

    def features(self, frame: Frame) -> Features:
        """Extract the features of a frame; see `cmad.pipeline.Pipeline.features`."""
        return self.pipeline.features(frame)

    def discrepancies(self, features: Features) -> tuple[Tensor, Tensor]:
        """Compute the modality maps psi_2D and psi_3D (CFM, equation 3).

        Args:
            features: of one frame.

        Returns:
            Two (S, S) float32 maps in [0, 2], zero beside the foreground.

        """
        mappings, size = self._trained(), features.image_size
        psi_2d, psi_3d = [], []
        for row in torch.split(torch.arange(len(features.weights.pixel)), CHUNK):
            e_2d, e_3d, used = rows(features, row, self.preset)
            with torch.inference_mode(), arithmetic(self.pipeline.precision):
                predicted_2d, predicted_3d = mappings(e_2d, e_3d)
            psi_2d.append(ops.discrepancy(predicted_2d.float(), e_2d)[0] * used)
            psi_3d.append(ops.discrepancy(predicted_3d.float(), e_3d)[0] * used)
        pixel = features.weights.pixel
        return (
            maps.on_grid(torch.cat(psi_2d), pixel, size),
            maps.on_grid(torch.cat(psi_3d), pixel, size),
        )

    def _predict(self, sample: Sample) -> tuple[Prediction, Window]:
        """Predict on the grid; also return where the input lies in it."""
        self._trained()
        features = self.pipeline.extract(sample)
        psi_2d, psi_3d = self.discrepancies(features)
        named = {"2d": psi_2d, "3d": psi_3d}
        fused = maps.fuse(psi_2d, psi_3d)
        if self.preset == "official":
            map_, named["pixel_auroc"], score = maps.official_map(fused)
        else:
            map_, score = maps.paper_map(fused)
        calibration = self.calibration
        prediction = Prediction(
            score=score,
            map=map_.numpy(),
            maps={k: v.numpy() for k, v in named.items()},
            threshold=self.threshold,
            p_value=None if calibration is None else calibration.p_value(score),
            name=sample.name,
        )
        return prediction, features.window

    def _used_rows(self, features: Features, row: Tensor | None) -> tuple[Tensor, Tensor]:
        e_2d, e_3d, used = rows(features, row, self.preset)
        return e_2d[used], e_3d[used]

    def _trained(self) -> Mappings:
        if self.mappings is None:
            raise RuntimeError("CFM: not trained yet; call fit, or load a model with cmad.load")
        return self.mappings
