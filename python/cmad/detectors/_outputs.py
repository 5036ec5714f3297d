"""What every detector does with its maps: from its own grid to the input's pixels, and regions."""

import numpy as np
import numpy.typing as npt
import torch

from cmad import ops, regions
from cmad.calibrate import Calibration
from cmad.checks import tensor_of, with_zeros
from cmad.detectors._unlike import inspected
from cmad.maps import SIGMA
from cmad.preprocess import to_input
from cmad.types import Array, GridMaps, Prediction, Region


def on_input(grid: GridMaps, xyz: Array | None, calibration: Calibration | None) -> Prediction:
    """Bring a method's maps to the input's own pixels, decide, and find the regions.

    Args:
        grid: of one part.
        xyz: (H, W, 3) float of the input, metres; None where there are no points.
        calibration: None decides nothing and finds no regions.

    Returns:
        The prediction.

    """
    stacked = torch.from_numpy(np.stack([grid.map, *grid.maps.values()]))
    map_, *others = to_input(stacked, grid.window).numpy()
    maps = dict(zip(grid.maps, others, strict=True))
    warnings = tuple(note.text for note in grid.notes)
    seen = inspected(grid)
    if calibration is None:
        return Prediction(
            grid.score,
            map_,
            maps,
            name=grid.name,
            warnings=warnings,
            inspected=seen,
            levels=grid.levels,
        )
    threshold = calibration.pixel_threshold
    found: tuple[Region, ...] = ()
    if (map_ > threshold).any():
        points = np.zeros((*map_.shape, 3), np.float32) if xyz is None else _cleaned(xyz)
        found = regions.find(map_, threshold, points, smooth(grid), calibration.map_thresholds)
    return Prediction(
        score=grid.score,
        map=map_,
        maps=maps,
        threshold=calibration.threshold,
        p_value=calibration.p_value(grid.score),
        pixel_threshold=threshold,
        regions=found,
        name=grid.name,
        warnings=warnings,
        inspected=seen,
        levels=grid.levels,
    )


def passes(grid: GridMaps, calibration: Calibration) -> bool:
    """Tell whether a part is accepted, as `cmad.Prediction.verdict` does."""
    return grid.score <= calibration.threshold and inspected(grid)


def _cleaned(xyz: Array) -> npt.NDArray[np.float32]:
    """Put zeros where there is no point, whatever the sensor marks them with."""
    return np.asarray(with_zeros(tensor_of(xyz, "xyz")).numpy())


def peaks(grid: GridMaps) -> tuple[float, dict[str, float]]:
    """Return the largest values on the input's pixels: of the map, and of each modality's."""
    highest = to_input(torch.from_numpy(grid.map)[None], grid.window).max()
    return float(highest), {name: float(m.max()) for name, m in smooth(grid).items()}


def means(grid: GridMaps) -> dict[str, float]:
    """Return the mean of each modality's map, where it is above 0, that is on the part."""
    found = {}
    for name in grid.modalities:
        if name in grid.maps:
            part = grid.maps[name][grid.maps[name] > 0]
            found[name] = float(part.mean(dtype=np.float64)) if part.size else 0.0
    return found


def smooth(grid: GridMaps) -> dict[str, npt.NDArray[np.float32]]:
    """Smooth the maps that modalities have; (H, W) on the input's pixels, by modality.

    As the fused map is, since the largest value of the raw map is that of a single noisy pixel.
    """
    names = [name for name in grid.modalities if name in grid.maps]
    stacked = torch.from_numpy(np.stack([grid.maps[name] for name in names]))
    smoothed = to_input(ops.smooth(stacked, SIGMA), grid.window).numpy()
    return dict(zip(names, smoothed, strict=True))
