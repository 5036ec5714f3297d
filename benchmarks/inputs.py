"""False warnings on parts like training's, and planted faults found and rightly named.

    python benchmarks/inputs.py [--seeds 3] [--parts 4]
    CMAD_MVTEC3D=... python benchmarks/inputs.py --category cable_gland

Only frames and training ranges are made; no extractor runs.
"""

import argparse
import itertools
import os
import warnings
from collections import Counter
from types import SimpleNamespace

import numpy as np

from cmad.datasets import MVTec3D, Synthetic
from cmad.detectors._unlike import compared
from cmad.preprocess import Preprocessing, prepare
from cmad.presets import PRESETS
from cmad.ranges import LITTLE_SEEN, Ranges, look
from cmad.types import Sample


def rotated(axis, degrees):
    """Rotate points about the middle of the scene."""
    a, (i, j) = np.radians(degrees), [k for k in range(3) if k != axis]
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = np.cos(a)
    turn[i, j], turn[j, i] = -np.sin(a), np.sin(a)

    def change(rgb, xyz):
        there = (xyz != 0).any(-1)
        middle = xyz[there].mean(0)
        return rgb, np.where(there[..., None], (xyz - middle) @ turn.T + middle, 0)

    return change


def half_as_far_again(rgb, xyz):
    """Move the camera away; the pixels see what they saw."""
    there = (xyz != 0).any(-1, keepdims=True)
    return rgb, np.where(there, xyz + np.array([0, 0, 0.5 * np.median(xyz[there[..., 0], 2])]), 0)


def zoomed(rgb, xyz):
    """Take the middle half of the image."""
    h, w = (n // 4 for n in xyz.shape[:2])
    return rgb[h:-h, w:-w], xyz[h:-h, w:-w]


def covered(sample, how):
    """Lose the points of all but the leftmost 0.3 of the part."""
    rgb, xyz = arrays(sample)
    frame = prepare(sample, how)
    column = float(np.quantile(np.nonzero(frame.valid.numpy())[1], 0.3))
    xyz[:, int(column * frame.window.side / how.image_size) - frame.window.left :] = 0
    return rgb, xyz


def both(turn):
    """Turn image and points alike."""
    return lambda rgb, xyz: (turn(rgb), turn(xyz))


def light(factor):
    """Multiply the image."""
    return lambda rgb, xyz: (np.clip(rgb * factor, 0, 255).astype(np.uint8), xyz)


def signs(*values):
    """Negate coordinates."""
    return lambda rgb, xyz: (rgb, xyz * np.array(values))


def order(*axes):
    """Exchange coordinates."""
    return lambda rgb, xyz: (rgb, xyz[..., list(axes)])


FAULTS = {
    "BGR for RGB": (lambda rgb, xyz: (rgb[..., ::-1], xyz), "BGR"),
    "millimetres": (lambda rgb, xyz: (rgb, xyz * 1000), ("scale 1000", "unit=")),
    "metres as mm": (lambda rgb, xyz: (rgb, xyz / 1000), ("scale 0.001", "unit=")),
    "centimetres": (lambda rgb, xyz: (rgb, xyz * 100), ("scale 100", "unit=")),
    "arrays mirrored left-right": (both(lambda a: a[:, ::-1]), "arrays are mirrored left-right"),
    "arrays mirrored top-bottom": (both(lambda a: a[::-1]), "arrays are mirrored top-bottom"),
    "arrays transposed": (both(lambda a: a.swapaxes(0, 1)), "arrays are transposed"),
    "arrays turned by 180": (both(lambda a: a[::-1, ::-1]), "arrays are turned by 180"),
    "arrays turned by 90": (both(np.rot90), "arrays are turned by 90"),
    "xyz alone mirrored": (lambda rgb, xyz: (rgb, xyz[:, ::-1]), "xyz alone is mirrored left"),
    "xyz alone turned by 180": (lambda rgb, xyz: (rgb, xyz[::-1, ::-1]), "xyz alone is turned"),
    "rgb alone mirrored": (lambda rgb, xyz: (rgb[:, ::-1], xyz), "rgb alone is mirrored left"),
    "rgb alone turned by 180": (lambda rgb, xyz: (rgb[::-1, ::-1], xyz), "rgb alone is turned"),
    "z, y, x": (order(2, 1, 0), "written as"),
    "y, x, z": (order(1, 0, 2), "written as"),
    "y, z, x": (order(1, 2, 0), "written as"),
    "x negated": (signs(-1, 1, 1), "x is negated"),
    "y and z negated": (signs(1, -1, -1), "y and z are negated"),
    "z negated": (signs(1, 1, -1), "z is negated"),
    "camera tilted by 15 degrees": (rotated(0, 15), "pose"),
    "camera tilted by 30 degrees": (rotated(1, 30), "pose"),
    "camera half as far again": (half_as_far_again, "pose"),
    "image and points cropped to half": (zoomed, "pose"),
    "light a quarter": (light(0.25), "dark"),
    "light three times": (light(3.0), "bright"),
    "most of the part missing": (None, LITTLE_SEEN),
}


def notes(rgb, xyz, ranges, how):
    """Return kind and text of all that a detector says, also where it refuses the part."""
    sample = Sample(np.ascontiguousarray(rgb), np.ascontiguousarray(xyz, np.float32))
    pipeline = SimpleNamespace(frame=lambda sample: prepare(sample, how), preprocessing=how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frame = compared(pipeline, ranges, sample, strict=False)
        except ValueError as error:
            return [("refused", str(error))]
    return [(note.kind, note.text) for note in frame.notes if note.kind.startswith("unlike")]


def trained(parts, how):
    """Return the ranges of parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Ranges.of([look(prepare(part, how)) for part in parts])


def arrays(sample):
    """Return image and points, 0 where there is none."""
    xyz = np.asarray(sample.xyz, np.float32)
    return np.asarray(sample.rgb), np.where(np.isfinite(xyz).all(-1, keepdims=True), xyz, 0)


def plant(name, sample, how):
    """Return image and points with a fault."""
    change = FAULTS[name][0]
    return covered(sample, how) if change is None else change(*arrays(sample))


def main():
    """Print a table as Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--category")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--parts", type=int, default=4)
    asked = arguments.parse_args()
    false, found, named, of = Counter(), Counter(), Counter(), Counter()
    looked = Counter()
    for ranges, how, good, defective, label in settings(asked):
        for kind, some in (("good", good), ("defective", defective)):
            for part in some:
                looked[kind] += 1
                for _, text in notes(part.rgb, part.xyz, ranges, how):
                    false[kind] += 1
                    print(f"false: {label} {part.name}: {text}", flush=True)
        for part, name in itertools.product(good[: asked.parts], FAULTS):
            said = notes(*plant(name, part, how), ranges, how)
            want = FAULTS[name][1]
            of[name] += 1
            found[name] += bool(said)
            right = any(w in f"{k} {t}" for k, t in said for w in np.atleast_1d(want))
            named[name] += right
            if not right:
                print(f"  {name}: {label} {part.name}: {said}", flush=True)
    for kind, count in looked.items():
        print(f"\nfalse warnings on {kind} parts: {false[kind]} of {count}")
    print("\n| fault | found | rightly named | of |\n| --- | ---: | ---: | ---: |")
    for name in FAULTS:
        print(f"| {name} | {found[name]} | {named[name]} | {of[name]} |")


def settings(asked):
    """Yield ranges, preparation, good and defective parts to look at, and a label."""
    how = Preprocessing(224, 224, PRESETS["paper"].preparation, 0)
    if asked.category:
        root = os.environ["CMAD_MVTEC3D"]
        train = list(MVTec3D(root, asked.category, "train"))
        test = list(MVTec3D(root, asked.category, "test"))
        with_validation = list(MVTec3D(root, asked.category, "validation"))
        good = [p for p in test if p.defect == "good"] + with_validation
        for count in (5, 8, 24, len(train)):
            if count <= len(train):
                ranges = trained(train[:count], how)
                yield ranges, how, good, [p for p in test if p.label], f"fit on {count}"
        return
    sizes = ((160, 160), (240, 320), (400, 400))
    for size, seed, count in itertools.product(sizes, range(asked.seeds), (5, 8, 24)):
        ranges = trained(Synthetic("train", good=count, size=size, seed=seed), how)
        test = list(Synthetic("test", good=12, defective=8, size=size, seed=seed))
        good = [part for part in test if not part.label]
        bad = [part for part in test if part.label]
        yield ranges, how, good, bad, f"{size[0]}x{size[1]} seed {seed} fit on {count}"


if __name__ == "__main__":
    main()
