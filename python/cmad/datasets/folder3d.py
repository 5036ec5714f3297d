"""Own data in the arrangement of anomalib's Folder3D: images, depths and masks in folders apart."""

from functools import partial
from pathlib import Path

import numpy.typing as npt

from cmad.datasets.files import IMAGE_SUFFIXES, LazySamples, read_sample
from cmad.datasets.names import child, plain
from cmad.datasets.parts import by_stem, divide, expect_pairs, points_by_stem
from cmad.paths import user_path
from cmad.types import Sample
from cmad.units import Units

SPLITS = ("train", "validation", "test")
MASKS = ("ground_truth", "mask", "masks")
"""Folders of masks that are looked for."""


class Folder3D(LazySamples):
    """One split of a folder as anomalib's ``Folder3D`` takes it, named by the same arguments.

    Images lie in ``normal_dir``, ``abnormal_dir`` and ``normal_test_dir``, the points of each in
    a folder of their own, by default of the same name and ``_depth``; the masks of
    ``abnormal_dir`` in ``mask_dir``. Points are organised, (H, W, 3), as TIFF, PLY, PCD or NPZ.

    Files belong together by name without extension; ``_depth`` or ``_xyz`` at the end of a points
    file's name and ``_mask`` or ``_gt`` at the end of a mask's do not count. (anomalib pairs by
    position in the sorted lists.) The kind of a defect is the name of ``abnormal_dir``.

    With ``normal_test_dir``, a fifth of the normal parts is for validation, the others train;
    without, a fifth is for validation and a fifth for the test, see `cmad.datasets.parts.divide`.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        normal_dir: str = "normal",
        abnormal_dir: str | None = "abnormal",
        normal_test_dir: str | None = "normal_test",
        mask_dir: str | None = None,
        normal_depth_dir: str | None = None,
        abnormal_depth_dir: str | None = None,
        normal_test_depth_dir: str | None = None,
        unit: str | None = None,
        intrinsics: npt.ArrayLike | None = None,
        depth_unit: str | None = None,
        depth_scale: float = 1.0,
    ) -> None:
        """List the files of one split; reads none of them.

        Args:
            root: folder that all others are below.
            split: ``"train"``, ``"validation"`` or ``"test"``.
            normal_dir: images of good parts.
            abnormal_dir: images of defective parts; need not be there.
            normal_test_dir: images of good parts for the test; need not be there.
            mask_dir: masks of the defective parts; None takes ``ground_truth``, ``mask`` or
                ``masks`` if one is there.
            normal_depth_dir: points of the good parts.
            abnormal_depth_dir: points of the defective parts.
            normal_test_depth_dir: points of the good parts for the test.
            unit: of the points, ``"m"`` (None) or ``"mm"``; samples are in metres.
            intrinsics: of the depth camera, (fx, fy, cx, cy) in pixels or the (3, 3) matrix; with
                them these folders may hold depth images, PNG or TIFF with one channel of at least
                16 bits.
            depth_unit: of the depth images, ``"m"`` or ``"mm"``; None takes ``unit`` where that is
                given, else ``"mm"``.
            depth_scale: units per step of the depth images; 0.1 for tenths.

        Raises:
            FileNotFoundError: the folder of good parts is not there.
            ValueError: unknown split, an image without points or points without image, some
                masks missing, too few good parts to split, no parts at all, or see
                `cmad.units.Units`.

        """
        if split not in SPLITS:
            raise ValueError(f"Folder3D: split must be one of {', '.join(SPLITS)}, got {split!r}")
        base = user_path(root)
        units = Units().given(unit, intrinsics, depth_unit, depth_scale)
        if not child(base, normal_dir).is_dir():
            raise FileNotFoundError(f"Folder3D: there is no folder {base / normal_dir}")
        if mask_dir is None:
            mask_dir = next((name for name in MASKS if (base / name).is_dir()), None)
        normal = _parts(base, normal_dir, normal_depth_dir, None, "good", units)
        if normal_test_dir and not child(base, normal_test_dir).is_dir():
            normal_test_dir = None
        shares = divide(
            [part.args[-1] for part in normal], test=not normal_test_dir, what=str(root)
        )
        parts = [normal[i] for i in shares[split]]
        if split == "test":
            if normal_test_dir:
                parts += _parts(base, normal_test_dir, normal_test_depth_dir, None, "good", units)
            if abnormal_dir and child(base, abnormal_dir).is_dir():
                kind = plain(Path(abnormal_dir).name)
                parts += _parts(base, abnormal_dir, abnormal_depth_dir, mask_dir, kind, units)
        super().__init__(parts, [part.args[-1] for part in parts])


def _parts(
    root: Path, images: str, depths: str | None, masks: str | None, defect: str, units: Units
) -> list[partial[Sample]]:
    """Pair the files of one folder of images with their points and masks."""
    folder, points = child(root, images), child(root, depths or f"{images}_depth")
    rgb = by_stem(folder, IMAGE_SUFFIXES)
    endings = "_depth", "_xyz"
    xyz = points_by_stem(points, endings, depth=units.intrinsics is not None)
    truth = by_stem(child(root, masks), IMAGE_SUFFIXES, ("_mask", "_gt")) if masks else {}
    expect_pairs(rgb, xyz, folder, points, endings)
    for stem in sorted(rgb.keys() - truth.keys()) if masks else ():
        raise ValueError(f"{rgb[stem]}: has no mask, {root / (masks or '') / stem}.png is missing")
    read = partial(read_sample, units=units)
    return [
        partial(read, rgb[stem], xyz[stem], truth.get(stem), defect, f"{plain(images)}/{stem}")
        for stem in sorted(rgb)
    ]
