"""The goals of the work on speed in one table: asked, got, limit. See docs/speed.md.

    python benchmarks/table.py [--skip frames,mapping] [--json FILE]

Some ten minutes, one thread. It runs the other scripts in their short form, each of which checks
results before it times them; they say more. Whole frames are `fps.py`'s, with groups of 128 points
and ViT-B/8. The ratios are those of medians of jobs that take turns; a row that this machine cannot
measure says why.
"""
# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, so before they are imported

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _baselines import baselines
from _environment import environment
from fps import has_bf16
from ops import by_clock, check, timed

from cmad import ops
from cmad.testing.cases import CASES, to_torch

HERE = Path(__file__).parent
NO_BF16 = "this processor has no bfloat16 instructions"
GEOMETRY = {
    "fps": ("fpsample", 5, "surface_30000_k1024"),
    "group": ("scipy", 2, "surface_30000_k128"),
    "three_nn": ("scipy", 5, "surface_30000"),
}
"""Of each op: whose fastest form is beside it, how many times as fast ours should be, and where."""
CLIFFS = ("one_50_m_away", "beside", "all_equal", "500000")
"""In the names of cases that must not cost more than twice as much a point as the usual one."""


def row(what, asked, got, limit="", *, least=True):
    """Make a line; without ``got``, ``limit`` says why. ``least``: it should be that or more."""
    reached = None if got is None else (got >= asked if least else got <= asked)
    return {"what": what, "asked": asked, "got": got, "least": least, "reached": reached} | {
        "limit": limit
    }


def ran(script, *arguments):
    """Run another script; return what it writes as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "found.json")
        done = subprocess.run(
            [sys.executable, HERE / script, *arguments, "--json", file],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
            raise RuntimeError(f"{script}: {last}")
        return json.loads(file.read_text())


def mapping():
    """Both networks and the discrepancy, beside plain torch on every pixel."""
    wanted = ["float32", *(["bfloat16"] if has_bf16("cpu") else [])]
    rows = []
    for name, asked in (("float32", 6), ("bfloat16", 10)):
        what = f"mapping and discrepancy, {name}: plain / ours"
        if name not in wanted:
            rows.append(row(what, asked, None, NO_BF16))
            continue
        arguments = ("--only", name, "--repeats", "3", "--threads", "1")
        found = ran("mapping.py", *arguments)["seconds"][name]
        got = found["plain, every pixel"] / found["folded"]
        once = found["plain, foreground"] / found["folded"]
        rows.append(row(what, asked, got, f"{once:.1f} on the foreground alone"))
    return rows


def geometry():
    """Farthest points, groups and nearest centres: beside public libraries, and on odd clouds."""
    rows = []
    for op, (whose, asked, usual) in GEOMETRY.items():
        cases = {c.name: c for c in CASES if c.op == op and c.timed}
        inputs = cases[usual].make(np.random.default_rng(0))
        check(cases[usual], inputs, "cpu")
        tensors = to_torch(inputs, "cpu")
        beside = [f for name, f in baselines(op, inputs, tensors) if name.startswith(whose)]
        run = partial(getattr(ops, op), **tensors)
        what = f"{op}, 30,000 points: {whose}'s fastest / ours"
        if beside:
            own, *others = medians([run, *beside])
            rows.append(row(what, asked, min(others) / own))
        else:
            rows.append(row(what, asked, None, f"{whose} is not installed"))
        odd = [c for name, c in cases.items() if any(n in name for n in CLIFFS)]
        rows += [cliff(case, run, len(tensors["xyz"])) for case in odd]
    return rows


def medians(functions, budget=1.0):
    """Return the median seconds of each function, run by turns."""
    return map(statistics.median, timed([(f, by_clock) for f in functions], budget))


def cliff(case, usual, points):
    """Time a cloud that is unlike others by turns with the usual one."""
    inputs = case.make(np.random.default_rng(0))
    check(case, inputs, "cpu")
    tensors = to_torch(inputs, "cpu")
    run = partial(getattr(ops, case.op), **tensors)
    own, base = medians([run, usual], 0.5)
    got = own / base * points / len(tensors["xyz"])
    what = case.name.removeprefix("surface_")
    return row(f"{case.op}, {what}: time a point / usual", 2, got, least=False)


def frames():
    """Whole frames: rates, memory, and the size of the images."""
    found = ran("fps.py", "--rows", "Ours,Ours-T", "--repeats", "3")["speeds"]
    rows = []
    for line in found:
        least, asked = line["goal"].startswith("at least"), int(line["goal"].split()[-1])
        why = NO_BF16 if line["value"] is None else LIMITS.get(line["what"], "")
        rows.append(row(line["what"], asked, line["value"], why, least=least))
    return rows


LIMITS = {
    "Ours, 224 x 224, groups of 128, float32: plain / ours": "plain multiplies 2.5 times as much"
}
"""What keeps a goal from being reached: see docs/speed.md."""


def metrics():
    """The exact area under the PRO curve."""
    found = ran("metrics.py", "--repeats", "9")["results"]
    ms = {r["by"]: r["ms"] for r in found if r["job"] == "AUPRO, 4 limits, exact"}
    return [row("AUPRO, 100 maps of 224 x 224: NumPy / ours", 2, ms["NumPy"] / ms["cmad"])]


def imports():
    """`from cmad import *`, which imports all of the package, beside torch alone."""
    codes = ("from cmad import *", "import torch")
    seconds = [[], []]
    for _ in range(7):
        for code, taken in zip(codes, seconds, strict=True):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            taken.append(time.perf_counter() - start)
    own, torch_alone = map(statistics.median, seconds)
    return [row("import of all of cmad / of torch", 1.2, own / torch_alone, least=False)]


def training():
    """An epoch's products, beside all of it."""
    found = ran("training.py", "--parts", "12", "--threads", "1", "--repeats", "3")
    return [row("share of the products in an epoch, %", 85, 100 * found["share"])]


PARTS = {f.__name__: f for f in (imports, metrics, geometry, mapping, training, frames)}


def shown(line):
    """Write a row of the table."""
    sign = "" if line["least"] else "<= "
    got = "-" if line["got"] is None else f"{line['got']:.2f}"
    word = {True: "reached", False: "not reached", None: "not measured"}[line["reached"]]
    asked = f"{sign}{line['asked']}"
    return f"{line['what']:56}{asked:>9}{got:>8}  {word:14}{line['limit']}".rstrip()


def some_parts(value):
    names = value.split(",")
    if wrong := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"must be some of {', '.join(PARTS)}, got {wrong[0]!r}")
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip", type=some_parts, default=[], help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    arguments = parser.parse_args()
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: {arguments.json.parent}: no such file or folder")
    torch.set_num_threads(1)
    print(f"{'':56}{'asked':>9}{'got':>8}  {'':14}limit", flush=True)
    rows, start = [], time.perf_counter()
    for name, measure in PARTS.items():
        if name in arguments.skip:
            continue
        try:
            found = measure()
        except RuntimeError as error:
            raise SystemExit(f"error: {error}") from None
        print(*map(shown, found), sep="\n", flush=True)
        rows += found
    about = environment()
    print(f"\n{time.perf_counter() - start:.0f} s; {json.dumps(about)}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
