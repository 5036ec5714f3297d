"""A paper's tables of one method, row by row, with ours beside them."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
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
"""By the settings of `cmad.report.published`, of another variant by its name, such as ``"CFM-M"``;
``""`` is the method as it is."""

FULL = "as it is"
"""The row of the method with nothing changed."""


def write(
    folder: Path,
    results: Results,
    subject: Subject,
    about: Mapping[str, object],
    command: str = "",
    *,
    asked: Collection[str] = (),
    notes: Sequence[str] = (),
) -> list[Path]:
    """Write ``reproduction.md``, ``.tex`` and ``.json``.

    Args:
        folder: must exist.
        results: of one setting or more.
        subject: what was evaluated.
        about: configuration, versions and machine, fit for JSON.
        command: the command line; empty where there was none.
        asked: the paper's tables that are wanted; empty for all.
        notes: what a reader should know of the rows.

    Returns:
        The files.

    """
    blocks = page(results, subject, about, command, asked=asked, notes=notes)
    of_settings = {}
    for setting, runs in results.items():
        rows, mean = averages(runs)
        of_settings[setting or FULL] = {
            "results": [asdict(row) for row in rows],
            "mean": asdict(mean),
        }
    said = {"notes": list(notes)} if notes else {}
    data = {"about": {"command": command, **about}, **said, "settings": of_settings}
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
    results: Results,
    subject: Subject,
    about: Mapping[str, object],
    command: str,
    *,
    asked: Collection[str] = (),
    notes: Sequence[str] = (),
) -> list[Block]:
    """Compose the page: why it is not comparable where it is not, the tables, what was run."""
    rows, _ = averages(next(iter(results.values())))
    blocks: list[Block] = [Heading(f"{subject.label(rows)} beside its paper", 1)]
    if apart := not_comparable(subject, rows):
        blocks += [
            Text("For these reasons:", strong="Not comparable with the paper."),
            Items(apart),
        ]
    seeds = next(iter(results.values()))
    blocks.append(
        Text(
            "Of each row the paper's numbers and ours, and ours less the paper's. AUPRO is that of "
            "the published grid of thresholds; with every threshold it is in reproduction.json. "
            + (
                f"Mean ± standard deviation over seeds {', '.join(map(str, seeds))}. "
                if len(seeds) > 1
                else ""
            )
            + "The mean is that of the categories that are here; where they are not all, the "
            "paper's own mean, of all of them, stands beside it."
        )
    )
    if notes:
        blocks.append(Items(notes))
    found = list(tables(results, subject, asked))
    printed = _rows(subject)
    if found and printed and printed[0][1].method != subject.method and "" in results:
        full = _full(subject)
        blocks.append(Text(f"The paper has no {subject.method}: its rows are of the full {full}."))
    blocks += found or [Text(f"The paper has no table of {subject.method} on {subject.dataset}.")]
    return [*blocks, Heading("What was run"), Facts(about, command)]


def tables(results: Results, subject: Subject, asked: Collection[str] = ()) -> Iterator[Block]:
    """Compose the paper's tables that have a row of this method, in the paper's order."""
    means = {setting: averages(runs) for setting, runs in results.items()}
    printed = _rows(subject)
    whole = [(k, n) for k, n in printed if k in results and (not asked or n.table in asked)]
    for (paper, table), numbers in groupby(whole, key=lambda kn: (kn[1].paper, kn[1].table)):
        own = list(numbers)
        *part, number = table.split()  # "supplementary I"
        yield Heading(" ".join([paper, *part, "Table", number]))
        with_categories = dict.fromkeys(n.metric for _, n in own if n.category != "mean")
        for metric in with_categories:
            yield Heading(metric, 3)
            yield _by_category([(k, n) for k, n in own if n.metric == metric], means)
        if rest := [(k, n) for k, n in own if n.metric in _known(means) and n.category == "mean"]:
            rest = [(k, n) for k, n in rest if n.metric not in with_categories]
            if rest and (fewer := _fewer(subject, means)):
                yield Text(fewer)
            if rest:
                yield _of_means(rest, means)
        if any(n.metric == "fps" for _, n in own):
            yield Text(
                "Frame rates and memory: benchmarks/fps.py measures them, and sets those of Table "
                "5 beside the paper's."
            )
    others = [name for name in results if name not in {k for k, _ in printed} | {""}]
    curve = [name for name in others if name.endswith(" epochs")]
    if curve:
        yield Heading("Learning curve")
        yield Text("Had the training stopped after so many epochs; the paper draws its own.")
        yield _ours(curve, means)
    if unprinted := [name for name in others if name not in curve]:
        yield Heading("Not in the paper")
        yield _ours(unprinted, means)


Means = Mapping[str, tuple[Sequence[Evaluation], Evaluation]]


def settings_of(subject: Subject) -> dict[str, set[str]]:
    """Return the rows that the paper has of a method on this data set, by table, in its order."""
    found: dict[str, set[str]] = {}
    for setting, number in _rows(subject):
        found.setdefault(number.table, set()).add(setting)
    return found


def _rows(subject: Subject) -> list[tuple[str, Published]]:
    """Return the numbers of the paper's own method, with what their rows are called here.

    Those of the variant, or of the full one where it is not printed, by their setting; those of
    other variants by their name.
    """
    if subject.dataset not in PARTS:
        return []
    full = _full(subject)
    # A paper's own rows: others quote them.
    own = [n for n in published(subject.dataset) if n.paper == full]
    base = subject.method if any(n.method == subject.method for n in own) else full
    return [
        (n.setting if n.method == base else ", ".join(filter(None, (n.method, n.setting))), n)
        for n in own
        if n.method.split("-")[0] == full
    ]


def _fewer(subject: Subject, means: Means) -> str:
    """Say of which categories our means are, where the paper's are of more."""
    here = _here(means)
    every = PARTS[subject.dataset]
    if set(here) >= set(every):
        return ""
    return f"The paper's means are of its {len(every)} categories, ours of {', '.join(here)} alone."


def _full(subject: Subject) -> str:
    return subject.method.split("-")[0]


def _by_category(numbers: Sequence[tuple[str, Published]], means: Means) -> Table:
    """Compose a table with a column for each category, and three rows for each setting."""
    printed: dict[str, dict[str, float]] = {}
    for setting, n in numbers:
        printed.setdefault(setting, {})[n.category] = n.value
    metric = numbers[0][1].metric
    here = _here(means)
    columns = ["row", *here, "mean", "mean of all"]
    rows = []
    for setting, values in printed.items():
        known = [values[c] for c in here if c in values]
        of_these = fmean(known) if known and len(known) == len(here) else None
        every = set(values) - {"mean"} <= set(here)
        paper = [*(values.get(c) for c in here), of_these, values.get("mean")]
        of_category: dict[str, Evaluation] = {r.category: r for r in means[setting][0]}
        mean = _whole(means, setting)
        ours = [*(of_category.get(c) for c in here), mean, mean if every else None]
        named = setting or FULL
        rows.append([f"{named}, paper", *(shown(value) for value in paper)])
        rows.append([f"{named}, ours", *(_cell(one, metric) for one in ours)])
        apart = [_apart(one, metric, value) for one, value in zip(ours, paper, strict=True)]
        rows.append([f"{named}, difference", *apart])
    return Table(columns, rows)


def _of_means(numbers: Sequence[tuple[str, Published]], means: Means) -> Table:
    """Compose a table with three columns for each metric, and a row for each setting."""
    metrics = list(dict.fromkeys(n.metric for _, n in numbers))
    printed = {(setting, n.metric): n.value for setting, n in numbers}
    rows = []
    for setting in dict.fromkeys(setting for setting, _ in numbers):
        mean = _whole(means, setting)
        cells = []
        for metric in metrics:
            value = printed.get((setting, metric))
            cells += [shown(value), _cell(mean, metric), _apart(mean, metric, value)]
        rows.append([setting or FULL, *cells])
    three = ("paper", "ours", "difference")
    return Table(["row", *(f"{m}, {who}" for m in metrics for who in three)], rows)


def _ours(settings: Sequence[str], means: Means) -> Table:
    """Compose a table of our means alone."""
    metrics = ["I-AUROC", "P-AUROC", *AREAS]
    named = [*settings, *([""] if "" in means else [])]
    rows = [[n or FULL, *(_cell(_whole(means, n), m) for m in metrics)] for n in named]
    return Table(["row", *metrics], rows)


def _here(means: Means) -> list[str]:
    """Return the categories that there are results of."""
    return list(dict.fromkeys(r.category for results, _ in means.values() for r in results))


def _known(means: Means) -> set[str]:
    return {name for _, mean in means.values() for name in mean.metrics}


def _whole(means: Means, setting: str) -> Evaluation | None:
    """Return a setting's mean; nothing while it lacks categories that others have."""
    results, mean = means[setting]
    return mean if len(results) == len(_here(means)) else None


def _value(result: Evaluation, metric: str) -> float:
    return result.grid[metric] if metric in AREAS else result.metrics[metric]


def _cell(result: Evaluation | None, metric: str) -> str:
    if result is None:
        return "-"
    key = f"{metric} grid" if metric in AREAS else metric
    return shown(_value(result, metric), deviation=result.deviations.get(key))


def _apart(result: Evaluation | None, metric: str, paper: float | None) -> str:
    """Return ours less the paper's, with its sign."""
    if result is None or paper is None:
        return "-"
    return f"{_value(result, metric) - paper:+.3f}"
