"""The one-liner for other code: `cmad.score`."""

import os
import threading
from functools import lru_cache
from pathlib import Path

from cmad.detectors import Detector, load
from cmad.types import Array, Prediction

_used: str | None = None
_one_at_a_time = threading.Lock()


def use(model: str | Path | None) -> None:
    """Name the model that `score` uses where none is passed; None forgets it.

    Args:
        model: path of a `.cmad` file; it is loaded here, so that a bad one is found now.

    """
    global _used
    if model is not None:
        _loaded(model)
    _used = None if model is None else str(Path(model).resolve())


def score(
    rgb: Array, xyz: Array, model: str | Path | None = None, *, unit: str = "m"
) -> Prediction:
    """Score one part with a saved model, which is loaded once and then kept.

    Args:
        rgb: (H, W, 3) uint8, or float in [0, 1].
        xyz: (H, W, 3) float in ``unit``, pixel-registered with ``rgb``.
        model: path of a `.cmad` file; None takes the one named by `use`, else by the environment
            variable ``CMAD_MODEL``. A file that has changed is loaded again.
        unit: ``"m"`` or ``"mm"``.

    Returns:
        The prediction; ``float()`` of it is the score.

    Raises:
        RuntimeError: no model is named.
        FileNotFoundError, ValueError: see `cmad.load` and `cmad.detectors.Detector.predict`.

    """
    named = model or _used or os.environ.get("CMAD_MODEL")
    if not named:
        raise RuntimeError(
            "score: no model; pass model=..., call cmad.use(path), or set CMAD_MODEL"
        )
    prediction = _loaded(named).predict(rgb, xyz, unit=unit)
    if not isinstance(prediction, Prediction):
        raise ValueError("score: takes one part; for a batch use cmad.load(path).predict")
    return prediction


def _loaded(model: str | Path) -> Detector:
    path = Path(model).resolve()
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    with _one_at_a_time:  # the cache alone lets several threads load the same model
        return _load(path, stamp)


@lru_cache(maxsize=4)
def _load(path: Path, _stamp: int) -> Detector:
    return load(path)
