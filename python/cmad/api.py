"""The one-liner for other code: `cmad.score`."""

import os
import threading
from collections import OrderedDict
from pathlib import Path

from cmad.detectors import Detector, load
from cmad.paths import user_path
from cmad.types import Array, Prediction

KEPT = 4
"""Models that stay loaded, those used last."""

_used: str | None = None


def use(model: str | Path | None) -> None:
    """Name the model that `score` uses where none is passed; None forgets it.

    Args:
        model: path of a `.cmad` file; it is loaded here, so that a bad one is found now.

    """
    global _used
    if model is not None:
        _loaded(model)
    _used = None if model is None else str(user_path(model).resolve())


def score(
    rgb: Array,
    xyz: Array,
    model: str | Path | None = None,
    *,
    unit: str | None = None,
    strict: bool = False,
) -> Prediction:
    """Score one part with a saved model, which is loaded once and then kept.

    Args:
        rgb: (H, W, 3) uint8, or float in [0, 1].
        xyz: (H, W, 3) float in ``unit``, pixel-registered with ``rgb``.
        model: path of a `.cmad` file; None takes the one named by `use`, else by the environment
            variable ``CMAD_MODEL``. A file that has changed or was replaced is loaded again; the
            `KEPT` models used last stay loaded.
        unit: ``"m"`` or ``"mm"``; None takes that of the model's training, ``detector.units``.
        strict: raise a ValueError where the part is unlike the training parts, see
            `cmad.detectors.Detector.predict`; otherwise that is a warning.

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
    prediction = _loaded(named).predict(rgb, xyz, unit=unit, strict=strict)
    if not isinstance(prediction, Prediction):
        raise ValueError("score: takes one part; for a batch use cmad.load(path).predict")
    return prediction


class _Model:
    """A path's detector, once it is loaded."""

    def __init__(self) -> None:
        self.loading = threading.Lock()  # for each its own: a slow one keeps no other waiting
        self.stamp: tuple[int, ...] | None = None
        self.detector: Detector | None = None


_models: OrderedDict[Path, _Model] = OrderedDict()
_table = threading.Lock()


def _loaded(model: str | Path) -> Detector:
    path = user_path(model).resolve()
    with _table:
        entry = _models.setdefault(path, _Model())
        _models.move_to_end(path)
    with entry.loading:
        # Before loading: what is replaced meanwhile is loaded again by the next call.
        stamp = _stamp(path)
        if entry.detector is None or stamp is None or entry.stamp != stamp:
            entry.detector = None  # never two of them in memory
            try:
                entry.detector = load(path)
            except BaseException:
                with _table:
                    _models.pop(path, None)
                raise
            entry.stamp = stamp
        detector = entry.detector
    with _table:
        while len(_models) > KEPT:
            _models.popitem(last=False)
    return detector


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Tell a file's content from another, also where its time was kept; None without a file.

    Copies may keep the time of modification, and the size is often that of the old file; written
    in place, the file is the same, but the time that its entry changed cannot be kept.
    """
    try:
        of = path.stat()
    except OSError:
        return None
    return of.st_mtime_ns, of.st_ctime_ns, of.st_size, of.st_ino
