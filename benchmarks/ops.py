"""Check every timed case of the native ops against the reference, then time it beside a baseline.

    python benchmarks/ops.py [--only fps,group] [--json FILE]

One thread for everything, one process. Times are the median and the range of the repeats. GB/s are
the bytes an op cannot avoid (inputs read once, outputs written once) by its median time.
"""
# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, so before they are imported

import argparse
import importlib
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from _environment import environment
from bank import streaming, torch_topk

from cmad import ops
from cmad.testing import reference
from cmad.testing.cases import CASES, Case, moved, to_torch

Baseline = tuple[str, Callable[[], object]]


def optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


ndimage, spatial, sparse = (optional(f"scipy.{name}") for name in ("ndimage", "spatial", "sparse"))
cluster, open3d = optional("sklearn.cluster"), optional("open3d")
fpsample, faiss = optional("fpsample"), optional("faiss")


# What the reference checks: the whole case, or a stated part where it would take minutes.
def every_8th_centre(a):
    centre = a["centre"][::8]
    return {**a, "centre": centre, "centre_ptr": np.array([0, len(centre)])}


def every_10th_point(a):
    xyz = a["xyz"][::10]
    return {**a, "xyz": xyz, "ptr": np.array([0, len(xyz)])}


def first_2000_rows(a):
    end = a["start"][2000]
    return {**a, "start": a["start"][:2001], "index": a["index"][:end], "weight": a["weight"][:end]}


def every_20th_pixel(a):
    return {**a, "pixel": a["pixel"][::20].copy()}


def first_8000_points(a):
    return {**a, "xyz": a["xyz"][:8000]}


def every_5th_row(a):
    return {name: value[::5] for name, value in a.items()}


def some_scores_and_levels(a):
    return {"score": a["score"][:50_000], "skip": a["skip"][:50_000], "level": a["level"][::500]}


def some_queries_and_rows(a):
    return {**a, "query": a["query"][::50], "bank": a["bank"][:20_000]}


def first_200_picks(a):
    return {**a, "count": 200}


PART = {
    "group": every_8th_centre,
    "three_nn": every_10th_point,
    "interpolate": first_2000_rows,
    "pixel_weights": every_20th_pixel,
    "clusters": first_8000_points,
    "discrepancy": every_5th_row,
    "count_between": some_scores_and_levels,
    "knn": some_queries_and_rows,
    "coreset": first_200_picks,
}


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def check(case: Case, inputs) -> str:
    """Compare with the reference; return what was compared."""
    part = PART.get(case.op)
    inputs = part(inputs) if part else inputs
    want = as_tuple(getattr(reference, case.op)(**inputs))
    got = as_tuple(getattr(ops, case.op)(**to_torch(inputs, "cpu")))
    for w, g in zip(want, got, strict=True):
        torch.testing.assert_close(torch.as_tensor(g), torch.as_tensor(w), atol=case.atol, rtol=0)
    return part.__name__.replace("_", " ") if part else "all"


def brute_fps(xyz, k):
    """Farthest points by whole-array NumPy, axis by axis and in place."""
    x, y, z = np.ascontiguousarray(xyz.T)
    nearest, index = np.full(len(x), np.inf, np.float32), np.zeros(k, np.int64)
    for i in range(1, k):
        here = index[i - 1]
        d = np.square(x - x[here])
        d += np.square(y - y[here])
        d += np.square(z - z[here])
        np.minimum(nearest, d, out=nearest)
        index[i] = nearest.argmax()
    return index


def sparse_product(a):
    """Make pixel weights by SciPy: smoothing matrix by interpolation matrix."""
    side, taps = len(a["point"]), a["tap"].shape[1]
    row = np.repeat(np.arange(len(a["tap"])), taps)
    column = (a["first"][:, None] + np.arange(taps)).ravel()
    inside = (column >= 0) & (column < side)
    entries = (a["tap"].ravel()[inside].astype(np.float64), (row[inside], column[inside]))
    line = sparse.csr_matrix(entries, (len(a["tap"]), side))
    seen = np.flatnonzero(a["point"].ravel() >= 0)
    n, near = a["neighbour"].shape
    weights = a["neighbour_weight"].astype(np.float64).ravel()
    points = sparse.csr_matrix((weights, (np.repeat(np.arange(n), near), a["neighbour"].ravel())))
    return (sparse.kron(line, line, "csr")[a["pixel"]][:, seen] @ points).astype(np.float32)


def pool_cascade(maps):
    for size in (5, 5, 5, 5, 5, 7, 7, 7):
        maps = torch.nn.functional.avg_pool2d(maps, size, 1, size // 2)
    return maps


def unit_distances(a, b):
    a, b = torch.nn.functional.normalize(a), torch.nn.functional.normalize(b)
    return (a - b).norm(dim=1), 1 - (a * b).sum(1)


def label_by_scipy(mask):
    label, _ = ndimage.label(mask, np.ones((3, 3)))
    return label[mask] - 1


def count_by_search(a):
    """NumPy, without the lowest scores and their ties."""
    at = np.searchsorted(a["level"], a["score"][~a["skip"]], side="right")
    return np.bincount(at, minlength=len(a["level"]) + 1)


def count_by_sort(a):
    """NumPy: sort the scores, then look the levels up in them."""
    below = np.searchsorted(np.sort(a["score"][~a["skip"]]), a["level"])
    return np.diff(below, prepend=0, append=int((~a["skip"]).sum()))


def open3d_plane(a):
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(a["xyz"].astype(np.float64)))
    samples = a.get("samples", 3)
    # Probability 1: all 1000 tries, as ours.
    return lambda: cloud.segment_plane(a["threshold"], samples, 1000, probability=1.0)


def nearest_by_tree(a, **how):
    k = a.get("k", 3)
    points, queries = ("xyz", "centre") if "k" in a else ("centre", "xyz")
    return lambda: spatial.cKDTree(a[points], **how).query(a[queries], k=k)


def exact_samplers(a):
    """Yield public samplers that pick exactly; fpsample's height is the user's to choose."""
    xyz, k = a["xyz"], a["k"]
    if fpsample:
        tree, line = fpsample.bucket_fps_kdtree_sampling, fpsample.bucket_fps_kdline_sampling
        yield "fpsample bucket kd-tree", lambda: tree(xyz, k, start_idx=0)
        for h in (3, 5, 7):
            yield f"fpsample kdline, h={h}", lambda h=h: line(xyz, k, h=h, start_idx=0)
    if open3d:
        cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(xyz.astype(np.float64)))
        yield "open3d", lambda: cloud.farthest_point_down_sample(k)


def flat_index(a):
    """Search by faiss, one thread; the index holds a copy of the rows."""
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatL2(a["bank"].shape[1])
    index.add(np.ascontiguousarray(a["bank"]))
    return index.search(np.ascontiguousarray(a["query"]), a["k"])


def nearest_by_cdist(t):
    if "k" in t:
        return lambda: torch.cdist(t["centre"], t["xyz"]).topk(t["k"], largest=False)
    return lambda: torch.cdist(t["xyz"], t["centre"]).topk(3, largest=False)


def baselines(op: str, a, t) -> list[Baseline]:
    """Return what to time beside an op: arrays in `a`, the same as tensors in `t`."""
    found: list[Baseline] = []
    if op == "fps":
        found.append(("NumPy brute force", lambda: brute_fps(a["xyz"], a["k"])))
        found.extend(exact_samplers(a))
    if op in ("group", "three_nn"):
        found.append(("torch.cdist + topk", nearest_by_cdist(t)))
        if spatial:
            found.append(("scipy cKDTree", nearest_by_tree(a)))
            quick = {"balanced_tree": False, "compact_nodes": False}
            found.append(("scipy cKDTree, unbalanced", nearest_by_tree(a, **quick)))
    if op == "interpolate":
        shape = (len(t["start"]) - 1, len(t["feature"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch: sparse CSR is in beta
            matrix = torch.sparse_csr_tensor(t["start"], t["index"].long(), t["weight"], shape)
        found.append(("torch sparse CSR mm", lambda: matrix @ t["feature"]))
    if op == "pixel_weights" and sparse:
        found.append(("scipy sparse products", lambda: sparse_product(a)))
    if op == "plane" and open3d:
        found.append(("open3d segment_plane", open3d_plane(a)))
    if op == "clusters" and cluster:
        scan = cluster.DBSCAN(eps=a["eps"], min_samples=a["min_points"])
        found.append(("scikit-learn DBSCAN", lambda: scan.fit(a["xyz"]).labels_))
    if op == "smooth" and ndimage:
        found.append(("scipy gaussian_filter", lambda: ndimage.gaussian_filter(a["maps"][0], 4.0)))
    if op == "box_cascade":
        found.append(("torch avg_pool2d x 8", lambda: pool_cascade(t["maps"])))
    if op == "discrepancy":
        found.append(("torch normalize + norm", lambda: unit_distances(t["a"], t["b"])))
    if op == "components" and ndimage:
        found.append(("scipy ndimage.label", lambda: label_by_scipy(a["mask"])))
    if op == "count_between":
        found.append(("NumPy sort + search", lambda: count_by_sort(a)))
        found.append(("NumPy searchsorted", lambda: count_by_search(a)))
    if op == "knn":
        found.append(("torch mm + topk", torch_topk(t["query"], t["bank"], t["k"], 16384)))
    if op == "knn" and faiss and a["query"].dtype == np.float32:
        found.append(("faiss IndexFlatL2", lambda: flat_index(a)))
    if op == "coreset":
        norm2 = (t["rows"] ** 2).sum(1)
        found.append(("torch streaming", lambda: streaming(torch.mv)(t["rows"], norm2, t["count"])))
    return found


def timed(functions: list[Callable[[], object]], budget: float = 1.0) -> list[list[float]]:
    """Return the seconds of each function's repeats, sorted: at least 3, or what the budget allows.

    The functions take turns, so that a machine that is busy for a while is so for all of them.
    """
    seconds: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    while waiting := [
        i for i, s in enumerate(seconds) if len(s) < 3 or (sum(s) < budget and len(s) < 200)
    ]:
        for i in waiting:
            start = time.perf_counter()
            functions[i]()
            seconds[i].append(time.perf_counter() - start)
    return [sorted(s) for s in seconds]


def spread(seconds: list[float]) -> dict[str, float]:
    names = ("ms", "ms_min", "ms_max")
    values = (statistics.median(seconds), seconds[0], seconds[-1])
    return {name: value * 1e3 for name, value in zip(names, values, strict=True)}


def run(case: Case) -> dict[str, object]:
    inputs = case.make(np.random.default_rng(0))
    tensors = to_torch(inputs, "cpu")
    checked = check(case, inputs)
    op = getattr(ops, case.op)
    outputs = tuple(np.asarray(result) for result in as_tuple(op(**tensors)))
    beside = baselines(case.op, inputs, tensors)
    if case.op == "clusters" and beside:
        np.testing.assert_array_equal(outputs[0], beside[0][1]())  # the whole case
        checked = "all, by scikit-learn"
    if case.op == "count_between":
        for _, function in beside:
            np.testing.assert_array_equal(outputs[0], function())
        checked = "all counts, by NumPy"
    ours, *others = map(spread, timed([lambda: op(**tensors), *(f for _, f in beside)]))
    size = moved(inputs, outputs)
    return {
        "case": str(case),
        "checked": checked,
        **ours,
        "bytes": size,
        "gb_per_s": size / ours["ms"] / 1e6,
        "baselines": [{"name": b[0], **o} for b, o in zip(beside, others, strict=True)],
    }


def lines(result) -> list[str]:
    ours = f"{result['ms']:9.3f} ({result['ms_min']:.3f} - {result['ms_max']:.3f})"
    rows = [
        f"{b['name']:26}{b['ms']:10.2f} {b['ms'] / result['ms']:7.1f}x" for b in result["baselines"]
    ]
    rows = rows or [f"{'none installed':26}{'':19}"]
    first = f"{result['case']:40}{ours:30}{rows[0]}{result['gb_per_s']:7.2f}  {result['checked']}"
    return [first, *(f"{'':70}{row}" for row in rows[1:])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="ops, separated by commas")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    arguments = parser.parse_args()
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: {arguments.json.parent}: no such file or folder")
    wanted = arguments.only.split(",") if arguments.only else ops.__all__
    if unknown := set(wanted) - set(ops.__all__):
        sys.exit(f"no such op: {', '.join(sorted(unknown))}; there are {', '.join(ops.__all__)}")
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")  # the fast path of torch's matmul on this kind
    head = f"{'case':40}{'ours, ms (range)':30}{'baseline':26}{'ms':>10}{'ratio':>8}{'GB/s':>7}"
    print(head + "  checked")
    results = []
    for case in (case for case in CASES if case.timed and case.op in wanted):
        results.append(run(case))
        print(*lines(results[-1]), sep="\n", flush=True)
    about = environment()
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
