"""`--drift`: whether the parts that are scored still are like the calibration parts."""

from pathlib import Path

import typer

from cmad.cli._common import complain
from cmad.detectors import Detector
from cmad.drift import Monitor
from cmad.types import Prediction


class Watch:
    """A monitor in a file, which goes on from run to run; without a file it does nothing."""

    def __init__(self, detector: Detector, path: Path | None, false_alarm: float) -> None:
        """Read the file, or begin with the detector's calibration.

        Raises:
            ValueError: the file is of another calibration or rate, or damaged; or a rate that
                cannot be.
            RuntimeError: the detector is not calibrated.
            OSError: the file cannot be read or written.

        """
        self._path, self._left_out = path, 0
        if path is None:
            return
        self._monitor = detector.monitor(false_alarm)  # its errors count in any case
        if not path.exists():
            self._monitor.save(path)  # it can be written: now, not after the work
            return
        begun, self._monitor = self._monitor, Monitor.load(path)
        for name in ("threshold", "false_alarm"):
            had, now = getattr(self._monitor, name), getattr(begun, name)
            if had != now:
                raise ValueError(
                    f"--drift {path}: begun with a {name.replace('_', '-')} of {had:g}, now it is "
                    f"{now:g}; name another file, or delete this one to begin anew"
                )

    def see(self, name: str, prediction: Prediction) -> None:
        """Take a part, and say so where it is the one that alarms."""
        if self._path is None:
            return
        before = self._monitor.alarmed
        try:
            self._monitor.watch(prediction)
        except ValueError:  # a modality is missing: it has another threshold, or fewer levels
            self._left_out += 1
            return
        if self._monitor.alarmed and not before:
            complain(f"at {name}, part {self._monitor.parts}: {self._why()}", "drift")
        self._monitor.save(self._path)

    def tell(self) -> None:
        """Say how it stands."""
        if self._path is None:
            return
        if self._left_out:
            typer.echo(f"drift: {self._left_out} parts without all modalities are left out")
        if self._monitor.alarmed:
            typer.echo(
                f"drift: {self._why()}; look at the station, calibrate again, and begin anew "
                f"without {self._path}"
            )
        else:
            name, stake = max(self._monitor.stakes.items(), key=lambda one: one[1])
            typer.echo(
                f"drift: none in {self._monitor.parts} parts (highest stake {stake:.3g} of "
                f"{self._monitor.limit:.0f}, {name})"
            )

    def _why(self) -> str:
        return "; ".join(map(str, self._monitor.moved))
