"""CFM's mapping and discrepancy, folded, beside plain torch on every pixel.

python benchmarks/mapping.py [--share 0.2] [--json FILE]

Both directions at the full variant's widths (768 and 1152), on a frame of 224 x 224 of which a
share is foreground. Results are checked first. The plain form is the published one: both networks
on the features of every pixel, the foreground masked afterwards; beside it the same on the
foreground only. Torch's fast path for float32 is on for it, and in bfloat16 it runs under autocast
(where the processor has no instructions for bfloat16, torch is slower in it than in float32).
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as functional
from _environment import environment, fastest_float32
from training import part  # the file beside this one

from cmad.nn import Mappings
from cmad.nn.folded import FoldedMappings, PlainMappings
from cmad.rasters import Raster, Spread, foreground, interpolated, spread

SIZE = 224
WIDTH = {False: "float32", True: "bfloat16"}


def plain(mappings, e_2d, e_3d, bfloat16):
    """psi of both modalities at rows of features, as the published code computes it."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        predicted = mappings(e_2d, e_3d)
    return [
        (functional.normalize(f.float()) - functional.normalize(e)).square().sum(1).sqrt()
        for f, e in zip(predicted, (e_2d, e_3d), strict=True)
    ]


def every_pixel(of: Spread, cell) -> torch.Tensor:
    """The feature map of the whole frame, zeros beside the foreground."""
    full = torch.zeros(SIZE * SIZE, of.features.shape[1])
    full[cell] = interpolated(of)
    return full


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.2, help="of the frame, foreground")
    parser.add_argument("--only", choices=WIDTH.values(), help="one precision")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    fastest_float32()
    made, raster = part(0, share=arguments.share), Raster(SIZE)
    cell = foreground(made, raster)
    e = spread(made, raster, cell)
    maps = [every_pixel(e[m], cell) for m in ("2d", "3d")]
    rows = [interpolated(e[m]) for m in ("2d", "3d")]
    mappings = Mappings(768, 1152, 0).eval()
    exact = PlainMappings(mappings)(e["2d"], e["3d"])
    print(f"{len(cell)} of {SIZE**2} pixels, {arguments.threads} threads")
    results = {}
    for bfloat16, limit in ((False, 1e-5), (True, 6e-3)):
        if arguments.only not in (None, WIDTH[bfloat16]):
            continue
        folded = FoldedMappings(mappings, torch.bfloat16 if bfloat16 else torch.float32)
        for got, want in zip(folded(e["2d"], e["3d"]), exact, strict=True):
            assert float((got - want).abs().max()) < limit
        for got, want in zip(plain(mappings, *rows, bfloat16), exact, strict=True):
            assert float((got - want).abs().max()) < (1e-5 if not bfloat16 else 2e-2)
        turns = {
            "folded": lambda folded=folded: folded(e["2d"], e["3d"]),
            "plain, foreground": lambda b=bfloat16: plain(mappings, *rows, b),
            "plain, every pixel": lambda b=bfloat16: plain(mappings, *maps, b),
        }
        seconds = {name: [] for name in turns}
        for _ in range(arguments.repeats):
            for name, turn in turns.items():
                begin = time.perf_counter()
                turn()
                seconds[name].append(time.perf_counter() - begin)
        medians = {name: statistics.median(s) for name, s in seconds.items()}
        print(f"{WIDTH[bfloat16]}")
        for name, median in medians.items():
            print(f"  {name:20}{median * 1e3:9.0f} ms{median / medians['folded']:8.2f}x")
        results[WIDTH[bfloat16]] = medians
    about = {**environment(), "pixels": len(cell), "seconds": results}
    if arguments.json:
        arguments.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
