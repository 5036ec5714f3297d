"""Real-IAD D3 as it is downloaded, or as its authors' code arranges it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cmad import notices
from cmad.datasets.d3_files import D3Files, files_of_folders, files_of_list, list_of
from cmad.datasets.files import LazySamples, read_rgb, read_truth
from cmad.datasets.mvtec3d import SPLITS
from cmad.datasets.names import child
from cmad.datasets.relief import expect_scale, read_points
from cmad.datasets.warps import expect_homography, image_onto, mask_onto
from cmad.paths import user_path
from cmad.types import Sample

RAW = "realiad_d3_raw"


class RealIADD3(LazySamples):
    """One split of one category of Real-IAD D3 (Zhu et al., 2025): image and points.

    Reads the download, ``realiad_d3_raw/<category>/`` (unpacked) with its list
    ``realiad_d3_jsons/<category>.json``, or the arrangement of the authors' code,
    ``<category>/{train,test}/<kind>/{rgb,xyz,gt}``, where files belong together by their order.
    The images of the third modality, ``ps``, are not read.

    Image and points come from different sensors. A sample has the pixels of the points; the image
    is brought onto them by ``warp``, or stretched, as in the authors' code, which assumes that
    both show the same. The unit of the points is not stated by the data set's pages; see
    `ADAM3D`, whose arguments for it these are. Research only, by the terms of the data set.
    """

    def __init__(
        self,
        root: str | Path,
        category: str,
        split: str,
        *,
        unit: str = "mm",
        pitch: float | None = None,
        relief: float | None = None,
        warp: npt.ArrayLike | None = None,
    ) -> None:
        """List the files of one split; reads only the category's list.

        Args:
            root: folder that holds the categories, or one with ``realiad_d3_raw`` in it.
            category: such as ``"power_jack"``.
            split: ``"train"``, ``"validation"`` or ``"test"``; of validation only the good parts.
            unit: of the points, ``"m"`` or ``"mm"``.
            pitch: metres between neighbouring pixels of the points, for files that hold a depth.
            relief: metres per unit of that depth, instead of ``unit``.
            warp: (3, 3) homography from pixels (column, row, 1) of the points to those of the
                image; outside the image it is black, and no defect.

        Raises:
            FileNotFoundError: root, category, split or a file of the list is not there.
            ValueError: unknown split, files that do not pair, a defect without mask, no samples at
                all, or an argument out of range.

        """
        expect_scale("RealIADD3", unit, pitch, relief)
        matrix = None if warp is None else expect_homography("RealIADD3", warp)
        files = files_of(root, category).get(split, [])
        if split not in SPLITS:
            raise ValueError(f"RealIADD3: split must be one of {', '.join(SPLITS)}, got {split!r}")
        if split != "test":
            files = [part for part in files if part.defect == "good"]
        if not files:
            raise ValueError(f"RealIADD3: {category} has no parts for {split}")
        how = _How(unit, pitch, relief, matrix)
        super().__init__([partial(_read, part, how) for part in files], [p.name for p in files])


def inside(folder: Path) -> Path:
    """Return the folder of categories in a download of Real-IAD D3, or the folder itself."""
    raw = folder / RAW
    return raw if raw.is_dir() else folder


def files_of(root: str | Path, category: str) -> Mapping[str, list[D3Files]]:
    """List the files of a category by split, sorted by name; see `RealIADD3`."""
    folder = user_path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"RealIADD3: root must be a folder, got {folder}")
    below = child(inside(folder), category)
    if not below.is_dir():
        packed = below.with_name(f"{below.name}.zip")
        hint = f", unpack {packed}" if packed.is_file() else ""
        raise FileNotFoundError(f"RealIADD3: no folder {below}{hint}")
    listed = list_of(below)
    return files_of_folders(below, SPLITS) if listed is None else files_of_list(below, listed)


@dataclass(frozen=True, eq=False)
class _How:
    unit: str
    pitch: float | None
    relief: float | None
    warp: npt.NDArray[np.float64] | None


def _read(part: D3Files, how: _How) -> Sample:
    whole = read_rgb(part.rgb)
    points = read_points(
        part.xyz,
        (whole.shape[0], whole.shape[1]),
        unit=how.unit,
        pitch=how.pitch,
        relief=how.relief,
        hint="cmad.datasets.RealIADD3",
    )
    size = points.shape[0], points.shape[1]
    truth = read_truth(part.mask, whole, part.rgb, part.defect)
    if how.warp is None and whole.shape[:2] == size:
        return Sample(whole, points, truth, part.defect, part.name)
    if how.warp is None:
        _tell(part.rgb, (whole.shape[0], whole.shape[1]), size)
    image = image_onto(size, whole, how.warp)
    if truth is not None:
        marked, truth = truth.any(), mask_onto(size, truth, how.warp)
        if marked and not truth.any():
            raise ValueError(f"{part.mask}: the defect lies outside the pixels of the points")
    return Sample(image, points, truth, part.defect, part.name)


def _tell(rgb: Path, image: tuple[int, int], points: tuple[int, int]) -> None:
    """Warn that an image is stretched, which is right only where both sensors show the same."""
    sizes = f"{image[0]}x{image[1]}", f"{points[0]}x{points[1]}"
    notices.warn(
        "RealIADD3: stretched",
        f"{rgb}: the image has {sizes[0]} pixels and its points {sizes[1]}; it is stretched onto "
        "them, as in the authors' code; where that is not how they belong together, pass warp=",
    )
