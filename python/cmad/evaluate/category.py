"""Fit a method on the categories of a data set, and test it."""

import hashlib
import os
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from time import perf_counter

import tifffile
import torch

from cmad import notices
from cmad.checkpoint import Checkpoint
from cmad.datasets import DataSet, Loader
from cmad.datasets.d3_files import list_of
from cmad.datasets.names import child, shown
from cmad.detectors import Detector
from cmad.environment import forget_peak, peak_memory
from cmad.evaluate.tally import Tally
from cmad.preprocess import to_input
from cmad.progress import bar
from cmad.types import Features, GridMaps, Sample


@dataclass(frozen=True)
class Plan:
    """What is done with each category."""

    shots: int | None = None
    """Good parts to train on, drawn by ``seed``; None takes all."""
    seed: int = 0
    fit: Mapping[str, object] = field(default_factory=dict)
    """Arguments of the detector's ``fit``."""
    false_reject_rate: float | None = None
    """Calibrates on the validation parts, and counts wrong verdicts on the test parts."""
    skip_bad: bool = False
    """Leave out parts that cannot be read or prepared, and list them."""
    maps: Path | None = None
    """Folder for the anomaly maps, as TIFF: ``CATEGORY/test/DEFECT/NUMBER.tiff``, where the number
    is what a part's name has beside that."""
    told: Callable[[str, Detector, Sample, GridMaps, float, Path | None], None] | None = None
    """Called with each test part once it is judged: category, detector, part, grid maps, seconds,
    and the file of its map where ``maps`` asks for one."""
    checkpoints: Path | None = None
    """Folder that an interrupted training goes on from, ``CATEGORY.checkpoint``; None keeps none.
    The file is deleted once the category's result has been taken, by asking for the next."""


@dataclass(frozen=True)
class Evaluation:
    """Results of one category."""

    category: str
    train: int
    """Parts that were trained on."""
    good: int
    """Good test parts."""
    defective: int
    metrics: dict[str, float]
    """By the names in `METRICS`, in [0, 1]; AUPRO with every threshold."""
    grid: dict[str, float]
    """AUPRO with the published grid of `GRID` thresholds, by the names in `AREAS`."""
    frames_per_second: float
    """Of prediction, one part at a time, without reading the part's files: 1 / median time. With a
    cache that knows the parts, it is that of reading their features."""
    memory: float
    """Peak of the process's resident memory in this category, MB."""
    seconds: dict[str, float]
    """Spent on each stage."""
    verdicts: dict[str, float] = field(default_factory=dict)
    """With a false-reject rate: threshold, false_rejects and missed, on the test parts."""
    bad: tuple[tuple[str, str], ...] = ()
    """Name and reason of each part left out."""
    date: str = ""
    """When it was done, UTC, ``"2026-01-31 12:05"``; empty where that is not known."""
    seeds: int = 1
    """How many runs with different seeds it is the average of."""
    deviations: dict[str, float] = field(default_factory=dict)
    """Standard deviation over the seeds (of a sample, n - 1) of each metric, and of each of the
    grid as ``"AUPRO@1% grid"``; empty for one seed."""


def evaluate(
    data: DataSet,
    categories: Sequence[str],
    make: Callable[[], Detector],
    plan: Plan | None = None,
) -> Iterator[Evaluation]:
    """Fit and test a detector on one category after the other.

    Pixels are compared on the detector's grid, the masks sampled to it, as the papers do.

    Args:
        data: from `cmad.datasets.open`.
        categories: of ``data``.
        make: makes an untrained detector, once per category.
        plan: None takes `Plan`'s defaults.

    Yields:
        The results of each category, as they come.

    Raises:
        ValueError, OSError: a part that cannot be used, named, unless ``plan.skip_bad``; a test set
            without good or without defective parts, or whose truth is not known.

    """
    plan = plan or Plan()
    for category in categories:
        checkpoint = checkpoint_of(plan, category)
        try:
            result = _category(data, category, make(), plan, checkpoint)
        except ValueError as error:
            raise ValueError(f"{category}: {error}") from error
        yield result
        checkpoint.remove()


def checkpoint_of(plan: Plan, category: str) -> Checkpoint:
    """Return where the training on a category is kept, if it is."""
    folder = plan.checkpoints
    return Checkpoint(None if folder is None else folder / f"{category}.checkpoint")


def fingerprint(data: DataSet, category: str) -> str:
    """Return a hash of a category's list, where it has one, and its files' names and sizes."""
    folder = child(data.root, category)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = [f"{p.relative_to(folder).as_posix()} {p.stat().st_size}" for p in files]
    if (path := list_of(folder)) is not None:  # says which files are what
        listed.append(hashlib.sha256(path.read_bytes()).hexdigest())
    return hashlib.sha256(os.fsencode("\n".join(listed))).hexdigest()


@notices.run()
def _category(
    data: DataSet, category: str, detector: Detector, plan: Plan, checkpoint: Checkpoint
) -> Evaluation:
    trained = Trained.on(data, category, detector, plan, checkpoint)
    return trained.tested({"": as_it_is}, plan)[""]


Judge = Callable[[Detector, Features], GridMaps]
"""Judges a part by its features."""


def as_it_is(detector: Detector, features: Features) -> GridMaps:
    """Judge a part as the detector does."""
    return detector.judge(features)


@dataclass(frozen=True)
class Trained:
    """A detector trained on a category, and what that took."""

    data: DataSet
    category: str
    detector: Detector
    parts: int
    """That it was trained on."""
    seconds: Mapping[str, float]
    """Spent on each stage."""
    bad: tuple[tuple[str, str], ...]
    """Name and reason of each part left out."""

    @staticmethod
    def on(
        data: DataSet, category: str, detector: Detector, plan: Plan, checkpoint: Checkpoint
    ) -> "Trained":
        """Train a detector on a category, after a look at the test parts; calibrate it."""
        forget_peak()
        seconds = {}
        train = data.split(category, "train")
        if plan.shots is not None:
            train = train.few_shot(plan.shots, plan.seed)
        begin = perf_counter()
        _check(data.split(category, "test"), plan.skip_bad)
        seconds["check"] = perf_counter() - begin
        bad: list[tuple[str, str]] = []
        begin = perf_counter()
        parts = _loader(train, detector, plan)
        detector.fit(parts, checkpoint=checkpoint, **plan.fit)  # type: ignore[arg-type]
        bad += parts.bad
        seconds["fit"] = perf_counter() - begin
        if plan.false_reject_rate is not None:
            begin = perf_counter()
            parts = _loader(data.split(category, "validation"), detector, plan)
            unscored: list[tuple[str, str]] = []
            skipped = unscored if plan.skip_bad else None
            detector.calibrate(parts, plan.false_reject_rate, bad=skipped)
            bad += parts.bad + unscored
            seconds["calibrate"] = perf_counter() - begin
        count = len(train) - sum(name in train.names for name, _ in bad)
        return Trained(data, category, detector, count, seconds, tuple(bad))

    def tested(self, judges: Mapping[str, Judge], plan: Plan) -> dict[str, Evaluation]:
        """Test it on the category, judging the parts in several ways.

        Args:
            judges: by name; ``""`` writes the maps, and tells of the parts.
            plan: as it was trained by.

        Returns:
            The results by name; what all judges need is counted for each.

        """
        begin = perf_counter()
        tests = {
            name: _Test(
                self.detector,
                judge,
                plan.maps and plan.maps / self.category,
                plan.told and partial(plan.told, self.category, self.detector),
            )
            if not name
            else _Test(self.detector, judge)
            for name, judge in judges.items()
        }
        bad = _run(self.detector, tests, self.data.split(self.category, "test"), plan.skip_bad)
        spent = perf_counter() - begin
        return {name: self._result(test, spent, bad) for name, test in tests.items()}

    def _result(self, test: "_Test", spent: float, bad: list[tuple[str, str]]) -> Evaluation:
        begin = perf_counter()
        metrics, grid = test.tally.metrics(), test.tally.grid()
        seconds = {**self.seconds, "test": spent, "metrics": perf_counter() - begin}
        return Evaluation(
            category=self.category,
            train=self.parts,
            good=test.tally.good,
            defective=len(test.tally.kinds) - test.tally.good,
            metrics=metrics,
            grid=grid,
            frames_per_second=1 / statistics.median(test.seconds),
            memory=peak_memory(),
            seconds=seconds,
            verdicts=test.verdicts(),
            bad=tuple((name, shown(reason)) for name, reason in (*self.bad, *bad)),
            date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M"),
        )


def _check(samples: Sequence[Sample], skip_bad: bool) -> None:
    """Read the test parts once, before hours of training: what they lack is known now."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bad parts, which come again with the test
        labels = set()
        for sample in Loader(samples, skip_bad=skip_bad, check=_check_truth):
            labels.add(sample.label)
    for label, what in ((0, "good"), (1, "defective")):
        if label not in labels:
            raise ValueError(f"none of the {len(samples)} test parts is a {what} one to be used")


def _check_truth(sample: Sample) -> None:
    """Raise where a part lacks its label or its mask, which a test needs."""
    if sample.label is None or sample.mask is None:
        lacking = "kind of defect" if sample.label is None else "mask"
        raise ValueError(f"{sample.name}: a test part needs a {lacking}")


def _loader(samples: Sequence[Sample], detector: Detector, plan: Plan) -> Loader:
    check = detector.pipeline.frame if plan.skip_bad else None
    return Loader(samples, skip_bad=plan.skip_bad, check=check)


def _run(
    detector: Detector, tests: Mapping[str, "_Test"], samples: Sequence[Sample], skip_bad: bool
) -> list[tuple[str, str]]:
    """Score the parts with each test, and return which were left out, and why."""
    bad = []
    parts = Loader(samples, skip_bad=skip_bad, check=_check_truth)
    with bar("testing", len(samples)) as step:
        for sample in parts:
            try:
                begin = perf_counter()
                [features] = detector.features([replace(sample, name="")])  # named below
                shared = perf_counter() - begin
                judged = [(test, *test.judged(features)) for test in tests.values()]
            except ValueError as error:
                if not skip_bad:
                    raise ValueError(f"{sample.name}: {error}") from error
                bad.append((sample.name, str(error)))
            else:
                for test, grid, own in judged:
                    test.add(sample, grid, shared + own)
            step()
    return bad + parts.bad


class _Test:
    """The test parts of a category, scored."""

    def __init__(
        self,
        detector: Detector,
        judge: Judge,
        maps: Path | None = None,
        told: Callable[[Sample, GridMaps, float, Path | None], None] | None = None,
    ) -> None:
        self._told = told
        self.seconds: list[float] = []
        self.tally = Tally(detector)
        self._detector, self._judge, self._folder = detector, judge, maps

    def judged(self, features: Features) -> tuple[GridMaps, float]:
        """Judge a part, and say how long that took."""
        begin = perf_counter()
        return self._judge(self._detector, features), perf_counter() - begin

    def add(self, sample: Sample, grid: GridMaps, seconds: float) -> None:
        """Count a part, and write its map."""
        self.seconds.append(seconds)
        self.tally.add(sample, grid)
        path = None
        if self._folder is not None:
            path = self._folder / "test" / str(sample.defect) / f"{_number(sample)}.tiff"
            path.parent.mkdir(parents=True, exist_ok=True)
            full = to_input(torch.from_numpy(grid.map)[None], grid.window)[0].numpy()
            tifffile.imwrite(path, full)
        if self._told is not None:
            self._told(sample, grid, seconds, path)

    def verdicts(self) -> dict[str, float]:
        """Count wrong verdicts, where there is a threshold."""
        wrong, threshold = self.tally.wrong(), self._detector.threshold
        if wrong is None or threshold is None:
            return {}
        return {"threshold": threshold, "false_rejects": wrong[0], "missed": wrong[1]}


def _number(sample: Sample) -> str:
    """Return what a part's name says beside ``test/`` and its defect, such as ``000``."""
    name = sample.name.removeprefix("test/").removeprefix(f"{sample.defect}/")
    return name.replace("/", "_")
