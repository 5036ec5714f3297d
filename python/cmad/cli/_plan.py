"""What `cmad evaluate` and `cmad reproduce` settle before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from cmad.cache import digest
from cmad.calibrate import check_parts
from cmad.cli._building import Recipe
from cmad.cli._method import with_defaults
from cmad.cli._parts import expect_named
from cmad.datasets import DataSet
from cmad.datasets.names import plain
from cmad.spelling import meant
from cmad.version import __version__

Values = Mapping[str, object]


def configuration(recipe: Recipe, data: DataSet, how: Values) -> dict[str, object]:
    """Return what decides the results beside the seed and the plan, fit for JSON.

    Args:
        recipe: how the detectors are made.
        data: the data set.
        how: the arguments of training that were given.

    """
    return {
        "cmad": __version__,
        "data set": data.kind,
        "method": recipe.method.__name__.lower(),  # in whatever case it was asked for
        **recipe.settings,
        # A mask in words only, beside what tells it from others.
        "background": recipe.background.describe(),
        "background sha256": digest(asdict(recipe.background))[:12],
        **with_defaults(recipe.method, how),
        "good": sorted(plain(name) for name in data.good),
        **asdict(data.units),
    }


def categories_of(data: DataSet, asked: Sequence[str] | None) -> list[str]:
    """Return the categories that were asked for, or all.

    Raises:
        ValueError: a category that the data set does not have.

    """
    asked = [plain(name) for name in asked or ()]
    for name in asked:
        if name not in data.categories:
            known = ", ".join(data.categories)
            raise ValueError(
                f"--category must be one of {known}, got {name!r}{meant(name, data.categories)}"
            )
    return list(dict.fromkeys(asked or data.categories))


def check_splits(
    data: DataSet, categories: Sequence[str], shots: int | None, rate: float | None, seeds: int
) -> None:
    """Raise now, not after hours of training, where a split is missing or has too few parts.

    Args:
        data: the data set.
        categories: of it.
        shots: parts to train on; None for all.
        rate: false-reject rate; None where nothing is calibrated.
        seeds: number of runs.

    """
    if rate is not None and not 0 < rate < 1:
        raise ValueError(f"--false-reject-rate must be in (0, 1), got {rate:g}")
    if seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {seeds}")
    for name in categories:
        parts = [data.split(name, split) for split in ("train", "test")]
        expect_named(data.good, [data.root / name], parts)
        train = len(parts[0])
        if shots is not None and not 1 <= shots <= train:
            raise ValueError(f"--shots must be in [1, {train}] for {name}, got {shots}")
        if rate is not None:
            try:
                check_parts(len(data.split(name, "validation")), rate)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
