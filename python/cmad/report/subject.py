"""What was evaluated, in the words of a table, and what sets it apart from the papers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from cmad.background import Background
from cmad.detectors import Detector
from cmad.evaluate import Evaluation
from cmad.extractors import Extractor, modality_of
from cmad.report.published import PARTS

PIXELS = 224
"""Along each side of the papers' grid, and of the images that their 2D extractor takes."""
POINT_MAE = {"groups": (1024,), "group_size": (32, 128), "dim": (384,), "depth": (12,)}
"""The papers' choices; CFM's text has groups of 32, its code and the others' of 128."""


@dataclass(frozen=True)
class Difference:
    """Something that is not as in the papers."""

    short: str
    """For titles and rows, ``"random weights"``; empty where the reason alone is told."""
    reason: str
    """A clause: ``"the weights of the 3D extractor are random"``."""
    apart: bool = True
    """Whether the numbers cannot be compared; else the method is the papers', used otherwise."""


@dataclass(frozen=True)
class Subject:
    """What was evaluated."""

    method: str
    """As the papers' tables name it: ``"CFM-M"`` for the medium variant."""
    dataset: str
    """Kind of the data set; the papers know "MVTec 3D-AD" and "Eyecandies"."""
    pixels: int = PIXELS
    """Along each side of the grid that pixels are compared on."""
    shots: int | None = None
    """Training parts per category, drawn; None for all."""
    differences: tuple[Difference, ...] = ()
    """Those of the detector; those of the parts follow from the results."""

    def label(self, results: Sequence[Evaluation]) -> str:
        """Name it in a title or row: ``"CFM-T, random weights, 8 training parts"``."""
        said = [d.short for d in self.differences if d.short]
        return ", ".join([self.method, *dict.fromkeys(said), *filter(None, [self._parts(results)])])

    def all_differences(self, results: Sequence[Evaluation]) -> tuple[Difference, ...]:
        """Return the differences of the detector and of the parts."""
        return *self.differences, *self._of_parts(results)

    def _parts(self, results: Sequence[Evaluation]) -> str:
        """Say how many parts were trained on; nothing where it is all of the papers' data set."""
        if self.shots is not None:
            return f"{self.shots}-shot"
        counts = sorted({r.train for r in results})
        known = PARTS.get(self.dataset, {})
        if all(r.category in known and r.train == known[r.category][0] for r in results):
            return ""
        many = f"{counts[0]}-{counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        plural = "" if counts[-1] == 1 else "s"
        return f"{many} training part{plural}{' per category' if len(results) > 1 else ''}"

    def _of_parts(self, results: Sequence[Evaluation]) -> Iterator[Difference]:
        known = PARTS.get(self.dataset, {})
        mine = [r for r in results if r.category in known]
        trained, tested = sum(r.train for r in mine), sum(r.good + r.defective for r in mine)
        for_training, for_test = (sum(known[r.category][i] for r in mine) for i in (0, 1))
        if self.shots is None and trained != for_training:
            yield Difference("", f"trained on {trained} parts, the papers on {for_training}")
        if tested != for_test:
            yield Difference("", f"tested on {tested} parts, the papers on {for_test}")
        if self.shots is not None and trained != self.shots * len(mine):
            yield Difference("", f"trained on {trained} parts instead of {self.shots} per category")
        if self.shots is not None:
            yield Difference("", "the training parts are other draws than the papers'", apart=False)


def subject_of(
    detector: Detector, dataset: str, shots: int | None, training: Mapping[str, object]
) -> Subject:
    """Say what a detector is in an evaluation.

    Args:
        detector: trained or not.
        dataset: kind of the data set.
        shots: training parts per category; None for all.
        training: the arguments of ``fit`` that were given.

    """
    short = "" if detector.variant == "full" else f"-{detector.variant[0].upper()}"
    differences = *_of_extractors(detector), *_of_use(detector, training)
    pixels = detector.pipeline.preprocessing.image_size
    return Subject(detector.who + short, dataset, pixels, shots, differences)


def _of_extractors(detector: Detector) -> Iterator[Difference]:
    """Extractors that are not the papers', or have random weights."""
    extractors = list(detector.pipeline.extractors.values())
    configs = [e.config() for e in extractors]
    sources = [c["weights"] for c in configs if "weights" in c]
    everything = bool(sources) and all(source == "random" for source in sources)
    for extractor, config in zip(extractors, configs, strict=True):
        which = modality_of(extractor).upper()
        if config.get("weights") == "random":
            short = "random weights" if everything else f"random {which} weights"
            yield Difference(short, f"the weights of the {which} extractor are random")
    for extractor, config in zip(extractors, configs, strict=True):
        which, name = modality_of(extractor).upper(), _name(extractor, config)
        papers = detector.usual["rgb" if which == "2D" else "xyz"]
        papers = {"point_mae": "Point-MAE", "fpfh": "FPFH"}.get(papers, papers)
        if config.get("kind") == "point_mae":
            for key, usual in POINT_MAE.items():
                if config.get(key) not in usual:
                    said = f"{key.replace('_', ' ')} {config.get(key)}"
                    yield Difference(
                        f"Point-MAE of {said}",
                        f"the papers' Point-MAE has {key.replace('_', ' ')} {usual[0]}, not "
                        f"{config.get(key)}",
                    )
        elif name != papers:
            yield Difference(name, f"the {which} extractor is {name}, the papers' {papers}")
        size = getattr(extractor, "image_size", PIXELS)
        if size != PIXELS:
            own, papers = f"{size}x{size}", f"{PIXELS}x{PIXELS}"
            reason = f"the 2D extractor takes images of {own} pixels, the papers' of {papers}"
            yield Difference("", reason)


def _of_use(detector: Detector, training: Mapping[str, object]) -> Iterator[Difference]:
    """How the detector is made and trained, where that is not its default."""
    pixels = detector.pipeline.preprocessing.image_size
    if pixels != PIXELS:
        size = f"{pixels}x{pixels}"
        reason = f"pixels are compared on a grid of {size}, the papers' on {PIXELS}x{PIXELS}"
        yield Difference(f"{size} pixels", reason)
    if len(detector.modalities) == 1:
        only = detector.modalities[0].upper()
        reason = f"it looks at {only} alone, the papers' methods at both"
        yield Difference(f"{only} only", reason, apart=False)
    beside = detector.pipeline.preprocessing.background
    if beside != Background():
        reason = f"the background is told: {beside.describe()}"
        yield Difference("", reason, apart=False)
    if detector.pipeline.preprocessing.fill:
        reason = "pixels inside the part's outline that have no point get an interpolated one"
        yield Difference("gaps filled", reason, apart=False)
    made, default = asdict(detector.options), asdict(type(detector).Options())
    usual = {**default, **asdict(type(detector).Training())}
    for name, value in {**made, **training}.items():
        if value != usual.get(name) and name != "modalities":
            said = "all" if usual.get(name) is None else usual.get(name)
            reason = f"{name.replace('_', ' ')} {value}, by default {said}"
            yield Difference("", reason, apart=False)


def _name(extractor: Extractor, config: Mapping[str, object]) -> str:
    model = config.get("model")
    return model if isinstance(model, str) else extractor.describe().split(",")[0]
