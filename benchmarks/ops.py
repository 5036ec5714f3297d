"""Check every timed case of the native ops against the reference, then time it beside a baseline.

    python benchmarks/ops.py [--only fps,group] [--device cuda] [--json FILE]

One thread for everything, one process. Times are the median and the range of the repeats. GB/s are
the bytes an op cannot avoid (inputs read once, outputs written once) by its median time. On a GPU
torch's baselines are timed there by events, each after its caches were filled with other data; the
libraries of the CPU by the clock. Ops that this build has no kernel of are left out, by name.
"""
# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, so before they are imported

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _baselines import baselines
from _environment import environment, fastest_float32

from cmad import gpu, ops
from cmad.testing import reference
from cmad.testing.cases import CASES, Case, moved, to_torch
from cmad.testing.devices import has


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


def upper_left(a):
    return {**a, "xyz": a["xyz"][:, :96, :96].copy()}


def first_150_points(a):
    xyz = a["xyz"][:150].copy()
    d2 = ((xyz[:, None] - xyz) ** 2).sum(-1)
    return {**a, "xyz": xyz, "ptr": np.array([0, 150]), "index": d2.argsort(1, kind="stable")}


PART = {
    "fpfh": first_150_points,
    "group": every_8th_centre,
    "three_nn": every_10th_point,
    "interpolate": first_2000_rows,
    "pixel_weights": every_20th_pixel,
    "local_geometry": upper_left,
    "clusters": first_8000_points,
    "discrepancy": every_5th_row,
    "count_between": some_scores_and_levels,
    "knn": some_queries_and_rows,
    "coreset": first_200_picks,
}


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def check(case: Case, inputs, device: str) -> str:
    """Compare with the reference; return what was compared."""
    part = PART.get(case.op)
    inputs = part(inputs) if part else inputs
    want = as_tuple(getattr(reference, case.op)(**inputs))
    got = as_tuple(getattr(ops, case.op)(**to_torch(inputs, device)))
    for w, g in zip(want, got, strict=True):
        g = g.cpu() if isinstance(g, torch.Tensor) else g
        torch.testing.assert_close(torch.as_tensor(g), torch.as_tensor(w), atol=case.atol, rtol=0)
    return part.__name__.replace("_", " ") if part else "all"


def by_clock(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def by_events(function: Callable[[], object]) -> float:
    """Return the seconds that a GPU takes, its cache filled with other data before."""
    torch.empty(256 << 20, dtype=torch.uint8, device="cuda").zero_()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    function()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


Timed = tuple[Callable[[], object], Callable[[Callable[[], object]], float]]


def timed(functions: list[Timed], budget: float = 1.0) -> list[list[float]]:
    """Return the seconds of each function's repeats, sorted: at least 3, or what the budget allows.

    The functions take turns, so that a machine that is busy for a while is so for all of them.
    Each comes with how it is timed.
    """
    seconds: list[list[float]] = [[] for _ in functions]
    for function, _ in functions:
        function()
    while waiting := [
        i for i, s in enumerate(seconds) if len(s) < 3 or (sum(s) < budget and len(s) < 200)
    ]:
        for i in waiting:
            function, clock = functions[i]
            seconds[i].append(clock(function))
    return [sorted(s) for s in seconds]


def spread(seconds: list[float]) -> dict[str, float]:
    names = ("ms", "ms_min", "ms_max")
    values = (statistics.median(seconds), seconds[0], seconds[-1])
    return {name: value * 1e3 for name, value in zip(names, values, strict=True)}


def on_host(result) -> np.ndarray:
    return np.asarray(result.cpu() if isinstance(result, torch.Tensor) else result)


def run(case: Case, device: str) -> dict[str, object]:
    inputs = case.make(np.random.default_rng(0))
    tensors = to_torch(inputs, device)
    checked = check(case, inputs, device)
    op = getattr(ops, case.op)
    outputs = tuple(on_host(result) for result in as_tuple(op(**tensors)))
    beside = baselines(case.op, inputs, tensors)
    if case.op == "clusters" and beside:
        np.testing.assert_array_equal(outputs[0], beside[0][1]())  # the whole case
        checked = "all, by scikit-learn"
    if case.op == "count_between":
        for _, function in beside:
            np.testing.assert_array_equal(outputs[0], function())
        checked = "all counts, by NumPy"
    clocks = {True: by_events if device == "cuda" else by_clock, False: by_clock}
    functions = [(lambda: op(**tensors), clocks[True])]
    functions += [(f, clocks[name.startswith("torch")]) for name, f in beside]
    ours, *others = map(spread, timed(functions))
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
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    arguments = parser.parse_args()
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: {arguments.json.parent}: no such file or folder")
    wanted = arguments.only.split(",") if arguments.only else ops.__all__
    if unknown := set(wanted) - set(ops.__all__):
        sys.exit(f"no such op: {', '.join(sorted(unknown))}; there are {', '.join(ops.__all__)}")
    if arguments.device == "cuda" and (said := gpu.missing()) is not None:
        sys.exit(f"error: {said}")
    lacking = [op for op in wanted if not has(arguments.device, op)]
    torch.set_num_threads(1)
    if arguments.device == "cpu":
        fastest_float32()
    if lacking:
        print(f"no kernel in this build: {', '.join(lacking)}")
    head = f"{'case':40}{'ours, ms (range)':30}{'baseline':26}{'ms':>10}{'ratio':>8}{'GB/s':>7}"
    print(head + "  checked")
    results = []
    for case in (c for c in CASES if c.timed and c.op in wanted and c.op not in lacking):
        results.append(run(case, arguments.device))
        print(*lines(results[-1]), sep="\n", flush=True)
    about = environment()
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
