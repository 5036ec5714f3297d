"""Whether parts still are what the calibration parts were: a conformal test martingale.

A threshold holds while parts are exchangeable with the calibration parts. A `Monitor` bets against
that, part after part: its stake grows where the ranks of new parts among all before them are not
uniform. While parts are exchangeable no way of betting gains on average, so that the chance of the
stake ever reaching 1 / a is at most a (Ville's inequality); that is when it alarms. docs/drift.md
has the derivation and how soon what is found.
"""

import json
import math
import os
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cmad.types import Prediction

SCORE, REJECTED = "score", "rejected"
"""Names of two of the streams; the others are named as the modalities."""
POWERS = (0.2, 0.5)
"""The bets are a u^(a-1), on values that are higher than before, and a (1-u)^(a-1), on lower."""
STAKES = (0.25, 0.5, 0.9)
"""Of what may be staked on more rejected parts than ``most_rejected``."""
NAMES = {
    "2d": "2d discrepancy",
    "3d": "3d discrepancy",
    "brightness": "brightness of the image",
    "sharpness": "sharpness or noise of the image",
    "x": "x of the part's place",
    "y": "y of the part's place",
    "z": "z of the part's place",
    "roughness": "roughness or noise of the points",
}
"""What streams are called in a sentence."""
VERSION = 1
"""Of the file."""


@dataclass(frozen=True)
class Moved:
    """A stream that is not what it was at the calibration."""

    stream: str
    """``"score"``, ``"rejected"``, or a name in `cmad.Prediction.levels`: ``"2d"`` and ``"3d"`` are
    the modalities' discrepancies."""
    higher: bool
    """Whether its values are higher than before; otherwise lower."""
    since: int
    """The part, counted from 1, that the change most likely began with."""

    def __str__(self) -> str:
        """Say it."""
        if self.stream == REJECTED:
            return f"more parts are rejected since part {self.since}"
        what, way = NAMES.get(self.stream, self.stream), "higher" if self.higher else "lower"
        return f"the {what} is {way} since part {self.since}"


class Monitor:
    """Watches the parts of a line, and alarms where they stop being like the calibration parts.

    It follows the score and each of `cmad.Prediction.levels` of the accepted parts, and how many
    are rejected. A single defective part does not move it: rejected parts are not among those that
    are ranked.

    While accepted good parts are exchangeable with those of the calibration that were, and at most
    ``most_rejected`` of all parts are rejected, **the chance of ever alarming is at most
    ``false_alarm``**, however long it runs. After an alarm it stays alarmed; begin anew with
    another one when the cause is mended, or the detector calibrated again.

    Args:
        levels: of the calibration parts, by stream, in one order; ``"score"`` is one of them.
        threshold: of the score, that parts are rejected above.
        false_alarm: in (0, 1).
        most_rejected: the share of rejected parts that is still usual on this line, in (0, 1).
        seed: of what decides between equal ranks.

    Raises:
        ValueError: a share out of range, streams of different lengths or without "score", values
            that are not finite, or fewer than two parts below the threshold.

    """

    def __init__(
        self,
        levels: Mapping[str, Sequence[float]],
        threshold: float,
        *,
        false_alarm: float = 0.01,
        most_rejected: float = 0.5,
        seed: int = 0,
    ) -> None:
        """Begin with the calibration parts."""
        for name, share in (("false_alarm", false_alarm), ("most_rejected", most_rejected)):
            if not 0 < share < 1:
                raise ValueError(f"Monitor: {name} must be in (0, 1), got {share}")
        if SCORE not in levels or len({len(values) for values in levels.values()}) != 1:
            raise ValueError(f'Monitor: levels must have "{SCORE}", and as many of each stream')
        if not all(math.isfinite(v) for values in levels.values() for v in values):
            raise ValueError("Monitor: levels must be finite")
        self.threshold, self.false_alarm = float(threshold), float(false_alarm)
        self.most_rejected, self.seed = float(most_rejected), int(seed)
        self.parts = 0
        """Seen so far."""
        # The threshold is the score of one of the parts: given it, the others below it and those to
        # come below it are exchangeable, and it itself is not.
        below = [i for i, s in enumerate(levels[SCORE]) if s < self.threshold]
        if len(below) < 2:
            raise ValueError(
                f"Monitor: needs at least 2 calibration parts below the threshold, got {len(below)}"
            )
        self._streams: dict[str, _Stream] = {
            name: _Ranks(sorted(float(values[i]) for i in below)) for name, values in levels.items()
        }
        self._streams[REJECTED] = _Rejections(self.most_rejected)

    @property
    def stakes(self) -> dict[str, float]:
        """What each stream's stake of 1 has become; large is evidence of a change."""
        return {name: stream.stake for name, stream in self._streams.items()}

    @property
    def limit(self) -> float:
        """The stake that alarms: as many streams as there are, over ``false_alarm``."""
        return len(self._streams) / self.false_alarm

    @property
    def alarmed(self) -> bool:
        """Whether any stake has ever reached the limit."""
        return bool(self.moved)

    @property
    def moved(self) -> tuple[Moved, ...]:
        """The streams that have, the one with the highest stake first."""
        found = [(s.most, name, s) for name, s in self._streams.items() if s.most >= self.limit]
        found.sort(key=lambda one: -one[0])
        return tuple(Moved(name, *s.change()) for _, name, s in found)

    def add(self, levels: Mapping[str, float], rejected: bool) -> bool:
        """Take one more part by its values; `watch` takes a prediction.

        Args:
            levels: of the part, by stream, as for the class. More are ignored.
            rejected: its verdict: whether it must not pass.

        Returns:
            Whether there is an alarm, from now or from before.

        Raises:
            ValueError: a stream is missing or not finite; the monitor stays as it was.

        """
        streams = {n: s for n, s in self._streams.items() if isinstance(s, _Ranks)}
        wrong = [n for n in streams if not math.isfinite(levels.get(n, math.nan))]
        if wrong:
            raise ValueError(f"Monitor: levels must be finite, of all streams; not so: {wrong}")
        self.parts += 1
        self._streams[REJECTED].bet(float(rejected), self.parts)
        if not rejected and levels[SCORE] < self.threshold:
            drawn = np.random.default_rng([self.seed, self.parts]).random(len(streams))
            for (name, stream), chance in zip(sorted(streams.items()), drawn, strict=True):
                stream.bet(stream.rank(float(levels[name]), float(chance)), self.parts)
        return self.alarmed

    def watch(self, prediction: Prediction) -> bool:
        """Take one more part by what the detector said of it.

        Returns:
            Whether there is an alarm, from now or from before.

        Raises:
            ValueError: the prediction has no verdict, or another threshold; the monitor stays as
                it was.

        """
        if prediction.rejected is None:
            raise ValueError("Monitor: the prediction has no verdict; calibrate the detector")
        if not math.isclose(prediction.threshold or 0.0, self.threshold, rel_tol=1e-12):
            raise ValueError(
                f"Monitor: begun with a threshold of {self.threshold:g}, the prediction's is "
                f"{prediction.threshold:g}; begin a new one when a detector is calibrated again"
            )
        return self.add({SCORE: prediction.score, **prediction.levels}, prediction.rejected)

    def save(self, path: str | Path) -> None:
        """Write all of it to a file, some 8 bytes for each stream and accepted part.

        Raises:
            OSError: it cannot be written; an existing one stays as it was.

        """
        path = Path(path)
        header = {
            "version": VERSION,
            "threshold": self.threshold,
            "false_alarm": self.false_alarm,
            "most_rejected": self.most_rejected,
            "seed": self.seed,
            "parts": self.parts,
            "streams": {name: stream.state() for name, stream in self._streams.items()},
        }
        values = {
            f"values.{n}": s.values for n, s in self._streams.items() if isinstance(s, _Ranks)
        }
        part = path.with_name(f".{path.name}.partial")
        try:
            with part.open("wb") as file:
                arrays = {name: np.array(v, np.float64) for name, v in values.items()}
                np.savez(file, header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "Monitor":
        """Read what `save` wrote, and go on with it.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not one of these, or damaged.

        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as kept:
                header = json.loads(str(kept["header"]))
                if header["version"] != VERSION:
                    raise ValueError(f"version {header['version']} is not known")
                self = cls.__new__(cls)
                self.threshold, self.false_alarm = header["threshold"], header["false_alarm"]
                self.most_rejected, self.seed = header["most_rejected"], header["seed"]
                self.parts = int(header["parts"])
                self._streams = {}
                for name, state in header["streams"].items():
                    stream = (
                        _Rejections(self.most_rejected)
                        if name == REJECTED
                        else _Ranks(kept[f"values.{name}"].tolist())
                    )
                    stream.take(state)
                    self._streams[name] = stream
        except OSError:
            raise
        except Exception as error:  # whatever a damaged archive raises
            raise ValueError(
                f"{path}: not the state of a drift monitor, or damaged: {error}"
            ) from error
        return self


class _Stream(ABC):
    """A stake that is spread over several ways to bet, and over all parts to begin with.

    To begin with each part is of the prior weight w_k, which falls slowly: so a change after
    thousands of usual parts is found nearly as soon as one after ten, and the whole stays a mixture
    of martingales, which is one.
    """

    def __init__(self, bets: int) -> None:
        self._stake = np.zeros(bets)  # what has been put on each way so far, and has become
        self._kept = 1.0  # what has not been
        self._run = np.zeros(bets)  # logarithm of the gain since the part that gains most, each way
        self._since = np.ones(bets, np.int64)
        self.most = 1.0
        """The highest stake so far."""

    @property
    def stake(self) -> float:
        return float(self._stake.sum() + self._kept)

    @abstractmethod
    def factors(self, value: float) -> npt.NDArray[np.float64]:
        """Return what each way of betting gains; at most 1 on average."""

    def change(self) -> tuple[bool, int]:
        """Tell whether values are higher, and since which part."""
        best = int(np.argmax(self._run))
        return self.is_higher(best), int(self._since[best])

    def is_higher(self, bet: int) -> bool:
        return True

    def bet(self, value: float, part: int) -> None:
        rest = 1 / (1 + math.log2(1 + part))
        placed, self._kept = self._kept - rest, rest
        gain = self.factors(value)
        # The bound keeps the numbers finite; it can only lower the stake.
        self._stake = np.minimum((self._stake + placed / len(gain)) * gain, 1e200)
        self._since[self._run <= 0] = part
        self._run = np.maximum(self._run, 0) + np.log(gain)
        self.most = max(self.most, self.stake)

    def state(self) -> dict[str, Any]:
        return {
            "stake": self._stake.tolist(),
            "kept": self._kept,
            "run": self._run.tolist(),
            "since": self._since.tolist(),
            "most": self.most,
        }

    def take(self, state: Mapping[str, Any]) -> None:
        if not len(state["stake"]) == len(state["run"]) == len(state["since"]) == len(self._stake):
            raise ValueError("another number of bets")
        self._stake, self._run = np.array(state["stake"], float), np.array(state["run"], float)
        self._since = np.array(state["since"], np.int64)
        self._kept, self.most = float(state["kept"]), float(state["most"])


class _Ranks(_Stream):
    """Bets on the ranks of values among all before them, which are uniform and independent."""

    def __init__(self, values: list[float]) -> None:
        super().__init__(2 * len(POWERS))
        self.values = values
        """All before, ascending."""

    def rank(self, value: float, chance: float) -> float:
        """Return the share of values above, equal ones by chance, in (0, 1); and keep the value."""
        begin, end = bisect_left(self.values, value), bisect_right(self.values, value)
        insort(self.values, value)
        above = len(self.values) - 1 - end
        return (above + chance * (end - begin + 1)) / len(self.values)

    def factors(self, value: float) -> npt.NDArray[np.float64]:
        a = np.array(POWERS)
        low = min(max(value, 1e-12), 1 - 1e-12)
        return np.concatenate([a * low ** (a - 1), a * (1 - low) ** (a - 1)])

    def is_higher(self, bet: int) -> bool:
        return bet < len(POWERS)


class _Rejections(_Stream):
    """Bets that more than a share of the parts are rejected."""

    def __init__(self, share: float) -> None:
        super().__init__(len(STAKES))
        self._share = share

    def factors(self, value: float) -> npt.NDArray[np.float64]:
        return 1 + np.array(STAKES) / self._share * (value - self._share)
