"""`--drift`: whether the parts that are scored still are like the calibration parts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._common import complain
from cmad.detectors import Detector
from cmad.serve.drifting import Drift
from cmad.types import Prediction


@dataclass(frozen=True)
class Drifting:
    """Whether that is watched."""

    drift: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Watch whether parts still are like those of the calibration; the file is made, "
            "and keeps what was seen from run to run.",
        ),
    ] = None
    false_alarm: Annotated[
        float,
        typer.Option(help="With --drift: the chance of ever alarming while they are, at most."),
    ] = 0.01


class Watch:
    """A monitor in a file, which goes on from run to run; without a file it does nothing."""

    def __init__(self, detector: Detector, asked: Drifting) -> None:
        """Read the file, or begin with the detector's calibration; see `Drift` for the errors."""
        path = asked.drift
        self.drift = None if path is None else Drift(detector, path, asked.false_alarm)

    def see(self, name: str, prediction: Prediction) -> None:
        """Take a part, and say so where it is the one that alarms."""
        if self.drift is None:
            return
        if self.drift.see(prediction):
            self.alarm(name)
        self.drift.save()

    def alarm(self, name: str) -> None:
        """Say at which part it alarms."""
        if self.drift is not None:
            complain(f"at {name}, part {self.drift.monitor.parts}: {self._why()}", "drift")

    def tell(self) -> None:
        """Say how it stands."""
        if self.drift is None:
            return
        monitor = self.drift.monitor
        if self.drift.left_out:
            typer.echo(f"drift: {self.drift.left_out} parts without all modalities are left out")
        if monitor.alarmed:
            typer.echo(
                f"drift: {self._why()}; look at the station, calibrate again, and begin anew "
                f"without {self.drift.path}"
            )
        else:
            name, stake = max(monitor.stakes.items(), key=lambda one: one[1])
            typer.echo(
                f"drift: none in {monitor.parts} parts (highest stake {stake:.3g} of "
                f"{monitor.limit:.0f}, {name})"
            )

    def _why(self) -> str:
        return "" if self.drift is None else "; ".join(self.drift.moved)
