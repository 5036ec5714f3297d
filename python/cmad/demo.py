"""The whole job on synthetic parts: fit, calibrate, score, judge. No download, no data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from cmad.datasets import Synthetic
from cmad.datasets.writing import write_part
from cmad.detectors import METHODS, Detector
from cmad.evaluate import Tally, writable
from cmad.extractors import PointMAE, ViT
from cmad.progress import bar
from cmad.report import depth, outline, page, sheet, verdict
from cmad.types import Prediction, Sample

TRAIN, CALIBRATE, GOOD, DEFECTIVE = 24, 20, 20, 20
"""Parts of each purpose."""
TRAINING = {"epochs": 150, "pixels_per_image": 300, "batch_size": 2}
"""Of a method that descends; one that does not takes none of it."""
OTHERWISE: dict[str, dict[str, object]] = {
    "ast": {"xyz": "depth_blocks", "teacher_width": 16, "student_width": 64}
}
"""What methods take beside or instead of what the others do, by name."""
TRAINED: dict[str, dict[str, object]] = {
    "ast": {"epochs": 12, "batch_size": 4, "learning_rate": 2e-3}
}
"""Likewise, arguments of their training."""
IMAGE = {"ast": 448}
"""Pixels along each side of the images, where convolutions learn on the tokens."""
FALSE_REJECT_RATE = 0.05
WEIGHTS_SEED = 0
"""Of the extractors' random weights, the same for all parts' seeds."""
MARGIN = 12
"""Pixels around the part in the picture."""


@dataclass(frozen=True)
class DemoResult:
    """What came out of the demo."""

    seed: int
    extractors: dict[str, str]
    """Descriptions of what extracts each modality's features, with where weights come from."""
    image_auroc: float
    aupro_30: float
    aupro_1: float
    threshold: float
    false_rejects: int
    """Good test parts above the threshold."""
    good: int
    missed: int
    """Defective test parts that are not."""
    defective: int
    detected: dict[str, tuple[int, int, float]]
    """By kind of defect: rejected parts, all parts, and AUROC against the good ones."""
    seconds: dict[str, float]
    """By stage."""
    files: dict[str, Path]
    """Written, by what they are: picture, model, parts, and report where Jinja2 is installed."""


def run(out: Path, seed: int = 0, method: str | None = None) -> DemoResult:
    """Fit a method on good synthetic parts, calibrate it, and score good and defective ones.

    Args:
        out: folder for the picture, the model, a few parts as files and, where Jinja2 is installed,
            the report; made where it is missing.
        method: of `cmad.detectors.METHODS`; None takes the first.
        seed: of the parts and the training. The extractors' random weights have a seed of their
            own.

    Returns:
        Figures, times and files.

    Raises:
        OSError: the files cannot be written.

    """
    writable(out)  # now, not after the training
    clock = _Clock()
    train = _made("making parts to fit", Synthetic("train", good=TRAIN, seed=seed))
    held_out = _made(
        "making parts to calibrate", Synthetic("validation", good=CALIBRATE, seed=seed)
    )
    test = _made(
        "making parts to score", Synthetic("test", good=GOOD, defective=DEFECTIVE, seed=seed)
    )
    clock.lap("make the parts")
    detector = make_detector(seed, method)
    takes = [f.name for f in fields(detector.Training)]
    training = TRAINING | TRAINED.get(detector.who.lower(), {})
    with _one_thread():
        detector.fit(train, **{k: v for k, v in training.items() if k in takes})  # type: ignore[arg-type]
    clock.lap("fit")
    threshold = detector.calibrate(held_out, FALSE_REJECT_RATE)
    clock.lap("calibrate")
    predictions, tally = [], Tally(detector)
    with bar("scoring", len(test)) as step:
        for sample in test:
            [grid] = detector.grids([sample])
            predictions.append(detector.decide(grid, sample.xyz))
            tally.add(sample, grid)
            step()
    clock.lap("score")
    metrics, wrong = tally.metrics(), cast("tuple[int, int]", tally.wrong())
    clock.lap("metrics")
    files = {"picture": out / "picture.png", "model": out / "demo.cmad", "parts": out / "parts"}
    chosen = [tally.kinds.index(kind) for kind in dict.fromkeys(tally.kinds)]
    shown = [test[i] for i in chosen]
    described = detector.pipeline.describe()
    foot = (
        f"Synthetic parts, seed {seed}; the first of each kind. "
        f"{detector.who} with {' and '.join(described.values())}."
    )
    picture(shown, [predictions[i] for i in chosen], foot).save(files["picture"])
    detector.save(files["model"])
    for sample in shown:
        _, kind, number = sample.name.split("/")
        write_part(sample, files["parts"] / kind, number)
    if page.available():
        files["report"] = out / "report.html"
        _report(files["report"], detector, test, predictions, metrics)
    clock.lap("picture, files and report")
    return DemoResult(
        seed=seed,
        extractors=described,
        image_auroc=metrics["I-AUROC"],
        aupro_30=metrics["AUPRO@30%"],
        aupro_1=metrics["AUPRO@1%"],
        threshold=threshold,
        false_rejects=wrong[0],
        good=tally.good,
        missed=wrong[1],
        defective=len(tally.kinds) - tally.good,
        detected=tally.by_kind(),
        seconds=clock.laps,
        files=files,
    )


def make_detector(seed: int, method: str | None = None) -> Detector:
    """Return the demo's untrained detector: small extractors with random weights, no download."""
    # Untrained features are local: small tokens, of 2.5 mm, tell colours apart, and large groups,
    # 8 mm across, tell shapes apart.
    name = method or next(iter(METHODS))
    size = IMAGE.get(name, 896)
    rgb = ViT("vit_tiny_patch16_224", block=1, image_size=size, weights="random", seed=WEIGHTS_SEED)
    xyz = PointMAE(
        groups=512, group_size=128, dim=192, heads=3, blocks=1, weights="random", seed=WEIGHTS_SEED
    )
    given: dict[str, Any] = {"xyz": xyz, **OTHERWISE.get(name, {})}
    return METHODS[name](rgb=rgb, seed=seed, **given)


def picture(samples: Sequence[Sample], predictions: Sequence[Prediction], foot: str) -> Image.Image:
    """Show parts as rows: colours, depth, the map over the part, and the truth.

    Args:
        samples: with masks.
        predictions: of the samples.
        foot: a line below.

    Returns:
        RGB.

    """
    rows, captions = [], []
    for sample, prediction in zip(samples, predictions, strict=True):
        rgb = np.asarray(sample.rgb)
        columns = [
            Image.fromarray(rgb),
            depth(np.asarray(sample.xyz)),
            verdict.draw(rgb, prediction),
            outline(rgb, _mask(sample)),
        ]
        box = _part(prediction)
        rows.append([image.crop(box) for image in columns])
        captions.append(f"{sample.name}  {verdict.caption(prediction)}")
    return sheet(rows, ["RGB", "depth", "anomaly map", "truth"], captions, foot=foot)


def _part(prediction: Prediction) -> tuple[int, int, int, int]:
    """Return the box of the part, where the maps are not 0: left, top, right, bottom."""
    row, column = np.nonzero(prediction.maps.get("3d", prediction.map))
    height, width = prediction.map.shape
    return (
        max(int(column.min()) - MARGIN, 0),
        max(int(row.min()) - MARGIN, 0),
        min(int(column.max()) + MARGIN, width),
        min(int(row.max()) + MARGIN, height),
    )


def _report(
    path: Path,
    detector: Detector,
    samples: Sequence[Sample],
    predictions: Sequence[Prediction],
    metrics: Mapping[str, float],
) -> None:
    facts = {"Model": "demo.cmad", "Method": detector.who}
    facts |= {f"{m.upper()} extractor": said for m, said in detector.pipeline.describe().items()}
    note = (
        "Synthetic parts, and extractors with random weights: not how well real parts are judged."
    )
    about = page.About(
        "covers", detector.threshold, detector.calibration, facts, metrics, notes=(note,)
    )
    group = page.Group(about)
    for sample, prediction in zip(samples, predictions, strict=True):
        group.add(page.Part.of(sample.name, sample, prediction))
    page.write_page(path, [group], "Synthetic covers")


def _made(what: str, samples: Synthetic) -> list[Sample]:
    made = []
    with bar(what, len(samples)) as step:
        for sample in samples:
            made.append(sample)
            step()
    return made


def _mask(sample: Sample) -> npt.NDArray[np.bool_]:
    """Return the truth, which synthetic parts always have."""
    return cast("npt.NDArray[np.bool_]", sample.mask)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread; its products are so small here that two wait for each other.

    On a free machine a second thread gains little, on a busy one it costs minutes.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, stage: str) -> None:
        """Note the time since the last stage."""
        now = perf_counter()
        self.laps[stage], self._last = now - self._last, now
