"""The shell: everything of a detector that is not its method."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import torch
from torch import Tensor
from typing_extensions import Self

from cmad import gpu, model_file, notices, rasters
from cmad.background import Background
from cmad.cache import Cache
from cmad.calibrate import Calibration, Parts, check_parts, from_file, to_file
from cmad.card import Card, Seen, Timing, courses
from cmad.checkpoint import Checkpoint
from cmad.curves import Curves
from cmad.detectors._extraction import content, extract, extract_defective, extract_held_out
from cmad.detectors._fusing import RULES, Fusion
from cmad.detectors._inputs import (
    PRECISIONS,
    VARIANTS,
    device_of,
    good_only,
    in_metres,
    named_extractors,
    on_device,
    one_of,
    options_of,
    parts_of,
    precision_of,
    whole,
)
from cmad.detectors._outputs import peaks
from cmad.detectors._parameters import changed, parameters
from cmad.detectors._saving import (
    as_arguments,
    calibrated_in,
    decisive,
    extractors_from_file,
    licences,
    pipeline_to_file,
)
from cmad.detectors._unlike import compared
from cmad.detectors.judging import Judge, joined
from cmad.detectors.method import complete
from cmad.extractors import Extractor, RgbExtractor, XyzExtractor
from cmad.maps import Scaling
from cmad.pipeline import Pipeline
from cmad.preprocess import Preprocessing
from cmad.presets import PRESETS, Grouping, Preset
from cmad.progress import bar
from cmad.ranges import Ranges, levels
from cmad.reprs import short
from cmad.store import FeatureStore
from cmad.types import Frame, Sample
from cmad.units import Units


class Detector(Judge):
    """A detector of anomalies: learns from good parts, judges others.

    Args:
        variant: ``"full"``, ``"medium"``, ``"small"`` or ``"tiny"``: extractors pruned after block
            12, 8, 4 or 1 (CFM, section 3.4). For extractors given by name.
        preset: ``"paper"`` follows the papers' text, ``"official"`` the published code;
            docs/decisions/presets.md lists the differences.
        rgb: name of a vision transformer or a convolutional network of timm, or a 2D extractor such
            as `cmad.extractors.ViT`. None takes the method's usual one.
        xyz: ``"point_mae"``, ``"fpfh"``, ``"normals"``, ``"depth"``, ``"geometry"``,
            ``"depth_blocks"``, or a 3D extractor such as `cmad.extractors.PointMAE`; or several, as
            a list or joined by a plus, ``"fpfh+normals"`` (docs/surfaces.md). None takes the
            method's usual one.
        image_size: S, pixels along each side of the grid that maps are computed on.
        rgb_size: R, pixels along each side of the images that a 2D extractor given by name takes;
            None takes S; AST's usual one takes 768.
        weights: None loads pretrained weights (`CMAD_WEIGHTS`, else downloaded once); ``"random"``
            draws seeded ones, for tests and timing. For extractors given by name.
        rgb_weights: of the 2D extractor alone, ``"random"``; None is as ``weights`` says.
        xyz_weights: of the 3D extractor alone, likewise: a real ViT beside a random Point-MAE.
        device: ``"cpu"``, or ``"cuda"`` for the GPU that torch works on (docs/gpu.md). ``"auto"``
            is the CPU.
        precision: of the 2D extractor and the method's networks, on a GPU also of the 3D extractor,
            ``"fp32"``, ``"fp16"`` or ``"bf16"``. ``"auto"`` is fp32 arithmetic on the CPU and fp16
            on a GPU, with training features kept in half precision.
        seed: of everything random: initial weights, order, draws, random extractor weights, the
            background plane.
        background: what is not the part: ``"plane"``, the one that the outermost points lie on,
            with all within 5 mm of it; a distance in metres from it instead; a known plane
            (a, b, c, d) with a x + b y + c z + d = 0, metres; a region of interest, as a polygon
            (K, 2) of columns and rows or a mask (H, W) in pixels of the input; ``"none"``, every
            point is the part's. See `cmad.background.Background.of` and docs/looked-at.md.
        gaps: pixels of the part without a point: ``"zero"``, they are no anomaly, as in the papers;
            ``"filled"``, those inside the part's closed outline, holes and rims, get a point
            interpolated from their neighbours and are judged like the others (docs/surfaces.md).
        fuse: of several 3D extractors the maps are multiplied, ``"product"``, or added, each in its
            deviations over held-out good parts, ``"sum"``.
        cache: folder that prepared frames and features of every part are kept in, also those of
            `predict`, to be read where the same part comes again: some 10 MB a part, never evicted
            (`cmad.cache.Cache`). None keeps nothing. Not saved with the model.
        options: the method's own, see its class.

    Raises:
        ValueError: an option is out of range.
        TypeError: the method has no such option, or an extractor is none.
        RuntimeError: weights, an extra, or a device that are not available.

    """

    def __init_subclass__(cls) -> None:
        """Show the method's options in the class's signature, so that help() names them."""
        super().__init_subclass__()
        shared = [
            p.replace(default=cls.usual.get(p.name, p.default))
            for p in list(inspect.signature(Detector.__init__).parameters.values())[1:-1]
        ]
        own = [
            inspect.Parameter(
                f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type
            )
            for f in fields(cls.Options)
        ]
        cls.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]

    def __init__(
        self,
        variant: str = "full",
        preset: str = "paper",
        rgb: str | RgbExtractor | None = None,
        xyz: str | XyzExtractor | Sequence[str | XyzExtractor] | None = None,
        image_size: int = 224,
        rgb_size: int | None = None,
        weights: str | None = None,
        rgb_weights: str | None = None,
        xyz_weights: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        seed: int = 0,
        background: object = "plane",
        gaps: str = "zero",
        fuse: str = "product",
        cache: str | Path | None = None,
        **options: object,
    ) -> None:
        """Make an untrained detector; the arguments are described with the class."""
        rgb = self.usual["rgb"] if rgb is None else rgb
        xyz = self.usual["xyz"] if xyz is None else xyz
        given = {name: value for name, value in locals().items() if name not in ("self", "options")}
        who = self.who
        one_of(who, "variant", variant, VARIANTS)
        one_of(who, "preset", preset, PRESETS)
        one_of(who, "precision", precision, ("auto", *PRECISIONS))
        one_of(who, "gaps", gaps, ("zero", "filled"))
        one_of(who, "fuse", fuse, RULES)
        of_both, own = {"weights": weights}, {"rgb": rgb_weights, "xyz": xyz_weights}
        for name, choice in (of_both | {f"{n}_weights": w for n, w in own.items()}).items():
            one_of(who, name, choice, (None, "random"), "; CMAD_WEIGHTS names a folder of weights")
        seed = whole(who, "seed", seed, 0)
        image_size = whole(who, "image_size", image_size, 1)
        if rgb_size is None:
            is_usual = isinstance(rgb, str) and rgb == self.usual["rgb"]
            rgb_size = (is_usual and self.usual_rgb_size) or image_size
        rgb_size = whole(who, "rgb_size", rgb_size, 1)
        self.variant, self.preset, self.precision, self.seed = variant, preset, precision, seed
        self.choices: Preset = PRESETS[preset]
        """Of the preset, stage by stage."""
        self.options: Any = options_of(who, self.Options, options, "option")
        """The method's own."""
        self._given = parameters({**given, **options}, self.Options)
        self.device = device_of(who, device)
        whole_scene = self.sees_background and isinstance(background, str) and background == "plane"
        beside = Background.of("none" if whole_scene else background)
        extractors = named_extractors(
            who,
            rgb,
            xyz,
            modalities=self.modalities,
            variant=variant,
            grouping=self.grouping,
            standardised=self.standardised,
            from_corners=whole_scene,
            rgb_size=rgb_size,
            weights=weights,
            own_weights=own,
            seed=seed,
        )
        extractors = {n: on_device(e, self.device) for n, e in extractors.items()}
        if "rgb" in extractors:
            rgb_size = cast(RgbExtractor, extractors["rgb"]).image_size
        self.pipeline = Pipeline(
            extractors,
            Preprocessing(
                image_size, rgb_size, self.choices.preparation, seed, beside, gaps == "filled"
            ),
            precision_of(precision, self.device),
            None if cache is None else Cache(cache),
            device=self.device,
        )
        if not (beside == Background() or beside.is_region or self.pipeline.of_points):
            raise ValueError(
                f"{who}: background is found in 3D points, which it does not look at; pass a "
                "region of interest"
            )
        if len(names := list(self.pipeline.of_points)) > 1:
            alike = {n: given[n] for n in ("preset", "image_size", "device", "precision", "seed")}
            alike |= {"background": background, "gaps": gaps, **options}
            of_image = extractors.get("rgb", rgb)
            self.fusion = Fusion(
                {n: type(self)(rgb=of_image, xyz=extractors[n], **alike) for n in names},  # type: ignore[arg-type]
                fuse,
            )
        self.losses: list[tuple[float, ...]] = []
        """Of each training step, by modality; empty for a method that does not descend."""
        self.curves = Curves()
        """Of each epoch the mean losses, by name, and with ``validation`` those of held-out parts;
        saved with the model."""
        self.stopped: Mapping[int, Mapping[str, Tensor]] = {}
        """What `fit` would have learnt in fewer epochs, of those in ``stops``; not saved."""
        self.calibrations: dict[str, Calibration] = {}
        """By the modalities that a part is judged by, such as ``"2d+3d"``: thresholds and scores
        of good parts; empty before `calibrate`."""
        self.calibrated_in = self.pipeline.arithmetic
        """Type and device that these were computed with, such as ``"float32 on cpu"``."""
        self.trained_on: frozenset[str] = frozenset()
        """Digests of the parts that `fit` saw; empty where that is not known."""
        self.units = Units()
        """What the cameras and files of the parts are in: what `fit` was told, or what is set here
        afterwards, such as the camera of a folder of depth images. `predict` and `cmad score` take
        it where they are told nothing else; saved with the model."""
        self.ranges: Ranges | None = None
        """What these looked like, which other parts are compared with; None where not known."""
        self.card = Card()
        """What it was trained and calibrated on, how long a part takes; saved with the model."""

    def __repr__(self) -> str:
        """What it is made of and whether it is trained and calibrated, in one line."""
        fitted = "fitted" if self.way.tensors() else "not fitted"
        rate = self.false_reject_rate
        calibrated = "" if rate is None else f"calibrated at {rate:g}"
        words = self.variant, f"preset {self.preset}", *self.pipeline.brief(), fitted, calibrated
        return short(self, "", *words)

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return what the detector was made with, by name, as scikit-learn's estimators do.

        ``type(detector)(**detector.get_params())`` and ``sklearn.base.clone(detector)`` make an
        untrained one like it. A loaded detector names the extractors that it has as objects.

        Args:
            deep: makes no difference: no parameter has parameters of its own.

        """
        return dict(self._given)

    def set_params(self, **params: object) -> Self:
        """Change what the detector is made with; what it has learnt is forgotten.

        Args:
            params: see the class; those that are not named stay as they are.

        Returns:
            The detector itself, untrained, or as it was where nothing is named.

        Raises:
            ValueError: no such parameter (says which there are), or a value out of range; the
                detector stays as it was.
            TypeError, RuntimeError: see the class; likewise.

        """
        if params:
            fresh = type(self)(**changed(self.who, self._given, params))  # type: ignore[arg-type]
            self.__dict__ = fresh.__dict__
        return self

    def compile(self) -> Self:
        """Run the extractors' networks as CUDA graphs from here on: one launch instead of hundreds.

        For each number of parts that are judged together, the first `cmad.gpu.WARM` calls run as
        before, then a graph is captured and compared with them; where that fails, a warning says
        so, and they go on as before. Each graph takes memory of its own. On the CPU, and for
        extractors that have no ``compile``, nothing changes.

        Returns:
            The detector itself.

        """
        if self.device.type != "cpu":
            for extractor in self.pipeline.extractors.values():
                if hasattr(extractor, "compile"):
                    extractor.compile()
        return self

    @property
    def scaling(self) -> Scaling:
        """How maps are smoothed."""
        return self.choices.scaling

    @property
    def grouping(self) -> Grouping:
        """How Point-MAE, given by name, groups points."""
        return self.choices.grouping

    @notices.run()
    def fit(
        self,
        samples: Iterable[Sample],
        *,
        unit: str = "m",
        progress: bool = True,
        memory_limit: int = 4 << 30,
        checkpoint: str | Path | Checkpoint | None = None,
        validation: Iterable[Sample] | None = None,
        **training: object,
    ) -> Self:
        """Learn from good parts. Where it fails the detector stays as it was.

        The frozen extractors run once per part; whatever the method does with their features works
        on kept ones (docs/training.md has the figures).

        Args:
            samples: good parts; iterated once.
            unit: of their ``xyz``, ``"m"`` or ``"mm"``; `predict` takes it for its own. The data
                sets of `cmad.datasets` yield metres, whatever their files are in.
            progress: show how far it is, see `cmad.progress.bar`.
            memory_limit: bytes of features kept in memory; the rest goes to a temporary folder.
            checkpoint: file that a training by epochs (CFM's) keeps its state in; where it is
                stopped, the same call goes on with the epoch that it was in, to the same detector
                (docs/training.md). The file is deleted at the end, unless it is passed as a
                `cmad.checkpoint.Checkpoint`. None keeps nothing.
            validation: good parts that nothing is learnt from, whose loss is in ``curves``; the
                detector is the same with and without them. In ``unit``.
            training: the method's own arguments, see its class.

        Returns:
            The detector itself; a calibration is forgotten.

        Raises:
            ValueError: no samples, a defective one, or one that cannot be prepared (named); the
                checkpoint is damaged, or of other parts, options or versions (says which).
            TypeError: the method has no such argument.
            OSError: the checkpoint cannot be read, or its folder not be written to.

        """
        units = Units(unit)
        asked: Any = options_of(f"{self.who}.fit", self.Training, training, "argument")
        dtype = torch.float32 if self.precision == "fp32" else torch.float16
        learning = gpu.CPU if self.learns_on_cpu else self.device
        own = not isinstance(checkpoint, Checkpoint)
        kept = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
        kept.open(decisive(self, asked))  # before the work
        with FeatureStore(dtype, memory_limit, learning) as store, kept, ExitStack() as stack:
            good = complete(self, in_metres(good_only(samples, "fit"), unit))
            seen: list[str] = []
            frames: list[Frame] | None = [] if self.from_defects else None
            count = parts_of(samples)
            pipeline, ranges = extract(self.pipeline, good, store, count, progress, seen, frames)
            if len(store) == 0:
                raise ValueError("fit: the training set is empty; at least one good part is needed")
            if validation is not None:
                beside = complete(self, in_metres(good_only(validation, "fit"), unit))
                store.held_out = FeatureStore(dtype, memory_limit, learning)
                held_out = stack.enter_context(store.held_out)
                extract_held_out(pipeline, beside, held_out, parts_of(validation), progress)
            kept.of_parts(seen)
            if frames:
                extract_defective(pipeline, self.defective(frames, asked), store, progress)
            # Also where the caller has switched gradients off.
            with torch.inference_mode(False), torch.enable_grad():
                learnt = self.way.learn(store, asked, progress, kept)
            before, self.pipeline = self.pipeline, pipeline
            try:
                self._accept(learnt.tensors, seen, ranges)
            except BaseException:  # Ctrl-C too: other statistics would spoil what was learnt before
                self.pipeline = before
                raise
        if own:
            kept.remove()
        self.losses, self.units, self.curves = list(learnt.losses), units, learnt.curves
        self.stopped = learnt.stops
        trained = Seen.now(len(seen), samples)
        self.card = Card(trained, asdict(asked), losses=courses(self.curves))
        return self

    @notices.run()
    def calibrate(
        self,
        samples: Iterable[Sample],
        false_reject_rate: float = 0.01,
        progress: bool = True,
        *,
        unit: str = "m",
        bad: list[tuple[str, str]] | None = None,
    ) -> float:
        """Set the thresholds from good parts that were not trained on.

        At most the asked share of further good parts is rejected, and at most that share gets any
        pixel marked, if they are exchangeable with these: made and seen in the same way. The share
        is that over many calibrations; docs/calibration.md says what one of them gives. A method
        that can judge a part with a modality missing gets thresholds for that, too.

        Args:
            samples: good parts, with all modalities that the method looks at.
            false_reject_rate: in (0, 1); a rate of 1 / N needs at least N - 1 parts.
            progress: show how far it is, see `cmad.progress.bar`.
            unit: of the samples' ``xyz``, ``"m"`` or ``"mm"``, as in `fit`.
            bad: takes name and reason of each part that cannot be scored, which is left out; None
                raises at the first.

        Returns:
            The threshold of the score; it and all others are kept as ``detector.calibrations``.

        Raises:
            ValueError: a defective part, one that was trained on, copies of one part, scores that
                repeat, a rate out of range, or too few parts for the rate; the detector keeps the
                calibration that it had.

        """
        self._trained()
        unit = Units(unit).unit
        count = parts_of(samples)
        if count is not None:  # before the work, not after it
            check_parts(count, false_reject_rate)
        ways = (self.modalities, *self.fallbacks)
        seen: dict[str, list[Any]] = {joined(w): [] for w in ways}
        parts = Parts(self.trained_on)
        seconds: list[float] = []
        with bar("calibrating", count, show=progress) as step:
            for sample in complete(self, in_metres(good_only(samples, "calibrate"), unit)):
                begin = perf_counter()
                try:
                    frame = compared(self.pipeline, self.ranges, sample, strict=False)
                    [features] = self.pipeline.features([frame])
                    features = replace(features, levels=levels(frame))
                    grids = [self.judge(rasters.only(features, ways[0]))]
                    seconds.append(perf_counter() - begin)
                    grids += [self.judge(rasters.only(features, way)) for way in ways[1:]]
                except ValueError as error:
                    if bad is None:
                        raise
                    named = sample.name or "a part"
                    bad.append((named, str(error).removeprefix(f"{named}: ")))
                else:
                    parts.add(content(frame), sample.name)
                    parts.scored(grids[0].score)
                    for way, grid in zip(ways, grids, strict=True):
                        seen[joined(way)].append((grid.score, *peaks(grid), grid.levels))
                step()
        check_parts(len(seen[joined(self.modalities)]), false_reject_rate)
        parts.check_scores()
        self.calibrations = {
            way: Calibration.of(false_reject_rate, *zip(*of_parts, strict=True))
            for way, of_parts in seen.items()
        }
        self.calibrated_in = self.pipeline.arithmetic
        timing = Timing.of(seconds) if self.pipeline.cache is None else None
        calibrated = Seen.now(len(seen[joined(self.modalities)]), samples)
        self.card = replace(self.card, calibrated=calibrated, timing=timing)
        return self.calibrations[joined(self.modalities)].threshold

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
        self._trained()
        learnt = {f"learnt.{name}": tensor for name, tensor in self.way.tensors().items()}
        header, tensors = pipeline_to_file(self.pipeline, include_extractors)
        calibrated, scores = to_file(self.calibrations)
        header |= {
            "method": self.who,
            "options": asdict(self.options),
            "variant": self.variant,
            "preset": self.preset,
            "image_size": self.pipeline.preprocessing.image_size,
            "precision": self.precision,
            "calibrated_in": self.calibrated_in,
            "seed": self.seed,
            "background": asdict(self.pipeline.preprocessing.background),
            "gaps": "filled" if self.pipeline.preprocessing.fill else "zero",
            "fuse": "product" if self.fusion is None else self.fusion.rule,
            "trained_on": sorted(self.trained_on),
            "units": asdict(self.units),
            "ranges": None if self.ranges is None else self.ranges.to_file(),
            "card": replace(self.card, licences=licences(self.pipeline)).to_file(),
            **calibrated,
        }
        model_file.write(path, header, {**tensors, **learnt, **scores, **self.curves.to_file()})

    @classmethod
    def restore(
        cls,
        header: Mapping[str, object],
        tensors: Mapping[str, Tensor],
        *,
        extractors: Mapping[str, Extractor | None],
        device: str = "auto",
        cache: str | Path | None = None,
    ) -> Self:
        """Rebuild a detector from the contents of a `.cmad` file; `cmad.load` is the way in."""
        found = extractors_from_file(header, tensors, extractors)
        self = cls(
            preset=str(header["preset"]),
            image_size=cast(int, header["image_size"]),
            device=device,
            precision=str(header["precision"]),
            seed=cast(int, header["seed"]),
            background=Background.load(cast("dict[str, Any]", header["background"])),
            gaps=str(header.get("gaps", "zero")),  # older files have none
            fuse=str(header.get("fuse", "sum")),  # likewise, and add
            cache=cache,
            **as_arguments(found),  # type: ignore[arg-type]
            **cast("dict[str, Any]", header["options"]),
        )
        self.variant = str(header["variant"])
        seen = cast("list[str]", header["trained_on"])
        ranges = cast("dict[str, Any] | None", header.get("ranges"))  # older files have none
        known = None if ranges is None else Ranges.from_file(ranges)
        self._accept(model_file.prefixed(tensors, "learnt."), seen, known)
        self.calibrations = from_file(header, tensors)
        self.calibrated_in = calibrated_in(header, self.pipeline.arithmetic)
        # Files of before there were others are in metres.
        self.units = Units(**cast("dict[str, Any]", header.get("units", {})))
        self.card = Card.from_file(header.get("card"))
        self.curves = Curves.from_file(tensors)
        return self

    def _accept(
        self,
        tensors: Mapping[str, Tensor],
        trained_on: Iterable[str] = (),
        ranges: Ranges | None = None,
    ) -> None:
        """Take over what was learnt; a calibration of something else is forgotten."""
        self.way.take(tensors)
        self.calibrations, self.trained_on, self.ranges = {}, frozenset(trained_on), ranges
        self.card, self.curves = Card(), Curves()
