"""How `cmad score` says what became of the parts: a line each, or of many counts and names."""

import shlex
from pathlib import Path

import typer

from cmad.serve.results import Result

FEW = 10
"""Parts that get a line each."""
NAMED = 20
"""Names that are listed of many."""
FAILED, UNKNOWN = "not scored", "without verdict"
NAMES_FOR = ("rejected", "not inspected", FAILED)
"""What a user has to look after, so that parts are named."""


class Verdicts:
    """Collects what is said of the parts at the end."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lines: list[str] = []
        self._count = dict.fromkeys(("accepted", *NAMES_FOR, UNKNOWN), 0)
        self._names: dict[str, list[str]] = {kind: [] for kind in NAMES_FOR}
        self._calibrated = True

    def add(self, result: Result) -> None:
        """Take in a part."""
        kind = FAILED if result.error is not None else result.verdict or UNKNOWN
        self._count[kind] += 1
        if kind in self._names and len(self._names[kind]) < NAMED:
            self._names[kind].append(result.name)
        if len(self._lines) < FEW:
            self._lines.append(line(result))
        self._calibrated &= result.score is None or result.threshold is not None

    def show(self, model: Path, out: Path) -> None:
        """Print it.

        Args:
            model: that was applied, for what to do where it is not calibrated.
            out: folder of the results.

        """
        if sum(self._count.values()) <= FEW:
            for text in self._lines:
                typer.echo(text)
        else:
            always = ("accepted", "rejected") if self._calibrated else ()
            said = [f"{kind} {n}" for kind, n in self._count.items() if n or kind in always]
            typer.echo(", ".join(said))
            for kind, names in self._names.items():
                if names:
                    more = self._count[kind] - len(names)
                    rest = f" and {more} more, see {out / 'scores.csv'}" if more else ""
                    typer.echo(f"{kind}: {', '.join(names)}{rest}")
        if not self._calibrated:
            typer.echo(
                "not calibrated: scores without verdict; a threshold comes from held-out good "
                f"parts, cmad calibrate {shlex.quote(str(model))} GOOD_PARTS -r 0.05"
            )


def line(result: Result) -> str:
    """Say what became of a part, such as ``t000: accepted, score 0.185 <= 0.204, p 0.19``."""
    if result.error is not None or result.score is None:
        return f"{result.name}: {FAILED}, {result.error}"
    said = [] if result.verdict is None else [result.verdict]
    if result.threshold is None:
        said.append(f"score {result.score:.3g}")
    else:
        said.append(f"score {_compared(result.score, result.threshold)}")
    if result.p_value is not None:
        said.append(f"p {result.p_value:.2g}")
    return "; ".join([f"{result.name}: {', '.join(said)}", *result.warnings])


def _compared(score: float, threshold: float) -> str:
    """Write both with as many digits as tell them apart, three at least."""
    sign = "<=" if score <= threshold else ">"
    digits = 3
    while score != threshold and f"{score:.{digits}g}" == f"{threshold:.{digits}g}":
        digits += 1
    return f"{score:.{digits}g} {sign} {threshold:.{digits}g}"
