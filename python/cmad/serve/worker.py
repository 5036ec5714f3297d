"""One thread for each model that judges parts, and the queue before it."""

import base64
import io
import queue
import threading
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tifffile

from cmad.report import captioned, verdict
from cmad.serve.drifting import Drift
from cmad.serve.hub import Hub
from cmad.serve.model import Model
from cmad.serve.results import Result
from cmad.types import Prediction, Sample


class FullError(Exception):
    """As many parts wait as may; says in how many seconds to come again."""

    def __init__(self, seconds: int) -> None:
        """Take the seconds."""
        super().__init__(f"the queue is full; come again in {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Job:
    """A part to judge."""

    result: Result
    """With the names of the part and its files."""
    sample: Sample
    picture: str
    """``"tiff"`` or ``"png"`` to have the map or the overlay in the answer, else ``""``."""
    strict: bool
    done: "Future[dict[str, Any]]"


class Worker(Model):
    """A model at work; what is done with it is done in its thread."""

    def __init__(self, path: Path, device: str, room: int, drift: Path | None, hub: Hub) -> None:
        """Load a model; `start` begins to work.

        Args:
            path: of the model.
            device: see `cmad.load`.
            room: parts that may wait.
            drift: file of the drift monitor's state; None keeps it in memory.
            hub: is told of each part.

        Raises:
            OSError, ValueError, RuntimeError: see `cmad.load` and `Drift`.

        """
        super().__init__(path, device)
        calibrated = self.detector.calibration is not None
        if calibrated or drift is not None:
            try:
                self.drift = Drift(self.detector, drift, 0.01)
            except (RuntimeError, ValueError):
                if drift is not None:
                    raise  # asked for; otherwise there are too few calibration parts for it
        self._hub = hub
        self._jobs: queue.Queue[Job | None] = queue.Queue(room + 1)
        self.room, self._mean = room, 0.1
        self._thread = threading.Thread(target=self._run, name=f"cmad-{self.name}", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Judge what is in the queue, and end."""
        self._jobs.put(None)
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Parts in the queue."""
        return self._jobs.qsize()

    def put(
        self, result: Result, sample: Sample, picture: str, strict: bool
    ) -> "Future[dict[str, Any]]":
        """Queue a part.

        Returns:
            The line of scores.jsonl to come, or the error.

        Raises:
            FullError: there is no room.

        """
        done: Future[dict[str, Any]] = Future()
        if self.waiting >= self.room:
            self._hub.refuse(self.name)
            raise FullError(max(1, round(self._mean * self.room)))
        try:
            self._jobs.put_nowait(Job(result, sample, picture, strict, done))
        except queue.Full as error:
            raise FullError(max(1, round(self._mean * self.room))) from error
        return done

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                line = self._judged(job)
            except BaseException as error:
                job.result.error = str(error) or type(error).__name__
                self._hub.add(self.name, asdict(job.result))
                job.done.set_exception(error)
            else:
                job.done.set_result(line)

    def _judged(self, job: Job) -> dict[str, Any]:
        begin = perf_counter()
        [grid] = self.detector.grids([job.sample], strict=job.strict)
        full = self.detector.decide(grid, job.sample.xyz)
        seconds = perf_counter() - begin
        result = job.result
        result.threshold, result.seconds = self.detector.threshold, seconds
        result.take(full, full.warnings)
        self._mean += 0.1 * (seconds - self._mean)
        if self.drift is not None:
            self.drift.see(full)
            self.drift.save()
        if job.picture == "tiff":
            result.map = _data("image/tiff", _tiff(full))
        elif job.picture == "png":
            result.overlay = _data("image/png", _overlay(result.name, job.sample, full))
        line = asdict(result)
        moved = [] if self.drift is None else self.drift.moved
        line |= {"model": f"{self.name} {self.digest}", "drift": moved}
        stake = None if self.drift is None else max(self.drift.monitor.stakes.values())
        line["number"] = self._hub.add(self.name, line, stake)
        return line


def _tiff(full: Prediction) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, full.map)
    return file.getvalue()


def _overlay(name: str, sample: Sample, full: Prediction) -> bytes:
    file = io.BytesIO()
    picture = verdict.draw(np.asarray(sample.rgb), full)
    captioned(picture, f"{name}\n{verdict.caption(full)}").save(file, "PNG")
    return file.getvalue()


def _data(type_: str, data: bytes) -> str:
    return f"data:{type_};base64,{base64.b64encode(data).decode()}"
