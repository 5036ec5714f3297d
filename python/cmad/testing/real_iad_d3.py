"""Writes small data sets in the layouts of Real-IAD D3; nothing of the data set is in them."""

import json
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from cmad.testing.plates import KINDS, Plate, render

Row = dict[str, str | None]


def write_listed(
    root: Path,
    category: str = "power_jack",
    *,
    train: int = 6,
    validation: int = 3,
    good: int = 2,
    kinds: tuple[str, ...] = KINDS,
    size: int = 64,
    finer: int = 1,
    seed: int = 0,
) -> Path:
    """Write one category as the download has it: its files and the list of them.

    Each file has a name of its own; the list says which belong together. Validation has a
    defective part after the good ones.

    Args:
        root: folder that is to hold ``realiad_d3_raw`` and ``realiad_d3_jsons``.
        category: name of its folder.
        train: how many parts for training, all good.
        validation: how many good parts in the validation; 0 for none at all.
        good: how many good parts in the test.
        kinds: of the defective parts in the test, one part each.
        size: of the points, pixels along each side.
        finer: how many pixels of the image a pixel of the points has along each side.
        seed: of all that varies.

    Returns:
        The category's folder.

    """
    rng = np.random.default_rng(seed)
    folder = root / "realiad_d3_raw" / category
    lists: dict[str, object] = {"meta": {"prefix": f"{category}/", "normal_class": "OK"}}
    plan = {"train": ["good"] * train, "test": ["good"] * good + list(kinds)}
    if validation:
        plan["validation"] = ["good"] * validation + ["hole"]
    number = 0
    for split, parts in plan.items():
        rows: list[Row] = []
        for kind in parts:
            number += 1
            kind_name = "OK" if kind == "good" else kind
            stem = f"{kind_name}/S{number:04d}/{category}_{number:04d}_{kind_name}"
            row: Row = {
                "category": category,
                "anomaly_class": kind_name,
                "image_path": f"{stem}_RGB_01.jpg",
                "ps_path": f"{stem}_PS_01.jpg",
                "xyz_path": f"{stem}_XYZ_01.tiff",
                "mask_path": None if kind == "good" else f"{stem}_RGB_01.png",
            }
            part = render(rng, kind, size)
            _write(folder, part, finer, *(row[f"{name}_path"] for name in _FILES))
            rows.append(row)
        lists[split] = rows
    path = root / "realiad_d3_jsons" / f"{category}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(lists), encoding="utf-8")
    return folder


def write_folders(
    root: Path,
    category: str = "power_jack",
    *,
    train: int = 6,
    good: int = 2,
    kinds: tuple[str, ...] = KINDS,
    size: int = 64,
    finer: int = 1,
    flat: bool = False,
    seed: int = 0,
) -> Path:
    """Write one category as the authors' code arranges it, paired by the order of its files.

    Args:
        root: folder that is to hold the category.
        category: name of its folder.
        train: how many parts for training, all good.
        good: how many good parts in the test.
        kinds: of the defective parts in the test, two parts each.
        size: of the points, pixels along each side.
        finer: see `write_listed`.
        flat: to write one number for x, and one for y, into the points of the test.
        seed: of all that varies.

    Returns:
        The category's folder.

    """
    rng = np.random.default_rng(seed)
    plan = [("train", "GOOD", train), ("test", "GOOD", good)]
    plan += [("test", kind, 2) for kind in kinds]
    number = 0
    for split, name, count in plan:
        folder = root / category / split / name
        for _ in range(count):
            number += 1
            part = render(rng, name if name != "GOOD" else "good", size)
            if flat and split == "test":
                part.xyz[..., :2] = np.where(np.isnan(part.xyz[..., :2]), np.nan, 1.0)
            _write(
                folder,
                part,
                finer,
                f"rgb/S{number:04d}/S{number:04d}_L05_RGB.jpg",
                f"ps/S{number:04d}_PS.jpg",
                f"xyz/S{number:04d}_XYZ.tiff",
                None if name == "GOOD" else f"gt/rgb/S{number:04d}_L05_RGB.png",
            )
            other = folder / f"rgb/S{number:04d}/S{number:04d}_L01_RGB.jpg"  # another light
            Image.fromarray(255 - part.rgb).save(other)
    return root / category


_FILES = ("image", "ps", "xyz", "mask")


def _write(folder: Path, part: Plate, finer: int, *names: str | None) -> None:
    paths = [folder / name if name else None for name in names]
    for path in paths:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    rgb, ps, xyz, mask = paths
    whole = np.repeat(np.repeat(part.rgb, finer, axis=0), finer, axis=1)
    z = part.xyz[..., 2]
    slopes = [np.nan_to_num(np.gradient(z, axis=axis)) for axis in (1, 0)]
    normals = np.dstack([*(np.clip(128 + 40 * s, 0, 255) for s in slopes), np.full(z.shape, 255.0)])
    if rgb is not None:
        Image.fromarray(whole).save(rgb, quality=95)
    if ps is not None:
        Image.fromarray(normals.astype(np.uint8)).save(ps)
    if xyz is not None:
        tifffile.imwrite(xyz, part.xyz, photometric="rgb")
    if mask is not None:
        marked = np.where(part.mask, 255, 0).astype(np.uint8)
        Image.fromarray(np.repeat(np.repeat(marked, finer, axis=0), finer, axis=1)).save(mask)
