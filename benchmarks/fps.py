"""CFM's Table 5 on this machine: frame rate and memory, beside the paper's and a plain form's.

    python benchmarks/fps.py                                    all rows, float32, one thread
    python benchmarks/fps.py --rows Ours,Ours-T --precision bf16 --threads 2
    python benchmarks/fps.py --device cuda --precision fp16 --batch 32 --graphs

**Frame rate**: the paper's protocol, one prepared frame at a time, from the extractors through the
smoothed map and its score. The plain form (`_plain_frames.py`, `_plain_banks.py`) takes turns with
it in one process; results are compared first, ratios are those of medians. **Whole**: arrays in,
decision and regions out. **Memory**: what parameters and banks take, computed, and the peak of the
first frame beside them, each row in a process of its own. MB are 2^20 bytes. With a batch, times
are those of a part of it, and the peak is the batch's. On a GPU the clock is read when the GPU is
done, and the peak is of its own memory.

Ours, -M, -S, -T keep 12, 8, 4, 1 blocks of both extractors; PatchCore and G2SF are not in the
paper's table. Parts are synthetic. Weights are those in CMAD_WEIGHTS, else drawn; what a detector
learns is drawn, with banks as large as 265 parts give. BTF has a plain form where open3d is
installed. A row whose method `cmad` does not have is left out, with a word.

In half precision ours is compared with the plain form in float32, and how far the plain form in
half precision is from that is printed beside it.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _environment import environment, one_line
from _fps_rows import ALLOWED, ROWS

from cmad.detectors import METHODS
from cmad.detectors._inputs import device_of
from cmad.environment import machine
from cmad.presets import PRESETS
from cmad.report.published import published

HERE = Path(__file__).parent
NAMES = {"Ours": "CFM", "Ours-M": "CFM-M", "Ours-S": "CFM-S", "Ours-T": "CFM-T"}
"""Of the rows, in `cmad.report.published`."""
HERE_TOO = [name for name, (method, _) in ROWS.items() if method in METHODS]
"""Rows that there is a detector for."""


def measure(arguments, row, part, precision):
    """Have a process of its own measure something; see `_fps_rows.PARTS`."""
    print(f"  {row}, {precision}: {part} ...", file=sys.stderr, flush=True)
    given = ("preset", "rgb", "size", "device", "threads", "repeats", "batch", "graphs")
    return process(
        {
            **{"row": row, "part": part, "precision": precision, "input": [arguments.input] * 2},
            **{name: getattr(arguments, name) for name in given},
        }
    )


def process(asked):
    """Run `_fps_rows.py`; return what it prints."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(asked["threads"]))
    ran = subprocess.run(
        [sys.executable, HERE / "_fps_rows.py", json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **threads},
    )
    if ran.returncode:
        lines = ran.stderr.strip().splitlines() or [f"ended with {ran.returncode}"]
        raise RuntimeError(f"{asked['row']}: {lines[-1].removeprefix('error: ')}")
    return json.loads(ran.stdout.splitlines()[-1])


def row_of(arguments, name):
    """Measure a row of the table."""
    found = measure(arguments, name, "row", arguments.precision)
    median = {k: float(np.median(s)) if s else None for k, s in found["seconds"].items()}
    beside = median["plain"]  # None where there is no plain form
    return {
        **found,
        "fps": 1 / median["ours"],
        "plain fps": beside and 1 / beside,
        "times plain": beside and beside / median["ours"],
        "whole ms": 1e3 * median["whole"],
        "whole p99 ms": 1e3 * float(np.quantile(found["seconds"]["whole"], 0.99)),
        "memory MB": found["weights MB"] + found["ours peak MB"],
        "paper": {k: printed(name, k) for k in ("fps", "memory MB", "AUPRO@30%")},
    }


def printed(row, metric):
    """Return the mean that a paper prints for a row, None where none does."""
    method, table = NAMES.get(row, row), published("MVTec 3D-AD", metric, setting="")
    means = (n.value for n in table if n.method == method and n.category == "mean")
    return next(means, None)


WIDE = 11
COLUMNS = (
    ("paper fps", lambda r: r["paper"]["fps"], ".3f"),
    ("paper MB", lambda r: r["paper"]["memory MB"], ".2f"),
    ("fps", lambda r: r["fps"], ".3f"),
    ("plain fps", lambda r: r["plain fps"], ".3f"),
    ("x plain", lambda r: r["times plain"], ".2f"),
    ("whole ms", lambda r: r["whole ms"], ".0f"),
    ("p99 ms", lambda r: r["whole p99 ms"], ".0f"),
    ("calls", lambda r: len(r["seconds"]["whole"]), "d"),
    ("MB", lambda r: r["memory MB"], ".0f"),
    ("weights MB", lambda r: r["weights MB"], ".2f"),
    ("peak MB", lambda r: r["ours peak MB"], ".0f"),
    ("plain peak", lambda r: r.get("plain peak MB"), ".0f"),
)


def table(rows):
    """Print the rows; ``MB`` is weights and peak together, the paper's memory."""
    print(f"{'':10}" + "".join(f"{title:>{WIDE}}" for title, *_ in COLUMNS))
    for name, row in rows.items():
        cells = ((of(row), form) for _, of, form in COLUMNS)
        shown = (f"{'-' if v is None else format(v, form):>{WIDE}}" for v, form in cells)
        print(f"{name:10}" + "".join(shown))


def speeds(arguments, rows):
    """Measure and judge what a whole frame should reach: said, value, goal, reached or not."""
    fp32 = rows if arguments.precision == "fp32" else {}
    bf16 = rows if arguments.precision == "bf16" else {}
    sizes = None
    if "Ours" in rows and not arguments.table_only:
        if not bf16 and has_bf16(arguments.device):
            seen = measure(arguments, "Ours", "times", "bf16")
            median = {k: float(np.median(s)) for k, s in seen["seconds"].items()}
            bf16 = {"Ours": {**seen, "times plain": median["plain"] / median["ours"]}}
        sizes = {
            k: float(np.median(s))
            for k, s in measure(arguments, "Ours", "large", arguments.precision)["seconds"].items()
        }

    def median(of, row, whose):
        return float(np.median(of[row]["seconds"][whose])) if row in of else None

    def ratio(above, below):
        return None if above is None or below is None else above / below

    def peaks(name):
        return ratio(*(rows[name][f"{w} peak MB"] if name in rows else None for w in WHOSE))

    K = PRESETS[arguments.preset].grouping.size
    frame = f"{arguments.size} x {arguments.size}, groups of {K}"
    plain = median(fp32, "Ours", "plain")
    found = [
        (f"Ours, {frame}, float32: plain / ours", ratio(plain, median(fp32, "Ours", "ours")), 6),
        (
            "Ours, bfloat16: plain in bfloat16 / ours",
            ratio(median(bf16, "Ours", "plain"), median(bf16, "Ours", "ours")),
            6,
        ),
        ("Ours, bfloat16: plain in float32 / ours", ratio(plain, median(bf16, "Ours", "ours")), 10),
        (
            f"Ours-T, {arguments.precision}: plain / ours",
            ratio(*(median(rows, "Ours-T", w) for w in ("plain", "ours"))),
            8,
        ),
        ("Ours, peak above the weights: plain / ours", peaks("Ours"), 10),
        (
            "Ours, whole call, as long: 2592 x 1944 / 400 x 400",
            ratio(sizes["2592x1944"], sizes["400x400"]) if sizes else None,
            -3,
        ),
    ]
    return [goal_of(*line) for line in found]


def goal_of(what, value, goal):
    """Judge a number; a goal below 0 is one to stay under."""
    words = f"at least {goal}" if goal > 0 else f"under {-goal}"
    reached = value is not None and (value >= goal if goal > 0 else value < -goal)
    return {"what": what, "value": value, "goal": words, "reached": reached}


WHOSE = ("plain", "ours")


def has_bf16(device):
    """Whether the processor multiplies in bfloat16; torch takes ten times as long without."""
    return (
        device == "cuda"
        or torch.cpu._is_avx512_bf16_supported()
        or torch.cpu._is_amx_tile_supported()
    )


def picture(rows, stem, where, measured):
    """Draw the measured rows and the paper's; return which have no AUPRO, printed or measured."""
    from _bubbles import Bubble, save

    bubbles, missing = [], []
    for name in ROWS:
        paper = {k: printed(name, k) for k in ("fps", "memory MB", "AUPRO@30%")}
        if None not in paper.values():
            bubbles.append(Bubble(name, *(paper[k] for k in FIGURE), here=False))
        aupro = measured.get(name, paper["AUPRO@30%"])
        if name in rows and aupro is None:
            missing.append(name)
        elif name in rows:
            row = {**rows[name], "AUPRO@30%": aupro}
            said = f"{name} (own AUPRO)" if name in measured else name
            bubbles.append(Bubble(said, *(row[k] for k in FIGURE), here=True))
    save(bubbles, f"AUPRO@30% as printed; here {where}", stem)
    return missing


FIGURE = ("fps", "AUPRO@30%", "memory MB")


def some_rows(value):
    names = value.split(",")
    if wrong := [name for name in names if name not in HERE_TOO]:
        raise argparse.ArgumentTypeError(f"must be some of {', '.join(HERE_TOO)}, got {wrong[0]!r}")
    return names


def own_aupro(value):
    """Read ROW=VALUE."""
    name, _, number = value.partition("=")
    try:
        if name in ROWS and 0 < float(number) <= 1:
            return name, float(number)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be ROW=VALUE, a value in (0, 1], got {value!r}")


def at_least_one(value):
    if not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {value!r}")
    return int(value)


def asked_for(given=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=some_rows, default=HERE_TOO, help="separated by commas")
    parser.add_argument("--repeats", type=at_least_one, default=3, help="of each timing")
    parser.add_argument("--threads", type=at_least_one, default=1)
    parser.add_argument("--precision", choices=list(ALLOWED), default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batch", type=at_least_one, default=1, help="parts judged together")
    parser.add_argument("--graphs", action="store_true", help="CUDA graphs of the extractors")
    parser.add_argument(
        "--preset", choices=list(PRESETS), default="official", help="groups of 128 points, or 32"
    )
    parser.add_argument("--rgb", default="vit_base_patch8_224.dino", help="2D extractor")
    parser.add_argument("--size", type=at_least_one, default=224, help="pixels of the grid")
    parser.add_argument("--input", type=at_least_one, default=400, help="pixels of the parts")
    parser.add_argument(
        "--table-only", action="store_true", help="without bfloat16 and large images for the list"
    )
    parser.add_argument(
        "--aupro",
        type=own_aupro,
        action="append",
        default=[],
        metavar="ROW=VALUE",
        help="AUPRO@30%% that `cmad evaluate` gave, for the picture instead of the printed one",
    )
    parser.add_argument("--json", type=Path, help="to write, pictures beside it; see results/")
    arguments = parser.parse_args(given)
    if arguments.json and not arguments.json.parent.is_dir():
        parser.error(f"--json: {arguments.json.parent}: no such file or folder")
    if arguments.device == "cpu" and (arguments.graphs or arguments.precision == "fp16"):
        parser.error("--graphs and --precision fp16 are for --device cuda")
    return arguments


def main(given=None):
    arguments = asked_for(given)
    begin = time.monotonic()
    with one_line():
        device_of("fps", arguments.device)
        torch.set_num_threads(arguments.threads)
        settings = {k: v for k, v in vars(arguments).items() if k != "json"}
        about = {**environment(), "settings": settings}
        rows = {name: row_of(arguments, name) for name in arguments.rows}
        # The goals are those of a CPU.
        reached = speeds(arguments, rows) if arguments.device == "cpu" else []
    about["seconds"] = round(time.monotonic() - begin)
    table(rows)
    for name, row in rows.items():
        if row["errors"] is None:
            print(f"{name}: no plain form here")
        else:
            print(f"{name} to the plain form, largest differences: {json.dumps(row['errors'])}")
        if row.get("plain errors"):
            print(
                f"  the plain form in half precision to float32: {json.dumps(row['plain errors'])}"
            )
        print(f"  {row['points']} points; weights: {json.dumps(row['weights'])}")
    for name in set(ROWS) - set(HERE_TOO):
        print(f"{name}: left out, cmad has no detector of it")
    for line in reached:
        value = "not measured" if line["value"] is None else f"{line['value']:.2f}"
        said = "" if line["value"] is None else ("reached" if line["reached"] else "not reached")
        print(f"  {line['what']:52}{value:>13}  {line['goal']:12}{said}")
    if not (has_bf16(arguments.device) or arguments.precision == "bf16"):
        print(
            "  this processor has no bfloat16 instructions: --precision bf16 times it all the same"
        )
    path = arguments.json
    if path is None:
        where = str(about["gpu"] if arguments.device == "cuda" else about["cpu"])
        where = re.findall("[a-z0-9]+", where.lower().replace("(r)", "").replace("(tm)", ""))
        how = f"-batch{arguments.batch}" * (arguments.batch > 1) + "-graphs" * arguments.graphs
        name = f"fps-{'-'.join(where)}-{arguments.precision}{how}-{about['commit']}.json"
        path = HERE / "results" / name
        path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"about": about, "rows": rows, "speeds": reached}, indent=1) + "\n")
    where = str(about["gpu"]) if arguments.device == "cuda" else machine()
    for name in picture(rows, path.with_suffix(""), where, dict(arguments.aupro)):
        print(f"  {name}: the papers print no AUPRO@30% of it, and --aupro gives none: not drawn")
    print(json.dumps(about))
    print(f"  {path}, .svg, .png, in {about['seconds']} s")


if __name__ == "__main__":
    main()
