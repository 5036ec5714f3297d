"""Own data: folders of rgb/xyz pairs."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy.typing as npt

from cmad.datasets.files import LazySamples, read_sample
from cmad.datasets.kinds import kind_of
from cmad.datasets.names import plain, walk
from cmad.datasets.parts import find_parts
from cmad.paths import user_path
from cmad.types import Sample
from cmad.units import Units


class Folder(LazySamples):
    """Every rgb/xyz pair below a folder.

    A pair is two files of the same name in the subfolders ``rgb/`` and ``xyz/`` of one folder, at
    any depth; a mask of that name in ``gt/`` beside them is read too. The name of the folder that
    holds ``rgb/``, or of one around it, tells what the parts are: ``good``, or the kind of defect,
    as in MVTec 3D-AD. Names that say neither (dates, batches, OK; see
    `cmad.datasets.kinds.kind_of`) and that of the folder given tell nothing: then a part with a
    mask is good if that is zeros and else its defect is ``"defect"``, and of one without nothing is
    known.

    The name of a sample is its path below the folder, such as ``"test/bent/000"``.
    """

    kinds: tuple[str | None, ...]
    """What each part's folder says: ``"good"``, the kind of defect, or None for nothing."""

    def __init__(
        self,
        path: str | Path,
        good: Sequence[str] = (),
        *,
        unit: str | None = None,
        intrinsics: npt.ArrayLike | None = None,
        depth_unit: str | None = None,
        depth_scale: float = 1.0,
    ) -> None:
        """List the pairs, sorted by folder and name; reads none of them.

        Args:
            path: folder to search. Links are followed, each real folder is read once; folders that
                are hidden or added by a system, such as ``__MACOSX``, are passed over.
            good: names of folders with good parts, beside ``"good"``; also that of ``path`` itself.
            unit: of the points, ``"m"`` (None) or ``"mm"``; samples are in metres.
            intrinsics: of the depth camera, (fx, fy, cx, cy) in pixels or the (3, 3) matrix; with
                them ``xyz/`` may hold depth images, PNG or TIFF with one channel of at least 16
                bits.
            depth_unit: of the depth images, ``"m"`` or ``"mm"``; None takes ``unit`` where that is
                given, else ``"mm"``.
            depth_scale: units per step of the depth images; 0.1 for tenths.

        Raises:
            FileNotFoundError: the folder is not there.
            ValueError: no pair is found, a file or folder lacks its partner, ``gt/`` lacks the
                mask of a defective part, or see `cmad.units.Units`.

        """
        root = user_path(path)
        units = Units().given(unit, intrinsics, depth_unit, depth_scale)
        if not root.is_dir():
            raise FileNotFoundError(f"Folder: path must be a folder, got {root}")
        found, seen = list[Path](), set[tuple[str, str]]()
        # What is there by itself before links to it.
        for folder in sorted(walk(root), key=lambda folder: (folder / "rgb").is_symlink()):
            there = [name for name in ("rgb", "xyz") if (folder / name).is_dir()]
            if len(there) == 1:
                [missing] = {"rgb", "xyz"} - set(there)
                raise ValueError(f"Folder: {folder} has {there[0]}/ but no {missing}/ beside it")
            real = os.path.realpath(folder / "rgb"), os.path.realpath(folder / "xyz")
            if there and real not in seen:
                seen.add(real)
                found.append(folder)
        found.sort(key=lambda folder: folder.relative_to(root).parts)
        sources = [source for folder in found for source in _sources(root, folder, good, units)]
        if not sources:
            raise ValueError(f"Folder: {root} holds no pairs (rgb/NAME.png with xyz/NAME.tiff)")
        super().__init__(sources, [source.args[-1] for source in sources])
        self.kinds = tuple(source.args[-2] for source in sources)


def _sources(root: Path, folder: Path, good: Sequence[str], units: Units) -> list[partial[Sample]]:
    below, masked = folder.relative_to(root), (folder / "gt").is_dir()
    defect = kind_of(below, root, good)
    sources = []
    for stem, rgb, xyz, mask in find_parts(folder, depth=units.intrinsics is not None):
        if masked and mask is None and defect != "good":
            raise ValueError(f"{rgb}: has no mask, {folder / 'gt' / stem}.png is missing")
        read = _read_by_mask if masked and defect is None else read_sample
        name = (Path(plain(str(below))) / stem).as_posix()
        sources.append(partial(read, rgb, xyz, mask, defect, name, units=units))
    return sources


def _read_by_mask(
    rgb: Path, xyz: Path, mask: Path | None, defect: str | None, name: str, *, units: Units
) -> Sample:
    """Read a part of which only the mask tells whether it is good."""
    sample = read_sample(rgb, xyz, mask, defect, name, units=units)
    return replace(
        sample, defect="good" if sample.mask is None or not sample.mask.any() else "defect"
    )
