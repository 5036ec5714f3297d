"""Our results beside the papers', metric by metric, and why there is nothing beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from cmad.evaluate import AREAS, Evaluation
from cmad.report.published import PARTS, Row, beside, published
from cmad.report.subject import Subject

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
    deviations: dict[str, dict[str, float]]
    """Over the seeds, of our rows; empty for one seed."""
    methods: tuple[str, ...]
    """Those that the papers' rows are of."""
    missing: str
    """Why there is no paper's row; empty where there is one."""


def comparisons(
    subject: Subject, results: Sequence[Evaluation], mean: Evaluation
) -> list[Comparison]:
    """Set our results beside the papers' of the same categories, metric by metric.

    Our AUPRO stands there twice, with every threshold and with the published grid; the papers' is
    that of the grid. The mean is that of the categories evaluated: a paper that prints only the
    mean of all categories is left out beside a part of them.

    Args:
        subject: what was evaluated.
        results: of each category.
        mean: of the categories.

    """
    label = subject.label(results)
    name = label.replace(subject.method, f"{subject.method} (cmad)", 1)
    categories = [result.category for result in results]
    tables = []
    for metric in PUBLISHED:
        rows, deviations = {}, {}
        kinds = [("exact", "metrics", ""), ("grid", "grid", " grid")]
        for kind, field, suffix in kinds if metric in AREAS else [("", "metrics", "")]:
            row = f"{name}, {kind}" if kind else name
            everything = (*results, mean)
            rows[row] = {r.category: getattr(r, field)[metric] for r in everything}
            key = metric + suffix
            deviations[row] = {r.category: r.deviations[key] for r in everything if r.deviations}
        found, missing = papers(subject, categories, metric)
        few = "" if subject.shots is None else f", {_setting(subject)}"
        for method, printed in found.items():
            rows[f"{method}{few} (paper: {printed.source})"] = printed.values
        columns = *categories, "mean"
        tables.append(Comparison(metric, columns, rows, deviations, tuple(found), missing))
    return tables


def papers(
    subject: Subject, categories: Sequence[str], metric: str
) -> tuple[Mapping[str, Row], str]:
    """Return the papers' rows of a metric by method, and why there are none if there are none."""
    dataset, setting = subject.dataset, _setting(subject)
    if dataset not in PARTS:
        return {}, f"The papers have no numbers for {dataset}; they use {' and '.join(PARTS)}."
    everything = published(dataset)
    known = [*dict.fromkeys(n.category for n in everything if n.category != "mean")]
    if unknown := [name for name in categories if name not in known]:
        said = "no category" if len(unknown) == 1 else "no categories"
        return {}, f"The papers' {dataset} has {said} {', '.join(unknown)}: {', '.join(known)}."
    if setting not in {n.setting for n in everything}:
        few = {
            n: [*dict.fromkeys(x.setting for x in published(n) if "-shot" in x.setting)]
            for n in PARTS
        }
        listed = "; ".join(f"{', '.join(of)} on {n}" for n, of in few.items() if of)
        return {}, f"The papers have no {setting} results on {dataset}; they print {listed}."
    if not [n for n in everything if n.metric == metric and n.setting == setting]:
        return {}, f"The papers do not print {' '.join(filter(None, [setting, metric]))}."
    rows = {}
    for method, row in beside(dataset, (*categories, "mean"), metric, setting=setting).items():
        if {*known} <= {*categories} and "mean" in row.values:
            rows[method] = row
        elif {*categories} <= {*row.values}:
            chosen = {name: row.values[name] for name in categories}
            rows[method] = Row(row.paper, row.table, {**chosen, "mean": fmean(chosen.values())})
    if rows:
        return rows, ""
    what = f"{setting} results" if setting else metric
    return {}, f"The papers print {what} only as the mean of all {len(known)} categories."


def own_row(subject: Subject, tables: Sequence[Comparison]) -> str:
    """Say where the papers have rows, but none of this method."""
    methods = {method for table in tables for method in table.methods}
    full = subject.method.split("-")[0]
    if not methods or subject.method in methods:
        return ""
    if full in methods:
        return f"The papers have no {subject.method} for this; {full} is the full variant."
    return f"The papers do not have {subject.method}: their rows are other methods."


def _setting(subject: Subject) -> str:
    return "" if subject.shots is None else f"{subject.shots}-shot"
