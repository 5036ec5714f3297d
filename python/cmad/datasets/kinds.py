"""What a folder's name says about the parts in it: good, a kind of defect, or nothing."""

import re
from collections.abc import Collection
from pathlib import Path

from cmad.datasets.names import plain

GOOD = "good"

_DEFECTIVE = frozenset(
    (
        *("defect", "defects", "defective", "bad", "nok", "ng", "nio", "fail", "failed", "faulty"),
        *("fault", "faults", "reject", "rejects", "rejected", "scrap", "anomaly", "anomalies"),
        *("anomalous", "abnormal", "broken", "damage", "damaged", "scratch", "scratches"),
        *("scratched", "crack", "cracks", "cracked", "hole", "holes", "dent", "dents", "bent"),
        *("bump", "bumps", "cut", "cuts", "contamination", "combined", "deformed", "missing"),
    )
)
_NOT = frozenset(("no", "not", "non", "without", "free", "zero", "un"))
_SILENT = frozenset(
    (
        *("ok", "okay", "io", "pass", "passed", "accepted", "normal", "fine", "gut", "goods"),
        *("batch", "batches", "lot", "lots", "charge", "los", "series", "serial", "run", "runs"),
        *("part", "parts", "piece", "pieces", "item", "items", "sample", "samples", "unit"),
        *("shift", "day", "night", "morning", "week", "month", "year", "date", "today", "early"),
        *("late", "line", "station", "machine", "camera", "cam", "sensor", "plant", "site"),
        *("new", "old", "latest", "current", "incoming", "recent", "copy", "backup", "archive"),
        *("data", "dataset", "images", "scans", "scan", "captures", "capture", "recording"),
        *("train", "training", "test", "testing", "val", "valid", "validation", "calibration"),
        *("set", "group", "folder", "all", "other", "others", "misc", "mixed", "various"),
        *("unknown", "unsorted", "unlabelled", "unlabeled", "unchecked", "production", "order"),
        *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        *("january", "february", "march", "april", "june", "july", "august", "september"),
        *("october", "november", "december", "sept", "left", "right", "first", "second"),
    )
)
"""Words of names that sort parts by something else than their quality; and of three letters or
fewer all others, such as B17, KW12 and may."""


def kind_of(below: Path, root: Path, good: Collection[str] = ()) -> str | None:
    """Tell the kind of the parts in a folder from its name, or those of the folders around it.

    A name that says something decides, the innermost first: ``good`` or one of those given; a
    word for a defect; or any other beside a folder ``good``, except dates, numbers, batches and
    the like. A folder ``gt/`` of masks in it says that a name is a kind of defect.

    Args:
        below: the folder, relative to ``root``.
        root: the folder of all parts, whose own name says nothing unless it is in ``good``.
        good: further names of good parts.

    Returns:
        ``"good"``, the name as the kind of defect, or None where nothing is known.

    """
    names = {plain(name).casefold() for name in (GOOD, *good)}
    for i in range(len(below.parts), 0, -1):
        folder = root.joinpath(*below.parts[:i])
        name = plain(folder.name)
        if name.casefold() in names:
            return GOOD
        told = _told(name)
        masked = (folder / "gt").is_dir()
        if told or (told is None and (masked or _beside_good(folder, names))):
            return name
    own = plain(root.absolute().name).casefold()
    return GOOD if own in {plain(name).casefold() for name in good} else None


def _told(name: str) -> bool | None:
    """Tell whether a name is that of a defect (True), says nothing (False), or is any other."""
    words = re.findall(r"[^\W\d_]+", name.casefold())
    if _NOT.intersection(words):
        return False
    if _DEFECTIVE.intersection((*words, "".join(words))):
        return True
    return False if all(len(w) <= 3 or w in _SILENT for w in words) else None


def _beside_good(folder: Path, names: Collection[str]) -> bool:
    beside = (entry for entry in folder.parent.iterdir() if entry.is_dir())
    return any(plain(entry.name).casefold() in names for entry in beside)
