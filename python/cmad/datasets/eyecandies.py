"""Eyecandies in its original layout, converted while it is read."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cmad.datasets.files import (
    LazySamples,
    expect_size,
    read_depth,
    read_mask,
    read_rgb,
    read_truth,
)
from cmad.datasets.names import child, plain
from cmad.paths import expect_folder, user_path
from cmad.types import Sample

SPLITS = {"train": "train", "validation": "val", "test": "test_public"}
"""Folder of each split; ``test_private`` comes without truth."""
MASKS = {"bumps": "bump", "dents": "dent", "colors": "colour", "normals": "normal"}
"""Kind of defect for each mask file."""

# Published with the data set: one camera took all images, its principal point is the centre.
FOCAL_LENGTH = 711.11 / 512  # image widths
# The published conversion for anomaly detection (M3DM, utils/preprocess_eyecandies.py), whose
# output the methods' tables rest on. Lengths in units of the data set.
METRES = 0.1  # per unit
BELT_MARGIN = 0.02
BELT_LENGTH, BELT_HALF_WIDTH = 1.8, 1.0


class Eyecandies(LazySamples):
    """One split of one category of Eyecandies (Bonfiglioli et al., ACCV 2022).

    Reads ``root/category/{train,val,test_public}/data/NN_*`` as downloaded: ``image_4.png`` (the
    left spotlight, as in the published evaluations), ``depth.png`` with ``info_depth.yaml``,
    ``pose.txt``, ``mask.png``, ``metadata.yaml`` and the masks per kind of defect.

    Depth, of 16 bits, runs from ``min`` to ``max`` of ``normalization`` along the optical axis. It
    becomes points through a pinhole camera (focal length 711.11 pixels at 512 pixels of width,
    principal point W/2, H/2) and the inverse of the pose. Frame and scale are those of the
    published conversion: (x, -z, y), and a tenth of the data set's unit. That unit is called a
    metre, but a candy then is about a metre wide; a tenth gives it the size of one in the hand,
    for which the preprocessing's distances in millimetres are made. The data set's own tool takes
    the pose itself instead of its inverse; the clouds are the same but for a rigid motion.

    The conveyor is removed here, as published, by setting its points to 0: the line through the
    points of the first and last row's middle pixel, turned about the x axis until it is level,
    gives the belt, and what is less than 2 mm above it, farther than 18 cm from the near edge or
    more than 10 cm from the middle is background. `cmad.preprocess` then finds no plane along the
    border and leaves the candy as it is. On its own it finds the belt too, but cuts 5 mm from the
    foot of the candy, a tenth of the pixels of one that is 27 mm high.

    ``defect`` is ``"good"``, ``"bump"``, ``"dent"``, ``"colour"`` or ``"normal"`` by the masks that
    mark something, ``"combined"`` for several and ``"anomalous"`` where none tells. Whether a part
    is good is what ``anomalous`` in ``metadata.yaml`` says, else the mask.
    """

    def __init__(self, root: str | Path, category: str, split: str) -> None:
        """List the files of one split; reads none of them.

        Args:
            root: folder that holds the categories.
            category: such as ``"CandyCane"``.
            split: ``"train"``, ``"validation"`` (the folder ``val``) or ``"test"``
                (``test_public``).

        Raises:
            FileNotFoundError: the split's folder is not there.
            ValueError: unknown split, a part that lacks a file, or no parts at all.

        """
        if split not in SPLITS:
            raise ValueError(f"Eyecandies: split must be one of {', '.join(SPLITS)}, got {split!r}")
        folder = child(user_path(root), category) / SPLITS[split] / "data"
        expect_folder(folder)
        files = {path.name for path in folder.iterdir()}
        needed = ["image_4.png", "depth.png", "info_depth.yaml", "pose.txt"]
        needed += ["mask.png"] if split == "test" else []
        numbers = {name.split("_", 1)[0] for name in files if name.endswith(tuple(needed))}
        numbers = {n for n in numbers if n.isdecimal()}
        if not numbers:
            raise ValueError(f"Eyecandies: {folder} holds no parts (NN_image_4.png, ...)")
        for number in sorted(numbers):
            for kind in needed:
                if f"{number}_{kind}" not in files:
                    raise ValueError(
                        f"Eyecandies: part {number} of {folder} has no file {number}_{kind}"
                    )
        stems = [folder / number for number in sorted(numbers, key=int)]
        names = [f"{SPLITS[split]}/{stem.name}" for stem in stems]
        super().__init__(
            [partial(_read, stem, name) for stem, name in zip(stems, names, strict=True)], names
        )
        self.source = f"Eyecandies, {plain(category)}, {split}"


def points_of(
    depth: npt.NDArray[np.generic], low: float, high: float, pose: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Convert a depth image of the data set to points.

    Args:
        depth: (H, W) uint16; 0 stands for ``low`` and 65535 for ``high``.
        low: depth in units of the data set.
        high: depth in units of the data set.
        pose: (4, 4) camera matrix as in ``pose.txt``.

    Returns:
        Points (H, W, 3) in metres with the background, see `Eyecandies`, and (H, W) true on the
        candy.

    Raises:
        ValueError: the pose has no inverse, or the belt cannot be levelled.

    """
    height, width = depth.shape
    focal = FOCAL_LENGTH * width
    camera = np.array(
        [[focal, 0, width / 2, 0], [0, focal, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    try:
        # A point is depth * inverse @ (column, row, 1, 1 / depth), without its last component.
        inverse = np.linalg.inv(camera @ pose)[:3]
    except np.linalg.LinAlgError as error:
        raise ValueError("the pose has no inverse") from error
    along = np.float32(low) + depth.astype(np.float32) * np.float32((high - low) / 65535)
    column, row = np.arange(width), np.arange(height)[:, None]
    x, y, z = (
        (a * column + b * row + c).astype(np.float32) * along + np.float32(t)
        for a, b, c, t in inverse
    )
    near, far = (-1, width // 2), (0, width // 2)
    rise, run = float(y[far] - y[near]), float(z[far] - z[near])
    length = np.hypot(rise, run)
    if not (np.isfinite(length) and length > 0):
        raise ValueError("the depth shows no belt: the first and last row are at one point")
    cos, sin = np.float32(run / length), np.float32(rise / length)
    below, ahead = cos * y - sin * z, sin * y + cos * z
    candy = below <= below[near] - np.float32(BELT_MARGIN)
    candy &= (ahead <= ahead[near] + np.float32(BELT_LENGTH)) & (np.abs(x) <= BELT_HALF_WIDTH)
    candy &= along > 0
    points = np.stack([x, -z, y], -1)
    points *= np.float32(METRES)
    return points, candy


def _read(stem: Path, name: str) -> Sample:
    """Read one part from the files whose names begin with this."""

    def file(kind: str) -> Path:
        return stem.with_name(f"{stem.name}_{kind}")

    image, depth = read_rgb(file("image_4.png")), read_depth(file("depth.png"))
    expect_size(depth, image, f"depth {file('depth.png')}", f"rgb {file('image_4.png')}")
    low, high = _bounds(file("info_depth.yaml"))
    try:
        points, candy = points_of(depth, low, high, _pose(file("pose.txt")))
    except ValueError as error:
        raise ValueError(f"{stem}: {error}") from error
    points[~candy] = 0
    defect = _defect(stem, file("mask.png"), file("metadata.yaml"))
    mask = file("mask.png") if file("mask.png").is_file() else None
    good = "good" if defect == "good" else None
    truth = read_truth(mask, image, file("image_4.png"), good)
    if good is None and truth is not None and not truth.any():
        # Not an error, as for a person's mask: the renderer marks only what the camera sees.
        warnings.warn(
            f"{mask}: marks no pixel of a part that is labelled defective; all count as good",
            RuntimeWarning,
            stacklevel=2,
        )
    return Sample(image, points, truth, defect, name)


def _defect(stem: Path, mask: Path, metadata: Path) -> str:
    """Tell the kind of defect from the label and the masks."""
    if metadata.is_file():
        label = _yaml(metadata).get("anomalous")
        if label not in (0, 1):
            raise ValueError(f"{metadata}: anomalous must be 0 or 1, got {label!r}")
        anomalous = bool(label)
    else:
        anomalous = mask.is_file() and bool(read_mask(mask).any())
    if not anomalous:
        return "good"
    paths = {kind: stem.with_name(f"{stem.name}_{file}_mask.png") for file, kind in MASKS.items()}
    kinds = [kind for kind, path in paths.items() if path.is_file() and read_mask(path).any()]
    return "combined" if len(kinds) > 1 else "".join(kinds) or "anomalous"


def _bounds(path: Path) -> tuple[float, float]:
    """Read the depths that 0 and 65535 stand for."""
    bounds = _yaml(path).get("normalization")
    try:
        if not isinstance(bounds, dict):
            raise TypeError("no mapping")
        low, high = float(bounds["min"]), float(bounds["max"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: must hold the numbers normalization: min and max") from error
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"{path}: min must be less than max, got {low} and {high}")
    return low, high


def _pose(path: Path) -> npt.NDArray[np.float64]:
    try:
        pose = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path}: must hold a matrix of numbers: {error}") from error
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f"{path}: the pose must be 4x4 finite numbers, got {pose.shape}")
    return pose


def _yaml(path: Path) -> dict[str, object]:
    import yaml  # no other data set has it

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold keys and values, got {type(content).__name__}")
    return content
