"""Evaluation tables as CSV, JSON and Markdown, with the papers' numbers beside ours."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from cmad.evaluate import AREAS, GRID, METRICS, Evaluation, mean, write_whole
from cmad.report.published import beside, published

PUBLISHED = ("I-AUROC", "P-AUROC", *AREAS)
"""Metrics that the papers print."""


@dataclass(frozen=True)
class Comparison:
    """One metric of several methods."""

    metric: str
    categories: tuple[str, ...]
    """With ``"mean"`` last."""
    rows: dict[str, dict[str, float]]
    """Method to category to value."""


def write(
    folder: Path,
    results: Sequence[Evaluation],
    *,
    name: str,
    dataset: str,
    shots: int | None,
    about: Mapping[str, object],
) -> list[Path]:
    """Write ``evaluation.csv``, ``.json`` and ``.md`` with the results and what they came from.

    Args:
        folder: must exist.
        results: of at least one category.
        name: of the method, for the title and our rows.
        dataset: kind of the data set; the papers know "MVTec 3D-AD" and "Eyecandies".
        shots: training parts per category, for the papers' few-shot tables; None for all.
        about: configuration, versions and machine, fit for JSON.

    Returns:
        The files.

    """
    tables = comparisons(f"{name} (cmad)", dataset, results, shots)
    title = f"{name} on {dataset}" + (f", {shots}-shot" if shots else "")
    data = {
        "about": about,
        "results": [asdict(result) for result in results],
        "mean": asdict(mean(results)),
        "beside": {table.metric: table.rows for table in tables},
    }
    texts = {
        "csv": as_csv(results, about),
        "json": json.dumps(data, indent=1, allow_nan=False) + "\n",
        "md": as_markdown(title, results, tables, about),
    }
    paths = []
    for extension, text in texts.items():
        paths.append(folder / f"evaluation.{extension}")
        write_whole(paths[-1], text)
    return paths


def comparisons(
    name: str, dataset: str, results: Sequence[Evaluation], shots: int | None
) -> list[Comparison]:
    """Set our results beside the papers' of the same categories, metric by metric.

    Our AUPRO stands there twice, with every threshold and with the published grid; the papers' is
    that of the grid. The mean is that of the categories evaluated: a paper that prints only the
    mean of all categories is left out beside a part of them.
    """
    categories = [result.category for result in results]
    tables = []
    for metric in PUBLISHED:
        rows = {name: {r.category: r.metrics[metric] for r in results}}
        if metric in AREAS:
            rows = {f"{name}, exact": rows[name]}
            rows[f"{name}, grid"] = {r.category: r.grid[metric] for r in results}
        rows = {row: {**values, "mean": fmean(values.values())} for row, values in rows.items()}
        setting = "" if shots is None else f"{shots}-shot"
        for method, values in _papers(dataset, categories, metric, setting).items():
            rows[f"{method} (paper)"] = values
        tables.append(Comparison(metric, (*categories, "mean"), rows))
    return tables


def as_csv(results: Sequence[Evaluation], about: Mapping[str, object]) -> str:
    """Write a line per category and their mean, below ``#`` lines that say what they came from."""
    text = io.StringIO()
    for name, value in about.items():
        text.write(f"# {name}: {json.dumps(value)}\n")
    rows = [_flat(result) for result in (*results, mean(results))]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(
    title: str,
    results: Sequence[Evaluation],
    tables: Sequence[Comparison],
    about: Mapping[str, object],
) -> str:
    """Write the page: our results, the papers' beside them, what was left out, what was run."""
    everything = [*results, mean(results)] if len(results) > 1 else list(results)
    areas = [f"{area} {kind}" for area in AREAS for kind in ("exact", "grid")]
    scores = [n for n in METRICS if n not in AREAS]
    parts = [
        f"# {title}\n",
        f"AUPRO *exact* takes every threshold, *grid* the {GRID} published ones.\n",
        _markdown(
            ["category", *scores, "parts/s", "memory MB", "train", "good", "defective"],
            [
                [
                    r.category,
                    *(shown(r.metrics[n]) for n in scores),
                    shown(r.frames_per_second, 1),
                    shown(r.memory, 0),
                    *map(str, (r.train, r.good, r.defective)),
                ]
                for r in everything
            ],
        ),
        _markdown(
            ["category", *areas],
            [
                [r.category, *(shown(v[n]) for n in AREAS for v in (r.metrics, r.grid))]
                for r in everything
            ],
        ),
    ]
    if judged := [r for r in results if r.verdicts]:
        parts += ["## Verdicts\n", _verdicts(judged)]
    if any(len(table.rows) > 2 for table in tables):
        parts.append("## Beside the papers\n")
        for table in tables:
            rows = [
                [name, *(shown(values.get(category)) for category in table.categories)]
                for name, values in table.rows.items()
            ]
            parts += [f"### {table.metric}\n", _markdown(["method", *table.categories], rows)]
    if bad := mean(results).bad:
        parts.append("## Left out\n")
        parts.append("".join(f"- {name}: {reason}\n" for name, reason in bad))
    parts.append("## What was run\n")
    lines = ["| what | value |", "|---|---|"]
    lines += [f"| {name} | `{json.dumps(value)}` |" for name, value in about.items()]
    parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def shown(value: float | None, digits: int = 3) -> str:
    """Return a number as the papers print it; "-" for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def _verdicts(results: Sequence[Evaluation]) -> str:
    rows = []
    for r in results:
        v = r.verdicts
        wrong = f"{v['false_rejects']:.0f} of {r.good}", f"{v['missed']:.0f} of {r.defective}"
        rows.append([r.category, f"{v['threshold']:.4g}", *wrong])
    return _markdown(["category", "threshold", "false rejects", "missed"], rows)


def _papers(
    dataset: str, categories: Sequence[str], metric: str, setting: str
) -> dict[str, dict[str, float]]:
    try:
        found = beside(dataset, (*categories, "mean"), metric, setting=setting)
        known = {number.category for number in published(dataset)} - {"mean"}
    except ValueError:  # the papers have no such data set or setting
        return {}
    rows = {}
    for method, values in found.items():
        if known <= {*categories} and "mean" in values:
            rows[method] = values
        elif {*categories} <= {*values}:
            chosen = {name: values[name] for name in categories}
            rows[method] = {**chosen, "mean": fmean(chosen.values())}
    return rows


def _flat(result: Evaluation) -> dict[str, object]:
    return {
        "category": result.category,
        "train": result.train,
        "good": result.good,
        "defective": result.defective,
        **result.metrics,
        **{f"{name} grid": value for name, value in result.grid.items()},
        "frames per second": result.frames_per_second,
        "memory MB": result.memory,
        **{f"{stage} s": value for stage, value in result.seconds.items()},
        **result.verdicts,
        "left out": len(result.bad),
    }


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table; all columns but the first are numbers."""
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
