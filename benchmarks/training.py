"""Where an epoch of CFM's training goes: the two networks' products, and the rest.

python benchmarks/training.py [--parts 24] [--pixels 85] [--json FILE]

Trains on kept features of synthetic parts, random numbers in the shapes of ViT-B/8 and Point-MAE,
and prints the share of the time that matrix products take, by torch's profiler, with what takes
the rest. The floor is the products alone, timed in the same run.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from cmad.detectors._training import train
from cmad.environment import environment
from cmad.nn import Mappings
from cmad.rasters import Raster, foreground
from cmad.store import FeatureStore
from cmad.types import Features, Points, Window

PRODUCTS = ("aten::mm", "aten::addmm", "mkldnn::_linear_pointwise", "aten::bmm")


def part(seed, *, dims=(768, 1152), tokens=28, size=224, centres=1024, share=0.2):
    """Features of one part whose points cover a share of the frame."""
    g = torch.Generator().manual_seed(seed)
    side = int(size * share**0.5)
    begin = (size - side) // 2
    valid = torch.zeros(size, size, dtype=torch.bool)
    valid[begin : begin + side, begin : begin + side] = True
    n = int(valid.sum())
    points = Points(
        torch.randn(centres, dims[1], generator=g),
        (torch.arange(n)[:, None] * centres // n + torch.tensor([0, 1, 2])) % centres,
        torch.full((n, 3), 1 / 3),
    )
    image = torch.randn(tokens, tokens, dims[0], generator=g)
    window = Window(size, 0, 0, size, size)
    return Features({"rgb": image}, {"xyz": points}, valid, size, window, str(seed))


def steps(store, epochs, pixels, batch):
    """Train from scratch; return the seconds."""
    begin = time.perf_counter()
    train(
        Mappings(768, 1152, 0),
        store,
        Raster(224),
        epochs=epochs,
        pixels_per_image=pixels,
        batch_size=batch,
        shuffle=True,
        seed=0,
        step=lambda _: None,
    )
    return time.perf_counter() - begin


def floor(rows, repeats):
    """Seconds of one step's products alone: forward, and backward to weights and inputs."""
    taken = []
    for features_in, features_out in ((768, 1152), (1152, 768)):
        sizes = (features_in, 960), (960, 960), (960, features_out)
        for first, (a, b) in enumerate(sizes):
            x, w, y = torch.randn(rows, a), torch.randn(b, a), torch.randn(rows, b)
            products = [lambda x=x, w=w: x @ w.T, lambda x=x, y=y: y.T @ x]
            if first > 0:  # nothing is propagated to the features
                products.append(lambda y=y, w=w: y @ w)
            for product in products:
                product()
                times = []
                for _ in range(repeats):
                    begin = time.perf_counter()
                    product()
                    times.append(time.perf_counter() - begin)
                taken.append(statistics.median(times))
    return sum(taken)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=24)
    parser.add_argument("--pixels", type=int, help="drawn from each part; default all")
    parser.add_argument("--batch", type=int, default=4, help="parts per step")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with FeatureStore(torch.float16) as store:
        for seed in range(arguments.parts):
            store.append(part(seed))
        each = len(foreground(store[0], Raster(224)))
        each = min(each, arguments.pixels or each)
        count = -(-arguments.parts // arguments.batch)
        steps(store, 1, min(each, 20), arguments.batch)
        seconds = steps(store, arguments.epochs, arguments.pixels, arguments.batch)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            steps(store, arguments.epochs, arguments.pixels, arguments.batch)
    events = sorted(profiled.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in events)
    products = sum(e.self_cpu_time_total for e in events if e.key in PRODUCTS)
    rows = min(each * arguments.batch, each * arguments.parts)
    least = floor(rows, arguments.repeats) * count * arguments.epochs
    print(f"{arguments.parts} parts, {each} pixels each, {arguments.batch} a step")
    print(f"  an epoch                 {seconds / arguments.epochs:8.2f} s")
    print(f"  its products alone       {least / arguments.epochs:8.2f} s  {least / seconds:6.1%}")
    print(f"  products, by the profiler           {products / total:6.1%}")
    for event in [e for e in events if e.key not in PRODUCTS][:8]:
        print(f"    {event.key:32} {event.self_cpu_time_total / total:6.1%}")
    about = {**environment(), "seconds": seconds, "floor": least, "share": products / total}
    if arguments.json:
        arguments.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
