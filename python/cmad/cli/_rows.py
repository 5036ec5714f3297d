"""Which rows of a paper's tables `cmad reproduce` runs, and what of them is done."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import typer

from cmad.cli._common import table
from cmad.cli._evaluation import SeedRun
from cmad.datasets import DataSet
from cmad.detectors import Ablation
from cmad.evaluate import AREAS, Runs, averages
from cmad.report import reproduction
from cmad.report.evaluation import shown
from cmad.report.published import PARTS
from cmad.report.subject import Subject

CURVE, NONE = "curve", "none"
Values = Mapping[str, object]


def chosen(
    known: Sequence[Ablation], asked: Sequence[str] | None, subject: Subject
) -> tuple[list[Ablation], bool, list[str]]:
    """Choose what the tables that were asked for need.

    Args:
        known: the method's ablations.
        asked: numbers of tables, "curve", "none"; None for all.
        subject: what is run.

    Returns:
        The ablations, whether the method as it is belongs to them, and the tables to print; none
        for all.

    Raises:
        ValueError: the paper has no such table, or it is of another data set.

    """
    here = reproduction.settings_of(subject)
    everywhere = {kind: reproduction.settings_of(replace(subject, dataset=kind)) for kind in PARTS}
    numbers = {table_: kind for kind, found in everywhere.items() for table_ in found}
    names = sorted(numbers, key=_order)
    names += [CURVE] if any(a.table == CURVE for a in known) else []
    # A variant's own row is the method as it is, if that is the variant.
    known = [a for a in known if a.setting != subject.method]
    if asked is None:
        printed = {setting for settings in here.values() for setting in settings}
        own = [a for a in known if not printed or a.setting in printed or a.table in ("", CURVE)]
        return own, True, []
    for name in asked:
        if name not in (*names, NONE):
            listed = ", ".join((*names, NONE))
            raise ValueError(f"--table must be one of {listed}, got {name!r}")
        if here and name in numbers and name not in here:
            raise ValueError(
                f"--table {name} is of {numbers[name]}, DATA is of {subject.dataset}: of that the "
                f"paper has {', '.join(here)}"
            )
    tables = [name for name in asked if name in numbers]
    wanted = {s for t in tables for s in everywhere[numbers[t]].get(t, ())}
    # A row of no table costs nothing beside those that judge by one map, too.
    free = list(asked) != [NONE]
    own = [a for a in known if a.setting in wanted or a.table in asked or (free and not a.table)]
    whole = "" in wanted or len(tables) < len(asked) or not own
    return own, whole, tables if len(tables) == len(asked) else []


def settled(ablation: Ablation, settings: Values, training: Values) -> tuple[Ablation, str]:
    """Leave out what does not differ from the command's own options, and train no longer than it.

    Args:
        ablation: of the method.
        settings: arguments of the detector.
        training: of its ``fit``, with the defaults.

    Returns:
        The ablation, and what a reader should know of it.

    """
    note, changed = "", dict(ablation.training)
    epochs, most = changed.get("epochs"), training.get("epochs")
    if isinstance(epochs, int) and isinstance(most, int) and epochs > most:
        changed["epochs"] = most
        note = f"{ablation.setting}: trained for {most} instead of {epochs} epochs, as asked"
    fit = {name: value for name, value in changed.items() if training.get(name) != value}
    made = {name: value for name, value in ablation.made.items() if settings.get(name) != value}
    return replace(ablation, training=fit, made=made), note


def together(notes: Sequence[str]) -> list[str]:
    """Put together what is said of several rows alike."""
    names: dict[str, list[str]] = {}
    for note in notes:
        name, _, said = note.partition(": ")
        names.setdefault(said, []).append(name)
    return [f"{'; '.join(of)}: {said}" for said, of in names.items()]


def too_few(data: DataSet, category: str, shots: int | None) -> str:
    """Say why a category cannot have so many shots; nothing where it can."""
    have = len(data.split(category, "train"))
    if shots is None or shots <= have:
        return ""
    return f"{category} has {have} training parts, too few for {shots} shots"


def folder_of(setting: str) -> str:
    """Return a name for a folder: ``L_sep + L_cns`` is ``L_sep_L_cns``."""
    return "".join(c if c.isalnum() or c in "_-" else " " for c in setting).replace(" ", "_")


def done(runs: Mapping[str, Sequence[SeedRun]], categories: Sequence[str]) -> dict[str, Runs]:
    """Return the results so far, of the settings that have any."""
    found: dict[str, Runs] = {}
    for setting, of_seeds in runs.items():
        results = {r.seed: [r.kept[n][0] for n in categories if n in r.kept] for r in of_seeds}
        if kept := {one: rows for one, rows in results.items() if rows}:
            found[setting] = kept
    return found


def show(results: reproduction.Results) -> None:
    """Print the means of each setting."""
    names = ["I-AUROC", "P-AUROC", *AREAS]
    rows = []
    for setting, runs in results.items():
        _, mean = averages(runs)
        values = {**mean.metrics, **mean.grid}
        key = {n: f"{n} grid" if n in AREAS else n for n in names}
        cells = [shown(values[n], deviation=mean.deviations.get(key[n])) for n in names]
        rows.append([setting or reproduction.FULL, *cells])
    table("Means; AUPRO of the grid", ("row", *names), rows)


def tell(notes: Sequence[str]) -> None:
    """Print what a reader should know of the rows."""
    for note in notes:
        typer.echo(f"note: {note}")


def _order(table_: str) -> tuple[bool, int, str]:
    """Order 1 to 13 as numbers, and behind the others those of a supplement."""
    return table_.startswith("supplementary"), int(table_) if table_.isdigit() else 0, table_
