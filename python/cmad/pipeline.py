"""Sample to features: joins preprocessing, the frozen extractors and their cache."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from itertools import chain
from typing import cast

import numpy as np
import torch
from torch import Tensor

from cmad import gpu, surface
from cmad.cache import Cache, digest, named, versions
from cmad.extractors import Extractor, RgbExtractor, XyzExtractor, modality_of
from cmad.foreground import CONSTANTS
from cmad.preprocess import Preprocessing, prepare, tell
from cmad.types import Features, Frame, Note, Points, Sample, Window

Known = Mapping[str, Sequence[Points]]
"""What 3D extractors make of some frames, by name, where that is known already."""


@dataclass(frozen=True)
class Pipeline:
    """Everything of a detector that is not learnt.

    With a cache, what was computed once is read again, bit for bit the same. Each stage is looked
    up by the content of what goes into it and by everything that decides its result: constants,
    configuration, a hash of the weights, statistics, precision, versions. So a part is found again
    under another name, from another file, or from no file at all; an image that was saved again
    with equal pixels, too; and what one method's extractor computed serves another method.
    """

    extractors: Mapping[str, Extractor]
    """By name; each takes the image or the points, by its kind."""
    preprocessing: Preprocessing
    precision: torch.dtype = torch.float32
    """Of the 2D extractors' and the networks' arithmetic, on a GPU also of the 3D extractors';
    results are float32."""
    cache: Cache | None = None
    """Keeps frames, features and statistics of the 3D extractors; None computes everything."""
    depth: bool = False
    """Whether features hold the frame's depth."""
    device: torch.device = gpu.CPU
    """Where the extractors are; frames are prepared on the CPU."""

    @property
    def of_images(self) -> dict[str, RgbExtractor]:
        """The extractors that take images, by name."""
        return {
            n: cast(RgbExtractor, e) for n, e in self.extractors.items() if modality_of(e) == "2d"
        }

    @property
    def of_points(self) -> dict[str, XyzExtractor]:
        """The extractors that take points, by name."""
        return {
            n: cast(XyzExtractor, e) for n, e in self.extractors.items() if modality_of(e) == "3d"
        }

    def dims(self) -> dict[str, int]:
        """Return the channels of a row of features, by modality."""
        dims: dict[str, int] = {}
        for extractor in self.extractors.values():
            modality = modality_of(extractor)
            dims[modality] = dims.get(modality, 0) + extractor.dim
        return dims

    def describe(self) -> dict[str, str]:
        """Say of each modality in one line what extracts its features."""
        said: dict[str, list[str]] = {}
        for extractor in self.extractors.values():
            said.setdefault(modality_of(extractor), []).append(extractor.describe())
        return {modality: "; ".join(lines) for modality, lines in said.items()}

    def brief(self) -> list[str]:
        """Name each extractor in a few words, and say where its weights are random."""
        said = [extractor.describe() for extractor in self.extractors.values()]
        drawn = " (random weights)"
        return [text.split(",")[0] + drawn * ("random weights" in text) for text in said]

    def frame(self, sample: Sample) -> Frame:
        """Prepare a sample, through the cache; see `cmad.preprocess.prepare`.

        An image or points that no extractor takes are not looked at.
        """
        if not self.of_images and sample.xyz is not None:
            sample = replace(sample, rgb=None)
        if not self.of_points and not self.depth and sample.rgb is not None:
            sample = replace(sample, xyz=None)
        arrays = [a for a in (sample.rgb, sample.xyz) if a is not None]
        if self.cache is None or not all(isinstance(a, np.ndarray | Tensor) for a in arrays):
            return prepare(sample, self.preprocessing)
        has = [a is not None for a in (sample.rgb, sample.xyz)]
        key = digest(*arrays, has, asdict(self.preprocessing), CONSTANTS, versions())
        kept = self.cache.get("frame", key)
        if kept is not None:
            frame = _frame(kept, sample.name)
            tell(frame)
            return frame
        frame = prepare(sample, self.preprocessing)
        self.cache.put("frame", key, _tensors(frame))
        return frame

    def features(self, frames: Sequence[Frame], known: Known | None = None) -> list[Features]:
        """Extract the features of frames, each extractor in one call, through the cache.

        Kept is what the extractors made, about 9 MB for 784 tokens of 768 and 1024 centres of 1152.

        Args:
            frames: see `frame`.
            known: what 3D extractors make of them, where that is known already.

        Returns:
            Float32 features of each frame, on the pipeline's device; of the modalities that the
            frame has. On a GPU both modalities are worked on at once, and nothing waits for it.

        """
        tokens: list[dict[str, Tensor]] = [{} for _ in frames]
        points: list[dict[str, Points]] = [{} for _ in frames]
        with_image = [i for i, frame in enumerate(frames) if frame.rgb is not None]
        with_cloud = [i for i, frame in enumerate(frames) if frame.xyz is not None]
        images = [cast(Tensor, frames[i].rgb) for i in with_image if self.of_images]
        clouds = self._clouds([frames[i] for i in with_cloud])
        there = gpu.upload([*images, *chain(*clouds.values())], self.device)
        images_there, rest = there[: len(images)], iter(there[len(images) :])
        clouds_there = {form: [next(rest) for _ in of_form] for form, of_form in clouds.items()}
        branch = gpu.Branch(self.device)
        # The points first: they take longer to begin, and the images' work is large.
        with branch.apart([*chain(*clouds_there.values())]):
            for name, xyz in self.of_points.items():
                given = None
                if known is not None and name in known:
                    given = [known[name][i] for i in with_cloud]
                form = _form(xyz)
                of_points = self._points(xyz, clouds[form], clouds_there[form], given)
                for i, cloud in zip(with_cloud, of_points, strict=True):
                    points[i][name] = cloud
        for name, rgb in self.of_images.items():
            for i, made in zip(with_image, self._tokens(rgb, images, images_there), strict=True):
                tokens[i][name] = made
        branch.join(t for own in points for made in own.values() for t in vars(made).values())
        return [
            Features(
                tokens=tokens[i],
                points=points[i],
                valid=frame.valid,
                region=frame.region,
                image_size=self.preprocessing.image_size,
                window=frame.window,
                name=frame.name,
                depth=frame.xyz[..., 2].contiguous()
                if self.depth and frame.xyz is not None
                else None,
                notes=frame.notes,
            )
            for i, frame in enumerate(frames)
        ]

    @property
    def takes_statistics(self) -> bool:
        """Whether a 3D extractor has something to learn from training clouds."""
        return any(xyz.takes_statistics for xyz in self.of_points.values())

    def with_statistics(self, frames: Sequence[Frame]) -> tuple["Pipeline", Known]:
        """Take the statistics of the 3D extractors from training frames, through the cache.

        Args:
            frames: of good parts, one or more.

        Returns:
            The pipeline with these statistics in copies of its 3D extractors, and what these make
            of each frame where it came for free.

        """
        of_forms = self._clouds(frames)
        extractors, known = dict(self.extractors), {}
        for name, xyz in self.of_points.items():
            if not xyz.takes_statistics:
                continue
            clouds = of_forms[_form(xyz)]
            extractors[name] = own = copy.deepcopy(xyz)
            kept, key = None, ""
            if self.cache is not None:
                key = digest(*clouds, xyz.config(), xyz.fingerprint(), versions())
                kept = self.cache.get("statistics", key)
            if kept is not None:
                own.load_statistics(kept)
                continue
            made = own.fit(gpu.upload(clouds, self.device))
            if made is not None:
                known[name] = made
            if self.cache is not None:
                self.cache.put("statistics", key, own.statistics)
        return replace(self, extractors=extractors), known

    def _clouds(self, frames: Sequence[Frame]) -> dict[str, list[Tensor]]:
        """Return the clouds in each form that an extractor takes."""
        forms = {_form(xyz) for xyz in self.of_points.values()}
        return {form: [_cloud(form, frame) for frame in frames] for form in sorted(forms)}

    def _tokens(
        self, rgb: RgbExtractor, images: Sequence[Tensor], there: Sequence[Tensor]
    ) -> list[Tensor]:
        """Tokens (h, w, D) of each image, those that the cache lacks in one call."""
        found: list[Tensor | None] = [None] * len(images)
        keys = [""] * len(images)
        if self.cache is not None:
            what = rgb.config(), rgb.fingerprint(), self._arithmetic(self.precision), versions()
            keys = [digest(image, *what) for image in images]
            found = self._uploaded(
                [(self.cache.get("tokens", key) or {}).get("tokens") for key in keys]
            )
        todo = [i for i, made in enumerate(found) if made is None]
        if todo:
            with torch.inference_mode(), arithmetic(self.precision, self.device):
                made = rgb.tokens(torch.stack([there[i] for i in todo])).float()
            for i, one in zip(todo, made.permute(0, 2, 3, 1), strict=True):
                found[i] = kept = one.clone(memory_format=torch.contiguous_format)
                if self.cache is not None:
                    self.cache.put("tokens", keys[i], {"tokens": kept})
        return cast("list[Tensor]", found)

    def _points(
        self,
        xyz: XyzExtractor,
        clouds: Sequence[Tensor],
        there: Sequence[Tensor],
        known: Sequence[Points] | None,
    ) -> list[Points]:
        """Features of each cloud, those that the cache lacks in one call."""
        found: list[Points | None] = [None] * len(clouds)
        keys = [""] * len(clouds)
        # On a CPU half precision gains nothing here.
        precision = torch.float32 if self.device.type == "cpu" else self.precision
        if self.cache is not None:
            what = xyz.config(), xyz.fingerprint(), *named(xyz.statistics), versions()
            if self.device.type != "cpu":
                what = *what, self._arithmetic(precision)
            keys = [digest(cloud, *what) for cloud in clouds]
            kept = [self.cache.get("points", key) for key in keys]
            found = [None if k is None else self._placed(Points(**k)) for k in kept]
        todo = [i for i, made in enumerate(found) if made is None]
        if todo:
            given = None if known is None else [known[i] for i in todo]
            if given is None:
                with arithmetic(precision, self.device):
                    given = xyz.batch([there[i] for i in todo])
            for i, made in zip(todo, given, strict=True):
                found[i] = made
                if self.cache is not None:
                    self.cache.put("points", keys[i], dict(vars(made)))
        return cast("list[Points]", found)

    @property
    def arithmetic(self) -> str:
        """What the last digits of scores depend on."""
        return arithmetic_of(self.precision, self.device)

    def _arithmetic(self, precision: torch.dtype) -> str:
        """Name what a result's last digits depend on, for the cache."""
        return str(precision) if self.device.type == "cpu" else f"{precision} {self.device.type}"

    def _uploaded(self, kept: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Bring what the cache had to the device."""
        there = iter(gpu.upload([tensor for tensor in kept if tensor is not None], self.device))
        return [None if tensor is None else next(there) for tensor in kept]

    def _placed(self, points: Points) -> Points:
        """Likewise, of points."""
        fields = vars(points)
        return Points(**dict(zip(fields, gpu.upload([*fields.values()], self.device), strict=True)))


def _tensors(frame: Frame) -> dict[str, Tensor]:
    """Turn a frame, but its name, into what a cache stores."""
    tensors = {n: getattr(frame, n) for n in ("rgb", "xyz", "valid", "region", "filled")}
    notes = json.dumps([astuple(note) for note in frame.notes]).encode()
    return {
        **{name: tensor for name, tensor in tensors.items() if tensor is not None},
        "window": torch.tensor(astuple(frame.window)),
        "plane": torch.tensor(frame.plane or (), dtype=torch.float64),
        "notes": torch.tensor(list(notes), dtype=torch.uint8),
    }


def _frame(stored: Mapping[str, Tensor], name: str) -> Frame:
    """Undo `_tensors`."""
    return Frame(
        rgb=stored.get("rgb"),
        xyz=stored.get("xyz"),
        valid=stored.get("valid"),
        window=Window(*stored["window"].tolist()),
        name=name,
        plane=tuple(stored["plane"].tolist()) or None,
        notes=tuple(Note(*note) for note in json.loads(bytes(stored["notes"].tolist()))),
        region=stored.get("region"),
        filled=stored.get("filled"),
    )


def _form(extractor: XyzExtractor) -> str:
    """Tell in which form an extractor takes clouds; a user's own may not say."""
    if not getattr(extractor, "organised", False):
        return "points"
    return "grid and heights" if getattr(extractor, "heights", False) else "grid"


def _cloud(form: str, frame: Frame) -> Tensor:
    """Return the valid points, (N, 3), or their grid, (S, S, 3), or that with heights, (S, S, 4).

    Grids are NaN where there is no valid point.
    """
    assert frame.xyz is not None  # asked for frames with points only
    assert frame.valid is not None
    if form == "points":
        return frame.xyz[frame.valid]
    grid = torch.where(frame.valid[..., None], frame.xyz, torch.nan)
    if form == "grid":
        return grid
    height = surface.heights(frame.xyz, frame.valid, frame.plane)
    return torch.cat([grid, height[..., None]], -1)


def arithmetic_of(precision: torch.dtype, device: torch.device) -> str:
    """Name a type and a device, such as ``"float16 on cuda"``."""
    return f"{str(precision).removeprefix('torch.')} on {device.type}"


def arithmetic(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """Return the context that networks run in: autocast to half precision, nothing for float32."""
    return torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32)
