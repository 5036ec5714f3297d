"""How soon `cmad.drift.Monitor` finds a change, and how often it alarms without one.

    python benchmarks/drift.py [--runs 20] [--json FILE]

First streams of two independent normal values, "score" and "2d", of which the second moves by so
many standard deviations; then synthetic parts through a small detector with random weights, whose
lamp, camera or noise changes from the first part on. See docs/drift.md.
"""

import argparse
import json
import statistics
import warnings
from pathlib import Path

import numpy as np
import torch
from _environment import environment

import cmad
from cmad.datasets import Synthetic
from cmad.drift import Monitor
from cmad.extractors import PointMAE, ViT

NEVER = 10**9


def found(calibration, before, shift, seed, *, count=300, false_alarm=0.01):
    """Return how many parts after the change the alarm came; None without one."""
    draw = np.random.default_rng(seed)
    parts = draw.normal(size=(calibration, 2))
    threshold = np.sort(parts[:, 0])[calibration - int((calibration + 1) * 0.05)]
    levels = {"score": parts[:, 0], "2d": parts[:, 1]}
    monitor = Monitor(levels, threshold, seed=seed, false_alarm=false_alarm)
    for part in range(count if before == NEVER else before + count):
        score, level = draw.normal(size=2) + np.array([0, shift * (part >= before)])
        if monitor.add({"score": score, "2d": level}, bool(score > threshold)):
            return part + 1 - before
    return None


def delays(calibration, before, shift, runs):
    after = [found(calibration, before, shift, seed) for seed in range(runs)]
    return [np.inf if d is None else d for d in after]


def moved_points(xyz, by):
    there = np.isfinite(xyz).all(-1) & (xyz != 0).any(-1)
    return np.where(there[..., None], xyz + np.asarray(by), xyz).astype(np.float32)


def lamp(rgb, xyz, draw):
    return (rgb * 0.9).astype(np.uint8), xyz


def camera(rgb, xyz, draw):
    return rgb, moved_points(xyz, (0, 0, 0.002))


def noise(rgb, xyz, draw):
    """Add the sensors' own noise again, some 3 grey levels and 0.3 mm."""
    noisy = np.clip(rgb + draw.normal(0, 3, rgb.shape), 0, 255).astype(np.uint8)
    by = np.zeros_like(xyz)
    by[..., 2] = draw.normal(0, 3e-4, xyz.shape[:2])
    return noisy, moved_points(xyz, by)


def usual(rgb, xyz, draw):
    return rgb, xyz


def small(good=39):
    """Make a small detector, fitted and calibrated."""
    detector = cmad.CFM(
        rgb=ViT("vit_tiny_patch16_224", block=1, image_size=224, weights="random"),
        xyz=PointMAE(groups=64, group_size=32, dim=48, heads=3, blocks=1, weights="random"),
        image_size=56,
    )
    train = Synthetic("train", good=12, size=(100, 100))
    held_out = Synthetic("validation", good=good, size=(100, 100))
    detector.fit(train, epochs=30, pixels_per_image=200, progress=False)
    detector.calibrate(held_out, 0.05, progress=False)
    return detector


def on_parts(detector, change, count=60, false_alarm=0.01):
    """Return after how many changed parts the alarm came, and what it said."""
    monitor, draw = detector.monitor(false_alarm), np.random.default_rng(0)
    test = Synthetic("test", good=count, size=(100, 100))
    for i in range(count):
        rgb, xyz = change(np.asarray(test[i].rgb), np.asarray(test[i].xyz), draw)
        if monitor.watch(detector.predict(rgb, xyz)):
            return i + 1, [str(moved) for moved in monitor.moved]
    return None, []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results = {"false": {}, "delays": [], "parts": {}}
    for calibration in (19, 50, 100):
        some = [
            found(calibration, NEVER, 0, s, false_alarm=0.05) for s in range(10 * arguments.runs)
        ]
        results["false"][calibration] = alarms = sum(d is not None for d in some)
        print(
            f"{calibration} calibration parts: {alarms} of {len(some)} streams of 300 alarm at 0.05"
        )
    print("\n| calibration parts | usual parts before | shift 1 | 2 | 3 |\n|---|---|---|---|---|")
    for calibration in (19, 50, 100):
        for before in (0, 100, 1000):
            cells = []
            for shift in (1, 2, 3):
                after = delays(calibration, before, shift, arguments.runs)
                never = [None if np.isinf(d) else d for d in after]
                results["delays"].append([calibration, before, shift, never])
                shown = [
                    "never" if np.isinf(d) else f"{d:g}"
                    for d in (statistics.median(after), max(after))
                ]
                cells.append(f"{shown[0]} ({shown[1]})")
            print(f"| {calibration} | {before} | {' | '.join(cells)} |", flush=True)
    print()
    detector = small()
    for change in (usual, lamp, camera, noise):
        part, said = results["parts"][change.__name__] = on_parts(detector, change)
        when = "no alarm" if part is None else f"at part {part}: {'; '.join(said)}"
        print(f"{change.__name__}: {when}")
    about = environment()
    print("; ".join(f"{name}: {value}" for name, value in about.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps({**about, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
