"""What the live page and the metrics show: the last parts, counts by shift and in all."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

LAST = 200
"""Parts that are kept of each model."""
SHIFTS = 3
"""Shifts that are kept, the running one with them."""
FAILED = "not scored"


@dataclass
class Counts:
    """Of one model since the start."""

    verdicts: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    """Requests that found the queue full."""
    seconds: float = 0.0
    """That the parts took to judge."""


class Hub:
    """Collects parts; for many threads."""

    def __init__(
        self,
        models: Sequence[str],
        shifts: Sequence[tuple[int, int]] = ((6, 0), (14, 0), (22, 0)),
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        """Begin with none.

        Args:
            models: their names.
            shifts: hour and minute at which each begins.
            now: local time.

        """
        self._lock = threading.Lock()
        self._shifts, self._now = sorted(shifts), now
        self._last: dict[str, deque[dict[str, Any]]] = {m: deque(maxlen=LAST) for m in models}
        self._of_shift: dict[str, dict[str, Counter[str]]] = {}
        self.counts = {name: Counts() for name in models}
        self.number = 0
        """Of the latest part; parts are counted from 1."""

    def add(self, model: str, line: Mapping[str, Any], stake: float | None = None) -> int:
        """Take a part; return its number.

        Args:
            model: its name.
            line: as in scores.jsonl.
            stake: the highest of the drift monitor's after it; None where there is none.

        """
        with self._lock:
            now = self._now()
            verdict = self._keep(model, line, stake, now.strftime("%H:%M:%S"))
            counts = self.counts[model]
            counts.verdicts[verdict] += 1
            counts.seconds += line["seconds"] or 0.0
            begun = self.shift(now)
            self._of_shift.setdefault(begun, {}).setdefault(model, Counter())[verdict] += 1
            while len(self._of_shift) > SHIFTS:
                del self._of_shift[next(iter(self._of_shift))]
            return self.number

    def recall(self, model: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take parts that an earlier process judged, in their order: shown, and not counted.

        When that was is not known, so that they are of no shift, and none is the latest verdict.

        Args:
            model: its name.
            lines: as in scores.jsonl.

        """
        with self._lock:
            for line in lines:
                self._keep(model, line, None, None)

    def _keep(
        self, model: str, line: Mapping[str, Any], stake: float | None, time: str | None
    ) -> str:
        """Keep what the page shows of a part; return what it says of the verdict."""
        self.number += 1
        verdict = FAILED if line["error"] is not None else line["verdict"] or "without verdict"
        self._last[model].append(
            {
                "number": self.number,
                "time": time,
                "model": model,
                "verdict": verdict,
                "regions": len(line["regions"] or ()),
                "stake": stake,
                **{n: line[n] for n in ("name", "score", "threshold", "p_value", "error")},
            }
        )
        return verdict

    def refuse(self, model: str) -> None:
        """Count a request that found the queue full."""
        with self._lock:
            self.counts[model].refused += 1

    def since(self, number: int) -> list[dict[str, Any]]:
        """Return the parts behind a number that are still kept, in their order."""
        with self._lock:
            found = [
                part for kept in self._last.values() for part in kept if part["number"] > number
            ]
        return sorted(found, key=lambda part: int(part["number"]))

    def shifts(self) -> list[dict[str, Any]]:
        """Return the counts of each shift that had parts, the latest first."""
        with self._lock:
            return [
                {"begun": begun, "models": {name: dict(n) for name, n in of.items()}}
                for begun, of in reversed(self._of_shift.items())
            ]

    def shift(self, now: datetime) -> str:
        """Return when the shift of a time began, such as ``2026-11-30 22:00``."""
        for day in (now, now - timedelta(days=1)):
            for hour, minute in reversed(self._shifts):
                begun = day.replace(hour=hour, minute=minute, second=0, microsecond=0)
                if begun <= now:
                    return begun.strftime("%Y-%m-%d %H:%M")
        return now.strftime("%Y-%m-%d")
