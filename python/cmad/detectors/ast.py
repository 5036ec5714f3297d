"""AST: asymmetric student-teacher networks (Rudolph et al., WACV 2023).

docs/methods/ast.md goes through it equation by equation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad import gpu
from cmad.checkpoint import Checkpoint
from cmad.detectors._ast_training import Training, train
from cmad.detectors._inputs import one_of, whole
from cmad.detectors.detector import Detector
from cmad.detectors.method import Learnt
from cmad.extractors import DepthBlocks
from cmad.extractors.depth_blocks import BLOCK, soft_mask
from cmad.model_file import prefixed
from cmad.nn.flow import Teacher
from cmad.nn.student import Student, distances
from cmad.pipeline import arithmetic
from cmad.progress import bar
from cmad.rasters import Raster, only, rows
from cmad.store import FeatureStore
from cmad.types import Features, GridMaps


@dataclass(frozen=True)
class Options:
    """AST's own options."""

    teacher_width: int = 64
    """Channels between the convolutions of a coupling block."""
    student_width: int = 1024
    """Channels of the student's residual blocks."""
    score: str = "max"
    """``"max"``, the map's largest value, or ``"mean"``, its mean over the whole image."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("teacher_width", "student_width"):
            object.__setattr__(self, name, whole("AST", name, getattr(self, name), 1))
        one_of("AST", "score", self.score, ("max", "mean"))


class AST(Detector):
    """Anomaly detection by what a student cannot predict of an invertible teacher.

    Features of the image and of the depth are one map. The teacher, a normalising flow, learns to
    turn that of good parts into normally distributed numbers; the student, an ordinary network, to
    predict these. Where a part is unlike all good ones the flow, which must stay invertible, goes
    on elsewhere than the student.

    A map is the mean squared difference of both over the channels, on the part and half a cell
    around it. Each of the flow's channels comes from one of the input: ``"2d"`` and ``"3d"`` are
    the shares of those of colour and of shape, and add up to it where it is not enlarged.

    Takes ``rgb="tf_efficientnet_b5.aa_in1k"``, on images of 768 pixels unless ``rgb_size`` says
    otherwise, and ``xyz="depth_blocks"`` where nothing else is asked for. Options:
    ``teacher_width=64`` and ``student_width=1024``, channels of the networks; ``score="max"``, or
    ``"mean"``. The others are those of `Detector`; in preset "official" ``background="plane"``
    finds the part as AST does, see docs/methods/ast.md.

    `fit` takes, beside what it takes for all methods: ``epochs=72``, of the student;
    ``teacher_epochs=None``, as many; ``batch_size=8``, parts per optimiser step;
    ``learning_rate=2e-4``. The teacher computes in float32, and the student learns in it, whatever
    ``precision`` is.
    """

    Options = Options
    Training = Training
    usual: ClassVar[Mapping[str, str]] = {
        "rgb": "tf_efficientnet_b5.aa_in1k",
        "xyz": "depth_blocks",
    }
    usual_rgb_size = 768
    why_all = "its networks look at both together"
    networks: tuple[Teacher, Student] | None = None
    """Teacher and student; None before `fit`."""

    def __init__(self, *args: object, **options: object) -> None:
        """Make an untrained detector."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        for xyz in self.pipeline.of_points.values():
            if isinstance(xyz, DepthBlocks) and xyz.grid != (self.cells,) * 2:
                raise ValueError(
                    "AST: xyz must have as many cells along each side as rgb has tokens, "
                    f"{self.cells}, got {xyz.grid[0]}"
                )

    @property
    def sees_background(self) -> bool:
        """In preset "official": the part is what stands out of the surface through the corners."""
        return self.choices.published_ast

    @property
    def cells(self) -> int:
        """Cells of the map along each side: the tokens of the 2D extractor."""
        return max(self.pipeline.of_images["rgb"].grid)

    @property
    def channels(self) -> dict[str, int]:
        """Channels of the networks' input, by modality."""
        dims = self.pipeline.dims()
        masked = sum(isinstance(xyz, DepthBlocks) for xyz in self.pipeline.of_points.values())
        return {"2d": dims["2d"], "3d": dims["3d"] - masked}

    def learn(
        self, store: FeatureStore, training: object, progress: bool, checkpoint: Checkpoint
    ) -> Learnt:
        """Train the teacher, then the student; see `cmad.detectors._ast_training.train`."""
        how = cast(Training, training)
        teacher, student = self._untrained()
        count = how.of_teacher + how.epochs
        with bar("training", count, done=checkpoint.epoch, show=progress) as step:
            losses, curves = train(
                teacher,
                student,
                store,
                self.inputs,
                how,
                seed=self.seed,
                step=step,
                checkpoint=checkpoint,
            )
        return Learnt(_state(teacher, student), losses, curves=curves)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights of both networks, in the published names."""
        return {} if self.networks is None else _state(*self.networks)

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the weights of both networks."""
        teacher, student = self._untrained()
        for name, net in (("teacher", teacher), ("student", student)):
            try:
                net.load_state_dict(prefixed(tensors, f"{name}."))
            except RuntimeError as error:
                said = " ".join(str(error).split())
                raise ValueError(
                    f"AST: weights must fit features {self.channels['2d']} and "
                    f"{self.channels['3d']} wide: {said}"
                ) from error
        self.networks = teacher.eval(), student.eval()

    def maps(self, features: Features) -> GridMaps:
        """Compare student and teacher on a part (AST, section 3.3)."""
        assert self.networks is not None  # the shell asks no untrained method
        teacher, student = self.networks
        x, mask = self.inputs(features)
        with torch.inference_mode():
            z, _ = teacher(x[None])
            with arithmetic(self._precision, self.device):
                predicted = student(x[None])
            apart = distances(z, predicted.float(), mask[None])[0]
        colour = teacher.source < self.channels["2d"]
        shares = [(apart[of].sum(0) / len(apart)) for of in (colour, ~colour)]
        twice = self.choices.published_ast
        _, score = scored(apart.mean(0), mask, BLOCK, twice=twice)
        total, *shown = (
            _enlarged(each * mask[0] if twice else each, features.image_size).clamp_min(0)
            for each in (apart.mean(0), *shares)
        )
        value, map_, *named = gpu.download([score[self.options.score], total, *shown])
        return GridMaps(
            score=float(value),
            map=map_.numpy(),
            maps={m: grid.numpy() for m, grid in zip(self.modalities, named, strict=True)},
            modalities=self.modalities,
            window=features.window,
            name=features.name,
            raw=map_.numpy(),
        )

    def inputs(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return the networks' input of a part.

        Args:
            features: of one frame.

        Returns:
            (C, h, w) float32, channels of the image before those of the points; and how much of
            each cell is the part, (1, h, w) float32 in [0, 1].

        """
        size = self.cells
        raster = Raster(size, self.choices.smoothing)
        cell = torch.arange(size**2, device=features.device)
        colour = rows(only(features, ("2d",)), raster, cell)["2d"]
        [(name, xyz)] = self.pipeline.of_points.items()
        if isinstance(xyz, DepthBlocks):
            block = features.points[name].features.float()
            shape, mask = block[:, :-1], block[:, -1:]
        else:
            shape = rows(only(features, ("3d",)), raster, cell)["3d"]
            assert features.valid is not None  # points are of the valid pixels
            [valid] = gpu.upload([features.valid], features.device)
            mask = soft_mask(valid, size).view(-1, 1)
        x = torch.cat([colour, shape], 1)
        return x.T.reshape(-1, size, size), mask.T.reshape(1, size, size)

    @property
    def _precision(self) -> torch.dtype:
        """Of the student's predictions; a CPU has nothing to gain from float16."""
        chosen = self.pipeline.precision
        on_cpu = self.device.type == "cpu"
        return torch.float32 if on_cpu and chosen == torch.float16 else chosen

    def _untrained(self) -> tuple[Teacher, Student]:
        channels, options = sum(self.channels.values()), cast(Options, self.options)
        teacher = Teacher(channels, options.teacher_width, self.seed)
        student = Student(channels, options.student_width, self.seed)
        return teacher.to(self.device), student.to(self.device)


def scored(
    apart: Tensor, mask: Tensor, times: int, *, twice: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Enlarge an anomaly map and score it.

    Args:
        apart: (h, w) float32, masked once.
        mask: (1, h, w) float32.
        times: pixels along each side of a cell.
        twice: whether the map is masked again before it is enlarged, as published.

    Returns:
        (times h, times w) float32, bicubic and so also below 0; the scores by name, ``"max"`` of
        that map and ``"mean"`` of ``apart``, scalars.

    """
    grown = _enlarged(apart * mask[0] if twice else apart, times * len(apart))
    return grown, {"max": grown.max(), "mean": apart.mean()}


def _enlarged(cells: Tensor, size: int) -> Tensor:
    """Enlarge (h, w) to (size, size), bicubic as align_corners=False."""
    return functional.interpolate(
        cells[None, None], size=(size, size), mode="bicubic", align_corners=False
    )[0, 0]


def _state(teacher: Teacher, student: Student) -> dict[str, Tensor]:
    named = {"teacher": teacher, "student": student}
    return {f"{n}.{k}": t for n, net in named.items() for k, t in net.state_dict().items()}
