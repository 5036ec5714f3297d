"""Evaluation tables as CSV, JSON, Markdown and LaTeX, with the papers' numbers beside ours."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from cmad.evaluate import AREAS, GRID, METRICS, Evaluation, Runs, averages, mean, write_whole
from cmad.report.blocks import (
    Block,
    Facts,
    Heading,
    Items,
    Table,
    Text,
    as_latex,
    as_markdown,
)
from cmad.report.comparisons import Comparison, comparisons, own_row
from cmad.report.published import PARTS
from cmad.report.subject import PIXELS, Subject


def write(
    folder: Path,
    runs: Runs,
    subject: Subject,
    about: Mapping[str, object],
    command: str = "",
) -> list[Path]:
    """Write ``evaluation.csv``, ``.json``, ``.md`` and ``.tex``: results, and what they came from.

    Args:
        folder: must exist.
        runs: results by category, of each seed; at least one.
        subject: what was evaluated.
        about: configuration, versions and machine, fit for JSON.
        command: the command line; empty where there was none.

    Returns:
        The files.

    """
    results, whole = averages(runs)
    about = {**_dates(runs), **({"command": command} if command else {}), **about}
    tables = comparisons(subject, results, whole)
    data: dict[str, object] = {
        "about": about,
        "results": [asdict(result) for result in results],
        "mean": asdict(whole),
        "beside": {table.metric: table.rows for table in tables},
        "not comparable": not_comparable(subject, results),
    }
    if len(runs) > 1:
        data["seeds"] = {
            str(seed): {"results": [asdict(r) for r in of_seed], "mean": asdict(mean(of_seed))}
            for seed, of_seed in runs.items()
            if of_seed
        }
    blocks = page(subject, runs, tables, about, command)
    texts = {
        "csv": as_csv([*results, whole], about),
        "json": json.dumps(data, indent=1, allow_nan=False) + "\n",
        "md": as_markdown(blocks),
        "tex": as_latex(blocks),
    }
    paths = []
    for extension, text in texts.items():
        paths.append(folder / f"evaluation.{extension}")
        write_whole(paths[-1], text)
    return paths


def not_comparable(subject: Subject, results: Sequence[Evaluation]) -> list[str]:
    """Say why the papers' numbers are of something else; nothing where they are of the same.

    Nothing either where the papers do not use the data set.
    """
    if subject.dataset not in PARTS:
        return []
    return [d.reason for d in subject.all_differences(results) if d.apart]


def as_csv(rows: Sequence[Evaluation], about: Mapping[str, object]) -> str:
    """Write a line per category and their mean, below ``#`` lines that say what they came from."""
    text = io.StringIO()
    for name, value in about.items():
        text.write(f"# {name}: {json.dumps(value)}\n")
    flat = [_flat(result) for result in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def page(
    subject: Subject,
    runs: Runs,
    tables: Sequence[Comparison],
    about: Mapping[str, object],
    command: str,
) -> list[Block]:
    """Compose the page: our results, the papers' beside them, what was left out, what was run."""
    results, whole = averages(runs)
    everything = [*results, whole] if len(results) > 1 else results
    blocks: list[Block] = [Heading(f"{subject.label(results)} on {subject.dataset}", 1)]
    apart = not_comparable(subject, results) if any(table.methods for table in tables) else []
    if apart:
        blocks.append(Text("See the reasons below.", strong="Not comparable with the papers."))
    blocks += [Text(text) for text in _conventions(subject, runs)]
    blocks += _results(everything, len(runs) > 1)
    if judged := [(s, r) for s, of_seed in runs.items() for r in of_seed if r.verdicts]:
        blocks += [Heading("Verdicts"), _verdicts(judged, len(runs) > 1)]
    blocks += _beside(subject, results, tables, apart)
    if bad := dict.fromkeys(pair for r in results for pair in r.bad):
        blocks += [Heading("Left out"), Items([f"{name}: {reason}" for name, reason in bad])]
    facts = {name: value for name, value in about.items() if name != "command"}
    return [*blocks, Heading("What was run"), Facts(facts, command)]


def shown(value: float | None, digits: int = 3, deviation: float | None = None) -> str:
    """Return a number as the papers print it, with its deviation; "-" for None."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _dates(runs: Runs) -> dict[str, object]:
    """Say when the results were made, as ``"DATE UTC"`` or ``"DATE to DATE UTC"``."""
    dates = sorted({r.date for results in runs.values() for r in results if r.date})
    return {"date": f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))} UTC"} if dates else {}


def _conventions(subject: Subject, runs: Runs) -> list[str]:
    size = f"{subject.pixels}x{subject.pixels}"
    said = [
        f"Pixels are compared on the detector's own grid of {size}, the masks sampled to it, those "
        f"of all test parts of a category together, as the papers do on {PIXELS}x{PIXELS}. I-AUROC "
        "and I-AP are of image scores. Each category counts the same in a mean.",
        f"AUPRO exact takes every threshold, grid the {GRID} published ones; AUPRO@L is the area "
        "up to a false-positive rate of L, divided by L. The papers' AUPRO is that of a grid (99 "
        "thresholds in CFM, 100 in G2SF, M3DM and BTF): compare it with ours of the grid, never "
        "with the exact one.",
    ]
    if len(runs) > 1:
        said.append(
            f"Mean ± standard deviation (of a sample) over seeds {', '.join(map(str, runs))} of "
            "all that is drawn, the training parts of few shots too. The deviation of the mean is "
            "that of the seeds' means. The papers print no deviations."
        )
    return said


def _results(rows: Sequence[Evaluation], several: bool) -> list[Block]:
    scores = [n for n in METRICS if n not in AREAS]
    counts = ["train", "good", "defective", *(["seeds"] if several else [])]
    areas = [f"{area} {kind}" for area in AREAS for kind in ("exact", "grid")]
    return [
        Table(
            ["category", *scores, "parts/s", "memory MB", *counts],
            [
                [
                    r.category,
                    *(shown(r.metrics[n], deviation=r.deviations.get(n)) for n in scores),
                    shown(r.frames_per_second, 1),
                    shown(r.memory, 0),
                    *(str(getattr(r, count)) for count in counts),
                ]
                for r in rows
            ],
        ),
        Table(
            ["category", *areas],
            [
                [
                    r.category,
                    *(
                        shown(values[n], deviation=r.deviations.get(n + suffix))
                        for n in AREAS
                        for values, suffix in ((r.metrics, ""), (r.grid, " grid"))
                    ),
                ]
                for r in rows
            ],
        ),
    ]


def _verdicts(judged: Sequence[tuple[int, Evaluation]], several: bool) -> Table:
    rows = []
    for seed, r in judged:
        v = r.verdicts
        wrong = f"{v['false_rejects']:.0f} of {r.good}", f"{v['missed']:.0f} of {r.defective}"
        name = f"{r.category}, seed {seed}" if several else r.category
        rows.append([name, f"{v['threshold']:.4g}", *wrong])
    return Table(["category", "threshold", "false rejects", "missed"], rows)


def _beside(
    subject: Subject,
    results: Sequence[Evaluation],
    tables: Sequence[Comparison],
    apart: Sequence[str],
) -> list[Block]:
    """Compose the section of the papers, which says so where there is nothing to compare."""
    if not any(table.methods for table in tables):
        reasons = dict.fromkeys(table.missing for table in tables)
        return [Heading("Beside the papers"), *map(Text, reasons)]
    blocks: list[Block] = [Heading(f"Beside the papers{' (not comparable)' * bool(apart)}")]
    if apart:
        blocks += [Text("What the papers' rows are of is not what ours are of:"), Items(apart)]
    if other := [d.reason for d in subject.all_differences(results) if not d.apart]:
        blocks += [Text("Set otherwise in ours:"), Items(other)]
    if none := own_row(subject, tables):
        blocks.append(Text(none))
    for table in tables:
        rows = []
        for name, values in table.rows.items():
            spread = table.deviations.get(name, {})
            cells = [shown(values.get(c), deviation=spread.get(c)) for c in table.categories]
            rows.append([name, *cells])
        blocks += [Heading(table.metric, 3), Table(["method", *table.categories], rows)]
        if table.missing:
            blocks.append(Text(table.missing))
    return blocks


def _flat(result: Evaluation) -> dict[str, object]:
    return {
        "category": result.category,
        "train": result.train,
        "good": result.good,
        "defective": result.defective,
        **result.metrics,
        **{f"{name} grid": value for name, value in result.grid.items()},
        **{f"{name} deviation": value for name, value in result.deviations.items()},
        "frames per second": result.frames_per_second,
        "memory MB": result.memory,
        **{f"{stage} s": value for stage, value in result.seconds.items()},
        **result.verdicts,
        "left out": len(result.bad),
    }
