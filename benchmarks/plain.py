"""A frame after its extractors, beside the same in plain torch; results are compared first.

    python benchmarks/plain.py [--images 265] [--repeats 3] [--device cuda] [--json FILE]

One thread for everything, one process; the two take turns, and times are medians. G2SF: features of
full width, drawn like real ones (clusters of decaying variance), and banks as large as those of a
training set of so many images. The plain form is the published code's, without what that does
twice: features of all cells, one search of each bank by `torch.cdist` and `topk`, and the network
on the joint rows of each rank.

Whole frames of all methods, from prepared arrays on, are `fps.py`'s; the plain forms are in
`_plain_banks.py` and `_plain_frames.py`.
"""
# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, so before they are imported

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from _environment import environment, one_line
from _plain_banks import g2sf as plain_g2sf

import cmad
from cmad.bank import Bank
from cmad.detectors import _g2sf_spaces as spaces
from cmad.detectors.g2sf import MODALITIES
from cmad.nn.lspn import LSPN, GlobalScales
from cmad.testing.inputs import decaying
from cmad.types import Features, Points, Window

DIMS = {"2d": 768, "3d": 1152}
CELLS, TOKENS, SIZE, CENTRES, SIDE = 56, 28, 224, 1024, 100


class Image:
    """Stands in for a 2D extractor: its features are drawn here."""

    takes_statistics, image_size, dim = False, SIZE, DIMS["2d"]

    def state_dict(self):
        """No weights."""
        return {}

    def tokens(self, rgb):
        """Never asked for: a frame comes with its features."""


class Cloud:
    """Stands in for a 3D extractor."""

    takes_statistics, dim = False, DIMS["3d"]

    def state_dict(self):
        """No weights."""
        return {}

    def points(self, xyz):
        """Likewise."""


def frame(drawn, seed, device):
    """Features of a part of SIDE x SIDE pixels in the middle of the image, some 20 % of it."""
    rng = np.random.default_rng(seed)
    valid = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    edge = (SIZE - SIDE) // 2
    valid[edge : edge + SIDE, edge : edge + SIDE] = True
    count = int(valid.sum())
    near = torch.from_numpy(rng.integers(0, CENTRES, (count, 3)))
    weight = torch.from_numpy(rng.dirichlet(np.ones(3), count).astype(np.float32))
    tokens = drawn["2d"].view(TOKENS, TOKENS, -1)
    tokens = tokens.to(device)
    points = Points(*(t.to(device) for t in (drawn["3d"].contiguous(), near, weight)))
    window = Window(SIZE, 0, 0, SIZE, SIZE)
    return Features({"rgb": tokens}, {"xyz": points}, valid, SIZE, window)


def setting(images, frames, device):
    """A detector as published, with banks of 10 % of the rows of so many images; and frames."""
    detector = cmad.G2SF(rgb=Image(), xyz=Cloud(), published="all", device=device)
    each = {"2d": TOKENS**2, "3d": CENTRES}
    counts = {"2d": images * TOKENS**2 // 10, "3d": images * CELLS**2 // 10}
    prototypes, drawn = {}, [{} for _ in range(frames)]
    for m in MODALITIES:
        made = decaying(DIMS[m])(np.random.default_rng(0), counts[m] + frames * each[m])
        made = torch.from_numpy(made)
        for i, one in enumerate(made[counts[m] :].split(each[m])):
            drawn[i][m] = one.clone()
        bank = made[: counts[m]].clone()
        bank[0] *= m == "2d"  # a row of the background
        prototypes[m] = spaces.Prototypes(Bank(bank), 0.0, 1.0, 20.0)
    lspn = LSPN(DIMS["2d"], DIMS["3d"], 0, joint=True)
    detector._accept(spaces.Metric(prototypes, lspn, GlobalScales(normalised=True)).tensors())
    return detector, [frame(d, i, detector.device) for i, d in enumerate(drawn)]


def peak(of, device):
    """Bytes that a call takes at most, beside what is in memory before: a GPU's, or Linux's."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        of()
        return torch.cuda.max_memory_allocated() - before
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts from what there is now
    before = status("VmRSS")
    of()
    return status("VmHWM") - before


def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=265, help="of the training set")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with one_line():
        detector, frames = setting(arguments.images, 1 + arguments.repeats, arguments.device)
    features = frames[0]
    memory = peak(lambda: detector.maps(features), arguments.device)
    local, map_, score = plain_g2sf(detector, features)
    ours = detector.measured(features)[0]
    # cdist is |a|^2 + |b|^2 - 2 a b in float32: neighbours nearly as far may change places.
    differing = ((ours - local).abs() > 1e-4 * local.abs()).any(1).float().mean()
    assert differing < 0.02, differing
    grid = detector.maps(features)
    # Another neighbour, nearly as far, has another w; the map is of 256 levels.
    np.testing.assert_allclose(grid.score, score, rtol=1e-3)
    np.testing.assert_allclose(grid.map, map_.cpu().numpy(), atol=2 / 255 * float(map_.max()))
    seconds = {"G2SF, cmad": [], "G2SF, plain torch": []}
    for other in frames[1:]:
        for name, work in (
            ("G2SF, cmad", detector.maps),
            ("G2SF, plain torch", lambda f: plain_g2sf(detector, f)),
        ):
            start = time.perf_counter()
            work(other)  # ends with a number on the host, so a GPU is done, too
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    first = next(iter(medians.values()))
    banks = {m: tuple(detector.metric.prototypes[m].bank.rows.shape) for m in MODALITIES}
    print(f"banks {banks}; of {CELLS**2} cells {float(differing):.2%} with another neighbour")
    for name, median in medians.items():
        print(f"  {name:24}{median * 1e3:10.0f} ms{median / first:8.2f}x")
    print(f"  memory beside the banks, one frame after loading: {memory / 1e6:.0f} MB")
    about = {**environment(), "images": arguments.images, "seconds": seconds, "memory": memory}
    print(json.dumps({k: v for k, v in about.items() if k != "seconds"}))
    if arguments.json:
        arguments.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
