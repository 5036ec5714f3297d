"""A paper's tables of one method, row by row, with ours beside them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from statistics import fmean

from cmad.evaluate import AREAS, Evaluation, Runs, averages, write_whole
from cmad.report.blocks import Block, Facts, Heading, Items, Table, Text, as_latex, as_markdown
from cmad.report.evaluation import not_comparable, shown
from cmad.report.published import PARTS, Published, published
from cmad.report.subject import Subject

Results = Mapping[str, Runs]
"""By the settings of `cmad.report.published`; ``""`` is the method as it is."""

FULL = "as it is"
"""The row of the method with nothing changed."""


def write(
    folder: Path,
    results: Results,
    subject: Subject,
    about: Mapping[str, object],
    command: str = "",
) -> list[Path]:
    """Write ``reproduction.md``, ``.tex`` and ``.json``.

    Args:
        folder: must exist.
        results: at least those of the method as it is.
        subject: what was evaluated.
        about: configuration, versions and machine, fit for JSON.
        command: the command line; empty where there was none.

    Returns:
        The files.

    """
    blocks = page(results, subject, about, command)
    of_settings = {}
    for setting, runs in results.items():
        rows, mean = averages(runs)
        of_settings[setting or FULL] = {
            "results": [asdict(row) for row in rows],
            "mean": asdict(mean),
        }
    data = {"about": {"command": command, **about}, "settings": of_settings}
    texts = {
        "md": as_markdown(blocks),
        "tex": as_latex(blocks),
        "json": json.dumps(data, indent=1, allow_nan=False) + "\n",
    }
    paths = []
    for extension, text in texts.items():
        paths.append(folder / f"reproduction.{extension}")
        write_whole(paths[-1], text)
    return paths


def page(
    results: Results, subject: Subject, about: Mapping[str, object], command: str
) -> list[Block]:
    """Compose the page: why it is not comparable where it is not, the tables, what was run."""
    rows, _ = averages(results[""])
    blocks: list[Block] = [Heading(f"{subject.label(rows)} beside its paper", 1)]
    if apart := not_comparable(subject, rows):
        blocks += [
            Text("For these reasons:", strong="Not comparable with the paper."),
            Items(apart),
        ]
    blocks.append(
        Text(
            "Of each row the paper's numbers and ours. AUPRO is that of the published grid of "
            "thresholds; with every threshold it is in reproduction.json. "
            + (
                f"Mean ± standard deviation over seeds {', '.join(map(str, results['']))}. "
                if len(results[""]) > 1
                else ""
            )
            + "The mean is that of the categories that are here; where they are not all, the "
            "paper's own mean, of all of them, stands beside it."
        )
    )
    found = list(tables(results, subject))
    if found and _numbers(subject)[0].method != subject.method:
        full = _full(subject)
        blocks.append(Text(f"The paper has no {subject.method}: its rows are of the full {full}."))
    blocks += found or [Text(f"The paper has no table of {subject.method} on {subject.dataset}.")]
    return [*blocks, Heading("What was run"), Facts(about, command)]


def tables(results: Results, subject: Subject) -> Iterator[Block]:
    """Compose the paper's tables that have a row of this method, in the paper's order."""
    means = {setting: averages(runs) for setting, runs in results.items()}
    whole = [n for n in _numbers(subject) if n.setting in results]
    for (paper, table), numbers in groupby(whole, key=lambda n: (n.paper, n.table)):
        own = list(numbers)
        *part, number = table.split()  # "supplementary I"
        yield Heading(" ".join([paper, *part, "Table", number]))
        with_categories = dict.fromkeys(n.metric for n in own if n.category != "mean")
        for metric in with_categories:
            yield Heading(metric, 3)
            yield _by_category([n for n in own if n.metric == metric], means)
        if rest := [n for n in own if n.metric not in with_categories]:
            yield _of_means(rest, means)
    others = [name for name in results if name not in {n.setting for n in whole} | {""}]
    curve = [name for name in others if name.endswith(" epochs")]
    if curve:
        yield Heading("Learning curve")
        yield Text("Had the training stopped after so many epochs; the paper draws its own.")
        yield _ours(curve, means)
    if unprinted := [name for name in others if name not in curve]:
        yield Heading("Not in the paper")
        yield _ours(unprinted, means)


Means = Mapping[str, tuple[Sequence[Evaluation], Evaluation]]


def _numbers(subject: Subject) -> list[Published]:
    """Return the numbers of the variant, or of the full one where it is not printed."""
    if subject.dataset not in PARTS:
        return []
    full = _full(subject)
    # A paper's own rows: others quote them.
    own = [n for n in published(subject.dataset) if n.paper == full]
    return [n for n in own if n.method == subject.method] or [n for n in own if n.method == full]


def _full(subject: Subject) -> str:
    return subject.method.split("-")[0]


def _by_category(numbers: Sequence[Published], means: Means) -> Table:
    """Compose a table with a column for each category, and two rows for each setting."""
    printed: dict[str, dict[str, float]] = {}
    for n in numbers:
        printed.setdefault(n.setting, {})[n.category] = n.value
    metric = numbers[0].metric
    here = [r.category for r in means[""][0]]
    columns = ["row", *here, "mean", "mean of all"]
    rows = []
    for setting, values in printed.items():
        known = [values[c] for c in here if c in values]
        own = [shown(values.get(c)) for c in here]
        of_these = shown(fmean(known)) if len(known) == len(here) else "-"
        rows.append([f"{setting or FULL}, paper", *own, of_these, shown(values.get("mean"))])
        of_category = {r.category: r for r in means[setting][0]}
        ours = [_cell(of_category[c], metric) if c in of_category else "-" for c in here]
        ours.append(_mean(means, setting, metric))
        every = set(values) - {"mean"} <= set(here)
        rows.append([f"{setting or FULL}, ours", *ours, ours[-1] if every else "-"])
    return Table(columns, rows)


def _of_means(numbers: Sequence[Published], means: Means) -> Table:
    """Compose a table with two columns for each metric, and a row for each setting."""
    metrics = [m for m in dict.fromkeys(n.metric for n in numbers) if m in _known(means)]
    printed = {(n.setting, n.metric): n.value for n in numbers}
    rows = []
    for setting in dict.fromkeys(n.setting for n in numbers):
        cells = [
            cell
            for metric in metrics
            for cell in (shown(printed.get((setting, metric))), _mean(means, setting, metric))
        ]
        rows.append([setting or FULL, *cells])
    return Table(["row", *(f"{m}, {who}" for m in metrics for who in ("paper", "ours"))], rows)


def _ours(settings: Sequence[str], means: Means) -> Table:
    """Compose a table of our means alone."""
    metrics = ["I-AUROC", "P-AUROC", *AREAS]
    rows = [[name or FULL, *(_mean(means, name, m) for m in metrics)] for name in (*settings, "")]
    return Table(["row", *metrics], rows)


def _known(means: Means) -> set[str]:
    return set(means[""][1].metrics)


def _mean(means: Means, setting: str, metric: str) -> str:
    """Return a setting's mean; nothing while it lacks categories that the method as it is has."""
    results, mean = means[setting]
    return _cell(mean, metric) if len(results) == len(means[""][0]) else "-"


def _cell(result: Evaluation, metric: str) -> str:
    value = result.grid[metric] if metric in AREAS else result.metrics[metric]
    key = f"{metric} grid" if metric in AREAS else metric
    return shown(value, deviation=result.deviations.get(key))
