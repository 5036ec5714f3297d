"""What `cmad evaluate` keeps, writes and prints: results of each seed and the tables of all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from cmad.cli._common import table
from cmad.detectors import Detector
from cmad.environment import environment
from cmad.evaluate import AREAS, GRID, METRICS, Evaluation, Run, Runs, averages
from cmad.report import evaluation as report
from cmad.report.subject import Subject

Values = Mapping[str, object]


class SeedRun:
    """One seed's results, in a folder that keeps them.

    The first seed's are those of the folder itself, as without further seeds; each other's are in
    ``seeds/SEED``.
    """

    def __init__(
        self,
        seed: int,
        out: Path,
        detector: Detector,
        fixed: Values,
        prints: Mapping[str, str],
        first: bool,
    ) -> None:
        """Find what there is already.

        Args:
            seed: of this run.
            out: folder of the evaluation.
            detector: made with the seed.
            fixed: the configuration but for what follows from the seed.
            prints: `cmad.evaluate.fingerprint` by category.
            first: whether it is the first seed.

        """
        extractors = detector.pipeline.extractors.values()
        self.seed, self.first, self._prints = seed, first, prints
        self.config: dict[str, object] = {
            **fixed,
            "seed": seed,
            **asdict(detector.options),
            "extractors": {m.upper(): said for m, said in detector.pipeline.describe().items()},
            "sha256": [extractor.fingerprint() for extractor in extractors],
        }
        self._run = Run(out if first else out / "seeds" / str(seed), self.config)
        self.kept: dict[str, tuple[Evaluation, Values]] = {**self._run.done(prints)}

    def keep_with_maps(self, maps: Path) -> None:
        """Forget results whose maps are not all there: they have to be run for them."""
        self.kept = {
            name: (result, where)
            for name, (result, where) in self.kept.items()
            if len(list((maps / name).rglob("*.tiff"))) >= result.good + result.defective
        }

    def keep(self, result: Evaluation) -> None:
        """Keep the results of a category."""
        self._run.keep(result, self._prints[result.category])
        self.kept[result.category] = result, environment()


@dataclass(frozen=True)
class Pages:
    """Writes the tables."""

    out: Path
    subject: Subject
    categories: Sequence[str]
    about: Values
    command: str

    def results(self, runs: Sequence[SeedRun]) -> Runs:
        """Return the results so far, of the seeds that have any."""
        found = {r.seed: [r.kept[n][0] for n in self.categories if n in r.kept] for r in runs}
        return {seed: results for seed, results in found.items() if results}

    def write(self, runs: Sequence[SeedRun]) -> list[Path]:
        """Write the tables; results of several machines or versions each with their own."""
        about = {**self.about, **_together(runs), **self._where(runs)}
        return report.write(self.out, self.results(runs), self.subject, about, self.command)

    def _where(self, runs: Sequence[SeedRun]) -> Values:
        places = {
            name if len(runs) == 1 else f"{name}, seed {run.seed}": dict(run.kept[name][1])
            for run in runs
            for name in self.categories
            if name in run.kept
        }
        first, *others = places.values()
        return first if all(o == first for o in others) else {"environments": places}


def show(runs: Runs, subject: Subject) -> None:
    """Print the metrics: those of scores and pixels, and the areas under the PRO curve."""
    results, whole = averages(runs)
    everything = [*results, whole] if len(results) > 1 else results
    scores = [name for name in METRICS if name not in AREAS]
    typer.echo(subject.label(results))
    table(
        "Detection and segmentation",
        ("category", *scores, *(() if len(runs) > 1 else ("parts/s", "MB"))),
        [
            [
                r.category,
                *(report.shown(r.metrics[n], deviation=r.deviations.get(n)) for n in scores),
                # With deviations a terminal has no room for more.
                *(() if len(runs) > 1 else (f"{r.frames_per_second:.1f}", f"{r.memory:.0f}")),
            ]
            for r in everything
        ],
    )
    for kind, suffix, title in (
        ("metrics", "", "AUPRO, exact: every threshold"),
        ("grid", " grid", f"AUPRO, grid: the {GRID} published thresholds"),
    ):
        rows = [
            [
                r.category,
                *(
                    report.shown(getattr(r, kind)[a], deviation=r.deviations.get(a + suffix))
                    for a in AREAS
                ),
            ]
            for r in everything
        ]
        table(title, ("category", *(area.removeprefix("AUPRO") for area in AREAS)), rows)
    for seed, of_seed in runs.items():
        named = f", seed {seed}" if len(runs) > 1 else ""
        for r in of_seed:
            if v := r.verdicts:
                typer.echo(
                    f"{r.category}{named}: at threshold {v['threshold']:.4g} false rejects "
                    f"{v['false_rejects']:.0f} of {r.good} good, missed {v['missed']:.0f} of "
                    f"{r.defective} defective"
                )
            for name, reason in r.bad:
                typer.echo(f"{r.category}{named}: left out {name}: {reason}")
    if apart := report.not_comparable(subject, results):
        typer.echo(f"note: not comparable with the papers' numbers: {'; '.join(apart)}")


def _together(runs: Sequence[SeedRun]) -> Values:
    """Return the configuration; of several seeds, what follows from the seed by seed."""
    first, *others = [run.config for run in runs]
    if not others:
        return first
    config: dict[str, object] = {"seeds": [run.seed for run in runs]}
    for name, value in first.items():
        if name != "seed":
            same = all(other[name] == value for other in others)
            config[name] = value if same else {str(r.seed): r.config[name] for r in runs}
    return config
