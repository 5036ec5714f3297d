"""False warnings on parts like training's, and planted faults found and rightly named.

    python benchmarks/inputs.py [--seeds 6] [--parts 4] [--good 100] [--defective 40]
    CMAD_MVTEC3D=... python benchmarks/inputs.py --category cable_gland --parts 21 [--draws 100]

Only frames and training ranges are made; no extractor runs.
"""

import argparse
import itertools
import os
import warnings
from collections import Counter
from types import SimpleNamespace

import numpy as np
from _environment import one_line

from cmad.datasets import MVTec3D, Synthetic
from cmad.detectors._unlike import compared
from cmad.preprocess import Preprocessing, prepare
from cmad.presets import PRESETS
from cmad.ranges import LITTLE_SEEN, NO_BACKGROUND, Ranges, look, suspicions
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


def farther(rgb, xyz):
    """Scale all coordinates: a larger part, seen from farther."""
    return rgb, xyz * 1.3


def covered(sample, how, beside):
    """Lose the points right of the part's middle column: those of the part, or all of them."""
    rgb, xyz = arrays(sample)
    frame = prepare(sample, how)
    column = float(np.median(np.nonzero(frame.valid.numpy())[1]))
    right = np.arange(xyz.shape[1]) >= column * frame.window.side / how.image_size
    lost = np.broadcast_to(right, xyz.shape[:2])
    if not beside:
        there = (xyz != 0).any(-1)
        height = xyz @ np.array(frame.plane[:3]) + frame.plane[3]
        lost = lost & there & (height > how.background.distance)
    return rgb, np.where(lost[..., None], 0, xyz)


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
    "millimetres": (
        lambda rgb, xyz: (rgb, xyz * 1000),
        ("points are 1000 times", "points seem to be millimetres"),
    ),
    "metres as mm": (
        lambda rgb, xyz: (rgb, xyz / 1000),
        ("points are 0.001 times", "points seem to be metres"),
    ),
    "centimetres": (
        lambda rgb, xyz: (rgb, xyz * 100),
        ("centimetres for metres", "seem to be centimetres"),
    ),
    "arrays mirrored left-right": (both(lambda a: a[:, ::-1]), "arrays are mirrored left-right"),
    "arrays mirrored top-bottom": (both(lambda a: a[::-1]), "arrays are mirrored top-bottom"),
    "arrays transposed": (both(lambda a: a.swapaxes(0, 1)), "arrays are transposed"),
    "arrays turned by 180": (both(lambda a: a[::-1, ::-1]), "arrays are turned by 180"),
    "arrays turned by 90": (both(np.rot90), "arrays are turned by 90"),
    "xyz alone mirrored": (lambda rgb, xyz: (rgb, xyz[:, ::-1]), "xyz alone is mirrored left"),
    "xyz alone turned by 180": (
        lambda rgb, xyz: (rgb, xyz[::-1, ::-1]),
        "xyz alone is turned by 180",
    ),
    "rgb alone mirrored": (lambda rgb, xyz: (rgb[:, ::-1], xyz), "rgb alone is mirrored left"),
    "rgb alone turned by 180": (
        lambda rgb, xyz: (rgb[::-1, ::-1], xyz),
        "rgb alone is turned by 180",
    ),
    "z, y, x": (order(2, 1, 0), "written as z, y, x"),
    "y, x, z": (order(1, 0, 2), "written as y, x, z"),
    "y, z, x": (order(1, 2, 0), "written as y, z, x"),
    "x negated": (signs(-1, 1, 1), "x is negated"),
    "y and z negated": (signs(1, -1, -1), "y and z are negated"),
    "z negated": (signs(1, 1, -1), "z is negated"),
    "camera tilted by 15 degrees": (rotated(0, 15), "is tilted by"),
    "camera tilted by 30 degrees": (rotated(1, 30), "is tilted by"),
    "camera half as far again": (half_as_far_again, "m away"),
    "all 1.3 times as far": (farther, "m away"),
    "image and points cropped to half": (zoomed, "pose"),
    "light a quarter": (light(0.25), "dark"),
    "light three times": (light(3.0), "bright"),
    "half of the part missing": (False, LITTLE_SEEN),
    "half of the part missing, and all beside it": (True, (LITTLE_SEEN, NO_BACKGROUND)),
}


def prepared(sample, how):
    """Return what stands for a pipeline that has prepared a part, or been refused by it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = prepare(sample, how)
        except ValueError as error:
            made = error

    def frame(_):
        if isinstance(made, ValueError):
            raise made
        return made

    return SimpleNamespace(frame=frame, preprocessing=how)


def notes(sample, pipeline, ranges):
    """Return kind and text of all that a detector says of a part, also where it refuses it."""
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
    """Return a part with a fault."""
    change = FAULTS[name][0]
    made = covered(sample, how, change) if isinstance(change, bool) else change(*arrays(sample))
    rgb, xyz = (np.ascontiguousarray(array) for array in made)
    return Sample(rgb, xyz.astype(np.float32))


def main():
    """Print tables as Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--category")
    arguments.add_argument("--seeds", type=int, default=6)
    arguments.add_argument("--parts", type=int, default=4, help="that faults are planted in")
    arguments.add_argument("--good", type=int, default=100)
    arguments.add_argument("--defective", type=int, default=40)
    arguments.add_argument("--draws", type=int, default=100, help="of real training parts")
    asked = arguments.parse_args()
    count = Counter()
    for label, how, known, parts in settings(asked):
        looked = Counter()
        for part in parts:
            kind = "good" if part.defect == "good" else "defective"
            looked[kind] += 1
            pipeline = prepared(part, how)
            for ranges in known:
                count[kind] += 1
                said = notes(part, pipeline, ranges)
                count[kind, "told"] += bool(said)
                for _, text in said:
                    print(f"told: {label}, {ranges.parts}: {part.name}: {text}", flush=True)
            if kind == "defective" or looked[kind] > asked.parts:
                continue
            for name, (_, want) in FAULTS.items():
                sample = plant(name, part, how)
                pipeline = prepared(sample, how)
                for ranges in known:
                    said = notes(sample, pipeline, ranges)
                    right = [
                        t for k, t in said if any(w in f"{k} {t}" for w in np.atleast_1d(want))
                    ]
                    count[name] += 1
                    count[name, "found"] += bool(said)
                    count[name, "named"] += bool(right)
                    count[name, "alone"] += any("cannot be told" not in text for text in right)
                    if not right:
                        print(f"{name}: {label}, {ranges.parts}: {part.name}: {said}", flush=True)
    for kind in ("good", "defective"):
        print(f"\nwarnings on {kind} parts: {count[kind, 'told']} of {count[kind]}")
    print("\n| fault | parts | found | named | alone |\n| --- | ---: | ---: | ---: | ---: |")
    for name in FAULTS:
        numbers = [count[name], *(count[name, what] for what in ("found", "named", "alone"))]
        print(f"| {name} | {' | '.join(str(number) for number in numbers)} |")
    if asked.category:
        drawn(asked, how)


def settings(asked):
    """Yield a label, preparation, ranges of several numbers of parts, and parts to look at."""
    how = Preprocessing(224, 224, PRESETS["paper"].preparation, 0)
    if asked.category:
        train, validation, test = splits(asked.category)
        known = [trained(train[:n], how) for n in (5, 8, 24, len(train)) if n <= len(train)]
        yield (
            asked.category,
            how,
            known,
            sorted(validation + test, key=lambda p: p.defect != "good"),
        )
        return
    for size, seed in itertools.product(((160, 160), (240, 320), (400, 400)), range(asked.seeds)):
        train = list(Synthetic("train", good=24, size=size, seed=seed))
        known = [trained(train[:n], how) for n in (5, 8, 24)]
        test = Synthetic("test", good=asked.good, defective=asked.defective, size=size, seed=seed)
        yield f"{size[0]}x{size[1]}, seed {seed}", how, known, test


def splits(category):
    """Return the parts of a real category."""
    if not (root := os.environ.get("CMAD_MVTEC3D")):
        raise SystemExit("error: --category needs CMAD_MVTEC3D: the root folder of MVTec 3D-AD")
    with one_line():
        return [list(MVTec3D(root, category, split)) for split in ("train", "validation", "test")]


def drawn(asked, how):
    """Take few parts at random as training parts, and look at all others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [(p.defect, prepare(p, how)) for split in splits(asked.category) for p in split]
    good = [frame for defect, frame in parts if defect == "good"]
    looks = [look(frame) for frame in good]
    rng = np.random.default_rng(0)
    for number in (5, 8, 24):
        told, of = 0, 0
        for _ in range(asked.draws):
            order = rng.permutation(len(good))
            ranges = Ranges.of([looks[i] for i in order[:number]])
            others = [good[i] for i in order[number:]] + [f for d, f in parts if d != "good"]
            told += sum(bool(suspicions(frame, ranges)) for frame in others)
            of += len(others)
        print(f"\n{number} training parts drawn {asked.draws} times: {told} of {of} others told")


if __name__ == "__main__":
    main()
