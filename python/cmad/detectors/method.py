"""What a method states: its options, what it looks at, how it learns, and how it judges.

docs/add-a-method.md walks through one. Everything else is the shell's, `detector.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from cmad.checkpoint import Checkpoint
from cmad.curves import Curves
from cmad.store import FeatureStore
from cmad.types import Features, Frame, GridMaps, Sample

WORDS = {"2d": "rgb", "3d": "xyz"}
"""What a modality is called where it is passed in."""


@dataclass(frozen=True)
class NoOptions:
    """Of a method without options of its own."""


@dataclass(frozen=True)
class Ablation:
    """A row of a paper's table: the method with something left out or exchanged."""

    table: str
    """The first of the paper's tables that has the row; empty where none has."""
    setting: str
    """What the row is called in `cmad.report.published`; of a variant the method, ``"CFM-M"``."""
    alone: str = ""
    """Name of the map that parts are judged by alone, of several their sum, ``"2d+3d"``; empty for
    the usual one."""
    options: Mapping[str, object] = field(default_factory=dict)
    """The method's own options that differ, of those that only scoring looks at."""
    training: Mapping[str, object] = field(default_factory=dict)
    """Arguments of `fit` that differ; the method is trained anew."""
    made: Mapping[str, object] = field(default_factory=dict)
    """Arguments of the detector itself that differ; likewise."""
    shots: int | None = None
    """Good parts of each category to train on, drawn by the seed; likewise. None for all."""
    epoch: int = 0
    """Epochs after which the usual training would have stopped; 0 for its end."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a method learns from good parts."""

    tensors: Mapping[str, Tensor]
    """Everything that its verdicts rest on, as it goes into a model file."""
    losses: Sequence[tuple[float, ...]] = field(default_factory=list)
    """Of each training step, by modality; empty for a method that does not descend."""
    stops: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)
    """What ``tensors`` would be, had the training stopped after so many epochs; of those that
    `Method.stops` names."""
    curves: Curves = field(default_factory=Curves)
    """Of each epoch the mean losses, by name, and those of the parts that the store holds out."""


class Method(ABC):
    """The methods of a detector that differ between detectors."""

    Options: ClassVar[type] = NoOptions
    """Frozen dataclass of the method's own options; a model file keeps them."""
    Training: ClassVar[type] = NoOptions
    """Frozen dataclass of the method's arguments of `fit`."""

    usual: ClassVar[Mapping[str, str]] = {"rgb": "vit_base_patch8_224.dino", "xyz": "point_mae"}
    """Names of the extractors that are taken where none are asked for: the paper's."""
    usual_rgb_size: ClassVar[int | None] = None
    """Pixels along each side of the images of the usual 2D extractor, where they are others than
    those of the grid."""
    standardised: ClassVar[bool] = True
    """Whether FPFH, given by name, is standardised per channel, or as it counts."""
    learns_on_cpu: ClassVar[bool] = False
    """Whether `learn` works on the CPU where the detector's device is a GPU: the store's features
    are there then, and `take` brings what was learnt to the device."""
    from_defects: ClassVar[bool] = False
    """Whether the method also learns from parts with synthetic defects, see `defective`."""
    ablations: ClassVar[tuple[Ablation, ...]] = ()
    """The paper's tables beside the method as a whole, for `cmad reproduce`."""
    stops: Collection[int] = ()
    """Epochs after which `learn` also says what it has learnt until then, of a method whose
    `ablations` ask for that."""
    why_all: ClassVar[str] = "it looks at all of them"
    """Ends the message to whoever gives a part without what the method needs."""

    @property
    def who(self) -> str:
        """The method's name, as in messages and model files."""
        return type(self).__name__

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the method looks at and makes maps of, of ``"2d"`` and ``"3d"``."""
        return ("2d", "3d")

    @property
    def sees_background(self) -> bool:
        """Whether ``background="plane"`` leaves the background to the method's 3D extractor, which
        finds the part itself.
        """
        return False

    @property
    def fallbacks(self) -> tuple[tuple[str, ...], ...]:
        """Modalities that suffice to judge a part where the others are missing; see `predict`."""
        return ()

    def defective(
        self, frames: Sequence[Frame], training: object
    ) -> Iterable[tuple[Frame, Tensor, int]]:
        """Make parts with synthetic defects of good ones; none, unless it learns from such.

        Args:
            frames: the good parts.
            training: an instance of ``Training``.

        Returns:
            Each part, where its defect is, (S, S) bool, and the position of the good part that it
            is on. Their features follow those of the good parts in the store of `learn`.

        """
        return ()

    @abstractmethod
    def learn(
        self, store: FeatureStore, training: object, progress: bool, checkpoint: Checkpoint
    ) -> Learnt:
        """Learn from the features of good parts; the detector itself stays as it is.

        Args:
            store: one or more frames, good ones, then those that `defective` made.
            training: an instance of ``Training``.
            progress: show how far it is, see `cmad.progress.bar`.
            checkpoint: gives a method that trains by epochs those that are left, and keeps what
                each ends with, see `cmad.checkpoint.Checkpoint.epochs`; others leave it alone.

        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return what was learnt, by name; empty before."""

    @abstractmethod
    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `learn` gave, now or in a model file.

        Raises:
            ValueError: it does not fit the extractors' features.

        """

    @abstractmethod
    def maps(self, features: Features) -> GridMaps:
        """Judge one part by its features, of `modalities` or one of `fallbacks`."""

    def all_maps(self, features: Sequence[Features]) -> list[GridMaps]:
        """Judge several parts: one after the other, unless the method can wait for all at once."""
        return [self.maps(one) for one in features]


def check_modalities(method: Method, sample: Sample) -> None:
    """Raise where a part lacks what the method cannot judge it without; says why."""
    lacking = _lacking(method, sample)
    if tuple(m for m in method.modalities if m not in lacking) in (
        method.modalities,
        *method.fallbacks,
    ):
        return
    named = f"{sample.name}: " if sample.name else ""
    needed = " and ".join(WORDS[m] for m in method.modalities)
    got = " and ".join(f"no {WORDS[m]}" for m in lacking)
    if method.fallbacks:
        others = ", or ".join(" and ".join(WORDS[m] for m in way) for way in method.fallbacks)
        raise ValueError(f"{named}{method.who} needs {needed}, or {others}; got {got}")
    raise ValueError(f"{named}{method.who} needs {needed}: {method.why_all}; got {got}")


def complete(method: Method, samples: Iterable[Sample]) -> Iterator[Sample]:
    """Pass samples on; raise at one that lacks a modality that the method looks at."""
    for sample in samples:
        if lacking := _lacking(method, sample):
            raise ValueError(
                f"{sample.name or 'a sample'}: good parts must have all that {method.who} looks "
                f"at, got {' and '.join(f'no {WORDS[m]}' for m in lacking)}"
            )
        yield sample


def _lacking(method: Method, sample: Sample) -> list[str]:
    return [m for m in method.modalities if getattr(sample, WORDS[m]) is None]
