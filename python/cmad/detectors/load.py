"""From a `.cmad` file back to a detector."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from cmad import model_file
from cmad.detectors.detector import Detector
from cmad.detectors.methods import METHODS
from cmad.extractors import Extractor, RgbExtractor, XyzExtractor


def load(
    path: str | Path,
    *,
    rgb: RgbExtractor | None = None,
    xyz: XyzExtractor | Sequence[XyzExtractor] | None = None,
    device: str = "auto",
    cache: str | Path | None = None,
) -> Detector:
    """Load a detector from a `.cmad` file.

    Args:
        path: of the file.
        rgb: the 2D extractor it was trained with; needed where that was passed to the detector with
            its weights and not saved along.
        xyz: the 3D extractor, likewise; of several a list of all.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        cache: folder that features are kept in, see `cmad.detectors.Detector`; None keeps nothing.

    Returns:
        The detector, as it was saved.

    Raises:
        FileNotFoundError, IsADirectoryError: no such file, or a folder.
        ValueError: not a model file, truncated, of an older format, or an extractor whose weights
            differ from those it was trained with.
        RuntimeError: an extractor it was trained with is not available; says which and what to do.

    """
    header, tensors = model_file.read(path)
    name = header.get("method")
    method = METHODS.get(str(name).lower())
    if method is None:
        raise ValueError(
            f"{path}: made by method {name!r}, which this version does not have; update cmad"
        )
    extractors: dict[str, Extractor | None] = {"rgb": rgb}
    if isinstance(xyz, list | tuple):
        extractors |= {f"xyz{i}": one for i, one in enumerate(xyz, 1)}
    else:
        extractors["xyz"] = cast("XyzExtractor | None", xyz)
    try:
        return method.restore(header, tensors, extractors=extractors, device=device, cache=cache)
    except (ValueError, RuntimeError) as error:
        raise type(error)(f"{path}: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: incomplete .cmad file, {error!r} is missing or wrong") from error
