"""Averages of results: over the categories, and over runs with different seeds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cmad.evaluate.category import Evaluation

Runs = Mapping[int, Sequence[Evaluation]]
"""The results by category, of each seed."""


def mean(results: Sequence[Evaluation]) -> Evaluation:
    """Average over categories, each counting the same; counts and seconds are sums.

    Args:
        results: of one seed, at least one.

    Returns:
        As a category named ``"mean"``; memory is the largest, frames per second the mean.

    """
    stages = dict.fromkeys(name for r in results for name in r.seconds)
    return Evaluation(
        category="mean",
        train=sum(r.train for r in results),
        good=sum(r.good for r in results),
        defective=sum(r.defective for r in results),
        metrics=_average([r.metrics for r in results]),
        grid=_average([r.grid for r in results]),
        frames_per_second=statistics.fmean(r.frames_per_second for r in results),
        memory=max(r.memory for r in results),
        seconds={name: sum(r.seconds.get(name, 0) for r in results) for name in stages},
        bad=tuple(pair for r in results for pair in r.bad),
    )


def over_seeds(results: Sequence[Evaluation]) -> Evaluation:
    """Average over runs of one category, or of their mean, that differ in their seed alone.

    Args:
        results: one for each seed, at least one.

    Returns:
        The mean of metrics, frames per second and seconds, with the metrics' deviations; counts of
        the first run, the largest memory, every part that a run left out. Verdicts are left out:
        each run has its own threshold. A single run comes back as it is.

    """
    first, *others = results
    if not others:
        return first
    stages = dict.fromkeys(name for r in results for name in r.seconds)
    return replace(
        first,
        metrics=_average([r.metrics for r in results]),
        grid=_average([r.grid for r in results]),
        frames_per_second=statistics.fmean(r.frames_per_second for r in results),
        memory=max(r.memory for r in results),
        seconds={n: statistics.fmean(r.seconds.get(n, 0) for r in results) for n in stages},
        verdicts={},
        bad=tuple(dict.fromkeys(pair for r in results for pair in r.bad)),
        date=max(r.date for r in results),
        seeds=len(results),
        deviations={
            **{n: statistics.stdev(r.metrics[n] for r in results) for n in first.metrics},
            **{f"{n} grid": statistics.stdev(r.grid[n] for r in results) for n in first.grid},
        },
    )


def averages(runs: Runs) -> tuple[list[Evaluation], Evaluation]:
    """Average over the seeds: each category, and the mean of all categories.

    The deviation of the mean is that of the runs' means. A run that is not through with all
    categories counts for those that it has, and not for the mean.

    Args:
        runs: at least one result.

    """
    categories = list(dict.fromkeys(r.category for results in runs.values() for r in results))
    rows = [
        over_seeds([r for results in runs.values() for r in results if r.category == name])
        for name in categories
    ]
    whole = [mean(results) for results in runs.values() if len(results) == len(categories)]
    return rows, over_seeds(whole or [mean(rows)])


def _average(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(v[name] for v in values) for name in values[0]}
