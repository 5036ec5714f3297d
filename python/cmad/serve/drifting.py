"""A drift monitor beside a line: in a file that goes on from run to run, or in memory."""

from pathlib import Path

from cmad.detectors import Detector
from cmad.drift import Monitor
from cmad.types import Prediction


class Drift:
    """A `cmad.drift.Monitor` with its file."""

    def __init__(self, detector: Detector, path: Path | None, false_alarm: float) -> None:
        """Read the file, or begin with the detector's calibration.

        Args:
            detector: calibrated.
            path: of the state, made where it is missing; None keeps it in memory.
            false_alarm: see `cmad.drift.Monitor`.

        Raises:
            ValueError: the file is of another calibration or rate, or damaged; or a rate that
                cannot be.
            RuntimeError: the detector is not calibrated.
            OSError: the file cannot be read or written.

        """
        self.path, self.left_out = path, 0
        self.monitor = detector.monitor(false_alarm)  # its errors count in any case
        if path is None:
            return
        if not path.exists():
            self.monitor.save(path)  # it can be written: now, not after the work
            return
        begun, self.monitor = self.monitor, Monitor.load(path)
        for name in ("threshold", "false_alarm"):
            had, now = getattr(self.monitor, name), getattr(begun, name)
            if had != now:
                raise ValueError(
                    f"--drift {path}: begun with a {name.replace('_', '-')} of {had:g}, now it is "
                    f"{now:g}; name another file, or delete this one to begin anew"
                )

    def see(self, prediction: Prediction) -> bool:
        """Take a part, without saving; return whether it is the one that alarms."""
        before = self.monitor.alarmed
        try:
            self.monitor.watch(prediction)
        except ValueError:  # a modality is missing: it has another threshold, or fewer levels
            self.left_out += 1
            return False
        return self.monitor.alarmed and not before

    def save(self) -> None:
        """Write the file, where there is one; raise OSError where that fails."""
        if self.path is not None:
            self.monitor.save(self.path)

    @property
    def moved(self) -> list[str]:
        """What has moved, in words; empty where nothing has."""
        return [str(moved) for moved in self.monitor.moved]
