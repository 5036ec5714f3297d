"""A model that is at work, as the live page, the metrics and `GET /model` speak of it."""

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path

from cmad.datasets.names import plain
from cmad.detectors import Detector, load
from cmad.paths import mark_of
from cmad.serve.drifting import Drift


class Model(ABC):
    """A detector with the file it was loaded from; see `Worker` and `cmad.serve.live.Watched`."""

    def __init__(self, path: Path, device: str) -> None:
        """Load it.

        Args:
            path: of the model.
            device: see `cmad.load`.

        Raises:
            OSError, ValueError, RuntimeError: see `cmad.load`.

        """
        self.path, self.name = path, plain(path.stem)
        self._mark = mark_of(path)
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        self.detector: Detector = load(path, device=device)
        self.drift: Drift | None = None

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it judges what comes."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Parts that are there and not judged."""

    @property
    def replaced(self) -> str | None:
        """What has become of the model's file since it was loaded; None for nothing."""
        now = mark_of(self.path)
        if now == self._mark:
            return None
        what = "is another file now" if now else "is not there any more"
        return f"{self.path.name} {what}; this is the model that was loaded, restart to change it"

    @property
    def note(self) -> str | None:
        """What a person should know of it; None for nothing."""
        return self.replaced
