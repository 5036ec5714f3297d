"""Check the pixel metrics against NumPy, scikit-learn and anomalib, then time them side by side.

    python benchmarks/metrics.py [--large] [--json FILE]

One thread for everything. The maps are smooth noise, cut at 0, with rectangles that stand out by
1.5 times its spread: 100 maps of 224x224 with some 150 defect regions. ``--large`` adds 1,000 maps
of 800x800, read from disk one at a time, with the memory that it takes.
"""
# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, so before they are imported

import argparse
import importlib
import json
import resource
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _environment import environment

from cmad import metrics, ops
from cmad.metrics import LIMITS


def optional(name):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        print(f"{name} is left out: {error}")
        return None


def image(rng, side, regions):
    """Make a map and its mask: noise smoothed twice by a box, higher on some rectangles."""
    window = side // 16
    map_ = rng.normal(size=(side, side))
    for axis in (0, 1, 0, 1):
        total = np.cumsum(np.concatenate([map_, map_.take(range(window), axis)], axis), axis)
        map_ = (
            total.take(range(window, side + window), axis) - total.take(range(side), axis)
        ) / window
    mask = np.zeros((side, side), bool)
    for _ in range(regions):
        y, x = rng.integers(0, side * 7 // 8, 2)
        h, w = rng.integers(side // 28, side // 8, 2)
        mask[y : y + h, x : x + w] = True
    map_ += 1.5 * map_.std() * mask
    return np.maximum(map_, 0).astype(np.float32), mask  # half of the pixels tie at 0


def images(count, side, seed=0):
    """Make maps and masks; every other image has three defect rectangles."""
    rng = np.random.default_rng(seed)
    pairs = [image(rng, side, 3 * (i % 2)) for i in range(count)]
    return tuple(np.stack(arrays) for arrays in zip(*pairs, strict=True))


def labelled(masks):
    """Number the regions of all masks from 0, background -1."""
    label, count = np.full(masks.shape, -1), 0
    for one, mask in zip(label, masks, strict=True):
        if mask.any():
            one[mask] = ops.components(torch.from_numpy(mask)).numpy() + count
            count = one.max() + 1
    return label, count


def numpy_aupro(maps, masks):
    """Exact AUPRO in NumPy at its best: sort good and defect scores apart, then look these up."""
    label, count = labelled(masks)
    region = label[masks]
    share = (1 / (np.bincount(region) * count))[region]
    good, defect = np.sort(maps[~masks]), maps[masks]
    level, inverse = np.unique(defect, return_inverse=True)
    share = np.bincount(inverse, share)
    # Passing a level, the curve rises while good pixels of that score are passed, or at once.
    begin = (len(good) - np.searchsorted(good, level, side="right")) / len(good)
    end = (len(good) - np.searchsorted(good, level)) / len(good)
    areas = []
    for limit in LIMITS:
        inside = np.minimum(end, limit)
        risen = np.maximum(inside - begin, 0)
        slope = np.divide(risen, end - begin, out=np.zeros_like(end), where=end > begin)
        area = risen * slope / 2 + np.maximum(limit - end, 0)
        areas.append(float(share @ area / limit))
    return areas


def anomalib_aupro(aupro, maps, masks):
    """Anomalib's AUPRO for each limit; maps and masks are tensors."""
    areas = []
    for limit in LIMITS:
        metric = aupro._AUPRO(fpr_limit=limit)
        metric.update(maps, masks)
        areas.append(float(metric.compute()))
    return areas


def timed(functions, repeats):
    """Return each function's result and its seconds, sorted; the functions take turns."""
    results = [function() for function in functions]
    seconds = [[] for _ in functions]
    for _ in range(repeats):
        for function, spent in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            spent.append(time.perf_counter() - start)
    return results, [sorted(spent) for spent in seconds]


def compare(repeats):
    maps, masks = images(100, 224)
    tensors = torch.from_numpy(maps), torch.from_numpy(masks).long()
    flat = masks.ravel(), maps.ravel()
    learn, anomalib = optional("sklearn.metrics"), optional("anomalib.metrics.aupro")
    pooled = metrics.pool(maps, masks)
    print(
        f"100 maps of 224x224, {labelled(masks)[1]} regions, {int(masks.sum()):,} defect pixels, "
        f"{len(pooled.defect):,} distinct scores on them"
    )
    jobs = {
        "AUPRO, 4 limits, exact": [
            ("cmad", lambda: metrics.aupro(maps, masks), 1e-12),
            ("NumPy", lambda: numpy_aupro(maps, masks), 1e-12),
        ],
        "AUPRO, 4 limits, 99 thresholds": [
            ("cmad", lambda: metrics.aupro(maps, masks, thresholds=99), 1e-12)
        ],
        "pixel AUROC": [("cmad", lambda: [metrics.pixel_auroc(maps, masks)], 1e-12)],
        "pixel average precision": [
            ("cmad", lambda: [metrics.pixel_average_precision(maps, masks)], 1e-12)
        ],
        "all of these": [("cmad", lambda: everything(maps, masks), 1e-12)],
    }
    if anomalib:  # one metric per limit, in float32
        job = ("anomalib, 4 metrics", lambda: anomalib_aupro(anomalib, *tensors), 5e-3)
        jobs["AUPRO, 4 limits, exact"].append(job)
    if learn:
        jobs["pixel AUROC"].append(("scikit-learn", lambda: [learn.roc_auc_score(*flat)], 1e-12))
        job = ("scikit-learn", lambda: [learn.average_precision_score(*flat)], 1e-12)
        jobs["pixel average precision"].append(job)
    results = []
    print(f"\n{'':32}{'':21}{'median ms':>10}{'min ms':>9}{'ratio':>8}  largest difference")
    for job, entries in jobs.items():
        values, seconds = timed([function for _, function, _ in entries], repeats)
        ours = statistics.median(seconds[0])
        for (name, _, tolerance), value, spent in zip(entries, values, seconds, strict=True):
            difference = float(np.abs(np.subtract(value, values[0])).max())
            if difference > tolerance:
                raise SystemExit(f"{job}: {name} gives {value}, cmad {values[0]}")
            median = statistics.median(spent)
            print(
                f"{job:32}{name:21}{median * 1e3:10.1f}{spent[0] * 1e3:9.1f}"
                f"{median / ours:7.1f}x  {difference:.1e}",
                flush=True,
            )
            results.append(
                {"job": job, "by": name, "ms": median * 1e3, "ms_min": spent[0] * 1e3}
                | {"values": list(map(float, value)), "difference": difference}
            )
    return results


def everything(maps, masks):
    pooled = metrics.pool(maps, masks)
    grid = pooled.aupro(thresholds=99)
    return [*pooled.aupro(), *grid, pooled.auroc(), pooled.average_precision()]


class OnDisk:
    """Arrays of one file, each read when it is asked for."""

    def __init__(self, path, count, side, dtype):
        self.path, self.count, self.shape, self.dtype = path, count, (side, side), np.dtype(dtype)

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        if i >= self.count:
            raise IndexError(i)
        size = self.shape[0] * self.shape[1]
        offset = i * size * self.dtype.itemsize
        return np.fromfile(self.path, self.dtype, size, offset=offset).reshape(self.shape)


def large(count=1000, side=800):
    """Pool maps that are read from disk, and compare the peak of memory before and after."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("maps", "masks")]
        rng = np.random.default_rng(0)
        with files[0].open("wb") as maps, files[1].open("wb") as masks:
            for i in range(count):
                map_, mask = image(rng, side, 3 * (i % 2))
                map_.tofile(maps)
                mask.tofile(masks)
        pair = OnDisk(files[0], count, side, np.float32), OnDisk(files[1], count, side, bool)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        pooled = metrics.pool(*pair)
        values = everything_of(pooled)
        seconds = time.perf_counter() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    pixels, defects = pooled.good + int(pooled.defect.sum()), int(pooled.defect.sum())
    print(
        f"\n{count} maps of {side}x{side}, {pixels:,} pixels, {defects:,} of them on defects: "
        f"{seconds:.1f} s with reading, exact; the peak of memory grew by {grown:.0f} MB "
        f"(the maps are {pixels * 4 / 2**20:.0f} MB)"
    )
    return {"maps": count, "side": side, "seconds": seconds, "mb": grown, "values": values}


def everything_of(pooled):
    return [*pooled.aupro(), *pooled.aupro(thresholds=99), pooled.auroc()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="add 1,000 maps of 800x800")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    arguments = parser.parse_args()
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: {arguments.json.parent}: no such file or folder")
    torch.set_num_threads(1)
    results = {"results": compare(arguments.repeats)}
    if arguments.large:
        results["large"] = large()
    about = environment()
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps({**about, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
