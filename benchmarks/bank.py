"""Check the memory bank's search and coreset, then time them beside torch, faiss and quickfps.

    python benchmarks/bank.py [--only knn,coreset] [--features FILE] [--json FILE]

One thread for everything, one process; the functions take turns, and times are medians. The search
is of 3136 queries among 90,000 rows of 1152, 11 neighbours, on rows of independent normal numbers,
where no low-dimensional bound can help, and on clustered rows of decaying variance, as features
are; ``--features`` adds those of a safetensors file, ``query`` and ``bank``. The coreset is of
100,000 rows of 128. Other libraries' indices are not exact: it is told how many lists equal ours.
"""
# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, so before they are imported

import argparse
import importlib
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from _environment import environment, fastest_float32, one_line
from safetensors.torch import load_file

from cmad import ops
from cmad.ops.knn import encode, search
from cmad.testing import reference
from cmad.testing.inputs import decaying, normal_rows

QUERIES, ROWS, WIDTH, K = 3136, 90_000, 1152, 11


def optional(name):
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        print(f"{name} is left out: {error}")
        return None


def in_turns(functions, repeats):
    """Return the last result and the median of the seconds of each function."""
    seconds = {name: [] for name in functions}
    results = {}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            results[name] = function()
            seconds[name].append(time.perf_counter() - start)
    return results, {name: statistics.median(s) for name, s in seconds.items()}


def torch_topk(query, bank, k, tile):
    """Search by torch's matmul and topk, tile by tile; the squared norms are made before."""
    norm2 = (bank * bank).sum(1)

    def run():
        found = []
        for i in range(0, len(bank), tile):
            d2 = torch.addmm(norm2[i : i + tile], query, bank[i : i + tile].T, alpha=-2)
            value, index = d2.topk(k, largest=False)
            found.append((value, index + i))
        value, index = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        return index.gather(1, value.topk(k, largest=False).indices)

    return run


def knn_on(name, query, bank, repeats, faiss):
    encoded = encode(bank)
    some = slice(0, len(query), len(query) // 16)
    want = reference.knn(query[some].numpy(), bank.numpy(), K)
    functions = {
        "ops.knn, checks and codes included": lambda: ops.knn(query, bank, K)[1],
        "search with codes made before": lambda: search([encoded], query, K)[1],
        **{f"torch mm + topk, tiles of {t}": torch_topk(query, bank, K, t) for t in (4096, 16384)},
    }
    if faiss:
        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatL2(bank.shape[1])
        flat.add(bank.numpy())
        functions["faiss IndexFlatL2"] = lambda: torch.from_numpy(flat.search(query.numpy(), K)[1])
    results, seconds = in_turns(functions, repeats)
    ours = results["ops.knn, checks and codes included"]
    np.testing.assert_array_equal(ours[some], want[1])
    print(f"\n{name}: {tuple(query.shape)} in {tuple(bank.shape)}, {encoded.into.columns} columns")
    return table(name, seconds, {n: int((r == ours).all(1).sum()) for n, r in results.items()}, 2)


def table(name, seconds, equal, ours):
    """Print and return the times, and their ratios to the first `ours` functions'."""
    first = list(seconds.values())[:ours]
    for label, s in seconds.items():
        ratios = "".join(f"{s / f:8.2f}x" for f in first)
        print(f"  {label:36}{s * 1e3:10.0f} ms{ratios}   {equal[label]} equal")
    return {"case": name, "seconds": seconds, "equal": equal}


def streaming(product):
    """Return the plain loop: one pass over all rows per pick, by a matrix-vector product."""

    def run(rows, norm2, count):
        nearest, index = rows.new_full((len(rows),), torch.inf), [torch.tensor(0)]
        while len(index) < count:
            last = index[-1]
            d2 = product(rows, rows[last]).mul_(-2).add_(norm2).add_(norm2[last])
            torch.minimum(nearest, d2, out=nearest)
            index.append(nearest.argmax())  # a tensor, so that a GPU is not waited for
        return torch.stack([i.to(rows.device) for i in index])

    return run


def numpy_product(rows, row):
    return torch.from_numpy(rows.numpy() @ row.numpy())


def coreset_on(name, rows, count, repeats, quickfps):
    norm2 = (rows * rows).sum(1)
    functions = {
        "ops.coreset": lambda: ops.coreset(rows, count),
        "streaming, torch": lambda: streaming(torch.mv)(rows, norm2, count),
        "streaming, NumPy's product": lambda: streaming(numpy_product)(rows, norm2, count),
    }
    if quickfps:
        functions["torch_quickfps"] = lambda: quickfps.sample_idx(rows[None], count, start_idx=0)[0]
    results, seconds = in_turns(functions, repeats)
    ours = results["ops.coreset"]
    np.testing.assert_array_equal(ours[:100], reference.coreset(rows.numpy(), 100))
    print(f"\n{name}: {count} of {tuple(rows.shape)}; equal until the first that differs")
    equal = {n: int((r == ours).cummin(0).values.sum()) for n, r in results.items()}
    return table(name, seconds, equal, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="knn,coreset", help="which, separated by commas")
    parser.add_argument("--features", type=Path, help="safetensors file with query and bank")
    parser.add_argument("--picks", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    arguments = parser.parse_args()
    if wrong := set(arguments.only.split(",")) - {"knn", "coreset"}:
        parser.error(f"--only takes knn and coreset, got {', '.join(sorted(wrong))}")
    tensors = {}
    if arguments.features:
        with one_line():
            tensors = load_file(arguments.features)
    if tensors and not {"query", "bank"} <= set(tensors):
        parser.error(f"--features must hold query and bank, got {', '.join(tensors)}")
    torch.set_num_threads(1)
    fastest_float32()
    rng = np.random.default_rng(0)
    results = []
    if "knn" in arguments.only:
        faiss = optional("faiss")
        for name, make in (("isotropic", normal_rows), ("decaying", decaying)):
            both = torch.from_numpy(make(WIDTH)(rng, QUERIES + ROWS))
            pair = both[:QUERIES].clone(), both[QUERIES:].clone()
            results.append(knn_on(name, *pair, arguments.repeats, faiss))
        if tensors:
            pair = tensors["query"].float(), tensors["bank"].float()
            results.append(knn_on("features", *pair, arguments.repeats, faiss))
    if "coreset" in arguments.only:
        quickfps = optional("torch_quickfps")
        for name, make in (("isotropic", normal_rows), ("decaying", decaying)):
            rows = torch.from_numpy(make(128)(rng, 100_000))
            results.append(coreset_on(name, rows, arguments.picks, arguments.repeats, quickfps))
    about = environment()
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
