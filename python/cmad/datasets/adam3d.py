"""3D-ADAM in the layout of its subset for unsupervised training."""

from functools import partial
from pathlib import Path

from cmad.datasets.files import LazySamples, expect_size, read_rgb, read_truth
from cmad.datasets.mvtec3d import split_folder
from cmad.datasets.names import plain
from cmad.datasets.parts import parts_in
from cmad.datasets.relief import expect_scale, read_points
from cmad.types import Sample

MASKS = "ground_truth"


class ADAM3D(LazySamples):
    """One split of one category of 3D-ADAM (arXiv:2507.07838), its subset for anomalib.

    Reads ``root/category/split/<defect>/{rgb,xyz,ground_truth}/NAME.{png,tiff}``: the layout of
    MVTec 3D-AD with another name for the masks and without validation. The mask of a good part is
    zeros. The data set's licence, CC BY-NC-SA 4.0, does not allow commercial use.

    The data set's pages do not state the unit of its points; a file whose points span less than a
    millimetre or more than 10 m in ``unit`` is an error, as is one that holds a depth instead of
    points, unless a ``pitch`` is given.
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
    ) -> None:
        """List the files of one split; reads none of them.

        Args:
            root: folder that holds the categories.
            category: such as ``"1m1"``.
            split: ``"train"`` or ``"test"``; ``"validation"`` where somebody has added the folder.
            unit: of the points, ``"m"`` or ``"mm"``.
            pitch: metres between neighbouring pixels, for files that hold a depth: x and y are
                then those of the pixels.
            relief: metres per unit of that depth, instead of ``unit``.

        Raises:
            FileNotFoundError: root or the split's folder is not there.
            ValueError: unknown category or split, an image without points or points without image,
                a defect without mask, no samples at all, or an argument out of range.

        """
        expect_scale("ADAM3D", unit, pitch, relief)
        folder = split_folder("ADAM3D", root, category, split)
        sources, names = [], []
        read = partial(_read, unit=unit, pitch=pitch, relief=relief)
        for name, defect, rgb, xyz, mask in parts_in(folder, MASKS):
            names.append(name)
            sources.append(partial(read, rgb, xyz, mask, defect, name))
        if not sources:
            raise ValueError(f"ADAM3D: {folder} holds no samples (<defect>/rgb and <defect>/xyz)")
        super().__init__(sources, names)
        self.source = f"3D-ADAM, {plain(category)}, {split}"


def _read(
    rgb: Path,
    xyz: Path,
    mask: Path | None,
    defect: str,
    name: str,
    *,
    unit: str,
    pitch: float | None,
    relief: float | None,
) -> Sample:
    image = read_rgb(rgb)
    size = image.shape[0], image.shape[1]
    points = read_points(
        xyz, size, unit=unit, pitch=pitch, relief=relief, hint="cmad.datasets.ADAM3D"
    )
    expect_size(points, image, f"xyz {xyz}", f"rgb {rgb}")
    return Sample(image, points, read_truth(mask, image, rgb, defect), defect, name)
